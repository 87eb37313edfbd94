"""Truncated power laws on grouped samples against exact maximum likelihood, brute force and laws that are none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.laws.crackling.histogram import Histogram
from critaudit.laws.crackling.truncated import (
    best_range,
    candidate_edges,
    corrected_exponents,
    fit_range,
    solve_exponents,
)
from critaudit.laws.power_law import truncated_power_law
from tests.laws.crackling.samples import durations, power_sample, sizes, zeta_sample

PROPERTY = settings(deadline=None, max_examples=25, derandomize=True)


@pytest.mark.parametrize("exponent", [0.6, 1.4, 2.5])
def test_given_sizes_when_fitted_on_a_range_then_the_exponent_is_that_of_the_unbinned_sample(exponent: float) -> None:
    values = power_sample(exponent, 1.0, 2.0**12, 20_000)
    histogram = sizes(values)
    fit = fit_range(histogram, 32, 144)
    assert fit is not None
    exact = truncated_power_law(values, fit.low, fit.high, discrete=False)
    # Binning leaves out where in a bin a value lies: a tenth of a standard error.
    assert fit.exponent == pytest.approx(exact.exponent, abs=1.5e-3)
    assert fit.standard_error == pytest.approx(exact.standard_error, rel=0.01)
    assert fit.cluster_error == pytest.approx(exact.standard_error, rel=0.5)
    assert fit.n == exact.n


@pytest.mark.parametrize(("low", "high"), [(1, 31), (3, 900), (40, 700)])
def test_given_durations_when_fitted_then_the_exponent_is_that_of_the_exact_discrete_law(low: int, high: int) -> None:
    values = zeta_sample(1.7, 2000, 40_000)
    histogram = durations(values, 1000)
    first, stop = np.searchsorted(histogram.edges, [low, high])
    fit = fit_range(histogram, int(first), int(stop))
    assert fit is not None
    exact = truncated_power_law(values, fit.low, fit.high, discrete=True)
    assert fit.exponent == pytest.approx(exact.exponent, abs=1.5e-3)
    assert fit.n == exact.n


def test_given_counts_when_solved_then_the_exponent_is_the_brute_force_maximum_of_the_likelihood() -> None:
    histogram = durations(zeta_sample(2.2, 600, 3000), 500)
    logs, measures, pooled = histogram.log_points, histogram.log_measures, histogram.pooled

    def negative(exponent: float) -> float:
        powers = measures - exponent * logs
        return -float(pooled @ (powers - np.log(np.exp(powers).sum())))

    brute = scipy.optimize.minimize_scalar(negative, bounds=(0, 5), method="bounded", options={"xatol": 1e-10}).x
    mean = np.array([pooled @ logs / pooled.sum()])
    found, masses, variance = solve_exponents(logs, measures, mean)
    assert found[0] == pytest.approx(brute, abs=1e-6)
    assert masses.sum() == pytest.approx(1.0)
    assert variance[0] == pytest.approx(masses[0] @ logs**2 - (masses[0] @ logs) ** 2)


@PROPERTY
@given(st.floats(-3, 8), st.integers(2, 200), st.floats(-0.4, 0.4))
def test_given_any_mean_that_an_exponent_has_when_solved_then_that_exponent_is_found(
    exponent: float, bins: int, start: float
) -> None:
    logs = start + 0.04 * np.arange(bins + 1.0)
    powers = logs * (1 - exponent)
    masses = np.exp(powers - powers.max())
    mean = np.array([masses @ logs / masses.sum()])
    found, _, _ = solve_exponents(logs, logs, mean)
    assert found[0] == pytest.approx(exponent, abs=1e-6)


def test_given_a_power_law_when_ranges_are_searched_then_its_own_range_is_found() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([power_sample(1.4, 5, 400, 30_000), rng.lognormal(0.5, 0.3, 8000)])
    fit = best_range(sizes(values), rng, least=500)
    assert fit is not None
    assert 4.0 < fit.low < 20.0
    assert 200 < fit.high < 430
    # 5 standard errors, and what a search may pick.
    assert fit.exponent == pytest.approx(1.4, abs=0.045)
    assert fit.p > 0.05
    assert abs(fit.drift) < 4 * fit.drift_error


@pytest.mark.parametrize("sigma", [1.0, 1.5])
def test_given_a_lognormal_when_ranges_are_searched_then_none_of_one_and_a_half_decades_passes(sigma: float) -> None:
    rng = np.random.default_rng(3)
    fit = best_range(sizes(rng.lognormal(0, sigma, 30_000)), rng, least=500)
    assert fit is None or fit.decades < 1.5


def test_given_an_exponential_when_ranges_are_searched_then_its_flat_beginning_is_no_power_law() -> None:
    rng = np.random.default_rng(4)
    fit = best_range(sizes(rng.exponential(100, 30_000)), rng, least=500)
    assert fit is None or (fit.decades < 1.0 and fit.exponent > 1.0)


@PROPERTY
@given(st.integers(-20, 20))
def test_given_sizes_in_other_units_when_searched_then_the_exponent_and_the_decades_stay(octaves: int) -> None:
    values = power_sample(1.5, 2, 3000, 4000, seed=5)
    one = best_range(sizes(values), np.random.default_rng(6), least=500)
    other = best_range(sizes(values * 2.0**octaves), np.random.default_rng(6), least=500)
    assert one is not None
    assert other is not None
    assert other.exponent == pytest.approx(one.exponent, abs=1e-9)
    assert other.low == pytest.approx(one.low * 2.0**octaves)
    assert other.decades == pytest.approx(one.decades)


def test_given_repeated_avalanches_in_a_cluster_when_fitted_then_cluster_errors_grow_and_formal_ones_do_not() -> None:
    values = power_sample(1.5, 2, 3000, 4000, seed=7)
    rows = np.random.default_rng(8).integers(0, 100, values.size)
    single = fit_range(sizes(values, 100, rows=rows), 0, 150)
    ninefold = fit_range(sizes(np.repeat(values, 9), 100, rows=np.repeat(rows, 9)), 0, 150)
    assert single is not None
    assert ninefold is not None
    assert ninefold.exponent == pytest.approx(single.exponent)
    assert ninefold.standard_error == pytest.approx(single.standard_error / 3)
    assert ninefold.cluster_error == pytest.approx(single.cluster_error)
    # The curvature is judged by clusters too.
    assert ninefold.curvature == pytest.approx(single.curvature)


def test_given_power_laws_when_tested_then_p_values_are_spread_evenly() -> None:
    rng = np.random.default_rng(9)
    values = []
    for seed in range(60):
        histogram = sizes(power_sample(1.6, 2, 2000, 1500, seed=100 + seed), seed=seed)
        fit = fit_range(histogram, 0, histogram.log_points.size, rng.standard_normal((99, 50)))
        assert fit is not None
        values.append(fit.p)
    # Mean of 60 uniform values: 0.5 ± 0.037; five standard errors.
    assert np.mean(values) == pytest.approx(0.5, abs=0.19)
    assert np.count_nonzero(np.array(values) < 0.1) <= 20


def test_given_bends_when_fitted_then_their_sign_and_size_are_measured() -> None:
    # p(x) ∝ x^−1.5·e^{−b ln²x}: the local exponent grows by 2b per unit of ln x.
    rng = np.random.default_rng(10)
    grid = np.linspace(0, math.log(1000), 4000)
    for bend in (0.05, -0.05):
        masses = np.exp(-0.5 * grid - bend * grid**2)
        values = np.exp(rng.choice(grid, 40_000, p=masses / masses.sum()))
        histogram = sizes(values)
        fit = fit_range(histogram, 0, histogram.log_points.size)
        assert fit is not None
        assert np.sign(fit.curvature) == np.sign(bend)
        assert abs(fit.curvature) > 5
        assert fit.drift == pytest.approx(2 * bend * math.log(1000), rel=0.5)


def test_given_corrections_at_both_ends_when_allowed_for_then_the_exponent_is_unbiased() -> None:
    rng = np.random.default_rng(11)
    t = np.linspace(0, math.log(1000), 20_000)
    x = np.exp(t)
    masses = x * x**-1.5 * np.exp(-1.0 * x**-0.5 - 1.0 * x / 1000)
    histogram = sizes(np.exp(rng.choice(t, 400_000, p=masses / masses.sum())))
    fit = fit_range(histogram, 0, histogram.log_points.size)
    assert fit is not None
    assert abs(fit.exponent - 1.5) > 0.01
    corrected = corrected_exponents(histogram, fit, histogram.pooled[np.newaxis])
    assert corrected[0] == pytest.approx(1.5, abs=0.06)


def test_given_few_or_equal_values_when_fitted_then_nothing_is_claimed() -> None:
    rng = np.random.default_rng(12)
    empty = Histogram(np.array([1.0, 2.0]), np.zeros(1), np.zeros(1), np.zeros((3, 1)), discrete=True)
    assert candidate_edges(empty).size == 0
    assert best_range(empty, rng, least=1) is None
    assert best_range(sizes(np.full(5000, 7.0)), rng, least=1) is None
    assert best_range(durations(np.full(5000, 7.0), 50), rng, least=1) is None
    assert best_range(sizes(power_sample(1.5, 1, 100, 400)), rng, least=500) is None
    fit = fit_range(sizes(power_sample(1.5, 1, 100, 400)), 0, 100)
    assert fit is not None
    assert np.isnan(corrected_exponents(sizes(np.array([1.0, 2.0, 4.0])), fit, np.zeros((1, 200)))[0])
