"""The first four moments of a weight matrix, with what does not count told apart: NaN, infinities, exact zeros."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from critaudit.errors import CritauditError

# Elements turned into float64 at a time: 512 KB stays in a core's cache.
CHUNK = 2**16


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments over the finite entries of a sample, with standard errors.

    `n` counts all entries, `finite` those that the moments are taken over, `zeros` the exact zeros among them.
    `variance` divides by `finite`, not by `finite − 1`; `skewness` = m₃/m₂^{3/2} and `excess_kurtosis` = m₄/m₂² − 3, as
    in SciPy's defaults. `mean_se` and `variance_se` hold for any law with a fourth moment. `skewness_null_se` and
    `excess_kurtosis_null_se` are the standard errors that a *Gaussian* sample of this size would have: the yardstick
    against which a value is large. A quantity that does not exist is None (all of them for an empty sample, shape
    moments for a constant one, standard errors for fewer than four entries), never NaN.
    """

    n: int
    finite: int
    zeros: int
    nan: int
    inf: int
    minimum: float | None
    maximum: float | None
    max_abs: float | None
    mean: float | None
    variance: float | None
    standard_deviation: float | None
    root_mean_square: float | None
    skewness: float | None
    excess_kurtosis: float | None
    mean_se: float | None
    variance_se: float | None
    skewness_null_se: float | None
    excess_kurtosis_null_se: float | None

    @property
    def zero_share(self) -> float | None:
        """Share of exact zeros among the finite entries (pruned weights); None where there are none."""
        return self.zeros / self.finite if self.finite else None


@dataclass(frozen=True, slots=True)
class _Census:
    """What the first pass counts. `low` and `high` span the finite entries."""

    n: int
    nan: int
    inf: int
    zeros: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class _Central:
    """Number, mean and sums of the second to fourth powers of deviations from that mean."""

    n: int
    mean: float
    second: float
    third: float
    fourth: float


