"""Tensors in files: opened safely, described without being read, read one at a time.

Nothing here needs torch. Bytes are fetched with `pread` into a buffer of their own: unlike a memory map, that cannot
crash the process when the file shrinks, and its memory is exactly what was asked for.
"""

from __future__ import annotations

import errno
import math
import os
import stat
import weakref
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from critaudit.errors import CorruptFileError, LimitExceededError, SourceError

# dtype name → (bytes per element, NumPy dtype of the raw bytes). Names are PyTorch's.
DTYPES: dict[str, tuple[int, str]] = {
    "float64": (8, "<f8"),
    "float32": (4, "<f4"),
    "float16": (2, "<f2"),
    "bfloat16": (2, "<u2"),
    "float8_e4m3fn": (1, "u1"),
    "float8_e5m2": (1, "u1"),
    "float8_e4m3fnuz": (1, "u1"),
    "float8_e5m2fnuz": (1, "u1"),
    "int64": (8, "<i8"),
    "int32": (4, "<i4"),
    "int16": (2, "<i2"),
    "int8": (1, "i1"),
    "uint64": (8, "<u8"),
    "uint32": (4, "<u4"),
    "uint16": (2, "<u2"),
    "uint8": (1, "u1"),
    "bool": (1, "?"),
    "complex32": (4, "<u4"),
    "complex64": (8, "<c8"),
    "complex128": (16, "<c16"),
}
FLOATS = frozenset(name for name in DTYPES if name.startswith(("float", "bfloat")))
# An expanded (stride 0) tensor may be larger than its storage; beyond this many elements it is refused as a bomb.
MAX_EXPANDED_ELEMENTS = 2**24


class RegularFile:
    """A regular file, opened once for positioned reads. FIFOs, devices, sockets and folders are refused unread.

    Raises `SourceError` in one line where the path cannot be opened or is no regular file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            # O_NONBLOCK: opening a FIFO must not wait for a writer. The kind is checked on the descriptor itself.
            self._fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            raise SourceError(f"{self.path}: {_open_failure(error)}") from None
        self._close = weakref.finalize(self, os.close, self._fd)
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            self._close()
            raise SourceError(
                f"{self.path}: this is {_kind(status.st_mode)}, not a regular file; give the model file itself"
            )
        self.size = status.st_size
        self.key: Hashable = (status.st_dev, status.st_ino)

    def read(self, start: int, count: int) -> bytearray:
        """Bytes [start, start + count). Raises CorruptFileError where the file does not have them."""
        if start < 0 or count < 0 or start + count > self.size:
            raise CorruptFileError(
                f"{self.path.name}: bytes {start} to {start + count} are wanted, but the file has {self.size} "
                "(truncated download?)"
            )
        buffer = bytearray(count)
        view, done = memoryview(buffer), 0
        while done < count:
            try:
                got = os.preadv(self._fd, [view[done:]], start + done)
            except OSError as error:
                raise SourceError(f"{self.path.name}: reading failed: {error.strerror}") from None
            if got == 0:
                raise CorruptFileError(f"{self.path.name}: the file became shorter while it was read")
            done += got
        return buffer

    def close(self) -> None:
        """Give the descriptor back; reading afterwards fails."""
        self._close()


class Storage(Protocol):
    """A run of bytes that tensors are views of. Equal keys mean the same memory (tied tensors)."""

    @property
    def key(self) -> Hashable: ...
    @property
    def nbytes(self) -> int: ...
    def read(self, start: int, stop: int) -> bytearray:
        """Bytes [start, stop) in a fresh buffer; raises CorruptFileError where they are not what the file promised."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FileStorage:
    """Bytes [start, start + nbytes) of a file."""

    file: RegularFile
    start: int
    nbytes: int

    @property
    def key(self) -> Hashable:
        """The place in the file."""
        return (self.file.key, self.start, self.nbytes)

    def read(self, start: int, stop: int) -> bytearray:
        """See Storage."""
        if not 0 <= start <= stop <= self.nbytes:
            raise CorruptFileError(
                f"{self.file.path.name}: bytes {start} to {stop} of a storage of {self.nbytes} bytes are wanted"
            )
        return self.file.read(self.start + start, stop - start)


