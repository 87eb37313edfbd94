"""Shape collapse: the profiles of avalanches of different durations as one curve, D^{1−1/σνz}·⟨s⟩(l/D)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critaudit.laws.crackling.mean_size import MeanSizes, least_squares
from critaudit.laws.crackling.records import ProfileSums

Array = NDArray[np.float64]

_PHASES = (np.arange(32) + 0.5) / 32
_SHORTEST = 8.0
_PER_DECADE = 6
_LEAST_AVALANCHES = 20.0
_SLOPES = np.linspace(0.2, 4.0, 381)


@dataclass(frozen=True, slots=True, eq=False)
class Collapse:
    """The exponent 1/σνz at which profiles collapse best.

    `slopes` (1 + resamples,) holds it for the ensemble and for its bootstrap resamples, in which the height of each
    profile moves with the resampled mean sizes of its durations while its shape stays: profiles are kept for all
    clusters together. `corrected` (1 + resamples,) allows for a correction to scaling: heights (root mean squares) grow
    as D^{1/σνz − 1}·(1 + c·D^−1/2), the leading correction of `mean_size`; a dozen curves cannot tell two corrections.
    `mismatch` is the least normalised mean squared error, mean over durations and phases of the squared departure from
    the mean curve in units of that curve's mean square; `mismatch_before` the same without rescaling. `durations`
    (curves,), `phases` (points,) l/D, `before` and `after` (curves, points).
    """

    slopes: Array
    corrected: Array
    mismatch: float
    mismatch_before: float
    durations: Array
    phases: Array
    before: Array
    after: Array


def collapse(
    profiles: ProfileSums, sums: Array, durations: tuple[float, float] | None, means: MeanSizes
) -> Collapse | None:
    """The best collapse of ⟨s⟩(l/D) of durations in the range (8 or more); None below three curves of 20 avalanches.

    `sums` (durations, layers) is `profiles.total` or `.excess`; durations are pooled, six curves per decade.
    """
    low, high = durations if durations is not None else (1.0, math.inf)
    curves = _curves(profiles, sums, max(low, _SHORTEST), high)
    if curves is None:
        return None
    lasting, heights, edges = curves
    moved = _moved(means, lasting, edges)
    products = heights @ heights.T / _PHASES.size
    x = np.log(lasting / lasting[0])
    best = _minimum(_mismatch(products, x, np.exp(moved)))
    grown = 0.5 * np.log(np.diag(products)) + x + moved
    corrected = least_squares(np.stack([np.ones_like(x), x, np.exp(-0.5 * x)]), grown, np.ones_like(x))[:, 1]
    after = heights * (lasting / lasting[0])[:, np.newaxis] ** (1.0 - best[0])
    return Collapse(
        slopes=best,
        corrected=corrected,
        mismatch=_spread(after),
        mismatch_before=_spread(heights),
        durations=lasting,
        phases=_PHASES,
        before=heights,
        after=after,
    )


def _moved(means: MeanSizes, lasting: Array, edges: Array) -> Array:
    """By how much resamples move the logarithm of each curve's height, (1 + resamples, curves).

    A curve's height is the mean of S/D over its avalanches: mean sizes count by their part in that.
    """
    place = np.searchsorted(edges, means.durations, side="right") - 1
    parts = means.numbers * np.exp(means.logs[0]) / means.durations
    weights = np.where(place == np.arange(lasting.size)[:, np.newaxis], parts, 0.0)
    for curve in np.flatnonzero(weights.sum(axis=1) == 0.0):
        # Its durations are too rare to have mean sizes one by one.
        weights[curve, np.argmin(np.abs(np.log(means.durations / lasting[curve])))] = 1.0
    result: Array = (means.logs - means.logs[0]) @ (weights / weights.sum(axis=1, keepdims=True)).T
    return result


def _curves(profiles: ProfileSums, sums: Array, low: float, high: float) -> tuple[Array, Array, Array] | None:
    """Mean profiles on the common phases, pooled over durations: (curves,), (curves, phases), edges (curves + 1,)."""
    longest = min(high, profiles.counts.size)
    if longest < low * 1.5:
        return None
    decades = math.log10((longest + 1) / low)
    edges = np.unique(np.ceil(np.geomspace(low, longest + 1, max(2, math.ceil(_PER_DECADE * decades)) + 1)))
    lasting, heights, ends = [], [], []
    for first, stop in zip(edges[:-1].astype(int), edges[1:].astype(int), strict=True):
        held = np.arange(first, stop)
        number = profiles.counts[held - 1].astype(np.float64)
        if number.sum() < _LEAST_AVALANCHES:
            continue
        # Each duration's sums are read at the same phases before they are pooled.
        read = [np.interp(_PHASES * d, np.arange(d) + 0.5, sums[d - 1, :d]) for d in held]
        lasting.append(math.exp(float(number @ np.log(held)) / float(number.sum())))
        heights.append(np.sum(read, axis=0) / number.sum())
        ends.append(stop)
    if len(lasting) < 3:
        return None
    return np.array(lasting), np.array(heights), np.array([edges[0], *ends], dtype=np.float64)


def _mismatch(products: Array, logs: Array, ratios: Array) -> Array:
    """Normalised mean squared error (resamples, slopes), from the curves' inner products alone."""
    scales = ratios[:, np.newaxis, :] * np.exp(np.multiply.outer(1.0 - _SLOPES, logs))
    curves = logs.size
    own = np.square(scales) @ np.diag(products) / curves
    mean = np.einsum("rsk,kl,rsl->rs", scales, products, scales, optimize=True) / curves**2
    result: Array = own / np.maximum(mean, 1e-300) - 1.0
    return result


def _minimum(mismatch: Array) -> Array:
    """Where each row is least, by a parabola through its three lowest neighbours."""
    place = np.clip(np.argmin(mismatch, axis=1), 1, _SLOPES.size - 2)
    rows = np.arange(mismatch.shape[0])
    left, here, right = (mismatch[rows, place + step] for step in (-1, 0, 1))
    bend = left - 2.0 * here + right
    shift = np.where(bend > 0.0, 0.5 * (left - right) / np.where(bend > 0.0, bend, 1.0), 0.0)
    result: Array = _SLOPES[place] + np.clip(shift, -1.0, 1.0) * (_SLOPES[1] - _SLOPES[0])
    return result


def _spread(curves: Array) -> float:
    mean = curves.mean(axis=0)
    return float(np.square(curves - mean).mean() / np.square(mean).mean())
