"""A large array as a few thousand weighted points: one pass, chunk by chunk, in the stored type.

Heavy tails need relative resolution, so floats are binned by the top 17 bits of float32(x − centre): 2⁸ bins per octave
and sign (2⁹ up to 2²¹ entries, 2¹⁰ up to 2¹⁹; up to 2¹⁷ every value is kept). Formats with few values (float16,
bfloat16, integers of 8 and 16 bits, dequantised levels) are counted value by value, lossless.
Peak extra memory: the counts and one chunk, about 8 MB.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_CHUNK = 1 << 17
# A float32 loses its lowest bits; sign, exponent and 8 (9, 10 in smaller arrays) bits of the significand remain. The
# loss moves an estimate of α by less than 3e-6, about 0.001 of its standard error.
_SHIFTS = ((1 << 19, 13), (1 << 21, 14))
_SHIFT = 15
_SAMPLE = 4096
_MANY_LEVELS = 512
_FEW = 1 << 17  # up to here every value is kept as it is


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Non-zero finite entries as ascending `points` with `counts`, and what was left out.

    `lossless` says that every point is a value of the data; `scale` is half the distance of the quartiles and `middle`
    the median, both as accurate as the bins.
    """

    points: Array
    counts: Array
    n: int
    zeros: int
    non_finite: int
    lossless: bool
    middle: float
    scale: float

    def quantiles(self, levels: tuple[float, ...]) -> Array:
        """Quantiles of the binned entries, interpolated between points."""
        cumulative = np.cumsum(self.counts) - self.counts / 2
        values: Array = np.interp(np.asarray(levels) * self.n, cumulative, self.points)
        return values


def bin_values(values: NDArray[np.generic]) -> Bins:
    """Bin an array of any shape and real dtype. Zeros and non-finite entries are counted and left out.

    The result may have no points at all; the caller decides how many it needs.
    """
    with np.errstate(invalid="ignore"):  # converting a signalling NaN
        return _bin_any(values.reshape(-1))


