"""The branching ratio by multistep regression, which reading only a part of the activity does not bias."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LEAST_PAIRS = 100.0
_RATIOS = np.exp(np.linspace(math.log(0.05), math.log(1.3), 600))
_LEAST_LAGS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Branching:
    """m in ⟨a_{l+1} | a_l⟩ = m·a_l, from r_k = b·m^k (Wilting & Priesemann 2018, Eq. 5).

    `ratio` is m, `left_out` (clusters,) the same without each cluster that holds pairs, and `shares` (clusters,) are
    their shares of Σ a², which the regressions divide by. `single_step` is r_1, which subsampling and noise bias
    towards zero. `regressions` (lags,) are the r_k, `lags` their k, `misfit` the root mean square departure from the
    exponential.
    """

    ratio: float
    left_out: Array
    shares: Array
    single_step: float
    amplitude: float
    lags: Array
    regressions: Array
    misfit: float


def branching_ratio(sums: Array) -> Branching | None:
    """m from regression sums (clusters, lags, 6) as `AvalancheCounts.lags` holds them; None without three usable lags.

    Lags with fewer than 100 pairs are left out.
    """
    sums = sums[sums[:, 0, 0] > 0.0]
    whole = sums.sum(axis=0)
    enough = whole[:, 0] >= _LEAST_PAIRS
    usable = int(np.argmin(enough)) if not enough.all() else enough.size
    if usable < _LEAST_LAGS:
        return None
    pooled = np.concatenate([whole[np.newaxis], whole - sums])[:, :usable]
    n, x, y, square, product, _ = np.moveaxis(pooled, -1, 0)
    variance = square - x * x / np.maximum(n, 1.0)
    if np.any(variance[0] <= 0.0):
        return None
    regressions = (product - x * y / np.maximum(n, 1.0)) / np.where(variance > 0.0, variance, np.inf)
    lags = np.arange(1.0, usable + 1.0)
    ratios = _rates(regressions, lags)
    curve = ratios[0] ** lags
    amplitude = float(regressions[0] @ curve / (curve @ curve))
    squares = sums[:, :usable, 3].sum(axis=1)
    return Branching(
        ratio=float(ratios[0]),
        left_out=ratios[1:],
        shares=squares / squares.sum(),
        single_step=float(regressions[0, 0]),
        amplitude=amplitude,
        lags=lags,
        regressions=regressions[0],
        misfit=math.sqrt(float(np.square(regressions[0] - amplitude * curve).mean())),
    )


def _rates(regressions: Array, lags: Array) -> Array:
    """m (samples,) of the exponentials b·m^k that are nearest to rows of r_k, by least squares."""
    powers = _RATIOS[:, np.newaxis] ** lags
    # For each m the best amplitude is explicit; what it explains is overlap²/norm.
    explained = np.square(np.maximum(regressions @ powers.T, 0.0)) / np.square(powers).sum(axis=1)
    place = np.clip(np.argmax(explained, axis=1), 1, _RATIOS.size - 2)
    rows = np.arange(place.size)
    left, here, right = (explained[rows, place + step] for step in (-1, 0, 1))
    bend = left - 2.0 * here + right
    shift = np.where(bend < 0.0, 0.5 * (left - right) / np.where(bend < 0.0, bend, -1.0), 0.0)
    result: Array = _RATIOS[place] * (_RATIOS[1] / _RATIOS[0]) ** np.clip(shift, -1.0, 1.0)
    return result
