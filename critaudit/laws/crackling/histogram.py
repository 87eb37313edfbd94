"""Durations and sizes as grouped samples: one form for integers and real numbers, by cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critaudit.laws.crackling.records import SIZE_BINS_PER_OCTAVE, AvalancheCounts, SizeCounts

Array = NDArray[np.float64]

_SINGLE_UP_TO = 32
_PER_OCTAVE = 16
_CENSORED_SHARE = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """A sample in bins, by cluster: bin j holds edges[j] ≤ x < edges[j + 1].

    A law with log-density f(ln x) gives bin j a mass ∝ exp(log_measures[j] + f(log_points[j])): for integers the
    measure is how many of them the bin holds and the point the mean of their logarithms; for real numbers it is the
    width of the bin and its geometric middle. For a power law in geometric bins that is exact; else the error is of
    second order in a bin's width of 4 %. `counts` has shape (clusters, bins).
    """

    edges: Array
    log_points: Array
    log_measures: Array
    counts: Array
    discrete: bool

    @property
    def pooled(self) -> Array:
        """Counts of all clusters together, shape (bins,)."""
        total: Array = self.counts.sum(axis=0)
        return total

    def bounds(self, first: int, stop: int) -> tuple[float, float]:
        """The values that bins first … stop − 1 cover: the smallest and, for integers, the largest; else the edges."""
        high = self.edges[stop] - 1.0 if self.discrete else self.edges[stop]
        return float(self.edges[first]), float(high)


def duration_histogram(counts: AvalancheCounts) -> Histogram:
    """Durations of uncensored avalanches: integers to 32 have a bin each, later ones share sixteen bins per octave.

    Every duration below the depth limit is counted in full; censored paths are none of them.
    """
    places = duration_groups(counts)
    edges = counts.duration_edges[places].astype(np.float64)
    summed = np.add.reduceat(counts.durations.astype(np.float64), places[:-1], axis=1)
    logs = np.log(np.arange(1.0, edges[-1]))
    sums = np.add.reduceat(logs, (edges[:-1] - 1.0).astype(np.intp))
    number = np.diff(edges)
    return Histogram(edges, sums / number, np.log(number), summed, discrete=True)


def duration_groups(counts: AvalancheCounts) -> NDArray[np.intp]:
    """Places in `counts.duration_edges` of the edges that the estimators use."""
    edges = counts.duration_edges.astype(np.float64)
    wanted = np.concatenate(
        [
            np.arange(1.0, _SINGLE_UP_TO + 1.0),
            np.exp2(np.arange(5.0, np.log2(edges[-1]) + 1.0, 1.0 / _PER_OCTAVE)),
        ]
    )
    found = np.searchsorted(edges, wanted[wanted <= edges[-1]] - 1e-9)
    return np.unique(np.append(found, [0, edges.size - 1])).astype(np.intp)


def size_histogram(sizes: SizeCounts) -> Histogram:
    """Sizes in sixteen bins per octave, up to where censored paths begin to be missing.

    Above a size that one per cent as many paths as avalanches there (in the octave below) had reached when they were
    cut off at the last layer, the histogram lacks avalanches and ends.
    """
    group = SIZE_BINS_PER_OCTAVE // _PER_OCTAVE
    first = sizes.first // group
    ahead = sizes.first - first * group
    bins = -(-(ahead + sizes.counts.shape[1]) // group)
    summed, cut = np.zeros((sizes.counts.shape[0], bins)), np.zeros(bins)
    if bins:
        padding = (ahead, bins * group - ahead - sizes.counts.shape[1])
        padded = np.pad(sizes.counts.astype(np.float64), ((0, 0), padding))
        summed = padded.reshape(-1, bins, group).sum(axis=2)
        cut = np.pad(sizes.censored.astype(np.float64), padding).reshape(bins, group).sum(axis=1)
    kept = _complete(summed.sum(axis=0), cut)
    logs = np.log(2.0) * (first + np.arange(kept + 1)) / _PER_OCTAVE
    width = np.log(2.0) / _PER_OCTAVE
    middles = 0.5 * (logs[:-1] + logs[1:])
    return Histogram(np.exp(logs), middles, middles + np.log(width), summed[:, :kept], discrete=False)


def _complete(pooled: Array, censored: Array) -> int:
    """How many leading bins are complete."""
    if not censored.any():
        return int(pooled.size)
    below = np.cumsum(np.append(0.0, pooled))
    octave = below[1:] - below[np.maximum(np.arange(1, below.size) - _PER_OCTAVE, 0)]
    lacking = (np.cumsum(censored) > _CENSORED_SHARE * octave) & (np.cumsum(censored) > 0.0)
    return int(np.argmax(lacking)) if lacking.any() else int(pooled.size)
