"""Where Gaussian noise stands for a shuffle: `python reports/calibration/shuffles.py [SOURCE …]`, about four minutes.

The entries of a matrix are shuffled to see what they do without correlations. Where they are light-tailed
(`spectral_verdict.shuffles_to_noise`), the audit takes Gaussian noise of the same size and norm instead. This draws
matrices of known laws, many of them at the limits of that condition, compares each with 19 shuffles and with noise, and
writes `shuffles.md` beside this file. SOURCE: files with trained weights, compared in the same way.
"""

from __future__ import annotations

import datetime
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from threadpoolctl import threadpool_limits

import critaudit
from critaudit.laws.moments import moments
from critaudit.laws.spectral_verdict import Shuffled, compare_noise, compare_shuffled, shuffles_to_noise
from critaudit.laws.spectrum import spectrum

Draw = Callable[[np.random.Generator, int, int], NDArray[np.float64]]
SEED = 20263
SHUFFLES = 19
REPLICATES = {(64, 64): 300, (64, 576): 200, (128, 128): 200, (384, 384): 100, (1152, 384): 50}
OF_TRAINED = 5


def entry_at_the_limit(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float64]:
    """Gaussian, and one entry as large as the condition allows."""
    matrix = rng.standard_normal((rows, columns))
    matrix[0, 0] = 0.49 * (rows * columns) ** 0.25
    return matrix


def mean_at_the_limit(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float64]:
    """Gaussian around the largest mean that the condition allows."""
    matrix = rng.standard_normal((rows, columns))
    matrix += 0.49 * (rows * columns) ** -0.25 - matrix.mean()
    return matrix


def spiked(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float64]:
    """Gaussian and one direction, 1.5 times the edge of noise."""
    u, v = rng.standard_normal(rows), rng.standard_normal(columns)
    size = 1.5 * (math.sqrt(rows) + math.sqrt(columns)) / (np.linalg.norm(u) * np.linalg.norm(v))
    return rng.standard_normal((rows, columns)) + size * np.outer(u, v)


def mixed(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float64]:
    """Gaussian rows, each with three tenths of the one before."""
    matrix = rng.standard_normal((rows + 1, columns))
    return matrix[1:] + 0.3 * matrix[:-1]


LAWS: dict[str, Draw] = {
    "Gaussian": lambda rng, rows, columns: rng.standard_normal((rows, columns)),
    "uniform": lambda rng, rows, columns: rng.uniform(-1, 1, (rows, columns)),
    "two humps, ±1 + 0.52 Gaussian": lambda rng, rows, columns: (
        rng.choice([-1.0, 1.0], (rows, columns)) + 0.52 * rng.standard_normal((rows, columns))
    ),
    "Gaussian, a fifth pruned": lambda rng, rows, columns: (
        rng.standard_normal((rows, columns)) * (rng.random((rows, columns)) < 0.8)
    ),
    "logistic": lambda rng, rows, columns: rng.logistic(size=(rows, columns)),
    "Student-t, 10 degrees": lambda rng, rows, columns: rng.standard_t(10, (rows, columns)),
    "Gaussian, one entry at the limit": entry_at_the_limit,
    "Gaussian, mean at the limit": mean_at_the_limit,
    "Gaussian + one direction, 1.5 × edge": spiked,
    "Gaussian, rows mixed by 0.3": mixed,
}


@dataclass(frozen=True, slots=True)
class Beside:
    """One matrix beside its shuffles and beside noise; `extreme`: the noise is nearer or farther than every shuffle."""

    shuffles: tuple[Shuffled, ...]
    noise: Shuffled

    @property
    def ratio(self) -> float:
        return self.noise.distance / float(np.mean([shuffle.distance for shuffle in self.shuffles]))

    @property
    def extreme(self) -> bool:
        distances = [shuffle.distance for shuffle in self.shuffles]
        return not min(distances) <= self.noise.distance <= max(distances)


def main(sources: list[str]) -> None:
    """Run the study and write its report."""
    started = time.process_time()
    with threadpool_limits(1):
        lines = [*_drawn(), *_trained(sources)]
    seconds = time.process_time() - started
    versions = f"critaudit {critaudit.__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}"
    head = [
        "# Where Gaussian noise stands for a shuffle",
        "",
        f"`python reports/calibration/shuffles.py`, seed {SEED}, {datetime.date.today().isoformat()}, {versions}; "
        f"{seconds:.0f} s of processor time on one thread.",
        "",
    ]
    target = Path(__file__).with_suffix(".md")
    target.write_text("\n".join([*head, *lines, ""]), encoding="utf-8")
    print(f"written: {target.name} after {seconds:.0f} s of processor time")


