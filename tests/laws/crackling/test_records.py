"""Records of ensembles: merging, resampling and pooling leave every count where it belongs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.errors import CritauditError
from critaudit.laws.crackling.records import AvalancheCounts, duration_edges, merge
from critaudit.laws.crackling.tally import from_avalanches

PROPERTY = settings(deadline=None, max_examples=10, derandomize=True)


def ensemble(seed: int, clusters: int = 3, depth: int = 30, paths: int = 100) -> AvalancheCounts:
    rng = np.random.default_rng(seed)
    durations = rng.integers(0, depth, paths)
    censored = rng.random(paths) < 0.1
    lasting = np.where(censored, depth, durations)
    profiles = [1.0 + rng.random(n) for n in lasting]
    total = np.array([profile.sum() for profile in profiles])
    return from_avalanches(
        durations,
        total,
        total - lasting,
        rng.integers(0, clusters, paths),
        depth=depth,
        censored=censored,
        profiles=profiles,
        threshold=1.0,
        cluster_count=clusters,
    )


def numbers(counts: AvalancheCounts) -> list[float]:
    """Totals of everything that is additive."""
    parts = [counts.paths, counts.none, counts.censored, counts.durations, counts.lags]
    for sizes in (counts.total, counts.excess):
        parts += [sizes.counts, sizes.moments]
    return [float(part.sum()) for part in parts]


@pytest.mark.parametrize("depth", [2, 3, 100, 513, 514, 600, 10_000])
def test_given_a_depth_when_binning_durations_then_every_duration_has_one_bin_of_an_integer_or_a_64th_octave(
    depth: int,
) -> None:
    edges = duration_edges(depth)
    assert edges[0] == 1
    assert edges[-1] == depth
    assert np.all(np.diff(edges) > 0)
    assert np.all(np.diff(edges)[: min(depth - 1, 512)] == 1)
    assert np.all(np.diff(edges) <= 1 + edges[:-1] * (2 ** (1 / 64) - 1) * 1.1)


@PROPERTY
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4, unique=True))
def test_given_parts_when_merged_then_clusters_follow_each_other_and_nothing_is_lost(seeds: list[int]) -> None:
    parts = [ensemble(seed) for seed in seeds]
    whole = merge(parts)
    assert whole.clusters == 3 * len(parts)
    np.testing.assert_allclose(numbers(whole), np.sum([numbers(part) for part in parts], axis=0))
    for i, part in enumerate(parts):
        again = whole.resample([3 * i, 3 * i + 1, 3 * i + 2])
        np.testing.assert_allclose(numbers(again), numbers(part))
        start = part.excess.first - whole.excess.first
        width = part.excess.counts.shape[1]
        np.testing.assert_array_equal(again.excess.counts[:, start : start + width], part.excess.counts)
    assert whole.excess.censored.sum() == whole.censored.sum()
    np.testing.assert_array_equal(whole.profiles.counts, np.sum([part.profiles.counts for part in parts], axis=0))
    np.testing.assert_allclose(whole.profiles.total, np.sum([part.profiles.total for part in parts], axis=0))


def test_given_weights_when_pooled_then_equal_to_the_resample_they_describe() -> None:
    counts = ensemble(1)
    resampled = counts.resample([2, 0, 2]).pooled()
    weighted = counts.pooled([1, 0, 2])
    assert resampled.clusters == weighted.clusters == 1
    np.testing.assert_array_equal(weighted.durations, resampled.durations)
    np.testing.assert_array_equal(weighted.total.counts, resampled.total.counts)
    np.testing.assert_allclose(weighted.excess.moments, resampled.excess.moments)
    np.testing.assert_allclose(weighted.lags, resampled.lags)
    assert weighted.avalanches == resampled.avalanches


def test_given_an_empty_part_when_merged_then_its_clusters_are_there() -> None:
    silent = from_avalanches([0, 0], [0, 0], [0, 0], [0, 0], depth=30, cluster_count=2)
    assert silent.total.counts.shape == (2, 0)
    for parts in ([silent, ensemble(3)], [silent, silent]):
        whole = merge(parts)
        assert whole.clusters == 2 + parts[1].clusters
        assert whole.avalanches == parts[1].avalanches
        assert whole.total.edges.size == whole.total.counts.shape[1] + 1


def test_given_requests_that_make_no_sense_when_asked_then_one_line_says_so() -> None:
    counts = ensemble(2)
    for request in (
        lambda: counts.resample([3]),
        lambda: counts.resample([]),
        lambda: counts.pooled([1.0]),
        lambda: merge([]),
        lambda: merge([counts, ensemble(2, depth=31)]),
    ):
        with pytest.raises(CritauditError) as error:
            request()
        assert "\n" not in str(error.value)
