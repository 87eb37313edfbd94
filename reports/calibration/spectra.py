"""How often the verdict on a spectrum is right: `python reports/calibration/spectra.py [--quick]`.

Draws matrices whose origin is known, asks critaudit for the verdict that a user would see, and writes `spectra.md`
beside this file: false-positive rates on independent entries of six laws, detection rates on matrices with structure,
both with 95 % intervals (Wilson), and, on the very same matrices, what WeightWatcher calls them where it is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import importlib.util
import io
import logging
import math
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from critaudit import __version__
from critaudit.laws.moments import moments
from critaudit.laws.nulls import stable_sample
from critaudit.laws.spectral_verdict import CLAIM, LEVEL, arrangement_test, judge, stable_p_value
from critaudit.laws.spectrum import spectrum
from critaudit.laws.sphericity import noise_test
from critaudit.laws.stable import fit_stable

Matrix = NDArray[np.float32]
Draw = Callable[[np.random.Generator, int, int], NDArray[np.float64]]
SEED = 20261
REPLICATES = {(16, 16): 1000, (64, 64): 800, (100, 100): 600, (256, 128): 300, (512, 512): 120}
WATCHED = 20
STABLE_REPLICATES = 100
TRAINED = "correlated (trained) structure"


def stable(alpha: float) -> Draw:
    return lambda rng, rows, columns: stable_sample(alpha, 0.0, (rows, columns), rng)


def spiked(strength: float) -> Draw:
    """Gaussian noise and one direction, `strength` times the largest singular value that noise has."""

    def draw(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float64]:
        u, v = rng.standard_normal(rows), rng.standard_normal(columns)
        size = strength * (math.sqrt(rows) + math.sqrt(columns)) / (np.linalg.norm(u) * np.linalg.norm(v))
        return rng.standard_normal((rows, columns)) + size * np.outer(u, v)

    return draw


def correlated(coefficient: float, noise: Draw) -> Draw:
    """Neighbouring rows share a part: the correlation of entries one below the other is c/(1 + c²)."""

    def draw(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float64]:
        matrix = noise(rng, rows + 1, columns)
        return matrix[1:] + coefficient * matrix[:-1]

    return draw


NULLS: dict[str, Draw] = {
    "Gaussian": lambda rng, rows, columns: rng.standard_normal((rows, columns)),
    "uniform": lambda rng, rows, columns: rng.uniform(-1, 1, (rows, columns)),
    "Student-t, 3 degrees": lambda rng, rows, columns: rng.standard_t(3, (rows, columns)),
    "stable, α = 1.8": stable(1.8),
    "stable, α = 1.5": stable(1.5),
    "stable, α = 1.2": stable(1.2),
}
STRUCTURED: dict[str, Draw] = {
    "Gaussian + one direction, 1.0 × edge": spiked(1.0),
    "Gaussian + one direction, 1.5 × edge": spiked(1.5),
    "Gaussian, rows correlated 0.10": correlated(0.101, NULLS["Gaussian"]),
    "Gaussian, rows correlated 0.28": correlated(0.3, NULLS["Gaussian"]),
    "stable 1.5, rows mixed by 0.3": correlated(0.3, stable(1.5)),
}


def main() -> None:
    """Run the study and write its report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the replicates, printed and not written")
    quick = parser.parse_args().quick
    started = time.process_time()
    with threadpool_limits(1):
        lines = [*_verdicts(quick), *_stable(quick), *_watched(5 if quick else WATCHED)]
    seconds = time.process_time() - started
    text = "\n".join([*_head(seconds), *lines, ""])
    if quick:
        print(text)
        return
    target = Path(__file__).with_suffix(".md")
    target.write_text(text, encoding="utf-8")
    print(f"written: {target.name} after {seconds:.0f} s of processor time")


def _head(seconds: float) -> list[str]:
    versions = f"critaudit {__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}"
    return [
        "# Calibration of the verdict on spectra",
        "",
        f"`python reports/calibration/spectra.py`, seed {SEED}, {datetime.date.today().isoformat()}, {versions}; "
        f"{seconds:.0f} s of processor time on one thread.",
        "",
        f"A matrix is *called trained* where its normal scores are more unequal than noise at {CLAIM:.0%}, *not called "
        f"random* where they differ from noise at {LEVEL:.0%} (`spectrum.shuffled_p`); *not Gaussian* where its own "
        f"singular values differ from Gaussian noise at {LEVEL:.0%} (`spectrum.null_p`). "
        "Per cent, with 95 % intervals (Wilson).",
        "",
    ]


