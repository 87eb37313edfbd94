"""What a survey costs beyond its audits, and whether the parent's memory stays flat.

    python benchmarks/survey.py [--models 100] [--tiny 1000]

Overhead: the wall time of a survey with one worker over the seconds that its audits themselves took, on models of one
second each (the workers' start included), after the first model (whose worker waits for the imports). Memory: the
parent's resident size while 1,000 tiny models pass. Exits with 1 where a limit (5 %, 50 MB) is missed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from critaudit.surveying import Progress, survey

_OVERHEAD, _GROWTH = 0.05, 50e6


def _zoo(folder: Path, count: int, sides: tuple[int, ...]) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        layers = {
            f"{place}.weight": rng.standard_normal((side, side), dtype=np.float32) for place, side in enumerate(sides)
        }
        np.savez(folder / f"{index:05d}.npz", **layers)
    return folder


def _resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmRSS in /proc/self/status")


def overhead(scratch: Path, models: int) -> float:
    """(wall − audits) / audits over all models but the first."""
    folder = _zoo(scratch / "medium", models, (512,) * 6)
    times: list[float] = []
    watch = lambda _: times.append(time.perf_counter())  # noqa: E731
    found = survey(folder, output=scratch / "medium-out", workers=1, progress=watch)
    work = sum(report.provenance.seconds for _, report in list(found.reports())[1:])
    wall = times[-1] - times[1]
    print(f"{models} models of {work / (models - 1):.2f} s: wall {wall:.1f} s, audits {work:.1f} s")
    return (wall - work) / work


def growth(scratch: Path, models: int) -> float:
    """Largest minus smallest resident size of this process after the first tenth of the models, in bytes."""
    sizes: list[int] = []

    def watch(progress: Progress) -> None:
        if progress.done >= models // 10:
            sizes.append(_resident())

    started = time.perf_counter()
    folder = _zoo(scratch / "tiny", models, (6, 5))
    found = survey(folder, output=scratch / "tiny-out", only=["edge"], progress=watch)
    sizes.append(_resident())
    seconds = time.perf_counter() - started
    print(f"{len(found)} tiny models: {seconds:.0f} s, {1e3 * seconds / models:.0f} ms each with 1 worker per core")
    return max(sizes) - min(sizes)


def main() -> int:
    """Run both and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--tiny", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        share = overhead(Path(scratch), options.models)
        more = growth(Path(scratch), options.tiny)
    print(f"overhead {share:.1%} of the work (limit {_OVERHEAD:.0%})")
    print(f"parent's memory: {more / 1e6:.0f} MB between its extremes (limit {_GROWTH / 1e6:.0f} MB)")
    return int(share > _OVERHEAD or more > _GROWTH)


if __name__ == "__main__":
    raise SystemExit(main())
