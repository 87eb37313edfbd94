"""Imported by a warm process before it forks: one audit of every good file, so that every cache is warm."""

from __future__ import annotations

import tempfile
from pathlib import Path

from critaudit.auditing import audit
from tests.hostile.cases_truncated import good_files

with tempfile.TemporaryDirectory(prefix="critaudit-priming-") as name:
    for file, data in good_files().values():
        path = Path(name) / file
        path.write_bytes(data)
        audit(path, only=["entries", "edge"])
