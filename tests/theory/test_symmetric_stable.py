"""The table of symmetric stable densities against the exact ones and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from critaudit.errors import UsageError
from critaudit.laws.stable_density import exact_logpdf
from critaudit.theory.build_symmetric_stable import smooth_part
from critaudit.theory.symmetric_stable import STEP, TILES, symmetric_stable

ALPHAS = [0.5, 0.63, 0.97, 1.0, 1.03, 1.41, 1.8, 1.99, 1.999999]


@pytest.mark.parametrize("alpha", ALPHAS)
def test_given_the_tables_points_when_evaluated_then_they_are_the_exact_densities(alpha: float) -> None:
    u, found = symmetric_stable(alpha).on_grid(540)
    kept = (u > -8) & (u < 19.9)
    np.testing.assert_allclose(found[kept][::7], exact_logpdf(np.exp(u[kept][::7]), alpha), rtol=0, atol=1e-11)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_given_points_between_when_evaluated_then_the_error_of_the_mass_is_below_1e_8(alpha: float) -> None:
    u = np.random.default_rng(1).uniform(-3.0, 19.0, 60)
    x = np.exp(u)
    found, exact = symmetric_stable(alpha).log_density(u), exact_logpdf(x, alpha)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.exp(found) * x, np.exp(exact) * x, rtol=0, atol=1e-8)


def test_given_alpha_one_and_two_when_evaluated_then_they_are_cauchy_and_gauss() -> None:
    u = np.linspace(-30.0, 60.0, 91)
    expected = -math.log(math.pi) - np.logaddexp(0.0, 2.0 * u)
    np.testing.assert_allclose(symmetric_stable(1.0).log_density(u), expected, rtol=0, atol=1e-10)
    u = u[u < 3.0]
    expected = -0.25 * np.exp(2.0 * u) - 0.5 * math.log(4.0 * math.pi)
    np.testing.assert_allclose(symmetric_stable(2.0).log_density(u), expected, rtol=0, atol=1e-10)
    assert symmetric_stable(2.0).log_density(np.array([50.0]))[0] == -math.inf


@pytest.mark.parametrize("alpha", [*ALPHAS, 2.0])
def test_given_the_trapezoidal_rule_when_summed_then_the_mass_is_one(alpha: float) -> None:
    u, log_density = symmetric_stable(alpha).on_grid(2000)
    assert 2 * STEP * np.exp(u + log_density).sum() == pytest.approx(1.0, abs=1e-12)


def test_given_the_packaged_table_when_built_again_at_one_point_then_it_agrees() -> None:
    alpha = 0.5 * sum(TILES[1])
    np.testing.assert_allclose(symmetric_stable(alpha).smooth_part, smooth_part(alpha), rtol=0, atol=1e-9)


@pytest.mark.parametrize("alpha", [0.49, 2.01, math.nan])
def test_given_alpha_outside_when_asked_then_a_usage_error_says_the_range(alpha: float) -> None:
    with pytest.raises(UsageError, match=r"0\.5, 2"):
        symmetric_stable(alpha)
