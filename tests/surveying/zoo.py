"""Small zoos for the tests, and a survey of them as a process that can be killed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ONLY = ("edge",)


def make(folder: Path, count: int, *, seed: int = 0) -> list[Path]:
    """`count` tiny models, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = []
    for index in range(count):
        path = folder / f"model-{index:03d}.npz"
        np.savez(path, **{"first.weight": rng.standard_normal((6, 5)), "second.weight": rng.standard_normal((3, 6))})
        paths.append(path)
    return paths


def tables(output: Path) -> dict[str, bytes]:
    """The bytes of every table."""
    from critaudit.surveying.tables import TABLES

    return {name: (output / name).read_bytes() for name in TABLES}


def results(output: Path) -> dict[str, tuple[bytes, int]]:
    """Every result file with its bytes and the time at which it was written."""
    found = [*output.glob("reports/*.json"), *output.glob("failures/*.json")]
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def main() -> None:
    """python -m tests.surveying.zoo FOLDER OUTPUT WORKERS"""
    from critaudit.surveying import survey

    folder, output, workers = sys.argv[1:]
    found = survey(folder, output=output, only=ONLY, workers=int(workers))
    print(found.computed, found.reused, found.failed, found.pending)


if __name__ == "__main__":
    main()
