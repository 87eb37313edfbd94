"""Eigenvalues and eigenvectors of a layer's Jacobian W·diag(slopes), where general solvers fail (Qu22).

A saturated neuron has a slope of 1e-30 and less. LAPACK balances such columns, and the right eigenvectors that come
back can be wrong altogether without a warning. Here neurons with negligible slopes are set apart, what is left is
decomposed in the balanced form √|D_a|·W_aa·√|D_a|, and the vectors are mapped back. The residual of every vector is
computed, and those that fail are not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import lapack

from critaudit.errors import CritauditError

Array: TypeAlias = NDArray[np.float64]
Form: TypeAlias = Literal["WD", "DW"]

# Slopes below this share of the largest one move the other eigenvalues by less than rounding does.
NEGLIGIBLE = 1e-10
# Vectors whose relative residual is not below this are discarded.
LARGEST_RESIDUAL = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Modes:
    """Eigenvalues with their right and left vectors, one member of each complex conjugate pair.

    `eigenvalues` (m, complex, Im ≥ 0) stand for `multiplicity` (1 for real ones, 2 for a pair) eigenvalues each, which
    with `set_apart` make N: eigenvalues that are zero to the precision of the largest, of neurons whose slope is
    negligible (`zero_slopes` of them exactly zero). Column k of `right` and `left`, shape (N, 2m) as real parts and
    imaginary parts side by side (see `vectors`), has the relative `residuals` ‖Jv − λv‖/(|λ|·‖v‖), the larger one of
    right and left. `trusted` are the modes with a residual below 1e-6.
    """

    eigenvalues: NDArray[np.complex128]
    multiplicity: NDArray[np.int64]
    right: Array
    left: Array
    residuals: Array
    set_apart: int
    zero_slopes: int

    @property
    def trusted(self) -> NDArray[np.bool_]:
        """Which modes have vectors that solve the eigenvalue equation."""
        return self.residuals < LARGEST_RESIDUAL

    @property
    def discarded(self) -> int:
        """How many of the N eigenvectors fail their eigenvalue equation; those set apart are not counted."""
        return int(self.multiplicity[~self.trusted].sum())

    def probabilities(self, side: Literal["right", "left"]) -> Array:
        """|v_i|² with unit sum for every trusted mode, shape (N, number of trusted modes)."""
        packed = self.right if side == "right" else self.left
        half = packed.shape[1] // 2
        weight = packed[:, :half] ** 2 + packed[:, half:] ** 2
        chosen = weight[:, self.trusted]
        return np.asarray(chosen / chosen.sum(axis=0))

    def vectors(self, side: Literal["right", "left"]) -> NDArray[np.complex128]:
        """The vectors of unit length as complex columns, shape (N, m). A left vector u has uᵀJ = λuᵀ."""
        packed = self.right if side == "right" else self.left
        half = packed.shape[1] // 2
        return np.asarray(packed[:, :half] + 1j * packed[:, half:])


def eigenmodes(weight: ArrayLike, slopes: ArrayLike, *, form: Form = "WD") -> Modes:
    """Modes of J = W·diag(slopes) ("WD"), or of diag(slopes)·W ("DW"), which has the same eigenvalues.

    `weight` is square, (N, N); `slopes` (N,) are φ′(h), of either sign and exactly zero where a ReLU is off. Agrees
    with `numpy.linalg.eig` wherever that one's residuals are small. Qu22's multifractal analysis is that of "WD", the
    Jacobian from pre-activations to pre-activations. Memory: about ten matrices of N².
    Raises CritauditError for other shapes and for entries that are not finite.
    """
    W, D = _checked(weight, slopes)
    active, root, sign = _split(D)
    if not active.any():
        empty = np.zeros((D.size, 0))
        return Modes(np.zeros(0, complex), np.zeros(0, np.int64), empty, empty, np.zeros(0), D.size, _zeros(D))
    balanced = root[:, None] * W[np.ix_(active, active)] * (root * sign)
    real, imaginary, left, right, info = lapack.dgeev(balanced, overwrite_a=1)
    if info != 0:
        raise CritauditError(f"the {D.size}×{D.size} eigenvalue problem did not converge; its entries may be extreme")
    kept = np.flatnonzero(imaginary >= 0.0)
    eigenvalues = real[kept] + 1j * imaginary[kept]
    # W D right: v = W_{·a} √D_a b; left: u = √D_a c, and D Wᵀu/λ where slopes are negligible.
    v = W[:, active] @ _unpack(right * (root * sign)[:, None], kept, imaginary, conjugate=False)
    u = np.zeros((D.size, 2 * kept.size))
    u[active] = _unpack(left * root[:, None], kept, imaginary, conjugate=True)
    pulled = W.T @ u
    aside = ~active
    u[aside] = _divided(D[aside, None] * pulled[aside], eigenvalues)
    if form == "DW":
        v, u = D[:, None] * v, pulled
    v, u = _normalised(v), _normalised(u)
    images = (
        (W @ (D[:, None] * v), D[:, None] * (W.T @ u))
        if form == "WD"
        else (D[:, None] * (W @ v), W.T @ (D[:, None] * u))
    )
    residuals = np.maximum(_residuals(images[0], v, eigenvalues), _residuals(images[1], u, eigenvalues))
    multiplicity = np.where(imaginary[kept] > 0.0, 2, 1).astype(np.int64)
    return Modes(eigenvalues, multiplicity, v, u, residuals, int(aside.sum()), _zeros(D))


def jacobian_eigenvalues(weight: ArrayLike, slopes: ArrayLike) -> NDArray[np.complex128]:
    """All N eigenvalues of W·diag(slopes), those of neurons with negligible slopes as zeros at the end."""
    W, D = _checked(weight, slopes)
    active, root, sign = _split(D)
    found = np.zeros(D.size, complex)
    if active.any():
        found[: int(active.sum())] = np.linalg.eigvals(root[:, None] * W[np.ix_(active, active)] * (root * sign))
    return found


def log_determinant(weight: ArrayLike, slopes: ArrayLike) -> float:
    """mean ln|λ| over the eigenvalues of W·diag(slopes) whose slope is not exactly zero, by an LU factorisation.

    Exact for slopes of any size, where eigenvalues below rounding are lost. With all slopes non-zero it is
    (1/N)·ln|det J|. NaN where every slope is zero; −inf where W, or its part that is on, is singular to rounding.
    Raises CritauditError as `eigenmodes`.
    """
    W, D = _checked(weight, slopes)
    on = D != 0.0
    if not on.any():
        return float("nan")
    active = W if on.all() else W[np.ix_(on, on)]
    factors, _, info = lapack.dgetrf(active)
    inverse_condition = 0.0 if info > 0 else lapack.dgecon(factors, np.linalg.norm(active, 1))[0]
    if inverse_condition < np.finfo(np.float64).eps:
        return -np.inf
    logarithm = float(np.log(np.abs(np.diagonal(factors))).sum())
    return (logarithm + float(np.log(np.abs(D[on])).sum())) / int(on.sum())


def _checked(weight: ArrayLike, slopes: ArrayLike) -> tuple[Array, Array]:
    W, D = np.asarray(weight, dtype=np.float64), np.asarray(slopes, dtype=np.float64)
    if W.ndim != 2 or W.shape[0] != W.shape[1] or D.shape != W.shape[:1] or D.size == 0:
        raise CritauditError(
            f"a weight of shape {W.shape} with slopes of shape {D.shape} has no eigenvalues; give (N, N) and (N,)"
        )
    if not (np.isfinite(W).all() and np.isfinite(D).all()):
        raise CritauditError(f"the {D.size}×{D.size} Jacobian holds NaN or infinite entries, which have no eigenvalues")
    return W, D


def _split(D: Array) -> tuple[NDArray[np.bool_], Array, Array]:
    """Neurons whose slope counts, the root of its size, and its sign."""
    size = np.abs(D)
    active = size > NEGLIGIBLE * size.max()
    return active, np.sqrt(size[active]), np.sign(D[active])


def _zeros(D: Array) -> int:
    return int(np.count_nonzero(D == 0.0))


def _unpack(packed: Array, kept: NDArray[np.intp], imaginary: Array, *, conjugate: bool) -> Array:
    """LAPACK's columns (real, or real and imaginary part of a pair) as real parts, then imaginary parts.

    LAPACK's left vectors satisfy uᴴM = λuᴴ; their conjugates satisfy uᵀM = λuᵀ.
    """
    parts = np.zeros((packed.shape[0], 2 * kept.size))
    parts[:, : kept.size] = packed[:, kept]
    paired = imaginary[kept] > 0.0
    parts[:, kept.size :][:, paired] = packed[:, kept[paired] + 1] * (-1.0 if conjugate else 1.0)
    return parts


def _divided(packed: Array, eigenvalues: NDArray[np.complex128]) -> Array:
    """Columns over their eigenvalues; zero where the eigenvalue is."""
    inverse = np.divide(1.0, eigenvalues, out=np.zeros_like(eigenvalues), where=eigenvalues != 0.0)
    return _scaled(packed, inverse)


def _scaled(packed: Array, factors: NDArray[np.complex128]) -> Array:
    half = packed.shape[1] // 2
    real, imaginary = packed[:, :half], packed[:, half:]
    return np.concatenate(
        (real * factors.real - imaginary * factors.imag, real * factors.imag + imaginary * factors.real), axis=1
    )


def _lengths(packed: Array) -> Array:
    half = packed.shape[1] // 2
    squares = np.einsum("ij,ij->j", packed, packed)
    return np.asarray(np.sqrt(squares[:half] + squares[half:]))


def _normalised(packed: Array) -> Array:
    lengths = _lengths(packed)
    lengths[lengths == 0.0] = 1.0
    packed /= np.tile(lengths, 2)
    return packed


def _residuals(image: Array, packed: Array, eigenvalues: NDArray[np.complex128]) -> Array:
    """‖Jv − λv‖/|λ| of vectors of unit length; infinite for λ = 0 and for vectors that are zero."""
    error = _lengths(image - _scaled(packed, eigenvalues))
    usable = (np.abs(eigenvalues) > 0.0) & (_lengths(packed) > 0.5)
    relative = np.full(error.shape, np.inf)
    np.divide(error, np.abs(eigenvalues), out=relative, where=usable)
    return relative