def _bin_any(flat: NDArray[np.generic]) -> Bins:
    if not flat.dtype.isnative:
        flat = flat.astype(flat.dtype.newbyteorder("="))
    if flat.dtype.kind in "biu":
        return _integers(flat)
    if flat.dtype == np.float16:
        codes = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float64)
        return summarise(codes, _count(flat.view(np.uint16), 0, 1 << 16), lossless=True)
    if flat.size <= _FEW:
        points, counts = np.unique(flat.astype(np.float64), return_counts=True)
        return summarise(points, counts, lossless=True)
    levels = _count_levels(flat)
    if levels is not None:
        return levels
    if flat.dtype == np.float32:
        bits = flat.view(np.uint32)
        if not (bits[:: max(1, flat.size // _SAMPLE)] & np.uint32(0xFFFF)).any():
            upper = _count_upper_half(bits)
            if upper is not None:
                codes = (np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)).view(np.float32)
                return summarise(codes.astype(np.float64), upper, lossless=True)
    return _floats(flat)


def merge(points: Array, counts: Array, width: float, per_unit: int) -> tuple[Array, Array]:
    """Fewer weighted points: ascending neighbours within 1/per_unit of asinh(x/width) become one at their mean."""
    key = np.floor(np.arcsinh(points / width) * per_unit)
    first = np.flatnonzero(np.diff(key, prepend=-np.inf))
    if first.size == points.size:
        return points, counts
    total = np.add.reduceat(counts, first)
    return np.add.reduceat(counts * points, first) / total, total


def _integers(flat: NDArray[np.generic]) -> Bins:
    if flat.dtype.itemsize > 2:
        return _floats(flat) if flat.size > _FEW else _few_integers(flat)
    if flat.dtype.kind == "b":
        flat = flat.view(np.uint8)
    size = 1 << (8 * flat.dtype.itemsize)
    lowest = int(np.iinfo(flat.dtype).min)  # type: ignore[type-var]
    counts = _count(flat, -lowest, size)
    return summarise(np.arange(lowest, lowest + size, dtype=np.float64), counts, lossless=True)


def _few_integers(flat: NDArray[np.generic]) -> Bins:
    points, counts = np.unique(flat.astype(np.float64), return_counts=True)
    return summarise(points, counts, lossless=True)


def _count(codes: NDArray[np.generic], offset: int, size: int) -> NDArray[np.int64]:
    """How often each small integer code + offset occurs."""
    counts = np.zeros(size, dtype=np.int64)
    for start in range(0, codes.size, _CHUNK):
        counts += np.bincount(codes[start : start + _CHUNK].astype(np.int64) + offset, minlength=size)
    return counts


def _count_upper_half(bits: NDArray[np.uint32]) -> NDArray[np.int64] | None:
    """Counts of the upper 16 bits, or None as soon as a lower bit is set: then these are no bfloat16 values."""
    counts = np.zeros(1 << 16, dtype=np.int64)
    for start in range(0, bits.size, _CHUNK):
        chunk = bits[start : start + _CHUNK]
        if (chunk & np.uint32(0xFFFF)).any():
            return None
        counts += np.bincount(chunk >> np.uint32(16), minlength=1 << 16)
    return counts


def _count_levels(flat: NDArray[np.generic]) -> Bins | None:
    """Counts of each level of a dequantised array, or None where it takes many levels or has NaN."""
    levels = np.unique(flat[:: max(1, flat.size // _SAMPLE)])
    counts = np.zeros(levels.size, dtype=np.int64)
    for start in range(0, flat.size, _CHUNK):
        if levels.size > _MANY_LEVELS:
            return None
        chunk = flat[start : start + _CHUNK]
        codes = np.minimum(np.searchsorted(levels, chunk), levels.size - 1)
        missing = chunk[levels[codes] != chunk]
        if missing.size:
            if np.isnan(missing).any():
                return None
            more = np.union1d(levels, missing)
            moved = np.zeros(more.size, dtype=np.int64)
            moved[np.searchsorted(more, levels)] = counts
            levels, counts = more, moved
            codes = np.searchsorted(levels, chunk)
        counts += np.bincount(codes, minlength=counts.size)
    return summarise(levels.astype(np.float64), counts, lossless=True)


def _floats(flat: NDArray[np.generic]) -> Bins:
    """Bin by the leading bits of the float32 of each value's distance from a provisional median."""
    centre, exponent = provisional_centre(flat)
    return settle(lambda middle: _bin_around(flat, middle, exponent), centre)


def settle(bin_around: Callable[[float], Bins], centre: float) -> Bins:
    """Bins around `centre`, or around their own median where that is far from it."""
    bins = bin_around(centre)
    # A strided sample of a periodic matrix can miss its middle: then bin again around the right one, step by step.
    for _ in range(4):
        near = abs(bins.middle - centre) <= 3 * bins.scale and bins.n > 0 and bins.counts.max() < 0.1 * bins.n
        if bins.n == 0 or near or bins.middle == centre:
            break
        centre = bins.middle
        bins = bin_around(centre)
    return bins


def provisional_centre(flat: NDArray[np.generic]) -> tuple[float, int]:
    """Median of a strided sample, and the power of two that brings the values into the middle of float32's range."""
    with np.errstate(over="ignore"):
        sample = flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64)
    sample = sample[np.isfinite(sample) & (sample != 0)]
    if sample.size == 0:
        return 0.0, 0
    centre = float(np.median(sample))
    spread = float(np.median(np.abs(sample - centre))) or float(np.max(np.abs(sample)))
    exponent = -math.frexp(spread)[1]
    return centre, 0 if abs(exponent) < 60 else exponent


def bit_shift(size: int) -> int:
    """How many low bits of a float32 an array of this size does without."""
    return next((shift for limit, shift in _SHIFTS if size <= limit), _SHIFT)


def _bin_around(flat: NDArray[np.generic], centre: float, exponent: int) -> Bins:
    shift = bit_shift(flat.size)
    chunk_size = _CHUNK if shift == _SHIFT else 2 * _CHUNK
    counts = np.zeros(1 << (32 - shift), dtype=np.int64)
    plain = flat.dtype == np.float32 and exponent == 0
    middle = float(np.float32(centre)) if plain else centre
    zeros = 0
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, flat.size, chunk_size):
            chunk = flat[start : start + chunk_size]
            zeros += chunk.size - int(np.count_nonzero(chunk != 0))
            if plain:
                distance = np.subtract(chunk, middle, dtype=np.float32)
            else:
                distance = np.ldexp(chunk.astype(np.float64) - middle, exponent).astype(np.float32)
            codes = distance.view(np.uint32)
            np.right_shift(codes, np.uint32(shift), out=codes)
            counts += np.bincount(codes, minlength=counts.size)
    return from_codes(counts, shift, middle, exponent, zeros)


def from_codes(counts: NDArray[np.int64], shift: int, centre: float, exponent: int, zeros: int) -> Bins:
    """Bins from counts of the upper 32 − `shift` bits of float32((x − centre) · 2^exponent); `zeros` are among them."""
    with np.errstate(over="ignore"):
        at_zero = np.ldexp(np.float64(-centre), exponent).astype(np.float32)
    counts[int(at_zero.view(np.uint32)) >> shift] -= zeros
    used = np.flatnonzero(counts)
    # The middle of each bin; infinities and NaN keep their non-finite code.
    low = (used.astype(np.uint32) << np.uint32(shift)).view(np.float32)
    high = ((used.astype(np.uint32) << np.uint32(shift)) | np.uint32((1 << shift) - 1)).view(np.float32)
    with np.errstate(invalid="ignore"):
        middles = (low.astype(np.float64) + high.astype(np.float64)) / 2
        points = np.where(np.isfinite(low), np.ldexp(middles, -exponent) + centre, np.inf)
    return summarise(points, counts[used], lossless=False, zeros=zeros)


def summarise(points: Array, counts: NDArray[np.int64], *, lossless: bool, zeros: int | None = None) -> Bins:
    """Order the points, take zeros and non-finite ones out, and add the quartiles."""
    occupied = counts > 0
    points, weights = points[occupied], counts[occupied]
    finite = np.isfinite(points)
    non_finite = int(weights[~finite].sum())
    keep = finite
    if zeros is None:
        zeros = int(weights[points == 0].sum())
        if lossless and points.size <= _MANY_LEVELS and _ordinary(points, weights):
            zeros = 0
        else:
            keep = finite & (points != 0)
    order = np.argsort(points[keep], kind="stable")
    points = points[keep][order]
    numbers: Array = weights[keep][order].astype(np.float64)
    total = int(numbers.sum())
    bins = Bins(points, numbers, total, zeros, non_finite, lossless, 0.0, 0.0)
    if total == 0:
        return bins
    low, middle, high = (float(value) for value in bins.quantiles((0.25, 0.5, 0.75)))
    return Bins(points, numbers, total, zeros, non_finite, lossless, middle, (high - low) / 2)


def _ordinary(points: Array, weights: NDArray[np.int64]) -> bool:
    """Whether 0 is a level of a quantised array like its neighbours, not the mark of pruned entries."""
    order = np.argsort(points, kind="stable")
    at = np.flatnonzero(points[order] == 0)
    if at.size == 0 or points.size < 16 or np.median(weights) < 2:
        return False
    place, ordered = int(at[0]), weights[order]
    around = [*ordered[max(0, place - 1) : place], *ordered[place + 1 : place + 2]]
    return bool(around) and bool(ordered[place] <= 2 * max(around))
