"""safetensors files: a JSON header that says where each tensor lies, then the bytes. Nothing in them can run.

Format: 8 bytes little-endian header length, the header, the tensors back to back without gap or overlap. The official
library is the oracle of the tests; this reader needs no other package, keeps what is whole in a truncated file, and
bounds what a header may ask for.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from critaudit.contents import Contents, LeftOut
from critaudit.errors import CorruptFileError, LimitExceededError, SourceError
from critaudit.tensors import FileStorage, RegularFile, TensorRef
from critaudit.text import kind_of, printable

MAX_HEADER_BYTES = 100_000_000  # the official library's own cap
# Each character takes 4 bytes in memory as soon as one of them is not Latin: such a header may be only so long.
MAX_WIDE_HEADER_BYTES = 16_000_000
# A tensor takes about 8 JSON values, so this is 60,000 tensors in one file: 50 times what the largest models have.
MAX_HEADER_VALUES = 500_000
MAX_METADATA_ITEMS = 200

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}
_BITS = {"F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16}
_BITS |= {"U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8}
_UNREAD_BITS = {"F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4}
_BITS |= _UNREAD_BITS


class _Entry(NamedTuple):
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def looks_like_safetensors(head: bytes) -> bool:
    """Whether a file that begins with `head` (16 bytes suffice) is safetensors: a sane length, then a JSON object."""
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and 2 <= length <= MAX_HEADER_BYTES and head[8:9] == b"{"


def read_safetensors(file: RegularFile) -> Contents:
    """Describe the tensors of a safetensors file without reading them.

    A file that ends early keeps its whole tensors; the others are left out as lost and named in `problems`.
    Raises CorruptFileError where the header contradicts itself or the file, LimitExceededError where it is a bomb.
    """
    header, data_start = _header(file)
    metadata = _metadata(file, header.pop("__metadata__", {}))
    entries = [_entry(file, name, description) for name, description in header.items()]
    data_bytes = file.size - data_start
    claimed = _check_layout(file, entries)
    if claimed < data_bytes:
        raise CorruptFileError(
            f"{file.path.name}: {data_bytes - claimed} bytes after the last tensor belong to no tensor; "
            "save the file again with the safetensors library"
        )
    tensors: dict[str, TensorRef] = {}
    left_out: list[LeftOut] = []
    for entry in entries:
        found = _reference(file, entry, data_start, data_bytes)
        if isinstance(found, LeftOut):
            left_out.append(found)
        else:
            tensors[entry.name] = found
    problems = []
    if claimed > data_bytes:
        lost = sum(item.lost for item in left_out)
        problems.append(
            f"{file.path.name}: the file ends after {data_bytes} of {claimed} bytes of tensors (truncated download?); "
            f"{lost} of {len(entries)} tensors are lost"
        )
    return Contents("safetensors", tensors, tuple(left_out), tuple(problems), metadata=metadata)


def _header(file: RegularFile) -> tuple[dict[str, Any], int]:
    """The parsed header and the position of the first tensor byte."""
    if file.size < 8:
        raise CorruptFileError(f"{file.path.name}: the file is too short, {file.size} bytes (truncated download?)")
    length = int.from_bytes(file.read(0, 8), "little")
    if length > MAX_HEADER_BYTES:
        raise LimitExceededError(
            f"{file.path.name}: the header claims {length} bytes, but at most {MAX_HEADER_BYTES} are allowed"
        )
    if length > file.size - 8:
        raise CorruptFileError(
            f"{file.path.name}: the header claims {length} bytes, but only {file.size - 8} follow (truncated download?)"
        )
    raw = bytes(file.read(8, length))
    if not raw.startswith(b"{"):
        raise CorruptFileError(f"{file.path.name}: the safetensors header is no JSON object")
    if length > MAX_WIDE_HEADER_BYTES and not raw.isascii():
        raise LimitExceededError(f"{file.path.name}: a header of {length} bytes with non-ASCII names is not read")
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MAX_HEADER_VALUES:
        raise LimitExceededError(f"{file.path.name}: the header has more than {MAX_HEADER_VALUES} values")
    try:
        header = json.loads(raw.decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constants)
    except _DuplicateKeyError as error:
        raise CorruptFileError(f"{file.path.name}: the header names {error.args[0]!r:.120} twice") from None
    except RecursionError:
        raise LimitExceededError(f"{file.path.name}: the safetensors header is nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, an integer with thousands of digits
        raise CorruptFileError(f"{file.path.name}: the safetensors header is not valid JSON: {error!s:.120}") from None
    return header, 8 + length


class _DuplicateKeyError(Exception):
    """A key that occurs twice in one JSON object: two readers would see two different files."""


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        raise _DuplicateKeyError(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return found


def _no_constants(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _metadata(file: RegularFile, found: object) -> dict[str, object]:
    if not isinstance(found, dict):
        raise CorruptFileError(f"{file.path.name}: __metadata__ is {kind_of(found)}; an object is expected")
    texts = [(key, value) for key, value in found.items() if isinstance(value, str)]
    return {printable(key, limit=100): printable(value, limit=2000) for key, value in texts[:MAX_METADATA_ITEMS]}


def _entry(file: RegularFile, name: str, description: object) -> _Entry:
    """One tensor's description with every field checked for its own sense."""

    def wrong(what: str) -> CorruptFileError:
        return CorruptFileError(f"{file.path.name}: tensor {printable(name, limit=80)}: {what}")

    if not isinstance(description, dict):
        raise wrong(f"it is described by {kind_of(description)}; an object is expected")
    dtype, shape, offsets = (description.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str):
        raise wrong("its dtype is missing")
    if not isinstance(shape, list) or len(shape) > 64 or not all(type(n) is int and 0 <= n < 2**62 for n in shape):
        raise wrong("its shape is no list of sizes")
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(type(n) is int and 0 <= n < 2**62 for n in offsets)
    ):
        raise wrong("its data_offsets are no pair of positions")
    start, stop = offsets
    bits = _BITS.get(dtype)
    needed = None if bits is None else math.prod(shape) * bits
    if stop < start or (needed is not None and needed != (stop - start) * 8):
        raise wrong(f"shape {shape!s:.60} of {dtype} does not fit its {stop - start} bytes")
    return _Entry(name, dtype, tuple(shape), start, stop)


