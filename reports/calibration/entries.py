"""How often the verdict on a matrix's entries is right: `python reports/calibration/entries.py [--quick]`.

Draws square matrices from laws that are known, asks `critaudit.laws.comparison.compare_entry_laws` for its verdict, and
writes `entries.md` beside this file: for every law and size, the share of each verdict with its 95 % interval (Wilson).
A Gaussian must not be called heavy; Student-t, Laplace, mixtures and row-scaled Gaussians must not be called stable.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from critaudit import __version__
from critaudit.laws.comparison import compare_entry_laws
from critaudit.laws.nulls import stable_sample

SEED = 20260
SIZES = (16, 64, 256, 1024, 2048)
REPLICATES = {16: 200, 64: 200, 256: 100, 1024: 30, 2048: 12}
Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]

# Law → how it is drawn, and the verdicts that are right about it when there is enough data.
LAWS: dict[str, tuple[Draw, tuple[str, ...]]] = {
    "Gaussian": (lambda rng, n: rng.standard_normal((n, n)), ("gaussian_not_rejected",)),
    "uniform": (lambda rng, n: rng.uniform(-1, 1, (n, n)), ("lighter_than_gaussian",)),
    "Student-t, 5 degrees": (lambda rng, n: rng.standard_t(5, (n, n)), ("heavier_not_stable", "scale_mixture")),
    "Student-t, 3 degrees": (lambda rng, n: rng.standard_t(3, (n, n)), ("heavier_not_stable", "scale_mixture")),
    "Laplace": (lambda rng, n: rng.laplace(size=(n, n)), ("heavier_not_stable", "scale_mixture")),
    "90:10 Gaussians, sd 1 and 3": (
        lambda rng, n: rng.standard_normal((n, n)) * np.where(rng.random((n, n)) < 0.1, 3.0, 1.0),
        ("scale_mixture",),
    ),
    "Gaussian, lognormal(0.3) rows": (
        lambda rng, n: rng.standard_normal((n, n)) * rng.lognormal(0, 0.3, (n, 1)),
        ("scale_mixture",),
    ),
    "stable, α = 1.9": (lambda rng, n: stable_sample(1.9, 0.0, (n, n), rng), ("stable_compatible",)),
    "stable, α = 1.5": (lambda rng, n: stable_sample(1.5, 0.0, (n, n), rng), ("stable_compatible",)),
    "stable, α = 1.2": (lambda rng, n: stable_sample(1.2, 0.0, (n, n), rng), ("stable_compatible",)),
}
VERDICTS = (
    "gaussian_not_rejected",
    "lighter_than_gaussian",
    "stable_compatible",
    "heavier_not_stable",
    "scale_mixture",
    "undetermined",
)


def main() -> None:
    """Run the study and write its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the replicates, to standard output only")
    quick = parser.parse_args().quick
    started, lines = time.perf_counter(), []
    with threadpool_limits(1):
        for name, (draw, right) in LAWS.items():
            for size in SIZES:
                count = max(3, REPLICATES[size] // 10) if quick else REPLICATES[size]
                lines.append(_row(name, draw, right, size, count))
                print(lines[-1], flush=True)
    if not quick:
        text = _page(lines, time.perf_counter() - started)
        Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")


def _row(name: str, draw: Draw, right: tuple[str, ...], size: int, count: int) -> str:
    found: Counter[str] = Counter()
    for replicate in range(count):
        rng = np.random.default_rng([SEED, sum(name.encode()), size, replicate])
        found[compare_entry_laws(draw(rng, size).astype(np.float32)).verdict] += 1
    cells = " | ".join(_share(found[verdict], count, verdict in right) for verdict in VERDICTS)
    return f"| {name} | {size}² | {count} | {cells} |"


def _share(hits: int, count: int, right: bool) -> str:
    """A share with its Wilson interval, in bold where the verdict is right."""
    if hits == 0:
        return "·"
    z, p = 1.96, hits / count
    centre = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(p * (1 - p) / count + z * z / (4 * count**2))
    text = f"{100 * p:.0f} % ({100 * (centre - half):.0f}–{100 * (centre + half):.0f})"
    return f"**{text}**" if right else text


def _page(lines: list[str], seconds: float) -> str:
    heads = [verdict.replace("_", " ") for verdict in VERDICTS]
    return "\n".join(
        [
            "# Calibration of the verdict on entries",
            "",
            f"Written by `python reports/calibration/entries.py` (critaudit {__version__}, NumPy {np.__version__}, "
            f"Python {sys.version.split()[0]}, seed {SEED}, {seconds:.0f} s on one core).",
            "",
            "Share of each verdict over independent matrices of i.i.d. entries (row scales aside), with 95 % Wilson",
            "intervals; the right ones in bold. `·` is none. For a Gaussian everything but “Gaussian not rejected” is",
            "a false positive. A small sample of a heavy law may pass for Gaussian, a Student-t for stable: that is",
            "power, not calibration. A Student-t is itself a mixture of Gaussians over scales, so both “heavier, not",
            "stable” and “scale mixture” are right about it.",
            "",
            "| law | size | n | " + " | ".join(heads) + " |",
            "|---|---|---|" + "---|" * len(heads),
            *lines,
            "",
        ]
    )


if __name__ == "__main__":
    main()