@dataclass(frozen=True, slots=True, eq=False)
class MemoryStorage:
    """Bytes that are in memory already: a live array, or a small constant decoded from a file."""

    data: NDArray[np.uint8]
    key: Hashable

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return self.data.nbytes

    def read(self, start: int, stop: int) -> bytearray:
        """See Storage."""
        return bytearray(self.data[start:stop].tobytes())


@dataclass(frozen=True, slots=True)
class Quantisation:
    """Affine quantisation: value = scale · (stored − zero_point), per tensor or along `axis`."""

    scale: tuple[float, ...]
    zero_point: tuple[float, ...]
    axis: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TensorRef:
    """A tensor in a file that has not been read: where its elements lie, and how to make numbers of them.

    `offset` and `stride` count elements. The constructor raises CorruptFileError where the description leaves its
    storage or is malformed, LimitExceededError where a stride-0 tensor claims far more elements than were stored.
    """

    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    offset: int = 0
    stride: tuple[int, ...] | None = None
    quantisation: Quantisation | None = field(default=None)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise CorruptFileError(f"unknown tensor type {self.dtype!r}")
        if len(self.shape) > 64 or any(type(n) is not int or n < 0 or n > 2**62 for n in self.shape):
            raise CorruptFileError(f"impossible tensor shape {_brief(self.shape)}")
        if math.prod(max(n, 1) for n in self.shape) > 2**58 and self.numel == 0:
            raise CorruptFileError(f"impossible tensor shape {_brief(self.shape)}")
        if self.stride is not None and (
            len(self.stride) != len(self.shape) or any(type(n) is not int or n < 0 for n in self.stride)
        ):
            raise CorruptFileError(f"impossible tensor stride {_brief(self.stride)} for shape {_brief(self.shape)}")
        if type(self.offset) is not int or self.offset < 0:
            raise CorruptFileError(f"impossible tensor offset {self.offset!r:.40}")
        itemsize = DTYPES[self.dtype][0]
        if (self.offset + self.span) * itemsize > self.storage.nbytes:
            raise CorruptFileError(
                f"a tensor of shape {_brief(self.shape)} ({self.dtype}) needs {(self.offset + self.span) * itemsize} "
                f"bytes, but its storage has {self.storage.nbytes}"
            )
        if self.numel > max(MAX_EXPANDED_ELEMENTS, self.storage.nbytes // itemsize):
            raise LimitExceededError(
                f"a tensor of shape {_brief(self.shape)} claims {self.numel:.3g} elements, but only "
                f"{self.storage.nbytes // itemsize} are stored"
            )

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements in the stored type."""
        return self.numel * DTYPES[self.dtype][0]

    @property
    def span(self) -> int:
        """Elements from the first to the last one touched in the storage, inclusive."""
        if self.numel == 0:
            return 0
        if self.stride is None:
            return self.numel
        return 1 + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))

    @property
    def key(self) -> Hashable:
        """Equal keys mean the very same elements: tied tensors."""
        return (self.storage.key, self.dtype, self.offset, self.shape, self.effective_stride)

    @property
    def effective_stride(self) -> tuple[int, ...]:
        """The stride in elements; the contiguous one where none is given."""
        if self.stride is not None:
            return self.stride
        steps, step = [], 1
        for n in reversed(self.shape):
            steps.append(step)
            step *= max(n, 1)
        return tuple(reversed(steps))

    def read(self) -> NDArray[np.generic]:
        """The elements, C-contiguous, in the stored type; bfloat16, float8 and quantised ones as float32.

        Peak memory: the result and one copy of the stored bytes (of the span, where strided).
        Raises CorruptFileError where the bytes cannot be had.
        """
        itemsize, raw_type = DTYPES[self.dtype]
        start = self.offset * itemsize
        raw = np.frombuffer(self.storage.read(start, start + self.span * itemsize), dtype=raw_type)
        if self.numel == 0:
            array = raw[:0].reshape(self.shape)
        elif self.stride is None:
            array = raw.reshape(self.shape)
        else:
            steps = tuple(step * itemsize for step in self.stride)
            array = np.ascontiguousarray(np.lib.stride_tricks.as_strided(raw, self.shape, steps))
        decoded = _decode(array, self.dtype)
        return decoded if self.quantisation is None else _dequantise(decoded, self.quantisation)


def _decode(array: NDArray[np.generic], dtype: str) -> NDArray[np.generic]:
    if dtype == "bfloat16":
        wide = array.astype(np.uint32)
        wide <<= np.uint32(16)
        return wide.view(np.float32)
    if dtype == "complex32":
        return array.view(np.float16).astype(np.float32).view(np.complex64).reshape(array.shape)
    if dtype.startswith("float8"):
        return _float8_values(dtype)[array.astype(np.intp)]
    return array


def _float8_values(dtype: str) -> NDArray[np.float32]:
    """The 256 values of a float8 format (OCP FP8 for `fn`/plain; one zero and a bias larger by one for `fnuz`)."""
    exponent_bits, mantissa_bits = (4, 3) if "e4m3" in dtype else (5, 2)
    bias = 2 ** (exponent_bits - 1) - 1 + dtype.endswith("fnuz")
    codes = np.arange(256)
    sign = np.where(codes >> 7, -1.0, 1.0)
    exponent = (codes >> mantissa_bits) & (2**exponent_bits - 1)
    mantissa = (codes & (2**mantissa_bits - 1)) / 2**mantissa_bits
    values = sign * np.where(exponent > 0, (1 + mantissa) * 2.0 ** (exponent - bias), mantissa * 2.0 ** (1 - bias))
    if dtype.endswith("fnuz"):
        values[0x80] = np.nan
    elif dtype == "float8_e4m3fn":
        values[[0x7F, 0xFF]] = np.nan
    else:
        top = exponent == 2**exponent_bits - 1
        values[top] = np.where(mantissa[top] == 0, sign[top] * np.inf, np.nan)
    return np.asarray(values, np.float32)


def _dequantise(array: NDArray[np.generic], quantisation: Quantisation) -> NDArray[np.float32]:
    scale = np.asarray(quantisation.scale, dtype=np.float32)
    zero = np.asarray(quantisation.zero_point, dtype=np.float32)
    if quantisation.axis is not None:
        if not 0 <= quantisation.axis < array.ndim or scale.size not in (1, array.shape[quantisation.axis]):
            raise CorruptFileError(
                f"{scale.size} quantisation scales do not fit axis {quantisation.axis} of shape {_brief(array.shape)}"
            )
        along = [1] * array.ndim
        along[quantisation.axis] = -1
        scale, zero = scale.reshape(along), zero.reshape(along)
    values = array.astype(np.float32)
    values -= zero
    values *= scale
    return values


def _open_failure(error: OSError) -> str:
    reasons = {
        errno.ENOENT: "no such file; check the path, or prefix a hub name with timm:, torchvision: or hf:",
        errno.EACCES: "permission denied; the file must be readable by you",
        errno.EISDIR: "this is a folder, not a file",
        errno.ELOOP: "the link points to itself",
        errno.ENXIO: "this is a socket or a device, not a regular file; give the model file itself",
        errno.ENAMETOOLONG: "the name is too long for a file",
    }
    return reasons.get(error.errno or 0, f"cannot be opened: {error.strerror}")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe (FIFO)",
        stat.S_IFCHR: "a character device",
        stat.S_IFBLK: "a block device",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


def _brief(numbers: tuple[int, ...]) -> str:
    shown = "×".join(str(n)[:24] for n in numbers[:8])
    return shown + ("…" if len(numbers) > 8 else "") if numbers else "()"
