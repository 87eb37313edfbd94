"""The spectrum of pure noise, fitted to the bulk of a matrix: edges, spikes beyond them, and how well it fits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import gammaincinv

from critaudit.errors import CritauditError

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MarchenkoPastur:
    """The Marchenko–Pastur law with the bulk of some singular values.

    The entries of the noise have standard deviation `entry_deviation`. In the limit of large matrices its singular
    values fill [`lower_edge`, `upper_edge`]; the largest one of a finite matrix exceeds `threshold` with probability
    `level` (Tracy–Widom). `spikes` values do, and carry `spike_share` of Σσ². `soft_rank` is upper_edge²/σ₁² (Martin &
    Mahoney), about one for noise. `distance` is the Kolmogorov–Smirnov distance of the rest from the law, to be judged
    against a null of the same size: singular values repel each other and follow it closer than independent draws.
    """

    entry_deviation: float
    lower_edge: float
    upper_edge: float
    threshold: float
    level: float
    spikes: int
    spike_share: float
    soft_rank: float
    distance: float


def fit_marchenko_pastur(
    singular_values: ArrayLike, rows: int, columns: int, *, groups: int = 1, level: float = 0.01
) -> MarchenkoPastur:
    """Fit the law to all singular values of a rows × columns matrix (of `groups` such blocks, pooled).

    Values are taken for spikes one by one from the top while they exceed what the rest predicts for its own largest.
    The scale of the rest comes from its sum of squares, which is most exact, or from its median (Gavish & Donoho 2014)
    where that is clearly smaller, because spikes not yet taken would hide each other in the sum. Results other than
    lengths do not change with the scale of the matrix. Raises CritauditError where the number of values is not
    groups · min(rows, columns), where fewer than 8 are given, or where half of them are zero.
    """
    values = np.sort(np.asarray(singular_values, dtype=np.float64).ravel())[::-1]
    small, large = min(rows, columns), max(rows, columns)
    if values.size != groups * small or values.size < 8:
        raise CritauditError(
            f"{values.size} singular values were given for {groups} blocks of {rows}×{columns}; the law is fitted to "
            f"all {groups * small} of them, and to no fewer than 8"
        )
    middle = _median(values)
    if middle <= 0.0 or not math.isfinite(float(values[0])):
        raise CritauditError("half of the singular values are zero or not finite: there is no bulk of noise to fit")
    spikes, deviation, limit = _take_spikes(values, small, large, groups, level)
    if deviation <= 0.0:
        raise CritauditError("all but the largest singular values are zero: there is no bulk of noise to fit")
    # What is left lives on so many dimensions less.
    narrow, wide = small - spikes / groups, large - spikes / groups
    scaled = np.square(values[spikes:] / (deviation * math.sqrt(wide)))
    predicted = marchenko_pastur_cdf(scaled, narrow / wide)[::-1]
    steps = np.arange(predicted.size + 1) / predicted.size
    upper = deviation * (math.sqrt(wide) + math.sqrt(narrow))
    weights = np.square(values / values[0])
    return MarchenkoPastur(
        entry_deviation=deviation,
        lower_edge=deviation * (math.sqrt(wide) - math.sqrt(narrow)),
        upper_edge=upper,
        threshold=deviation * limit,
        level=level,
        spikes=spikes,
        spike_share=float(weights[:spikes].sum() / weights.sum()),
        soft_rank=(upper / float(values[0])) ** 2,
        distance=float(max((predicted - steps[:-1]).max(), (steps[1:] - predicted).max())),
    )


def _take_spikes(values: Array, small: int, large: int, groups: int, level: float) -> tuple[int, float, float]:
    """Number of spikes, standard deviation of the entries of the rest, and the rest's limit in units of it."""
    unit = math.sqrt(marchenko_pastur_quantile(0.5, small / large) * large)
    tails = np.cumsum(np.square(values[::-1] / values[0]))[::-1]
    for spikes in range(values.size // 2 + 1):
        # Removing k components of rank one leaves noise on (rows − k)(columns − k) dimensions.
        per_block = spikes / groups
        by_sum = float(values[0]) * math.sqrt(tails[spikes] / (groups * (small - per_block) * (large - per_block)))
        by_median = _median(values[spikes:]) / unit
        # The median of noise scatters by 1/small to 2/small.
        deviation = by_sum if by_sum <= by_median * (1.0 + 5.0 / small) else by_median
        limit = _largest_noise(small - per_block, large - per_block, level / groups)
        if values[spikes] <= deviation * limit:
            break
    return spikes, deviation, limit


def _median(ordered: Array) -> float:
    half = ordered.size // 2
    return float(ordered[half] if ordered.size % 2 else 0.5 * (ordered[half - 1] + ordered[half]))


def marchenko_pastur_cdf(x: ArrayLike, ratio: float) -> Array:
    """P(eigenvalue of XᵀX/M < x) for X of M × N independent entries of variance one, ratio = N/M in (0, 1], N → ∞.

    In closed form through x = 1 + r² − 2r·cos θ with r = √ratio. Oracle: quadrature of the density.
    """
    root = math.sqrt(_checked_ratio(ratio))
    cosine = (1.0 + ratio - np.asarray(x, dtype=np.float64)) / (2.0 * root)
    return _cdf_of_angle(np.arccos(np.clip(cosine, -1.0, 1.0)), root)


@lru_cache(maxsize=1024)
def marchenko_pastur_quantile(probability: float, ratio: float) -> float:
    """The x below which a share `probability` of the eigenvalues lies; see `marchenko_pastur_cdf`."""
    root = math.sqrt(_checked_ratio(ratio))

    def excess(theta: float) -> float:
        return float(_cdf_of_angle(np.asarray(theta), root)) - probability

    angle = float(brentq(excess, 0.0, math.pi, xtol=1e-14)) if 0.0 < probability < 1.0 else math.pi * probability
    return 1.0 + ratio - 2.0 * root * math.cos(angle)


@lru_cache(maxsize=1024)
def tracy_widom_quantile(probability: float) -> float:
    """Quantile of the Tracy–Widom law for real matrices (β = 1), as a shifted gamma law (Chiani 2014): to 0.01."""
    return float(gammaincinv(46.446, probability)) * 0.186054 - 9.84801


def _cdf_of_angle(theta: Array, root: float) -> Array:
    half = 0.5 * theta
    turned = np.arctan2((1.0 + root) * np.sin(half), (1.0 - root) * np.cos(half))
    square = root * root
    total = (1.0 + square) * theta / (4.0 * square) + np.sin(theta) / (2.0 * root)
    return np.clip(2.0 / math.pi * (total - (1.0 - square) / (2.0 * square) * turned), 0.0, 1.0)


def _checked_ratio(ratio: float) -> float:
    if not 0.0 < ratio <= 1.0:
        raise CritauditError(f"the aspect ratio {ratio} was given; it is the smaller side over the larger, in (0, 1]")
    return ratio


def _largest_noise(small: float, large: float, level: float) -> float:
    """The largest singular value of a Gaussian matrix with unit entries exceeds this with probability `level`.

    Centre and scale with the halves of Ma (2012), which make the Tracy–Widom law good from ten rows on.
    """
    a, b = math.sqrt(large - 0.5), math.sqrt(small - 0.5)
    scale = (a + b) * (1.0 / a + 1.0 / b) ** (1.0 / 3.0)
    return math.sqrt((a + b) ** 2 + scale * tracy_widom_quantile(1.0 - level))
