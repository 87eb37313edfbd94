"""How the log of a training begins (`critaudit.training` writes it): known also to those who may not load that."""

from __future__ import annotations

import os
from pathlib import Path

BEGINNING = '"schema":"critaudit.training/'
_WITHIN = 200  # bytes


def is_log(path: str | os.PathLike[str]) -> bool:
    """Whether the file begins like a Monitor's log."""
    try:
        with Path(path).open("rb") as file:
            return BEGINNING.encode() in file.read(_WITHIN)
    except OSError:
        return False


def is_log_text(text: str) -> bool:
    """The same for a text that was read."""
    return BEGINNING in text[:_WITHIN]
