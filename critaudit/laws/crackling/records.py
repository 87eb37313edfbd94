"""Avalanches of an ensemble as sufficient statistics: what the estimators read and every simulation writes.

An avalanche lasts D layers, D + 1 being the first layer whose strength s is below its threshold θ (Ghavasieh25,
Methods 0.11). Its total size is n·Σ s over the D layers, its excess size n·Σ (s − θ), where n is the width (1 where
layers differ in width). A path with D = 0 is no avalanche; one that is above threshold to the last layer is censored:
counted, never a duration. Nothing here grows with the number of avalanches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from critaudit.errors import CritauditError

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

SIZE_BINS_PER_OCTAVE = 64
"""Bin k of a size holds 2^(k/64) ≤ S < 2^((k+1)/64): 1.1 % wide, the same grid for every ensemble."""
EXACT_DURATIONS = 512
"""Durations up to here have a bin each; beyond, integers share bins of about 1/64 octave."""
PROFILE_DURATIONS = 512
"""Profiles are kept for durations up to here."""
LAGS = 20
"""Multistep regression looks this many layers ahead."""


@dataclass(frozen=True, slots=True, eq=False)
class SizeCounts:
    """Sizes of uncensored avalanches by cluster, in the bins first, first + 1, … of the common grid.

    `counts` (clusters, bins) integers, or weighted sums of such. `moments` (clusters, duration bins, 4) are sums over
    the avalanches of that duration: Σ ln S, Σ (ln S)², Σ S, Σ S². `censored` (bins,) counts the sizes that censored
    paths of all clusters had reached at the last layer: above the smallest of them the histogram lacks avalanches.
    """

    first: int
    counts: NDArray[np.int64] | Array
    moments: Array
    censored: Integers

    @property
    def edges(self) -> Array:
        """The bins' edges, shape (bins + 1,)."""
        bins = np.arange(self.first, self.first + self.counts.shape[1] + 1)
        return np.exp2(bins / SIZE_BINS_PER_OCTAVE)

    @property
    def centres(self) -> Array:
        """Geometric middles of the bins, shape (bins,)."""
        edges = self.edges
        return np.sqrt(edges[:-1] * edges[1:])


@dataclass(frozen=True, slots=True, eq=False)
class ProfileSums:
    """Sums over all avalanches of equal duration of their strength in each layer, all clusters together.

    Row D − 1, column l − 1 holds layer l ≤ D of avalanches that lasted D; other entries are zero. `total` sums s_l,
    `excess` s_l − θ_l, the squares likewise; `counts` (durations,) says over how many avalanches. Divide to get ⟨s⟩.
    """

    counts: Integers
    total: Array
    total_squares: Array
    excess: Array
    excess_squares: Array

    @classmethod
    def zeros(cls, durations: int) -> ProfileSums:
        """No avalanche yet, for durations 1 … `durations`."""
        square = (durations, durations)
        return cls(np.zeros(durations, np.int64), *(np.zeros(square) for _ in range(4)))

    def plus(self, other: ProfileSums) -> ProfileSums:
        """Both together, for as many durations as the one with more has; a new record unless one is empty."""
        small, large = sorted((self, other), key=lambda sums: sums.counts.size)
        size = small.counts.size
        if size == 0:
            return large
        result = ProfileSums(*(np.array(getattr(large, part.name)) for part in fields(self)))
        result.counts[:size] += small.counts
        for name in ("total", "total_squares", "excess", "excess_squares"):
            getattr(result, name)[:size, :size] += getattr(small, name)
        return result


