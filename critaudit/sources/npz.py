"""NumPy's .npy and .npz files. Headers are parsed as literals, object arrays are never unpickled.

Format: numpy.lib.format, versions 1 to 3. The arrays are references into the file; members of an .npz that are
compressed are inflated when read.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from critaudit.contents import Contents, LeftOut
from critaudit.errors import CorruptFileError, LimitExceededError, NotAModelError, SourceError
from critaudit.sources.archives.zip_archive import ZipArchive
from critaudit.tensors import DTYPES, FileStorage, MemoryStorage, RegularFile, Storage, TensorRef

MAX_HEADER_BYTES = 10_000  # as NumPy itself allows for files that nobody vouches for
# A big-endian array is turned over in memory when it is described, so it may be only so large.
MAX_SWAPPED_BYTES = 256_000_000
MAX_MEMBERS = 100_000
_MAGIC = b"\x93NUMPY"
_PLAIN_TYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248]|c8|c16|V2)")
_NUMPY_NAMES = {"V2": "bfloat16"}  # how ml_dtypes' bfloat16 is saved


@dataclass(frozen=True, slots=True)
class _Header:
    """What an .npy header says; `type_code` is a plain type such as "<f4", or None with `reason` saying what it is."""

    shape: tuple[int, ...]
    fortran_order: bool
    type_code: str | None
    shown: str
    reason: str | None
    data_start: int


def read_npy(file: RegularFile) -> Contents:
    """Describe the one array of an .npy file. Raises CorruptFileError for a damaged file, NotAModelError for text."""
    label = file.path.name
    name = file.path.stem
    found = _describe(name, label, FileStorage(file, 0, file.size))
    return _contents(label, "NumPy array (.npy)", {name: found})


def read_npz(file: RegularFile, archive: ZipArchive | None = None) -> Contents:
    """Describe the arrays of an .npz file; damaged members and object arrays are lost, the others audited.

    Raises CorruptFileError where the archive is damaged, NotAModelError where it has no array.
    """
    label = file.path.name
    archive = ZipArchive(file) if archive is None else archive
    members = [name for name in archive.names if name.endswith(".npy")]
    if len(members) > MAX_MEMBERS:
        raise LimitExceededError(f"{label}: more than {MAX_MEMBERS} arrays")
    found: dict[str, TensorRef | LeftOut] = {}
    for member in members:
        name = member.removesuffix(".npy")
        try:
            found[name] = _describe(name, label, archive.storage(member))
        except SourceError as error:
            found[name] = LeftOut(name, (), "unknown", str(error), lost=True)
    for other in archive.names:
        if not other.endswith((".npy", "/")):
            found[other] = LeftOut(other, (), "file", "not an array")
    return _contents(label, "NumPy archive (.npz)", found)


def _contents(label: str, kind: str, found: dict[str, TensorRef | LeftOut]) -> Contents:
    left_out = tuple(item for item in found.values() if isinstance(item, LeftOut))
    tensors = {name: item for name, item in found.items() if isinstance(item, TensorRef)}
    if not tensors and not any(item.lost for item in left_out):
        raise NotAModelError(f"{label}: no numeric arrays are in this file; arrays of weights are expected")
    problems = tuple(f"{item.name}: {item.reason}" for item in left_out if item.lost)
    return Contents(kind, tensors, left_out, problems[:20])


def _describe(name: str, label: str, storage: Storage) -> TensorRef | LeftOut:
    header = _parse(label, storage)
    if header.type_code is None:
        lost = header.reason is not None and "text" not in header.reason
        return LeftOut(name, header.shape, header.shown, header.reason or "", lost=lost)
    dtype = _dtype_name(header.type_code)
    itemsize = DTYPES[dtype][0]
    if header.data_start % itemsize:
        # Old writers aligned to 16 bytes at most; elements must start at a multiple of their size to be counted.
        return _copied(name, storage, header, dtype)
    if header.type_code.startswith(">") and itemsize > 1:
        return _copied(name, storage, header, dtype)
    try:
        return TensorRef(storage, dtype, header.shape, header.data_start // itemsize, _stride(header))
    except SourceError as error:
        return LeftOut(name, header.shape, dtype, f"{error} (truncated download?)", lost=True)


def _copied(name: str, storage: Storage, header: _Header, dtype: str) -> TensorRef | LeftOut:
    """An array that cannot be used where it lies (foreign byte order): a small one is copied, turned over."""
    itemsize = DTYPES[dtype][0]
    count = 1
    for n in header.shape:
        count *= n
    nbytes = count * itemsize
    if nbytes > MAX_SWAPPED_BYTES:
        reason = f"{nbytes} bytes in big-endian order; at most {MAX_SWAPPED_BYTES} are turned over"
        return LeftOut(name, header.shape, dtype, reason, lost=True)
    if header.data_start + nbytes > storage.nbytes:
        reason = f"{nbytes} bytes are expected, but {storage.nbytes - header.data_start} are stored"
        return LeftOut(name, header.shape, dtype, f"{reason} (truncated download?)", lost=True)
    raw = np.frombuffer(storage.read(header.data_start, header.data_start + nbytes), np.uint8)
    if header.type_code is not None and header.type_code.startswith(">"):
        # A complex number is two floats, each with its own byte order.
        unit = itemsize // 2 if dtype.startswith("complex") else itemsize
        raw = np.ascontiguousarray(raw.reshape(-1, unit)[:, ::-1]).reshape(-1)
    return TensorRef(MemoryStorage(raw, (storage.key, "turned over")), dtype, header.shape, 0, _stride(header))


def _stride(header: _Header) -> tuple[int, ...] | None:
    if not header.fortran_order or len(header.shape) < 2:
        return None
    steps, step = [], 1
    for n in header.shape:
        steps.append(step)
        step *= max(n, 1)
    return tuple(steps)


def _dtype_name(type_code: str) -> str:
    plain = type_code.lstrip("<>|=")
    return _NUMPY_NAMES.get(plain) or np.dtype(plain).name


def _parse(label: str, storage: Storage) -> _Header:
    """The header at the beginning of an array, every field checked."""
    start = bytes(storage.read(0, min(12, storage.nbytes)))
    if len(start) < 10 or not start.startswith(_MAGIC):
        raise CorruptFileError(f"{label}: this is not NumPy's array format")
    version = start[6]
    if version not in (1, 2, 3) or len(start) < 12:
        raise CorruptFileError(f"{label}: version {version} of NumPy's array format is unknown")
    length = int.from_bytes(start[8:10] if version == 1 else start[8:12], "little")
    begin = 10 if version == 1 else 12
    if length > MAX_HEADER_BYTES:
        raise LimitExceededError(
            f"{label}: an array header of {length} bytes, where at most {MAX_HEADER_BYTES} are read"
        )
    if begin + length > storage.nbytes:
        raise CorruptFileError(f"{label}: an array header ends after the file does (truncated download?)")
    raw = bytes(storage.read(begin, begin + length))
    header = _literal(raw.decode("utf-8" if version == 3 else "latin-1", "replace"))
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise CorruptFileError(f"{label}: an array header lacks descr, fortran_order or shape, or has more")
    shape, order = header["shape"], header["fortran_order"]
    if not _is_shape(shape) or not isinstance(order, bool):
        raise CorruptFileError(f"{label}: an array header has an impossible shape {str(shape)[:60]}")
    type_code, shown, reason = _type(header["descr"])
    return _Header(shape, order, type_code, shown, reason, begin + length)


def _literal(text: str) -> object:
    """The Python literal in `text`, None where it is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd escapes in a hostile header would be reported on the terminal
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return None


def _is_shape(shape: object) -> TypeGuard[tuple[int, ...]]:
    return isinstance(shape, tuple) and len(shape) <= 64 and all(type(n) is int and 0 <= n < 2**62 for n in shape)


def _type(described: object) -> tuple[str | None, str, str | None]:
    """(type code, name to show, why it is not read)."""
    if not isinstance(described, str):
        return None, "record", "it holds records, not plain numbers"
    plain = described.lstrip("<>|=")
    if _PLAIN_TYPE.fullmatch(described):
        return described, plain, None
    shown = described[:20]
    if plain[:1] == "O":
        return None, "object", "it holds pickled Python objects, which are never unpickled"
    if plain[:1] in ("U", "S", "T"):
        return None, shown, "text, not weights"
    return None, shown, f"elements of type {shown!r} are not numbers that critaudit reads"
