"""One model in several files: read through its index, or by the numbers in the files' names.

The index (`model.safetensors.index.json`, `pytorch_model.bin.index.json`) says which file holds which tensor. What it
promises and the files lack is lost, and said so; the rest is audited.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from critaudit.contents import Contents, LayerHint, LeftOut
from critaudit.errors import CorruptFileError, LimitExceededError, SourceError
from critaudit.sources.folders.beside import open_beside
from critaudit.sources.folders.json_file import read_json_object
from critaudit.sources.safetensors import looks_like_safetensors, read_safetensors
from critaudit.tensors import RegularFile, TensorRef
from critaudit.text import printable

MAX_INDEX_BYTES = 64_000_000
MAX_SHARDS = 500  # each is an open file
_NUMBERED = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<ending>\.\w+)", re.DOTALL)


def read_model_file(file: RegularFile) -> Contents:
    """One file of a folder, whatever its format; the content decides."""
    if looks_like_safetensors(bytes(file.read(0, min(file.size, 16)))):
        return read_safetensors(file)
    from critaudit.sources.detect import read_file

    return read_file(file)


def read_indexed(folder: Path, index_name: str) -> Contents:
    """The tensors that an index file lists, from the shards that it names. Raises SourceError for an unusable index."""
    index = read_json_object(open_beside(folder, index_name), limit=MAX_INDEX_BYTES)
    places = index.get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(shard, str) for shard in places.values()):
        raise CorruptFileError(f"{index_name}: it has no weight_map from tensor names to file names")
    return _read(folder, Counter(places.values()), places, index_name)


def numbered_shards(names: list[str]) -> tuple[list[str], list[str]] | None:
    """(present, missing) file names where `names` are the numbered parts of one model, else None."""
    found = [_NUMBERED.fullmatch(name) for name in names]
    parts = [part for part in found if part is not None]
    if (
        not parts
        or len(parts) != len(names)
        or len({(part["stem"], part["count"], part["ending"]) for part in parts}) > 1
    ):
        return None
    first, count = parts[0], int(parts[0]["count"])
    if not 0 < count <= MAX_SHARDS:
        return None
    expected = [f"{first['stem']}-{number:05d}-of-{count:05d}{first['ending']}" for number in range(1, count + 1)]
    return [name for name in expected if name in names], [name for name in expected if name not in names]


def read_numbered(folder: Path, present: list[str], missing: list[str]) -> Contents:
    """The tensors of numbered shards without an index; missing parts are named, though not what was in them."""
    contents = _read(folder, Counter(present), {}, None)
    left_out = tuple(LeftOut(name, (), "file", "this part of the model is missing", lost=True) for name in missing)
    problems = tuple(f"{name}: this part of the model is missing" for name in missing[:20])
    return Contents(
        contents.format,
        contents.tensors,
        (*contents.left_out, *left_out),
        (*problems, *contents.problems),
        contents.hints,
        contents.metadata,
    )


@dataclass(slots=True)
class _Merged:
    """What the shards hold together."""

    tensors: dict[str, TensorRef] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    hints: dict[str, LayerHint] = field(default_factory=dict)
    metadata: dict[str, object] = field(default_factory=dict)
    formats: set[str] = field(default_factory=set)

    def add(self, shard: str, contents: Contents, places: Mapping[str, str]) -> None:
        """Take over one shard's tensors; of two with one name, the one that the index points to counts."""
        for name, ref in contents.tensors.items():
            if places.get(name, shard) != shard or name in self.tensors:
                self.left_out.append(
                    LeftOut(name, ref.shape, ref.dtype, f"a second copy, in {printable(shard, limit=80)}")
                )
            else:
                self.tensors[name] = ref
        self.left_out.extend(contents.left_out)
        self.problems.extend(contents.problems)
        self.hints.update(contents.hints)
        self.metadata.update(contents.metadata)
        self.formats.add(contents.format)


def _read(folder: Path, shards: Counter[str], places: Mapping[str, str], index_name: str | None) -> Contents:
    if len(shards) > MAX_SHARDS:
        raise LimitExceededError(f"{index_name or folder.name}: {len(shards)} shards; at most {MAX_SHARDS} are opened")
    merged = _Merged()
    unreadable: dict[str, str] = {}
    for shard, promised in shards.items():
        try:
            merged.add(shard, read_model_file(open_beside(folder, shard)), places)
        except SourceError as error:
            unreadable[shard] = str(error)
            lost = f": {promised} tensors are lost" if places else ""
            merged.problems.append(f"shard {printable(str(error), limit=300)}{lost}")
    merged.left_out.extend(_lacking(merged, places, unreadable))
    if unreadable and not merged.tensors:
        raise SourceError(
            f"{folder.name}: none of its {len(shards)} shards can be read; {next(iter(unreadable.values()))}"
        )
    lacking = sum(item.reason.startswith("the index promises") for item in merged.left_out)
    if lacking:
        merged.problems.append(f"{index_name}: {lacking} tensors that it lists are not in their shards")
    kind = " and ".join(sorted(merged.formats))
    return Contents(
        format=f"{kind}, {len(shards)} shards",
        tensors=merged.tensors,
        left_out=tuple(merged.left_out),
        problems=tuple(merged.problems[:50]),
        hints=merged.hints,
        metadata=merged.metadata,
    )


def _lacking(merged: _Merged, places: Mapping[str, str], unreadable: Mapping[str, str]) -> Iterator[LeftOut]:
    """Tensors in the index that no shard gave."""
    known = {item.name for item in merged.left_out if item.lost}
    for name, shard in places.items():
        if name in merged.tensors or name in known:
            continue
        shown = printable(shard, limit=80)
        if shard in unreadable:
            yield LeftOut(name, (), "unknown", f"its shard {shown} cannot be read", lost=True)
        else:
            yield LeftOut(name, (), "unknown", f"the index promises it in {shown}, which does not hold it", lost=True)
