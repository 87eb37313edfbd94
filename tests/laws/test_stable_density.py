"""The exact density against closed forms, series, an independent Fourier quadrature, and itself."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gammaln

from critaudit.errors import UsageError
from critaudit.laws.stable_density import exact_cdf, exact_logpdf, s1_shift

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "stable_logpdf_S0.json").read_text(encoding="utf-8"))
X = np.sinh(np.linspace(-15, 15, 61)) * 0.3


def test_given_golden_points_when_integrated_then_they_agree_to_a_billionth() -> None:
    for point in GOLDEN["points"]:
        assert exact_logpdf(point["x"], point["alpha"], point["beta"]) == pytest.approx(
            point["logpdf"], abs=1e-9, rel=1e-13
        )


def test_given_closed_forms_when_integrated_then_gauss_cauchy_and_levy_come_out() -> None:
    np.testing.assert_allclose(exact_logpdf(X, 2.0), -(X**2) / 4 - math.log(4 * math.pi) / 2, atol=1e-12)
    np.testing.assert_allclose(exact_logpdf(X, 1.0), -np.log(math.pi * (1 + X**2)), atol=1e-11)
    np.testing.assert_allclose(exact_cdf(X, 1.0), 0.5 + np.arctan(X) / math.pi, atol=1e-12)
    above = np.geomspace(0.02, 1e6, 30)  # Lévy's law: S1(1/2, 1), x₁ = x₀ + 1
    levy = -0.5 * math.log(2 * math.pi) - 1.5 * np.log(above) - 1 / (2 * above)
    np.testing.assert_allclose(exact_logpdf(above - s1_shift(0.5, 1.0), 0.5, 1.0), levy, atol=1e-9)
    assert np.all(np.isneginf(exact_logpdf([-3.0, -1.5], 0.5, 1.0)))


@pytest.mark.parametrize("beta", [-1.0, -0.4, 0.0, 0.7])
@pytest.mark.parametrize("alpha", [0.97, 1.0, 1.0001, 1.3, 1.77, 1.99])
def test_given_the_bulk_when_integrated_then_a_plain_fourier_quadrature_agrees(alpha: float, beta: float) -> None:
    def cosine(t: float, x: float) -> float:
        skew = 2 / math.pi * t * math.log(t) if alpha == 1 else math.tan(math.pi * alpha / 2) * (t - t**alpha)
        return math.exp(-(t**alpha)) * math.cos(x * t + beta * skew)

    for x in (-3.3, -0.4, 0.0, 1.1, 4.2):
        value = quad(cosine, 1e-300, 50.0, args=(x,), limit=600, epsabs=1e-12)[0] / math.pi
        if value > 1e-6:
            assert math.exp(exact_logpdf(x, alpha, beta)) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("alpha", [0.5, 0.7, 0.93, 0.96, 1.2, 1.8])
@pytest.mark.parametrize("beta", [-0.6, 0.0, 1.0])
def test_given_far_tails_when_integrated_then_the_asymptotic_series_agrees(alpha: float, beta: float) -> None:
    tangent = beta * math.tan(math.pi * alpha / 2)
    x1 = np.array([1e5, 1e7, 1e8]) * (10.0 if alpha < 1 else 1.0)
    orders = np.arange(1, 12)
    size = gammaln(orders * alpha + 1) - gammaln(orders + 1) + orders / 2 * math.log1p(tangent**2)
    signs = (-1.0) ** (orders - 1) * np.sin(orders * (math.pi * alpha / 2 + math.atan(tangent)))
    series = np.sum(signs * np.exp(size - (orders * alpha + 1) * np.log(x1[:, None])), axis=1) / math.pi
    np.testing.assert_allclose(exact_logpdf(x1 - tangent, alpha, beta), np.log(series), atol=1e-7)


@pytest.mark.parametrize(
    ("alpha", "beta"), [(0.5, 0.3), (0.8, -0.9), (0.95, 0.2), (0.951, 0.2), (1.0, -0.5), (1.6, 0.8), (1.999, 0.1)]
)
def test_given_two_points_when_the_density_is_integrated_then_the_distribution_grows_as_much(
    alpha: float, beta: float
) -> None:
    nodes, weights = np.polynomial.legendre.leggauss(60)
    edges = np.array([-300.0, -20.0, -4.0, -1.0, -0.3, 0.4, 1.0, 5.0, 40.0])
    for low, high in itertools.pairwise(edges):
        points = (low + high) / 2 + (high - low) / 2 * nodes
        mass = float(np.exp(exact_logpdf(points, alpha, beta)) @ weights) * (high - low) / 2
        grown = float(exact_cdf(high, alpha, beta) - exact_cdf(low, alpha, beta))
        assert mass == pytest.approx(grown, abs=2e-6, rel=2e-4)


def test_given_alpha_across_one_and_across_the_two_formulas_when_integrated_then_nothing_jumps() -> None:
    step = 1e-3
    for alpha in (0.95 + 1e-9, 1.0):
        for beta in (0.0, 0.5, -0.9):
            around = [exact_logpdf(X, alpha + k * step, beta) for k in (-2, -1, 1, 2)]
            expected = (-around[0] + 4 * around[1] + 4 * around[2] - around[3]) / 6
            np.testing.assert_allclose(exact_logpdf(X, alpha, beta), expected, atol=1e-7)


def test_given_one_sided_laws_when_integrated_then_the_light_tail_decreases_without_end() -> None:
    for alpha in (1.0, 1.2, 1.7, 1.95):
        light = exact_logpdf(-np.geomspace(1.0, 1e4, 80), alpha, 1.0)
        assert not np.isnan(light).any()
        assert np.all(np.diff(light) < 0)


@pytest.mark.parametrize(("alpha", "beta"), [(0.4, 0.0), (2.1, 0.0), (math.nan, 0.0), (1.5, 1.01), (1.5, math.nan)])
def test_given_parameters_outside_their_range_when_asked_then_one_clear_line(alpha: float, beta: float) -> None:
    for function in (exact_logpdf, exact_cdf):
        with pytest.raises(UsageError, match=r"is outside \["):
            function(0.0, alpha, beta)
