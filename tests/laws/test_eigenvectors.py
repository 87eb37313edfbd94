"""Eigenvectors of W·diag(slopes): they solve their equation where LAPACK's do not, and are LAPACK's where those do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.errors import CritauditError
from critaudit.laws.eigenvectors import eigenmodes, jacobian_eigenvalues, log_determinant
from tests.laws.ensembles import random_layer

PROPERTY = settings(deadline=None, max_examples=25, derandomize=True)
SHAPES = st.tuples(st.integers(1, 12), st.integers(0, 2**32 - 1), st.floats(0.0, 0.9))


def _drawn(size: int, seed: int, off: float) -> tuple[np.ndarray, np.ndarray]:
    """A Gaussian matrix and slopes of both signs, a share of which is exactly zero."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((size, size)), rng.standard_normal(size) * (rng.random(size) >= off)


def _errors(J: np.ndarray, values: np.ndarray, right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Relative residuals of right and left vectors, straight from the definition."""
    forward = np.linalg.norm(J @ right - right * values, axis=0) / np.linalg.norm(right, axis=0)
    backward = np.linalg.norm(J.T @ left - left * values, axis=0) / np.linalg.norm(left, axis=0)
    return np.maximum(forward, backward) / np.abs(values)


def test_given_saturated_neurons_then_vectors_hold_where_plain_eig_fails() -> None:
    # GIVEN heavy-tailed layers in which some slopes are 1e-30 and less (PHYSICS: the balancing trap)
    plain, ours = [], []
    for seed in range(8):
        W, D = random_layer(200, 1.2, 1.5, seed)
        # WHEN they are decomposed by LAPACK as they are, and in the balanced form
        values, vectors = np.linalg.eig(W * D)
        large = np.abs(values) > 1e-2
        error = np.linalg.norm((W * D) @ vectors - vectors * values, axis=0)[large] / np.abs(values[large])
        plain.append(error.max())
        modes = eigenmodes(W, D)
        large = np.abs(modes.eigenvalues) > 1e-2
        found = _errors(
            W * D, modes.eigenvalues[large], modes.vectors("right")[:, large], modes.vectors("left")[:, large]
        )
        ours.append(found.max())
        np.testing.assert_allclose(modes.residuals[large], found, rtol=1e-3, atol=1e-12)
    # THEN LAPACK's right vectors are wrong altogether in some, ours never
    assert max(plain) > 0.1
    assert max(ours) < 1e-6


@pytest.mark.parametrize("form", ["WD", "DW"])
@given(SHAPES)
@PROPERTY
def test_given_any_layer_then_modes_solve_their_equations_and_are_complete(
    form: str, drawn: tuple[int, int, float]
) -> None:
    W, D = _drawn(*drawn)
    J = W * D if form == "WD" else D[:, None] * W
    modes = eigenmodes(W, D, form=form)

    good = modes.trusted
    values = modes.eigenvalues[good]
    right, left = modes.vectors("right")[:, good], modes.vectors("left")[:, good]
    assert _errors(J, values, right, left).max(initial=0.0) < 1e-6
    np.testing.assert_allclose(np.linalg.norm(right, axis=0), 1.0)
    np.testing.assert_allclose(modes.probabilities("left").sum(axis=0), 1.0)
    np.testing.assert_allclose(modes.probabilities("right"), np.abs(right) ** 2, atol=1e-12)
    assert int(modes.multiplicity.sum()) + modes.set_apart == D.size
    assert modes.zero_slopes == np.count_nonzero(D == 0.0) == modes.set_apart
    both = np.concatenate((modes.eigenvalues, modes.eigenvalues[modes.multiplicity == 2].conj()))
    reference = np.linalg.eigvals(J)
    largest = np.abs(reference).max(initial=1.0)
    # Compared by power sums, which do not depend on the order.
    for power in (1, 2, 3):
        assert np.sum(both**power) == pytest.approx(np.sum(reference**power), abs=1e-8 * D.size * largest**power)


@given(SHAPES, st.floats(1e-3, 1e3))
@PROPERTY
def test_given_another_scale_or_order_then_eigenvalues_follow(drawn: tuple[int, int, float], factor: float) -> None:
    W, D = _drawn(*drawn)
    order = np.random.default_rng(1).permutation(D.size)
    plain = np.sort(np.abs(jacobian_eigenvalues(W, D)))
    scaled = np.sort(np.abs(jacobian_eigenvalues(factor * W, D)))
    moved = np.sort(np.abs(jacobian_eigenvalues(W[np.ix_(order, order)], D[order])))

    np.testing.assert_allclose(scaled, factor * plain, rtol=1e-6, atol=1e-9 * factor * plain.max(initial=0.0))
    np.testing.assert_allclose(moved, plain, rtol=1e-6, atol=1e-9 * plain.max(initial=0.0))


def test_given_slopes_of_a_relu_then_off_neurons_are_zero_eigenvalues() -> None:
    rng = np.random.default_rng(3)
    W, D = rng.standard_normal((40, 40)), (rng.random(40) > 0.5).astype(float)
    modes = eigenmodes(W, D)

    off = int((D == 0).sum())
    assert (modes.set_apart, modes.zero_slopes) == (off, off)
    assert np.count_nonzero(np.abs(np.linalg.eigvals(W * D)) < 1e-9) == off
    # A left vector of W·D vanishes where the slope does, a right one does not.
    assert np.all(modes.vectors("left")[D == 0.0] == 0.0)
    assert np.all(np.abs(modes.vectors("right")[D == 0.0]) > 0.0)


def test_given_tiny_slopes_then_left_vectors_have_their_tiny_entries() -> None:
    rng = np.random.default_rng(4)
    W, D = rng.standard_normal((30, 30)), rng.uniform(0.5, 1.0, 30)
    D[7] = 1e-40
    modes = eigenmodes(W, D)

    assert modes.set_apart == 1
    assert modes.zero_slopes == 0
    left, values = modes.vectors("left"), modes.eigenvalues
    np.testing.assert_allclose(left[7], D[7] * (W[:, 7] @ left) / values, rtol=1e-8)


def test_given_a_rank_one_or_constant_weight_then_it_does_not_break() -> None:
    one = eigenmodes(np.ones((5, 5)), np.ones(5))
    assert np.abs(one.eigenvalues).max() == pytest.approx(5.0)
    single = eigenmodes([[3.0]], [-0.5])
    assert single.eigenvalues[0] == pytest.approx(-1.5)
    dead = eigenmodes(np.ones((4, 4)), np.zeros(4))
    assert (dead.eigenvalues.size, dead.set_apart, dead.discarded) == (0, 4, 0)
    zero = eigenmodes(np.zeros((3, 3)), np.ones(3))
    assert zero.discarded == 3
    assert not zero.trusted.any()


def test_given_eigenvalues_below_rounding_then_their_vectors_are_discarded_and_counted() -> None:
    rng = np.random.default_rng(5)
    rotation, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    stretched = rotation @ np.diag([1.0, 0.7, 0.5, 0.3, 0.2, 1e-14]) @ rotation.T
    modes = eigenmodes(stretched, np.ones(6))

    assert modes.discarded == 1
    assert np.abs(modes.eigenvalues[~modes.trusted]).max() < 1e-12


@given(SHAPES)
@PROPERTY
def test_given_any_layer_then_the_log_determinant_is_the_mean_over_neurons_that_are_on(
    drawn: tuple[int, int, float],
) -> None:
    W, D = _drawn(*drawn)
    on = D != 0.0
    found = log_determinant(W, D)

    if not on.any():
        assert np.isnan(found)
    else:
        values = np.linalg.eigvals((W * D)[np.ix_(on, on)])
        assert found == pytest.approx(np.log(np.abs(values)).mean(), abs=1e-6)


def test_given_slopes_far_below_rounding_then_the_log_determinant_is_exact() -> None:
    W, D = np.random.default_rng(6).standard_normal((20, 20)), np.geomspace(1.0, 1e-200, 20)

    expected = (np.linalg.slogdet(W).logabsdet + np.log(D).sum()) / 20
    assert log_determinant(W, D) == pytest.approx(expected, rel=1e-12)


def test_given_a_weight_that_is_singular_to_rounding_then_its_log_determinant_is_minus_infinity() -> None:
    rng = np.random.default_rng(7)
    low_rank = rng.standard_normal((30, 4)) @ rng.standard_normal((4, 30))

    assert log_determinant(low_rank, np.ones(30)) == -np.inf
    assert log_determinant(np.zeros((3, 3)), np.ones(3)) == -np.inf
    assert np.isfinite(log_determinant(low_rank + 1e-6 * rng.standard_normal((30, 30)), np.ones(30)))


@pytest.mark.parametrize(
    ("weight", "slopes", "message"),
    [
        (np.ones((2, 3)), np.ones(3), "has no eigenvalues"),
        (np.ones((2, 2)), np.ones(3), "has no eigenvalues"),
        (np.zeros((0, 0)), np.zeros(0), "has no eigenvalues"),
        (np.array([[np.nan]]), np.ones(1), "NaN or infinite"),
        (np.ones((1, 1)), np.array([np.inf]), "NaN or infinite"),
    ],
)
def test_given_what_has_no_eigenvalues_then_the_error_says_so(
    weight: np.ndarray, slopes: np.ndarray, message: str
) -> None:
    for function in (eigenmodes, jacobian_eigenvalues, log_determinant):
        with pytest.raises(CritauditError, match=message):
            function(weight, slopes)
