"""A square dense layer with its activation as an operator on its own output."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from critaudit.dynamics.asymptotic.iteration import Array, Asymptotics, Step, iterate
from critaudit.errors import CritauditError
from critaudit.theory.activations import Activation

# Inputs that are followed, products spent on them, and steps at the least and at most.
_INPUTS = 4
_PRODUCTS = 3 * 10**9
_FEWEST, _MOST = 100, 400


class DenseOperator:
    """x ↦ φ(Wx + b), with the exact Jacobian D·W, D = diag φ′(Wx + b)."""

    precision = float(np.finfo(np.float64).eps)

    def __init__(self, weight: NDArray[np.generic], bias: NDArray[np.generic] | None, activation: Activation) -> None:
        self._transposed = np.ascontiguousarray(weight.T, dtype=np.float64)
        self._bias = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
        self._activation = activation
        self._row_squares = np.square(self._transposed).sum(axis=0)

    def __call__(self, state: Array, partner: Array, tangent: Array) -> Step:
        products = np.concatenate([state, partner, tangent]) @ self._transposed
        h, beside, turned = np.split(products, 3)
        h, beside = h + self._bias, beside + self._bias
        slopes = self._activation.derivative(h)
        return Step(
            state=self._activation.value(h),
            partner=self._activation.value(beside),
            tangent=slopes * turned,
            jacobian=np.square(slopes) @ self._row_squares / len(self._bias),
            strength=np.sqrt(np.mean(np.square(h), axis=1)),
        )


def dense_asymptotics(
    weight: NDArray[np.generic],
    bias: NDArray[np.generic] | None,
    activation: Activation,
    *,
    seed: int = 0,
    inputs: int = _INPUTS,
    steps: int | None = None,
) -> Asymptotics:
    """Iterate a layer of `weight` (N×N), `bias` (N) or None and `activation` on itself from random inputs.

    The inputs are Gaussian vectors of unit variance. Without `steps`, up to 400 are made, fewer in layers beyond
    N = 800, at least 100; it ends early where everything has settled. The strength is that of the pre-activations: its
    square is the q* of a random layer, and ‖J*‖_F²/N is its χ₁.
    Raises CritauditError where the weight is not square, empty or not finite.
    """
    rows, columns = weight.shape
    if rows != columns or not rows:
        raise CritauditError(f"a {rows}×{columns} layer cannot be applied to its own output; a square one is expected")
    if not np.isfinite(weight).all() or (bias is not None and not np.isfinite(bias).all()):
        raise CritauditError("the weights hold NaN or infinite values; finite ones are expected")
    if steps is None:
        steps = int(np.clip(_PRODUCTS // (3 * inputs * rows * rows), _FEWEST, _MOST))
    start = np.random.default_rng(seed).standard_normal((inputs, rows))
    return iterate(DenseOperator(weight, bias, activation), start, steps=steps, seed=seed + 1)
