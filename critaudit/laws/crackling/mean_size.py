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
_EARLIER = 2.0


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

    `corrected` are those with two further terms, ∝ D^−1/2 and ∝ D^−1, fitted from low/2 on: what needs corrections only
    begins earlier. The first is the correction of a random walk seen at integer times (it overshoots its threshold),
    both together take up the (ln D)/D of a branching process; with one alone, a quarter of the plain slope's bias is
    left. `curvature` is the z-score of a term in ln²D (NaN without resamples).
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
    """The slope of ln⟨S⟩ over ln D on `durations` (all, where None), least squares weighted; None below six points."""
    low, high = durations if durations is not None else (1.0, math.inf)
    inside = (sizes.durations >= low * (1 - 1e-9)) & (sizes.durations <= high * (1 + 1e-9))
    if np.count_nonzero(inside) < _LEAST_POINTS:
        return None
    x, y, weights = np.log(sizes.durations[inside]), sizes.logs[:, inside], sizes.weights[inside]
    straight = least_squares(np.stack([np.ones_like(x), x]), y, weights)
    earlier = (sizes.durations >= low / _EARLIER * (1 - 1e-9)) & (sizes.durations <= high * (1 + 1e-9))
    t = np.log(sizes.durations[earlier])
    corrections = np.stack([np.ones_like(t), t, np.exp(0.5 * (t[0] - t)), np.exp(t[0] - t)])
    corrected = least_squares(corrections, sizes.logs[:, earlier], sizes.weights[earlier])
    return SlopeFit(
        slopes=straight[:, 1],
        corrected=corrected[:, 1],
        intercept=float(straight[0, 0]),
        low=math.exp(x[0]),
        high=math.exp(x[-1]),
        points=int(x.size),
        curvature=_curvature(x - x.mean(), y, weights),
    )


def _curvature(x: Array, y: Array, weights: Array) -> float:
    if y.shape[0] < 3:
        return math.nan
    bends = least_squares(np.stack([np.ones_like(x), x, x * x]), y, weights)[:, 2]
    spread = float(bends[1:].std())
    return float(bends[0]) / spread if spread > 0.0 else 0.0


def least_squares(design: Array, values: Array, weights: Array) -> Array:
    """Coefficients (samples, terms) of values (samples, points) on design (terms, points)."""
    root = np.sqrt(weights / weights.max())
    scales = np.sqrt(np.square(design * root).sum(axis=1, keepdims=True))
    solved = np.linalg.lstsq((design * root / scales).T, (values * root).T, rcond=1e-12)[0]
    result: Array = (solved / scales).T
    return result
