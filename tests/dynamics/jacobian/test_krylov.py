"""Spectra from products alone agree with LAPACK within the errors that they state."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from critaudit.dynamics.jacobian import Effort, Spectrum, exact_spectrum, spectrum
from critaudit.dynamics.jacobian.krylov import quadrature, spectral_radius

Array = NDArray[np.float64]
N = 240


def _matrix(kind: str, seed: int) -> Array:
    rng = np.random.default_rng([seed, sum(map(ord, kind))])
    G = rng.standard_normal((N, N)) / math.sqrt(N)
    if kind == "residual":
        return np.eye(N) + 0.3 * G
    if kind == "saturated":
        return np.asarray((1 - np.tanh(1.5 * rng.standard_normal((N, 1))) ** 2) * G)
    if kind == "half off":
        return np.asarray(G * (rng.random((N, 1)) < 0.5))
    if kind == "wide":
        return G[: N // 3]
    if kind == "tall":
        return G[:, : N // 3]
    return np.asarray(G)


def _measure(matrix: Array, seed: int, **effort: int) -> Spectrum:
    rng = np.random.default_rng(seed)
    scales = np.sqrt(((matrix @ rng.standard_normal((matrix.shape[1], 4))) ** 2).mean(axis=1))
    live = matrix.any(axis=1), matrix.any(axis=0)
    return spectrum(aslinearoperator(matrix), rng=rng, effort=Effort(**effort), live=live, scales=scales)


@pytest.mark.parametrize("kind", ["random", "residual", "saturated", "half off", "wide", "tall"])
def test_given_a_matrix_then_quadrature_and_arpack_agree_with_lapack_within_their_errors(kind: str) -> None:
    matrix = _matrix(kind, 0)
    found, exact = _measure(matrix, 1), exact_spectrum(matrix)

    assert found.dimension == exact.dimension
    assert found.top == pytest.approx(exact.top, rel=1e-9)
    assert found.mean_log is not None
    assert exact.mean_log is not None
    assert abs(found.mean_log - exact.mean_log) < 4 * found.mean_log_error
    assert 0 < found.mean_log_error < 0.2
    assert abs(found.expanding - exact.expanding) < 4 * found.expanding_error
    assert 0 < found.expanding_error < 0.15


@pytest.mark.parametrize("kind", ["random", "residual", "saturated"])
def test_given_many_starts_then_the_stated_error_of_the_mean_logarithm_is_the_true_one(kind: str) -> None:
    # GIVEN one matrix and 30 random starts
    matrix = _matrix(kind, 2)
    exact = exact_spectrum(matrix, radius=False)
    effort = {"steps": 16, "top_restarts": 0, "radius_restarts": 0}
    all_found = [_measure(matrix, seed, **effort) for seed in range(30)]
    deviations = np.array([(found.mean_log - exact.mean_log) / found.mean_log_error for found in all_found])
    # THEN deviations in units of the stated error are neither large nor far too small
    assert np.sqrt(np.mean(deviations**2)) < 1.8
    assert np.abs(deviations).max() > 0.3


def test_given_the_exact_path_then_it_equals_slogdet_and_eigenvalues() -> None:
    matrix = _matrix("residual", 3)
    found = exact_spectrum(matrix)
    assert found.mean_log == pytest.approx(np.linalg.slogdet(matrix)[1] / N, rel=1e-10)
    assert found.radius == pytest.approx(np.abs(np.linalg.eigvals(matrix)).max(), rel=1e-12)
    assert found.expanding == (np.linalg.svd(matrix, compute_uv=False) > 1).mean()
    assert (found.steps, found.mean_log_error, found.reason) == (None, 0.0, None)


def test_given_a_full_quadrature_then_every_function_of_the_spectrum_is_exact_for_its_start() -> None:
    # GIVEN as many steps as there are dimensions
    matrix = np.random.default_rng(0).standard_normal((12, 12))
    start = np.random.default_rng(1).standard_normal(12)
    found = quadrature(aslinearoperator(matrix), start, 12)
    # THEN moments of the measure of JᵀJ seen from the start are those of the matrix
    v = start / np.linalg.norm(start)
    for power in (1, 2, 3):
        direct = v @ np.linalg.matrix_power(matrix.T @ matrix, power) @ v
        assert found.weights @ found.nodes ** (2 * power) == pytest.approx(direct, rel=1e-9)
    assert found.weights.sum() == pytest.approx(1.0, rel=1e-12)
    direct_log = np.linalg.svd(matrix)
    assert found.weights @ np.log(found.nodes) == pytest.approx(
        (direct_log[2] @ v) ** 2 @ np.log(direct_log[1]), rel=1e-8
    )


def test_given_an_invariant_subspace_then_the_quadrature_ends_early_and_is_exact() -> None:
    identity = quadrature(aslinearoperator(2 * np.eye(50)), np.ones(50), 30)
    assert identity.nodes == pytest.approx([2.0])
    zero = quadrature(aslinearoperator(np.zeros((5, 5))), np.ones(5), 3)
    assert zero.nodes == pytest.approx([0.0])


@settings(deadline=None, max_examples=20, derandomize=True)
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 50))
def test_given_a_scaled_operator_then_logarithms_shift_and_shares_do_not_depend_on_orientation(
    scale: float, seed: int
) -> None:
    matrix = np.random.default_rng(seed).standard_normal((20, 20))
    one, other = exact_spectrum(matrix), exact_spectrum(scale * matrix.T)
    assert one.mean_log is not None
    assert other.mean_log is not None
    assert other.mean_log - one.mean_log == pytest.approx(math.log(scale), abs=1e-9)
    assert other.top == pytest.approx(scale * one.top, rel=1e-9)
    assert exact_spectrum(matrix.T).expanding == one.expanding


def test_given_lost_directions_then_the_mean_logarithm_is_refused_with_their_share() -> None:
    rng = np.random.default_rng(0)
    singular = rng.standard_normal((N, N // 2)) @ rng.standard_normal((N // 2, N)) / N
    exact = exact_spectrum(singular)
    assert exact.mean_log is None
    assert exact.reason == "the Jacobian is singular to working precision (0.5 of its directions are lost)"
    found = spectrum(aslinearoperator(singular), rng=rng, effort=Effort(32, 0, 0))
    assert found.mean_log is None
    assert found.reason is not None


def test_given_one_direction_lost_among_many_then_it_is_left_out_and_said() -> None:
    # GIVEN a projection like a layer normalisation's: one direction of 200 is gone
    matrix = np.eye(200) - np.ones((200, 200)) / 200
    found = exact_spectrum(matrix)
    assert found.mean_log == pytest.approx(0.0, abs=1e-9)
    assert found.reason == "0.005 of the directions are lost to rounding and left out"


def test_given_a_zero_operator_then_it_says_so_and_gives_no_logarithm() -> None:
    for found in (
        exact_spectrum(np.zeros((4, 4))),
        spectrum(
            aslinearoperator(np.zeros((30, 30))),
            rng=np.random.default_rng(0),
            live=(np.zeros(30, bool), np.zeros(30, bool)),
        ),
    ):
        assert (found.top, found.mean_log, found.expanding, found.reason) == (0.0, None, 0.0, "the Jacobian is zero")


def test_given_exact_isometry_in_single_precision_then_rounding_does_not_count_as_expansion() -> None:
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((64, 64)))[0].astype(np.float32)
    assert exact_spectrum(Q).expanding == 0.0
    found = spectrum(aslinearoperator(Q), rng=np.random.default_rng(1), effort=Effort(10, 2, 0))
    assert found.expanding == 0.0
    assert found.mean_log == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("size", [6, 400])
def test_given_a_dominant_eigenvalue_then_arnoldi_finds_it(size: int) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((size, size)) / math.sqrt(size) + 3.0 * np.outer(np.ones(size), np.ones(size)) / size
    found = spectral_radius(aslinearoperator(matrix), rng=rng)
    assert found == pytest.approx(np.abs(np.linalg.eigvals(matrix)).max(), rel=0.01)


def test_given_no_gap_and_no_time_then_the_radius_is_missing_rather_than_wrong() -> None:
    # GIVEN a rotation: all eigenvalues on the unit circle, none of which Arnoldi can single out in one restart
    size = 500
    shift = LinearOperator(shape=(size, size), matvec=lambda v: np.roll(v, 1), dtype=np.float64)
    assert spectral_radius(shift, rng=np.random.default_rng(0), restarts=1) is None


def test_given_few_restarts_then_the_largest_value_is_a_lower_bound_with_an_honest_residual() -> None:
    matrix = _matrix("random", 5)
    exact = exact_spectrum(matrix)
    found = spectrum(
        aslinearoperator(matrix), rng=np.random.default_rng(0), effort=Effort(6, top_restarts=0, radius_restarts=0)
    )
    assert found.top < exact.top
    sigmas = np.linalg.svd(matrix, compute_uv=False)
    assert np.abs(sigmas**2 - found.top**2).min() <= found.top_residual * found.top**2
    assert found.radius is None
