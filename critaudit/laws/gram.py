"""Gram matrices in tridiagonal form: the way from a weight matrix to its singular values, in two steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.linalg import blas

# A piece that is converted or scaled before it enters a product: 8 MB in float64.
PIECE = 2**20

# From a piece of a matrix to float32 numbers of the same shape.
Convert: TypeAlias = Callable[[NDArray[np.generic]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class GramForm:
    """A Gram matrix in tridiagonal form: what it tells before, and at a third of the price of, all its eigenvalues."""

    diagonal: NDArray[Any]
    beside: NDArray[Any]

    @property
    def total(self) -> float:
        """Sum of the eigenvalues, Σσ²."""
        return float(self.diagonal.sum(dtype=np.float64))

    @property
    def squares(self) -> float:
        """Sum of their squares, Σσ⁴."""
        diagonal, beside = self.diagonal.astype(np.float64), self.beside.astype(np.float64)
        return float(diagonal @ diagonal + 2.0 * beside @ beside)

    @property
    def largest(self) -> float:
        """The largest eigenvalue, σ₁², by bisection."""
        size = self.diagonal.size
        if size == 1:
            return float(self.diagonal[0])
        found = scipy.linalg.eigvalsh_tridiagonal(
            self.diagonal, self.beside, select="i", select_range=(size - 1, size - 1), check_finite=False
        )
        return float(found[0])

    def eigenvalues(self) -> NDArray[np.float64]:
        """All eigenvalues, descending, by square-root-free QR."""
        size = self.diagonal.size
        if size == 1:
            return self.diagonal.astype(np.float64)
        (iterate,) = scipy.linalg.get_lapack_funcs(("sterf",), (self.diagonal,))
        values, failed = iterate(self.diagonal, self.beside)
        if failed:
            raise np.linalg.LinAlgError(f"the eigenvalues of a {size}×{size} matrix did not converge")
        return np.asarray(values[::-1], dtype=np.float64)


def gram_form(
    block: NDArray[np.generic],
    scale: float,
    dtype: type[np.float32] | type[np.float64],
    convert: Convert | None = None,
) -> GramForm:
    """The smaller of W Wᵀ and WᵀW, formed in `dtype`, in tridiagonal form.

    `scale` multiplies the entries first; `convert` maps each piece of the matrix to float32 instead.
    """
    return _tridiagonal(_gram_matrix(block, scale, dtype, convert))


def _tridiagonal(gram: NDArray[np.float32] | NDArray[np.float64]) -> GramForm:
    """Householder steps on the symmetric matrix whose upper triangle is given, which is overwritten.

    LAPACK's own routine: SciPy's driver, which goes on to the eigenvalues, takes a sixth longer.
    """
    reduce, lwork = scipy.linalg.get_lapack_funcs(("sytrd", "sytrd_lwork"), (gram,))
    work = int(lwork(gram.shape[0], lower=0)[0])
    _, diagonal, beside, _, _ = reduce(gram, lower=0, lwork=work, overwrite_a=1)
    return GramForm(diagonal, beside)


def _gram_matrix(
    block: NDArray[np.generic],
    scale: float,
    dtype: type[np.float32] | type[np.float64],
    convert: Convert | None,
) -> NDArray[np.float32] | NDArray[np.float64]:
    """The upper triangle of the smaller of W Wᵀ and WᵀW, piece by piece."""
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
