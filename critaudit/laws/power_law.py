"""Power laws in data: tails with a free start, laws truncated on both sides, and Hill's index.

Exponents are those of the density, p(x) ∝ x^−exponent; Hill's α is that of the survival function, one less.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from critaudit.errors import CritauditError
from critaudit.laws.competing_laws import Comparison, compare_laws, preferred_law

Array = NDArray[np.float64]

_NORMAL_95 = 1.959963984540054
_COARSE = 100
_COARSE_BOOTSTRAP = 14
_LOOKED_AT = 64
_RESAMPLED_AT_ONCE = 2**15  # values: they stay in a core's cache
_TAILS_AT_ONCE, _SCANNED_AT_ONCE = 16, 2**14


@dataclass(frozen=True, slots=True)
class PowerTail:
    """A power law fitted to the upper tail of a sample: p(x) ∝ x^−exponent for x ≥ xmin.

    `interval` is a 95 % bootstrap interval that includes the choice of `xmin` (`standard_error` is the formal one at
    fixed xmin). `distance` is the Kolmogorov–Smirnov distance of the tail. `comparisons` are likelihood-ratio tests
    against other laws; `preferred` names the law that they leave standing, or "undetermined".
    """

    exponent: float
    interval: tuple[float, float]
    standard_error: float
    xmin: float
    n: int
    n_tail: int
    distance: float
    comparisons: tuple[Comparison, ...]
    preferred: str


@dataclass(frozen=True, slots=True)
class TruncatedPowerLaw:
    """p(x) ∝ x^−exponent on [low, high] and nothing outside. `n` values lay inside, `n_outside` were left out."""

    exponent: float
    standard_error: float
    interval: tuple[float, float]
    low: float
    high: float
    discrete: bool
    n: int
    n_outside: int
    log_likelihood: float


@dataclass(frozen=True, slots=True)
class HillEstimate:
    """Tail index α of P(|x| > t) ∝ t^−α from the `k` largest sizes, those above `threshold`; α ± α/√k if i.i.d."""

    alpha: float
    standard_error: float
    interval: tuple[float, float]
    k: int
    threshold: float


def fit_power_tail(
    values: ArrayLike,
    *,
    xmin: float | None = None,
    min_tail: int = 10,
    bootstrap: int = 200,
    compare: bool = True,
    rng: np.random.Generator | None = None,
) -> PowerTail:
    """Maximum-likelihood power law of the upper tail, starting where it fits best (Clauset, Shalizi & Newman 2009).

    The start `xmin` is the value, among those with at least `min_tail` values at or above it, for which the
    Kolmogorov–Smirnov distance is least, unless given. Values that are not positive are left out. The interval comes
    from `bootstrap` resamples of all values (0: the formal one); it assumes independent values, which the eigenvalues
    of one matrix are not: their tails scatter less. `compare=False` leaves out the tests against other laws.
    Oracle: `powerlaw.Fit`. Raises CritauditError for fewer than 2·min_tail distinct positive values.
    """
    sample = np.asarray(values, dtype=np.float64).ravel()
    sample = np.sort(sample[np.isfinite(sample) & (sample > 0.0)])
    distinct = int(np.count_nonzero(sample[1:] != sample[:-1])) + (sample.size > 0)
    if distinct < 2 * min_tail or (xmin is not None and np.count_nonzero(sample >= xmin) < min_tail):
        raise CritauditError(
            f"a power-law tail was asked of {sample.size} positive values ({distinct} distinct), but a fit needs "
            f"{2 * min_tail} distinct ones, {min_tail} of them in the tail; pool more values or lower min_tail"
        )
    logs = np.log(sample)
    start = int(np.searchsorted(sample, xmin)) if xmin is not None else _best_start(logs, min_tail)
    # A given xmin, or the first value of the tail itself: exp(ln x) may be a rounding above x.
    first = float(xmin) if xmin is not None else float(sample[start])
    origin = math.log(first)
    rate, distance = _fit_from(logs[start:] - origin)
    tail = sample[start:]
    error = rate / math.sqrt(tail.size)
    interval = (1.0 + rate - _NORMAL_95 * error, 1.0 + rate + _NORMAL_95 * error)
    if bootstrap > 0:
        generator = rng if rng is not None else np.random.default_rng(0)
        interval = _bootstrap_interval(logs, None if xmin is None else origin, min_tail, bootstrap, generator)
    comparisons = compare_laws(tail, first, 1.0 + rate) if compare else ()
    return PowerTail(
        exponent=1.0 + rate,
        interval=interval,
        standard_error=error,
        xmin=first,
        n=int(sample.size),
        n_tail=int(tail.size),
        distance=distance,
        comparisons=comparisons,
        preferred=preferred_law(comparisons),
    )


def truncated_power_law(values: ArrayLike, low: float, high: float, *, discrete: bool) -> TruncatedPowerLaw:
    """Maximum-likelihood exponent of a power law on [low, high], for integers (`discrete`) or real numbers.

    The law is an exponential family in ln x, so its likelihood has one maximum, found by root finding for any exponent,
    also below one. The standard error is the inverse root of the exact information. `powerlaw` 2.0's continuous fit
    with `xmax` is biased instead: a true 1.40 on [5, 400] comes out as 1.63.
    Raises CritauditError for a range that is empty or not positive, values that are no integers where `discrete`, or
    fewer than two distinct values inside.
    """
    if not 0.0 < low < high < math.inf:
        raise CritauditError(f"a power law on [{low}, {high}] was asked for; give 0 < low < high, both finite")
    sample = np.asarray(values, dtype=np.float64).ravel()
    inside = sample[(sample >= low) & (sample <= high)]
    if inside.size == 0 or inside.min() == inside.max():
        raise CritauditError(
            f"{inside.size} of {sample.size} values lie in [{low:g}, {high:g}], no two of them different; "
            "widen the range"
        )
    if discrete and np.any(inside != np.rint(inside)):
        raise CritauditError("a discrete power law was asked of values that are not integers; pass discrete=False")
    law = _discrete_support(low, high) if discrete else None
    length = math.log(high / low)
    target = float(np.mean(np.log(inside / low)))

    def moments(exponent: float) -> tuple[float, float, float]:
        return _discrete_moments(law, exponent) if law is not None else _continuous_moments(exponent - 1.0, length)

    exponent = _solve(lambda a: moments(a)[1] - target)
    log_norm, _, variance = moments(exponent)
    error = 1.0 / math.sqrt(inside.size * variance)
    unit = 0.0 if discrete else math.log(low)
    return TruncatedPowerLaw(
        exponent=exponent,
        standard_error=error,
        interval=(exponent - _NORMAL_95 * error, exponent + _NORMAL_95 * error),
        low=float(low),
        high=float(high),
        discrete=discrete,
        n=int(inside.size),
        n_outside=int(sample.size - inside.size),
        log_likelihood=-inside.size * (exponent * target + log_norm + unit),
    )


def hill(values: ArrayLike, k: int) -> HillEstimate:
    """Hill's tail index from the `k` largest absolute values (Hill 1975): 1/mean ln(x₍ᵢ₎/x₍ₖ₊₁₎).

    Values that are not finite are left out. Raises CritauditError for k < 2, k not below the number of values, or a
    threshold of zero or equal to the largest value.
    """
    sample = np.abs(np.asarray(values)).ravel()
    sample = sample[np.isfinite(sample)]
    if not 2 <= k < sample.size:
        raise CritauditError(f"Hill's index from k = {k} of {sample.size} values was asked for; k must be 2 … n − 1")
    top = np.sort(np.partition(sample, sample.size - k - 1)[sample.size - k - 1 :]).astype(np.float64)
    threshold = float(top[0])
    if threshold == 0.0 or top[-1] == threshold:
        raise CritauditError(
            f"the {k + 1} largest of {sample.size} values run from {threshold:g} to {float(top[-1]):g}: there is no "
            "tail to fit; choose another k"
        )
    alpha = 1.0 / float(np.mean(np.log(top[1:] / threshold)))
    error = alpha / math.sqrt(k)
    return HillEstimate(
        alpha, error, (max(0.0, alpha - _NORMAL_95 * error), alpha + _NORMAL_95 * error), int(k), threshold
    )


def _fit_from(tail: Array) -> tuple[float, float]:
    """Rate of the exponential law of ln(x/xmin), exponent − 1, and its Kolmogorov–Smirnov distance."""
    size = tail.size
    total = float(tail.sum())
    if total <= 0.0:
        return math.inf, 1.0
    # Empirical minus predicted distribution function, before each value's step.
    difference = np.exp(tail * (-size / total))
    difference += np.arange(size) / size
    return size / total, float(max(1.0 - difference.min(), difference.max() - 1.0 + 1.0 / size))


def _best_start(logs: Array, min_tail: int) -> int:
    """Index of the smallest value of the best tail: a scan over tail sizes, then over all starts beside the best."""
    last = logs.size - min_tail
    # The first of equal values: a tail holds all values at or above its start.
    places = np.unique(np.searchsorted(logs, logs[logs.size - _tail_sizes(min_tail, logs.size, _COARSE)]))
    best = int(np.argmin(_distances(logs, places)))
    low, high = int(places[max(0, best - 1)]), int(places[min(places.size - 1, best + 1)])
    between = np.unique(np.searchsorted(logs, logs[low : min(high, last) + 1]))
    if between.size > 4 * _COARSE:
        between = between[np.linspace(0, between.size - 1, 4 * _COARSE).astype(np.intp)]
    places = np.append(between, places[best])
    return int(places[np.argmin(_distances(logs, places))])


@lru_cache(maxsize=64)
def _tail_sizes(least: int, most: int, count: int) -> NDArray[np.intp]:
    """Sizes that grow by about one factor."""
    return np.rint(np.geomspace(least, most, count)).astype(np.intp)


def _distances(logs: Array, places: NDArray[np.intp]) -> Array:
    """The distance of `_fit_from` for the tails that start at `places`, ascending: a few of them at once."""
    found = np.empty(places.size)
    first = 0
    while first < places.size:
        low = int(places[first])
        rows = places[first : first + max(1, min(_TAILS_AT_ONCE, _SCANNED_AT_ONCE // (logs.size - low)))]
        sizes = (logs.size - rows).astype(np.float64)[:, np.newaxis]
        excess = np.maximum(logs[low:] - logs[rows][:, np.newaxis], 0.0)
        totals = excess.sum(axis=1, keepdims=True)
        excess *= -sizes / np.where(totals > 0.0, totals, 1.0)
        difference = np.exp(excess, out=excess)
        # Before each value's step; what lies before the tail is one, as its first value is.
        difference += np.maximum(np.arange(low, logs.size) - rows[:, np.newaxis], 0) / sizes
        distances = np.maximum(1.0 - difference.min(axis=1), difference.max(axis=1) - 1.0 + 1.0 / sizes[:, 0])
        found[first : first + rows.size] = np.where(totals[:, 0] > 0.0, distances, 1.0)
        first += rows.size
    return found


def _bootstrap_interval(
    logs: Array, origin: float | None, min_tail: int, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """95 % percentile interval of the exponent. A resample is how often each value was drawn, all at once.

    Starts are the values of the sample at geometric tail sizes, unless given.
    """
    if origin is None:
        places = np.unique(logs.size - _tail_sizes(min_tail, logs.size, _COARSE_BOOTSTRAP))
        starts = logs[places]
    else:
        places, starts = np.searchsorted(logs, [origin]), np.array([origin])
    excess = np.maximum(logs - starts[:, np.newaxis], 0.0)
    looked_at = _LookedAt.of(excess, places)
    rates = []
    step = max(1, _RESAMPLED_AT_ONCE // logs.size)
    for first in range(0, resamples, step):
        draws = rng.integers(0, logs.size, (min(step, resamples - first), logs.size), dtype=np.int32).astype(np.intp)
        together = draws.shape[0]
        draws += logs.size * np.arange(together)[:, np.newaxis]
        counts = np.bincount(draws.ravel(), minlength=draws.size).reshape(together, logs.size)
        # From here on a column for each resample.
        below = np.zeros((logs.size + 1, together), dtype=np.float32)
        below[1:] = np.cumsum(counts, axis=1).T
        totals = excess @ counts.T.astype(np.float64)
        numbers = (below[-1] - below[places]).astype(np.float64)
        enough = (numbers >= min_tail) & (totals > 0.0)
        found = np.where(enough, numbers, math.inf) / np.where(enough, totals, 1.0)
        distances = looked_at.distances(below, np.where(enough, found, 1.0), numbers)
        best = np.argmin(np.where(enough, distances, 1.0), axis=0)
        rates.append(found[best, np.arange(together)])
    every = np.concatenate(rates)
    low, high = np.quantile(every[np.isfinite(every)], [0.025, 0.975])
    return 1.0 + float(low), 1.0 + float(high)


@dataclass(frozen=True, slots=True, eq=False)
class _LookedAt:
    """The values at which resampled tails are compared with their laws: those of each start in turn.

    Of long tails a share of the values is looked at: distances that differ by less than a hundredth decide nothing.
    """

    places: NDArray[np.intp]
    values: NDArray[np.intp]
    owners: NDArray[np.intp]
    first: NDArray[np.intp]
    excess: NDArray[np.float32]

    @classmethod
    def of(cls, excess: Array, places: NDArray[np.intp]) -> _LookedAt:
        """For tails that start at `places`, with an `excess` of each value over each start."""
        size = excess.shape[1]
        parts = [np.arange(place, size, 1 + (size - place - 1) // _LOOKED_AT) for place in places]
        lengths = [part.size for part in parts]
        values, owners = np.concatenate(parts), np.repeat(np.arange(places.size), lengths)
        first = np.cumsum([0, *lengths[:-1]])
        return cls(places, values, owners, first, excess[owners, values, np.newaxis].astype(np.float32))

    def distances(self, below: NDArray[np.float32], rates: Array, numbers: Array) -> NDArray[np.float32]:
        """`_fit_from`'s distances of resamples, shape (starts, resamples).

        `below` counts, after a row of zeros, up to each value; `rates` and `numbers` are those of the tails.
        """
        # float32, whose exponential is several times faster.
        predicted = np.exp((-rates).astype(np.float32)[self.owners] * self.excess)
        share = (1.0 / np.maximum(numbers, 1.0)).astype(np.float32)[self.owners]
        left = below[self.places[self.owners]]
        # Before each value's step, and after it.
        before = (below[self.values] - left) * share + predicted
        predicted += (below[self.values + 1] - left) * share
        least, most = np.minimum.reduceat(before, self.first), np.maximum.reduceat(predicted, self.first)
        distances: NDArray[np.float32] = np.maximum(most - 1.0, 1.0 - least)
        return distances


def _continuous_moments(rate: float, length: float) -> tuple[float, float, float]:
    """ln ∫₀^L e^{−θt} dt, and mean and variance of t = ln(x/low) under that density, θ = exponent − 1.

    Written in u = θL, with the series at 0 where the closed forms cancel.
    """
    u = rate * length
    if abs(u) < 1e-2:
        return (
            math.log(length) - u / 2.0 + u * u / 24.0 - u**4 / 2880.0,
            length * (0.5 - u / 12.0 + u**3 / 720.0),
            length**2 * (1.0 / 12.0 - u * u / 240.0 + u**4 / 6048.0),
        )
    # e^{−|u|} does not overflow; for u < 0 the density is mirrored.
    size = abs(u)
    vanishing = math.exp(-size)
    mean = 1.0 / size - vanishing / -math.expm1(-size)
    variance = 1.0 / size**2 - vanishing / math.expm1(-size) ** 2
    log_norm = math.log(length) + math.log(-math.expm1(-size) / size)
    if u > 0.0:
        return log_norm, length * mean, length**2 * variance
    return log_norm + size, length * (1.0 - mean), length**2 * variance


def _discrete_support(low: float, high: float) -> Array:
    """ln(k/low) of the integers k in [low, high]."""
    first, last = math.ceil(low), math.floor(high)
    if last - first > 10**7:
        raise CritauditError(
            f"a discrete power law on {last - first + 1} integers was asked for; above 10 million the continuous one "
            "is the same: pass discrete=False"
        )
    return np.log(np.arange(first, last + 1, dtype=np.float64) / low)


def _discrete_moments(support: Array, exponent: float) -> tuple[float, float, float]:
    powers = -exponent * support
    highest = float(powers.max())
    weights = np.exp(powers - highest)
    total = float(weights.sum())
    weights /= total
    mean = float(weights @ support)
    return highest + math.log(total), mean, float(weights @ np.square(support - mean))


def _solve(excess: Callable[[float], float]) -> float:
    """Root of a decreasing function of the exponent, bracketed by doubling."""
    low, high = 0.0, 3.0
    while excess(low) < 0.0:
        low = 2.0 * low - 1.0
    while excess(high) > 0.0:
        high *= 2.0
    return float(brentq(excess, low, high, xtol=1e-13, rtol=1e-13))
