"""From counts to exponents, errors and a verdict: `estimate`, the one door of this package."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from critaudit.errors import CritauditError
from critaudit.laws.crackling.branching import branching_ratio
from critaudit.laws.crackling.collapse import Collapse, collapse
from critaudit.laws.crackling.distribution import corrected_estimate, few_clusters, fit_distribution, jackknife_estimate
from critaudit.laws.crackling.histogram import duration_histogram, size_histogram
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
from critaudit.laws.crackling.truncated import LEAST_CLUSTERS
from critaudit.laws.crackling.verdict import SYSTEMATIC_FLOOR, class_distances, distance_to, judge

Array = NDArray[np.float64]

RESAMPLES = 200
NORMAL_95 = 1.959963984540054
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
    duration = fit_distribution("durations", duration_histogram(counts), weights, clusters, rng, checked=checked)
    scalings = [
        _scaling(kind, counts, duration, weights, clusters, rng, checked, nulls) for kind in ("total", "excess")
    ]
    branching = branching_ratio(counts.lags)
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
        branching_ratio=(
            None if branching is None else jackknife_estimate(branching.ratio, branching.left_out, branching.shares)
        ),
        verdict=scalings[1].verdict,
    )


def _in_blocks(counts: AvalancheCounts) -> AvalancheCounts:
    """Many clusters as sums of some each, which are as independent: the bootstrap needs no more than that."""
    if counts.clusters <= 2 * _BLOCKS:
        return counts
    block = np.arange(counts.clusters) % _BLOCKS
    order = np.argsort(block, kind="stable")
    return counts.summed(order, np.searchsorted(block[order], np.arange(_BLOCKS)))


def _filled_clusters(counts: AvalancheCounts) -> int:
    """Clusters that hold avalanches: empty ones tell nothing about their scatter."""
    return int(np.count_nonzero(counts.durations.sum(axis=1)))


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
    size, taus = fit_distribution(f"{kind} sizes", size_histogram(sizes), weights, clusters, rng, checked=checked)
    lasting, alphas = duration
    span = None if lasting.fit is None else (lasting.fit.low, lasting.fit.high)
    means = mean_sizes(counts, sizes, weights)
    slope = fit_slope(means, span)
    sums = counts.profiles.total if kind == "total" else counts.profiles.excess
    # Profiles collapse where mean sizes scale.
    straight = None if slope is None else (slope.low, slope.high)
    shapes = collapse(counts.profiles, sums, straight, means) if means.durations.size else None
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
        corrected_relation=None if centre is None else _relation(centre),
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
            depth=counts.depth,
            centre=centre,
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
    relation = _relation(pure[0])
    corrected = np.stack([taus[:, 1], alphas[:, 1], slope.corrected], axis=1)
    usable = np.all(np.isfinite(corrected[1:]), axis=1)
    mismatch = None
    if clusters < LEAST_CLUSTERS or not np.all(np.isfinite(corrected[0])) or np.count_nonzero(usable) < 20:
        if relation is not None:
            mismatch = Estimate(abs(relation - float(pure[0, 2])), None, None, None, few_clusters(clusters))
        return None, None, None, relation, mismatch
    cloud = corrected[1:][usable]
    if relation is not None:
        mismatch = _mismatch(pure[0], corrected[0], cloud)
    return corrected[0], np.cov(cloud.T), cloud, relation, mismatch


def _relation(exponents: Array) -> float | None:
    """(α − 1)/(τ − 1) of (τ, α, …); None where τ is not above 1, where it has no value."""
    return float((exponents[1] - 1.0) / (exponents[0] - 1.0)) if exponents[0] > 1.0 else None


def _mismatch(pure: Array, corrected: Array, cloud: Array) -> Estimate:
    """DCC with its interval: percentiles of the signed mismatch and the systematic floor, folded at zero."""

    def signed(rows: Array) -> Array:
        tau = np.where(rows[..., 0] > 1.0, rows[..., 0], np.nan)
        result: Array = (rows[..., 1] - 1.0) / (tau - 1.0) - rows[..., 2]
        return result

    value, centre = float(abs(signed(pure))), float(signed(corrected))
    drawn = signed(cloud)
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size < 20 or not math.isfinite(centre):
        return Estimate(value, None, None, None, "τ comes too near one in resamples, where the relation has no value")
    # The systematic errors that distances from classes allow for count here as well.
    floor = float(np.linalg.norm(signed(corrected + np.diag(SYSTEMATIC_FLOOR)) - centre))
    floor = NORMAL_95 * floor if math.isfinite(floor) else 0.0
    low, high = (float(edge) for edge in np.quantile(drawn, [0.025, 0.975]))
    low, high = centre - math.hypot(centre - low, floor), centre + math.hypot(high - centre, floor)
    interval = (0.0, max(-low, high)) if low <= 0.0 <= high else (min(abs(low), abs(high)), max(abs(low), abs(high)))
    stretched = (min(interval[0], value), max(interval[1], value))
    return Estimate(value, stretched, abs(centre), float(drawn.std(ddof=1)), unstretched=interval)


def _collapse_estimate(shapes: Collapse | None, clusters: int) -> Estimate | None:
    return None if shapes is None else corrected_estimate(np.stack([shapes.slopes, shapes.corrected], axis=1), clusters)


def _mean_size_law(slope: SlopeFit, means: MeanSizes, clusters: int) -> MeanSizeLaw:
    errors = means.logs[1:].std(axis=0) if means.logs.shape[0] > 2 else 1.0 / np.sqrt(means.weights)
    return MeanSizeLaw(
        slope=corrected_estimate(np.stack([slope.slopes, slope.corrected], axis=1), clusters),
        intercept=slope.intercept,
        low=slope.low,
        high=slope.high,
        curvature=slope.curvature,
        points=np.stack([means.durations, np.exp(means.logs[0]), errors, means.numbers], axis=1),
    )
