"""The same sample through the `powerlaw` package: an independent fit beside ours.

`powerlaw` does well what has no upper end: the start of a tail by its own search, and likelihood ratios there. Its
continuous fit with `xmax` is biased (a true 1.40 on [5, 400] comes out as 1.63), so the range that the product reports
is fitted by `truncated`, and `powerlaw` is asked for the untruncated tail only. A cut-off or a depth limit makes that
tail steeper than the power law: the two need not agree, and where they do, there is no cut-off in sight.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critaudit.laws.crackling.histogram import Histogram

_SAMPLE = 4000


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """`powerlaw`'s untruncated tail: its exponent from xmin up, and its likelihood ratio against a lognormal tail.

    `sample` is the number of values it was given, evenly spaced in rank: its p is that of a sample of that size.
    """

    exponent: float
    xmin: float
    sample: int
    lognormal_ratio: float
    lognormal_p: float


def cross_check(histogram: Histogram, least: float) -> CrossCheck | None:
    """`powerlaw.Fit` on up to 4,000 values at equal steps of rank out of those ≥ `least`; None below fifty.

    Values within a bin lie evenly in ln x (integers: on the bin's integers), so that the sample is reproducible.
    """
    values = _evenly_ranked(histogram, least)
    if values.size < 50 or np.count_nonzero(histogram.pooled) < 10:
        return None
    import powerlaw

    starts = np.unique(np.quantile(values, np.linspace(0.0, 0.8, 8), method="lower"))
    best: tuple[float, object] | None = None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # The package warns of its own numerics; what it finds is compared, not trusted.
        warnings.simplefilter("ignore")
        for start in starts:
            fit = powerlaw.Fit(values, discrete=histogram.discrete, xmin=float(start), verbose=False)
            if best is None or float(fit.power_law.D) < best[0]:
                best = float(fit.power_law.D), fit
        if best is None:
            return None
        chosen = best[1]
        ratio, p = chosen.distribution_compare("power_law", "lognormal")  # type: ignore[attr-defined]
        return CrossCheck(
            float(chosen.power_law.alpha),  # type: ignore[attr-defined]
            float(chosen.xmin),  # type: ignore[attr-defined]
            int(values.size),
            float(ratio),
            float(p),
        )


def _evenly_ranked(histogram: Histogram, least: float) -> NDArray[np.float64]:
    pooled = np.where(histogram.edges[:-1] >= least * (1.0 - 1e-9), histogram.pooled, 0.0)
    total = float(pooled.sum())
    if total < 1.0:
        return np.zeros(0)
    ranks = (np.arange(min(_SAMPLE, int(total))) + 0.5) / min(_SAMPLE, int(total)) * total
    below = np.append(0.0, np.cumsum(pooled))
    bins = np.minimum(np.searchsorted(below, ranks, side="right") - 1, pooled.size - 1)
    share = (ranks - below[bins]) / np.maximum(pooled[bins], 1e-300)
    low, high = histogram.edges[bins], histogram.edges[bins + 1]
    values: NDArray[np.float64] = low * (high / low) ** share
    return np.floor(low + share * (high - low)) if histogram.discrete else values
