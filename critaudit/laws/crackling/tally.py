"""From avalanches to their sufficient statistics: whole blocks at once for simulations, lists for anything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from critaudit.errors import CritauditError
from critaudit.laws.crackling.records import (
    LAGS,
    PROFILE_DURATIONS,
    SIZE_BINS_PER_OCTAVE,
    Array,
    AvalancheCounts,
    Integers,
    ProfileSums,
    SizeCounts,
    duration_edges,
)

# An excess below this share of the total is rounding; zero would have no logarithm.
_SMALLEST_SHARE = 1e-12


def from_avalanches(
    durations: ArrayLike,
    sizes: ArrayLike,
    excess: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    depth: int | None = None,
    censored: ArrayLike | None = None,
    profiles: Sequence[ArrayLike] | None = None,
    excess_profiles: Sequence[ArrayLike] | None = None,
    threshold: float | None = None,
    cluster_count: int | None = None,
) -> AvalancheCounts:
    """The statistics of avalanches that are listed one by one, with one entry per path in each argument.

    `durations` are integers, 0 for a path without avalanche (its sizes are ignored). `clusters` say to which cluster
    0 … cluster_count − 1 a path belongs (without: every path is its own). `censored` marks the paths that were above
    threshold to the last layer: their durations are ignored, their sizes are what they had reached. `depth` is the
    number of layers (without: one more than the longest duration). `profiles` are s_1 … s_D of each path (to s_depth if
    censored) and `excess_profiles` s_l − θ_l, by default profiles − threshold; without profiles there are neither
    profile sums nor regression sums.
    Raises CritauditError for lists of unequal length, durations that are no integers in 0 … depth − 1, or sizes of
    avalanches that are not finite and positive (an excess may be zero: it counts as 1e-12 of the size).
    """
    n = np.asarray(durations, dtype=np.float64).ravel()
    cut = np.zeros(n.size, np.bool_) if censored is None else np.asarray(censored, dtype=np.bool_).ravel()
    rows = np.arange(n.size) if clusters is None else np.asarray(clusters, dtype=np.int64).ravel()
    total, above = (np.asarray(values, dtype=np.float64).ravel() for values in (sizes, excess))
    if not n.size == cut.size == rows.size == total.size == above.size:
        raise CritauditError("durations, sizes, excess, clusters and censored must have one entry per path each")
    limit = int(depth) if depth is not None else int(n[~cut].max(initial=1.0)) + 1
    count = int(cluster_count) if cluster_count is not None else int(rows.max(initial=-1)) + 1
    _check(n, cut, total, above, limit)
    if n.size and not 0 <= rows.min() <= rows.max() < count:
        raise CritauditError(f"clusters from {rows.min()} to {rows.max()} were given; number them 0 … {count - 1}")
    lasting = np.where(cut, limit, n).astype(np.int64)
    result = tally(lasting, total, above, rows, depth=limit, cluster_count=count, threshold=threshold)
    if profiles is None:
        return result
    whole = [np.asarray(profile, dtype=np.float64).ravel() for profile in profiles]
    if excess_profiles is None:
        over = [profile - (threshold or 0.0) for profile in whole]
    else:
        over = [np.asarray(profile, dtype=np.float64).ravel() for profile in excess_profiles]
    lengths = lasting.tolist()
    if [profile.size for profile in whole] != lengths or [profile.size for profile in over] != lengths:
        raise CritauditError(
            "profiles must hold one strength for each layer of each avalanche, none where the duration is 0, and all "
            f"{limit} layers where it is censored"
        )
    return replace(result, profiles=_listed_profiles(whole, over, limit), lags=_listed_lags(over, rows, limit, count))


def tally(
    lasting: Integers,
    total: Array,
    excess: Array,
    clusters: Integers,
    *,
    depth: int,
    cluster_count: int,
    threshold: float | None,
    lags: Array | None = None,
    profiles: ProfileSums | None = None,
) -> AvalancheCounts:
    """The statistics of a block of paths; `lasting` layers above threshold are a duration below `depth`, else censored.

    Sizes of paths with lasting = 0 are not read. Nothing is checked: simulations call this for each block.
    """
    edges = duration_edges(depth)
    none, cut = lasting == 0, lasting >= depth
    over = np.maximum(excess, _SMALLEST_SHARE * total)
    kept = np.flatnonzero(~(none | cut))
    bins = np.searchsorted(edges, lasting[kept], side="right") - 1
    places = clusters[kept] * (edges.size - 1) + bins
    shape = (cluster_count, edges.size - 1)
    return AvalancheCounts(
        depth=depth,
        threshold=threshold,
        duration_edges=edges,
        paths=np.bincount(clusters, minlength=cluster_count),
        none=np.bincount(clusters[none], minlength=cluster_count),
        censored=np.bincount(clusters[cut], minlength=cluster_count),
        durations=np.bincount(places, minlength=shape[0] * shape[1]).reshape(shape),
        total=_sizes(total[kept], total[cut], clusters[kept], places, shape),
        excess=_sizes(over[kept], over[cut], clusters[kept], places, shape),
        lags=np.zeros((cluster_count, LAGS, 6)) if lags is None else lags,
        profiles=ProfileSums.zeros(0) if profiles is None else profiles,
    )


def _sizes(values: Array, censored: Array, clusters: Integers, places: Integers, shape: tuple[int, int]) -> SizeCounts:
    logs = np.log(values)
    bins, cut = (_bin(array) for array in (values, censored))
    first = int(min(bins.min(initial=2**40), cut.min(initial=2**40)))
    last = int(max(bins.max(initial=-(2**40)), cut.max(initial=-(2**40))))
    width = last - first + 1 if last >= first else 0
    counts = np.bincount(clusters * width + (bins - first), minlength=shape[0] * width).reshape(shape[0], width)
    sums = [
        np.bincount(places, weights=weights, minlength=shape[0] * shape[1])
        for weights in (logs, logs * logs, values, values * values)
    ]
    return SizeCounts(
        first if width else 0,
        counts,
        np.asarray(np.stack(sums, axis=-1).reshape(*shape, 4), dtype=np.float64),
        np.bincount(cut - first, minlength=width) if width else np.zeros(0, np.int64),
    )


def _bin(values: Array) -> Integers:
    return np.asarray(np.floor(SIZE_BINS_PER_OCTAVE * np.log2(values)), dtype=np.int64)


def _check(n: Array, cut: NDArray[np.bool_], total: Array, above: Array, depth: int) -> None:
    lasting = n[~cut]
    if lasting.size and not (np.all(lasting == np.rint(lasting)) and lasting.min() >= 0 and lasting.max() < depth):
        raise CritauditError(
            f"durations must be integers from 0 to depth − 1 = {depth - 1}; a path that is above threshold to the last "
            "layer is censored"
        )
    real = cut | (n > 0)
    if not (np.all(np.isfinite(total[real])) and np.all(total[real] > 0.0)):
        raise CritauditError("sizes of avalanches must be positive and finite; check the strengths that were summed")
    if not (np.all(np.isfinite(above[real])) and np.all(above[real] >= 0.0)):
        raise CritauditError("excess sizes must be finite and not negative: an avalanche is above its threshold")


def _listed_profiles(whole: Sequence[Array], over: Sequence[Array], depth: int) -> ProfileSums:
    sums = ProfileSums.zeros(min(depth - 1, PROFILE_DURATIONS))
    for strengths, beyond in zip(whole, over, strict=True):
        lasting = strengths.size
        if 0 < lasting <= sums.counts.size and lasting < depth:
            sums.counts[lasting - 1] += 1
            sums.total[lasting - 1, :lasting] += strengths
            sums.total_squares[lasting - 1, :lasting] += np.square(strengths)
            sums.excess[lasting - 1, :lasting] += beyond
            sums.excess_squares[lasting - 1, :lasting] += np.square(beyond)
    return sums


def _listed_lags(over: Sequence[Array], clusters: Integers, depth: int, count: int) -> Array:
    sums = np.zeros((count, LAGS, 6))
    for activity, cluster in zip(over, clusters, strict=True):
        # After its end an avalanche is zero, as far as there are layers.
        padded = np.zeros(min(activity.size + LAGS, depth))
        padded[: activity.size] = activity
        for lag in range(1, min(LAGS, padded.size - 1) + 1):
            y = padded[lag:][: activity.size]
            x = activity[: y.size]
            sums[cluster, lag - 1] += (x.size, x.sum(), y.sum(), x @ x, x @ y, y @ y)
    return sums
