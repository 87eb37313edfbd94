"""Mean sizes, shape collapse and branching ratio on processes whose exponents are known by construction."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as t_distribution

from critaudit.laws.crackling.branching import branching_ratio
from critaudit.laws.crackling.collapse import collapse
from critaudit.laws.crackling.distribution import jackknife_estimate
from critaudit.laws.crackling.mean_size import MeanSizes, fit_slope, mean_sizes
from critaudit.laws.crackling.records import LAGS, ProfileSums
from tests.laws.crackling.samples import duration_counts, zeta_sample


def resamples(clusters: int, number: int = 60, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=number)
    return np.concatenate([np.ones((1, clusters)), drawn])


@pytest.mark.parametrize("slope", [1.0, 1.5, 2.0])
def test_given_sizes_that_scale_with_duration_when_fitted_then_the_slope_is_found_within_its_error(
    slope: float,
) -> None:
    rng = np.random.default_rng(1)
    lasting = zeta_sample(1.8, 800, 30_000)
    volume = 3.0 * lasting**slope * np.exp(0.5 * rng.standard_normal(lasting.size))
    counts = duration_counts(lasting, volume, 801)
    means = mean_sizes(counts, counts.total, resamples(50))
    fit = fit_slope(means, (2.0, 500.0))
    assert fit is not None
    assert fit.low == pytest.approx(2.0)
    assert fit.high <= 500
    error = fit.slopes[1:].std()
    assert abs(fit.slopes[0] - slope) < 5 * error < 0.1
    assert abs(fit.corrected[0] - slope) < 5 * fit.corrected[1:].std()
    assert fit.intercept == pytest.approx(math.log(3.0) + 0.125, abs=0.1)
    assert abs(fit.curvature) < 5
    # The mean itself, by hand, for one duration.
    place = int(np.flatnonzero(np.isclose(means.durations, 3.0))[0])
    assert means.logs[0, place] == pytest.approx(math.log(volume[lasting == 3].mean()))
    assert means.numbers[place] == np.count_nonzero(lasting == 3)


def test_given_weights_when_fitted_then_the_line_is_that_of_numpy() -> None:
    lasting = zeta_sample(1.8, 300, 5000, seed=2)
    volume = lasting**1.3 * np.exp(0.3 * np.random.default_rng(3).standard_normal(lasting.size))
    counts = duration_counts(lasting, volume, 301)
    means = mean_sizes(counts, counts.total, np.ones((1, 50)))
    fit = fit_slope(means, None)
    assert fit is not None
    line = np.polyfit(np.log(means.durations), means.logs[0], 1, w=np.sqrt(means.weights))
    assert fit.slopes[0] == pytest.approx(line[0], rel=1e-9)
    assert fit.intercept == pytest.approx(line[1], rel=1e-9)
    assert math.isnan(fit.curvature)
    assert fit_slope(means, (100.0, 110.0)) is None


def test_given_profiles_of_one_shape_when_collapsed_then_the_exponent_is_exact_and_nothing_is_left() -> None:
    longest = 300
    sums = ProfileSums.zeros(longest)
    for lasting in range(1, longest + 1):
        u = (np.arange(lasting) + 0.5) / lasting
        sums.counts[lasting - 1] = 50
        sums.total[lasting - 1, :lasting] = 50 * lasting**0.8 * u * (1 - u)
    logs = np.log(np.arange(1.0, longest + 1))
    means = MeanSizes(np.exp(logs), np.stack([1.8 * logs, 1.9 * logs]), np.ones(longest), np.full(longest, 50.0))
    found = collapse(sums, sums.total, (10.0, 300.0), means)
    assert found is not None
    assert found.slopes[0] == pytest.approx(1.8, abs=5e-3)
    # A resample whose mean sizes grow faster by D^0.1 collapses at an exponent larger by as much.
    assert found.slopes[1] == pytest.approx(1.9, abs=5e-3)
    assert found.corrected == pytest.approx([1.8, 1.9], abs=0.02)
    assert found.mismatch < 1e-3
    assert found.mismatch_before > 0.3
    assert found.before.shape == found.after.shape == (found.durations.size, found.phases.size)
    assert np.all((found.durations >= 10) & (found.durations <= 300))
    assert collapse(sums, sums.total, (10.0, 12.0), means) is None
    assert collapse(ProfileSums.zeros(0), np.zeros((0, 0)), None, means) is None


def test_given_heights_with_a_correction_when_collapsed_then_the_corrected_exponent_is_free_of_it() -> None:
    longest = 500
    sums = ProfileSums.zeros(longest)
    d = np.arange(1.0, longest + 1)
    for lasting in range(1, longest + 1):
        u = (np.arange(lasting) + 0.5) / lasting
        sums.counts[lasting - 1] = 50
        sums.total[lasting - 1, :lasting] = 50 * lasting**0.5 * (1 + 1.5 * lasting**-0.5) * np.sqrt(u * (1 - u))
    logs = 1.5 * np.log(d) + np.log(1 + 1.5 * d**-0.5)
    # A resample in which one duration out of a curve of many moves hardly moves the curve.
    moved = logs + np.where(d == 100.0, 0.5, 0.0)
    means = MeanSizes(d, np.stack([logs, moved]), np.ones(longest), np.full(longest, 50.0))
    found = collapse(sums, sums.total, (8.0, 500.0), means)
    assert found is not None
    assert found.slopes[0] < 1.46
    # What is left of the bias are 32 phases read from profiles of eight layers.
    assert found.corrected[0] == pytest.approx(1.5, abs=0.02)
    assert abs(found.slopes[1] - found.slopes[0]) < 0.01
    rare = replace(means, durations=d[::60], logs=means.logs[:, ::60], numbers=means.numbers[::60])
    again = collapse(sums, sums.total, (8.0, 500.0), rare)
    assert again is not None
    assert np.all(np.isfinite(again.corrected))


def test_given_two_corrections_to_scaling_when_fitted_then_the_corrected_slope_is_exact_and_the_plain_one_is_not() -> (
    None
):
    d = np.unique(np.rint(np.geomspace(1, 1000, 80)))
    logs = 1.7 * np.log(d) + 0.8 * d**-0.5 - 0.6 / d
    means = MeanSizes(d, logs[np.newaxis], d**-0.3, np.full(d.size, 50.0))
    fit = fit_slope(means, (10.0, 600.0))
    assert fit is not None
    assert fit.corrected[0] == pytest.approx(1.7, abs=1e-9)
    assert fit.slopes[0] < 1.69
    assert (fit.low, fit.high) == pytest.approx((10.0, 600.0), rel=0.1)


def regression_sums(activity: np.ndarray, clusters: int) -> np.ndarray:
    """The sums that `AvalancheCounts.lags` holds, of series (series, steps), dealt to clusters in turn."""
    sums = np.zeros((clusters, LAGS, 6))
    for row, series in enumerate(activity):
        for lag in range(1, LAGS + 1):
            x, y = series[:-lag], series[lag:]
            sums[row % clusters, lag - 1] += (x.size, x.sum(), y.sum(), x @ x, x @ y, y @ y)
    return sums


def test_given_subsampled_activity_when_regressed_over_many_steps_then_the_branching_ratio_is_unbiased() -> None:
    rng = np.random.default_rng(4)
    ratio, steps = 0.95, 4000
    activity = np.empty((20, steps))
    activity[:, 0] = 100.0
    for step in range(1, steps):
        activity[:, step] = rng.poisson(ratio * activity[:, step - 1] + 5.0)
    seen = rng.binomial(activity.astype(int), 0.05).astype(float)
    found = branching_ratio(regression_sums(seen, 20))
    assert found is not None
    estimate = jackknife_estimate(found.ratio, found.left_out, found.shares)
    assert estimate.error is not None
    assert abs(found.ratio - ratio) < 5 * estimate.error < 0.03
    # One step only sees the subsampling: 5 % of the activity hides most of the correlation.
    assert found.single_step < 0.6
    assert found.amplitude == pytest.approx(found.single_step / ratio, rel=0.05)
    whole = branching_ratio(regression_sums(activity, 20))
    assert whole is not None
    assert whole.single_step == pytest.approx(ratio, abs=0.02)
    assert whole.misfit < 0.02


def test_given_too_few_or_constant_pairs_when_regressed_then_there_is_no_ratio() -> None:
    assert branching_ratio(np.zeros((5, LAGS, 6))) is None
    assert branching_ratio(regression_sums(np.ones((5, 500)), 5)) is None


def test_given_a_ratio_of_sums_when_clusters_are_left_out_then_the_jackknife_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(6)
    v = rng.pareto(1.1, 40) + 1
    u = 0.9 * v + v * 0.02 * rng.standard_normal(40)
    ratio = u.sum() / v.sum()
    left = np.array([np.delete(u, g).sum() / np.delete(v, g).sum() for g in range(40)])
    found = jackknife_estimate(ratio, left, v / v.sum())
    assert found.corrected == pytest.approx(40 * ratio - 39 * left.mean())
    assert found.error == pytest.approx(math.sqrt(39 / 40 * np.square(left - left.mean()).sum()))
    assert found.interval is not None
    assert found.interval[0] <= found.value <= found.interval[1]
    half = (found.interval[1] - found.interval[0]) / 2
    degrees = (v**2).sum() ** 2 / (v**4).sum()
    assert half >= t_distribution.ppf(0.975, degrees) * found.error * (1 - 1e-9)
    # Equal clusters have all their degrees of freedom; the jackknife of a mean is its standard error.
    equal = rng.standard_normal(30)
    means = (equal.sum() - equal) / 29
    found = jackknife_estimate(equal.mean(), means, np.full(30, 1 / 30))
    assert found.corrected == pytest.approx(equal.mean())
    assert found.interval == pytest.approx(
        t_distribution.interval(0.95, 29, equal.mean(), equal.std(ddof=1) / math.sqrt(30))
    )
    few = jackknife_estimate(1.0, np.ones(9), np.full(9, 1 / 9))
    assert few.interval is None
    assert "9 clusters" in few.reason


def test_given_empty_clusters_when_regressed_then_they_are_no_clusters() -> None:
    rng = np.random.default_rng(7)
    sums = regression_sums(rng.poisson(20.0, (12, 500)).astype(float), 12)
    padded = np.concatenate([sums, np.zeros((5, LAGS, 6))])
    one, other = branching_ratio(sums), branching_ratio(padded)
    assert one is not None
    assert other is not None
    assert other.left_out == pytest.approx(one.left_out)
    assert other.shares.sum() == pytest.approx(1.0)
    # Without the first cluster: the same as never having seen it.
    rest = branching_ratio(sums[1:])
    assert rest is not None
    assert one.left_out[0] == pytest.approx(rest.ratio)
