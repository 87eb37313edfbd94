"""Gram matrices: the way from a weight matrix to its singular values, and what they tell before all are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

# A piece that is converted or scaled before it enters a product: 8 MB in float64.
PIECE = 2**20

# From a piece of a matrix to float32 numbers of the same shape.
Convert: TypeAlias = Callable[[NDArray[np.generic]], NDArray[np.float32]]

_DIRECT_UP_TO = 128  # the size up to which all eigenvalues take less time than an iteration for the largest
_BLOCK = 32  # Householder steps taken together: what LAPACK chooses
_STEPS, _CHECKED = 400, 10
_SETTLED = 1e-6  # change of the largest over ten steps, in which its error falls a thousandfold and more


class Gram:
    """The upper triangle of a Gram matrix: sums of its eigenvalues, the largest, or all of them.

    `eigenvalues` takes most of the time and overwrites the matrix.
    """

    __slots__ = ("_eigenvalues", "_matrix", "squares", "total")

    def __init__(self, matrix: NDArray[Any]) -> None:
        self._matrix = matrix
        self._eigenvalues: NDArray[np.float64] | None = None
        diagonal = matrix.diagonal().astype(np.float64)
        # By columns, so that float32 sums stay short.
        columns = np.einsum("ij,ij->j", matrix, matrix).astype(np.float64)
        self.total = float(diagonal.sum())  # of the eigenvalues, Σσ²
        self.squares = float(2.0 * columns.sum() - diagonal @ diagonal)  # of their squares, Σσ⁴

    def largest(self) -> float:
        """The largest eigenvalue, σ₁², to 1e-6."""
        if self._eigenvalues is None and self._matrix.shape[0] > _DIRECT_UP_TO:
            found = _largest(self._matrix)
            if found is not None:
                return found
        return float(self.eigenvalues()[0])

    def eigenvalues(self) -> NDArray[np.float64]:
        """All eigenvalues, descending."""
        found = self._eigenvalues if self._eigenvalues is not None else eigenvalues(self._matrix)
        self._eigenvalues = found
        return found


def gram_matrix(
    block: NDArray[np.generic],
    scale: float,
    dtype: type[np.float32] | type[np.float64],
    convert: Convert | None = None,
) -> NDArray[np.float32] | NDArray[np.float64]:
    """The upper triangle of the smaller of W Wᵀ and WᵀW, formed in `dtype` piece by piece; zeros below.

    `scale` multiplies the entries first; `convert` maps each piece of the matrix to float32 instead.
    """
    rows, columns = block.shape
    size, length = min(rows, columns), max(rows, columns)
    syrk = blas.ssyrk if dtype is np.float32 else blas.dsyrk
    gram: NDArray[np.float32] | NDArray[np.float64] = np.zeros((size, size), dtype=dtype, order="F")
    wide = rows <= columns
    plain = convert is None and block.dtype == dtype and scale == 1.0
    untouched = plain and (block.flags.c_contiguous or block.flags.f_contiguous)
    step = length if untouched else max(1, PIECE // size)
    for start in range(0, length, step):
        piece = block[:, start : start + step] if wide else block[start : start + step]
        if convert is not None:
            piece = convert(piece)
        elif not untouched:
            piece = piece.astype(dtype, order="C")
            np.multiply(piece, dtype(scale), out=piece)
        # BLAS reads column-major: the transpose of a row-major array needs no copy.
        if piece.flags.f_contiguous:
            gram = syrk(1.0, piece, beta=1.0, c=gram, trans=not wide, overwrite_c=True)
        else:
            gram = syrk(1.0, piece.T, beta=1.0, c=gram, trans=wide, overwrite_c=True)
    return gram


def eigenvalues(gram: NDArray[Any]) -> NDArray[np.float64]:
    """All eigenvalues, descending, of the symmetric matrix whose upper triangle is given, which is overwritten.

    By Householder steps to tridiagonal form and square-root-free QR: LAPACK's own routines, because SciPy's driver
    takes a sixth longer.
    """
    size = gram.shape[0]
    if size == 1:
        return gram.ravel().astype(np.float64)
    reduce, iterate = (lapack.ssytrd, lapack.ssterf) if gram.dtype == np.float32 else (lapack.dsytrd, lapack.dsterf)
    _, diagonal, beside, _, _ = reduce(gram, lower=0, lwork=_BLOCK * size, overwrite_a=1)
    values, failed = iterate(diagonal, beside, overwrite_d=1, overwrite_e=1)
    if failed:
        raise np.linalg.LinAlgError(f"the eigenvalues of a {size}×{size} matrix did not converge")
    return np.asarray(values[::-1], dtype=np.float64)


def _largest(gram: NDArray[Any]) -> float | None:
    """The largest eigenvalue by Lanczos iteration from a random start; None where it does not settle.

    Without reorthogonalisation: lost orthogonality makes copies of eigenvalues that are found already, no others. More
    exact than Householder steps in float32, and for wide matrices ten times as fast.
    """
    size = gram.shape[0]
    multiply, dot, add, norm, rescale = blas.get_blas_funcs(("symv", "dot", "axpy", "nrm2", "scal"), (gram,))
    vector = np.random.default_rng(0).standard_normal((size,)).astype(gram.dtype)
    vector = rescale(1.0 / float(norm(vector)), vector)
    before = np.zeros_like(vector)
    diagonal: list[float] = []
    beside: list[float] = []
    length, known = 0.0, 0.0
    for step in range(1, min(size, _STEPS) + 1):
        image = multiply(1.0, gram, vector, beta=-length, y=before, overwrite_y=True)
        diagonal.append(float(dot(vector, image)))
        image = add(vector, image, a=-diagonal[-1])
        length = float(norm(image))
        exhausted = length <= _SETTLED * abs(diagonal[0])
        if step % _CHECKED == 0 or exhausted:
            largest = largest_of_tridiagonal(diagonal, beside)
            if exhausted or abs(largest - known) <= _SETTLED * largest:
                return largest
            known = largest
        beside.append(length)
        before, vector = vector, rescale(1.0 / length, image)
    return None


def largest_of_tridiagonal(diagonal: list[float], beside: list[float]) -> float:
    """The largest eigenvalue of a small symmetric tridiagonal matrix."""
    if not beside:
        return diagonal[0]
    return float(lapack.dsterf(np.array(diagonal), np.array(beside))[0][-1])
