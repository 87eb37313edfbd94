"""Other laws on the same range, against brute-force maximisation and the powerlaw package."""

from __future__ import annotations

import math
import warnings

import numpy as np
import powerlaw
import pytest
import scipy.optimize

from critaudit.laws.crackling.cross_check import cross_check
from critaudit.laws.crackling.rivals import compare_on_range
from critaudit.laws.crackling.truncated import fit_range
from tests.laws.crackling.samples import durations, power_sample, sizes, zeta_sample


def compared(values: np.ndarray, clusters: int = 50, rows: np.ndarray | None = None) -> dict:
    histogram = sizes(values, clusters, rows=rows)
    fit = fit_range(histogram, 0, histogram.log_points.size)
    assert fit is not None
    return {rival.law: rival for rival in compare_on_range(histogram, fit)}


def brute_gain(values: np.ndarray, law, start: tuple[float, ...]) -> float:
    """Log-likelihood gained over the power law by the law ln p(ln x; parameters), by Nelder–Mead on the bins."""
    histogram = sizes(values)
    logs, measures, pooled = histogram.log_points, histogram.log_measures, histogram.pooled

    def negative(parameters: np.ndarray, of) -> float:
        powers = measures + of(logs, *parameters)
        return -float(pooled @ (powers - powers.max() - math.log(np.exp(powers - powers.max()).sum())))

    options = {"xatol": 1e-9, "fatol": 1e-9, "maxiter": 20_000, "maxfev": 20_000}
    ours = scipy.optimize.minimize(negative, (1.5,), args=(lambda t, a: -a * t,), method="Nelder-Mead", options=options)
    theirs = scipy.optimize.minimize(negative, start, args=(law,), method="Nelder-Mead", options=options)
    return float(ours.fun - theirs.fun)


def test_given_a_lognormal_when_compared_then_the_gains_are_those_of_brute_force() -> None:
    values = np.random.default_rng(0).lognormal(1, 1.0, 4000)
    found = compared(values)
    gain = brute_gain(values, lambda t, a, b: -a * t - b * t**2, (0.5, 0.5))
    assert -found["lognormal"].log_ratio == pytest.approx(gain, rel=1e-5)
    gain = brute_gain(values, lambda t, a, c: -a * t - math.exp(c) * np.exp(t), (0.5, -2.0))
    assert -found["power_law_with_cutoff"].log_ratio == pytest.approx(gain, rel=1e-4)
    gain = brute_gain(values, lambda t, b, c: (math.exp(b) - 1) * t - math.exp(c) * np.exp(math.exp(b) * t), (-1, 0))
    assert -found["stretched_exponential"].log_ratio == pytest.approx(gain, rel=1e-3)
    gain = brute_gain(values, lambda t, c: -math.exp(c) * np.exp(t), (-2.0,))
    assert -found["exponential"].log_ratio == pytest.approx(gain, rel=1e-4)
    assert found["lognormal"].verdict == "lognormal"
    assert found["lognormal"].p < 1e-12


def test_given_a_power_law_when_compared_then_no_rival_wins_and_the_exponential_loses() -> None:
    found = compared(power_sample(1.5, 1, 1000, 5000, seed=1))
    assert found["exponential"].verdict == "power_law"
    for name in ("lognormal", "stretched_exponential", "power_law_with_cutoff"):
        assert found[name].nested
        assert found[name].log_ratio <= 0
        # A right power law gives as much once in 10⁶: gain 11.3.
        assert found[name].log_ratio > -11.3
        assert found[name].p > 1e-6


def test_given_copies_of_avalanches_within_clusters_when_compared_then_nothing_becomes_more_significant() -> None:
    values = np.random.default_rng(2).lognormal(0, 2.0, 3000)
    rows = np.random.default_rng(3).integers(0, 60, values.size)
    single = compared(values, 60, rows)
    tenfold = compared(np.repeat(values, 10), 60, np.repeat(rows, 10))
    for name, rival in single.items():
        assert tenfold[name].log_ratio == pytest.approx(10 * rival.log_ratio, rel=1e-3, abs=1e-3)
        assert tenfold[name].p == pytest.approx(rival.p, rel=0.05, abs=1e-12)
    # Independent avalanches would have been: the same counts spread over clusters anew.
    spread = compared(np.repeat(values, 10), 60)
    assert spread["lognormal"].p < 1e-3 * max(tenfold["lognormal"].p, 1e-290)


def test_given_an_untruncated_tail_when_compared_by_the_package_then_signs_and_exponents_agree() -> None:
    values = power_sample(2.5, 1, 1e6, 4000, seed=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = powerlaw.Fit(values, xmin=1.0, verbose=False)
        ratio, p = fit.distribution_compare("power_law", "exponential")
    found = compared(values)
    assert ratio > 0
    assert p < 1e-3
    assert found["exponential"].log_ratio > 0
    # The upper end, 10⁶, is where the sample's own tail ends: truncation there changes the ratio little.
    assert found["exponential"].log_ratio == pytest.approx(ratio, rel=0.1)


def test_given_a_tail_when_cross_checked_then_the_package_finds_the_exponent_of_sizes_and_of_durations() -> None:
    check = cross_check(sizes(power_sample(2.2, 1, 1e8, 30_000, seed=5)), 1.0)
    assert check is not None
    assert check.exponent == pytest.approx(2.2, abs=0.1)
    assert check.sample == 4000
    check = cross_check(durations(zeta_sample(2.5, 10**6, 30_000, seed=6), 3000), 2.0)
    assert check is not None
    assert check.exponent == pytest.approx(2.5, abs=0.15)
    assert cross_check(sizes(power_sample(2.2, 1, 1e8, 40)), 1.0) is None
    assert cross_check(sizes(np.full(1000, 3.0)), 1.0) is None
