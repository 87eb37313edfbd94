"""Other laws on the same range: likelihood ratios whose variance is that of clusters, not of single avalanches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import erfc

from critaudit.laws.crackling.histogram import Histogram
from critaudit.laws.crackling.truncated import LEAST_CLUSTERS, RangeFit, solve_exponents, solve_family

Array = NDArray[np.float64]

LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class RivalLaw:
    """A power law against `law` on the same range, both by maximum likelihood and cut off at both ends.

    `log_ratio` is the log-likelihood of the power law less that of the rival. For a law that contains the power law
    (`nested`: lognormal, stretched exponential and power law with cut-off, which approach it at a boundary) it is never
    positive, and `p` is the probability that a power law gives as much: half a χ² of one degree, its scale corrected
    for clusters (Rao & Scott 1984). For the exponential `p` is Vuong's, two-sided, with the variance over clusters.
    """

    law: str
    log_ratio: float
    p: float
    nested: bool

    @property
    def verdict(self) -> str:
        """`power_law`, the rival's name, or `undecided`; a law that contains the power law can only win or not."""
        if self.p > LEVEL:
            return "undecided"
        return "power_law" if self.log_ratio > 0.0 else self.law


def compare_on_range(histogram: Histogram, fit: RangeFit) -> tuple[RivalLaw, ...]:
    """Lognormal, exponential, stretched exponential and power law with cut-off against the power law of `fit`.

    Oracle: direct maximisation with scipy.optimize; `powerlaw`, whose laws are not cut off above, for the untruncated
    tail (`cross_check`).
    """
    counts = histogram.counts[:, fit.first : fit.stop]
    logs = histogram.log_points[fit.first : fit.stop]
    base = histogram.log_measures[fit.first : fit.stop]
    pooled = counts.sum(axis=0)
    t = logs - logs[0]
    mean = np.array([float(pooled @ logs) / float(pooled.sum())])
    _, masses, _ = solve_exponents(logs, base, mean)
    ours = np.log(masses[0])
    grown = np.exp(t - t[-1])
    inflation = _inflation(counts, masses[0], t)
    lognormal, bend = _in_family(np.stack([t, np.square(t)]), base, pooled)
    cutoff, decay = _in_family(np.stack([t, grown]), base, pooled)
    exponential, _ = _in_family(grown[np.newaxis], base, pooled)
    stretched = _stretched(t, base, pooled)
    return (
        _nested("lognormal", ours, lognormal if bend < 0.0 else ours, pooled, inflation),
        _vuong("exponential", ours, exponential, counts),
        _nested("stretched_exponential", ours, stretched, pooled, inflation),
        _nested("power_law_with_cutoff", ours, cutoff if decay < 0.0 else ours, pooled, inflation),
    )


def _in_family(terms: Array, base: Array, pooled: Array) -> tuple[Array, float]:
    """Log-masses of the best law in an exponential family, and the sign-bearing weight of its last term."""
    scaled = (terms - terms.mean(axis=1, keepdims=True)) / terms.std(axis=1, keepdims=True)
    weights = solve_family(scaled, base - base.max(), pooled[np.newaxis])[0]
    return _log_masses(base + weights @ scaled), float(weights[-1])


def _log_masses(powers: Array) -> Array:
    highest = float(powers.max())
    result: Array = powers - highest - math.log(float(np.exp(powers - highest).sum()))
    return result


def _stretched(t: Array, base: Array, pooled: Array) -> Array:
    """x^{β−1}·exp(−c·x^β) with c > 0: for each β an exponential family in x^β, β by a search in its logarithm."""

    def at(log_beta: float) -> Array:
        beta = math.exp(log_beta)
        grown = np.expm1(beta * (t - t[-1])) / beta
        return _in_family(grown[np.newaxis], base + (beta - 1.0) * t, pooled)[0]

    longest = float(t[-1])
    bounds = (math.log(1e-2 / longest), math.log(min(30.0, 600.0 / longest)))
    best = minimize_scalar(
        lambda place: -float(pooled @ at(float(place))), bounds=bounds, method="bounded", options={"xatol": 1e-4}
    )
    return at(float(best.x))


def _inflation(counts: Array, law: Array, t: Array) -> float:
    """Variance over clusters of the score of ln²x (free of ln x) in units of that of independent values."""
    if counts.shape[0] < LEAST_CLUSTERS:
        return 1.0
    centred = t - law @ t
    square = np.square(centred) - law @ np.square(centred)
    direction = square - (law @ (square * centred)) / (law @ np.square(centred)) * centred
    pooled = counts.sum(axis=0)
    # Around the ensemble's own shape, so that a law that does not fit does not pass for scatter.
    scores = (counts - counts.sum(axis=1, keepdims=True) * (pooled / pooled.sum())) @ direction
    model = float(counts.sum()) * float(law @ np.square(direction))
    robust = float(scores @ scores) * counts.shape[0] / (counts.shape[0] - 1)
    return max(robust / model, 1e-3) if model > 0.0 else 1.0


def _nested(law: str, ours: Array, theirs: Array, pooled: Array, inflation: float) -> RivalLaw:
    gain = max(0.0, float(pooled @ (theirs - ours)))
    # At the boundary the statistic is zero half of the time.
    return RivalLaw(law, -gain, 0.5 * float(erfc(math.sqrt(gain / inflation))) if gain > 0.0 else 1.0, True)


def _vuong(law: str, ours: Array, theirs: Array, counts: Array) -> RivalLaw:
    differences = ours - theirs
    n = float(counts.sum())
    total = float(counts.sum(axis=0) @ differences)
    clusters = counts.shape[0]
    if clusters >= LEAST_CLUSTERS:
        parts = counts @ differences - counts.sum(axis=1) * (total / n)
        variance = float(parts @ parts) * clusters / (clusters - 1)
    else:
        variance = float(counts.sum(axis=0) @ np.square(differences - total / n))
    if variance <= 0.0:
        return RivalLaw(law, total, 1.0, False)
    return RivalLaw(law, total, float(erfc(abs(total) / math.sqrt(2.0 * variance))), False)
