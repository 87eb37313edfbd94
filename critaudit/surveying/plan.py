"""Which models a survey is about: folders, patterns, list files and names of hub models, spelled out one by one."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from critaudit.errors import UsageError
from critaudit.sources.folders.folder import holds_one_model, may_be_a_model

_WILD = frozenset("*?[")
_LIBRARIES = ("timm", "torchvision")
_MAX_MODELS = 1_000_000


def expand(sources: Iterable[str | os.PathLike[str]], *, random_weights: bool = False) -> tuple[str, ...]:
    """Every single source that `sources` mean, in their order and each once.

    A folder means all model files below it, in the order of their names; a folder that is itself one model (Hugging
    Face's, shards with an index) counts as one. `*`, `?`, `[…]` and `**` are patterns for files and folders, and for
    names after `timm:` and `torchvision:` (of pretrained networks, unless `random_weights`). `@FILE` is a list: one
    source per line, relative to the folder of the list; empty lines and those that begin with # are skipped. Anything
    else is taken as it is. Raises UsageError where a pattern, a folder or a list means nothing.
    """
    found: dict[str, None] = {}
    for source in sources:
        for one in _expanded(os.fspath(source), random_weights):
            found[one] = None
            if len(found) > _MAX_MODELS:
                raise UsageError(f"the sources mean more than {_MAX_MODELS:,} models; survey them in parts")
    if not found:
        raise UsageError("no sources were given; name folders, files, patterns, lists (@FILE) or timm:… names")
    return tuple(found)


def _expanded(source: str, random_weights: bool) -> Iterator[str]:
    library, _, name = source.partition(":")
    if source.startswith("@"):
        yield from _listed(Path(source[1:]), random_weights)
    elif library in _LIBRARIES and _WILD & set(name):
        yield from _named(library, name, random_weights)
    elif _WILD & set(source) and not Path(source).exists():
        yield from _matching(source)
    elif Path(source).is_dir():
        models = list(_below(Path(source)))
        if not models:
            raise UsageError(f"{source}: no model files are in or below this folder")
        yield from map(os.fspath, models)
    else:
        yield source


def _listed(path: Path, random_weights: bool) -> Iterator[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no UTF-8 text"
        raise UsageError(f"@{path}: this list cannot be read ({reason}); one source per line is expected") from None
    sources = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    if not sources:
        raise UsageError(f"@{path}: this list holds no sources; one per line is expected")
    for line in sources:
        if line.startswith("@"):
            raise UsageError(f"@{path}: it names another list, {line}; give that one on the command line, too")
        beside = path.parent / line
        is_path = not Path(line).is_absolute() and (beside.exists() or (":" not in line and _WILD & set(line)))
        yield from _expanded(os.fspath(beside) if is_path else line, random_weights)


def _named(library: str, pattern: str, random_weights: bool) -> Iterator[str]:
    names = _names(library, random_weights)
    matching = [name for name in names if fnmatchcase(name, pattern)]
    if not matching:
        kind = "networks" if random_weights else "pretrained networks"
        raise UsageError(f"{library}:{pattern}: none of the {len(names):,} {kind} of {library} is called so")
    for name in matching:
        yield f"{library}:{name}"


def _names(library: str, random_weights: bool) -> list[str]:
    if library == "timm":
        import timm

        return sorted(timm.list_models() if random_weights else {n.partition(".")[0] for n in timm.list_pretrained()})
    from torchvision import models

    names: list[str] = models.list_models()
    if random_weights:
        return names
    return [name for name in names if len(models.get_model_weights(name))]


def _matching(pattern: str) -> Iterator[str]:
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 – Path.glob takes no absolute patterns
    models = [path for path in found if Path(path).is_dir() or may_be_a_model(Path(path).name)]
    if not models:
        ending = f", {len(found)} of other kinds do" if found else ""
        raise UsageError(f"{pattern}: no model file or folder matches{ending}")
    for path in models:
        if not Path(path).is_dir():
            yield path
        elif any(other != path and other.startswith(f"{path}{os.sep}") for other in models):
            continue  # `**` names a folder and its contents
        else:
            yield from (os.fspath(model) for model in _below(Path(path)))


def _below(folder: Path) -> Iterator[Path]:
    """The models in and below a folder. Links to folders are not followed, hidden entries are left out."""
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise UsageError(f"{folder}: this folder cannot be listed ({error.strerror})") from None
    files = [entry.name for entry in entries if entry.is_file()]
    if holds_one_model(files):
        yield folder
        return
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            yield from _below(entry)
        elif entry.is_file() and may_be_a_model(entry.name):
            yield entry
