"""Tensors as a pickle describes them, before the bytes behind them are known to be there."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np

from critaudit.errors import CorruptFileError, SourceError
from critaudit.sources.archives.byte_range import Part
from critaudit.sources.pickles.inert import Named
from critaudit.tensors import DTYPES, MemoryStorage, Quantisation, Storage, TensorRef

_MAX_SCALES = 2**20

# torch.FloatStorage … → element type. Quantised ones are stored as their integer type.
STORAGE_TYPES: dict[str, str] = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "int8",
    "QUInt8Storage": "uint8",
    "QInt32Storage": "int32",
    "UntypedStorage": "uint8",
    "_UntypedStorage": "uint8",
}
_ALIASES = {
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "long": "int64",
    "int": "int32",
    "short": "int16",
    "chalf": "complex32",
    "cfloat": "complex64",
    "cdouble": "complex128",
    "qint8": "int8",
    "quint8": "uint8",
    "qint32": "int32",
}


def element_type(name: object) -> str:
    """PyTorch's name of the element type that the pickle names (`torch.float32`, `torch.FloatStorage`)."""
    if not isinstance(name, Named):
        return "unknown"
    last = name.name.rpartition(".")[2]
    return STORAGE_TYPES.get(last) or _ALIASES.get(last, last)


@dataclass(frozen=True, slots=True)
class Refused:
    """A tensor that cannot be handed on, and why. `lost`: the file was meant to hold it."""

    shape: tuple[int, ...]
    dtype: str
    reason: str
    lost: bool = False

    def resolve(self) -> Refused:
        """Itself: nothing more can be found out."""
        return self


class TensorLike:
    """Something in the pickle that stands for a tensor."""

    __slots__ = ()

    def resolve(self) -> TensorRef | Refused:
        """The tensor, once every storage of the file is known."""
        raise NotImplementedError


@dataclass(slots=True, eq=False)
class StorageHandle:
    """A storage that the pickle refers to: `storage`, or the `problem` that keeps it from being read."""

    dtype: str
    storage: Storage | None = None
    problem: str | None = None


@dataclass(slots=True, eq=False)
class TensorParts(TensorLike):
    """The arguments of a tensor's constructor."""

    handle: StorageHandle
    dtype: str
    offset: object
    shape: object
    stride: object
    quantiser: tuple[object, ...] | None = None
    _resolved: TensorRef | Refused | None = field(default=None, init=False, repr=False)

    def resolve(self) -> TensorRef | Refused:
        """See TensorLike. Never raises: what is wrong becomes a Refused."""
        if self._resolved is None:
            try:
                self._resolved = self._reference()
            except SourceError as error:
                self._resolved = Refused(known_shape(self.shape), self.dtype, str(error), lost=True)
        return self._resolved

    def _reference(self) -> TensorRef:
        if self.dtype not in DTYPES:
            raise SourceError(f"elements of type {self.dtype} are not supported; convert the tensor to float")
        if self.handle.storage is None:
            raise SourceError(self.handle.problem or "its storage is missing")
        shape, stride = _integers(self.shape, "shape"), _integers(self.stride, "stride")
        if type(self.offset) is not int:
            raise CorruptFileError("the tensor's offset is no number")
        contiguous = (
            TensorRef(self.handle.storage, self.dtype, shape, self.offset, None) if _dense(shape, stride) else None
        )
        reference = contiguous or TensorRef(self.handle.storage, self.dtype, shape, self.offset, stride)
        if self.quantiser is None:
            return reference
        quantisation = _quantisation(self.quantiser, shape)
        return TensorRef(
            reference.storage, self.dtype, shape, reference.offset, reference.stride, quantisation=quantisation
        )


def known_shape(shape: object) -> tuple[int, ...]:
    """`shape` where it can be shown as one, else ()."""
    if type(shape) is not tuple or len(shape) > 64 or any(type(n) is not int or n.bit_length() > 63 for n in shape):
        return ()
    return shape


def _integers(values: object, what: str) -> tuple[int, ...]:
    if type(values) is not tuple or len(values) > 64 or any(type(value) is not int for value in values):
        raise CorruptFileError(f"the tensor's {what} is no tuple of integers")
    return values


def _dense(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Whether `stride` is the C-contiguous one (the stride of a dimension of length 1 does not matter)."""
    if len(shape) != len(stride):
        return False
    step = 1
    for n, actual in zip(reversed(shape), reversed(stride), strict=True):
        if n != 1 and actual != step:
            return False
        step *= n
        if step == 0:
            return all(value >= 0 for value in stride)
    return True


def _quantisation(parameters: tuple[object, ...], shape: tuple[int, ...]) -> Quantisation:
    """From (scheme, scale, zero point) or (scheme, scales, zero points, axis)."""
    if len(parameters) == 3:
        scale, zero_point = parameters[1:]
        if isinstance(scale, float) and isinstance(zero_point, (int, float)):
            return Quantisation((scale,), (float(zero_point),))
    elif len(parameters) == 4:
        scales, zeros, axis = _numbers(parameters[1]), _numbers(parameters[2]), parameters[3]
        if type(axis) is int and 0 <= axis < len(shape) and len(scales) == len(zeros) == shape[axis]:
            return Quantisation(scales, zeros, axis)
    raise CorruptFileError("the tensor's quantisation parameters do not fit it")


def _numbers(values: object) -> tuple[float, ...]:
    if isinstance(values, TensorLike):
        values = values.resolve()
    if isinstance(values, TensorRef) and values.numel <= _MAX_SCALES and values.quantisation is None:
        return tuple(np.real(values.read()).astype(np.float64).ravel().tolist())
    if type(values) is list and all(isinstance(value, (int, float)) for value in values):
        return tuple(float(value) for value in values)
    raise CorruptFileError("the tensor's quantisation parameters are no numbers")


@dataclass(frozen=True, slots=True, eq=False)
class SwappedStorage:
    """A storage whose elements are big endian. Reads are aligned to whole elements of `width` bytes."""

    inner: Storage
    width: int

    @property
    def key(self) -> Hashable:
        """The place in the file, and that it is swapped."""
        return (self.inner.key, "big endian", self.width)

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return self.inner.nbytes

    def read(self, start: int, stop: int) -> bytearray:
        """See Storage: bytes [start, stop), little endian."""
        first = start - start % self.width
        last = min(stop + -stop % self.width, self.nbytes - self.nbytes % self.width)
        data = self.inner.read(first, max(first, last))
        elements = np.frombuffer(data, dtype=f"u{self.width}")
        elements.byteswap(inplace=True)
        return data if (first, last) == (start, stop) else data[start - first : stop - first]


def swapped(storage: Storage, dtype: str) -> Storage:
    """`storage` read as little endian where its elements are big endian (a complex number swaps its two parts)."""
    width = DTYPES.get(dtype, (1, ""))[0] // (2 if dtype.startswith("complex") else 1)
    return SwappedStorage(storage, width) if width > 1 else storage


@dataclass(slots=True, eq=False)
class LateStorage:
    """A storage of a legacy file: its length is promised by the pickle, its place is known only after it."""

    nbytes: int
    key: Hashable
    part: Part | None = None

    def read(self, start: int, stop: int) -> bytearray:
        """See Storage."""
        if self.part is None:
            raise CorruptFileError("a storage is missing (truncated download?)")
        return self.part.read(start, stop - start)


def in_memory(data: bytes) -> MemoryStorage:
    """A storage of its own for bytes that were decoded from a pickle."""
    return MemoryStorage(np.frombuffer(data, dtype=np.uint8), object())