@dataclass(frozen=True, slots=True, eq=False)
class AvalancheCounts:
    """Avalanches of an ensemble, as sufficient statistics *per cluster*, never single paths.

    A cluster is what errors are bootstrapped over: one network (one draw of weights) with all its inputs, or one block
    of independent paths. Axis 0 of `paths`, `none` (D = 0), `censored`, `durations` and of the sizes' `counts` and
    `moments` is the cluster. `durations` (clusters, duration bins) counts uncensored avalanches with D ≥ 1; bin i holds
    the integers duration_edges[i] ≤ D < duration_edges[i + 1].

    `lags` (clusters, LAGS, 6) are sums for the multistep regression of Wilting & Priesemann (2018) on the excess
    activity a_l = s_l − θ_l, zero after the end: for lag k (row k − 1), over pairs (x, y) = (a_l, a_{l+k}) with l in an
    avalanche and l + k ≤ depth: number, Σx, Σy, Σx², Σxy, Σy². They may come from a part of the paths.
    `threshold` is θ where it is the same in all layers. `profiles` belong to all clusters together and are the same
    after `resample`.
    """

    depth: int
    threshold: float | None
    duration_edges: Integers
    paths: NDArray[np.int64] | Array
    none: NDArray[np.int64] | Array
    censored: NDArray[np.int64] | Array
    durations: NDArray[np.int64] | Array
    total: SizeCounts
    excess: SizeCounts
    lags: Array
    profiles: ProfileSums

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return int(self.paths.shape[0])

    @property
    def avalanches(self) -> float:
        """Number of uncensored avalanches with D ≥ 1 (not an integer after weighting)."""
        return float(self.durations.sum())

    def resample(self, clusters: ArrayLike) -> AvalancheCounts:
        """The ensemble made of the clusters with these indices, repeats allowed: one resample of a cluster bootstrap.

        Raises CritauditError for an index that no cluster has.
        """
        rows = np.asarray(clusters, dtype=np.intp).ravel()
        if rows.size == 0 or rows.min() < 0 or rows.max() >= self.clusters:
            raise CritauditError(f"clusters 0 … {self.clusters - 1} exist; the resample asks for others or for none")
        return self._map(lambda array: array[rows])

    def pooled(self, weights: ArrayLike | None = None) -> AvalancheCounts:
        """All clusters added up into one, each times its weight (1 without): counts of a bootstrap resample, quickly.

        Weights are how often each cluster was drawn. Many resamples at once: `weights @ counts.durations`, and so on.
        Raises CritauditError where there is not one weight per cluster.
        """
        if weights is None:
            return self._map(lambda array: array.sum(axis=0, keepdims=True))
        factors = np.asarray(weights, dtype=np.float64).ravel()
        if factors.size != self.clusters:
            raise CritauditError(f"{factors.size} weights were given for {self.clusters} clusters; give one each")
        return self._map(lambda array: np.tensordot(factors, array, axes=1)[np.newaxis])

    def summed(self, order: ArrayLike, starts: ArrayLike) -> AvalancheCounts:
        """Groups of clusters added up into one each: clusters in this `order`, a group from each of `starts` on."""
        rows, first = np.asarray(order, dtype=np.intp), np.asarray(starts, dtype=np.intp)
        return self._map(lambda array: np.add.reduceat(array[rows], first, axis=0))

    def _map(self, of: Callable[[NDArray[Any]], NDArray[Any]]) -> AvalancheCounts:
        return replace(
            self,
            paths=of(self.paths),
            none=of(self.none),
            censored=of(self.censored),
            durations=of(self.durations),
            lags=of(self.lags),
            total=replace(self.total, counts=of(self.total.counts), moments=of(self.total.moments)),
            excess=replace(self.excess, counts=of(self.excess.counts), moments=of(self.excess.moments)),
        )


def duration_edges(depth: int) -> Integers:
    """Edges of the duration bins for durations 1 … depth − 1: single integers to 512, then about 1/64 octave each."""
    exact = np.arange(1, min(depth - 1, EXACT_DURATIONS) + 1)
    if depth - 1 <= EXACT_DURATIONS:
        return np.append(exact, depth).astype(np.int64)
    bins = math.ceil(SIZE_BINS_PER_OCTAVE * math.log2(depth / (EXACT_DURATIONS + 1)))
    shared = np.rint(np.geomspace(EXACT_DURATIONS + 1, depth, max(bins, 1) + 1))
    return np.concatenate([exact, np.unique(shared)]).astype(np.int64)


def merge(parts: Iterable[AvalancheCounts]) -> AvalancheCounts:
    """One ensemble out of several of equal depth: their clusters one after the other, their profiles added up.

    Parts may come one by one, and only one at a time need exist with its profiles. `threshold` is kept where all have
    the same. Raises CritauditError for no parts, or parts whose depths differ.
    """
    kept: list[AvalancheCounts] = []
    profiles = ProfileSums.zeros(0)
    for part in parts:
        profiles = profiles.plus(part.profiles)
        kept.append(replace(part, profiles=ProfileSums.zeros(0)))
    if not kept or len({part.depth for part in kept}) != 1:
        raise CritauditError("ensembles can be merged where there is at least one and all have the same depth")
    thresholds = {part.threshold for part in kept}
    return replace(
        kept[0],
        threshold=thresholds.pop() if len(thresholds) == 1 else None,
        paths=np.concatenate([part.paths for part in kept]),
        none=np.concatenate([part.none for part in kept]),
        censored=np.concatenate([part.censored for part in kept]),
        durations=np.concatenate([part.durations for part in kept]),
        lags=np.concatenate([part.lags for part in kept]),
        total=_merged_sizes([part.total for part in kept]),
        excess=_merged_sizes([part.excess for part in kept]),
        profiles=profiles,
    )


def _merged_sizes(parts: Sequence[SizeCounts]) -> SizeCounts:
    filled = [part for part in parts if part.counts.shape[1]] or [parts[0]]
    first = min(part.first for part in filled)
    last = max(part.first + part.counts.shape[1] for part in filled)
    kind = np.result_type(*(part.counts for part in parts))
    counts = np.zeros((sum(part.counts.shape[0] for part in parts), last - first), dtype=kind)
    censored = np.zeros(last - first, dtype=np.int64)
    row = 0
    for part in parts:
        clusters, bins = part.counts.shape
        place = slice(part.first - first, part.first - first + bins) if bins else slice(0, 0)
        counts[row : row + clusters, place] = part.counts
        censored[place] += part.censored
        row += clusters
    return SizeCounts(first, counts, np.concatenate([part.moments for part in parts]), censored)
