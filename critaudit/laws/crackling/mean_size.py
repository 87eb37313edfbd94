"""How the mean size of avalanches grows with their duration: ⟨S⟩(D) ∝ D^{1/σνz} by weighted least squares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critaudit.laws.crackling.histogram import duration_groups
from critaudit.laws.crackling.records import AvalancheCounts, SizeCounts

Array = NDArray[np.float64]

_LEAST_AVALANCHES = 10.0
_LEAST_POINTS = 6
_NARROWEST = 10.0**0.5
_CURVATURE = 1.959963984540054


@dataclass(frozen=True, slots=True, eq=False)
class MeanSizes:
    """⟨S⟩ by duration, for the ensemble (row 0) and its bootstrap resamples.

    `durations` (points,) are geometric means over the avalanches in a bin, `logs` (1 + resamples, points) are ln⟨S⟩,
    `weights` (points,) n_D / Var(ln S | D), and `numbers` (points,) n_D.
    """

    durations: Array
    logs: Array
    weights: Array
    numbers: Array


@dataclass(frozen=True, slots=True, eq=False)
class SlopeFit:
    """The line through ln⟨S⟩(D) on low ≤ D ≤ high: `slopes` for the ensemble and its resamples, (1 + resamples,).

    `corrected` allows for terms in 1/D and D/high, as the exponents of sizes and durations do. `curvature` is the
    z-score of a term in ln²D (NaN without resamples).
    """

    slopes: Array
    corrected: Array
    intercept: float
    low: float
    high: float
    points: int
    curvature: float

    @property
    def decades(self) -> float:
        """Length of the range in decades."""
        return math.log10(self.high / self.low)


def mean_sizes(counts: AvalancheCounts, sizes: SizeCounts, weights: Array) -> MeanSizes:
    """⟨S⟩ of duration bins with ten avalanches or more; `weights` (1 + resamples, clusters), row 0 all ones."""
    places = duration_groups(counts)[:-1]
    numbers = np.add.reduceat(counts.durations.astype(np.float64), places, axis=1)
    moments = np.add.reduceat(sizes.moments, places, axis=1)
    exact = np.arange(1.0, float(counts.duration_edges[-1]))
    fine = np.add.reduceat(np.log(exact), counts.duration_edges[:-1].astype(np.intp) - 1) / np.diff(
        counts.duration_edges
    )
    pooled = counts.durations.sum(axis=0)
    number = numbers.sum(axis=0)
    kept = number >= _LEAST_AVALANCHES
    logs = (np.add.reduceat(pooled * fine, places)[kept]) / number[kept]
    first, second = (moments[:, kept, power].sum(axis=0) / number[kept] for power in (0, 1))
    # Equal sizes have no scatter: a floor keeps their weight finite.
    variance = np.maximum(second - np.square(first), 1e-6)
    totals, n = weights @ moments[:, kept, 2], weights @ numbers[:, kept]
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.log(totals / n)
    # A resample may miss a rare duration altogether: there it has the ensemble's mean.
    means = np.where(np.isfinite(means), means, means[:1])
    return MeanSizes(np.exp(logs), means, number[kept] / variance, number[kept])


def fit_slope(sizes: MeanSizes, durations: tuple[float, float] | None) -> SlopeFit | None:
    """The slope on the widest part of `durations` (all, where None) on which ln⟨S⟩ is straight; None below six points.

    "Straight" is |z| < 1.96 for a term in ln²D, by the bootstrap. Where no part of half a decade is, the one with the
    least |z|.
    """
    t = np.log(sizes.durations)
    low, high = durations if durations is not None else (1.0, math.inf)
    inside = np.flatnonzero((sizes.durations >= low * (1 - 1e-9)) & (sizes.durations <= high * (1 + 1e-9)))
    if inside.size < _LEAST_POINTS:
        return None
    candidates = _parts(t, int(inside[0]), int(inside[-1]) + 1)
    best: tuple[float, int, int] | None = None
    for first, stop in candidates:
        z = _curvature(sizes, t, first, stop)
        if best is None or abs(z) < best[0]:
            best = (abs(z), first, stop)
        if not abs(z) >= _CURVATURE:
            best = (abs(z), first, stop)
            break
    if best is None:
        return None
    _, first, stop = best
    x, y, weight = t[first:stop], sizes.logs[:, first:stop], sizes.weights[first:stop]
    straight = _least_squares(np.stack([np.ones_like(x), x]), y, weight)
    bent = _least_squares(np.stack([np.ones_like(x), x, np.exp(x[0] - x), np.exp(x - x[-1])]), y, weight)
    return SlopeFit(
        slopes=straight[:, 1],
        corrected=bent[:, 1],
        intercept=float(straight[0, 0]),
        low=float(sizes.durations[first]),
        high=float(sizes.durations[stop - 1]),
        points=stop - first,
        curvature=_curvature(sizes, t, first, stop),
    )


def _parts(t: Array, first: int, stop: int) -> list[tuple[int, int]]:
    """Ranges of points, widest first; about eight starts and ends per decade."""
    steps = max(1, math.ceil((t[stop - 1] - t[first]) / math.log(10.0) * 8.0))
    wanted = np.linspace(t[first], t[stop - 1], steps + 1)
    places = np.unique(first + np.searchsorted(t[first:stop], wanted - 1e-9))
    parts = [
        (int(a), int(b) + 1)
        for a in places
        for b in places
        if t[b] - t[a] >= math.log(_NARROWEST) and b - a + 1 >= _LEAST_POINTS
    ]
    parts = parts or [(first, stop)]
    return sorted(parts, key=lambda part: t[part[0]] - t[part[1] - 1])


def _curvature(sizes: MeanSizes, t: Array, first: int, stop: int) -> float:
    if sizes.logs.shape[0] < 3:
        return math.nan
    x = t[first:stop] - t[first:stop].mean()
    bends = _least_squares(np.stack([np.ones_like(x), x, x * x]), sizes.logs[:, first:stop], sizes.weights[first:stop])
    spread = float(bends[1:, 2].std())
    return float(bends[0, 2]) / spread if spread > 0.0 else 0.0


def _least_squares(design: Array, values: Array, weights: Array) -> Array:
    """Coefficients (samples, terms) of values (samples, points) on design (terms, points)."""
    root = np.sqrt(weights / weights.max())
    scales = np.sqrt(np.square(design * root).sum(axis=1, keepdims=True))
    solved = np.linalg.lstsq((design * root / scales).T, (values * root).T, rcond=1e-12)[0]
    result: Array = (solved / scales).T
    return result
