"""The power law of one quantity: its range, its exponent with all errors, its rivals, its density."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from critaudit.laws.crackling.cross_check import cross_check
from critaudit.laws.crackling.histogram import Histogram
from critaudit.laws.crackling.results import Estimate, PowerLaw
from critaudit.laws.crackling.rivals import compare_on_range
from critaudit.laws.crackling.truncated import LEAST_CLUSTERS, best_range, corrected_exponents, solve_exponents

Array = NDArray[np.float64]

LEAST_VALUES = 500.0
"""A range of sizes or durations holds at least this many avalanches."""
_PER_DECADE = 10


def fit_distribution(
    quantity: str, histogram: Histogram, weights: Array, clusters: int, rng: np.random.Generator, *, checked: bool
) -> tuple[PowerLaw, Array | None]:
    """The power law of a sample, and its exponents (1 + resamples, 2): of the pure law, and with corrections.

    `weights` (1 + resamples, clusters) say how often each cluster was drawn, row 0 all ones; `clusters` is the number
    of independent ones. `checked` adds the fit of the `powerlaw` package.
    """
    pooled = histogram.pooled
    fit = best_range(histogram, rng, least=LEAST_VALUES) if pooled.size else None
    draws = None
    exponent = None
    if fit is not None:
        samples = weights @ histogram.counts
        inside = samples[:, fit.first : fit.stop]
        logs = histogram.log_points[fit.first : fit.stop]
        means = inside @ logs / np.maximum(inside.sum(axis=1), 1e-300)
        pure = solve_exponents(logs, histogram.log_measures[fit.first : fit.stop], means)[0]
        draws = np.stack([pure, corrected_exponents(histogram, fit, samples)], axis=1)
        exponent = corrected_estimate(draws, clusters)
    return (
        PowerLaw(
            quantity=quantity,
            n=float(pooled.sum()),
            fit=fit,
            exponent=exponent,
            rivals=() if fit is None else compare_on_range(histogram, fit),
            available=max(_available(histogram), 0.0 if fit is None else fit.decades),
            density=_density(histogram),
            cross_check=cross_check(histogram, fit.low) if checked and fit is not None else None,
            reason="" if fit is not None else _why_not(histogram),
        ),
        draws,
    )


def _available(histogram: Histogram) -> float:
    """Decades between the smallest value and the one that only ten are above, where there are enough values."""
    pooled = histogram.pooled
    if pooled.sum() < LEAST_VALUES:
        return 0.0
    first = int(np.flatnonzero(pooled)[0])
    above = np.cumsum(pooled[::-1])[::-1]
    last = int(np.flatnonzero(above >= 10.0)[-1])
    low, high = histogram.bounds(first, last + 1)
    return max(0.0, math.log10(high / low))


def _why_not(histogram: Histogram) -> str:
    n = float(histogram.pooled.sum())
    if n < LEAST_VALUES:
        return f"{n:.0f} avalanches are too few for a fit, which needs {LEAST_VALUES:.0f}"
    if np.count_nonzero(histogram.pooled) < 3:
        return "all avalanches have nearly the same value"
    return f"no range of half a decade with {LEAST_VALUES:.0f} values passes the tests of a power law"


def _density(histogram: Histogram) -> Array:
    """Rows of x, p(x) and number in about ten bins per decade; empty bins are left out."""
    pooled = histogram.pooled
    total = float(pooled.sum())
    if total == 0.0:
        return np.zeros((0, 3))
    logs = np.log10(histogram.edges)
    bins = max(1, math.ceil((logs[-1] - logs[0]) * _PER_DECADE))
    places = np.unique(np.searchsorted(logs, np.linspace(logs[0], logs[-1], bins + 1) - 1e-9))
    places = np.unique(np.append(places[places < logs.size - 1], 0))
    numbers = np.add.reduceat(pooled, places)
    edges = np.append(histogram.edges[places], histogram.edges[-1])
    stop = edges[1:] - 1.0 if histogram.discrete else edges[1:]
    rows = np.stack([np.sqrt(edges[:-1] * stop), numbers / total / np.diff(edges), numbers], axis=1)
    return rows[numbers > 0.0]


def corrected_estimate(draws: Array, clusters: int) -> Estimate:
    """From exponents (1 + resamples, 2), of the plain law and with corrections: the corrections' own errors count."""
    value, corrected = float(draws[0, 0]), float(draws[0, 1])
    drawn = draws[1:, 1]
    drawn = drawn[np.isfinite(drawn)]
    if clusters < LEAST_CLUSTERS:
        return Estimate(value, None, None, None, few_clusters(clusters))
    if not math.isfinite(corrected) or drawn.size < 20:
        return Estimate(value, None, None, None, "the range holds too few different values for corrections")
    return _around(value, corrected, float(drawn.std(ddof=1)), clusters - 1.0)


def jackknife_estimate(value: float, left_out: Array, shares: Array) -> Estimate:
    """From a ratio, the same without each cluster, and the clusters' shares of its denominator, both (clusters,).

    For denominators that few clusters dominate, where a bootstrap is too narrow: the jackknife's error allows for their
    leverage (as HC3 does), its centre for the bias of a ratio, and Student's t has the degrees of freedom of a variance
    over clusters whose own ratios scatter alike, (Σ v²)²/Σ v⁴ for shares v (Satterthwaite 1946; Bell & McCaffrey 2002).
    """
    clusters = left_out.size
    if clusters < LEAST_CLUSTERS:
        return Estimate(value, None, None, None, few_clusters(clusters))
    mean = float(left_out.mean())
    error = math.sqrt((clusters - 1) / clusters * float(np.square(left_out - mean).sum()))
    squares = np.square(shares)
    degrees = min(float(squares.sum()) ** 2 / float(np.square(squares).sum()), clusters - 1.0)
    return _around(value, clusters * value - (clusters - 1) * mean, error, degrees)


def few_clusters(clusters: int) -> str:
    """Why there are no errors."""
    return f"{clusters} clusters give no errors; {LEAST_CLUSTERS} or more do"


def _around(value: float, corrected: float, error: float, degrees: float) -> Estimate:
    half = float(stdtrit(degrees, 0.975)) * error
    low, high = corrected - half, corrected + half
    return Estimate(value, (min(low, value), max(high, value)), corrected, error, unstretched=(low, high))
