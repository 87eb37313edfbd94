"""Where the elements of an ONNX tensor lie: raw bytes, typed fields, or a file beside the model; read when asked.

External data: onnx.ai/onnx/repo-docs/ExternalData.html; `location` must stay inside the model's folder.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from critaudit.contents import LeftOut
from critaudit.errors import CorruptFileError, LimitExceededError, SourceError
from critaudit.sources.folders.beside import open_beside
from critaudit.sources.onnx.proto import TensorMessage
from critaudit.sources.onnx.protobuf import BYTES, FIXED32, FIXED64, VARINT, Field, decode_varints
from critaudit.tensors import DTYPES, FileStorage, MemoryStorage, RegularFile, Storage, TensorRef

ELEMENT_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
}
_UNREAD = {8: "string", 21: "uint4", 22: "int4", 23: "float4_e2m1", 24: "float8_e8m0", 25: "uint2", 26: "int2"}
# Which typed field holds which element type, and as what (onnx.proto, TensorProto).
_FLOAT_DATA, _INT32_DATA, _INT64_DATA, _DOUBLE_DATA, _UINT64_DATA = 4, 5, 7, 10, 11
_TYPED_FIELD = {"float32": 4, "complex64": 4, "float64": 10, "complex128": 10, "int64": 7, "uint32": 11, "uint64": 11}
MAX_DECODED_BYTES = 64_000_000
_BLOCK = 1 << 20


@dataclass(slots=True)
class TensorFinder:
    """Finds the elements of one model's tensors, opening each external file once."""

    file: RegularFile
    external: dict[str, RegularFile | str] = field(default_factory=dict)

    def find(self, name: str, message: TensorMessage) -> TensorRef | LeftOut:
        """A lazy reference to the tensor's elements, or why there is none."""
        dtype = ELEMENT_TYPES.get(message.data_type)
        shape = tuple(message.dims) if len(message.dims) <= 64 and all(n >= 0 for n in message.dims) else ()
        if message.data_type == 8:
            return LeftOut(name, shape, "string", "text, not weights")
        shown = dtype or _UNREAD.get(message.data_type, f"type {message.data_type}")
        if message.sparse:
            return LeftOut(name, shape, shown, "stored as a sparse tensor, which is not read", lost=True)
        if dtype is None:
            return LeftOut(name, shape, shown, f"elements of {shown} cannot be decoded", lost=True)
        try:
            if len(shape) != len(message.dims):
                raise CorruptFileError(f"impossible tensor shape {str(message.dims)[:60]}")
            return TensorRef(self._storage(message, dtype, math.prod(shape)), dtype, shape)
        except SourceError as error:
            return LeftOut(name, shape, dtype, str(error), lost=True)

    def _storage(self, message: TensorMessage, dtype: str, count: int) -> Storage:
        needed = count * DTYPES[dtype][0]
        if message.segmented:
            raise CorruptFileError("the tensor is split into segments, which no exporter writes")
        if message.location == 1:
            return self._external(message, needed)
        if message.raw is not None:
            start, stop = message.raw
            if stop - start != needed:
                raise CorruptFileError(
                    f"{needed} bytes are expected, but {stop - start} are stored (truncated download?)"
                )
            return FileStorage(self.file, start, needed)
        return self._typed(message, dtype, count)

    def _external(self, message: TensorMessage, needed: int) -> Storage:
        location = message.external.get("location", "")
        offset = _position(message.external.get("offset", "0"))
        length = _position(message.external.get("length", str(needed)))
        opened = self.external.get(location)
        if opened is None:
            try:
                opened = open_beside(self.file.path.parent, location)
            except SourceError as error:
                opened = str(error)
            self.external[location] = opened
        if isinstance(opened, str):
            raise SourceError(f"external data: {opened}")
        if length != needed:
            raise CorruptFileError(f"{needed} bytes of external data are expected, but {length} are declared")
        if offset + length > opened.size:
            raise CorruptFileError(
                f"external data {opened.path.name}: bytes {offset} to {offset + length} are wanted, but the file has "
                f"{opened.size}"
            )
        return FileStorage(opened, offset, length)

    def _typed(self, message: TensorMessage, dtype: str, count: int) -> Storage:
        wanted = _TYPED_FIELD.get(dtype, _INT32_DATA)
        if any(part.number != wanted for part in message.typed):
            raise CorruptFileError(f"the elements of a {dtype} tensor are in a field for another type")
        fixed = {_FLOAT_DATA: FIXED32, _DOUBLE_DATA: FIXED64}.get(wanted)
        packed = [part for part in message.typed if part.wire == BYTES]
        if len(message.typed) == len(packed) == 1:
            part = packed[0]
            nbytes = part.stop - part.start
            if fixed is None:
                return VarintStorage.over(self.file, part, dtype, count)
            if nbytes != count * DTYPES[dtype][0]:
                raise CorruptFileError(f"{count} elements are expected, but {nbytes} bytes are stored")
            return FileStorage(self.file, part.start, nbytes)
        return self._gathered(message.typed, fixed, dtype, count)

    def _gathered(self, parts: list[Field], fixed: int | None, dtype: str, count: int) -> Storage:
        """Elements in several pieces or one field each, as old writers leave them: small, so decoded at once."""
        if sum(part.stop - part.start for part in parts) + 8 * len(parts) > MAX_DECODED_BYTES:
            raise LimitExceededError("too many elements are stored one by one")
        pieces = [self._piece(part, fixed, dtype) for part in parts]
        data = np.concatenate(pieces) if pieces else np.empty(0, np.uint8)
        if data.nbytes != count * DTYPES[dtype][0]:
            raise CorruptFileError(f"{count * DTYPES[dtype][0]} bytes are expected, but {data.nbytes} are stored")
        return MemoryStorage(data, (self.file.key, parts[0].start if parts else None, "gathered"))

    def _piece(self, part: Field, fixed: int | None, dtype: str) -> NDArray[np.uint8]:
        if part.wire == VARINT and fixed is None:
            return _narrow(np.array([part.value], np.uint64), dtype)
        if part.wire not in (BYTES, fixed):
            raise CorruptFileError("an element is stored as another kind of number than its tensor's type")
        raw = np.frombuffer(self.file.read(part.start, part.stop - part.start), np.uint8)
        return raw if fixed is not None else _narrow(decode_varints(raw), dtype)


