"""What a hostile case is: how its file is made, what must come of auditing it, what proves that its canary is live."""

from __future__ import annotations

import os
import shlex
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Outcome: TypeAlias = Literal["audited", "partial", "refused"]

AUDITED: frozenset[Outcome] = frozenset({"audited"})
PARTIAL: frozenset[Outcome] = frozenset({"partial"})
REFUSED: frozenset[Outcome] = frozenset({"refused"})
# Where a cut or a contradiction may fall on either side of the first readable tensor.
NOT_WHOLE: frozenset[Outcome] = frozenset({"partial", "refused"})
# Where several readings are honest, and what is tested is that nothing runs, hangs or crashes.
ANY: frozenset[Outcome] = frozenset({"audited", "partial", "refused"})

EXIT_CODES: dict[Outcome, int] = {"audited": 0, "partial": 4, "refused": 3}


@dataclass(frozen=True, slots=True)
class Site:
    """Where a case is built: an empty folder of its own, and the canary that exists only if a payload ran.

    A payload reports by creating the file `canary`, by setting the environment variable `variable`, or by adding the
    canary's path to `sys.path`.
    """

    folder: Path
    canary: Path

    @property
    def command(self) -> str:
        """A shell command that fires the canary."""
        return f"touch {shlex.quote(str(self.canary))}"

    @property
    def python(self) -> str:
        """A Python statement, also valid as an expression, that fires the canary."""
        return f"open({str(self.canary)!r}, 'w').close()"

    @property
    def variable(self) -> str:
        """The environment variable that a payload may set instead."""
        return "CRITAUDIT_CANARY"

    def fired(self) -> bool:
        """Whether a payload ran, as seen from the process that would have run it."""
        return self.canary.exists() or self.variable in os.environ or str(self.canary) in sys.path

    def file(self, name: str, data: bytes | str) -> Path:
        """Write a file of the case, with the folders above it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile source. `build` makes it in a site and returns the path to audit.

    `expected` holds the outcomes that are right. `proof` names the unsafe loader (see `unsafe.py`) that fires the
    canary, where the case carries a payload. `mode` says how it is audited: from an empty working directory, from the
    case's own folder (`inside`), or by an unprivileged user (`nobody`). `raw` are texts that must never reach a
    terminal or a page as they are.
    """

    name: str
    category: str
    attack: str
    build: Callable[[Site], Path]
    expected: frozenset[Outcome] = REFUSED
    proof: str | None = None
    mode: Literal["file", "inside", "nobody"] = "file"
    raw: tuple[str, ...] = ()


def visible(text: str) -> bool:
    """Whether a text has only characters that are seen: Python's own test, which takes wide spaces for unprintable."""
    return all(character.isprintable() or unicodedata.category(character) == "Zs" for character in text)
