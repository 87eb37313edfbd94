"""Singular values of a weight matrix and the scalars read off them: norms, ranks, entropy, condition.

Which LAPACK route serves which matrix, and how exact it is, is decided in `singular_values.py`; here are the
definitions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from critaudit.errors import CritauditError
from critaudit.laws.singular_values import FULL_UP_TO, SingularValues, frobenius_norm, singular_values

_NEED_ALL = ("nuclear_norm", "effective_rank", "entropy", "participation_ratio", "condition_number")

# Distance from 1 to the next number of the stored type. Integers are exact: what counts is the float32 they become.
EPSILON: Mapping[str, float] = MappingProxyType(
    {
        "float64": 2.0**-52,
        "float32": 2.0**-23,
        "float16": 2.0**-10,
        "bfloat16": 2.0**-7,
        "float8_e4m3fn": 2.0**-3,
        "float8_e4m3fnuz": 2.0**-3,
        "float8_e5m2": 2.0**-2,
        "float8_e5m2fnuz": 2.0**-2,
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """Singular values σ₁ ≥ σ₂ ≥ … of a matrix, or of a block-diagonal stack of them, and what follows from them.

    `shape` is (groups, rows, columns); `count` = groups · min(rows, columns) the number of singular values that exist.
    `singular_values` (float64, descending) holds all of them where `complete`, else the largest ones. `resolution` is
    the absolute error below which singular values cannot be told from zero by the `method` used.

    - `spectral_norm` σ₁; `frobenius_norm` √Σ W²ᵢⱼ from the entries, in float64; `nuclear_norm` Σσᵢ
    - `stable_rank` ‖W‖_F²/σ₁²
    - `rank`: singular values above `rank_tolerance`
    - `effective_rank` exp(−Σ p ln p) with p = σᵢ/Σσ (Roy & Vetterli 2007)
    - `entropy` −Σ p ln p / ln(count) with p = σᵢ²/Σσ²: 0 for one direction, 1 for equal ones
    - `participation_ratio` (Σσ²)²/Σσ⁴: the number of directions that carry the weight
    - `condition_number` σ₁/σ_min

    None stands for a quantity that does not exist here or is not known; `missing` maps its name to the reason.
    """

    shape: tuple[int, int, int]
    dtype: str
    method: str
    singular_values: NDArray[np.float64]
    count: int
    complete: bool
    resolution: float
    spectral_norm: float
    frobenius_norm: float
    nuclear_norm: float | None
    stable_rank: float | None
    rank: int | None
    rank_tolerance: float
    effective_rank: float | None
    entropy: float | None
    participation_ratio: float | None
    condition_number: float | None
    missing: Mapping[str, str]

    def quantiles(self, probabilities: ArrayLike) -> NDArray[np.float64] | None:
        """Quantiles of the singular values at `probabilities` (0 the smallest); None where not all are known."""
        if not self.complete:
            return None
        return np.quantile(self.singular_values, np.asarray(probabilities, dtype=np.float64))


def spectrum(
    matrix: ArrayLike, *, dtype: str | None = None, full_up_to: int = FULL_UP_TO, leading: int = 64
) -> Spectrum:
    """Singular values and their scalars for a matrix (rows, columns) or a block-diagonal stack (groups, rows, columns).

    `dtype` is the type that the numbers were stored in ("bfloat16", …) where it differs from the array's own: its
    rounding sets the rank tolerance, see `rank_tolerance`.

    Matrices whose smaller side exceeds `full_up_to` get only their `leading` largest singular values, by a Krylov
    method, and the quantities that need all of them are None. Peak memory over the call: twice the matrix (itself not
    included) and 16 MB.

    Oracle: `numpy.linalg.svd` of the float64 matrix. Invariant under transposition, permutation and rotation.
    Raises CritauditError for an empty matrix, a wrong number of dimensions, complex or non-finite entries.
    """
    blocks = _as_blocks(matrix)
    _, rows, columns = blocks.shape
    stored = dtype if dtype is not None else blocks.dtype.name
    frobenius = frobenius_norm(blocks)
    if not math.isfinite(frobenius):
        raise CritauditError(
            f"the {rows}×{columns} matrix holds NaN or infinite entries, which have no spectrum; "
            "count them with laws.moments, and look for the training step that diverged"
        )
    relative = rank_tolerance(rows, columns, stored)
    found = singular_values(blocks, frobenius, tolerance=relative, full_up_to=full_up_to, leading=leading)
    return _read_off(found, blocks.shape, stored, frobenius, relative, _reasons(found, frobenius, full_up_to))


def _read_off(
    found: SingularValues,
    shape: tuple[int, ...],
    dtype: str,
    frobenius: float,
    relative_tolerance: float,
    missing: dict[str, str],
) -> Spectrum:
    """The scalars of found singular values. `missing` says why those that need all values are not given."""
    groups, rows, columns = shape
    count = groups * min(rows, columns)
    values, complete = found.values, found.complete
    spectral = float(values[0])
    rank = int(np.count_nonzero(values > relative_tolerance * spectral)) if complete else None
    if complete and spectral > 0.0 and rank != count:
        missing["condition_number"] = f"rank {rank} of {count}: the ratio is infinite"
    weights = values / spectral if complete and spectral > 0.0 else None
    return Spectrum(
        shape=(groups, rows, columns),
        dtype=dtype,
        method=found.method,
        singular_values=values,
        count=count,
        complete=complete,
        resolution=found.resolution,
        spectral_norm=spectral,
        frobenius_norm=frobenius,
        nuclear_norm=math.fsum(values) if complete else None,
        stable_rank=max(1.0, (frobenius / spectral) ** 2) if spectral > 0.0 else None,
        rank=rank,
        rank_tolerance=relative_tolerance * spectral,
        effective_rank=math.exp(_entropy(weights)) if weights is not None else None,
        entropy=_entropy(weights**2) / math.log(count) if weights is not None and count > 1 else None,
        participation_ratio=_participation_ratio(weights) if weights is not None else None,
        condition_number=None if "condition_number" in missing else spectral / float(values[-1]),
        missing=MappingProxyType(missing),
    )


def _as_blocks(matrix: ArrayLike) -> NDArray[np.generic]:
    """The matrix as (groups, rows, columns) of a floating type that LAPACK or a conversion to it understands."""
    array = np.asarray(matrix)
    if array.dtype.kind not in "biuf":
        raise CritauditError(f"the spectrum of {array.dtype} values was asked for; give a real matrix")
    if array.ndim not in (2, 3):
        raise CritauditError(
            f"an array of shape {array.shape} has no spectrum; give (rows, columns) or (groups, rows, columns)"
        )
    if array.size == 0:
        raise CritauditError(f"a matrix of shape {array.shape} has no entries and so no singular values")
    blocks = array if array.ndim == 3 else array[np.newaxis]
    if blocks.dtype.kind != "f":
        # Eight- and sixteen-bit integers are exact in float32, wider ones are not.
        return blocks.astype(np.float32 if blocks.dtype.itemsize <= 2 else np.float64)
    if blocks.dtype.itemsize > 8:
        return blocks.astype(np.float64)
    return blocks if blocks.dtype.isnative else blocks.astype(blocks.dtype.newbyteorder("="))


def rank_tolerance(rows: int, columns: int, dtype: str) -> float:
    """Size relative to σ₁ up to which a singular value is zero within the rounding of the stored type, ε its epsilon.

    float32 and float64: (ε/2)·√(rows + columns + 1), the rounding that a product formed in this type accumulates (Press
    et al., Numerical Recipes, 3rd ed., §2.6.2). Narrower types: ε/√3, because such weights are rounded once, when they
    are stored: errors of at most (ε/2)|w|, spread evenly, form a matrix of norm up to (ε/2√3)·(largest row norm +
    largest column norm) ≤ (ε/√3)·σ₁. The cruder max(rows, columns)·ε of `numpy.linalg.matrix_rank` outgrows rounding:
    it calls most square Gaussian float32 matrices of width 2048 deficient and any float16 one of width 1024 rank 0.
    """
    epsilon = EPSILON.get(dtype, 2.0**-23)
    if epsilon > 2.0**-23:
        return epsilon / math.sqrt(3.0)
    return 0.5 * epsilon * math.sqrt(rows + columns + 1)


def _reasons(found: SingularValues, frobenius: float, full_up_to: int) -> dict[str, str]:
    """Why quantities are missing, where all singular values are not known or all are zero."""
    if frobenius == 0.0:
        return dict.fromkeys((*_NEED_ALL[1:], "stable_rank"), "every entry is zero")
    if not found.complete:
        why = f"needs all singular values; above a smaller side of {full_up_to} only the largest are computed"
        return dict.fromkeys(("nuclear_norm", "rank", *_NEED_ALL[1:]), why)
    if found.values.size == 1:
        return {"entropy": "there is only one singular value"}
    return {}


def _entropy(weights: NDArray[np.float64]) -> float:
    """−Σ p ln p of the weights normalised to one; 0·ln 0 = 0."""
    p = weights / weights.sum()
    p = p[p > 0.0]
    return max(0.0, -float(np.sum(p * np.log(p))))


def _participation_ratio(weights: NDArray[np.float64]) -> float:
    square = weights**2
    return float(square.sum() ** 2 / np.sum(square**2))
