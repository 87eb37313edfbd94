"""Where the Widom line of a Gaussian network meets the edge of chaos again."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.optimize import brentq

from critaudit.errors import CritauditError
from critaudit.theory.activations import Activation, Function, as_activation
from critaudit.theory.gaussian import edge_of_chaos, widom_line

_SEARCHED = 24


def widom_crossing(
    activation: str | Activation | Function = "tanh", largest_bias: float = 1.0
) -> tuple[float, float] | None:
    """(σ_b, σ_w) with 0 < σ_b ≤ `largest_bias` where χ_s is largest and χ₁ = 1 at once; None where they do not meet.

    Both lines start at the same point of σ_b = 0. Ghavasieh25 says that they meet only there; for tanh they cross at
    σ_b² = 0.02209, σ_w = 1.25066. Good to 1e-6.
    """
    phi = as_activation(activation)

    def gap(bias: float) -> float:
        """How far the Widom line is above the edge; NaN where one of them does not exist."""
        try:
            return widom_line(bias, phi) - edge_of_chaos(bias, phi)
        except CritauditError:
            return math.nan

    biases = np.linspace(0.0, largest_bias, _SEARCHED + 1)[1:].tolist()
    gaps = [gap(bias) for bias in biases]
    for (low, below), (high, above) in itertools.pairwise(zip(biases, gaps, strict=True)):
        if below * above < 0.0:
            bias = float(brentq(gap, low, high, xtol=1e-9))
            return bias, edge_of_chaos(bias, phi)
    return None
