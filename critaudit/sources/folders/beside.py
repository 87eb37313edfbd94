"""Files that a model names beside itself (shards, external data): opened only inside the model's own folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from critaudit.errors import CorruptFileError, SourceError
from critaudit.tensors import RegularFile
from critaudit.text import printable


def open_beside(folder: Path, location: str) -> RegularFile:
    """Open the file called `location` in `folder`, where it may also be a link into a hub cache's `blobs` folder.

    Raises CorruptFileError where the name or a link leads elsewhere, SourceError where there is no such file.
    """
    return RegularFile(resolve_beside(folder, location))


def resolve_beside(folder: Path, location: str) -> Path:
    """The real path of the file called `location` in `folder`; see `open_beside`."""
    shown = printable(location, limit=100)
    parts = PurePosixPath(location).parts
    if (
        not location
        or "\0" in location
        or "\\" in location
        or PurePosixPath(location).is_absolute()
        or PureWindowsPath(location).drive
        or ".." in parts
    ):
        raise CorruptFileError(f"{shown}: a model may name files in its own folder only; this name leads elsewhere")
    home = folder.resolve()
    try:
        real = (folder / location).resolve(strict=True)
    except FileNotFoundError:
        raise SourceError(f"{shown}: no such file in the model's folder") from None
    except (OSError, RuntimeError):  # a link to itself is an OSError or, before Python 3.13, a RuntimeError
        raise SourceError(f"{shown}: this file of the model's folder cannot be opened") from None
    if real.is_relative_to(home) or real.parent in _blob_folders(home):
        return real
    raise CorruptFileError(f"{shown}: this link leads out of the model's folder")


def _blob_folders(home: Path) -> list[Path]:
    """Where a hub cache keeps the contents of the snapshot that `home` is (in): models--o--n/snapshots/REVISION/…"""
    return [
        ancestor.parent.parent / "blobs"
        for ancestor in (home, *home.parents)
        if ancestor.parent.name == "snapshots" and ancestor.parent.parent.name.startswith("models--")
    ]
