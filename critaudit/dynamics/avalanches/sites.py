"""Fresh-weight networks with every pre-activation drawn: heavy-tailed weights, and widths too small for tables.

Given a layer's activity, the pre-activations of the next are independent and of one law, whose scale is all that
matters: N(0, V) with V = σ_w²⟨φ²⟩ + σ_b², or for W_ij ~ S_α(σ_w(2N)^{−1/α}), b_i ~ S_α(σ_b 2^{−1/α}), which is the same
thing at α = 2, S_α(c) with 2c^α = σ_w^α⟨|φ|^α⟩ + σ_b^α (Qu22, Eq. 5 at finite N). So N numbers stand for N² weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from critaudit.dynamics.avalanches.tracking import LARGEST, Floats
from critaudit.laws.nulls import quick_stable
from critaudit.theory.activations import Activation
from critaudit.theory.quadrature import Array

_SITES_AT_ONCE = 2**17


class Sites:
    """Steps with N draws each; the state is √V, or c·2^{1/α} for stable weights (see `conveyor.Steps`)."""

    def __init__(
        self,
        activation: Activation,
        width: int,
        sigma_w: float,
        sigma_b: float,
        strength: float,
        alpha: float,
        rng: np.random.Generator,
    ) -> None:
        self._activation, self._width, self._alpha, self._rng = activation, width, alpha, rng
        self._weight, self._bias, self._strength = sigma_w**alpha, sigma_b**alpha, strength
        self._sites: Floats = np.zeros((0, width), np.float32)

    @property
    def slots(self) -> int:
        """As many as keep the sites of all paths in a core's cache."""
        return max(16, _SITES_AT_ONCE // self._width)

    def start(self, count: int) -> Floats:
        """Scales of the first layer, for inputs of strength exactly s₀ in random directions."""
        if self._alpha == 2.0:
            mean = np.full(count, self._strength**2)
        else:
            inputs = self._rng.standard_normal((count, self._width), dtype=np.float32)
            inputs *= self._strength / np.sqrt(np.mean(np.square(inputs), axis=1, keepdims=True))
            mean = self._mean_power(inputs)
        return self._scale(mean)

    def strength(self, state: Floats) -> Floats:
        """√⟨h²⟩ of newly drawn pre-activations."""
        shape = (state.size, self._width)
        if self._alpha == 2.0:
            self._sites = self._rng.standard_normal(shape, dtype=np.float32)
        else:
            self._sites = quick_stable(self._alpha, shape, self._rng)
            self._sites *= np.float32(0.5 ** (1.0 / self._alpha))
        self._sites *= state[:, np.newaxis]
        return _bounded(np.sqrt(_mean_square(self._sites)))

    def advance(self, strength: Floats) -> Floats:
        """The scale that the drawn pre-activations give the next layer."""
        assert strength.size == self._sites.shape[0]
        sites: NDArray[Any] = self._sites
        return self._scale(self._mean_power(np.asarray(self._activation.value(sites))))

    def _mean_power(self, activity: NDArray[Any]) -> Array:
        """⟨|x|^α⟩ of each row."""
        if self._alpha == 2.0:
            return _mean_square(activity)
        return np.asarray(np.mean(np.abs(activity) ** self._alpha, axis=1, dtype=np.float64))

    def _scale(self, mean_power: Array) -> Floats:
        power = self._weight * mean_power + self._bias
        return _bounded(power ** (1.0 / self._alpha))


def _mean_square(x: NDArray[Any]) -> Array:
    """⟨x²⟩ of each row."""
    return np.asarray(np.einsum("ij,ij->i", x, x, dtype=np.float64) / x.shape[1], dtype=np.float64)


def _bounded(values: Array) -> Floats:
    return np.asarray(np.minimum(values, LARGEST), dtype=np.float32)
