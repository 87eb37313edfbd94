"""From counts to exponents, errors and a verdict: `estimate`, the one door of this package."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from critaudit.errors import CritauditError
from critaudit.laws.crackling.branching import branching_ratio
from critaudit.laws.crackling.collapse import Collapse, collapse
from critaudit.laws.crackling.cross_check import cross_check
from critaudit.laws.crackling.histogram import Histogram, duration_histogram, size_histogram
from critaudit.laws.crackling.mean_size import MeanSizes, SlopeFit, fit_slope, mean_sizes
from critaudit.laws.crackling.records import AvalancheCounts
from critaudit.laws.crackling.results import (
    ClassDistance,
    Crackling,
    Estimate,
    MeanSizeLaw,
    PowerLaw,
    SizeKind,
    SizeScaling,
)
from critaudit.laws.crackling.rivals import compare_on_range
from critaudit.laws.crackling.truncated import LEAST_CLUSTERS, best_range, corrected_exponents, solve_exponents
from critaudit.laws.crackling.verdict import class_distances, distance_to, judge

Array = NDArray[np.float64]

RESAMPLES = 200
LEAST_VALUES = 500.0
"""A range of sizes or durations holds at least this many avalanches."""
_PER_DECADE = 10
_BLOCKS = 200


def estimate(
    counts: AvalancheCounts,
    *,
    nulls: Sequence[Crackling] = (),
    bootstrap: int = RESAMPLES,
    rng: np.random.Generator,
    name: str = "",
    checked: bool = True,
) -> Crackling:
    """Exponents of sizes (total and excess), durations and ⟨S⟩(D), their joint errors, and what they amount to.

    Errors come from `bootstrap` resamples of the clusters; below ten clusters there are none, and intervals are None
    with the reason. `nulls` are results of the same function for null models (a linear network, surrogates), which
    `name` tells apart; the verdict compares with them. `checked=False` leaves out the `powerlaw` package's own fit of
    the tails, which takes longer than all else. The result depends on `rng` within the errors only.
    Raises CritauditError for a negative or single-figure number of resamples.
    """
    if bootstrap < 20:
        raise CritauditError(
            f"{bootstrap} bootstrap resamples were asked for; intervals need 20 or more, 200 are usual"
        )
    clusters = _filled_clusters(counts)
    counts = _in_blocks(counts)
    weights = np.ones((1, counts.clusters))
    if clusters >= LEAST_CLUSTERS:
        drawn = rng.multinomial(counts.clusters, np.full(counts.clusters, 1.0 / counts.clusters), size=bootstrap)
        weights = np.concatenate([weights, drawn.astype(np.float64)])
    duration = _power_law("durations", duration_histogram(counts), weights, clusters, rng, checked)
    scalings = [
        _scaling(kind, counts, duration, weights, clusters, rng, checked, nulls) for kind in ("total", "excess")
    ]
    branching = branching_ratio(counts.lags, weights)
    return Crackling(
        name=name,
        paths=float(counts.paths.sum()),
        avalanches=counts.avalanches,
        none=float(counts.none.sum()),
        censored=float(counts.censored.sum()),
        clusters=clusters,
        resamples=weights.shape[0] - 1,
        duration=duration[0],
        total=scalings[0],
        excess=scalings[1],
        branching=branching,
        branching_ratio=None if branching is None else _simple(branching.ratios, clusters),
        verdict=scalings[1].verdict,
    )


def _in_blocks(counts: AvalancheCounts) -> AvalancheCounts:
    """Many clusters as sums of some each, which are as independent: the bootstrap needs no more than that."""
    if counts.clusters <= 2 * _BLOCKS:
        return counts
    places = np.sort(np.arange(counts.clusters) % _BLOCKS)
    order = np.argsort(np.arange(counts.clusters) % _BLOCKS, kind="stable")
    starts = np.searchsorted(places, np.arange(_BLOCKS))
    return counts.summed(order, starts)


def _filled_clusters(counts: AvalancheCounts) -> int:
    """Clusters that hold avalanches: empty ones tell nothing about their scatter."""
    return int(np.count_nonzero(counts.durations.sum(axis=1)))


def _power_law(
    quantity: str, histogram: Histogram, weights: Array, clusters: int, rng: np.random.Generator, checked: bool
) -> tuple[PowerLaw, Array | None]:
    """The record, and the exponents (1 + resamples, 2): of the pure law, and with corrections."""
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
        exponent = _corrected(draws, clusters)
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


def _scaling(
    kind: SizeKind,
    counts: AvalancheCounts,
    duration: tuple[PowerLaw, Array | None],
    weights: Array,
    clusters: int,
    rng: np.random.Generator,
    checked: bool,
    nulls: Sequence[Crackling],
) -> SizeScaling:
    sizes = counts.total if kind == "total" else counts.excess
    size, taus = _power_law(f"{kind} sizes", size_histogram(sizes), weights, clusters, rng, checked)
    lasting, alphas = duration
    span = None if lasting.fit is None else (lasting.fit.low, lasting.fit.high)
    means = mean_sizes(counts, sizes, weights)
    slope = fit_slope(means, span)
    sums = counts.profiles.total if kind == "total" else counts.profiles.excess
    # Profiles collapse where mean sizes scale.
    straight = None if slope is None else (slope.low, slope.high)
    shapes = (
        collapse(counts.profiles, sums, straight, (np.log(means.durations), means.logs))
        if means.durations.size
        else None
    )
    centre, covariance, cloud, relation, mismatch = _joint(taus, alphas, slope, clusters)
    classes = () if centre is None or covariance is None else class_distances(centre, covariance)
    compared, silent = _null_distances(kind, nulls, centre, covariance)
    return SizeScaling(
        kind=kind,
        size=size,
        mean_size=None if slope is None else _mean_size_law(slope, means, clusters),
        collapse=shapes,
        collapse_exponent=_collapse_estimate(shapes, clusters),
        relation=relation,
        mismatch=mismatch,
        centre=centre,
        covariance=covariance,
        cloud=cloud,
        classes=classes,
        nulls=compared,
        verdict=judge(
            lasting,
            size,
            clusters=clusters,
            classes=classes,
            nulls=compared,
            silent_nulls=silent,
            mismatch=mismatch,
        ),
    )


def _null_distances(
    kind: SizeKind, nulls: Sequence[Crackling], centre: Array | None, covariance: Array | None
) -> tuple[tuple[ClassDistance, ...], list[str]]:
    """Distances to the nulls that have exponents, with both covariances; and the names of those that have none."""
    found, silent = [], []
    for null in nulls:
        scaling = null.total if kind == "total" else null.excess
        if scaling.centre is None or scaling.covariance is None:
            silent.append(null.name)
        elif centre is not None and covariance is not None:
            tau, alpha, slope = (float(value) for value in scaling.centre)
            found.append(distance_to(null.name, (tau, alpha, slope), centre, covariance + scaling.covariance))
    return tuple(found), silent


def _joint(
    taus: Array | None, alphas: Array | None, slope: SlopeFit | None, clusters: int
) -> tuple[Array | None, Array | None, Array | None, float | None, Estimate | None]:
    """Centre, covariance and cloud of (τ, α, 1/σνz); (α − 1)/(τ − 1); and the crackling mismatch."""
    if taus is None or alphas is None or slope is None:
        return None, None, None, None, None
    pure = np.stack([taus[:, 0], alphas[:, 0], slope.slopes], axis=1)
    relation = float((pure[0, 1] - 1.0) / (pure[0, 0] - 1.0)) if pure[0, 0] > 1.0 else None
    corrected = np.stack([taus[:, 1], alphas[:, 1], slope.corrected], axis=1)
    usable = np.all(np.isfinite(corrected[1:]), axis=1)
    mismatch = None
    if clusters < LEAST_CLUSTERS or not np.all(np.isfinite(corrected[0])) or np.count_nonzero(usable) < 20:
        if relation is not None:
            reason = f"{clusters} clusters give no errors; {LEAST_CLUSTERS} or more do"
            mismatch = Estimate(abs(relation - float(pure[0, 2])), None, None, None, reason)
        return None, None, None, relation, mismatch
    cloud = corrected[1:][usable]
    shift = 0.5 * (corrected[0] - pure[0])
    covariance = np.cov(cloud.T) + np.outer(shift, shift)
    if relation is not None:
        mismatch = _mismatch(pure[0], corrected[0], cloud)
    return corrected[0], covariance, cloud, relation, mismatch


def _mismatch(pure: Array, corrected: Array, cloud: Array) -> Estimate:
    """DCC with its interval: percentiles of the signed mismatch, folded at zero."""

    def signed(rows: Array) -> Array:
        tau = np.where(rows[..., 0] > 1.0, rows[..., 0], np.nan)
        result: Array = (rows[..., 1] - 1.0) / (tau - 1.0) - rows[..., 2]
        return result

    value, centre = float(abs(signed(pure))), float(signed(corrected))
    drawn = signed(cloud)
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size < 20 or not math.isfinite(centre):
        return Estimate(value, None, None, None, "τ comes too near one in resamples, where the relation has no value")
    half = 0.5 * abs(centre - float(signed(pure)))
    low, high = (float(edge) for edge in np.quantile(drawn, [0.025, 0.975]))
    low, high = low - half, high + half
    interval = (0.0, max(-low, high)) if low <= 0.0 <= high else (min(abs(low), abs(high)), max(abs(low), abs(high)))
    return Estimate(value, (min(interval[0], value), max(interval[1], value)), abs(centre), float(drawn.std(ddof=1)))


def _corrected(draws: Array, clusters: int) -> Estimate:
    """From exponents (1 + resamples, 2): pure, and with corrections."""
    value, corrected = float(draws[0, 0]), float(draws[0, 1])
    drawn = draws[1:, 1]
    drawn = drawn[np.isfinite(drawn)]
    if clusters < LEAST_CLUSTERS:
        return Estimate(value, None, None, None, f"{clusters} clusters give no errors; {LEAST_CLUSTERS} or more do")
    if not math.isfinite(corrected) or drawn.size < 20:
        return Estimate(value, None, None, None, "the range holds too few different values for corrections")
    error = math.hypot(float(drawn.std(ddof=1)), 0.5 * (corrected - value))
    half = float(stdtrit(clusters - 1, 0.975)) * error
    return Estimate(value, (min(corrected - half, value), max(corrected + half, value)), corrected, error)


def _simple(draws: Array, clusters: int) -> Estimate:
    """From draws (1 + resamples,) of something that needs no correction."""
    value = float(draws[0])
    if clusters < LEAST_CLUSTERS:
        return Estimate(value, None, None, None, f"{clusters} clusters give no errors; {LEAST_CLUSTERS} or more do")
    error = float(draws[1:].std(ddof=1))
    half = float(stdtrit(clusters - 1, 0.975)) * error
    return Estimate(value, (value - half, value + half), value, error)


def _collapse_estimate(shapes: Collapse | None, clusters: int) -> Estimate | None:
    return None if shapes is None else _simple(shapes.slopes, clusters)


def _mean_size_law(slope: SlopeFit, means: MeanSizes, clusters: int) -> MeanSizeLaw:
    errors = means.logs[1:].std(axis=0) if means.logs.shape[0] > 2 else 1.0 / np.sqrt(means.weights)
    return MeanSizeLaw(
        slope=_corrected(np.stack([slope.slopes, slope.corrected], axis=1), clusters),
        intercept=slope.intercept,
        low=slope.low,
        high=slope.high,
        curvature=slope.curvature,
        points=np.stack([means.durations, np.exp(means.logs[0]), errors, means.numbers], axis=1),
    )
