"""Spectra of linear operators that are only known by their action: quadrature, largest values, exact ones where small.

A Golub–Kahan bidiagonalisation from a random start v gives a Gauss quadrature of vᵀf(JᵀJ)v for every f at once
(Golub & Meurant 2010; stochastic Lanczos quadrature, Ubaru, Chen & Saad 2017). It works with singular values rather
than their squares, so that small ones are seen down to the rounding of J itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

Array = NDArray[Any]

# Singular values below this many rounding errors of the largest one are zero as far as can be told.
_ROUNDING_ERRORS = 16.0
# An operator that loses more than this share of its directions to rounding has no mean logarithm worth the name.
_LOST_SHARE = 0.01
# A quadrature whose mean logarithm still moved by more than this when its steps doubled has not settled.
_UNSETTLED = 0.3
# Spread of the logarithms of the outputs' scales beyond which it pays to divide by them first.
_UNEVEN = 1.2


@dataclass(frozen=True, slots=True)
class Effort:
    """How many products may be spent: `steps` pairs for the quadrature, then restarts of the eigensolvers.

    `top_restarts` = 0 leaves the largest singular value as the quadrature gave it, `radius_restarts` = 0 leaves the
    spectral radius out.
    """

    steps: int = 32
    top_restarts: int = 30
    radius_restarts: int = 10


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What is known about the singular values σ of an operator.

    `mean_log` is the mean of ln σ over the `dimension` directions that were looked at, None where more than 1 % of them
    are lost to rounding (the mean is −∞) or the quadrature has not settled; for a square operator it is mean ln|λ|.
    `expanding` is the share of σ > 1. `top` is the largest σ. `mean_log_error` and `expanding_error` are standard
    errors of the random start and the quadrature's truncation together (0 where `steps` is None: computed exactly).
    `top_residual` is ‖JᵀJv − σ²v‖/σ² of its vector: some singular value lies within σ·residual/2 of `top`, and none of
    those found is larger. `radius` is the largest |λ| of a square operator, None where it was not asked for or did not
    converge. `reason` says why there is no `mean_log`, or what it leaves out.
    """

    dimension: int
    top: float
    top_residual: float
    mean_log: float | None
    mean_log_error: float
    expanding: float
    expanding_error: float
    steps: int | None
    radius: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Quadrature:
    """Nodes σ and weights of a Gauss quadrature of the spectral measure of JᵀJ seen from one start, largest first.

    `coarse_*` are those of half as many steps. `leading` approximates the right singular vector of the first node.
    """

    nodes: NDArray[np.float64]
    weights: NDArray[np.float64]
    coarse_nodes: NDArray[np.float64]
    coarse_weights: NDArray[np.float64]
    leading: Array


