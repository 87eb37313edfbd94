"""Jacobians of single dense layers at the operating point: spectra beside theory and beside the shuffled layer.

The layer-wise Jacobian is Qu22's J = W·D between pre-activations, see `operating_points`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from critaudit.dynamics.jacobian.averages import over_points
from critaudit.dynamics.jacobian.dense_spectra import means, rectangular, spectrum
from critaudit.dynamics.jacobian.dense_theory import theory
from critaudit.dynamics.jacobian.operating_points import DenseLayer, dense_operating_points
from critaudit.dynamics.running import Running
from critaudit.errors import CritauditError
from critaudit.laws.nulls import shuffled
from critaudit.measurement import Measurement, not_applicable, undetermined
from critaudit.model import ModelView, WeightMatrix
from critaudit.report.record import Layer
from critaudit.text import printable

Measurements: TypeAlias = dict[str, Measurement]

# All eigenvalues (singular values) up to this size; their cost grows with its cube.
LARGEST_SQUARE, LARGEST_SIDE = 1024, 2048
# Mean logarithms of eigenvalues up to this size, by determinants.
LARGEST_DETERMINANT = 4096
# Operating points for averages that need no spectrum, and at most for those that do.
POINTS = 16
_SPECTRA = (4, 2, 1)
# Seconds on one core of a desktop: with more to do, fewer points are looked at; beyond the second, fewer layers.
_COMFORTABLE, _BEARABLE = 6.0, 20.0
_EIGENVALUES = ("jacobian.mean_log_clipped", "jacobian.expanding_share", "jacobian.spectral_radius")
_FORM = "J = W·diag φ′(h), h the pre-activations that φ turns into the layer's input"
_BARE = "J = W: no pointwise nonlinearity stands right before this layer"
_NOT_DENSE = {
    "embedding": "an embedding looks rows up; it has no Jacobian with respect to token ids",
    "recurrent": "a recurrent gate is no layer of its own: it acts together with the others, through products",
    "attention": "a query, key or value projection acts through the attention it feeds, not through a slope",
    "conv": "a convolution is no square matrix of couplings: its block is measured as an operator instead",
    "depthwise_conv": "a convolution is no square matrix of couplings: its block is measured as an operator instead",
    "transposed_conv": "a convolution is no square matrix of couplings: its block is measured as an operator instead",
}


def dense_layers(
    network: Running,
    view: ModelView,
    layers: Sequence[Layer],
    *,
    samples: int = POINTS,
) -> dict[str, Measurements]:
    """The measurements `jacobian.*` of every dense layer, by tensor; why there are none for layers of other kinds.

    `layers` are the report's layers, aligned with the view's matrices: their α and g go into the theory.
    """
    found: dict[str, Measurements] = {}
    held = {matrix.tensor: layer for matrix, layer in zip(view.matrices, layers, strict=True)}
    dense = dense_matrices(view)
    for matrix in view.matrices:
        if matrix.tensor not in dense:
            found[printable(matrix.tensor)] = {"jacobian.mean_log": not_applicable(_not_dense(matrix))}
    spectra, chosen = plan(list(dense.values()))
    for layer in dense_operating_points(network, dense.keys(), samples=min(samples, POINTS)):
        tensor = layer.tensor
        found[printable(tensor)] = _measure(layer, held[tensor], network, spectra, tensor in chosen)
    for tensor in dense:
        missing = "the running network does not hold it as a dense layer of its own"
        found.setdefault(printable(tensor), {"jacobian.mean_log": not_applicable(missing)})
    return found


def dense_matrices(view: ModelView) -> dict[str, WeightMatrix]:
    """By tensor: the matrices that are dense layers, each alone in its tensor."""
    parts: dict[str, list[WeightMatrix]] = {}
    for matrix in view.matrices:
        parts.setdefault(matrix.tensor, []).append(matrix)
    return {
        tensor: found[0]
        for tensor, found in parts.items()
        if len(found) == 1 and found[0].kind == "linear" and not found[0].kernel and found[0].groups == 1
    }


def plan(matrices: Sequence[WeightMatrix]) -> tuple[int, frozenset[str]]:
    """At how many operating points spectra are computed, and in which layers, so that it takes seconds.

    Deterministic in the shapes alone. First the number of points falls to one, then layers are left out evenly over the
    depth, the first and the last being kept.
    """
    within = [matrix for matrix in matrices if _fits(matrix.rows, matrix.columns)]
    costs = [_seconds(matrix.rows, matrix.columns) for matrix in within]
    points = next((count for count in _SPECTRA if count * sum(costs) <= _COMFORTABLE), 1)
    if sum(costs) <= _BEARABLE or len(within) < 3:
        return points, frozenset(matrix.tensor for matrix in within)
    count = max(2, int(len(within) * _BEARABLE / sum(costs)))
    places = {round(place) for place in np.linspace(0, len(within) - 1, count)}
    return 1, frozenset(within[place].tensor for place in places)


def _fits(rows: int, columns: int) -> bool:
    return rows <= LARGEST_SQUARE if rows == columns else min(rows, columns) <= LARGEST_SIDE


def _seconds(rows: int, columns: int) -> float:
    """What one point of a layer costs, roughly: the modes and the values of the shuffled layer."""
    if rows == columns:
        return 1.4 * (rows / 784) ** 3
    small, large = min(rows, columns), max(rows, columns)
    return 0.5 * (small / 784) ** 3 + 0.3 * (small / 784) ** 2 * large / 784


def _not_dense(matrix: WeightMatrix) -> str:
    if matrix.kind == "linear":
        return "one of several matrices in one tensor: it does not act as a layer of its own"
    return _NOT_DENSE.get(matrix.kind, f"a layer of kind {matrix.kind.replace('_', ' ')} is no dense layer")


def _measure(layer: DenseLayer, held: Layer, network: Running, spectra: int, is_chosen: bool) -> Measurements:
    if layer.slopes is None:
        return {"jacobian.mean_log": not_applicable(layer.reason or "its slopes are not known")}
    method = _method(layer, network)
    found = {"jacobian.gain": over_points(layer.gains(), f"‖J‖_F/√inputs; {method}")}
    left_out = undetermined(left_out_reason(layer))
    if not layer.is_square:
        found["jacobian.mean_log"] = not_applicable(_no_eigenvalues(layer))
        if not is_chosen:
            return found | {"jacobian.mean_log_singular": left_out}
    elif layer.shape[0] > LARGEST_DETERMINANT:
        return found | theory(layer, held) | dict.fromkeys(("jacobian.mean_log", *_EIGENVALUES), left_out)
    W = layer.weight()
    copy = shuffled(W, np.random.default_rng([network.seed, *W.shape])).astype(np.float64, copy=False)
    try:
        if not layer.is_square:
            return found | rectangular(W, copy, layer.slopes[:spectra])
        found |= means(W, copy, layer.slopes[: _determinants(len(W))], held, method) | theory(layer, held)
        if not is_chosen:
            return found | dict.fromkeys(_EIGENVALUES, left_out)
        return found | spectrum(W, copy, layer.slopes[:spectra])
    except (CritauditError, np.linalg.LinAlgError) as error:
        return found | {"jacobian.mean_log": undetermined(str(error))}


def _determinants(size: int) -> int:
    """At how many points determinants are computed: where neurons are off, each needs its own factorisation."""
    return max(2, min(POINTS, int(POINTS * (1024 / size) ** 3)))


def _method(layer: DenseLayer, network: Running) -> str:
    return _BARE if layer.activation is None else f"{_FORM}, φ = {layer.activation}; {network.method}"


def _no_eigenvalues(layer: DenseLayer) -> str:
    rows, columns = layer.shape
    return f"a {rows}×{columns} Jacobian has no eigenvalues; its singular values are measured instead"


def left_out_reason(layer: DenseLayer) -> str:
    """Why a layer that is not in the `plan` has no spectrum."""
    rows, columns = layer.shape
    if not _fits(rows, columns):
        limit = f"{LARGEST_SQUARE} (square) and {LARGEST_SIDE} (smaller side)"
        return f"{rows}×{columns}: spectra are computed up to {limit}; jacobian.gain is exact at any size"
    return "left out to bound the time: in a model of this size spectra are taken in some layers only"


__all__ = ["LARGEST_SIDE", "LARGEST_SQUARE", "POINTS", "dense_layers", "dense_matrices", "left_out_reason", "plan"]
