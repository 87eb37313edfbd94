"""`torch.export` archives (.pt2): weights and constants from their tables. The program inside is never loaded.

Newer archives keep raw bytes with a table of shapes (`data/weights/model_weights_config.json`); older ones keep whole
PyTorch checkpoints (`data/weights/model.pt`, `serialized_state_dict.pt`) inside the archive.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from critaudit.contents import Contents, LayerHint
from critaudit.errors import CorruptFileError, NotAModelError, SourceError
from critaudit.sources.archives.zip_archive import ZipArchive
from critaudit.sources.pickles.inert import Budget
from critaudit.sources.pytorch.builders import RefusedTensor
from critaudit.sources.pytorch.checkpoint import builders, load_any
from critaudit.sources.pytorch.stored_tensors import Refused, StorageHandle, TensorLike, TensorParts, swapped
from critaudit.sources.pytorch.unwrap import unwrap
from critaudit.sources.pytorch.zip_container import is_big_endian

_MAX_TABLE = 24 * 2**20
_MAX_INNER = 256 * 2**20
_OLD = ("serialized_state_dict.pt", "serialized_state_dict.json")
_OLD_CONSTANTS = ("serialized_constants.pt", "serialized_constants.json")
# torch._export.serde.schema.ScalarType
_TYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    29: "float8_e4m3fn",
    30: "float8_e5m2",
    31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz",
    34: "uint32",
    35: "uint64",
}
_STRIDED = 7


def is_exported(archive: ZipArchive) -> bool:
    """Whether the archive is what `torch.export.save` or AOTInductor writes."""
    return any(
        name.endswith(("/archive_format", "serialized_exported_program.json")) or "/data/aotinductor/" in name
        for name in archive.names
    )


def read_exported(archive: ZipArchive) -> Contents:
    """The weights of a .pt2 archive; with several models each under its name.

    Raises NotAModelError for a package of compiled code without weights, CorruptFileError where a table is damaged.
    """
    label = archive.file.path.name
    budget, problems = Budget(label), list[str]()
    models: dict[str, dict[object, object]] = {}
    buffers: set[str] = set()
    for model, tensors in _tables(archive, budget, problems, buffers):
        models.setdefault(model, {}).update(tensors)
    if not models and any("/data/aotinductor/" in name for name in archive.names):
        raise NotAModelError(
            f"{label}: this is compiled code (AOTInductor) without readable weights; give the exported program or the "
            "checkpoint that it was compiled from"
        )
    if not models:
        raise NotAModelError(
            f"{label}: this .pt2 archive holds no table of weights; save it again with torch.export.save"
        )
    root: object = models if len(models) > 1 else next(iter(models.values()))
    found = unwrap(root, "torch.export archive", label, archive.file.size, problems)
    prefix = f"{next(iter(models))}." if len(models) == 1 else ""
    known = {
        name: LayerHint("Module", name.rpartition(".")[2], buffer=True)
        for name in found.tensors
        if prefix + name in buffers
    }
    return replace(found, hints={**known, **found.hints})


def _tables(
    archive: ZipArchive, budget: Budget, problems: list[str], buffers: set[str]
) -> Iterator[tuple[str, Mapping[object, object]]]:
    """(model, its tensors by name) for each table and each checkpoint in the archive, weights before constants.

    `buffers` takes the names of tensors that the tables say are no parameters, each behind its model's.
    """
    for directory, ending, old in (("weights", "_weights", _OLD), ("constants", "_constants", _OLD_CONSTANTS)):
        for name in archive.names:
            folder, found, last = name.rpartition(f"data/{directory}/")
            if found and last.endswith(f"{ending}_config.json"):
                model = last.removesuffix(f"{ending}_config.json")
                made, others = _table(archive, folder, found, last, budget, problems)
                buffers.update(f"{model}.{other}" for other in others)
                yield model, made
            elif (found and last.endswith(".pt")) or name in old:
                yield last.removesuffix(".pt") if found else "model", _inner(archive, name, budget, problems)


def _inner(archive: ZipArchive, name: str, budget: Budget, problems: list[str]) -> Mapping[object, object]:
    """The dictionary in a checkpoint inside the archive."""
    if archive.size(name) == 0:
        return {}
    root = load_any(archive.part(name, limit=_MAX_INNER), budget, builders(budget, problems), problems)
    return root if type(root) is dict else {}


def _table(
    archive: ZipArchive, folder: str, directory: str, name: str, budget: Budget, problems: list[str]
) -> tuple[dict[object, object], list[str]]:
    """The tensors that a table of weights or constants describes, and the names of those that are no parameters."""
    label = archive.file.path.name
    try:
        table = json.loads(archive.read(folder + directory + name, limit=_MAX_TABLE))
    except (ValueError, RecursionError):
        raise CorruptFileError(f"{label}: {name} is no proper JSON") from None
    entries = table.get("config") if isinstance(table, dict) else None
    if not isinstance(entries, dict):
        raise CorruptFileError(f"{label}: {name} holds no table of tensors")
    big_endian = is_big_endian(archive, folder)
    made: dict[object, object] = {}
    others = [tensor for tensor, entry in entries.items() if isinstance(entry, dict) and entry.get("is_param") is False]
    for tensor, entry in entries.items():
        if isinstance(entry, dict) and isinstance(entry.get("path_name"), str):
            path = folder + directory + entry["path_name"]
            if entry.get("use_pickle"):
                made[tensor] = _pickled(archive, path, budget, problems)
            else:
                made[tensor] = _raw(archive, path, entry.get("tensor_meta"), big_endian)
        else:
            raise CorruptFileError(f"{label}: {name} describes a tensor without a place")
    return made, others


def _pickled(archive: ZipArchive, path: str, budget: Budget, problems: list[str]) -> object:
    """A tensor that was saved as a checkpoint of its own; other objects are no weights."""
    try:
        root = load_any(archive.part(path, limit=_MAX_INNER), budget, builders(budget, problems), problems)
    except SourceError as error:
        return RefusedTensor(Refused((), "unknown", str(error), lost=True))
    return root if isinstance(root, TensorLike) else None


def _raw(archive: ZipArchive, path: str, meta: object, big_endian: bool) -> TensorLike:
    """A tensor whose bytes are a member of the archive."""
    if not isinstance(meta, dict):
        return RefusedTensor(Refused((), "unknown", "the table does not describe it", lost=True))
    kind = meta.get("dtype")
    dtype = _TYPES.get(kind, f"number {kind}"[:40]) if type(kind) is int else "unknown"
    shape, stride = _sizes(meta.get("sizes")), _sizes(meta.get("strides"))
    if meta.get("layout", _STRIDED) != _STRIDED:
        return RefusedTensor(Refused((), dtype, "a sparse tensor; export the model with dense weights"))
    handle = StorageHandle(dtype)
    try:
        storage = archive.storage(path)
        handle.storage = swapped(storage, dtype) if big_endian else storage
    except SourceError as error:
        handle.problem = str(error)
    return TensorParts(handle, dtype, _size(meta.get("storage_offset")), shape, stride)


def _sizes(sizes: object) -> object:
    return tuple(_size(size) for size in sizes[:65]) if isinstance(sizes, list) else None


def _size(size: object) -> object:
    """{"as_int": 3}; a symbolic size is none that a weight can have."""
    return size.get("as_int") if isinstance(size, dict) else size
