"""PyTorch checkpoints of every age, and plain pickles, as an inert object tree. Opening reads no storage.

`read_zip`, `read_legacy`, `read_tar` and `read_pickle` return `Contents`; which one fits is decided in `detect`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from critaudit.contents import Contents
from critaudit.errors import CorruptFileError, LimitExceededError, NotAModelError
from critaudit.sources.archives.byte_range import ByteRange, Bytes, Part
from critaudit.sources.archives.zip_archive import ZipArchive
from critaudit.sources.pickles.inert import Budget, Builder, StoredBytes
from critaudit.sources.pickles.machine import PickleMachine
from critaudit.sources.pickles.plain_builders import PLAIN_BUILDERS
from critaudit.sources.pytorch.builders import TORCH_BUILDERS
from critaudit.sources.pytorch.legacy import MAGIC_NUMBER, load_legacy, load_tar
from critaudit.sources.pytorch.unwrap import unwrap
from critaudit.sources.pytorch.zip_container import load_member_pickle, pickle_folder

_MAX_DEPTH = 4  # pickles inside pickles
TAR_MEMBERS = frozenset({"storages", "tensors", "pickle"})


def read_zip(archive: ZipArchive) -> Contents:
    """A checkpoint in PyTorch's zip format (the default since 1.6).

    Raises CorruptFileError where the pickle is damaged; a damaged storage costs only its tensors.
    """
    budget = Budget(archive.file.path.name)
    folder = pickle_folder(archive)
    if folder is None:
        raise NotAModelError(f"{budget.label}: this zip archive has no data.pkl; expected a PyTorch checkpoint")
    problems: list[str] = []
    root = load_member_pickle(archive, folder, "data.pkl", "data/", budget, builders(budget, problems))
    return unwrap(root, "PyTorch zip checkpoint", budget.label, archive.file.size, problems)


def read_pickle(source: ByteRange) -> Contents:
    """A pickle: PyTorch's format before 1.6 where it begins with the magic number, else a plain one."""
    budget = Budget(source.path.name)
    problems: list[str] = []
    root, name = _load_stream(source, budget, builders(budget, problems), problems)
    return unwrap(root, name, budget.label, source.size, problems)


def read_tar(source: ByteRange, members: Mapping[str, Part]) -> Contents:
    """A tar of `storages`, `tensors` and `pickle`, as PyTorch wrote before 0.1.10."""
    budget = Budget(source.path.name)
    problems: list[str] = []
    root, found = load_tar(members, budget, builders(budget, problems))
    return unwrap(root, "PyTorch tar checkpoint", budget.label, source.size, [*problems, *found])


def builders(budget: Budget, problems: list[str], depth: int = 0) -> Mapping[str, Builder]:
    """All our constructors. Pickles inside pickles (`pickle.dump` of tensors) are read with the same budget."""
    return {
        **PLAIN_BUILDERS,
        **TORCH_BUILDERS,
        "torch.storage._load_from_bytes": _nested(budget, problems, depth + 1),
    }


def _nested(budget: Budget, problems: list[str], depth: int) -> Builder:
    def load(args: tuple[object, ...], _: Callable[[int], None]) -> object:
        source: ByteRange
        if len(args) == 1 and isinstance(args[0], StoredBytes):
            source = args[0].storage.part
        elif len(args) == 1 and isinstance(args[0], bytes):
            source = Bytes(args[0], Path(budget.label), object())
        else:
            return NotImplemented
        if depth > _MAX_DEPTH:
            raise LimitExceededError(f"{budget.label}: its pickles are nested deeper than {_MAX_DEPTH} levels")
        return load_any(source, budget, builders(budget, problems, depth), problems)

    return load


def load_any(source: ByteRange, budget: Budget, table: Mapping[str, Builder], problems: list[str]) -> object:
    """The object in a checkpoint of any format that lies inside another file."""
    if bytes(source.read(0, min(4, source.size))) != b"PK\x03\x04":
        return _load_stream(source, budget, table, problems)[0]
    archive = ZipArchive(source)
    folder = pickle_folder(archive)
    if folder is None:
        raise CorruptFileError(f"{budget.label}: an archive inside the file has no data.pkl")
    return load_member_pickle(archive, folder, "data.pkl", "data/", budget, table)


def _load_stream(
    source: ByteRange, budget: Budget, table: Mapping[str, Builder], problems: list[str]
) -> tuple[object, str]:
    """The object in a legacy container or a plain pickle, and the name of the format."""

    def no_storages(_: object) -> object:
        raise CorruptFileError(f"{budget.label}: its pickle refers to data outside the file")

    machine = PickleMachine(source, builders=table, persistent=no_storages, budget=budget)
    root = machine.load()
    if type(root) is int and root == MAGIC_NUMBER:
        root, found = load_legacy(source, machine.position, budget, table)
        problems.extend(found)
        return root, "PyTorch legacy checkpoint"
    if machine.position < source.size:
        problems.append(f"{source.size - machine.position} bytes behind the pickle were not read")
    return root, "pickle"