def _check_layout(file: RegularFile, entries: list[_Entry]) -> int:
    """The bytes that all tensors take together; they must follow each other without gap or overlap."""
    position = 0
    for entry in sorted(entries, key=lambda entry: (entry.start, entry.stop)):
        if entry.start != position:
            what = "overlaps the tensor before it" if entry.start < position else "leaves a hole before it"
            raise CorruptFileError(
                f"{file.path.name}: tensor {printable(entry.name, limit=80)} starts at {entry.start} and {what}"
            )
        position = entry.stop
    return position


def _reference(file: RegularFile, entry: _Entry, data_start: int, data_bytes: int) -> TensorRef | LeftOut:
    dtype = DTYPES.get(entry.dtype)
    shown = dtype or printable(entry.dtype, limit=20)
    if entry.stop > data_bytes:
        return LeftOut(
            entry.name, entry.shape, shown, "its bytes are beyond the end of the file (truncated download?)", lost=True
        )
    if dtype is None:
        known = "values this narrow" if entry.dtype in _UNREAD_BITS else "this type"
        return LeftOut(entry.name, entry.shape, shown, f"stored as {shown}: {known} cannot be decoded", lost=True)
    storage = FileStorage(file, data_start + entry.start, entry.stop - entry.start)
    try:
        return TensorRef(storage, dtype, entry.shape)
    except SourceError as error:
        return LeftOut(entry.name, entry.shape, shown, str(error), lost=True)
