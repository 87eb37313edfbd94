"""Durations and sizes as grouped samples: nothing is lost, nothing that censoring spoils is kept."""

from __future__ import annotations

import numpy as np
import pytest

from critaudit.laws.crackling.histogram import duration_histogram, size_histogram
from critaudit.laws.crackling.tally import from_avalanches
from tests.laws.crackling.samples import durations, sizes, zeta_sample


@pytest.mark.parametrize("depth", [5, 33, 400, 3000])
def test_given_durations_when_grouped_then_every_integer_below_the_depth_is_in_one_bin(depth: int) -> None:
    values = np.arange(1.0, depth)
    histogram = durations(np.repeat(values, 2), depth)
    assert histogram.pooled.sum() == 2 * (depth - 1)
    # Each integer was given twice: a bin's count is twice the number of its integers, its measure.
    np.testing.assert_allclose(histogram.pooled, 2 * np.exp(histogram.log_measures))
    assert histogram.edges[0] == 1
    assert histogram.edges[-1] == depth
    for first, stop, point in zip(histogram.edges[:-1], histogram.edges[1:], histogram.log_points, strict=True):
        assert point == pytest.approx(np.log(np.arange(first, stop)).mean())
    assert histogram.bounds(0, histogram.log_points.size) == (1.0, depth - 1.0)


def test_given_sizes_when_grouped_then_all_are_counted_between_edges_that_hold_them() -> None:
    values = np.exp(np.random.default_rng(0).normal(0, 4, 3000))
    histogram = sizes(values)
    expected, _ = np.histogram(values, histogram.edges)
    np.testing.assert_array_equal(histogram.pooled, expected)
    assert histogram.counts.shape[0] == 50
    np.testing.assert_allclose(np.diff(np.log2(histogram.edges)), 1 / 16)
    np.testing.assert_allclose(np.exp(histogram.log_measures), np.exp(histogram.log_points) * np.log(2) / 16)


def test_given_censored_paths_when_grouped_then_sizes_end_where_avalanches_would_be_missing() -> None:
    rng = np.random.default_rng(1)
    lasting = zeta_sample(2.0, 500, 20_000)
    cut = lasting >= 100
    volume = lasting**1.5 * np.exp(0.2 * rng.standard_normal(lasting.size))
    counts = from_avalanches(
        np.minimum(lasting, 100), volume, volume, np.zeros(lasting.size, int), depth=100, censored=cut
    )
    histogram = size_histogram(counts.total)
    # Censored sizes begin near 100^1.5·e^{−0.6}; below they are complete, far above they are not.
    assert 300 < histogram.edges[-1] < 1000
    complete, _ = np.histogram(volume, histogram.edges)
    assert histogram.pooled.sum() >= 0.995 * complete.sum()
    assert duration_histogram(counts).edges[-1] == 100


def test_given_no_avalanche_when_grouped_then_histograms_are_empty() -> None:
    counts = from_avalanches([0, 0], [1.0, 1.0], [1.0, 1.0], [0, 1], depth=10)
    assert duration_histogram(counts).pooled.sum() == 0
    assert size_histogram(counts.total).pooled.size == 0
