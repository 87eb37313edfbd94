"""The Sherrington–Kirkpatrick diagram against direct iteration, an independent quadrature and exact limits."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from critaudit.errors import CritauditError
from critaudit.theory import gaussian
from critaudit.theory.spin_glass import boundary, chi1, order_parameters, phase
from critaudit.theory.spin_glass_table import BOUNDARY

PROPERTY = settings(deadline=None, max_examples=15, derandomize=True)


def gauss_mean(function: object, mean: float, deviation: float) -> float:
    """An average by another method than the code's: adaptive Gauss–Kronrod."""
    integrand = lambda z: function(mean + deviation * z) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)  # noqa: E731
    return scipy.integrate.quad(integrand, -12, 12, epsabs=1e-13, epsrel=1e-12, limit=400, points=[-mean / deviation])[
        0
    ]


@pytest.mark.parametrize("j0", [-1.0, -0.3, 0.0, 0.5, 1.0])
def test_given_weak_mean_coupling_when_asked_then_the_boundary_is_one(j0: float) -> None:
    assert boundary(j0) == 1.0


@pytest.mark.parametrize("j0", [1.001, 1.0011, 1.1, 1.5, 2.0, 5.0, 40.0])
def test_given_strong_mean_coupling_when_asked_then_chi1_is_one_by_an_independent_quadrature(j0: float) -> None:
    j = boundary(j0)

    mu, q0 = order_parameters(j0, j)

    mean, deviation = j0 * mu, j * math.sqrt(q0)
    assert gauss_mean(math.tanh, mean, deviation) == pytest.approx(mu, abs=1e-9)
    assert gauss_mean(lambda x: math.tanh(x) ** 2, mean, deviation) == pytest.approx(q0, abs=1e-9)
    growth = j * j * gauss_mean(lambda x: 0.0 if abs(x) > 300 else math.cosh(x) ** -4, mean, deviation)
    assert growth == pytest.approx(1.0, abs=1e-7)


def test_given_the_series_at_the_corner_when_it_ends_then_root_finding_continues_it() -> None:
    below, above = boundary(1.001), boundary(1.001 + 1e-9)
    assert above - below == pytest.approx(1e-9, rel=0.05)


def test_given_growing_mean_coupling_when_asked_then_the_boundary_rises_and_is_even() -> None:
    lines = [boundary(j0) for j0 in (1.0, 1.0005, 1.002, 1.01, 1.1, 1.5, 2.0, 4.0, 10.0, 100.0)]
    assert all(before < after for before, after in itertools.pairwise(lines))
    assert boundary(-2.0) == boundary(2.0)
    # For large J0 the field is Gaussian around a saturated state: J e^{-J0²/2J²} = (3/4)√(2π).
    j = boundary(1e5)
    assert j * math.exp(-(1e5**2) / (2 * j * j)) == pytest.approx(0.75 * math.sqrt(2 * math.pi), rel=1e-3)


@PROPERTY
@given(j0=st.floats(0.0, 4.0), j=st.floats(0.05, 4.0))
def test_given_any_point_when_iterated_then_order_parameters_are_the_attractor(j0: float, j: float) -> None:
    z = np.linspace(-9.0, 9.0, 1201)
    w = np.exp(-z * z / 2)
    w /= w.sum()
    mu, q0 = 0.9, 0.9
    for _ in range(1500):
        activity = np.tanh(j0 * mu + j * math.sqrt(q0) * z)
        mu, q0 = float(w @ activity), float(w @ activity**2)

    found = order_parameters(j0, j)

    after = np.tanh(j0 * mu + j * math.sqrt(q0) * z)
    still_moving = abs(float(w @ after) - mu) + abs(float(w @ after**2) - q0)
    # Close to a transition the iteration crawls and is not there yet.
    assume(still_moving < 1e-13)
    assert found.q0 == pytest.approx(q0, abs=1e-6)
    assert found.mu == pytest.approx(mu, abs=1e-6)


@pytest.mark.parametrize("j0", [0.0, 0.7, 1.01, 1.5, 3.0])
@pytest.mark.parametrize("side", [-0.02, 0.02])
def test_given_a_point_beside_the_boundary_when_placed_then_phase_and_chi1_agree(j0: float, side: float) -> None:
    j = boundary(j0) + side
    assert (phase(j0, j) == "chaotic") == (chi1(j0, j) > 1.0) == (side > 0)


