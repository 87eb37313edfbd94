"""Whether an installed library can know a network's name, told without importing it: torch and timm take seconds."""

from __future__ import annotations

import re
import sys
from importlib import metadata, util
from pathlib import Path

from critaudit.sources.recognition.architectures import packaged_index

_NAME = re.compile(r"\w{1,200}", re.ASCII)


def surely_unknown(library: str, name: str) -> bool:
    """Whether the installed `library` ("timm", "torchvision") has no network called `name`, surely.

    It is sure where the packaged index was made from this very version, does not have the name, and the library's
    sources do not spell it either (the index leaves out deprecated and quantised networks). It is never sure of a
    library that is imported already: networks may have been registered with it.
    """
    if library in sys.modules or _version(library) != indexed_version(library):
        return False
    if any(known.name == name and known.library == library for known in packaged_index().networks):
        return False
    return not _NAME.fullmatch(name) or not _is_spelled(library, name)


def known_names(library: str) -> list[str]:
    """The names of the library's networks in the packaged index."""
    return [known.name for known in packaged_index().networks if known.library == library]


def indexed_version(library: str) -> str | None:
    """The version of the library that the packaged index was made from."""
    return packaged_index().versions.get(library)


def _version(library: str) -> str:
    try:
        return metadata.version(library).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "not installed"


def _is_spelled(library: str, name: str) -> bool:
    """Whether the library's models have a function `name`, or the text as a key or last argument, as registering does.

    True where the sources cannot be read.
    """
    spec = util.find_spec(library)
    folders = [] if spec is None else [Path(place, "models") for place in spec.submodule_search_locations or ()]
    files = [file for folder in folders for file in folder.rglob("*.py")]
    pattern = re.compile(rb"\bdef %b\(|['\"]%b['\"]\s*[:)]" % ((name.encode(),) * 2))
    try:
        return not files or any(pattern.search(file.read_bytes()) for file in files)
    except OSError:
        return True
