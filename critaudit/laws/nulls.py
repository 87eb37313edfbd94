"""What matrices of the same size show by chance: null distributions of any statistic of the singular values.

A verdict about a layer is a comparison with these. Statistics must not depend on the scale of the matrix, because nulls
are drawn at unit scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from critaudit.errors import CritauditError
from critaudit.laws.spectrum import spectrum

Array = NDArray[np.float64]
# From all singular values, descending, to a number. CritauditError: does not exist for this draw.
Statistic: TypeAlias = Callable[[Array], float]
Draw: TypeAlias = Callable[[np.random.Generator], NDArray[np.generic]]
Side: TypeAlias = Literal["upper", "lower", "both"]


@dataclass(frozen=True, slots=True, eq=False)
class Null:
    """Values of a statistic over draws from `law`, ascending. `failed` draws had none and are not in `values`."""

    law: str
    values: Array
    failed: int

    def p_value(self, observed: float, *, side: Side = "both") -> float:
        """Share of draws as extreme as `observed`, which itself counts as one draw: never 0, and exact at any level."""
        above = 1 + int(np.count_nonzero(self.values >= observed))
        below = 1 + int(np.count_nonzero(self.values <= observed))
        draws = self.values.size + 1
        if side == "upper":
            return above / draws
        if side == "lower":
            return below / draws
        return min(1.0, 2.0 * min(above, below) / draws)

    def quantile(self, probability: float) -> float | None:
        """The value that a share `probability` of draws stays below; None where fewer than two draws have one."""
        return float(np.quantile(self.values, probability)) if self.values.size > 1 else None


def gaussian_null(
    statistics: Mapping[str, Statistic], rows: int, columns: int, *, groups: int = 1, repeats: int = 200, seed: int = 0
) -> dict[str, Null]:
    """Null distributions for independent Gaussian entries: what a layer shows before training.

    Draws cost O(min(rows, columns)²) each, see `gaussian_singular_values`, and are kept for the next layer of this
    shape. The same seed gives the same null.
    """
    return _collect(statistics, iter(_gaussian_draws(groups, rows, columns, repeats, seed)), "gaussian")


def matrix_null(
    statistics: Mapping[str, Statistic],
    draw: Draw,
    *,
    law: str,
    repeats: int = 20,
    rng: np.random.Generator | None = None,
) -> dict[str, Null]:
    """Null distributions for matrices that `draw` makes: `lambda rng: shuffled(W, rng)` tells correlations from tails.

    Each draw costs the spectrum of a matrix of this size.
    """
    generator = rng if rng is not None else np.random.default_rng(0)
    return _collect(statistics, (spectrum(draw(generator)).singular_values for _ in range(repeats)), law)


def gaussian_singular_values(rows: int, columns: int, rng: np.random.Generator) -> Array:
    """Singular values, descending, of one rows × columns matrix of independent standard Gaussian entries.

    Exact in law without the matrix: Householder steps make it bidiagonal with independent chi entries (Silverstein
    1985; Dumitriu & Edelman 2002). Absolute error 1e-8·σ₁.
    """
    small, large = min(rows, columns), max(rows, columns)
    diagonal = np.sqrt(rng.chisquare(np.arange(large, large - small, -1)))
    beside = np.sqrt(rng.chisquare(np.arange(small - 1, 0, -1))) if small > 1 else np.zeros(0)
    # B Bᵀ of the lower bidiagonal B is tridiagonal.
    squares = diagonal**2
    squares[1:] += beside**2
    eigenvalues = scipy.linalg.eigvalsh_tridiagonal(squares, diagonal[:-1] * beside, check_finite=False)
    return np.asarray(np.sqrt(np.maximum(eigenvalues, 0.0))[::-1])


def shuffled(matrix: NDArray[np.generic], rng: np.random.Generator) -> NDArray[np.generic]:
    """The same entries in random places, blocks included: the tails stay, correlations are gone."""
    copy = np.array(matrix, order="C")
    rng.shuffle(copy.reshape(-1))
    return copy


def stable_sample(alpha: float, beta: float, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Independent draws from S_α(β, σ=1, μ=0) in Nolan's S1, 0 < α ≤ 2 (Chambers, Mallows & Stuck 1976).

    At α = 2 their variance is 2. Raises CritauditError for parameters outside the family.
    """
    if not (0.0 < alpha <= 2.0 and -1.0 <= beta <= 1.0):
        raise CritauditError(f"stable law with alpha = {alpha}, beta = {beta}; expected 0 < alpha <= 2, |beta| <= 1")
    angle = math.pi * (rng.random(shape) - 0.5)
    waiting = rng.standard_exponential(shape)
    if alpha == 1.0:
        skewed = 0.5 * math.pi + beta * angle
        logs = np.log(0.5 * math.pi * waiting * np.cos(angle) / skewed) if beta else 0.0
        return np.asarray(2.0 / math.pi * (skewed * np.tan(angle) - beta * logs))
    skewness = beta * math.tan(0.5 * math.pi * alpha) if alpha != 2.0 else 0.0
    shift = math.atan(skewness) / alpha
    turned = alpha * (angle + shift)
    size = (1.0 + skewness**2) ** (0.5 / alpha)
    ratio = np.cos(angle - turned) / waiting
    return np.asarray(size * np.sin(turned) / np.cos(angle) ** (1.0 / alpha) * ratio ** ((1.0 - alpha) / alpha))


@lru_cache(maxsize=16)
def _gaussian_draws(groups: int, rows: int, columns: int, repeats: int, seed: int) -> tuple[Array, ...]:
    rng = np.random.default_rng([seed, groups, min(rows, columns), max(rows, columns)])
    draws = []
    for _ in range(repeats):
        blocks = [gaussian_singular_values(rows, columns, rng) for _ in range(groups)]
        values = np.sort(np.concatenate(blocks))[::-1]
        values.flags.writeable = False
        draws.append(values)
    return tuple(draws)


def _collect(statistics: Mapping[str, Statistic], draws: Iterator[Array], law: str) -> dict[str, Null]:
    found: dict[str, list[float]] = {name: [] for name in statistics}
    count = 0
    for values in draws:
        count += 1
        for name, statistic in statistics.items():
            try:
                value = float(statistic(values))
            except CritauditError:
                continue
            if math.isfinite(value):
                found[name].append(value)
    return {
        name: Null(law, np.sort(np.asarray(values, dtype=np.float64)), count - len(values))
        for name, values in found.items()
    }
