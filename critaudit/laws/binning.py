"""A large array as a few thousand weighted points: one pass, chunk by chunk, in the stored type.

Heavy tails need relative resolution, so floats are binned by the top 17 bits of float32(x − centre): 2⁸ bins per octave
and sign (2⁹ up to 2²¹ entries, 2¹⁰ up to 2¹⁹; up to 2¹⁴ every value is kept). Formats with few values (float16,
bfloat16, integers of 8 and 16 bits, dequantised levels) are counted value by value, lossless.
Peak extra memory: the counts and one chunk, about 8 MB.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from critaudit.laws.order_statistics import order_statistics

Array = NDArray[np.float64]

_CHUNK = 1 << 17
# A float32 loses its lowest bits; sign, exponent and 8 (9, 10 in smaller arrays) bits of the significand remain. The
# loss moves an estimate of α by less than 3e-6, about 0.001 of its standard error.
_SHIFTS = ((1 << 19, 13), (1 << 21, 14))
_SHIFT = 15
_SAMPLE = 4096
_MANY_LEVELS = 512
_FEW = 1 << 14  # up to here every value is kept as it is
_EXACT_CENTRE = 1 << 18  # up to here bins lie around the median itself, not that of a sample


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
    _kept: dict[str, Array] = field(default_factory=dict, repr=False, init=False)

    def quantiles(self, levels: tuple[float, ...]) -> Array:
        """Quantiles of the binned entries, interpolated between points."""
        if "cumulative" not in self._kept:
            self._kept["cumulative"] = np.cumsum(self.counts) - self.counts / 2
        values: Array = np.interp(np.asarray(levels) * self.n, self._kept["cumulative"], self.points)
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
        points, counts = np.unique(flat, return_counts=True)
        return summarise(points.astype(np.float64), counts, lossless=True)
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
    sample = flat[:: max(1, flat.size // _SAMPLE)]
    if np.unique(sample[: 2 * _MANY_LEVELS]).size > _MANY_LEVELS:
        return None
    levels = np.unique(sample)
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
    if flat.size <= _EXACT_CENTRE:
        return _bin_around(flat, *_exact_centre(flat))
    centre, exponent = provisional_centre(flat)
    return settle(lambda middle: _bin_around(flat, middle, exponent), centre)


def _exact_centre(flat: NDArray[np.generic]) -> tuple[float, int]:
    """Median of the non-zero finite values, whatever order they came in, and the exponent as `provisional_centre`."""
    kept = np.isfinite(flat) & (flat != 0)
    known = flat if kept.all() else flat[kept]
    if known.size == 0:
        return 0.0, 0
    quarter, centre, far = order_statistics(known, [known.size * part // 4 for part in (1, 2, 3)])
    return centre, _exponent(far - quarter, known)


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
    return _centre_of(sample[np.isfinite(sample) & (sample != 0)])


def _centre_of(sample: Array) -> tuple[float, int]:
    if sample.size == 0:
        return 0.0, 0
    centre = float(np.median(sample))
    return centre, _exponent(float(np.median(np.abs(sample - centre))), sample)


def _exponent(spread: float, values: NDArray[np.generic]) -> int:
    """The power of two by which values of this spread are brought near one, where they are far from it."""
    exponent = -math.frexp(spread or float(np.max(np.abs(values))))[1]
    return 0 if abs(exponent) < 60 else exponent


def bit_shift(size: int) -> int:
    """How many low bits of a float32 an array of this size does without."""
    return next((shift for limit, shift in _SHIFTS if size <= limit), _SHIFT)


def _bin_around(flat: NDArray[np.generic], centre: float, exponent: int) -> Bins:
    shift = bit_shift(flat.size)
    chunk_size = _CHUNK if shift == _SHIFT else 2 * _CHUNK
    half = 1 << (31 - shift)
    counts = np.zeros(2 * half, dtype=np.int64)
    zeros, middle, low, high = 0, centre, half, 0
    for start in range(0, flat.size, chunk_size):
        chunk = flat[start : start + chunk_size]
        zeros += int(np.count_nonzero(chunk == 0))
        distances, middle = _distances(chunk, centre, exponent)
        distances += np.float32(0.0)  # one zero, not two
        nearest, farthest = _count_codes(distances.view(np.uint32), shift, counts)
        low, high = min(low, nearest), max(high, farthest)
    counts[_code_of_zero(shift, centre, exponent)] -= zeros
    # Only where codes can be is searched: most of the half a million never occur.
    sizes = np.flatnonzero(counts[low : high + 1]) + low
    mirrored = np.flatnonzero(counts[half + low : half + high + 1])[::-1] + (half + low)
    middling = np.flatnonzero(counts[:1])
    return _from_used(np.concatenate([mirrored, middling, sizes]), counts, shift, middle, exponent, zeros)


def _count_codes(bits: NDArray[np.uint32], shift: int, counts: NDArray[np.int64]) -> tuple[int, int]:
    """Add how often each code occurs among the `bits`, which are overwritten; the least and largest size but 0 of one.

    Codes of ordinary numbers lie close together but for that of 0: only their range is counted, both signs in a row.
    """
    half = counts.size // 2
    signs = bits >> np.uint32(31)
    bits &= np.uint32(0x7FFFFFFF)
    bits >>= np.uint32(shift)
    high = int(bits.max())
    if high == 0:
        counts[0] += bits.size
        return half, 0
    bits -= np.uint32(1)  # the code of 0 becomes the largest
    low = int(bits.min()) + 1
    bits -= np.uint32(low - 1)
    width = high - low + 1
    np.minimum(bits, np.uint32(width), out=bits)
    signs *= np.uint32(width + 1)
    bits += signs
    found = np.bincount(bits, minlength=2 * width + 2)
    counts[low : high + 1] += found[:width]
    counts[0] += found[width]
    counts[half + low : half + high + 1] += found[width + 1 : -1]
    return low, high


def _distances(values: NDArray[np.generic], centre: float, exponent: int) -> tuple[NDArray[np.float32], float]:
    """float32((x − centre) · 2^exponent), and the centre as it was used: of float32 values, it is one."""
    with np.errstate(over="ignore", invalid="ignore"):
        if values.dtype == np.float32 and exponent == 0:
            middle = np.float32(centre)
            return np.subtract(values, middle, dtype=np.float32), float(middle)
        return np.ldexp(values.astype(np.float64) - centre, exponent).astype(np.float32), centre


def from_codes(counts: NDArray[np.int64], shift: int, centre: float, exponent: int, zeros: int) -> Bins:
    """Bins from counts of the upper 32 − `shift` bits of float32((x − centre) · 2^exponent); `zeros` are among them."""
    counts[_code_of_zero(shift, centre, exponent)] -= zeros
    used = np.flatnonzero(counts != 0)
    half = int(np.searchsorted(used, counts.size // 2))
    # Codes of negative numbers, which have the sign bit set, descend.
    used = np.concatenate([used[half:][::-1], used[:half]])
    return _from_used(used, counts, shift, centre, exponent, zeros)


def _from_used(
    used: NDArray[np.intp], counts: NDArray[np.int64], shift: int, centre: float, exponent: int, zeros: int
) -> Bins:
    points = _middles(used.astype(np.uint32), shift, centre, exponent)
    return summarise(points, counts[used], lossless=False, zeros=zeros)


def _code_of_zero(shift: int, centre: float, exponent: int) -> int:
    with np.errstate(over="ignore"):
        at_zero = np.ldexp(np.float64(-centre), exponent).astype(np.float32)
    return int((at_zero + np.float32(0.0)).view(np.uint32)) >> shift


def _middles(codes: NDArray[np.uint32], shift: int, centre: float, exponent: int) -> Array:
    """The middle of each bin; infinity for those of infinities and NaN."""
    low = (codes << np.uint32(shift)).view(np.float32)
    high = ((codes << np.uint32(shift)) | np.uint32((1 << shift) - 1)).view(np.float32)
    with np.errstate(invalid="ignore"):
        middles = (low.astype(np.float64) + high.astype(np.float64)) / 2
        points: Array = np.where(np.isfinite(low), np.ldexp(middles, -exponent) + centre, np.inf)
    return points


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
    points, numbers = points[keep], weights[keep].astype(np.float64)
    if np.any(points[1:] < points[:-1]):
        order = np.argsort(points, kind="stable")
        points, numbers = points[order], numbers[order]
    total = int(numbers.sum())
    bins = Bins(points, numbers, total, zeros, non_finite, lossless, 0.0, 0.0)
    if total == 0:
        return bins
    low, middle, high = (float(value) for value in bins.quantiles((0.25, 0.5, 0.75)))
    centred = replace(bins, middle=middle, scale=(high - low) / 2)
    centred._kept.update(bins._kept)
    return centred


def _ordinary(points: Array, weights: NDArray[np.int64]) -> bool:
    """Whether 0 is a level of a quantised array like its neighbours, not the mark of pruned entries."""
    order = np.argsort(points, kind="stable")
    at = np.flatnonzero(points[order] == 0)
    if at.size == 0 or points.size < 16 or np.median(weights) < 2:
        return False
    place, ordered = int(at[0]), weights[order]
    around = [*ordered[max(0, place - 1) : place], *ordered[place + 1 : place + 2]]
    return bool(around) and bool(ordered[place] <= 2 * max(around))
