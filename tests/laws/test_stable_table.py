"""The packaged table against the exact density; its derivatives against finite differences; its builder."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
from numpy.polynomial import chebyshev
from scipy.interpolate import BSpline

from critaudit.laws import build_stable_table, stable_table
from critaudit.laws.stable_density import exact_cdf, exact_logpdf
from critaudit.laws.stable_distribution import lower_tail
from critaudit.laws.stable_table import KNOTS, STEP, WIDTH, centre, jet

POINTS = np.sinh(np.random.default_rng(3).uniform(-9, 9, 400)) * WIDTH


@pytest.mark.parametrize(
    ("low", "high", "tolerance"), [(0.5, 0.68, 1e-4), (0.68, 0.9, 1e-5), (0.9, 1.1, 2e-6), (1.1, 2.0, 2e-6)]
)
def test_given_random_laws_when_tabulated_then_the_quadrature_agrees(low: float, high: float, tolerance: float) -> None:
    rng = np.random.default_rng(round(1000 * low))
    for _ in range(25):
        alpha, beta = rng.uniform(low, high), rng.uniform(-0.9, 0.9)
        y = np.concatenate([rng.normal(0, 3, 20), np.sinh(rng.uniform(-20, 20, 15)) * WIDTH])
        exact = exact_logpdf(y - centre(alpha)[0] * beta, alpha, beta)
        np.testing.assert_allclose(jet(y, alpha, beta).value, exact, atol=tolerance, rtol=0)


@pytest.mark.parametrize("alpha", [1.9, 1.99, 1.9999, 2 - 1e-7])
def test_given_alpha_near_two_when_tabulated_then_the_far_tail_is_still_exact(alpha: float) -> None:
    y = np.concatenate([np.linspace(-9, 9, 40), np.geomspace(10, 1e8, 30)])
    exact = exact_logpdf(y - centre(alpha)[0] * 0.4, alpha, 0.4)
    np.testing.assert_allclose(jet(y, alpha, 0.4).value, exact, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("alpha", "beta"), [(0.55, 0.3), (0.8, -0.5), (0.95, 0.2), (1.0, 0.4), (1.3, -0.6), (1.95, 0.5)]
)
def test_given_a_law_when_differentiated_then_finite_differences_agree(alpha: float, beta: float) -> None:
    step = 1e-5
    found = jet(POINTS, alpha, beta, 2)
    assert found.gradient is not None
    assert found.hessian is not None
    np.testing.assert_allclose(found.value, jet(POINTS, alpha, beta).value, rtol=1e-14)
    for first, (da, db, dy) in enumerate(((1, 0, 0), (0, 1, 0), (0, 0, 1))):
        ahead = jet(POINTS + dy * step, alpha + da * step, beta + db * step, 1)
        behind = jet(POINTS - dy * step, alpha - da * step, beta - db * step, 1)
        slope = (ahead.value - behind.value) / (2 * step)
        assert np.abs(slope - found.gradient[first]).max() < 1e-6 * np.abs(slope).max()
        assert ahead.gradient is not None
        assert behind.gradient is not None
        for second in range(first, 3):
            bend = (ahead.gradient[second] - behind.gradient[second]) / (2 * step)
            name = "aby"[first] + "aby"[second]
            assert np.abs(bend - found.hessian[name]).max() < 1e-6 * np.abs(bend).max()


def test_given_the_centre_when_differentiated_then_finite_differences_agree() -> None:
    for alpha in (0.5, 0.9999999, 1.0, 1.3, 2.0):
        ahead, behind = centre(min(alpha + 1e-4, 2.0))[0], centre(alpha - 1e-4)[0]
        assert (ahead - behind) / (min(alpha + 1e-4, 2.0) - alpha + 1e-4) == pytest.approx(centre(alpha)[1], abs=1e-3)
    assert centre(2.0)[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.0), (0.7, 0.4), (1.0, 0.3), (1.4, -0.7), (1.95, 0.2)])
def test_given_many_points_when_accumulated_then_the_quadrature_agrees_in_the_tail_too(
    alpha: float, beta: float
) -> None:
    x = np.sort(np.concatenate([np.sinh(np.linspace(-21, 21, 61)) * 0.3, [-0.2, 0.0, 0.2]]))
    accumulated, exact = lower_tail(x, alpha, beta), exact_cdf(x, alpha, beta)
    np.testing.assert_allclose(accumulated, exact, rtol=2e-5 if alpha < 0.9 else 2e-6)
    assert np.all(np.diff(lower_tail(np.linspace(-5, 5, 3001), alpha, beta)) > 0)


def test_given_the_package_when_measured_then_the_table_is_small() -> None:
    with resources.as_file(resources.files("critaudit.laws") / stable_table.TABLE_NAME) as path:
        assert path.stat().st_size <= 2.5e6


def test_given_a_small_tile_when_built_then_it_reproduces_the_smooth_part_at_its_nodes() -> None:
    coefficients = build_stable_table.tile_coefficients(1.5, 1.6, 2, 3)
    assert coefficients.shape == (2, 3, KNOTS)
    in_alpha, in_beta = np.cos(np.pi * np.array([0.25, 0.75])), np.cos(np.pi * (np.arange(3) + 0.5) / 3)
    parity = np.array([1.0, -1.0, 1.0])[:, None]
    whole = np.concatenate([(parity * coefficients[:, :, :0:-1]), coefficients], axis=2)
    knots = (np.arange(2 * KNOTS + 5) - KNOTS - 2) * STEP
    y = np.array([-40.0, -1.0, 0.0, 0.3, 7.0])
    for alpha, at in zip(1.55 + 0.05 * in_alpha, in_alpha, strict=True):
        for beta in in_beta:
            weights = np.outer(chebyshev.chebvander(at, 1), chebyshev.chebvander(beta, 2)).reshape(2, 3)
            spline = BSpline(knots, np.tensordot(weights, whole, 2), 5)
            expected = build_stable_table.smooth_part(y, float(alpha), float(beta))
            np.testing.assert_allclose(spline(np.arcsinh(y / WIDTH)), expected, atol=2e-6)


def test_given_start_statistics_when_compared_with_closed_forms_then_cauchy_and_gauss_agree() -> None:
    starts = stable_table.starts()
    cauchy, gauss = np.searchsorted(starts.alpha, 1.0 - 1e-9), starts.alpha.size - 1
    assert starts.ratio[cauchy] == pytest.approx(np.tan(0.45 * np.pi), rel=1e-3)
    assert starts.quartiles[cauchy] == pytest.approx(2.0, rel=1e-3)
    assert starts.ratio[gauss] == pytest.approx(2.4387, rel=1e-3)
    assert starts.quartiles[gauss] == pytest.approx(2 * 0.67449 * np.sqrt(2), rel=1e-3)
    assert np.all(np.diff(starts.ratio) < 0)