def moments(values: ArrayLike) -> Moments:
    """Moments of all entries of a real array of any shape and any integer or floating type.

    Two passes, each over chunks of at most 65,536 elements accumulated in float64, so that no float64 copy of the
    array ever exists; chunks are combined by the exact update of Pébay (Sandia report SAND2008-6212, Eqs. 3.1). Sizes
    from 1e-300 to 1e300 neither overflow nor underflow: the entries are first scaled by a power of two, which loses
    nothing. Oracle: `numpy.var`, `scipy.stats.skew`, `scipy.stats.kurtosis` in float64.

    Raises CritauditError where the values are not real numbers.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise CritauditError(
            f"moments of {array.dtype} values were asked for, but only real numbers have them; give real and imaginary "
            "parts, or a numeric array"
        )
    census = _count(array)
    finite = census.n - census.nan - census.inf
    if finite == 0:
        return Moments(census.n, 0, 0, census.nan, census.inf, *(None,) * 13)
    max_abs = max(abs(census.low), abs(census.high))
    # A power of two near the largest entry: division is exact, and fourth powers stay within float64.
    exponent = math.frexp(max_abs)[1] if max_abs else 0
    central = _accumulate(array, exponent, census.nan + census.inf > 0)
    if census.low == census.high:
        central = _Central(finite, math.ldexp(census.low, -exponent), 0.0, 0.0, 0.0)
    return _summarise(census, central, exponent)


def _summarise(census: _Census, central: _Central, exponent: int) -> Moments:
    """Put the scaled sums back on the scale of the entries, 2^exponent."""
    n = central.n
    m2, m3, m4 = central.second / n, central.third / n, central.fourth / n
    max_abs = max(abs(census.low), abs(census.high))
    # Deviations that are rounding noise of the mean have no shape.
    shaped = m2 > (8.0 * np.finfo(np.float64).eps) ** 2
    variance_se = None
    if n >= 4:
        variance_se = _scaled(math.sqrt(max(m4 - m2 * m2 * (n - 3) / (n - 1), 0.0) / n), 2 * exponent)
    skewness_se, kurtosis_se = _gaussian_shape_errors(n)
    return Moments(
        n=census.n,
        finite=n,
        zeros=census.zeros,
        nan=census.nan,
        inf=census.inf,
        minimum=census.low,
        maximum=census.high,
        max_abs=max_abs,
        mean=_scaled(central.mean, exponent),
        variance=_scaled(m2, 2 * exponent),
        standard_deviation=_scaled(math.sqrt(m2), exponent),
        root_mean_square=_scaled(math.sqrt(m2 + central.mean**2), exponent),
        skewness=m3 / m2**1.5 if shaped else None,
        excess_kurtosis=m4 / m2**2 - 3.0 if shaped else None,
        mean_se=_scaled(math.sqrt(m2 / (n - 1)), exponent) if n >= 2 else None,
        variance_se=variance_se,
        skewness_null_se=skewness_se,
        excess_kurtosis_null_se=kurtosis_se,
    )


def _gaussian_shape_errors(n: int) -> tuple[float | None, float | None]:
    """Exact standard deviations of skewness m₃/m₂^{3/2} and kurtosis m₄/m₂² in Gaussian samples (Fisher 1930)."""
    if n < 4:
        return None, None
    skewness = math.sqrt(6.0 * (n - 2) / ((n + 1.0) * (n + 3.0)))
    kurtosis = math.sqrt(24.0 * n * (n - 2) * (n - 3) / ((n + 1.0) ** 2 * (n + 3.0) * (n + 5.0)))
    return skewness, kurtosis


def _scaled(value: float, exponent: int) -> float | None:
    """value · 2^exponent; None where float64 cannot hold it (the variance of entries beyond 1e154)."""
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return None


def _count(array: NDArray[np.generic]) -> _Census:
    nan = inf = nonzero = 0
    low, high = math.inf, -math.inf
    for chunk in chunks(array):
        nonzero += int(np.count_nonzero(chunk != 0))  # several times faster than counting the numbers themselves
        smallest, largest = float(chunk.min()), float(chunk.max())
        if not (math.isfinite(smallest) and math.isfinite(largest)):
            nan += int(np.count_nonzero(np.isnan(chunk)))
            inf += int(np.count_nonzero(np.isinf(chunk)))
            finite = chunk[np.isfinite(chunk)]
            if finite.size == 0:
                continue
            smallest, largest = float(finite.min()), float(finite.max())
        low, high = min(low, smallest), max(high, largest)
    return _Census(array.size, nan, inf, array.size - nonzero, low, high)


def _accumulate(array: NDArray[np.generic], exponent: int, has_holes: bool) -> _Central:
    total = _Central(0, 0.0, 0.0, 0.0, 0.0)
    for chunk in chunks(array):
        kept = chunk[np.isfinite(chunk)] if has_holes else chunk
        if kept.size:
            total = _merge(total, _central(kept, exponent))
    return total


def _central(chunk: NDArray[np.generic], exponent: int) -> _Central:
    scaled = chunk.astype(np.float64)
    if abs(exponent) > 1000:
        # Two steps, because 2^-exponent itself may be beyond float64 for subnormal entries.
        half = -exponent // 2
        scaled *= math.ldexp(1.0, half)
        scaled *= math.ldexp(1.0, -exponent - half)
    elif exponent:
        scaled *= math.ldexp(1.0, -exponent)
    mean = float(scaled.mean())
    scaled -= mean
    # The mean is rounded; what is left of the first moment is taken out, so that a constant chunk stays constant.
    left = float(scaled.mean())
    scaled -= left
    square = scaled * scaled
    second, third, fourth = (
        sum_of_products(scaled, scaled),
        sum_of_products(square, scaled),
        sum_of_products(square, square),
    )
    return _Central(chunk.size, mean + left, second, third, fourth)


def sum_of_products(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Σab of flat arrays, in pieces so short that no BLAS splits them over threads: always the same number."""
    step = 2**13
    whole = a.size // step * step
    parts = np.vecdot(a[:whole].reshape(-1, step), b[:whole].reshape(-1, step))
    return float(parts.sum() + np.dot(a[whole:], b[whole:]))


def _merge(a: _Central, b: _Central) -> _Central:
    """Pébay's update for two disjoint samples."""
    if a.n == 0:
        return b
    n = a.n + b.n
    delta = b.mean - a.mean
    step = delta / n
    second = a.second + b.second + delta * step * a.n * b.n
    third = (
        a.third
        + b.third
        + delta * step * step * a.n * b.n * (a.n - b.n)
        + 3.0 * step * (a.n * b.second - b.n * a.second)
    )
    fourth = (
        a.fourth
        + b.fourth
        + delta * step**3 * a.n * b.n * (a.n * a.n - a.n * b.n + b.n * b.n)
        + 6.0 * step * step * (a.n * a.n * b.second + b.n * b.n * a.second)
        + 4.0 * step * (a.n * b.third - b.n * a.third)
    )
    return _Central(n, a.mean + step * b.n, second, third, fourth)


def chunks(array: NDArray[np.generic], size: int = CHUNK) -> Iterator[NDArray[np.generic]]:
    """Flat pieces of at most `size` elements, in memory order, without a copy of the whole array."""
    if array.size == 0:
        return
    if array.flags.c_contiguous or array.flags.f_contiguous:
        flat = array.ravel(order="K")
        for start in range(0, flat.size, size):
            yield flat[start : start + size]
        return
    with np.nditer(array, flags=["external_loop", "buffered"], order="K", buffersize=size) as pieces:
        for item in pieces:
            piece: NDArray[np.generic] = np.asarray(item)
            # Unbuffered inner loops may be longer than the buffer.
            for start in range(0, piece.size, size):
                yield piece[start : start + size]