def test_given_the_three_corners_when_placed_then_phases_have_their_names() -> None:
    assert phase(0.5, 0.5) == "ordered"
    assert phase(2.0, 0.5) == phase(-2.0, 0.5) == "ferromagnetic"
    assert phase(0.5, 1.5) == "chaotic"
    assert phase(0.0, 1.0) == "ordered"


def test_given_dying_signals_when_asked_then_both_order_parameters_are_zero() -> None:
    assert order_parameters(0.9, 0.9) == (0.0, 0.0)
    assert order_parameters(0.0, 0.0) == (0.0, 0.0)
    assert chi1(0.5, 0.8) == pytest.approx(0.64, rel=1e-14)


def test_given_no_disorder_when_asked_then_the_ferromagnet_is_curie_weiss() -> None:
    mu, q0 = order_parameters(1.5, 0.0)
    assert math.atanh(mu) == pytest.approx(1.5 * mu, rel=1e-12)
    assert q0 == pytest.approx(mu**2, rel=1e-12)


def test_given_pure_disorder_when_asked_then_onset_is_linear_and_small_excesses_are_resolved() -> None:
    # q0 = (J² − 1)/2 + … at J0 = 0 just above the transition.
    for excess in (1e-9, 1e-6, 1e-3):
        assert order_parameters(0.0, math.sqrt(1 + excess)).q0 == pytest.approx(excess / 2, rel=5e-3 + 1e-6)


@pytest.mark.parametrize(("j0", "j"), [(math.nan, 1.0), (1.0, math.nan), (1.0, -0.1), (math.inf, 1.0), (0.0, 1e9)])
def test_given_no_point_of_the_diagram_when_placed_then_one_line_says_so(j0: float, j: float) -> None:
    with pytest.raises(CritauditError, match="must be a number"):
        phase(j0, j)


def test_the_table_for_figures_is_the_boundary() -> None:
    for j0, j in BOUNDARY:
        assert j == pytest.approx(boundary(j0), abs=1e-6)


@pytest.mark.parametrize("sigma_b", [1e-8, 1e-5, 1e-3, 0.05, 0.3, 1.0, 4.0])
def test_given_biases_and_no_mean_when_asked_then_the_boundary_is_the_gaussian_edge(sigma_b: float) -> None:
    for j0 in (0.0, -0.7, 1.0):
        assert boundary(j0, sigma_b) == pytest.approx(gaussian.edge_of_chaos(sigma_b), rel=1e-7)
    lines = [boundary(j0, sigma_b) for j0 in np.linspace(0.0, 6.0, 61)]
    assert all(after >= before for before, after in itertools.pairwise(lines))
    assert max(after - before for before, after in itertools.pairwise(lines)) < 0.12  # no jump where a mean begins


@pytest.mark.parametrize("j0", [0.0, 1.0, 1.2, 1.7, 4.0])
def test_given_hardly_any_bias_when_asked_then_the_boundary_is_that_without(j0: float) -> None:
    for sigma_b in (0.0, 1e-12, 0.99e-9, 1.01e-9, 0.99e-6, 1.01e-6):
        assert boundary(j0, sigma_b) == pytest.approx(boundary(j0), abs=1e-6 + sigma_b ** (2 / 3))


@PROPERTY
@given(j0=st.floats(0.0, 4.0), sigma_b=st.floats(0.01, 2.0))
def test_given_biases_when_iterated_then_small_differences_grow_above_the_boundary_alone(
    j0: float, sigma_b: float
) -> None:
    z = np.linspace(-9.0, 9.0, 1201)
    w = np.exp(-z * z / 2)
    w /= w.sum()
    for side in (-1, 1):
        j = boundary(j0, sigma_b) * (1.0 + 0.01 * side)
        mu, q0 = 0.9, 0.9
        for _ in range(3000):
            activity = np.tanh(j0 * mu + math.sqrt(j * j * q0 + sigma_b**2) * z)
            mu, q0 = float(w @ activity), float(w @ activity**2)
        growth = j * j * float(w @ np.square(1.0 - np.square(activity)))
        assert (growth > 1.0) == (side > 0)


def test_given_a_bias_that_is_none_when_asked_then_it_is_refused() -> None:
    for sigma_b in (-0.1, math.nan, math.inf):
        with pytest.raises(CritauditError, match="sigma_b"):
            boundary(0.0, sigma_b)
