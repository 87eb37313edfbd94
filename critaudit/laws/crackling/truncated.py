"""Power laws on a range: maximum likelihood on grouped samples, how well they fit, and the search for the range.

The likelihood is that of the bins (a discrete exponential family in ln x), so it is exact for what was kept of the
sample. Goodness of fit is the Kolmogorov–Smirnov distance against its own distribution under the power law, which a
multiplier bootstrap over clusters gives with the exponent estimated and clusters correlated (van der Vaart & Wellner
1996, §2.9; Kojadinovic & Yan 2012), and the score of a term in ln²x, which a lognormal or a cut-off would have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critaudit.laws.crackling.histogram import Histogram

Array = NDArray[np.float64]

ACCEPTED = 0.05
"""A range is accepted where the p-values of its Kolmogorov–Smirnov distance and of its curvature are above this."""
LEAST_CLUSTERS = 10
"""Below this number of clusters nothing is known about their scatter."""
_FLATTENS, _STEEPENS = -1.959963984540054, 1.6448536269514722
_MULTIPLIERS = 199
_PER_DECADE = 8
_NARROWEST = 10.0**0.5
_LEAST_EXPONENT = 1.0
_STEEPEST = 40.0


@dataclass(frozen=True, slots=True)
class RangeFit:
    """A power law p(x) ∝ x^−exponent on bins first … stop − 1 of a histogram, by truncated maximum likelihood.

    `low` and `high` are the range (integers: both belong to it) and `n` the values in it. `standard_error` is the
    formal one of independent values, `cluster_error` the sandwich error over clusters (NaN for one cluster).
    `distance` is the Kolmogorov–Smirnov distance and `p` its p-value. `curvature` is the z-score of a term in ln²x,
    positive where the law steepens, and `drift` with `drift_error` the same in units that mean something: by how much
    the local exponent grows from one end of the range to the other. `share` of the whole sample is `low` or more.
    """

    exponent: float
    standard_error: float
    cluster_error: float
    low: float
    high: float
    first: int
    stop: int
    n: float
    distance: float
    p: float
    curvature: float
    drift: float
    drift_error: float
    share: float

    @property
    def decades(self) -> float:
        """Length of the range in decades."""
        return math.log10(self.high / self.low)


def solve_exponents(log_points: Array, log_measures: Array, means: Array) -> tuple[Array, Array, Array]:
    """Maximum-likelihood exponents for samples with these means of ln x on one range, and the laws' masses.

    Shapes: (bins,), (bins,), (samples,) → exponents (samples,), masses (samples, bins), variances of ln x (samples,).
    Newton's method on a log-convex norm, kept inside |exponent| ≤ 40: samples in one bin end there.
    """
    exponents = np.ones_like(means)
    t = log_points - log_points[0]
    base = log_measures - log_measures.max()
    target = means - log_points[0]
    # A Newton step from far away overshoots: no further than the range's own scale.
    limit = 4.0 / max(float(t[-1]), 1e-9)
    for _ in range(60):
        _, mean, variance = _law(exponents, t, base)
        step = np.clip((mean - target) / np.maximum(variance, 1e-12), -limit, limit)
        exponents = np.clip(exponents + step, -_STEEPEST, _STEEPEST)
        if float(np.abs(step).max(initial=0.0)) < 1e-11:
            break
    masses, _, variance = _law(exponents, t, base)
    return exponents, masses, variance


def _law(exponents: Array, t: Array, base: Array) -> tuple[Array, Array, Array]:
    powers = base - exponents[:, np.newaxis] * t
    powers -= powers.max(axis=1, keepdims=True)
    masses = np.exp(powers)
    masses /= masses.sum(axis=1, keepdims=True)
    mean = masses @ t
    return masses, mean, masses @ np.square(t) - np.square(mean)


def fit_range(histogram: Histogram, first: int, stop: int, multipliers: Array | None = None) -> RangeFit | None:
    """The power law on bins first … stop − 1; None where fewer than three of them hold values.

    `multipliers` (draws, clusters), or (draws, bins) below ten clusters, are standard normal; without them, p is NaN.
    """
    counts = histogram.counts[:, first:stop]
    pooled = counts.sum(axis=0)
    n = float(pooled.sum())
    if np.count_nonzero(pooled) < 3:
        return None
    logs = histogram.log_points[first:stop]
    found, masses, variances = solve_exponents(
        logs, histogram.log_measures[first:stop], np.array([float(pooled @ logs) / n])
    )
    law, variance = masses[0], float(variances[0])
    centred = logs - law @ logs
    # What each cluster holds beyond the law, and its score.
    residuals = counts - counts.sum(axis=1, keepdims=True) * law
    scores = residuals @ centred
    clusters = counts.shape[0]
    scatter = math.sqrt(float(scores @ scores) * clusters / max(clusters - 1, 1))
    distance = float(np.abs(np.cumsum(pooled / n - law)[:-1]).max())
    low, high = histogram.bounds(first, stop)
    # Around the ensemble's own shape: a law that does not fit must not pass for scatter between clusters.
    scattered = residuals - np.multiply.outer(counts.sum(axis=1) / n, pooled - n * law)
    curvature, per_log = _curvature(residuals, scattered, law, centred, variance, n)
    length = float(logs[-1] - logs[0])
    return RangeFit(
        exponent=float(found[0]),
        standard_error=1.0 / math.sqrt(n * variance),
        cluster_error=scatter / (n * variance) if clusters > 1 else math.nan,
        low=low,
        high=high,
        first=first,
        stop=stop,
        n=n,
        distance=distance,
        p=math.nan if multipliers is None else _p_value(scattered, law, centred, variance, distance, n, multipliers),
        curvature=curvature,
        drift=2.0 * length * curvature * per_log,
        drift_error=2.0 * length * per_log,
        share=float(histogram.counts[:, first:].sum() / histogram.counts.sum()),
    )


def _p_value(
    scattered: Array, law: Array, centred: Array, variance: float, distance: float, n: float, multipliers: Array
) -> float:
    """Share of multiplier draws whose process departs as far; the estimated exponent is projected out."""
    if scattered.shape[0] >= LEAST_CLUSTERS:
        draws = multipliers @ scattered
    else:
        # Too few clusters to know their scatter: that of independent values.
        noise = multipliers[:, : law.size] * np.sqrt(n * law)
        draws = noise - noise.sum(axis=1, keepdims=True) * law
    slope = np.cumsum(law * centred) / variance
    process = np.cumsum(draws, axis=1) - np.multiply.outer(draws @ centred, slope)
    largest = np.abs(process[:, :-1]).max(axis=1) / n
    return float((1 + np.count_nonzero(largest >= distance)) / (1 + largest.size))


def _curvature(
    residuals: Array, scattered: Array, law: Array, centred: Array, variance: float, n: float
) -> tuple[float, float]:
    """z of a term −b·ln²x in ln p, free of ln x, and the error of b; over clusters where there are enough."""
    square = np.square(centred)
    square = square - law @ square
    direction = square - (law @ (square * centred)) / variance * centred
    information = n * float(law @ np.square(direction))
    if information <= 0.0:
        return 0.0, math.inf
    scores = scattered @ direction
    clusters = residuals.shape[0]
    spread = math.sqrt(information)
    if clusters >= LEAST_CLUSTERS:
        spread = max(math.sqrt(float(scores @ scores) * clusters / (clusters - 1)), 1e-12)
    return -float((residuals @ direction).sum()) / spread, spread / information


def candidate_edges(histogram: Histogram) -> NDArray[np.intp]:
    """Places of bin edges that a range may start or end at: about eight per decade, between the extreme values."""
    filled = np.flatnonzero(histogram.pooled)
    if filled.size == 0:
        return np.zeros(0, dtype=np.intp)
    first, stop = int(filled[0]), int(filled[-1]) + 1
    logs = np.log10(histogram.edges[first : stop + 1])
    steps = max(1, math.ceil((logs[-1] - logs[0]) * _PER_DECADE))
    wanted = np.linspace(logs[0], logs[-1], steps + 1)
    return np.unique(np.minimum(first + np.searchsorted(logs, wanted - 1e-9), stop)).astype(np.intp)


def best_range(histogram: Histogram, rng: np.random.Generator, *, least: float) -> RangeFit | None:
    """The range with at least `least` values on which a power law was tested most severely and stands; None if none.

    Candidates are all pairs of `candidate_edges` half a decade apart or more. They are tried in the order of the
    information that they hold about a term in ln²x, that is in which a bent law would show best; the first that is
    accepted wins (in the spirit of Deluca & Corral 2013, who take the widest). Accepted means: not bent at 5 % towards
    a lognormal or a cut-off (one-sided) nor at 2.5 % the other way, Kolmogorov–Smirnov p above 5 %, and an exponent
    above one: where the density falls more slowly than 1/x, avalanches are as large as the upper end lets them be. An
    exponential law looks like that near zero.
    """
    edges = candidate_edges(histogram)
    if edges.size < 2 or np.count_nonzero(histogram.pooled) < 3:
        return None
    clusters = histogram.counts.shape[0]
    columns = clusters if clusters >= LEAST_CLUSTERS else histogram.log_points.size
    multipliers = rng.standard_normal((_MULTIPLIERS, columns))
    first, stop = (places.ravel() for places in np.meshgrid(edges, edges, indexing="ij"))
    wide = histogram.edges[stop] >= _NARROWEST * histogram.edges[first] * (1.0 - 1e-9)
    first, stop = first[wide], stop[wide]
    n, information, straight = _bend_information(histogram, first, stop)
    order = np.argsort(-information, kind="stable")
    for index in order[(n[order] >= least) & straight[order]]:
        found = fit_range(histogram, int(first[index]), int(stop[index]))
        if found is None or found.exponent < _LEAST_EXPONENT or not _may_fit(found):
            continue
        tested = fit_range(histogram, found.first, found.stop, multipliers)
        if tested is not None and tested.p > ACCEPTED:
            return tested
    return None


def _bend_information(
    histogram: Histogram, first: NDArray[np.intp], stop: NDArray[np.intp]
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """For each range: its number of values n, n times the variance of ln²x beyond what ln x explains, and a first look.

    The first look, for real numbers only, is the variance of ln x beside that of a power law of the same mean: ranges
    that are bent beyond four standard errors, as of clusters, are not worth a fit.
    """
    pooled = histogram.pooled
    logs = histogram.log_points - histogram.log_points[pooled > 0.0].mean()
    sums = np.stack([np.append(0.0, np.cumsum(pooled * logs**power)) for power in range(5)])
    n, *moments = sums[:, stop] - sums[:, first]
    one, two, three, four = (moment / np.maximum(n, 1.0) for moment in moments)
    variance = two - one**2
    skewed = three - 3.0 * one * two + 2.0 * one**3
    fourth = four - 4.0 * one * three + 6.0 * one**2 * two - 3.0 * one**4
    information = n * np.maximum(fourth - variance**2 - skewed**2 / np.maximum(variance, 1e-12), 1e-300)
    if histogram.discrete:
        return n, information, np.ones(n.size, dtype=np.bool_)
    edges = np.log(histogram.edges)
    length = edges[stop] - edges[first]
    low = edges[first] - histogram.log_points[pooled > 0.0].mean()
    share, spread = _truncated_exponential()
    expected = np.square(length) * np.interp((one - low) / length, share, spread)
    errors = np.sqrt(information) * _widening(histogram)
    return n, information, n * np.abs(variance - expected) < 4.0 * errors


def _widening(histogram: Histogram) -> float:
    """By how much clusters widen the scatter of ln x over all values, at least 1."""
    pooled = histogram.pooled
    centred = histogram.log_points - pooled @ histogram.log_points / pooled.sum()
    if histogram.counts.shape[0] < LEAST_CLUSTERS:
        return 1.0
    scores = histogram.counts @ centred
    return max(1.0, math.sqrt(float(scores @ scores) / float(pooled @ np.square(centred))))


def _truncated_exponential() -> tuple[Array, Array]:
    """Mean and variance of e^{−ut} on 0 ≤ t ≤ 1, by decreasing u: increasing in the mean."""
    u = np.linspace(40.0, -40.0, 800)
    half = 0.5 * u
    # From the law's cumulants, centred; u is never zero on this grid.
    mean = 1.0 / u - 1.0 / np.expm1(u)
    return mean, 1.0 / np.square(u) - 0.25 / np.square(np.sinh(half))


def _may_fit(fit: RangeFit) -> bool:
    """A quick look before the bootstrap: the curvature, and a distance that no power law would reach."""
    widening = max(1.0, fit.cluster_error / fit.standard_error) if math.isfinite(fit.cluster_error) else 1.0
    return _FLATTENS < fit.curvature < _STEEPENS and fit.distance * math.sqrt(fit.n) < 2.5 * widening


def corrected_exponents(histogram: Histogram, fit: RangeFit, samples: Array) -> Array:
    """Exponents of samples (samples, bins of the whole histogram) on the range of `fit` with corrections at both ends.

    The law is p(x) ∝ x^−a·exp(−b·(low/x)^ω − c·x/high): the leading correction to scaling and a cut-off, both of either
    sign. Durations have ω = 1, as a walk's first return and, nearly, a branching process. Such corrections are ∝ S^−σνz
    in sizes, S^−1/2 to S^−2/3: ω = 1/2. (Sizes of walks at integer times approach their law as S^−1/3 only; to allow
    for that would triple all errors.) What a pure power law on a range that passed its tests may still be biased by,
    this law takes up; its errors are three to ten times larger. NaN where a sample has fewer than five filled bins.
    """
    counts = samples[:, fit.first : fit.stop]
    logs = histogram.log_points[fit.first : fit.stop]
    t = logs - logs[0]
    omega = 1.0 if histogram.discrete else 0.5
    terms = np.stack([t, np.exp(-omega * t), np.exp(t - t[-1])])
    scales = terms.std(axis=1)
    usable = np.count_nonzero(counts, axis=1) >= 5
    result = np.full(samples.shape[0], np.nan)
    if not usable.any() or logs.size < 5:
        return result
    terms = (terms - terms.mean(axis=1, keepdims=True)) / scales[:, np.newaxis]
    base = histogram.log_measures[fit.first : fit.stop]
    weights = solve_family(terms, base - base.max(), counts[usable])
    result[usable] = -weights[:, 0] / scales[0]
    return result


def solve_family(terms: Array, base: Array, counts: Array) -> Array:
    """Maximum-likelihood weights (samples, terms) of laws with masses ∝ exp(base + weights·terms), for counts in bins.

    Damped Newton's method on a concave likelihood; `terms` (terms, bins) should be of order one.
    """
    size = terms.shape[0]
    products = (terms[:, np.newaxis] * terms).reshape(size * size, -1).T
    target = (counts @ terms.T) / counts.sum(axis=1, keepdims=True)
    weights = np.zeros((counts.shape[0], terms.shape[0]))
    value, masses = _family(weights, terms, base, target)
    for _ in range(80):
        mean = masses @ terms.T
        gradient = target - mean
        if float(np.abs(gradient).max()) < 1e-10:
            break
        hessian = (masses @ products).reshape(-1, size, size)
        hessian -= mean[:, :, np.newaxis] * mean[:, np.newaxis, :]
        hessian += 1e-10 * np.eye(size)
        step = np.linalg.solve(hessian, gradient[:, :, np.newaxis])[:, :, 0]
        length = np.ones((counts.shape[0], 1))
        for _ in range(30):
            tried, moved = _family(weights + length * step, terms, base, target)
            worse = tried < value - 1e-13
            if not worse.any():
                break
            length[worse] *= 0.5
        weights, value, masses = weights + length * step, tried, moved
    return weights


def _family(weights: Array, terms: Array, base: Array, target: Array) -> tuple[Array, Array]:
    """Log-likelihood per value (samples,) and masses (samples, bins)."""
    powers = base + weights @ terms
    highest = powers.max(axis=1, keepdims=True)
    masses = np.exp(powers - highest)
    norm = masses.sum(axis=1, keepdims=True)
    value = (weights * target).sum(axis=1) - highest[:, 0] - np.log(norm[:, 0])
    return value, masses / norm
