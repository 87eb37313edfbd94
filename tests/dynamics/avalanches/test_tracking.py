"""Sums over whole avalanches in bulk against the same sums over lists."""

from __future__ import annotations

import numpy as np
import pytest

from critaudit.dynamics.avalanches import tracking
from critaudit.dynamics.avalanches.tracking import Tracker
from critaudit.laws.crackling.tally import from_avalanches


@pytest.mark.parametrize("enough", [1, 300, 10**9])
@pytest.mark.parametrize("depth", [2, 7, 40])
def test_given_avalanches_in_any_portions_when_summed_then_equal_to_the_lists(
    monkeypatch: pytest.MonkeyPatch, depth: int, enough: int
) -> None:
    monkeypatch.setattr(tracking, "_ENOUGH", enough)
    rng = np.random.default_rng(depth)
    tracker = Tracker(depth, 4, 0.5)
    durations, clusters, profiles = [], [], []
    for _ in range(12):
        lasting = rng.integers(1, depth + 1, rng.integers(1, 20))
        activity = rng.random(lasting.sum()).astype(np.float32)
        own = rng.integers(0, 3, lasting.size)  # the last cluster stays empty
        tracker.add(activity, lasting, own)
        durations.append(lasting)
        clusters.append(own)
        profiles += [0.5 + part.astype(float) for part in np.split(activity, np.cumsum(lasting)[:-1])]
    every = np.concatenate(durations)
    sizes = np.array([profile.sum() for profile in profiles])
    listed = from_avalanches(
        np.where(every < depth, every, 0), sizes, sizes - 0.5 * every, np.concatenate(clusters), depth=depth,
        censored=every == depth, profiles=profiles, threshold=0.5, cluster_count=4,
    )  # fmt: skip
    sums, lags = tracker.finish()
    np.testing.assert_allclose(lags, listed.lags, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(sums.counts, listed.profiles.counts)
    for name in ("total", "total_squares", "excess", "excess_squares"):
        np.testing.assert_allclose(getattr(sums, name), getattr(listed.profiles, name), atol=1e-9, err_msg=name)


def test_given_nothing_when_finished_then_zeros() -> None:
    sums, lags = Tracker(5, 2, 1.0).finish()
    assert lags.shape == (2, tracking.LAGS, 6)
    assert not lags.any()
    assert not sums.counts.any()
    assert not sums.total.any()
