"""PyTorch's container before 1.6: pickles one after the other, then the storages; before 0.1.10 a tar of three such.

Nothing in these files says where a storage lies except the ones before it, so a truncated file keeps the tensors whose
storages came first.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from critaudit.errors import CorruptFileError, SourceError
from critaudit.sources.archives.byte_range import ByteRange, Part, PartStorage
from critaudit.sources.pickles.inert import Budget, Builder, Named
from critaudit.sources.pickles.machine import PickleMachine
from critaudit.sources.pytorch.stored_tensors import LateStorage, StorageHandle, TensorParts, element_type
from critaudit.tensors import DTYPES, Storage

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MAX_TAR_MEMBERS = 64
_BLOCK = 512


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """Bytes [start, start + nbytes) of another storage."""

    base: Storage
    start: int
    nbytes: int

    @property
    def key(self) -> Hashable:
        """The place in the other storage."""
        return (self.base.key, self.start, self.nbytes)

    def read(self, start: int, stop: int) -> bytearray:
        """See Storage."""
        if not 0 <= start <= stop <= self.nbytes:
            raise CorruptFileError(f"bytes {start} to {stop} of a storage view of {self.nbytes} are wanted")
        return self.base.read(self.start + start, self.start + stop)


class _Storages:
    """The storages that a legacy pickle refers to, by key."""

    def __init__(self, label: str, owner: Hashable) -> None:
        self.label = label
        self.owner = owner
        self.handles: dict[str, StorageHandle] = {}
        self.views: list[tuple[StorageHandle, StorageHandle]] = []

    def find(self, identity: object) -> object:
        """("storage", type, key, location, elements, view) or ("module", class, file, source code)."""
        if type(identity) is not tuple or len(identity) < 2:
            raise CorruptFileError(f"{self.label}: its pickle refers to something that is no storage")
        if identity[0] == "module":
            return identity[1]
        if identity[0] != "storage" or len(identity) < 5 or not isinstance(identity[1], Named):
            raise CorruptFileError(f"{self.label}: its pickle refers to something that is no storage")
        key, elements = _key(identity[2]), identity[4]
        dtype = element_type(identity[1])
        handle = self.handles.get(key)
        if handle is None:
            if type(elements) is not int or not 0 <= elements < 2**60:
                raise CorruptFileError(f"{self.label}: its pickle announces a storage of an impossible length")
            nbytes = elements * DTYPES.get(dtype, (1, ""))[0]
            storage = LateStorage(nbytes, (self.owner, "legacy", key))
            handle = self.handles[key] = StorageHandle(dtype, storage)
        view = identity[5] if len(identity) > 5 else None
        return handle if view is None else self._view(handle, view)

    def _view(self, handle: StorageHandle, view: object) -> StorageHandle:
        """(key, offset, elements): part of a storage under a key of its own."""
        size = DTYPES.get(handle.dtype, (1, ""))[0]
        if type(view) is not tuple or len(view) != 3 or any(type(n) is not int or not 0 <= n < 2**60 for n in view[1:]):
            raise CorruptFileError(f"{self.label}: its pickle describes an impossible view of a storage")
        start, count = view[1] * size, view[2] * size
        if handle.storage is None or start + count > handle.storage.nbytes:
            return StorageHandle(handle.dtype, problem="a view reaches beyond its storage")
        made = StorageHandle(handle.dtype, _View(handle.storage, start, count))
        self.views.append((made, handle))
        return made

    def locate(self, source: ByteRange, position: int, keys: object) -> tuple[int, list[str]]:
        """Find each storage behind the pickles. Returns the first byte behind the last one, and what is wrong."""
        problems: list[str] = []
        if type(keys) is not list:
            raise CorruptFileError(f"{self.label}: the list of storages is missing (truncated download?)")
        for key in map(_key, keys):
            handle = self.handles.get(key)
            if handle is None:
                problems.append("the file holds a storage that no tensor refers to; what follows cannot be read")
                break
            size = DTYPES.get(handle.dtype, (1, ""))[0]
            if position + 8 > source.size:
                problems.append("the file ends before its last storages (truncated download?)")
                break
            (elements,) = struct.unpack("<q", source.read(position, 8))
            if not 0 <= elements <= (source.size - position - 8) // size:
                problems.append("the file ends in the middle of a storage (truncated download?)")
                break
            storage, position = handle.storage, position + 8
            if not isinstance(storage, LateStorage) or storage.nbytes != elements * size or storage.part is not None:
                handle.storage, handle.problem = None, "its storage has another length than announced"
            else:
                storage.part = Part(source, position, elements * size)
            position += elements * size
        self._drop_missing()
        return position, problems

    def _drop_missing(self) -> None:
        for handle in self.handles.values():
            if isinstance(handle.storage, LateStorage) and handle.storage.part is None:
                handle.storage = None
                handle.problem = "its storage is not in the file (truncated download?)"
        for view, handle in self.views:
            if handle.storage is None:
                view.storage, view.problem = None, handle.problem


def _key(key: object) -> str:
    """Storage keys are text, or a number in very old files."""
    if type(key) is int and key.bit_length() <= 64:
        return str(key)
    if type(key) is bytes:
        return key.decode("latin-1")
    if type(key) is str:
        return key
    raise CorruptFileError("a storage in the pickle has no proper name")


def load_legacy(
    source: ByteRange, position: int, budget: Budget, builders: Mapping[str, Builder]
) -> tuple[object, list[str]]:
    """The object in a legacy container whose magic number ends at `position`, and what is wrong with its storages."""
    label = source.path.name
    storages = _Storages(label, source.key)
    machine = PickleMachine(source, position, builders=builders, persistent=storages.find, budget=budget)
    if machine.load() != _PROTOCOL:
        raise CorruptFileError(f"{label}: a PyTorch file of an unknown protocol; expected {_PROTOCOL}")
    machine.load()  # the machine that wrote the file; storages are little endian whatever it was
    root = machine.load()
    try:
        keys = machine.load()
    except CorruptFileError as error:
        storages.locate(source, source.size, [])
        return root, [str(error)]
    end, problems = storages.locate(source, machine.position, keys)
    if not problems and end < source.size:
        problems.append(f"{source.size - end} bytes behind the checkpoint were not read")
    return root, problems


# ---- tar, before 0.1.10 ----


def tar_members(source: ByteRange) -> dict[str, Part] | None:
    """The regular members of a tar archive by name; None where this is none. Nothing is extracted.

    Raises CorruptFileError where two members share a name or one reaches beyond the file.
    """
    members: dict[str, Part] = {}
    position = 0
    for _ in range(_MAX_TAR_MEMBERS):
        if position + _BLOCK > source.size:
            break
        header = bytes(source.read(position, _BLOCK))
        if not header.strip(b"\0"):
            break
        size = _tar_size(header)
        if size is None:
            if not members:
                return None
            raise CorruptFileError(f"{source.path.name}: the tar archive is damaged at byte {position}")
        if header[156:157] in (b"0", b"\0"):
            name = header[:100].split(b"\0")[0].decode("latin-1").removeprefix("./")
            if name in members:
                raise CorruptFileError(f"{source.path.name}: the tar archive has two members called {name}")
            members[name] = Part(source, position + _BLOCK, size)
        position += _BLOCK + -(-size // _BLOCK) * _BLOCK
    return members


def _tar_size(header: bytes) -> int | None:
    """The member's length; None where the header's checksum does not match."""
    try:
        stated = int(header[148:156].strip(b" \0") or b"-1", 8)
        size = int(header[124:136].strip(b" \0") or b"0", 8)
    except ValueError:
        return None
    actual = sum(header[:148]) + 8 * ord(" ") + sum(header[156:])
    return size if stated == actual and size >= 0 else None


def load_tar(
    members: Mapping[str, ByteRange], budget: Budget, builders: Mapping[str, Builder]
) -> tuple[object, list[str]]:
    """The object in a tar of `storages`, `tensors` and `pickle`, and what is wrong with its storages."""
    storages, problems = _tar_storages(members["storages"], budget, builders)
    objects: dict[int, object] = {**storages, **_tar_tensors(members["tensors"], storages, budget, builders)}

    def find(identity: object) -> object:
        if type(identity) is tuple and identity:
            return identity[0]  # (class, file, source code)
        try:
            return objects[int(identity)]  # type: ignore[call-overload]
        except (KeyError, TypeError, ValueError):
            raise CorruptFileError(f"{budget.label}: its pickle refers to a tensor that is not in the file") from None

    return PickleMachine(members["pickle"], builders=builders, persistent=find, budget=budget).load(), problems


def _tar_storages(
    source: ByteRange, budget: Budget, builders: Mapping[str, Builder]
) -> tuple[dict[int, StorageHandle], list[str]]:
    machine = PickleMachine(source, builders=builders, persistent=_no_references, budget=budget)
    handles: dict[int, StorageHandle] = {}
    problems: list[str] = []
    for _ in range(_count(machine)):
        entry = machine.load()
        if type(entry) is not tuple or len(entry) != 3 or type(entry[0]) is not int:
            raise CorruptFileError(f"{budget.label}: the description of a storage is malformed")
        dtype = element_type(entry[2])
        size, position = DTYPES.get(dtype, (1, ""))[0], machine.position
        try:
            (elements,) = struct.unpack("<q", source.read(position, 8))
            part = Part(source, position + 8, elements * size)
        except SourceError as error:
            problems.append(str(error))
            return handles, problems
        handles[entry[0]] = StorageHandle(dtype, PartStorage(part))
        machine.seek(position + 8 + elements * size)
    views = machine.load()
    for view in views if type(views) is list else ():
        if type(view) is not tuple or len(view) != 4 or any(type(n) is not int for n in view):
            raise CorruptFileError(f"{budget.label}: the description of a storage view is malformed")
        target, root, offset, elements = view
        base = handles.get(root)
        if base is None or base.storage is None:
            continue
        size = DTYPES.get(base.dtype, (1, ""))[0]
        if offset < 0 or elements < 0 or (offset + elements) * size > base.storage.nbytes:
            handles[target] = StorageHandle(base.dtype, problem="a view reaches beyond its storage")
        else:
            handles[target] = StorageHandle(base.dtype, _View(base.storage, offset * size, elements * size))
    return handles, problems


def _tar_tensors(
    source: ByteRange, storages: Mapping[int, StorageHandle], budget: Budget, builders: Mapping[str, Builder]
) -> dict[int, TensorParts]:
    machine = PickleMachine(source, builders=builders, persistent=_no_references, budget=budget)
    tensors: dict[int, TensorParts] = {}
    for _ in range(_count(machine)):
        entry = machine.load()
        if type(entry) is not tuple or len(entry) != 3 or any(type(n) is not int for n in entry[:2]):
            raise CorruptFileError(f"{budget.label}: the description of a tensor is malformed")
        position = machine.position
        (dimensions,) = struct.unpack("<i", source.read(position, 4))
        if not 0 <= dimensions <= 64:
            raise CorruptFileError(f"{budget.label}: a tensor claims {dimensions} dimensions")
        # Four bytes are skipped: the number of dimensions was once written as eight.
        layout = struct.Struct(f"<{2 * dimensions + 1}q")
        *numbers, offset = layout.unpack(source.read(position + 8, layout.size))
        handle = storages.get(entry[1]) or StorageHandle("float32", problem="its storage is not in the file")
        shape, stride = tuple(numbers[:dimensions]), tuple(numbers[dimensions:])
        tensors[entry[0]] = TensorParts(handle, handle.dtype, offset, shape, stride)
        machine.seek(position + 8 + layout.size)
    return tensors


def _count(machine: PickleMachine) -> int:
    count = machine.load()
    if type(count) is not int or not 0 <= count <= 10**6:
        raise CorruptFileError(f"{machine.label}: the number of entries is impossible")
    return count


def _no_references(_: object) -> object:
    raise CorruptFileError("a pickle refers to storages where none can be")
