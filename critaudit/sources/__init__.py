"""Sources: from a path, a hub name, a factory or a live module to the model view. Code from a file never runs."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from critaudit.contents import Contents
from critaudit.errors import NotAModelError, SourceError, UsageError
from critaudit.model import Architecture, ModelView, SourceInfo
from critaudit.sources.folders.shards import MAX_INDEX_BYTES
from critaudit.tensors import RegularFile, TensorRef
from critaudit.text import printable

if TYPE_CHECKING:
    from torch import nn

    Source: TypeAlias = str | os.PathLike[str] | nn.Module | Mapping[str, object]

_FACTORY = re.compile(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*")
_CHUNK = 1 << 20
_FOLDER_FILES = frozenset({".safetensors", ".bin", ".pt", ".pth", ".json", ".onnx", ".npz", ".ckpt"})


def load(
    source: Source,
    *,
    arch: str | None = None,
    activation: str | None = None,
    random_weights: bool = False,
    trust: bool = False,
    seed: int = 0,
) -> ModelView:
    """Open `source` without reading its weights and say what is in it.

    `source` is a file or folder, `timm:NAME`, `torchvision:NAME`, `hf:ORG/NAME`, `package.module:factory`, an nn.Module
    or a state dict. `arch` names the architecture where names and shapes do not tell; `activation` is the nonlinearity
    of a chain of layers; `random_weights` takes a hub's architecture untrained (seeded by `seed`). `trust` lets PyTorch
    unpickle the file, **which runs any code in it**, so that a whole saved module can be run.

    Raises SourceError where nothing can be audited and UsageError where the options do not fit.
    """
    contents, info = _open(source, random_weights=random_weights, trust=trust, seed=seed)
    return _view(contents, info, arch=arch, activation=activation)


def _view(contents: Contents, info: SourceInfo, *, arch: str | None, activation: str | None) -> ModelView:
    from critaudit.sources.recognition.recognise import recognise
    from critaudit.structure import arrange

    named = contents.metadata.get("activation")
    known = activation or (named if isinstance(named, str) else None)
    hints = dict(contents.hints)
    runnable = contents.runnable
    if runnable is not None and arch is None:
        architecture = Architecture(contents.architecture, "given", "the source is the network itself")
    else:
        recognition = recognise(contents.tensors, arch=arch, activation=known)
        runnable, architecture = recognition.runnable, recognition.architecture
        hints |= recognition.hints
    if activation is not None:
        hints = {name: replace(hint, activation=hint.activation or activation) for name, hint in hints.items()}
    matrices, ledger = arrange(contents.tensors, hints, contents.left_out)
    if not ledger:
        raise NotAModelError(
            f"{info.name}: no tensors were found in this {info.format}; a file with weights is expected"
        )
    lost = tuple(f"{entry.name}: {entry.reason}" for entry in ledger if entry.status == "lost")
    if not matrices and lost and all(entry.status == "lost" for entry in ledger):
        raise SourceError(f"{info.name}: none of its {len(lost)} tensors can be read; first {lost[0]}")
    problems = tuple(printable(problem, limit=400) for problem in contents.problems)
    return ModelView(
        source=info,
        architecture=architecture,
        matrices=matrices,
        ledger=ledger,
        problems=problems or lost[:20],
        metadata=contents.metadata,
        runnable=runnable,
        biases=_biases(contents.tensors),
    )


def _biases(tensors: Mapping[str, TensorRef]) -> dict[str, TensorRef]:
    """For each weight that has a bias beside it, by the weight's printable name: the bias."""
    found = {}
    for name in tensors:
        if name.endswith("weight") and (bias := tensors.get(name.removesuffix("weight") + "bias")) is not None:
            found[printable(name)] = bias
    return found


def _open(source: Source, *, random_weights: bool, trust: bool, seed: int) -> tuple[Contents, SourceInfo]:
    if not isinstance(source, (str, os.PathLike)):
        from critaudit.sources.live.reader import read_live

        contents = read_live(source)
        return contents, SourceInfo(printable(type(source).__name__), contents.format, None, None)
    text = os.fspath(source)
    named = _by_name(text, random_weights=random_weights, seed=seed) if isinstance(source, str) else None
    if named is not None:
        return named, SourceInfo(printable(text), named.format, None, None)
    if random_weights:
        raise UsageError("--random-weights needs a name such as timm:resnet18; this source has weights of its own")
    path = Path(text)
    found = _by_path(path, trust=trust)
    return found, SourceInfo(printable(path.name or text), found.format, path, _size(path))


def _by_name(text: str, *, random_weights: bool, seed: int) -> Contents | None:
    """What a hub or a factory of the user's gives; None where the text is no such name."""
    from critaudit.sources.hub import reader as hub

    prefix, _, name = text.partition(":")
    if prefix == "timm":
        return hub.read_timm(name, random_weights=random_weights, seed=seed)
    if prefix == "torchvision":
        return hub.read_torchvision(name, random_weights=random_weights, seed=seed)
    if random_weights:
        return None
    if prefix == "hf":
        return hub.read_huggingface(name)
    if _FACTORY.fullmatch(text) and _mode(text) is None:
        from critaudit.sources.live.factory import read_factory

        return read_factory(text)
    return None


def _by_path(path: Path, *, trust: bool) -> Contents:
    if trust:
        from critaudit.sources.pytorch.trusted import read_trusted

        return read_trusted(path)
    if stat.S_ISDIR(_mode(os.fspath(path)) or 0):
        from critaudit.sources.folders.folder import read_folder

        return read_folder(path)
    from critaudit.sources.detect import read_file

    return read_file(RegularFile(path))


def _mode(path: str) -> int | None:
    """What kind of thing lies there; None where nothing does or we may not ask (opening it then says why)."""
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):
        return None


def fingerprint(path: Path) -> str | None:
    """SHA-256 of the file; for a folder, of the sorted `digest name` lines of its model files and configurations.

    None for a large file that is mostly holes: a terabyte of nothing costs its maker nothing, and its reader an hour.
    """
    if not path.is_dir():
        return None if _is_hollow(path) else _digest(path)
    members = sorted(member for member in path.rglob("*") if member.suffix in _FOLDER_FILES and _is_read(member))
    lines = [f"{_digest(member)} {member.relative_to(path).as_posix()}" for member in members]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _is_read(member: Path) -> bool:
    """Whether a file of a folder can be a part of its model: larger indices and configurations are never opened."""
    if not member.is_file() or _is_hollow(member):
        return False
    return member.suffix != ".json" or member.stat().st_size <= MAX_INDEX_BYTES


def _is_hollow(path: Path) -> bool:
    status = path.stat()
    blocks = getattr(status, "st_blocks", None)
    return status.st_size > 2**30 and blocks is not None and blocks * 512 < status.st_size // 2


def _digest(path: Path) -> str:
    file, digest = RegularFile(path), hashlib.sha256()
    for start in range(0, file.size, _CHUNK):
        digest.update(file.read(start, min(_CHUNK, file.size - start)))
    file.close()
    return digest.hexdigest()


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(
        member.stat().st_size for member in path.rglob("*") if member.suffix in _FOLDER_FILES and member.is_file()
    )
