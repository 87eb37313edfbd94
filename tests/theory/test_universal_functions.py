"""Φ and H against direct averages over the stable variables and against their limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from critaudit.theory.universal_functions import universal_functions


@pytest.mark.parametrize("log_x", [-35.0, -8.0, -0.52, 0.0, 2.02, 5.0, 30.0])
def test_given_alpha_one_when_averaged_directly_then_both_functions_agree(log_x: float) -> None:
    # At α = 1, S = κ²/(2Z²) with Z standard normal and κ = 1/√π·… = Γ(2)/(2Γ(3/2)).
    kappa = 1.0 / (2.0 * math.gamma(1.5))
    log_z = np.linspace(-55.0, 3.0, 1500)
    z = np.exp(log_z)
    weights = 2.0 * np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi) * z * (log_z[1] - log_z[0])
    s = kappa**2 / (2.0 * z * z)
    product = math.exp(2.0 * log_x) * np.outer(s, s)
    share = 1.0 / (1.0 + product)
    found = universal_functions(1.0)(np.array([log_x]))
    assert found.h[0] == pytest.approx(weights @ share @ weights, rel=1e-7)
    assert found.rest[0] == pytest.approx(weights @ (product * share) @ weights, rel=1e-7)
    assert found.phi[0] == pytest.approx(weights @ np.sqrt(s[:, np.newaxis] * share) @ weights, rel=1e-7)


@pytest.mark.parametrize("alpha", [0.5, 0.75, 4 / 3, 1.5, 1.9, 1.999999, 2.0])
def test_given_the_seams_of_the_table_when_crossed_then_nothing_jumps(alpha: float) -> None:
    functions = universal_functions(alpha)
    for seam in (-40.0, 0.0, 4.0, 40.0):
        points = functions(np.array([seam - 1e-9, seam + 1e-9]))
        for values in (points.phi, points.h, points.rest):
            assert values[1] == pytest.approx(values[0], rel=2e-7)
        for values in (points.phi_slope, points.h_slope):
            assert values[1] == pytest.approx(values[0], rel=1e-3, abs=1e-50)


@pytest.mark.parametrize("alpha", [0.5, 1.2, 1.9, 2.0])
def test_given_any_argument_when_evaluated_then_slopes_are_derivatives_and_h_and_rest_are_complements(
    alpha: float,
) -> None:
    functions = universal_functions(alpha)
    log_x = np.linspace(-60.0, 60.0, 301) + 0.013
    points, above, below = functions(log_x), functions(log_x + 1e-4), functions(log_x - 1e-4)
    np.testing.assert_allclose(points.phi_slope, (above.phi - below.phi) / 2e-4, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(points.h_slope, (above.h - below.h) / 2e-4, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(points.h + points.rest, 1.0, atol=1e-8)
    assert np.all(np.diff(points.phi) <= 0.0)
    assert np.all(np.diff(points.h) <= 0.0)


def test_given_alpha_two_and_just_below_when_evaluated_then_they_join() -> None:
    log_x = np.linspace(-30.0, 30.0, 61)
    exact = 1.0 / (1.0 + np.exp(log_x))
    np.testing.assert_allclose(universal_functions(2.0)(log_x).phi, exact, rtol=1e-7)
    np.testing.assert_allclose(universal_functions(2.0 - 1e-10)(log_x).phi, exact, rtol=1e-7)
    np.testing.assert_allclose(universal_functions(2.0 - 1e-10)(log_x).h, exact, rtol=1e-7)


@pytest.mark.parametrize("alpha", [0.5, 1.1, 1.7])
def test_given_large_arguments_when_evaluated_then_y0_is_reached(alpha: float) -> None:
    # x·Φ(x) → y₀^α = 2/Γ(1+α).
    log_x = np.array([30.0, 50.0, 200.0])
    values = universal_functions(alpha)(log_x).phi * np.exp(log_x)
    np.testing.assert_allclose(values, 2.0 / math.gamma(1.0 + alpha), rtol=1e-7)


def test_given_no_argument_left_when_evaluated_then_h_is_one_and_phi_diverges() -> None:
    points = universal_functions(1.5)(np.array([-np.inf]))
    assert (points.h[0], points.rest[0], points.phi[0]) == (1.0, 0.0, math.inf)
