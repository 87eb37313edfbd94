"""Mean sizes, shape collapse and branching ratio on processes whose exponents are known by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest

from critaudit.laws.crackling.branching import branching_ratio
from critaudit.laws.crackling.collapse import collapse
from critaudit.laws.crackling.mean_size import fit_slope, mean_sizes
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
    logs = np.linspace(0, math.log(300), 20)
    found = collapse(sums, sums.total, (10.0, 300.0), (logs, np.stack([1.8 * logs, 1.9 * logs])))
    assert found is not None
    assert found.slopes[0] == pytest.approx(1.8, abs=5e-3)
    # A resample whose mean sizes grow faster by D^0.1 collapses at an exponent larger by as much.
    assert found.slopes[1] == pytest.approx(1.9, abs=5e-3)
    assert found.mismatch < 1e-3
    assert found.mismatch_before > 0.3
    assert found.before.shape == found.after.shape == (found.durations.size, found.phases.size)
    assert np.all((found.durations >= 10) & (found.durations <= 300))
    assert collapse(sums, sums.total, (10.0, 12.0), (logs, logs[np.newaxis])) is None
    assert collapse(ProfileSums.zeros(0), np.zeros((0, 0)), None, (logs, logs[np.newaxis])) is None


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
    found = branching_ratio(regression_sums(seen, 20), resamples(20))
    assert found is not None
    error = found.ratios[1:].std()
    assert abs(found.ratios[0] - ratio) < 5 * error < 0.03
    # One step only sees the subsampling: 5 % of the activity hides most of the correlation.
    assert found.single_step < 0.6
    assert found.amplitude == pytest.approx(found.single_step / ratio, rel=0.05)
    whole = branching_ratio(regression_sums(activity, 20), np.ones((1, 20)))
    assert whole is not None
    assert whole.single_step == pytest.approx(ratio, abs=0.02)
    assert whole.misfit < 0.02


def test_given_too_few_or_constant_pairs_when_regressed_then_there_is_no_ratio() -> None:
    assert branching_ratio(np.zeros((5, LAGS, 6)), np.ones((1, 5))) is None
    assert branching_ratio(regression_sums(np.ones((5, 500)), 5), np.ones((1, 5))) is None
