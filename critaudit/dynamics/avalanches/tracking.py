"""Sums over whole avalanches, layer by layer: mean profiles and the sums of multistep regression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from critaudit.laws.crackling.records import LAGS, PROFILE_DURATIONS, Array, Integers, ProfileSums

Floats = NDArray[np.float32]

LARGEST = 1e15
"""Strengths beyond count as this: diverging signals and the far tails of stable laws stay finite numbers."""

# Avalanches wait until this many layers have come together, so that NumPy's overhead is paid once for all of them.
_ENOUGH = 2**19


class Tracker:
    """Takes avalanches as their excess strengths per layer and keeps `ProfileSums` and lag sums, nothing else."""

    def __init__(self, depth: int, clusters: int, threshold: float) -> None:
        self._depth, self._clusters, self._threshold = depth, clusters, threshold
        self._durations = min(depth - 1, PROFILE_DURATIONS)
        self._counts = np.zeros(self._durations, np.int64)
        self._sums = np.zeros((2, self._durations, self._durations))
        self._lags = np.zeros((clusters, LAGS, 6))
        self._waiting: list[tuple[Floats, Integers, Integers]] = []
        self._length = 0

    def add(self, excess: Floats, lasting: Integers, clusters: Integers) -> None:
        """Avalanches end to end: s_l − θ of all layers of all of them, how many layers each has (≥ 1), its cluster."""
        self._waiting.append((excess, lasting, clusters))
        self._length += excess.size
        if self._length >= _ENOUGH:
            self._flush()

    def finish(self) -> tuple[ProfileSums, Array]:
        """The profile sums and, as (clusters, LAGS, 6), the sums described in `AvalancheCounts.lags`."""
        self._flush()
        count, s = self._counts, self._threshold
        excess, squares = self._sums
        # Σ(s − θ) and Σ(s − θ)² give Σs and Σs²; layers that an avalanche does not have stay zero.
        number = np.tril(np.broadcast_to(count[:, np.newaxis], excess.shape)).astype(np.float64)
        total, total_squares = excess + number * s, squares + 2.0 * s * excess + number * s**2
        return ProfileSums(count, total, total_squares, excess, squares), self._lags

    def _flush(self) -> None:
        if not self._waiting:
            return
        excess, lasting, clusters = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting.clear()
        self._length = 0
        ends = np.cumsum(lasting)
        starts = ends - lasting
        activity = excess.astype(np.float64)
        self._add_profiles(activity, lasting, starts)
        self._add_lags(activity, lasting, starts, clusters)

    def _add_profiles(self, activity: Array, lasting: Integers, starts: Integers) -> None:
        if not self._durations:
            return
        kept = (lasting <= self._durations) & (lasting < self._depth)
        self._counts += np.bincount(lasting[kept] - 1, minlength=self._durations)
        inside = np.repeat(kept, lasting)
        # Row D − 1, column l − 1 of the flattened table.
        place = np.repeat((lasting - 1) * self._durations - starts, lasting)
        place += np.arange(place.size)
        place, values = place[inside], activity[inside]
        for sums, weights in zip(self._sums, (values, np.square(values)), strict=True):
            sums += np.bincount(place, weights, minlength=self._durations**2).reshape(sums.shape)

    def _add_lags(self, activity: Array, lasting: Integers, starts: Integers, clusters: Integers) -> None:
        paths = lasting.size
        # LAGS zeros after each avalanche: products across its end vanish.
        padded = np.zeros(activity.size + LAGS * paths)
        origin = starts + LAGS * np.arange(paths)
        place = np.repeat(origin - starts, lasting)
        place += np.arange(activity.size)
        padded[place] = activity
        runs = [np.concatenate([[0.0], np.cumsum(values)]) for values in (activity, np.square(activity))]
        ends = starts + lasting
        sums = np.empty((LAGS, 6, paths))
        for lag in range(1, LAGS + 1):
            # Pairs (l, l + lag) with l + lag ≤ depth: x leaves out the last layers, y the first.
            last = np.minimum(lasting, max(self._depth - lag, 0))
            first = np.minimum(lasting, lag)
            row = sums[lag - 1]
            row[0] = last
            for x, y, run in ((1, 2, runs[0]), (3, 5, runs[1])):
                row[x] = run[starts + last] - run[starts]
                row[y] = run[ends] - run[starts + first]
            products = padded[:-lag] * padded[lag:]
            row[4] = np.add.reduceat(products, np.minimum(origin, products.size - 1))
        order = np.argsort(clusters, kind="stable")
        present, begin = np.unique(clusters[order], return_index=True)
        self._lags[present] += np.moveaxis(np.add.reduceat(sums[:, :, order], begin, axis=2), 2, 0)
