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

    `ratios` (1 + resamples,) is m for the ensemble and its bootstrap resamples; `single_step` is r_1, which subsampling
    and noise bias towards zero. `regressions` (lags,) are the r_k, `lags` their k, `misfit` the root mean square
    departure from the exponential.
    """

    ratios: Array
    single_step: float
    amplitude: float
    lags: Array
    regressions: Array
    misfit: float


def branching_ratio(sums: Array, weights: Array) -> Branching | None:
    """m from regression sums (clusters, lags, 6) as `AvalancheCounts.lags` holds them; None without three usable lags.

    `weights` (1 + resamples, clusters), the first all ones. Lags with fewer than 100 pairs are left out.
    """
    pooled = np.tensordot(weights, sums, axes=1)
    n, x, y, square, product, _ = np.moveaxis(pooled, -1, 0)
    enough = n[0] >= _LEAST_PAIRS
    usable = int(np.argmin(enough)) if not enough.all() else enough.size
    if usable < _LEAST_LAGS:
        return None
    n, x, y, square, product = (part[:, :usable] for part in (n, x, y, square, product))
    variance = square - x * x / np.maximum(n, 1.0)
    if np.any(variance[0] <= 0.0):
        return None
    regressions = (product - x * y / np.maximum(n, 1.0)) / np.where(variance > 0.0, variance, np.inf)
    lags = np.arange(1.0, usable + 1.0)
    powers = _RATIOS[:, np.newaxis] ** lags
    norms = np.square(powers).sum(axis=1)
    overlaps = regressions @ powers.T
    # For each m the best amplitude is explicit; what it explains is overlap²/norm.
    explained = np.square(np.maximum(overlaps, 0.0)) / norms
    place = np.clip(np.argmax(explained, axis=1), 1, _RATIOS.size - 2)
    rows = np.arange(place.size)
    left, here, right = (explained[rows, place + step] for step in (-1, 0, 1))
    bend = left - 2.0 * here + right
    shift = np.where(bend < 0.0, 0.5 * (left - right) / np.where(bend < 0.0, bend, -1.0), 0.0)
    ratios = _RATIOS[place] * (_RATIOS[1] / _RATIOS[0]) ** np.clip(shift, -1.0, 1.0)
    curve = ratios[0] ** lags
    amplitude = float(regressions[0] @ curve / (curve @ curve))
    misfit = math.sqrt(float(np.square(regressions[0] - amplitude * curve).mean()))
    return Branching(ratios, float(regressions[0, 0]), amplitude, lags, regressions[0], misfit)
