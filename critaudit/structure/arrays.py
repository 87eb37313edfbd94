"""Weights that have not been read: whole tensors, parts of them, and how their elements become blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from critaudit.tensors import TensorRef

# A part whose elements lie scattered over far more bytes than it has is read in this many pieces.
_PIECES = 16


@runtime_checkable
class Array(Protocol):
    """Something with a shape that can be read and cut; a cut reads no more than it needs, where that is possible."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    def narrow(self, axis: int, start: int, stop: int) -> Array:
        """The part [start, stop) along `axis`."""
        ...

    def read(self) -> NDArray[np.generic]:
        """The elements in a floating NumPy type. Raises SourceError where the bytes cannot be had."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A tensor, or a part of one, as the source holds it."""

    ref: TensorRef

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return self.ref.shape

    @property
    def dtype(self) -> str:
        """The stored type."""
        return self.ref.dtype

    def narrow(self, axis: int, start: int, stop: int) -> Stored:
        """See Array. The part knows its own bytes; a quantised part keeps its own scales."""
        ref = self.ref
        stride = ref.effective_stride
        contiguous = ref.stride is None and math.prod(ref.shape[:axis]) == 1
        quantisation = ref.quantisation
        if quantisation is not None and quantisation.axis == axis and len(quantisation.scale) == ref.shape[axis]:
            zero = quantisation.zero_point
            zero = zero[start:stop] if len(zero) == ref.shape[axis] else zero
            quantisation = replace(quantisation, scale=quantisation.scale[start:stop], zero_point=zero)
        shape = (*ref.shape[:axis], stop - start, *ref.shape[axis + 1 :])
        offset = ref.offset + start * stride[axis]
        return Stored(
            TensorRef(ref.storage, ref.dtype, shape, offset, None if contiguous else stride, quantisation=quantisation)
        )

    def read(self) -> NDArray[np.generic]:
        """See Array. Peak memory: the elements and one copy of them, however scattered they lie."""
        ref = self.ref
        if ref.stride is None or ref.numel == 0 or 2 * ref.span <= 3 * ref.numel:
            return ref.read()
        axis = max(range(len(ref.shape)), key=lambda dimension: ref.effective_stride[dimension])
        n = ref.shape[axis]
        step = -(-n // _PIECES)
        pieces = ((start, min(start + step, n)) for start in range(0, n, step))
        values: NDArray[np.generic] | None = None
        for start, stop in pieces:
            piece = self.narrow(axis, start, stop).ref.read()
            if values is None:
                values = np.empty(ref.shape, dtype=piece.dtype)
            values[(slice(None),) * axis + (slice(start, stop),)] = piece
        assert values is not None
        return values


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A part of an array that can only be read as a whole."""

    whole: Array
    axis: int
    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The part's shape."""
        shape = self.whole.shape
        return (*shape[: self.axis], self.stop - self.start, *shape[self.axis + 1 :])

    @property
    def dtype(self) -> str:
        """The stored type."""
        return self.whole.dtype

    def narrow(self, axis: int, start: int, stop: int) -> Part:
        """See Array."""
        if axis == self.axis:
            return Part(self.whole, axis, self.start + start, self.start + stop)
        return Part(self, axis, start, stop)

    def read(self) -> NDArray[np.generic]:
        """See Array. Reads the whole and copies the part, so that the whole can be forgotten."""
        return self.whole.read()[(slice(None),) * self.axis + (slice(self.start, self.stop),)].copy()


@dataclass(frozen=True, slots=True, eq=False)
class Reordered:
    """An array with its axes in another order."""

    whole: Array
    order: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in the new order."""
        return tuple(self.whole.shape[axis] for axis in self.order)

    @property
    def dtype(self) -> str:
        """The stored type."""
        return self.whole.dtype

    def narrow(self, axis: int, start: int, stop: int) -> Reordered:
        """See Array."""
        return Reordered(self.whole.narrow(self.order[axis], start, stop), self.order)

    def read(self) -> NDArray[np.generic]:
        """See Array. A view of what is read."""
        return self.whole.read().transpose(self.order)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a tensor acts: (groups·outputs, inputs, *kernel), or with the inputs first (groups·inputs, outputs, *kernel).

    `shape` is the tensor's shape read in this way; its product is the tensor's number of elements.
    """

    shape: tuple[int, ...]
    groups: int = 1
    inputs_first: bool = False

    @property
    def kernel(self) -> tuple[int, ...]:
        """The spatial kernel, () for a dense matrix."""
        return self.shape[2:]

    @property
    def rows(self) -> int:
        """Outputs per group."""
        return self.shape[1] if self.inputs_first else self.shape[0] // self.groups

    @property
    def columns(self) -> int:
        """Inputs per group times kernel elements: the fan-in."""
        inputs = self.shape[0] // self.groups if self.inputs_first else self.shape[1]
        return inputs * math.prod(self.kernel)

    def blocks(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """`values` as (groups, rows, columns), columns over (input, *kernel) in C order; a view except where a
        convolution stored with its inputs first must be copied.
        """
        if not self.inputs_first:
            return values.reshape(self.groups, self.rows, self.columns)
        inputs, outputs = self.shape[0] // self.groups, self.shape[1]
        apart = values.reshape(self.groups, inputs, outputs, math.prod(self.kernel))
        return apart.transpose(0, 2, 1, 3).reshape(self.groups, self.rows, self.columns)
