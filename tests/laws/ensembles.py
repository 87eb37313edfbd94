"""Random layers of Qu22's ensemble: stable weights, slopes of tanh at pre-activations of the fixed point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from critaudit.laws.nulls import stable_sample
from critaudit.theory.activations import named_activation
from critaudit.theory.levy import fixed_point


def random_layer(size: int, alpha: float, g: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (size, size) of scale g(2N)^(−1/α), and slopes (size,) that are independent of them."""
    rng = np.random.default_rng(seed)
    weight = g * (2 * size) ** (-1 / alpha) * stable_sample(alpha, 0.0, (size, size), rng)
    h = fixed_point(alpha, g).scale * stable_sample(alpha, 0.0, (size,), rng)
    return weight, named_activation("tanh").derivative(h)