@dataclass(frozen=True, slots=True, eq=False)
class VarintStorage:
    """Packed varints in a file, seen as the bytes of the elements that they stand for; decoded block by block."""

    file: RegularFile
    start: int
    stop: int
    dtype: str
    count: int

    @classmethod
    def over(cls, file: RegularFile, part: Field, dtype: str, count: int) -> VarintStorage:
        """Check, without decoding, that the field holds exactly `count` numbers."""
        found, last = 0, 0
        for start in range(part.start, part.stop, _BLOCK):
            raw = np.frombuffer(file.read(start, min(_BLOCK, part.stop - start)), np.uint8)
            found += int(np.count_nonzero(raw < 0x80))
            last = int(raw[-1])
        if found != count or last >= 0x80:
            raise CorruptFileError(f"{count} elements are expected, but {found} are stored")
        return cls(file, part.start, part.stop, dtype, count)

    @property
    def key(self) -> Hashable:
        """The place in the file."""
        return (self.file.key, self.start, self.stop)

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded elements."""
        return self.count * DTYPES[self.dtype][0]

    def read(self, start: int, stop: int) -> bytearray:
        """See critaudit.tensors.Storage. Every read decodes from the beginning: varints cannot be skipped."""
        out = bytearray(self.nbytes)
        filled, position = 0, self.start
        while position < self.stop:
            raw = np.frombuffer(self.file.read(position, min(_BLOCK, self.stop - position)), np.uint8)
            ends = np.flatnonzero(raw < 0x80)
            if not ends.size:
                raise CorruptFileError("a packed number is longer than ten bytes")
            whole = int(ends[-1]) + 1
            decoded = _narrow(decode_varints(raw[:whole]), self.dtype)
            if filled + decoded.nbytes > self.nbytes:
                raise CorruptFileError("the file changed while it was read")
            out[filled : filled + decoded.nbytes] = decoded.tobytes()
            filled += decoded.nbytes
            position += whole
        return out[start:stop]


def _narrow(values: NDArray[np.uint64], dtype: str) -> NDArray[np.uint8]:
    """The low bytes of 64-bit two's complement numbers: the element itself, or the bit pattern of a narrow float."""
    itemsize = DTYPES[dtype][0]
    if itemsize == 8:
        return values.view(np.uint8)
    return values.view(np.uint8).reshape(-1, 8)[:, :itemsize].reshape(-1)


def _position(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise CorruptFileError(f"external data: {text[:40]!r} is no position in a file")
    return int(text)
