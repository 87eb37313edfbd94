"""Shape collapse: the profiles of avalanches of different durations as one curve, D^{1−1/σνz}·⟨s⟩(l/D)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    profile moves with the resampled mean size of its duration while its shape stays: profiles are kept for all clusters
    together. `mismatch` is the least normalised mean squared error, mean over durations and phases of the squared
    departure from the mean curve in units of that curve's mean square; `mismatch_before` the same without rescaling.
    `durations` (curves,), `phases` (points,) l/D, `before` and `after` (curves, points).
    """

    slopes: Array
    mismatch: float
    mismatch_before: float
    durations: Array
    phases: Array
    before: Array
    after: Array


def collapse(
    profiles: ProfileSums, sums: Array, durations: tuple[float, float] | None, mean_logs: tuple[Array, Array]
) -> Collapse | None:
    """The best collapse of ⟨s⟩(l/D) of durations in the range (8 or more); None below three curves of 20 avalanches.

    `sums` (durations, layers) is `profiles.total` or `.excess`; durations are pooled, six curves per decade.
    `mean_logs` are ln D (points,) and ln⟨S⟩ (1 + resamples, points).
    """
    low, high = durations if durations is not None else (1.0, math.inf)
    curves = _curves(profiles, sums, max(low, _SHORTEST), high)
    if curves is None:
        return None
    lasting, heights = curves
    points, logs = mean_logs
    ratios = np.stack([np.interp(np.log(lasting), points, row - logs[0]) for row in logs])
    products = heights @ heights.T / _PHASES.size
    mismatch = _mismatch(products, np.log(lasting / lasting[0]), np.exp(ratios))
    best = _minimum(mismatch)
    after = heights * (lasting / lasting[0])[:, np.newaxis] ** (1.0 - best[0])
    return Collapse(
        slopes=best,
        mismatch=_spread(after),
        mismatch_before=_spread(heights),
        durations=lasting,
        phases=_PHASES,
        before=heights,
        after=after,
    )


def _curves(profiles: ProfileSums, sums: Array, low: float, high: float) -> tuple[Array, Array] | None:
    """Mean profiles on the common phases, pooled over durations: (curves,), (curves, phases)."""
    longest = min(high, profiles.counts.size)
    if longest < low * 1.5:
        return None
    decades = math.log10((longest + 1) / low)
    edges = np.unique(np.ceil(np.geomspace(low, longest + 1, max(2, math.ceil(_PER_DECADE * decades)) + 1)))
    lasting, heights = [], []
    for first, stop in zip(edges[:-1].astype(int), edges[1:].astype(int), strict=True):
        held = np.arange(first, stop)
        number = profiles.counts[held - 1].astype(np.float64)
        if number.sum() < _LEAST_AVALANCHES:
            continue
        # Each duration's sums are read at the same phases before they are pooled.
        read = [np.interp(_PHASES * d, np.arange(d) + 0.5, sums[d - 1, :d]) for d in held]
        lasting.append(math.exp(float(number @ np.log(held)) / float(number.sum())))
        heights.append(np.sum(read, axis=0) / number.sum())
    if len(lasting) < 3:
        return None
    return np.array(lasting), np.array(heights)


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
