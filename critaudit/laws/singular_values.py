"""Singular values by the cheapest route that is exact enough, chosen by type and size.

| matrix (after fp16/bf16 → float32) | route | absolute error of a singular value σ |
|---|---|---|
| one row or column | its length in float64 | 1e-16·σ |
| float64 | LAPACK `gesdd` | 1e-15·σ₁ |
| float32, smaller side ≤ 16 in a stack | batched `gesdd` in float64 | 1e-15·σ₁ |
| float32, smaller side ≤ 128 | eigenvalues of the float64 Gram matrix | 1e-15·σ₁²/σ, never above 5e-8·σ₁ |
| float32, larger | eigenvalues of the float32 Gram matrix where even the smallest is clear of their error | δ/2σ |
| … the smallest is not clear of it, square | the same, and the smallest σ from an LU factorisation | as a float32 SVD |
| … the smallest is zero within rounding, or not square | eigenvalues of the float64 Gram matrix | as above |
| … where that matrix would be larger than the matrix itself and 32 MB | `gesdd` in float32 | 1e-7·√k·σ₁ |
| smaller side > `full_up_to` | block Lanczos iteration: the largest values only | its residual bound, ≤ 1e-3·σ |

δ = 2·ε₃₂·√k·σ₁² for a Gram matrix of size k. Squaring float32 numbers in float64 is exact, so the float64 Gram matrix
resolves more than a float32 SVD does, in a fifth to all of its time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from critaudit.laws.gram import PIECE, Convert, eigenvalues, gram_matrix, largest_of_tridiagonal
from critaudit.laws.moments import chunks, sum_of_products

# Beyond this smaller side all singular values would take minutes.
FULL_UP_TO = 8192
_DOUBLE_UP_TO = 128
_BATCHED_UP_TO = 16
# An eigenvalue this many times its error gives σ to 5 digits after the square root … relative error 1/(2·factor).
_CLEAR = 100.0
# Enough for the largest eigenvalue of any inverse Gram matrix to settle: its top is well apart.
_LANCZOS_STEPS = 60
_BLOCK_WIDTH, _BLOCK_STEPS = 16, 40
_SAFE_NORMS = (2.0**-40, 2.0**50)
# A float64 Gram matrix of up to this size is no matter: 32 MB.
_ROOM = 2**25


@dataclass(frozen=True, slots=True, eq=False)
class SingularValues:
    """`values` (float64, descending), all of them where `complete`; below `resolution` they are not told from zero."""

    values: NDArray[np.float64]
    complete: bool
    method: str
    resolution: float


def frobenius_norm(array: NDArray[np.generic]) -> float:
    """√Σx² over all entries in float64, by chunks; NaN or infinite exactly where an entry is."""
    exponent = 0
    if array.dtype.itemsize >= 8 and array.size:
        # Narrower types cannot overflow the square in float64; wider ones are scaled by a power of two first.
        largest = max(abs(float(array.max())), abs(float(array.min())))
        if not math.isfinite(largest):
            return largest
        exponent = math.frexp(largest)[1]
    parts = []
    for chunk in chunks(array):
        piece = np.ldexp(chunk.astype(np.float64), -exponent) if exponent else chunk.astype(np.float64)
        parts.append(sum_of_products(piece, piece))
    total = math.fsum(parts) if all(map(math.isfinite, parts)) else math.nan
    return math.ldexp(math.sqrt(total), exponent) if total == total else math.nan


def singular_values(
    blocks: NDArray[np.generic],
    frobenius: float,
    *,
    tolerance: float,
    full_up_to: int = FULL_UP_TO,
    leading: int = 64,
) -> SingularValues:
    """Singular values of a block-diagonal stack, shape (groups, rows, columns), of real floating type.

    `frobenius` is its finite Frobenius norm; `tolerance` the size relative to σ₁ below which a value counts as zero, so
    that nothing far below it needs to be resolved.
    """
    groups, rows, columns = blocks.shape
    smaller = min(rows, columns)
    if frobenius == 0.0:
        return SingularValues(np.zeros(groups * smaller), True, "all entries are zero", 0.0)
    scale = 1.0 if blocks.dtype == np.float16 else safe_scale(frobenius)
    if smaller == 1:
        found = _lengths(blocks, scale)
    elif smaller > full_up_to:
        found = _join([_leading(block, scale, leading) for block in blocks])
    elif blocks.dtype == np.float64:
        found = _join([_direct(block, scale) for block in blocks])
    elif groups > 1 and smaller <= _BATCHED_UP_TO:
        found = _batched(blocks, scale)
    elif smaller <= _DOUBLE_UP_TO:
        found = _join([_gram(block, scale, np.float64) for block in blocks])
    else:
        found = _join([_adaptive(block, scale, tolerance) for block in blocks])
    return SingularValues(found.values / scale, found.complete, found.method, found.resolution / scale)


def safe_scale(frobenius: float) -> float:
    """A power of two by which to multiply a matrix of this norm so that squares stay within float32; mostly 1."""
    if _SAFE_NORMS[0] < frobenius < _SAFE_NORMS[1] or frobenius == 0.0:
        return 1.0
    return math.ldexp(1.0, max(-1000, min(1000, -math.frexp(frobenius)[1])))


def _adaptive(block: NDArray[np.generic], scale: float, tolerance: float) -> SingularValues:
    quick = _gram(block, scale, np.float32)
    largest, smallest = float(quick.values[0]), float(quick.values[-1])
    if max(smallest, tolerance * largest) >= math.sqrt(_CLEAR) * quick.resolution:
        return quick
    if block.shape[0] == block.shape[1]:
        exact = _smallest_by_lu(block, scale)
        # Near the tolerance the bound may be a third above the value.
        if exact is not None and exact > 1.5 * tolerance * largest:
            values = np.maximum(quick.values, exact)
            values[-1] = exact
            return SingularValues(values, True, "float32 Gram eigenvalues, smallest by LU", quick.resolution)
    # A float64 Gram matrix is twice as large as a square float32 matrix itself.
    entries = min(block.shape) ** 2
    if 8 * entries <= max(block.nbytes, _ROOM) if block.dtype.itemsize >= 4 else 4 * entries <= block.nbytes:
        return _gram(block, scale, np.float64)
    return _direct(block, scale)


def leading_accurate(blocks: NDArray[np.generic], scale: float, convert: Convert | None = None) -> SingularValues:
    """All singular values of a stack (groups, rows, columns) from float32 Gram matrices, whatever their smallest is.

    Enough where only the upper ones matter: σ has an absolute error of 1e-7·√k·σ₁²/σ. `scale` multiplies the entries
    first; `convert` maps each piece of a block to float32 instead, so that no converted copy of the matrix ever exists.
    """
    found = _join([_gram(block, scale, np.float32, convert) for block in blocks])
    return SingularValues(found.values / scale, found.complete, found.method, found.resolution / scale)


def _gram(
    block: NDArray[np.generic],
    scale: float,
    dtype: type[np.float32] | type[np.float64],
    convert: Convert | None = None,
) -> SingularValues:
    """Square roots of the eigenvalues of the smaller of W Wᵀ and WᵀW, formed in `dtype`."""
    squares = eigenvalues(gram_matrix(block, scale, dtype, convert))
    spread = math.sqrt(squares.size) * max(float(squares[0]), 0.0)
    resolution = math.sqrt(2.0 * float(np.finfo(dtype).eps) * spread)
    name = "float32 Gram eigenvalues" if dtype is np.float32 else "float64 Gram eigenvalues"
    return SingularValues(np.sqrt(np.maximum(squares, 0.0)), True, name, resolution)


def _smallest_by_lu(block: NDArray[np.generic], scale: float) -> float | None:
    """The smallest singular value of a square matrix, as exact as a float32 SVD; None where a pivot is zero.

    1/σ_min² is the largest eigenvalue of (W Wᵀ)⁻¹, found by Lanczos iteration on solves with Wᵀ = P L U. Its vector v
    is hardly touched by the rounding of that factorisation, and ‖Wᵀ v‖, in float64, is the value: never below the true
    one.
    """
    size = block.shape[0]
    # The transpose, which has the same singular values: a row-major matrix is copied as it lies.
    copy = np.array(block.T, dtype=np.float32, order="F")
    if scale != 1.0:
        copy *= np.float32(scale)
    getrf, getrs = scipy.linalg.get_lapack_funcs(("getrf", "getrs"), (copy,))
    factors, pivots, info = getrf(copy, overwrite_a=True)
    if info != 0:
        return None

    basis = np.zeros((_LANCZOS_STEPS, size))
    vector: NDArray[np.float64] = np.random.default_rng(0).standard_normal((size,))
    vector /= float(np.linalg.norm(vector))
    diagonal: list[float] = []
    beside: list[float] = []
    largest = 0.0
    for step in range(min(_LANCZOS_STEPS, size)):
        basis[step] = vector
        half = getrs(factors, pivots, vector.astype(np.float32), trans=1)[0]
        vector = np.asarray(getrs(factors, pivots, half, overwrite_b=True)[0], dtype=np.float64)
        if not np.all(np.isfinite(vector)):
            return None
        diagonal.append(float(vector @ basis[step]))
        known = basis[: step + 1]
        for _ in range(2):  # once loses orthogonality, twice is enough
            vector -= known.T @ (known @ vector)
        before, largest = largest, largest_of_tridiagonal(diagonal, beside)
        norm = float(np.linalg.norm(vector))
        if abs(largest - before) <= 1e-7 * largest or norm == 0.0:
            break
        beside.append(norm)
        vector /= norm
    if largest <= 0.0:
        return None
    beside = beside[: len(diagonal) - 1]
    direction = scipy.linalg.eigh_tridiagonal(diagonal, beside)[1][:, -1] @ basis[: len(diagonal)]
    direction *= scale / float(np.linalg.norm(direction))
    image = np.zeros(size)
    rows = max(1, PIECE // size)
    for start in range(0, size, rows):
        image += direction[start : start + rows] @ block[start : start + rows].astype(np.float64)
    return float(np.linalg.norm(image))


def _direct(block: NDArray[np.generic], scale: float) -> SingularValues:
    """LAPACK's SVD without vectors, in float64 for float64 and in float32 below."""
    copy = _copy(block, scale)
    values = scipy.linalg.svdvals(copy, overwrite_a=True, check_finite=False).astype(np.float64)
    resolution = float(np.finfo(copy.dtype).eps) * math.sqrt(min(block.shape)) * float(values[0])
    return SingularValues(values, True, f"{copy.dtype} SVD", resolution)


