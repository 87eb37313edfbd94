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
from critaudit.laws.singular_values import leading_accurate
from critaudit.laws.spectrum import spectrum

Array = NDArray[np.float64]
# From all singular values, descending, to a number. CritauditError: does not exist for this draw.
Statistic: TypeAlias = Callable[[Array], float]
Draw: TypeAlias = Callable[[np.random.Generator], NDArray[np.generic]]
Side: TypeAlias = Literal["upper", "lower", "both"]

_SHUFFLE_FULLY = 2**15
_RUNS = (17, 19, 23, 29)  # 64-byte lines of float32, about; prime


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


def stable_null(
    statistics: Mapping[str, Statistic],
    alpha: float,
    rows: int,
    columns: int,
    *,
    groups: int = 1,
    repeats: int = 39,
    seed: int = 0,
) -> dict[str, Null]:
    """Null distributions for independent symmetric stable entries, 0.5 ≤ α < 2: heavy tails without correlations.

    Every draw costs a matrix and its Gram eigenvalues; draws are kept for the next layer of this shape and α.
    """
    if not 0.5 <= alpha < 2.0:
        raise CritauditError(f"a stable null with alpha = {alpha} was asked for; expected 0.5 <= alpha < 2")
    return _collect(statistics, iter(_stable_draws(alpha, groups, rows, columns, repeats, seed)), "stable")


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
    """The same entries in random places, blocks included: the tails stay, correlations are gone. See `shuffle_`."""
    copy = np.array(matrix, order="C")
    shuffle_(copy, rng)
    return copy


def shuffle_(matrix: NDArray[np.generic], rng: np.random.Generator) -> None:
    """Put the entries of a C-contiguous array into random places, in place.

    Large arrays are shuffled in two rounds of short runs laid across each other, in a fifth of the time of a full
    shuffle: no two entries keep their distance, and what is independent stays so. Memory: one copy for a moment.
    """
    flat = matrix.reshape(-1)
    assert np.shares_memory(flat, matrix) or not flat.size
    if flat.size < _SHUFFLE_FULLY:
        rng.shuffle(flat)
        return
    # Runs must not fall on the same columns again and again.
    run = next((length for length in _RUNS if matrix.shape[-1] % length), _RUNS[0])
    whole = flat.size // run * run
    runs = flat[:whole].reshape(-1, run)
    mixed = np.take(runs, rng.permutation(whole // run), axis=0)
    flat[:whole].reshape(run, -1)[...] = mixed.T
    np.take(runs, rng.permutation(whole // run), axis=0, out=mixed, mode="clip")
    runs[...] = mixed
    del mixed
    for place, other in zip(range(whole, flat.size), rng.integers(0, flat.size, flat.size - whole), strict=True):
        flat[place], flat[other] = flat[other], flat[place]


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


@lru_cache(maxsize=64)
def gaussian_draw(groups: int, rows: int, columns: int, seed: int) -> Array:
    """Pooled singular values, descending and read-only, of one stack of Gaussian blocks; kept for later ones.

    The same for a shape and its transpose.
    """
    small, large = min(rows, columns), max(rows, columns)
    return _pooled(groups, small, large, np.random.default_rng([seed, groups, small, large]))


@lru_cache(maxsize=16)
def _gaussian_draws(groups: int, rows: int, columns: int, repeats: int, seed: int) -> tuple[Array, ...]:
    rng = np.random.default_rng([seed, groups, min(rows, columns), max(rows, columns)])
    return tuple(_pooled(groups, rows, columns, rng) for _ in range(repeats))


def _pooled(groups: int, rows: int, columns: int, rng: np.random.Generator) -> Array:
    blocks = [gaussian_singular_values(rows, columns, rng) for _ in range(groups)]
    values: Array = np.sort(np.concatenate(blocks))[::-1]
    values.flags.writeable = False
    return values


@lru_cache(maxsize=64)
def _stable_draws(alpha: float, groups: int, rows: int, columns: int, repeats: int, seed: int) -> tuple[Array, ...]:
    small, large = min(rows, columns), max(rows, columns)
    rng = np.random.default_rng([seed, groups, small, large, round(1e6 * alpha)])
    draws = []
    for _ in range(repeats):
        matrix = quick_stable(alpha, (groups, small, large), rng)
        matrix *= np.float32(1.0 / np.abs(matrix).max())
        values = leading_accurate(matrix, 1.0).values
        values.flags.writeable = False
        draws.append(values)
    return tuple(draws)


def quick_stable(alpha: float, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Symmetric stable numbers in float32 (Chambers, Mallows & Stuck 1976), whose elementary functions are fast."""
    angle = np.float32(math.pi) * (rng.random(shape, dtype=np.float32) - np.float32(0.5 - 2.0**-25))
    waiting = np.maximum(rng.standard_exponential(shape, dtype=np.float32), np.float32(1e-30))
    if alpha == 1.0:
        return np.asarray(np.tan(angle))
    a = np.float32(alpha)
    # ln(cos((1 − α)U)/E)·(1 − α)/α − ln(cos U)/α
    power = np.log(np.cos((1 - a) * angle) / waiting)
    power *= (1 - a) / a
    power -= np.log(np.cos(angle)) / a
    return np.asarray(np.sin(a * angle) * np.exp(power))


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
