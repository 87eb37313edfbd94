"""Binning of PyTorch tensors where they lie: only the counts leave the device. Torch itself is not imported here.

The tensor is known by its methods, so that statistics stay free of torch: a dtype is had from an empty conversion.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from critaudit.laws.binning import Bins, bin_values, bit_shift, from_codes, provisional_centre, settle, summarise

_CHUNK = 1 << 24
_SAMPLE = 4096


def is_tensor(values: object) -> bool:
    """Whether `values` is a PyTorch tensor, by its looks."""
    return hasattr(values, "is_cuda") and hasattr(values, "detach")


def bin_tensor(tensor: Any) -> Bins:
    """Bins of a tensor of any shape and real dtype, as `bin_values` makes them of an array.

    Floats are binned on the tensor's device (float16 and bfloat16 value by value); others, being small, on the host.
    Extra device memory: four bytes per element of a chunk of 2²⁴. Oracle: `bin_values` of the same numbers.
    """
    flat = tensor.detach().reshape(-1)
    if not flat.is_floating_point() or flat.element_size() == 1:
        return bin_values((flat.float() if flat.is_floating_point() else flat).cpu().numpy())
    if flat.element_size() == 2:
        return _two_bytes(flat)
    centre, exponent = provisional_centre(flat[:: max(1, flat.numel() // _SAMPLE)].cpu().numpy())
    return settle(lambda middle: _bin_around(flat, middle, exponent), centre)


def _two_bytes(flat: Any) -> Bins:
    """Counts of each of the 65,536 codes."""
    codes = flat.view(flat[:0].short().dtype)
    counts = np.zeros(1 << 16, dtype=np.int64)
    for start in range(0, codes.numel(), _CHUNK):
        counts += _counted(codes[start : start + _CHUNK].int() & 0xFFFF, counts.size)
    numbers = np.arange(1 << 16, dtype=np.uint32)
    with np.errstate(invalid="ignore"):  # signalling NaN among the codes
        if "bfloat16" in str(flat.dtype):
            values = (numbers << np.uint32(16)).view(np.float32).astype(np.float64)
        else:
            values = numbers.astype(np.uint16).view(np.float16).astype(np.float64)
    return summarise(values, counts, lossless=True)


def _bin_around(flat: Any, centre: float, exponent: int) -> Bins:
    shift = bit_shift(flat.numel())
    counts = np.zeros(1 << (32 - shift), dtype=np.int64)
    plain = flat.element_size() == 4 and exponent == 0
    middle = float(np.float32(centre)) if plain else centre
    zeros = 0
    for start in range(0, flat.numel(), _CHUNK):
        chunk = flat[start : start + _CHUNK]
        zeros += int((chunk == 0).sum())
        distance = chunk - middle if plain else ((chunk.double() - middle) * 2.0**exponent).float()
        bits = distance.view(distance[:0].int().dtype)
        counts += _counted((bits >> shift) & (counts.size - 1), counts.size)
    return from_codes(counts, shift, middle, exponent, zeros)


def _counted(codes: Any, size: int) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = codes.bincount(minlength=size).cpu().numpy()
    return counts
