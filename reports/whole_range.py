"""Exponents of avalanches over the whole range, whether a power law fits there or not: what papers often print."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critaudit.laws.crackling.histogram import Histogram, duration_histogram, size_histogram
from critaudit.laws.crackling.mean_size import fit_slope, mean_sizes
from critaudit.laws.crackling.records import AvalancheCounts
from critaudit.laws.crackling.results import SizeKind
from critaudit.laws.crackling.truncated import LEAST_CLUSTERS, fit_range, solve_exponents

Array = NDArray[np.float64]
RESAMPLES = 400


@dataclass(frozen=True, slots=True)
class Whole:
    """Exponents over the whole range, whether a power law fits there or not: value and 95 % interval by network.

    `p` are the goodness of fit of durations and sizes. `mismatch` is (α − 1)/(τ − 1) − 1/σνz with its sign.
    """

    alpha: tuple[float, float, float]
    tau: tuple[float, float, float]
    slope: tuple[float, float, float] | None
    mismatch: tuple[float, float, float] | None
    durations: tuple[float, float]
    sizes: tuple[float, float]
    p: tuple[float, float]

    @property
    def relation(self) -> str:
        """Whether the crackling relation holds, in words."""
        if self.mismatch is None:
            return "no value"
        value, low, high = self.mismatch
        shown = f"{value:+.2f} [{low:+.2f}, {high:+.2f}]".replace("-", "−")
        return f"{shown}: {'holds within its error' if low <= 0.0 <= high else 'violated'}"


def whole_range(counts: AvalancheCounts, kind: SizeKind, *, seed: int) -> Whole | None:
    """Truncated maximum likelihood from the smallest value to the one that ten are above; bootstrap by cluster.

    z-scored sizes start at 1, one standard deviation in one layer. None below 50 avalanches.
    """
    if counts.avalanches < 50:
        return None
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(counts.clusters, np.full(counts.clusters, 1.0 / counts.clusters), size=RESAMPLES)
    weights = np.concatenate([np.ones((1, counts.clusters)), drawn])
    sizes = counts.total if kind == "total" else counts.excess
    lasting, alphas, first_p = _exponents(duration_histogram(counts), 1.0, weights, rng)
    span, taus, second_p = _exponents(size_histogram(sizes), 1.0 if kind == "excess" else 0.0, weights, rng)
    line = fit_slope(mean_sizes(counts, sizes, weights), None)
    mismatch = None
    if line is not None:
        safe = np.where(taus > 1.02, taus, np.nan)
        signed = (alphas - 1.0) / (safe - 1.0) - line.slopes
        # A relation that has no value in one of twenty resamples says nothing.
        mismatch = _interval(signed) if np.isfinite(signed).mean() > 0.95 and np.isfinite(signed[0]) else None
    return Whole(
        alpha=_interval(alphas),
        tau=_interval(taus),
        slope=None if line is None else _interval(line.slopes),
        mismatch=mismatch,
        durations=lasting,
        sizes=span,
        p=(first_p, second_p),
    )


def _exponents(
    histogram: Histogram, least: float, weights: Array, rng: np.random.Generator
) -> tuple[tuple[float, float], Array, float]:
    pooled = histogram.pooled
    above = np.cumsum(pooled[::-1])[::-1]
    stop = int(np.flatnonzero(above >= 10.0)[-1]) + 1
    filled = np.flatnonzero((pooled > 0.0) & (histogram.edges[:-1] >= least * (1.0 - 1e-9)))
    first = int(filled[0])
    inside = (weights @ histogram.counts)[:, first:stop]
    logs = histogram.log_points[first:stop]
    exponents = solve_exponents(logs, histogram.log_measures[first:stop], inside @ logs / inside.sum(axis=1))[0]
    clusters, bins = histogram.counts.shape
    multipliers = rng.standard_normal((199, clusters if clusters >= LEAST_CLUSTERS else bins))
    fit = fit_range(histogram, first, stop, multipliers)
    return histogram.bounds(first, stop), exponents, float("nan") if fit is None else fit.p


def _interval(draws: Array) -> tuple[float, float, float]:
    low, high = np.nanquantile(draws[1:], [0.025, 0.975])
    return float(draws[0]), float(low), float(high)
