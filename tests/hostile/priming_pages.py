"""Imported by a warm process before it forks: one run of the whole command line, pages included."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import torch

import tests.hostile.priming as reader  # noqa: F401  (the reader's caches too)
from critaudit.cli import main
from tests.hostile.cases_truncated import good_files

torch.set_num_threads(1)  # a process with threads must not fork
with tempfile.TemporaryDirectory(prefix="critaudit-priming-") as name, Path(os.devnull).open("w") as nothing:
    file, data = good_files()["zip"]
    path = Path(name) / file
    path.write_bytes(data)
    arguments = [str(path), "-o", f"{name}/report.html", "--json", f"{name}/report.json"]
    with contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing), contextlib.suppress(SystemExit):
        main(arguments)
