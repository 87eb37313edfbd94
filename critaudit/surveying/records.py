"""What a survey is made of: models to audit, how, within which limits, and what came of each."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeAlias

from critaudit import __version__
from critaudit.text import printable

Kind: TypeAlias = Literal["audited", "refused", "crashed", "timeout", "memory", "changed"]


@dataclass(frozen=True, slots=True)
class Audit:
    """How every model of a survey is audited: the options of `critaudit.audit`, those that a result depends on."""

    only: tuple[str, ...] | None = None
    activation: str | None = None
    inputs: str | None = None
    random_weights: bool = False
    seed: int = 0
    samples: int = 16
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one model may take: wall-clock seconds, and bytes of private memory (None: no limit)."""

    seconds: float = 3600.0
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One audit of a survey. `source` is as `critaudit.load` takes it; `key` identifies the result.

    Equal keys mean equal results: the key is made of the content (or the name and version of a hub's model), of this
    version of critaudit and of the settings. `sha256` is the content's, None for names.
    """

    key: str
    source: str
    sha256: str | None
    audit: Audit


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task: the report's JSON and its page, or the `reason` in one line why there is none.

    `rows` is the report's part of the tables (`surveying.tables.packed_rows`). `seconds` and `peak_memory` (bytes) are
    this run's; tables leave them out, since no two runs agree on them. `worked` of the seconds went into the audit,
    its report and its page; the rest is the worker's start and end.
    """

    key: str
    source: str
    kind: Kind
    report: bytes | None
    page: bytes | None
    reason: str | None
    seconds: float
    peak_memory: int | None
    rows: bytes | None = None
    worked: float = 0.0


def identity(source: str, audit: Audit) -> dict[str, Any]:
    """What tells this source's content from others': a digest for files and folders, name and versions for names.

    Raises SourceError where the file cannot be read.
    """
    from critaudit.sources import fingerprint

    path = Path(source)
    prefix = source.partition(":")[0]
    if not path.exists() and prefix in ("timm", "torchvision"):
        return {"name": source, prefix: _version(prefix), "random_weights": audit.random_weights}
    if not path.exists() and ":" in source:
        return {"name": source, "code": _code(source.partition(":")[0])}
    return {"sha256": fingerprint(path)}


def task_for(source: str, audit: Audit) -> Task:
    """The task of auditing `source`. Raises SourceError and OSError where its content cannot be read."""
    known = identity(source, audit)
    inputs = None
    if audit.inputs is not None:
        inputs = identity(audit.inputs, audit)
    return Task(_key(known, audit, inputs), source, known.get("sha256"), audit)


def unreadable(source: str, audit: Audit) -> Task:
    """The task of a source whose content cannot even be read: its key is that of its name."""
    return Task(_key({"unreadable": source}, audit, None), source, None, audit)


def _key(known: Mapping[str, Any], audit: Audit, inputs: object) -> str:
    settings = {**asdict(audit), "inputs": inputs}
    text = json.dumps([known, settings, __version__], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _code(module: str) -> str | None:
    """Digest of the file of a factory's module, found without importing it; None for what is no module on the path."""
    parts = Path(*module.split("."))
    for folder in sys.path:
        for candidate in (Path(folder, parts).with_suffix(".py"), Path(folder, parts, "__init__.py")):
            if candidate.is_file():
                return hashlib.sha256(candidate.read_bytes()).hexdigest()
    return None


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def one_line(text: object, limit: int = 400) -> str:
    """Text from a worker, printable and in one line."""
    return printable(" ".join(str(text).split()), limit=limit)