def _beside(blocks: NDArray[np.generic], shuffles: int, seed: int, rng: np.random.Generator) -> Beside | None:
    """None where the audit shuffles this matrix."""
    groups, rows, columns = blocks.shape
    if not shuffles_to_noise(moments(blocks), rows, columns):
        return None
    found = spectrum(blocks)
    values, norm = found.singular_values, found.frobenius_norm
    copy = np.array(blocks)  # each is a shuffle of the one before
    return Beside(
        tuple(compare_shuffled(copy, values, norm, rng) for _ in range(shuffles)),
        compare_noise(values, norm, rows, columns, groups=groups, seed=seed),
    )


def _drawn() -> Iterator[str]:
    yield "## Drawn matrices"
    yield ""
    yield (
        f"Each matrix beside {SHUFFLES} shuffles of its entries and one draw of noise. *Noise serves*: matrices, of "
        "all drawn, that meet the condition; the rest of the row is about these. *Extreme*: the distance from noise is "
        f"less or more than that from all {SHUFFLES} shuffles, which happens to one more shuffle in 10 % of cases. "
        "*Ratio*: distance from noise over the mean distance from shuffles. *Traps*: per hundred shuffles, or draws; "
        "at the level of 1 % noise itself has about one. 95 % intervals."
    )
    yield ""
    yield "| entries | shape | noise serves | extreme, % | ratio | traps, shuffles | traps, noise |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for law, draw in LAWS.items():
        for (rows, columns), replicates in REPLICATES.items():
            rng = np.random.default_rng([SEED, *law.encode(), rows, columns])
            drawn = [draw(rng, rows, columns).astype(np.float32)[np.newaxis] for _ in range(replicates)]
            found = [_beside(matrix, SHUFFLES, seed, rng) for seed, matrix in enumerate(drawn)]
            line = _row([beside for beside in found if beside is not None])
            served = sum(beside is not None for beside in found)
            yield f"| {law} | {rows}×{columns} | {served} of {replicates} | {line} |"
            print(f"{law} {rows}×{columns}: {served}, {line}", file=sys.stderr, flush=True)
    yield ""


def _row(found: list[Beside]) -> str:
    if len(found) < 2:
        return "– | – | – | –"
    n = len(found)
    extreme = sum(beside.extreme for beside in found)
    interval = binomtest(extreme, n).proportion_ci(method="wilson")
    ratios = np.array([beside.ratio for beside in found])
    reach = 1.96 * float(ratios.std(ddof=1)) / math.sqrt(n)
    shuffled = np.mean([shuffle.traps for beside in found for shuffle in beside.shuffles])
    drawn = np.mean([beside.noise.traps for beside in found])
    return (
        f"{100 * extreme / n:.1f} ({100 * interval.low:.1f}–{100 * interval.high:.1f}) "
        f"| {ratios.mean():.3f} ± {reach:.3f} | {100 * shuffled:.1f} | {100 * drawn:.1f}"
    )


def _trained(sources: list[str]) -> Iterator[str]:
    """Trained weights: is the audit's answer that of a shuffle?"""
    if not sources:
        return
    yield "## Trained weights"
    yield ""
    yield (
        f"Matrices of 64 rows and columns or more, those that meet the condition beside {OF_TRAINED} shuffles each. "
        "*Ratio*: the least and the largest."
    )
    yield ""
    yield "| file | matrices | noise serves | ratio | traps per shuffle | traps, noise |"
    yield "|---|--:|--:|--:|--:|--:|"
    for source in sources:
        rng = np.random.default_rng(SEED)
        large = [m for m in critaudit.load(source) if min(m.rows, m.columns) >= 64]
        found = [beside for matrix in large if (beside := _beside(matrix.read(), OF_TRAINED, 0, rng)) is not None]
        name = f"| `{Path(source).name}` | {len(large)} | {len(found)} |"
        if found:
            ratios = [beside.ratio for beside in found]
            shuffled = sum(shuffle.traps for beside in found for shuffle in beside.shuffles) / OF_TRAINED
            drawn = sum(beside.noise.traps for beside in found)
            yield f"{name} {min(ratios):.3f}–{max(ratios):.3f} | {shuffled:.1f} | {drawn} |"
        else:
            yield f"{name} – | – | – |"
        print(name, file=sys.stderr, flush=True)
    yield ""


if __name__ == "__main__":
    main(sys.argv[1:])
