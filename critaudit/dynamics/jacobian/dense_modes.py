"""Eigen- and singular modes of dense Jacobians in few numbers, computed once for whoever asks again.

Two analyses of a report want the modes of the same matrices. What is kept is found by the matrix's content, so that
it cannot be mistaken for another's.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TypeAlias

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from critaudit.errors import CritauditError
from critaudit.laws.eigenvectors import LARGEST_RESIDUAL, eigenmodes
from critaudit.laws.multifractal import ORDERS, probability_dimensions

Array: TypeAlias = NDArray[np.float64]

# Modes whose |λ| (σ) is below this share of the largest are left out of averages over vectors.
SMALLEST_SHARE = 0.01
# Singular values below this share of the largest are lost in the rounding of a Gram matrix.
RESOLUTION = 1e-7
_KEPT = 128


@dataclass(frozen=True, slots=True, eq=False)
class DenseModes:
    """The modes of one Jacobian. For a rectangular one they are singular: `values` are σ, `is_complex` all False.

    `values` stand for `multiplicity` values each (2 for a complex pair, of which the one with Im ≥ 0 is held), the
    largest first; `zeros` more are zero or negligible. `residual` is the largest relative residual of the vectors that
    are used, `discarded` the number of those that failed 1e-6. `left` and `right` hold D_q at `ORDERS` (rows) of the
    vectors of the modes `used`: those that pass and have |λ| > 0.01·max|λ|. `sites` are the vectors' lengths
    (left, right).
    """

    values: NDArray[np.complex128]
    multiplicity: NDArray[np.int64]
    zeros: int
    residual: float
    discarded: int
    used: NDArray[np.bool_]
    left: NDArray[np.float32]
    right: NDArray[np.float32]
    sites: tuple[int, int]

    @property
    def count(self) -> int:
        """How many values there are, those that are zero included."""
        return int(self.multiplicity.sum()) + self.zeros

    @property
    def is_complex(self) -> NDArray[np.bool_]:
        """Of the used modes, which have complex vectors."""
        return self.multiplicity[self.used] > 1

    @property
    def weights(self) -> NDArray[np.int64]:
        """Of the used modes, the number of vectors that each stands for."""
        return self.multiplicity[self.used]

    def radii(self) -> Array:
        """|λ| or σ of all values, descending, zeros included."""
        sizes = np.repeat(np.abs(self.values), self.multiplicity)
        return np.concatenate((np.sort(sizes)[::-1], np.zeros(self.zeros)))


def dense_modes(weight: Array, slopes: Array) -> DenseModes:
    """Modes of a layer's Jacobian J = W·diag(slopes): eigenmodes where it is square, singular ones where it is not.

    Raises CritauditError where the decomposition does not exist.
    """
    find = _eigen if weight.shape[0] == weight.shape[1] else _singular
    return _kept(weight, slopes, find)


def singular_values(jacobian: Array) -> Array:
    """All singular values, descending, from the float64 Gram matrix: to 1e-15·σ₁²/σ, zero below 1e-7·σ₁."""
    gram = jacobian @ jacobian.T if jacobian.shape[0] <= jacobian.shape[1] else jacobian.T @ jacobian
    found = np.sqrt(np.maximum(scipy.linalg.eigvalsh(gram, overwrite_a=True, check_finite=False), 0.0))[::-1]
    return np.asarray(np.where(found > RESOLUTION * found[0], found, 0.0))


def _eigen(weight: Array, slopes: Array) -> DenseModes:
    modes = eigenmodes(weight, slopes)
    sizes = np.abs(modes.eigenvalues)
    order = np.argsort(-sizes, kind="stable")
    trusted = modes.trusted
    wanted = trusted & (sizes > SMALLEST_SHARE * sizes.max(initial=0.0))
    among = wanted[trusted]
    place = np.cumsum(wanted) - 1
    columns = place[order[wanted[order]]]
    left = _dimensions(modes.probabilities("left")[:, among], columns)
    right = _dimensions(modes.probabilities("right")[:, among], columns)
    return DenseModes(
        values=modes.eigenvalues[order],
        multiplicity=modes.multiplicity[order],
        zeros=modes.set_apart,
        residual=float(modes.residuals[trusted].max(initial=0.0)),
        discarded=modes.discarded,
        used=wanted[order],
        left=left,
        right=right,
        sites=(len(slopes), len(slopes)),
    )


def _singular(weight: Array, slopes: Array) -> DenseModes:
    """Singular modes by the eigenvectors of the smaller Gram matrix, their residuals checked on J itself."""
    J = weight * slopes
    if not np.isfinite(J).all():
        raise CritauditError("the Jacobian holds NaN or infinite entries, which have no singular values")
    wide = J.shape[0] <= J.shape[1]
    A = J if wide else J.T  # A = U·diag(σ)·Vᵀ with U the smaller side
    squares, U = scipy.linalg.eigh(A @ A.T, overwrite_a=True, check_finite=False)
    sigma, U = np.sqrt(np.maximum(squares, 0.0))[::-1], U[:, ::-1]
    kept = sigma > RESOLUTION * sigma[0]
    sigma, U = sigma[kept], U[:, kept]
    V = A.T @ U
    lengths = np.linalg.norm(V, axis=0)
    V /= lengths
    residuals = np.linalg.norm(A @ V - U * sigma, axis=0) / sigma if sigma.size else np.zeros(0)
    trusted = residuals < LARGEST_RESIDUAL
    used = trusted & (sigma > SMALLEST_SHARE * sigma.max(initial=0.0))
    columns = np.arange(int(used.sum()))
    left, right = (U, V) if wide else (V, U)
    return DenseModes(
        values=sigma.astype(np.complex128),
        multiplicity=np.ones(sigma.size, dtype=np.int64),
        zeros=int(kept.size - sigma.size),
        residual=float(residuals[trusted].max(initial=0.0)),
        discarded=int(np.count_nonzero(~trusted)),
        used=used,
        left=_dimensions(left[:, used] ** 2, columns),
        right=_dimensions(right[:, used] ** 2, columns),
        sites=(J.shape[0], J.shape[1]),
    )


def _dimensions(probabilities: Array, columns: NDArray[np.intp]) -> NDArray[np.float32]:
    """D_q at `ORDERS` of the given columns; where there is one site only, nothing."""
    if probabilities.shape[0] < 2 or not columns.size:
        return np.zeros((len(ORDERS), 0), dtype=np.float32)
    return probability_dimensions(probabilities[:, columns]).astype(np.float32)


_memory: OrderedDict[bytes, DenseModes] = OrderedDict()
_lock = Lock()


def _kept(weight: Array, slopes: Array, find: Callable[[Array, Array], DenseModes]) -> DenseModes:
    """The result for these very numbers, from memory where it was computed lately."""
    digest = hashlib.blake2b(repr(weight.shape).encode(), digest_size=24)
    for numbers in (weight, slopes):
        digest.update(np.ascontiguousarray(numbers).data.cast("B"))
    key = digest.digest()
    with _lock:
        if key in _memory:
            _memory.move_to_end(key)
            return _memory[key]
    found = find(weight, slopes)
    with _lock:
        _memory[key] = found
        while len(_memory) > _KEPT:
            _memory.popitem(last=False)
    return found
