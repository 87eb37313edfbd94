"""Moments against NumPy and SciPy in float64, their scale rules, and calm at the edges."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from critaudit.errors import CritauditError
from critaudit.laws.moments import CHUNK, chunks, moments

PROPERTY = settings(deadline=None, max_examples=60, derandomize=True)
WELL_SPREAD = hnp.arrays(np.float64, st.integers(4, 300), elements=st.floats(-100, 100, allow_subnormal=False))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int32, np.uint8])
def test_given_any_type_when_larger_than_a_chunk_then_moments_equal_float64_oracle(dtype: type) -> None:
    values = (np.random.default_rng(1).gamma(2.0, 10.0, (3, CHUNK // 2 + 7)) % 120).astype(dtype)
    exact = values.astype(np.float64).ravel()

    found = moments(values)

    assert found.n == found.finite == values.size
    assert found.mean == pytest.approx(exact.mean(), rel=1e-13)
    assert found.variance == pytest.approx(exact.var(), rel=1e-13)
    assert found.skewness == pytest.approx(scipy.stats.skew(exact), rel=1e-11)
    assert found.excess_kurtosis == pytest.approx(scipy.stats.kurtosis(exact), rel=1e-11)
    assert found.root_mean_square == pytest.approx(math.sqrt(np.mean(exact**2)), rel=1e-13)
    assert (found.minimum, found.maximum) == (exact.min(), exact.max())
    assert found.max_abs == np.abs(exact).max()
    assert found.zeros == np.count_nonzero(exact == 0)


def test_given_holes_when_counted_then_moments_are_those_of_the_finite_entries() -> None:
    values = np.random.default_rng(2).standard_normal(CHUNK + 50).astype(np.float32)
    values[[3, 5, CHUNK + 2]] = np.nan, np.inf, -np.inf
    values[10:20] = 0.0

    found = moments(values)

    kept = values[np.isfinite(values)].astype(np.float64)
    assert (found.n, found.finite, found.zeros, found.nan, found.inf) == (values.size, kept.size, 10, 1, 2)
    assert found.zero_share == 10 / kept.size
    assert found.variance == pytest.approx(kept.var(), rel=1e-13)


def test_given_a_chunk_without_finite_entries_when_measured_then_it_is_passed_over() -> None:
    values = np.concatenate([np.full(CHUNK, np.nan), [1.0, 2.0, 3.0]])

    found = moments(values)

    assert (found.finite, found.mean, found.minimum, found.maximum) == (3, 2.0, 1.0, 3.0)


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e30, 1e37, 1e300])
def test_given_huge_or_tiny_entries_when_measured_then_shape_is_unharmed(size: float) -> None:
    base = np.random.default_rng(3).exponential(size=1000)
    dtype = np.float32 if 1e-37 < size < 1e37 else np.float64
    values = (base * size).astype(dtype)

    found = moments(values)

    scaled = values.astype(np.float64) / size
    assert found.skewness == pytest.approx(scipy.stats.skew(scaled), rel=1e-10)
    assert found.excess_kurtosis == pytest.approx(scipy.stats.kurtosis(scaled), rel=1e-10)
    assert found.standard_deviation == pytest.approx(size * scaled.std(), rel=1e-12)
    assert found.variance is None if size > 1e200 else found.variance == pytest.approx(size * size * scaled.var())


def test_given_a_large_offset_when_measured_then_variance_survives_cancellation() -> None:
    values = 1e8 + np.random.default_rng(4).standard_normal(200_000)

    found = moments(values)

    shifted = values - 1e8
    assert found.variance == pytest.approx(shifted.var(), rel=1e-9)
    assert found.excess_kurtosis == pytest.approx(scipy.stats.kurtosis(shifted), abs=1e-6)


@pytest.mark.parametrize("values", [np.zeros(7), np.full((300, 500), 0.1, np.float32), [3.0], np.full(5, -1e300)])
def test_given_a_constant_when_measured_then_variance_is_zero_and_shape_is_absent(values: object) -> None:
    found = moments(values)

    first = float(np.asarray(values).flat[0])
    assert (found.mean, found.variance, found.standard_deviation) == (first, 0.0, 0.0)
    assert found.skewness is None
    assert found.excess_kurtosis is None


@pytest.mark.parametrize("values", [[], np.zeros((0, 4)), [np.nan, np.inf]])
def test_given_no_finite_entry_when_measured_then_every_moment_is_absent(values: object) -> None:
    found = moments(values)

    assert found.finite == 0
    assert found.mean is found.variance is found.max_abs is found.mean_se is found.zero_share is None


def test_given_int8_extremes_when_measured_then_max_abs_does_not_wrap() -> None:
    assert moments(np.array([-128, 127], np.int8)).max_abs == 128.0


def test_given_gaussian_samples_when_repeated_then_standard_errors_are_those_seen() -> None:
    rng = np.random.default_rng(5)
    found = [moments(rng.standard_normal(50)) for _ in range(4000)]

    for value, error in [
        ("mean", "mean_se"),
        ("variance", "variance_se"),
        ("skewness", "skewness_null_se"),
        ("excess_kurtosis", "excess_kurtosis_null_se"),
    ]:
        seen = np.std([getattr(one, value) for one in found])
        claimed = math.sqrt(np.mean([getattr(one, error) ** 2 for one in found]))
        # The spread of 4000 values is known to about 2 % (kurtosis: 5 %).
        assert claimed == pytest.approx(seen, rel=0.15)


@PROPERTY
@given(values=WELL_SPREAD, exponent=st.integers(-200, 200))
def test_given_a_power_of_two_when_scaling_then_moments_scale_exactly(values: np.ndarray, exponent: int) -> None:
    before, after = moments(values), moments(np.ldexp(values, exponent))

    assert after.skewness == before.skewness
    assert after.excess_kurtosis == before.excess_kurtosis
    assert after.mean == math.ldexp(before.mean, exponent)
    assert after.variance == math.ldexp(before.variance, 2 * exponent)


@PROPERTY
@given(values=WELL_SPREAD, seed=st.integers(0, 1000))
def test_given_a_permutation_when_measured_then_moments_stay(values: np.ndarray, seed: int) -> None:
    before = moments(values)
    after = moments(-np.random.default_rng(seed).permutation(values))

    size = before.max_abs or 1.0
    assert -after.mean == pytest.approx(before.mean, abs=1e-13 * size)
    assert after.variance == pytest.approx(before.variance, abs=1e-13 * size**2)
    assert (after.zeros, after.max_abs) == (before.zeros, before.max_abs)


def test_given_a_transposed_or_strided_view_when_cut_into_chunks_then_every_element_comes_once() -> None:
    array = np.arange(3 * 5 * 700).reshape(3, 5, 700)

    for view in (array, array.T, array[:, ::2], array[::-1, :, 3:600:2], np.asfortranarray(array[0])):
        pieces = list(chunks(view, 256))
        assert max(piece.size for piece in pieces) <= 256
        assert np.array_equal(np.sort(np.concatenate(pieces)), np.sort(view.ravel()))


def test_given_a_matrix_when_measured_then_no_float64_copy_exists() -> None:
    values = np.random.default_rng(6).standard_normal((2000, 1000)).astype(np.float32)
    moments(values)

    for view in (values, values[:, ::2]):
        tracemalloc.start()
        moments(view)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3 * 8 * CHUNK


@pytest.mark.parametrize("values", [np.ones(3, complex), np.array(["a"]), np.array([None])])
def test_given_no_real_numbers_when_measured_then_one_line_says_so(values: np.ndarray) -> None:
    with pytest.raises(CritauditError, match="real numbers"):
        moments(values)
