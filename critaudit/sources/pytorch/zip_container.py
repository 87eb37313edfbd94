"""PyTorch's zip containers: a pickle of the objects and one member per storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from critaudit.errors import CorruptFileError, SourceError
from critaudit.sources.archives.byte_range import Bytes
from critaudit.sources.archives.zip_archive import ZipArchive
from critaudit.sources.pickles.inert import Budget, Builder, Named
from critaudit.sources.pickles.machine import PickleMachine
from critaudit.sources.pytorch.stored_tensors import StorageHandle, element_type, swapped

MAX_PICKLE = 256 * 2**20


def pickle_folder(archive: ZipArchive, pickle: str = "data.pkl") -> str | None:
    """The folder of the archive that holds `pickle`, with its slash ("" at the top); None where there is none.

    The outermost one counts. Raises CorruptFileError where two folders compete.
    """
    folders = [name.removesuffix(pickle) for name in archive.names if name == pickle or name.endswith("/" + pickle)]
    if not folders:
        return None
    depth = min(folder.count("/") for folder in folders)
    outermost = [folder for folder in folders if folder.count("/") == depth]
    if len(outermost) > 1:
        raise CorruptFileError(
            f"{archive.file.path.name}: the archive holds {len(outermost)} checkpoints side by side "
            f"({outermost[0]}{pickle}, {outermost[1]}{pickle}); split it into one file each"
        )
    return outermost[0]


def load_member_pickle(
    archive: ZipArchive, folder: str, pickle: str, storages: str, budget: Budget, builders: Mapping[str, Builder]
) -> object:
    """The object in `folder` + `pickle`, whose storages are the members `folder` + `storages` + key."""
    data = archive.read(folder + pickle, limit=MAX_PICKLE)
    source = Bytes(data, archive.file.path, (archive.file.key, folder + pickle))
    machine = PickleMachine(
        source, builders=builders, persistent=_storage_finder(archive, folder, storages), budget=budget
    )
    return machine.load()


def _storage_finder(archive: ZipArchive, folder: str, storages: str) -> Callable[[object], object]:
    """Persistent ids are ("storage", type, key, location, number of elements): bytes on any device are just bytes."""
    known: dict[tuple[str, str], StorageHandle] = {}
    big_endian = is_big_endian(archive, folder)

    def find(identity: object) -> object:
        if type(identity) is not tuple or len(identity) < 5 or identity[0] != "storage":
            raise CorruptFileError(f"{archive.file.path.name}: its pickle refers to something that is no storage")
        kind, key = identity[1:3]
        if type(key) is not str or not isinstance(kind, Named):
            raise CorruptFileError(f"{archive.file.path.name}: its pickle refers to a storage without a name")
        dtype = element_type(kind)
        handle = known.get((key, dtype))
        if handle is None:
            handle = known[key, dtype] = StorageHandle(dtype)
            try:
                storage = archive.storage(f"{folder}{storages}{key}")
                handle.storage = swapped(storage, dtype) if big_endian else storage
            except SourceError as error:
                handle.problem = str(error)
        return handle

    return find


def is_big_endian(archive: ZipArchive, folder: str) -> bool:
    """Whether the archive says that its numbers were written by a big endian machine."""
    return f"{folder}byteorder" in archive and archive.read(f"{folder}byteorder", limit=64).strip() == b"big"
