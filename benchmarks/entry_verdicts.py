"""How often the verdict on a weight matrix's entries is right: laws with a known answer, from 16² to 2048² entries.

    python benchmarks/entry_verdicts.py [--share 1.0] [--output reports/entry_verdicts.md]

`--share` scales the number of replicates. Seeded: the table does not depend on the machine.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from critaudit.laws.comparison import compare_entry_laws

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]

SIZES = {16: 200, 64: 200, 256: 100, 1024: 20, 2048: 6}


def stable(alpha: float) -> Draw:
    """Symmetric stable matrices (Chambers, Mallows & Stuck 1976)."""

    def draw(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
        shape = (size, size)
        angle, waiting = rng.uniform(-math.pi / 2, math.pi / 2, shape), rng.exponential(size=shape)
        left = np.sin(alpha * angle) / np.cos(angle) ** (1 / alpha)
        values: NDArray[np.float64] = left * (np.cos((1 - alpha) * angle) / waiting) ** ((1 - alpha) / alpha)
        return values

    return draw


LAWS: dict[str, tuple[str, Draw]] = {
    "Gaussian": ("gaussian_not_rejected", lambda rng, size: rng.standard_normal((size, size))),
    "uniform": ("lighter_than_gaussian", lambda rng, size: rng.uniform(-1, 1, (size, size))),
    "Student-t, 3": ("heavier_not_stable", lambda rng, size: rng.standard_t(3, (size, size))),
    "Student-t, 5": ("heavier_not_stable", lambda rng, size: rng.standard_t(5, (size, size))),
    "Laplace": ("heavier_not_stable", lambda rng, size: rng.laplace(size=(size, size))),
    "90/10 mixture, sd 1 and 3": (
        "scale_mixture",
        lambda rng, size: rng.standard_normal((size, size)) * np.where(rng.uniform(size=(size, size)) < 0.1, 3.0, 1.0),
    ),
    "Gaussian, rows × lognormal(0.3)": (
        "scale_mixture",
        lambda rng, size: rng.standard_normal((size, size)) * np.exp(0.3 * rng.standard_normal((size, 1))),
    ),
    "stable 1.2": ("stable_compatible", stable(1.2)),
    "stable 1.5": ("stable_compatible", stable(1.5)),
    "stable 1.8": ("stable_compatible", stable(1.8)),
    "stable 1.95": ("stable_compatible", stable(1.95)),
}


def main() -> None:
    """Draw, judge, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    lines = [
        "# Verdicts on the entries of random matrices with a known law",
        "",
        "Made by `python benchmarks/entry_verdicts.py --output reports/entry_verdicts.md` (seeded). Each cell:",
        "verdicts in per cent of the replicates, the right one in bold. Below 1,000 entries a law that is heavier",
        "than the Gaussian is left `undetermined` on purpose.",
        "",
        "| law | " + " | ".join(f"{size}²" for size in SIZES) + " |",
        "|---|" + "---|" * len(SIZES),
    ]
    start = time.perf_counter()
    for index, (name, (right, draw)) in enumerate(LAWS.items()):
        cells = []
        for size, replicates in SIZES.items():
            rng = np.random.default_rng([77, index, size])
            count = max(2, round(arguments.share * replicates))
            found = Counter(
                compare_entry_laws(draw(rng, size).astype(np.float32)).verdict for _ in range(count)
            ).most_common()
            shown = [f"{verdict.replace('_', ' ')} {100 * times / count:.0f}" for verdict, times in found]
            cells.append(", ".join(f"**{text}**" if found[k][0] == right else text for k, text in enumerate(shown)))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    lines += ["", "Replicates: " + ", ".join(f"{size}²: {count}" for size, count in SIZES.items()) + "."]
    print(f"{time.perf_counter() - start:.0f} s")
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