def quadrature(operator: LinearOperator, start: Array, steps: int) -> Quadrature:
    """Bidiagonalise from `start` (inputs,) in at most `steps` steps, reorthogonalised in full.

    An invariant subspace ends it early; the quadrature is exact then.
    """
    outputs, inputs = operator.shape
    steps = max(1, min(steps, inputs, outputs))
    tiny = float(np.finfo(operator.dtype).eps)
    V = np.zeros((steps, inputs), dtype=operator.dtype)
    U = np.zeros((steps, outputs), dtype=operator.dtype)
    diagonal, beyond = np.zeros(steps), np.zeros(steps)
    V[0] = start / np.linalg.norm(start)
    used = steps
    for step in range(steps):
        u = operator.matvec(V[step])
        if step:
            u = u - U[step - 1] * U.dtype.type(beyond[step - 1])
        u = _orthogonal(u, U[:step])
        diagonal[step] = _norm(u)
        scale = max(diagonal.max(), beyond.max())
        if diagonal[step] <= tiny * scale or scale == 0.0:
            diagonal[step], used = 0.0, step + 1
            break
        U[step] = u / U.dtype.type(diagonal[step])
        if step + 1 == steps:
            break
        v = _orthogonal(operator.rmatvec(U[step]) - V[step] * V.dtype.type(diagonal[step]), V[: step + 1])
        beyond[step] = _norm(v)
        if beyond[step] <= tiny * scale:
            beyond[step], used = 0.0, step + 1
            break
        V[step + 1] = v / V.dtype.type(beyond[step])
    nodes, weights, vectors = _gauss(diagonal[:used], beyond[: used - 1])
    half = max(1, used // 2)
    coarse_nodes, coarse_weights, _ = _gauss(diagonal[:half], beyond[: half - 1])
    leading = vectors[0].astype(V.dtype) @ V[:used]
    return Quadrature(nodes, weights, coarse_nodes, coarse_weights, leading)


def spectrum(
    operator: LinearOperator,
    *,
    rng: np.random.Generator,
    effort: Effort = Effort(),
    live: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None,
    scales: Array | None = None,
    precision: float = 0.0,
) -> Spectrum:
    """The singular values of `operator` from one random start.

    `live` marks the outputs and inputs that are not identically zero; the smaller of the two sets is looked at, for the
    others σ = 0. `scales` are rough magnitudes of the operator's rows: where they are very uneven (saturated units),
    ln det JJᵀ = 2Σ ln dᵢ + ln det D⁻¹JJᵀD⁻¹ is used, which holds for any D and converges in few steps. `precision`
    is the relative error of the operator's own arithmetic where that is coarser than its dtype. ARPACK gives the
    largest singular value (`scipy.sparse.linalg.eigsh` on JᵀJ) and the spectral radius (`eigs`).
    """
    outputs, inputs = operator.shape
    rows, columns = live if live is not None else (np.ones(outputs, bool), np.ones(inputs, bool))
    flipped = int(rows.sum()) < int(columns.sum())
    acting, mask = (operator.T, rows) if flipped else (operator, columns)
    dimension = int(mask.sum())
    if dimension == 0:
        return Spectrum(0, 0.0, 0.0, None, 0.0, 0.0, 0.0, None, reason="the Jacobian is zero")
    start = (rng.standard_normal(len(mask)) * mask).astype(operator.dtype)
    found = quadrature(acting, start, min(effort.steps, dimension))
    top, residual = _largest(acting, found.leading, restarts=effort.top_restarts)
    top = max(top, float(found.nodes[0]))
    floor = _ROUNDING_ERRORS * max(float(np.finfo(operator.dtype).eps), precision) * top
    log, log_error, reason = _mean_log(found, dimension, floor)
    if scales is not None and rows.sum() <= columns.sum() and float(np.std(np.log(scales[rows]))) > _UNEVEN:
        log, log_error, reason = _balanced_mean_log(operator, rows, scales, rng, effort.steps)
    expanding, expanding_error = _expanding(found, dimension, 1.0 + floor / top if top > 0 else 1.0)
    radius = None
    if effort.radius_restarts and outputs == inputs:
        radius = spectral_radius(operator, rng=rng, restarts=effort.radius_restarts)
    return Spectrum(
        dimension, top, residual, log, log_error, expanding, expanding_error, len(found.nodes), radius, reason
    )


def exact_spectrum(matrix: Array, *, radius: bool = True, precision: float = 0.0) -> Spectrum:
    """The same from the matrix itself, by LAPACK; rows and columns that are all zero are left out."""
    from scipy import linalg

    wide = np.asarray(matrix, dtype=np.float64)
    rows, columns = wide.any(axis=1), wide.any(axis=0)
    dimension = int(min(rows.sum(), columns.sum()))
    if dimension == 0:
        return Spectrum(0, 0.0, 0.0, None, 0.0, 0.0, 0.0, None, reason="the Jacobian is zero")
    sigmas = linalg.svdvals(wide[np.ix_(rows, columns)])
    floor = _ROUNDING_ERRORS * max(float(np.finfo(matrix.dtype).eps), precision) * sigmas[0]
    weights = np.full(dimension, 1.0 / dimension)
    log, reason = _surviving_log(sigmas, weights, floor)
    is_square = wide.shape[0] == wide.shape[1]
    return Spectrum(
        dimension=dimension,
        top=float(sigmas[0]),
        top_residual=0.0,
        mean_log=log,
        mean_log_error=0.0,
        expanding=float((sigmas > 1.0 + floor / sigmas[0]).mean()),
        expanding_error=0.0,
        steps=None,
        radius=float(np.abs(linalg.eigvals(wide)).max()) if radius and is_square else None,
        reason=reason,
    )


def spectral_radius(operator: LinearOperator, *, rng: np.random.Generator, restarts: int = 10) -> float | None:
    """The largest |λ| of a square operator by Arnoldi iteration; None where it has not converged to 1 %.

    Eigenvalues of operators that are far from normal move under tiny changes, and growth over a few blocks is ruled by
    singular values.
    """
    from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, eigs

    size, arnoldi = operator.shape[0], 20
    if size <= arnoldi + 2:
        return float(np.abs(np.linalg.eigvals(operator @ np.eye(size, dtype=operator.dtype))).max())
    start = rng.standard_normal(size).astype(operator.dtype)
    options = {"k": 2, "which": "LM", "v0": start, "ncv": arnoldi, "maxiter": restarts, "tol": 1e-2}
    try:
        values = eigs(operator, return_eigenvectors=False, **options)
    except ArpackNoConvergence as error:
        values = error.eigenvalues
    except ArpackError:
        return None
    return float(np.abs(values).max()) if len(values) else None


def _largest(operator: LinearOperator, start: Array, *, restarts: int) -> tuple[float, float]:
    """The largest singular value by ARPACK from `start` (or as it stands there), and its relative residual."""
    from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh

    size = operator.shape[1]
    squared = LinearOperator(
        shape=(size, size), matvec=lambda v: operator.rmatvec(operator.matvec(v)), dtype=operator.dtype
    )
    vector = start
    if restarts and size > 24:
        # Few vectors where each costs a pass through the network, the usual number where it does not.
        few = restarts < 10
        options = {"which": "LA", "v0": start, "ncv": 6 if few else 20, "tol": 1e-4 if few else 1e-7}
        try:
            vector = eigsh(squared, k=1, maxiter=restarts, **options)[1][:, 0]
        except ArpackNoConvergence as error:
            vector = error.eigenvectors[:, 0] if error.eigenvectors.shape[1] else start
        except ArpackError:
            vector = start
    norm = _norm(vector)
    if norm == 0.0:
        return 0.0, 0.0
    vector = vector / vector.dtype.type(norm)
    image = operator.matvec(vector)
    value = _norm(image)
    if value == 0.0:
        return 0.0, 0.0
    rest = operator.rmatvec(image) - vector.dtype.type(value**2) * vector
    return value, _norm(rest) / value**2


def _gauss(
    diagonal: NDArray[np.float64], beyond: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Nodes, weights and right singular vectors (rows) of the upper bidiagonal matrix."""
    B = np.diag(diagonal) + (np.diag(beyond, 1) if len(beyond) else 0.0)
    _, nodes, vectors = np.linalg.svd(B)
    return nodes, vectors[:, 0] ** 2, vectors


def _mean_log(found: Quadrature, dimension: int, floor: float) -> tuple[float | None, float, str | None]:
    """Mean ln σ with its standard error, or why there is none.

    Gauss quadrature of ln comes from above and, where the spectrum reaches down to zero, falls as 1/steps; what the
    last doubling of the steps changed is what is still missing. It is put into the value, and half of it together with
    the random start's error into the error.
    """
    value, reason = _surviving_log(found.nodes, found.weights, floor)
    if value is None:
        return None, 0.0, reason
    coarse, _ = _surviving_log(found.coarse_nodes, found.coarse_weights, floor, strict=False)
    settled = len(found.coarse_nodes) == len(found.nodes) or coarse is None
    missing = 0.0 if settled or coarse is None else max(coarse - value, 0.0)
    if missing > _UNSETTLED:
        return None, 0.0, f"{len(found.nodes)} Krylov steps do not settle the mean logarithm (± {missing:.2g})"
    logs = np.log(np.maximum(found.nodes, floor))
    spread = float(found.weights @ (logs - value) ** 2)
    return value - missing, math.hypot(math.sqrt(2.0 * spread / (dimension + 2)), missing / 2), reason


def _surviving_log(
    nodes: NDArray[np.float64], weights: NDArray[np.float64], floor: float, *, strict: bool = True
) -> tuple[float | None, str | None]:
    """Mean ln σ over the directions above rounding, and a word on those below; None where those are too many."""
    above = nodes > floor
    lost = max(1.0 - float(weights[above].sum()), 0.0) if not above.all() else 0.0
    if not above.any() or (strict and lost > _LOST_SHARE):
        return (
            None,
            f"the Jacobian is singular to working precision ({max(lost, 0.001):.2g} of its directions are lost)",
        )
    value = float(weights[above] @ np.log(nodes[above])) / float(weights[above].sum())
    return value, f"{lost:.2g} of the directions are lost to rounding and left out" if lost else None


def _balanced_mean_log(
    operator: LinearOperator, rows: NDArray[np.bool_], scales: Array, rng: np.random.Generator, steps: int
) -> tuple[float | None, float, str | None]:
    """Mean ln σ of the live rows through D⁻¹J, D = diag(scales)."""
    from scipy.sparse.linalg import LinearOperator

    inverse = np.where(rows, 1.0 / np.where(rows, scales, 1.0), 0.0).astype(operator.dtype)
    balanced = LinearOperator(
        shape=operator.shape[::-1],
        matvec=lambda u: operator.rmatvec(inverse * u),
        rmatvec=lambda v: inverse * operator.matvec(v),
        dtype=operator.dtype,
    )
    start = (rng.standard_normal(len(rows)) * rows).astype(operator.dtype)
    found = quadrature(balanced, start, min(steps, int(rows.sum())))
    floor = _ROUNDING_ERRORS * float(np.finfo(operator.dtype).eps) * float(found.nodes[0])
    value, error, reason = _mean_log(found, int(rows.sum()), floor)
    shift = float(np.log(scales[rows].astype(np.float64)).mean())
    return None if value is None else value + shift, error, reason


def _expanding(found: Quadrature, dimension: int, one: float) -> tuple[float, float]:
    """The share of σ > 1 (`one`, with rounding) and its standard error: a node near 1 may hold weight of both sides."""
    above = found.nodes > one
    value = float(found.weights[above].sum())
    boundary = int(above.sum())
    beside = found.weights[max(boundary - 1, 0) : boundary + 1]
    truncation = float(beside.max()) / 2 if 0 < boundary < len(found.nodes) else 0.0
    return value, math.hypot(math.sqrt(2.0 * value * (1.0 - min(value, 1.0)) / (dimension + 2)), truncation)


def _orthogonal(vector: Array, basis: Array) -> Array:
    """`vector` without its parts along the rows of `basis`; twice is enough."""
    for _ in range(2 if len(basis) else 0):
        vector = vector - (basis @ vector) @ basis
    return vector


def _norm(vector: Array) -> float:
    return float(np.sqrt(np.sum(np.square(vector, dtype=np.float64))))
