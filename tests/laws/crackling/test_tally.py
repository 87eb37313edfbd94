"""Listed avalanches against sums written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from critaudit.errors import CritauditError
from critaudit.laws.crackling.records import LAGS, SIZE_BINS_PER_OCTAVE
from critaudit.laws.crackling.tally import from_avalanches

PROFILES = [[], [3.0], [2.0, 2.5], [2.0, 3.0, 2.0, 4.0], [5.0]]  # the fourth is censored at depth 4
DURATIONS = [0, 1, 2, 0, 1]
CENSORED = [False, False, False, True, False]
CLUSTERS = [0, 0, 1, 1, 1]
TOTAL = [10 * sum(profile) for profile in PROFILES]
EXCESS = [10 * (sum(profile) - 2.0 * len(profile)) for profile in PROFILES]


def listed(**changed: object):
    arguments = {
        "durations": DURATIONS, "sizes": TOTAL, "excess": EXCESS, "clusters": CLUSTERS, "depth": 4,
        "censored": CENSORED, "profiles": PROFILES, "threshold": 2.0,
    } | changed  # fmt: skip
    return from_avalanches(**arguments)


def test_given_five_paths_when_counted_then_every_number_is_the_one_by_hand() -> None:
    counts = listed()
    assert counts.clusters == 2
    np.testing.assert_array_equal(counts.paths, [2, 3])
    np.testing.assert_array_equal(counts.none, [1, 0])
    np.testing.assert_array_equal(counts.censored, [0, 1])
    np.testing.assert_array_equal(counts.durations, [[1, 0, 0], [1, 1, 0]])
    for sizes, values, cut in ((counts.total, [30.0, 45.0, 50.0], 110.0), (counts.excess, [10.0, 5.0, 30.0], 30.0)):
        logs = [math.log(value) for value in values]
        np.testing.assert_allclose(sizes.moments[0, 0], [logs[0], logs[0] ** 2, values[0], values[0] ** 2])
        np.testing.assert_allclose(sizes.moments[1, 1], [logs[1], logs[1] ** 2, values[1], values[1] ** 2])
        np.testing.assert_allclose(sizes.moments[1, 0, 2], values[2])
        assert sizes.counts.sum(axis=1).tolist() == [1, 2]
        for cluster, value in ((0, values[0]), (1, values[1]), (1, values[2])):
            place = math.floor(SIZE_BINS_PER_OCTAVE * math.log2(value)) - sizes.first
            assert sizes.counts[cluster, place] == 1
            assert sizes.edges[place] <= value < sizes.edges[place + 1]
            assert sizes.edges[place] < sizes.centres[place] < sizes.edges[place + 1]
        assert sizes.censored[math.floor(SIZE_BINS_PER_OCTAVE * math.log2(cut)) - sizes.first] == 1
    np.testing.assert_array_equal(counts.profiles.counts, [2, 1, 0])
    np.testing.assert_allclose(counts.profiles.total, [[8.0, 0, 0], [2.0, 2.5, 0], [0, 0, 0]])
    np.testing.assert_allclose(counts.profiles.excess_squares, [[10.0, 0, 0], [0, 0.25, 0], [0, 0, 0]])


def test_given_the_activity_when_lagged_then_sums_are_those_over_pairs_within_the_depth() -> None:
    counts = listed()
    assert counts.lags.shape == (2, LAGS, 6)
    # Cluster 0 has one avalanche with activity 1, 0, 0, 0.
    np.testing.assert_allclose(counts.lags[0, :3], [[1, 1, 0, 1, 0, 0]] * 3)
    assert not counts.lags[:, 3:].any()
    # Cluster 1: 0, ½, 0, 0; the censored 0, 1, 0, 2; and 3, 0, 0, 0.
    np.testing.assert_allclose(counts.lags[1, 0], [2 + 3 + 1, 0.5 + 1 + 3, 0.5 + 3, 0.25 + 1 + 9, 0, 0.25 + 5])
    np.testing.assert_allclose(counts.lags[1, 1], [2 + 2 + 1, 0.5 + 1 + 3, 0 + 2, 0.25 + 1 + 9, 2, 4])
    np.testing.assert_allclose(counts.lags[1, 2], [1 + 1 + 1, 0 + 0 + 3, 0 + 2, 9, 0, 4])


def test_given_thresholds_that_vary_by_layer_when_excess_profiles_are_given_then_they_are_used() -> None:
    over = [[0.5 * s for s in profile] for profile in PROFILES]
    counts = listed(excess_profiles=over, threshold=None)
    np.testing.assert_allclose(counts.profiles.excess, 0.5 * counts.profiles.total)
    assert counts.lags[0, 0, 1] == 1.5


def test_given_no_clusters_and_no_depth_when_counted_then_each_path_is_a_cluster_and_nothing_is_censored() -> None:
    counts = from_avalanches([1, 7, 0], [1.0, 9.0, 0.0], [0.0, 3.0, 0.0])
    assert counts.clusters == 3
    assert counts.depth == 8
    assert counts.censored.sum() == 0
    assert counts.avalanches == 2
    assert counts.excess.edges[0] < 1e-11  # an excess of zero is as small as rounding


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"durations": [0, 1, 2]}, "one entry"),
        ({"durations": [0, 1, 4, 0, 1]}, "0 to depth − 1"),
        ({"durations": [0, 1.5, 2, 0, 1]}, "integers"),
        ({"sizes": [0, 0, 1, 1, 1]}, "positive"),
        ({"sizes": [0, math.nan, 1, 1, 1]}, "positive"),
        ({"excess": [0, -1, 1, 1, 1]}, "not negative"),
        ({"clusters": [0, 0, 1, 1, 2], "cluster_count": 2}, "clusters"),
        ({"profiles": [[], [1.0], [1.0], [1.0] * 4, [1.0]]}, "profiles"),
        ({"excess_profiles": [[], [1.0], [1.0], [1.0] * 4, [1.0]]}, "profiles"),
    ],
)
def test_given_lists_that_contradict_each_other_when_counted_then_one_line_says_what(
    changed: dict[str, object], word: str
) -> None:
    with pytest.raises(CritauditError, match=word) as error:
        listed(**changed)
    assert "\n" not in str(error.value)