def _copy(block: NDArray[np.generic], scale: float) -> NDArray[np.float32] | NDArray[np.float64]:
    """A scaled column-major copy, float32 unless the block is float64."""
    if block.dtype == np.float64:
        double = np.array(block, dtype=np.float64, order="F")
        double *= scale
        return double
    single = np.array(block, dtype=np.float32, order="F")
    single *= np.float32(scale)
    return single


def _batched(blocks: NDArray[np.generic], scale: float) -> SingularValues:
    """Many small blocks at once, in float64; a slice of the groups at a time."""
    groups, rows, columns = blocks.shape
    step = max(1, PIECE // (rows * columns))
    parts = [
        np.linalg.svd(blocks[start : start + step].astype(np.float64) * scale, compute_uv=False).ravel()
        for start in range(0, groups, step)
    ]
    values = np.sort(np.concatenate(parts))[::-1]
    return SingularValues(values, True, "float64 SVD", float(np.finfo(np.float64).eps) * float(values[0]) * 4.0)


def _lengths(blocks: NDArray[np.generic], scale: float) -> SingularValues:
    """A block of one row or one column has one singular value: its length."""
    flat = blocks.reshape(blocks.shape[0], -1)
    step = max(1, PIECE // flat.shape[1])
    parts = []
    for start in range(0, flat.shape[0], step):
        piece = flat[start : start + step].astype(np.float64)
        piece *= scale
        parts.append(np.sqrt(np.einsum("ij,ij->i", piece, piece)))
    values = np.sort(np.concatenate(parts))[::-1]
    return SingularValues(values, True, "lengths of the vectors", float(np.finfo(np.float64).eps) * float(values[0]))


def _leading(block: NDArray[np.generic], scale: float, leading: int) -> SingularValues:
    """The largest singular values by a block Lanczos iteration on the smaller Gram operator, from a random start.

    Musco & Musco (NeurIPS 2015), with full reorthogonalisation. A value enters when its residual bounds its error to
    1e-3 of itself; at least the largest is given. `resolution` is the largest of these bounds.
    """
    matrix: NDArray[np.generic] = block
    if block.dtype == np.float16 or scale != 1.0:
        matrix = _copy(block, scale)
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    size = wide.shape[0]
    width = min(_BLOCK_WIDTH, max(1, size // 8))
    steps = min(_BLOCK_STEPS, size // width)
    basis = np.zeros((size, steps * width), dtype=wide.dtype, order="F")
    projected = np.zeros((steps * width, steps * width))
    start = np.random.default_rng(0).standard_normal((size, width)).astype(wide.dtype)
    vectors = np.linalg.qr(start)[0]
    for step in range(steps):
        here = slice(step * width, (step + 1) * width)
        basis[:, here] = vectors
        known = basis[:, : here.stop]
        image = wide @ (wide.T @ vectors)
        projected[: here.stop, here] = known.T @ image
        vectors, overlap = _orthogonalise(image, known)
        values, errors = _ritz(projected[: here.stop, : here.stop], overlap)
        good = min(leading, values.size)
        exhausted = np.linalg.norm(overlap) <= 1e-5 * values[0] ** 2
        if exhausted or np.all(errors[:good] <= 1e-5 * values[:good]):
            break
    trusted = errors[:good] <= 1e-3 * values[:good]
    count = max(1, good if trusted.all() else int(np.argmin(trusted)))
    return SingularValues(values[:count], False, "block Lanczos iteration, largest only", float(errors[:count].max()))


def _orthogonalise(image: NDArray[Any], known: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Orthonormal vectors for what `image` adds to the orthonormal `known`, and their overlap with `image`."""
    rest = image - known @ (known.T @ image)
    first, upper = np.linalg.qr(rest)
    # Once more: columns that `known` spans already came out as rounding noise.
    second, again = np.linalg.qr(first - known @ (known.T @ first))
    return second, again @ upper


def _ritz(projected: NDArray[np.float64], overlap: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Singular values from the projected Gram matrix, descending, and bounds of their errors from the residuals."""
    eigenvalues, vectors = np.linalg.eigh(projected, UPLO="U")
    values = np.sqrt(np.maximum(eigenvalues[::-1], 0.0))
    residuals = np.linalg.norm(overlap @ vectors[-overlap.shape[0] :, ::-1], axis=0)
    # |λ − θ| ≤ residual, and σ = √λ.
    return values, residuals / np.maximum(values, np.sqrt(residuals) + np.finfo(np.float64).tiny)


def _join(parts: list[SingularValues]) -> SingularValues:
    """All blocks' values in one order. Of incomplete blocks only what is certainly in order survives."""
    if len(parts) == 1:
        return parts[0]
    values = np.sort(np.concatenate([part.values for part in parts]))[::-1]
    complete = all(part.complete for part in parts)
    if not complete:
        # An unknown value of a block may be as large as the smallest known one of that block.
        values = values[values >= max(part.values[-1] for part in parts)]
    methods = sorted({part.method for part in parts})
    return SingularValues(values, complete, "; ".join(methods), max(part.resolution for part in parts))
