"""Durations and sizes are those of the definition, on strengths made by hand and on many random ones."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from critaudit.dynamics.model_avalanches import Paths, avalanches, counts, gather, surrogates, weight_layers
from critaudit.dynamics.operations import NetworkPaths
from critaudit.errors import CritauditError
from critaudit.laws.crackling.tally import from_avalanches


def _network(calibration: ArrayLike, strengths: ArrayLike, names: str = "abcd", overflowed: int = 0) -> NetworkPaths:
    first, second = np.asarray(calibration, dtype=float), np.asarray(strengths, dtype=float)
    return NetworkPaths(tuple(names), tuple(names), first, second, (), "by hand", overflowed)


def _noise(paths: int, layers: int, seed: int = 0, networks: int = 1) -> Paths:
    rng = np.random.default_rng(seed)
    names = tuple(f"layer{place}" for place in range(layers))
    steps = rng.standard_normal((networks * paths, layers)).cumsum(axis=1) / np.sqrt(np.arange(1, layers + 1))
    rows = np.repeat(np.arange(networks), paths)
    return Paths(names, steps, np.full((networks, layers), 20.0), np.full((networks, layers), 2.0), rows)


# Two calibration inputs: means 2, 10, 1, 4 and standard deviations 1, 2, 0.5, 1.
_MEANS, _SPREADS = np.array([2.0, 10.0, 1.0, 4.0]), np.array([1.0, 2.0, 0.5, 1.0])
_CALIBRATION = _MEANS + np.array([[1.0], [-1.0]]) * _SPREADS / math.sqrt(2)


def test_given_strengths_by_hand_then_durations_and_sizes_follow_the_definition() -> None:
    # GIVEN paths whose scores are written down
    scores = np.array(
        [
            [-0.5, 3.0, 3.0, 3.0],  # below at once: no avalanche
            [0.5, 1.0, -0.1, 2.0],  # two layers
            [0.2, 0.3, 0.4, -2.0],  # three layers
            [0.1, 0.1, 0.1, 0.1],  # above to the last layer: censored
            [0.0, -1.0, 0.0, 0.0],  # on the threshold is not below it
        ]
    )
    paths = gather([_network(_CALIBRATION, _MEANS + _SPREADS * scores)])
    # WHEN thresholds are the means
    found = avalanches(paths, 0.0)
    # THEN D is the first layer below threshold less one
    assert found.durations.tolist() == [0, 2, 3, 4, 1]
    assert found.censored.tolist() == [False, False, False, True, False]
    strengths = _MEANS + _SPREADS * scores
    assert found.total.tolist() == pytest.approx(
        [0.0, strengths[1, :2].sum(), strengths[2, :3].sum(), strengths[3].sum(), strengths[4, 0]]
    )
    assert found.excess.tolist() == pytest.approx([0.0, 1.5, 0.9, 0.4, 0.0], abs=1e-12)


@pytest.mark.parametrize(("n", "durations"), [(-1.0, [4, 1, 4]), (0.0, [3, 1, 0]), (1.0, [1, 0, 0]), (2.0, [0, 0, 0])])
def test_given_higher_thresholds_then_avalanches_are_shorter(n: float, durations: list[int]) -> None:
    scores = np.array([[1.5, 0.5, 0.2, -0.2], [0.5, -1.5, 3.0, 3.0], [-0.5, -0.5, -0.5, -0.5]])
    paths = gather([_network(_CALIBRATION, _MEANS + _SPREADS * scores)])
    found = avalanches(paths, n)
    assert found.durations.tolist() == durations
    inside = np.arange(4) < found.durations[:, np.newaxis]
    assert found.excess.tolist() == pytest.approx((inside * (scores - n)).sum(axis=1).tolist(), abs=1e-12)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**31), st.sampled_from([-1.0, 0.0, 1.0]), st.integers(3, 9))
def test_durations_and_counts_agree_with_a_loop(seed: int, n: float, layers: int) -> None:
    paths = _noise(30, layers, seed, networks=2)
    found, tallied = avalanches(paths, n), counts(paths, n)
    strengths = paths.strengths
    for row in range(len(paths.scores)):
        lasting = 0
        while lasting < layers and strengths[row, lasting] >= 20.0 + 2.0 * n - 1e-12:
            lasting += 1
        assert found.durations[row] == lasting
        assert found.total[row] == pytest.approx(strengths[row, :lasting].sum())
    assert tallied.clusters == 2
    assert tallied.none.tolist() == [(found.durations[paths.networks == k] == 0).sum() for k in range(2)]
    assert tallied.censored.tolist() == [found.censored[paths.networks == k].sum() for k in range(2)]
    lengths = found.durations[~found.censored & (found.durations > 0)]
    assert tallied.durations.sum(axis=0).tolist() == np.bincount(lengths, minlength=layers)[1:].tolist()
    assert tallied.profiles.counts.tolist() == tallied.durations.sum(axis=0).tolist()
    assert tallied.profiles.total.sum() == pytest.approx(found.total[~found.censored].sum())
    assert tallied.profiles.excess.sum() == pytest.approx(found.excess[~found.censored].sum())


@pytest.mark.parametrize(("networks", "n"), [(1, 0.0), (3, 0.0), (3, -1.0), (2, 1.0)])
def test_counts_are_those_of_the_avalanches_listed_one_by_one(networks: int, n: float) -> None:
    # GIVEN an ensemble, and its avalanches as lists
    paths = _noise(60, 30, 5, networks=networks)
    found, strengths = avalanches(paths, n), paths.strengths
    rows = range(len(strengths))
    listed = from_avalanches(
        found.durations,
        found.total,
        found.excess,
        paths.networks if networks > 1 else None,
        depth=30,
        censored=found.censored,
        profiles=[strengths[row, : found.durations[row]] for row in rows],
        excess_profiles=[paths.scores[row, : found.durations[row]] - n for row in rows],
    )
    # THEN the statistics are the same
    tallied = counts(paths, n)
    for name in ("paths", "none", "censored", "durations", "lags"):
        np.testing.assert_allclose(getattr(tallied, name), getattr(listed, name), rtol=1e-9, atol=1e-9)
    for kind in ("total", "excess"):
        ours, theirs = getattr(tallied, kind), getattr(listed, kind)
        np.testing.assert_array_equal(ours.counts, theirs.counts)
        np.testing.assert_array_equal(ours.censored, theirs.censored)
        np.testing.assert_allclose(ours.moments, theirs.moments)
    for name in ("counts", "total", "total_squares", "excess", "excess_squares"):
        np.testing.assert_allclose(getattr(tallied.profiles, name), getattr(listed.profiles, name), atol=1e-9)


def test_given_one_network_then_every_path_is_a_cluster() -> None:
    paths = _noise(50, 8)
    assert counts(paths, 0.0).clusters == 50
    assert counts(_noise(50, 8, networks=3), 0.0).clusters == 3


def test_each_network_is_measured_by_its_own_calibration() -> None:
    # GIVEN a network and a copy whose strengths are ten times larger
    rng = np.random.default_rng(1)
    first, second = rng.uniform(1, 2, (20, 4)), rng.uniform(1, 2, (15, 4))
    paths = gather([_network(first, second), _network(10 * first, 10 * second)])
    # THEN both have the same avalanches; only total sizes differ
    found = avalanches(paths, 0.0)
    assert found.durations[:15].tolist() == found.durations[15:].tolist()
    np.testing.assert_allclose(found.excess[:15], found.excess[15:], rtol=1e-9)
    np.testing.assert_allclose(10 * found.total[:15], found.total[15:], rtol=1e-9)


def test_operations_held_fixed_or_missing_in_one_network_are_no_layers() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.uniform(1, 2, (9, 5)), rng.uniform(1, 2, (6, 5))
    first[:, 1] = 1.0 + 1e-7 * rng.standard_normal(9)
    paths = gather([_network(first, second, "apbcd"), _network(first, second, "apbcx")])
    assert paths.operations == ("a", "b", "c")
    assert paths.pinned == ("p",)


def test_weight_layers_are_the_columns_with_a_weight_matrix() -> None:
    # GIVEN paths in which every second operation repeats the one before
    rng = np.random.default_rng(6)
    scores = rng.standard_normal((40, 5)).repeat(2, axis=1)
    names = tuple("abcdefghij")
    paths = Paths(
        names, scores, np.full((1, 10), 9.0), np.ones((1, 10)), np.zeros(40, np.int64), weighted=frozenset("acegi")
    )
    # WHEN only those before are layers
    coarse = weight_layers(paths)
    # THEN durations are half of what they were, as no avalanche ended at a repetition
    assert coarse.operations == ("a", "c", "e", "g", "i")
    assert (2 * avalanches(coarse, 0.0).durations).tolist() == avalanches(paths, 0.0).durations.tolist()
    np.testing.assert_array_equal(coarse.strengths, paths.strengths[:, ::2])
    with pytest.raises(CritauditError, match="2 layers have a weight matrix"):
        weight_layers(replace(paths, weighted=frozenset("ac")))


def test_strengths_come_back_from_scores() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.uniform(1, 2, (9, 4)), rng.uniform(1, 2, (6, 4))
    np.testing.assert_allclose(gather([_network(first, second)]).strengths, second)


@pytest.mark.parametrize("kind", ["phase", "autoregressive", "gaussian"])
def test_surrogates_keep_each_networks_values_in_each_layer(kind: str) -> None:
    paths = _noise(40, 12, networks=2)
    found = surrogates(paths, np.random.default_rng(0), kind=kind, copies=2)  # type: ignore[arg-type]
    assert found.scores.shape == (160, 12)
    for network in range(2):
        own, drawn = paths.scores[paths.networks == network], found.scores[found.networks == network]
        np.testing.assert_allclose(np.sort(drawn, axis=0)[::2], np.sort(own, axis=0))
        assert not np.array_equal(drawn[:40], own)
    again = surrogates(paths, np.random.default_rng(0), kind=kind, copies=2)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found.scores, again.scores)


def test_too_little_to_go_on_is_said_in_one_line() -> None:
    rng = np.random.default_rng(4)
    values = rng.uniform(1, 2, (5, 4))
    with pytest.raises(CritauditError, match="fewer than two calibration inputs"):
        gather([_network(values[:1], values)])
    with pytest.raises(CritauditError, match="7 inputs were left out"):
        gather([_network(values, values[:0], overflowed=7)])
    with pytest.raises(CritauditError, match="2 operations have a strength that varies"):
        gather([_network(values[:, :2], values[:, :2], "ab")])
    with pytest.raises(CritauditError, match="no path"):
        gather([])
