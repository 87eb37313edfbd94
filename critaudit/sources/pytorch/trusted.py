"""What `--trust` does: let PyTorch load the file, **running whatever code is in it**, to get a network that runs."""

from __future__ import annotations

import zipfile
from pathlib import Path

from critaudit.contents import Contents
from critaudit.errors import NotAModelError, SourceError
from critaudit.sources.live.reader import read_live
from critaudit.text import kind_of


def read_trusted(path: Path) -> Contents:
    """Load `path` with `torch.load` or `torch.jit.load` and take the module or state dict in it.

    Unpickling imports and calls whatever the file names: only for files whose author you trust. Raises SourceError
    where PyTorch cannot load it.
    """
    import torch

    try:
        loaded = (
            torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
            if _is_torchscript(path)
            else torch.load(path, map_location="cpu", weights_only=False)
        )
    except Exception as error:  # the file's own code ran: anything can come out of it
        raise SourceError(f"{path.name}: PyTorch cannot load it: {type(error).__name__}: {error}") from None
    if not isinstance(loaded, (torch.nn.Module, dict)):
        raise NotAModelError(f"{path.name}: it holds {kind_of(loaded)}, not a module or a state dict")
    return read_live(loaded, name=path.name)


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())
