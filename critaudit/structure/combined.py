"""Weights that are stored in several tensors: weight norm, spectral norm, pruning masks, integers with scales."""

from __future__ import annotations

import math
import string
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critaudit.structure.arrays import Array, Part


def _working(values: NDArray[np.generic]) -> NDArray[np.floating]:
    """`values` as float64 or float32, in memory that may be overwritten."""
    kind = np.float64 if values.dtype == np.float64 else np.float32
    return np.require(values, dtype=kind, requirements=["W"])


def _sum_of_products(*operands: tuple[NDArray[np.generic], str], out: str) -> NDArray[np.float64]:
    """`numpy.einsum` accumulated in float64 without a float64 copy of the operands."""
    subscripts = ",".join(letters for _, letters in operands) + "->" + out
    total = np.einsum(subscripts, *(values for values, _ in operands), dtype=np.float64, casting="unsafe")
    return np.asarray(total, dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class WeightNormed:
    """w = g·v/‖v‖, the norm over every axis along which g has one entry (`torch.nn.utils.weight_norm`)."""

    direction: Array
    magnitude: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """The direction's shape."""
        return self.direction.shape

    @property
    def dtype(self) -> str:
        """The direction's type."""
        return self.direction.dtype

    def narrow(self, axis: int, start: int, stop: int) -> Array:
        """See Array. Cut along an axis over which no norm is taken, both tensors are cut; else the whole is needed."""
        if len(self.magnitude.shape) == len(self.shape) and self.magnitude.shape[axis] == self.shape[axis]:
            return WeightNormed(self.direction.narrow(axis, start, stop), self.magnitude.narrow(axis, start, stop))
        return Part(self, axis, start, stop)

    def read(self) -> NDArray[np.generic]:
        """See Array. A direction of zero norm gives NaN, as it does in the network."""
        values = _working(self.direction.read())
        letters = string.ascii_letters[: values.ndim]
        shape = self.magnitude.shape if len(self.magnitude.shape) == values.ndim else (1,) * values.ndim
        kept = "".join(letter for letter, n in zip(letters, shape, strict=True) if n > 1)
        norm = np.sqrt(_sum_of_products((values, letters), (values, letters), out=kept)).reshape(shape)
        with np.errstate(all="ignore"):
            values *= (self.magnitude.read().reshape(shape).astype(np.float64) / norm).astype(values.dtype)
        return values


@dataclass(frozen=True, slots=True, eq=False)
class SpectralNormed:
    """w = W/σ, σ = uᵀWv with the stored vectors; W's rows run over `axis` (`torch.nn.utils.spectral_norm`).

    Where v was not stored (early PyTorch), v = Wᵀu/‖Wᵀu‖, as that version computed it.
    """

    weight: Array
    u: Array
    v: Array | None
    axis: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's shape."""
        return self.weight.shape

    @property
    def dtype(self) -> str:
        """The weight's type."""
        return self.weight.dtype

    def narrow(self, axis: int, start: int, stop: int) -> Part:
        """See Array. σ needs the whole matrix."""
        return Part(self, axis, start, stop)

    def read(self) -> NDArray[np.generic]:
        """See Array."""
        values = _working(self.weight.read())
        letters = string.ascii_letters[: values.ndim]
        row, rest = letters[self.axis], letters.replace(letters[self.axis], "")
        back = _sum_of_products((values, letters), (self.u.read(), row), out=rest)
        v = None if self.v is None else self.v.read().astype(np.float64).reshape(back.shape)
        sigma = float(np.linalg.norm(back.reshape(-1))) if v is None else float(np.vdot(back, v))
        with np.errstate(all="ignore"):
            values /= values.dtype.type(sigma)
        return values


@dataclass(frozen=True, slots=True, eq=False)
class Pruned:
    """w = W·mask (`torch.nn.utils.prune`)."""

    weight: Array
    mask: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's shape."""
        return self.weight.shape

    @property
    def dtype(self) -> str:
        """The weight's type."""
        return self.weight.dtype

    def narrow(self, axis: int, start: int, stop: int) -> Pruned:
        """See Array."""
        return Pruned(self.weight.narrow(axis, start, stop), self.mask.narrow(axis, start, stop))

    def read(self) -> NDArray[np.generic]:
        """See Array."""
        values = _working(self.weight.read())
        with np.errstate(all="ignore"):
            values *= self.mask.read().astype(values.dtype, copy=False)
        return values


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """w = stored·scale/divisor for 8-bit integers or floats; one scale for all, per row, or per tile of the matrix."""

    weight: Array
    scale: Array
    divisor: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's shape."""
        return self.weight.shape

    @property
    def dtype(self) -> str:
        """The stored type."""
        return self.weight.dtype

    def narrow(self, axis: int, start: int, stop: int) -> Array:
        """See Array. Scales of rows are cut with the rows."""
        scales = self.scale.shape
        if math.prod(scales) == 1:
            return Scaled(self.weight.narrow(axis, start, stop), self.scale, self.divisor)
        if axis == 0 and math.prod(scales) == scales[0] == self.shape[0]:
            return Scaled(self.weight.narrow(0, start, stop), self.scale.narrow(0, start, stop), self.divisor)
        return Part(self, axis, start, stop)

    def read(self) -> NDArray[np.generic]:
        """See Array."""
        values = _working(self.weight.read())
        scale = self.scale.read().astype(np.float32) / np.float32(self.divisor)
        rows, columns = values.shape
        if scale.size == 1 or scale.shape in ((rows,), (rows, 1)):
            values *= scale.reshape(-1, 1)
            return values
        tile_rows, tile_columns = -(-rows // scale.shape[0]), -(-columns // scale.shape[1])
        along = np.repeat(scale, tile_columns, axis=1)[:, :columns]
        for index in range(scale.shape[0]):
            values[index * tile_rows : (index + 1) * tile_rows] *= along[index]
        return values


def weight_norm(direction: Array, magnitude: Array) -> WeightNormed | None:
    """The pair as one weight, or None where the shapes are no weight-norm pair's."""
    v, g = direction.shape, magnitude.shape
    aligned = len(g) == len(v) and all(n in (1, m) for n, m in zip(g, v, strict=True))
    if 1 <= len(v) <= 8 and (aligned or math.prod(g) == 1):
        return WeightNormed(direction, magnitude)
    return None


def spectral_norm(weight: Array, u: Array, v: Array | None, *, outputs_second: bool) -> SpectralNormed | None:
    """The triple as one weight, or None where the vectors fit no axis of it.

    PyTorch takes the outputs as rows: axis 1 of a transposed convolution (`outputs_second`), axis 0 of all others.
    """
    size = math.prod(weight.shape)
    for axis in (1, 0) if outputs_second else (0, 1):
        if axis < len(weight.shape) <= 8 and u.shape == (weight.shape[axis],):
            rest = size // max(weight.shape[axis], 1)
            if v is None or v.shape == (rest,):
                return SpectralNormed(weight, u, v, axis)
    return None


def scaled(weight: Array, scale: Array, divisor: float = 1.0) -> Scaled | None:
    """The weight with its scales, or None where they do not fit each other."""
    if len(weight.shape) != 2 or 0 in weight.shape:
        return None
    rows, columns = weight.shape
    scales = scale.shape
    tiled = len(scales) == 2 and 0 < scales[0] <= rows and 0 < scales[1] <= columns
    if math.prod(scales) == 1 or scales == (rows,) or (tiled and _covers(weight.shape, scales)):
        return Scaled(weight, scale, divisor)
    return None


def _covers(shape: tuple[int, ...], scales: tuple[int, ...]) -> bool:
    """Whether equal tiles, `scales` of them along each axis, cover the shape with only the last one cut short."""
    return all(-(-n // -(-n // tiles)) == tiles for n, tiles in zip(shape, scales, strict=True))
