"""Singular values against LAPACK's float64 SVD on every route, the invariances of the scalars, and memory."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.errors import CritauditError
from critaudit.laws.spectrum import rank_tolerance, spectrum

PROPERTY = settings(deadline=None, max_examples=40, derandomize=True)
SHAPES = [
    (1, 1),
    (6, 4),
    (1, 50),
    (50, 1),
    (40, 1, 9),
    (8, 9, 5),
    (3, 40, 70),
    (150, 400),
    (400, 150),
    (180, 180),
    (2, 140, 140),
]


def gaussian(shape: tuple[int, ...], seed: int = 0, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def oracle(matrix: np.ndarray) -> np.ndarray:
    return np.sort(np.linalg.svd(matrix.astype(np.float64), compute_uv=False).ravel())[::-1]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_given_any_shape_and_type_when_decomposed_then_scalars_equal_the_float64_oracle(
    shape: tuple[int, ...], dtype: type
) -> None:
    matrix = gaussian(shape, dtype=dtype)

    found = spectrum(matrix)

    exact = oracle(matrix)
    p = exact**2 / np.sum(exact**2)
    share = exact / exact.sum()
    # float32 Gram eigenvalues: 2 ε √k relative at σ₁, the square root of that at zero.
    tight = 1e-12 if dtype is np.float64 else 2e-5
    assert found.count == found.singular_values.size == exact.size
    assert found.complete
    assert found.spectral_norm == pytest.approx(exact[0], rel=tight)
    assert found.frobenius_norm == pytest.approx(np.linalg.norm(matrix.astype(np.float64)), rel=1e-14)
    assert found.nuclear_norm == pytest.approx(exact.sum(), rel=tight)
    assert found.stable_rank == pytest.approx(np.sum(exact**2) / exact[0] ** 2, rel=2 * tight)
    assert found.participation_ratio == pytest.approx(1 / np.sum(p**2), rel=4 * tight)
    assert found.effective_rank == pytest.approx(math.exp(-np.sum(share * np.log(share))), rel=tight)
    if exact.size > 1:
        assert found.entropy == pytest.approx(-np.sum(p * np.log(p)) / math.log(exact.size), rel=tight)
    rank = np.count_nonzero(exact > found.rank_tolerance)
    assert found.rank == rank
    if rank == exact.size:
        assert found.condition_number == pytest.approx(exact[0] / exact[-1], rel=1e-11 if dtype is np.float64 else 5e-3)
    else:
        assert found.condition_number is None
        assert "infinite" in found.missing["condition_number"]
    error = np.abs(found.singular_values - exact)
    assert np.all(error <= np.maximum(found.resolution, tight * exact))


@pytest.mark.parametrize("rank", [1, 7, 100, 179])
@pytest.mark.parametrize(("rows", "columns"), [(180, 180), (180, 300), (300, 180)])
def test_given_a_low_rank_float32_product_when_ranked_then_rounding_is_not_rank(
    rank: int, rows: int, columns: int
) -> None:
    matrix = gaussian((rows, rank), 1) @ gaussian((rank, columns), 2)

    found = spectrum(matrix)

    assert found.rank == rank
    assert found.condition_number is None


@pytest.mark.parametrize(("stored", "dtype"), [("float16", np.float16), ("bfloat16", np.float32)])
def test_given_a_low_rank_matrix_in_a_narrow_type_when_ranked_then_its_own_rounding_is_not_rank(
    stored: str, dtype: type
) -> None:
    matrix = gaussian((200, 12), 3) @ gaussian((12, 160), 4)
    if stored == "bfloat16":
        matrix = (matrix.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)

    found = spectrum(matrix.astype(dtype), dtype=stored)

    assert found.rank == 12
    assert spectrum(matrix.astype(dtype), dtype="float32").rank == 160


def test_given_square_gaussian_float32_when_ranked_then_it_is_full_rank_as_in_float64() -> None:
    for seed in range(8):
        matrix = gaussian((300, 300), seed)
        assert spectrum(matrix).rank == np.linalg.matrix_rank(matrix.astype(np.float64)) == 300


def test_given_a_known_ill_conditioned_matrix_when_decomposed_then_its_condition_is_found() -> None:
    rng = np.random.default_rng(5)
    left, _ = np.linalg.qr(rng.standard_normal((200, 200)))
    right, _ = np.linalg.qr(rng.standard_normal((200, 200)))
    values = np.geomspace(1.0, 1e-4, 200)
    matrix = ((left * values) @ right).astype(np.float32)

    for view in (matrix, matrix[:, :150]):
        exact = oracle(view)
        found = spectrum(view)
        assert found.rank == exact.size
        assert found.condition_number == pytest.approx(exact[0] / exact[-1], rel=2e-3)


def test_given_dead_rows_when_ranked_then_they_are_missing_from_the_rank() -> None:
    matrix = gaussian((150, 600))
    matrix[[4, 70, 149]] = 0.0
    matrix[9] *= 1e-9

    found = spectrum(matrix)

    assert found.rank == 146
    assert "146 of 150" in found.missing["condition_number"]


def test_given_a_smaller_side_above_the_limit_when_decomposed_then_only_the_top_is_given_with_reasons() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        matrix = gaussian((90, 120), dtype=dtype)
        found = spectrum(matrix, full_up_to=80, leading=10)
        exact = oracle(matrix)
        assert not found.complete
        assert (found.count, found.singular_values.size) == (90, 10)
        assert np.allclose(found.singular_values, exact[:10], rtol=1e-5)
        assert found.stable_rank == pytest.approx(np.sum(exact**2) / exact[0] ** 2, rel=1e-5)
        for name in ("nuclear_norm", "rank", "effective_rank", "entropy", "participation_ratio", "condition_number"):
            assert getattr(found, name) is None
            assert "only the largest" in found.missing[name]
        assert found.quantiles([0.5]) is None


@pytest.mark.parametrize("kind", ["gaussian", "heavy", "low rank", "spike"])
def test_given_the_partial_route_when_bounded_then_every_value_is_within_its_bound(kind: str) -> None:
    rng = np.random.default_rng(9)
    matrix = rng.standard_t(2.2, (700, 500)) if kind == "heavy" else rng.standard_normal((700, 500))
    if kind == "low rank":
        matrix = rng.standard_normal((700, 20)) @ rng.standard_normal((20, 500))
    if kind == "spike":
        matrix += 3 * np.outer(rng.standard_normal(700), rng.standard_normal(500))

    for view in (matrix.astype(np.float32), matrix.T.astype(np.float16)):
        found = spectrum(view, full_up_to=100)
        exact = oracle(view)[: found.singular_values.size]
        assert found.singular_values.size == (20 if kind == "low rank" else 64)
        assert np.all(np.abs(found.singular_values - exact) <= found.resolution + 1e-6 * exact[0])
        assert found.resolution < 1e-3 * found.spectral_norm
        assert found.spectral_norm == pytest.approx(exact[0], rel=1e-5)


def test_given_partial_blocks_when_joined_then_only_values_certainly_in_order_are_given() -> None:
    stack = np.stack([gaussian((40, 60), 1), 10 * gaussian((40, 60), 2)])

    found = spectrum(stack, full_up_to=30, leading=5)

    exact = oracle(stack)
    assert np.allclose(found.singular_values, exact[: found.singular_values.size], rtol=1e-5)
    assert found.singular_values.size == 5


def test_given_all_zeros_when_decomposed_then_nothing_divides_by_zero() -> None:
    found = spectrum(np.zeros((3, 20, 30), np.float32))

    assert (found.rank, found.spectral_norm, found.frobenius_norm, found.nuclear_norm) == (0, 0.0, 0.0, 0.0)
    assert found.stable_rank is found.entropy is found.condition_number is found.participation_ratio is None
    assert found.missing["stable_rank"] == "every entry is zero"


def test_given_one_singular_value_when_decomposed_then_entropy_is_absent_and_the_rest_is_one() -> None:
    found = spectrum(np.array([[3.0, 4.0]], np.float32))

    assert (found.spectral_norm, found.stable_rank, found.rank, found.condition_number) == (5.0, 1.0, 1, 1.0)
    assert (found.effective_rank, found.participation_ratio) == (1.0, 1.0)
    assert found.entropy is None
    assert found.missing["entropy"] == "there is only one singular value"


def test_given_integers_when_decomposed_then_they_are_numbers() -> None:
    matrix = np.random.default_rng(6).integers(-128, 128, (30, 20), dtype=np.int8)
    assert np.allclose(spectrum(matrix).singular_values, oracle(matrix), rtol=1e-9)


def test_given_quantiles_when_asked_then_they_are_those_of_the_values() -> None:
    found = spectrum(gaussian((30, 20)))
    assert found.quantiles([0.0, 1.0]) == pytest.approx([found.singular_values[-1], found.spectral_norm])


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.zeros((0, 3)), "no entries"),
        (np.zeros(3), "no spectrum; give"),
        (np.zeros((2, 2), complex), "real matrix"),
        (np.array([[1.0, np.nan]]), "NaN or infinite"),
        (np.array([[1.0, -np.inf]], np.float16), "NaN or infinite"),
        (np.array([[np.inf, -np.inf]], np.float32), "NaN or infinite"),
    ],
)
def test_given_something_without_spectrum_when_decomposed_then_one_line_says_why(
    matrix: np.ndarray, words: str
) -> None:
    with pytest.raises(CritauditError, match=words):
        spectrum(matrix)


@pytest.mark.parametrize("shape", [(9, 1, 9), (30, 50), (5, 8, 9), (140, 200), (140, 140)], ids=str)
@pytest.mark.parametrize("exponent", [-120, -60, 60, 110])
def test_given_float32_extremes_when_scaled_by_a_power_of_two_then_every_ratio_stays(
    shape: tuple[int, ...], exponent: int
) -> None:
    matrix = gaussian(shape, 7)

    before, after = spectrum(matrix), spectrum(np.ldexp(matrix, exponent))

    assert after.spectral_norm == pytest.approx(math.ldexp(before.spectral_norm, exponent), rel=1e-5)
    assert after.stable_rank == pytest.approx(before.stable_rank, rel=1e-5)
    assert after.entropy == pytest.approx(before.entropy, rel=1e-5)
    assert after.rank == before.rank
    assert after.condition_number == pytest.approx(before.condition_number, rel=1e-3)


def test_given_float64_extremes_when_decomposed_then_norms_are_right() -> None:
    matrix = gaussian((20, 30), dtype=np.float64)
    for size in (1e-300, 1e300):
        found = spectrum(matrix * size)
        assert found.spectral_norm / size == pytest.approx(oracle(matrix)[0], rel=1e-12)
        assert found.frobenius_norm / size == pytest.approx(np.linalg.norm(matrix), rel=1e-12)


@PROPERTY
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 99), groups=st.integers(1, 3))
def test_given_transposition_permutation_and_sign_when_decomposed_then_nothing_changes(
    rows: int, columns: int, seed: int, groups: int
) -> None:
    rng = np.random.default_rng(seed)
    stack = rng.standard_t(3, (groups, rows, columns)).astype(np.float32)
    other = -stack[rng.permutation(groups)][:, rng.permutation(rows)][:, :, rng.permutation(columns)].transpose(0, 2, 1)

    before, after = spectrum(stack), spectrum(other)

    assert np.allclose(before.singular_values, after.singular_values, rtol=1e-6, atol=1e-7 * before.spectral_norm)
    for name in ("frobenius_norm", "nuclear_norm", "stable_rank", "effective_rank", "participation_ratio"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), rel=1e-6)
    assert after.rank == before.rank


@PROPERTY
@given(rows=st.integers(2, 30), columns=st.integers(2, 30), seed=st.integers(0, 99))
def test_given_a_rotation_when_applied_then_the_spectrum_stays(rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((rows, columns))
    rotation, _ = np.linalg.qr(rng.standard_normal((rows, rows)))
    assert np.allclose(spectrum(rotation @ matrix).singular_values, spectrum(matrix).singular_values, atol=1e-12)


def test_given_a_stack_when_decomposed_then_it_equals_its_block_diagonal_matrix() -> None:
    stack = gaussian((5, 12, 20))
    whole = spectrum(scipy.linalg.block_diag(*stack).astype(np.float32))
    blocks = spectrum(stack)
    assert np.allclose(whole.singular_values[:60], blocks.singular_values, rtol=1e-6)
    assert whole.frobenius_norm == pytest.approx(blocks.frobenius_norm, rel=1e-14)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1500, 1500), (600, 6000), (6000, 600), (30_000, 1, 25)], ids=str)
def test_given_a_large_matrix_when_decomposed_then_memory_stays_within_twice_the_matrix(
    shape: tuple[int, ...], dtype: type
) -> None:
    matrix = gaussian(shape, dtype=dtype)
    tracemalloc.start()
    spectrum(matrix)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 2 * matrix.nbytes + 16 * 2**20


def test_given_an_input_when_decomposed_then_it_is_left_as_it_was() -> None:
    for dtype in (np.float32, np.float64):
        for shape in [(20, 30), (30, 1), (150, 150)]:
            matrix = gaussian(shape, dtype=dtype)
            for view in (matrix, matrix.T):
                copy = view.copy()
                spectrum(view)
                assert np.array_equal(view, copy)


def test_given_a_float32_width_when_asked_for_the_tolerance_then_it_follows_the_stored_epsilon() -> None:
    assert rank_tolerance(100, 99, "float32") == pytest.approx(np.finfo(np.float32).eps / 2 * math.sqrt(200))
    assert rank_tolerance(100, 99, "float64") == pytest.approx(np.finfo(np.float64).eps / 2 * math.sqrt(200))
    assert rank_tolerance(4096, 4096, "bfloat16") == pytest.approx(2**-7 / math.sqrt(3))