def _verdicts(quick: bool) -> list[str]:
    lines = []
    for title, laws in (("False positives: independent entries", NULLS), ("Detection: structure", STRUCTURED)):
        lines += [
            f"## {title}",
            "",
            "| entries | shape | matrices | called trained | not called random | not Gaussian |",
        ]
        lines.append("|---|---|--:|--:|--:|--:|")
        for law, draw in laws.items():
            for (rows, columns), replicates in REPLICATES.items():
                n = max(10, replicates // 10) if quick else replicates
                rng = np.random.default_rng([SEED, *law.encode(), rows, columns])
                found = Counter[str]()
                for _ in range(n):
                    found.update(_judged(draw(rng, rows, columns).astype(np.float32), rng))
                shares = " | ".join(_share(found[name], n) for name in ("trained", "not random", "not Gaussian"))
                lines.append(f"| {law} | {rows}×{columns} | {n} | {shares} |")
                print(lines[-1], file=sys.stderr, flush=True)
        lines.append("")
    return lines


def _judged(matrix: Matrix, rng: np.random.Generator) -> list[str]:
    """What the audit says of a matrix, by the functions that it uses."""
    rows, columns = matrix.shape
    values = spectrum(matrix).singular_values
    gaussian = noise_test(values, rows, columns)
    ranks, _ = arrangement_test(matrix[np.newaxis], moments(matrix), values, rng)
    verdict, _ = judge(gaussian, ranks)
    said = {"trained": verdict == TRAINED, "not random": ranks.p < LEVEL, "not Gaussian": gaussian.p < LEVEL}
    return [name for name, true in said.items() if true]


def _stable(quick: bool) -> list[str]:
    """The p-value against stable entries of the fitted α: on stable matrices one of twenty may be below 0.05."""
    n = 20 if quick else STABLE_REPLICATES
    lines = ["## Against stable entries of the fitted α (`spectrum.stable_p`, two-sided)", ""]
    lines += ["| entries | shape | matrices | p ≤ 0.05 |", "|---|---|--:|--:|"]
    for alpha in (1.8, 1.5, 1.2):
        rng = np.random.default_rng([SEED, round(10 * alpha)])
        low = 0
        for _ in range(n):
            matrix = stable_sample(alpha, 0.0, (64, 64), rng).astype(np.float32)
            low += stable_p_value(spectrum(matrix).singular_values, 64, 64, fit_stable(matrix).alpha) <= LEVEL
        lines.append(f"| stable, α = {alpha} | 64×64 | {n} | {_share(low, n)} |")
    return [*lines, ""]


def _watched(n: int) -> list[str]:
    """The same untrained matrices through WeightWatcher with its defaults (its own lower limits on sizes lifted)."""
    if importlib.util.find_spec("weightwatcher") is None:
        return ["WeightWatcher was not installed for this run.", ""]
    version = importlib.metadata.version("weightwatcher")
    lines = [f"## The same {n} untrained matrices beside WeightWatcher {version}", ""]
    lines += [
        "| entries | shape | WeightWatcher: over-trained | under-trained | no warning | no fit | critaudit: trained |"
    ]
    lines.append("|---|---|--:|--:|--:|--:|--:|")
    for law, size in (("Gaussian", 16), ("Gaussian", 100), ("Gaussian", 512), ("stable, α = 1.2", 512)):
        rng = np.random.default_rng([SEED, size, len(law)])
        matrices = [NULLS[law](rng, size, size).astype(np.float32) / np.float32(math.sqrt(size)) for _ in range(n)]
        said = _weightwatcher(matrices)
        trained = sum("trained" in _judged(matrix, rng) for matrix in matrices)
        cells = " | ".join(str(said[name]) for name in ("over-trained", "under-trained", "", "no fit"))
        lines.append(f"| {law} | {size}×{size} | {cells} | {trained} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return [*lines, ""]


def _weightwatcher(matrices: list[Matrix]) -> Counter[str]:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        import weightwatcher  # type: ignore[import-untyped]

        logging.getLogger("weightwatcher").setLevel(logging.ERROR)
        layers = []
        for matrix in matrices:
            layer = torch.nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
            layer.weight.data = torch.from_numpy(matrix)
            layers.append(layer)
        details = weightwatcher.WeightWatcher(model=torch.nn.Sequential(*layers)).analyze(min_evals=2)
    found = Counter[str]()
    for alpha, warning in zip(details["alpha"], details["warning"], strict=True):
        found[str(warning) if alpha > 0 else "no fit"] += 1
    found["no fit"] += len(matrices) - len(details)
    return found


def _share(k: int, n: int) -> str:
    """A share in per cent with its Wilson interval."""
    z = 1.959963984540054
    middle, half = (k + z * z / 2) / (n + z * z), z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    return f"{100 * k / n:.1f} ({100 * max(0.0, middle - half):.1f}–{100 * min(1.0, middle + half):.1f})"


if __name__ == "__main__":
    main()
