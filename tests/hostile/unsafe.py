"""Unsafe loaders: what people use, and what runs the payload. They prove that a case's canary is live.

Each one runs in a child process of its own, in an empty working directory. An exception after the canary fired proves
as much as a result.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import pickle
import runpy
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path


class _LenientUnpickler(pickle.Unpickler):
    """What a reader that is no PyTorch does with a torch pickle: any storage and unknown classes as they come."""

    def persistent_load(self, pid: object) -> object:
        import torch

        return torch.FloatStorage(48)

    def find_class(self, module: str, name: str) -> object:
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError):
            return type(name, (dict,), {})


def _torch_load(path: Path) -> object:
    import torch

    return torch.load(path, map_location="cpu", weights_only=False)


def _beside(path: Path) -> object:
    sys.path.insert(0, str(path.parent))
    return _torch_load(path)


def _extensions(path: Path) -> object:
    import copyreg

    copyreg.add_extension("builtins", "exec", 0xF0)
    return _torch_load(path)


def _pickles(path: Path) -> list[object]:
    """Every pickle in the file, one after another."""
    loaded: list[object] = []
    with path.open("rb") as file:
        while True:
            try:
                loaded.append(_LenientUnpickler(file).load())
            except (EOFError, pickle.UnpicklingError):
                return loaded


def _member_pickles(path: Path) -> None:
    """Every pickle in a zip archive and the archives in it, found as Python's zipfile finds them."""
    _unpickle_members(path.read_bytes())


def _unpickle_members(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            inner = archive.read(member)
            if member.filename.endswith((".pkl", ".debug_pkl")):
                # A half-understood object fails after its payload ran; the next member is tried all the same.
                with contextlib.suppress(Exception):
                    _LenientUnpickler(io.BytesIO(inner)).load()
            elif zipfile.is_zipfile(io.BytesIO(inner)):
                _unpickle_members(inner)


def _jit_load(path: Path) -> object:
    import torch

    return torch.jit.load(str(path))


def _jit_forward(path: Path) -> object:
    import torch

    return torch.jit.load(str(path))(torch.ones(2))


def _export_load(path: Path) -> object:
    import torch

    return torch.export.load(str(path))


def _numpy_load(path: Path) -> object:
    import numpy as np

    loaded = np.load(path, allow_pickle=True)
    return {name: loaded[name] for name in loaded.files} if hasattr(loaded, "files") else loaded


def _tar_extract(path: Path) -> object:
    """Extraction as Python before 3.14 does it: members may leave the folder."""
    import tarfile

    with tarfile.open(path) as archive:
        archive.extractall("extracted", filter="fully_trusted")
    return None


def _zip_extract(path: Path) -> object:
    """Extraction by joining names, as many tools do (Python's own zipfile strips `..`)."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            target = Path("extracted") / member.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(member))
    return None


def _folder_checkpoints(path: Path) -> object:
    """Every checkpoint of a Hugging Face folder."""
    return [_torch_load(file) for pattern in ("*.bin", "*.pt", "*.ckpt") for file in sorted(path.glob(pattern))]


def _custom_code(path: Path) -> object:
    """`trust_remote_code=True`: every module of the folder."""
    sys.path.insert(0, str(path))
    return [runpy.run_path(str(file)) for file in sorted(path.glob("*.py"))]


def _import_packages(path: Path) -> object:
    sys.path.insert(0, str(path.parent))
    folders = sorted(folder for folder in path.parent.iterdir() if folder.is_dir())
    for folder in folders:
        sys.modules.pop(folder.name, None)
    return [importlib.import_module(folder.name) for folder in folders]


def _import_from(path: Path) -> object:
    """What `python script.py` in the hostile folder imports."""
    folder = path if path.is_dir() else path.parent
    sys.path.insert(0, str(folder))
    loaded = []
    for file in sorted(folder.glob("*.py")):
        sys.modules.pop(file.stem, None)
        loaded.append(importlib.import_module(file.stem))
    return loaded


def _site(path: Path) -> object:
    """A folder of .pth files given to the site module."""
    import site

    return site.addsitedir(str(path.parent))


def _template(path: Path) -> object:
    """A report template rendered from the working directory without a sandbox."""
    import jinja2

    loader = jinja2.FileSystemLoader(path.parent / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True)
    return [environment.get_template(name).render() for name in environment.list_templates()]


def _yaml(path: Path) -> object:
    import yaml

    return [yaml.unsafe_load(file.read_text()) for file in sorted(path.glob("*.yaml"))]


def _backend(path: Path) -> object:
    """A matplotlibrc in the working directory names a backend that is Python code beside it."""
    import os

    os.chdir(path.parent)
    sys.path.insert(0, str(path.parent))
    import matplotlib.pyplot as plt

    return plt.figure()


LOADERS: Mapping[str, Callable[[Path], object]] = {
    "torch.load": _torch_load,
    "torch.load beside": _beside,
    "extensions": _extensions,
    "pickle.load": _pickles,
    "member pickles": _member_pickles,
    "torch.jit.load": _jit_load,
    "torch.jit forward": _jit_forward,
    "torch.export.load": _export_load,
    "np.load": _numpy_load,
    "tar extraction": _tar_extract,
    "zip extraction": _zip_extract,
    "folder checkpoints": _folder_checkpoints,
    "custom code": _custom_code,
    "import": _import_from,
    "import packages": _import_packages,
    "site": _site,
    "template": _template,
    "yaml": _yaml,
    "backend": _backend,
}
