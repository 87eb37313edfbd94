"""How localised the modes of a network's dense layers are: D_q of eigenvectors and singular vectors (Qu22, Figs 3, S2).

The vectors are those of the layer-wise Jacobian J = W·D (see `jacobian.operating_points`): left and right eigenvectors
where it is square, left (on the outputs) and right (on the inputs) singular vectors where it is not. Under heavy tails
the left eigenvectors are the stable ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.dynamics.jacobian.dense import POINTS, dense_matrices, left_out_reason, plan
from critaudit.dynamics.jacobian.dense_modes import DenseModes, dense_modes
from critaudit.dynamics.jacobian.operating_points import DenseLayer, dense_operating_points
from critaudit.dynamics.running import Running
from critaudit.errors import CritauditError
from critaudit.laws.multifractal import ORDERS, gaussian_dimensions
from critaudit.laws.nulls import shuffled
from critaudit.model import ModelView

Array: TypeAlias = NDArray[np.float64]
Name: TypeAlias = Literal["left", "right"]


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """The left or the right vectors of a layer, of length `sites`.

    `dimensions` are the mean D_q at `laws.multifractal.ORDERS` over vectors and operating points; `by_point` the mean
    D_2 at each point; `quantiles` D_2 at 5, 50 and 95 % of the vectors. `reference` is the same mean for Gaussian
    vectors of this length, real and complex in the same shares; `shuffled` for the layer with its entries in random
    places and the same slopes, at the first point (None where that has no vectors).
    """

    sites: int
    dimensions: Array
    by_point: Array
    quantiles: tuple[float, float, float]
    reference: Array
    shuffled: Array | None


@dataclass(frozen=True, slots=True, eq=False)
class LayerDimensions:
    """The dimensions of one layer's vectors, or the `reason` why there are none.

    `n` vectors were used, over `points` operating points; `discarded` failed their equation, `faint` have |λ| or σ
    below 0.01 of the largest or belong to neurons that are off. `residual` is the largest relative residual of those
    that pass.
    """

    tensor: str
    kind: Literal["eigenvectors", "singular vectors"] = "eigenvectors"
    activation: str | None = None
    left: Side | None = None
    right: Side | None = None
    points: int = 0
    n: int = 0
    discarded: int = 0
    faint: int = 0
    residual: float = 0.0
    reason: str | None = None


def layer_dimensions(network: Running, view: ModelView, *, samples: int = POINTS) -> Iterator[LayerDimensions]:
    """Dimensions of every dense layer, in the network's order, at one to four of at most `samples` inputs.

    How many inputs, and in large models which layers, follows from their shapes, so that it takes seconds
    (`jacobian.dense.plan`).
    """
    dense = dense_matrices(view)
    points, chosen = plan(list(dense.values()))
    for layer in dense_operating_points(network, dense.keys(), samples=min(samples, points)):
        if layer.slopes is None:
            yield LayerDimensions(layer.tensor, reason=layer.reason)
        elif layer.tensor not in chosen:
            yield LayerDimensions(layer.tensor, reason=left_out_reason(layer))
        elif min(layer.shape) < 2:
            yield LayerDimensions(layer.tensor, reason="a vector with a single entry has no dimension")
        else:
            yield _dimensions(layer, network.seed)


def _dimensions(layer: DenseLayer, seed: int) -> LayerDimensions:
    assert layer.slopes is not None
    kind: Literal["eigenvectors", "singular vectors"] = "eigenvectors" if layer.is_square else "singular vectors"
    W = layer.weight()
    try:
        modes = [dense_modes(W, row) for row in layer.slopes]
    except (CritauditError, np.linalg.LinAlgError) as error:
        return LayerDimensions(layer.tensor, kind, reason=str(error))
    used = [one for one in modes if one.used.any()]
    n = sum(int(one.weights.sum()) for one in used)
    if not used:
        return LayerDimensions(
            layer.tensor, kind, reason="all weights or all slopes are zero, or no vector solves its equation"
        )
    copy = shuffled(W, np.random.default_rng([seed, *W.shape])).astype(np.float64, copy=False)
    try:
        other: DenseModes | None = dense_modes(copy, layer.slopes[0])
    except (CritauditError, np.linalg.LinAlgError):
        other = None
    discarded = sum(one.discarded for one in modes)
    return LayerDimensions(
        layer.tensor,
        kind,
        layer.activation,
        _side(used, other, "left"),
        _side(used, other, "right"),
        points=len(modes),
        n=n,
        discarded=discarded,
        faint=sum(one.count for one in modes) - n - discarded,
        residual=max(one.residual for one in modes),
    )


def _side(modes: Sequence[DenseModes], other: DenseModes | None, name: Name) -> Side:
    sites = modes[0].sites[0 if name == "left" else 1]
    means = [_mean(one, name) for one in modes]
    order = ORDERS.index(2.0)
    d2 = np.concatenate([np.repeat(_curves(one, name)[order], one.weights) for one in modes])
    low, middle, high = (float(value) for value in np.quantile(d2, (0.05, 0.5, 0.95)))
    complex_share = sum(one.weights[one.is_complex].sum() for one in modes) / d2.size
    reference = complex_share * gaussian_dimensions(sites) if complex_share > 0 else 0.0
    if complex_share < 1:
        reference = reference + (1.0 - complex_share) * gaussian_dimensions(sites, is_complex=False)
    return Side(
        sites=sites,
        dimensions=np.mean(means, axis=0),
        by_point=np.array([mean[order] for mean in means]),
        quantiles=(low, middle, high),
        reference=np.asarray(reference),
        shuffled=_mean(other, name) if other is not None and other.used.any() else None,
    )


def _curves(modes: DenseModes, name: Name) -> Array:
    return (modes.left if name == "left" else modes.right).astype(np.float64)


def _mean(modes: DenseModes, name: Name) -> Array:
    """Mean D_q over the used vectors, both members of a complex pair counted."""
    return np.asarray(np.average(_curves(modes, name), axis=1, weights=modes.weights))
