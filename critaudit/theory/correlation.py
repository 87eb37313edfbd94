"""How the correlation of two signals evolves from layer to layer: the map c → C(c) as a power series."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from critaudit.theory.activations import Activation
from critaudit.theory.length_map import mean_square, mean_square_slope
from critaudit.theory.quadrature import Array, gaussian_rule

_TERMS = 400


@dataclass(frozen=True, slots=True, eq=False)
class CorrelationMap:
    """C(c) = (σ_w²·E[φ(h₁)φ(h₂)] + σ_b²)/q for two signals of length q and correlation c in [0, 1].

    Mehler's formula turns the double average into E[φφ] = Σ aₙ²cⁿ with aₙ the Hermite coefficients of φ(√q z), so C is
    convex with C(1) = 1 at a fixed point. `powers` are σ_w²aₙ²/q, with all of the series beyond the last put into it.
    """

    offset: float
    powers: Array
    slope_at_one: float

    def __call__(self, c: float) -> float:
        """C(c)."""
        return self.offset + float(np.polynomial.polynomial.polyval(c, self.powers))

    def slope(self, c: float) -> float:
        """dC/dc: growth per layer of a small change of the correlation; χ₁ at c = 1."""
        orders = np.arange(1, self.powers.size)
        terms = orders * self.powers[1:]
        # What the truncated series misses of the known slope at one grows with a power that is high, but unknown.
        missing = max(0.0, self.slope_at_one - float(terms.sum()))
        return float(np.polynomial.polynomial.polyval(c, terms)) + missing * c ** (self.powers.size - 1)

    def fixed_point(self) -> float:
        """The stable correlation c* in [0, 1]: 1 where nearby signals converge (χ₁ ≤ 1), less in the chaotic phase."""
        if self.slope_at_one <= 1.0:
            return 1.0
        if self(0.0) <= 1e-14:
            return 0.0  # an odd function without bias: signals become orthogonal
        orders = np.arange(self.powers.size)

        def separation(c: float) -> float:
            # (1 − C(c))/(1 − c) − 1, each (1 − cⁿ)/(1 − c) without cancellation.
            shares = -np.expm1(orders * math.log(c)) / (1.0 - c) if c > 0.0 else np.minimum(orders, 1.0)
            return float(self.powers @ shares) - 1.0

        high = 1.0 - 1e-7
        if separation(high) <= 0.0:
            return 1.0
        return float(brentq(separation, 0.0, high, xtol=1e-14))


def correlation_map(q: float, sigma_w: float, sigma_b: float, activation: Activation) -> CorrelationMap:
    """The correlation map for signals of length q > 0 (the fixed point's, so that C(1) = 1).

    Smooth activations come out to 1e-9; kinked ones to 1e-6, where c* is within 1e-3 of one.
    """
    rule = gaussian_rule(0.0, math.sqrt(q), activation.kinks)
    weighted = rule.weights * activation.value(rule.x)
    squares = np.empty(_TERMS)
    # Hermite polynomials divided by √n!, by their three-term recurrence.
    before, here = np.zeros_like(rule.z), np.ones_like(rule.z)
    for order in range(_TERMS):
        squares[order] = float(weighted @ here) ** 2
        before, here = here, (rule.z * here - math.sqrt(order) * before) / math.sqrt(order + 1)
    squares[-1] += max(0.0, mean_square(q, activation) - float(squares.sum()))
    return CorrelationMap(
        offset=sigma_b**2 / q,
        powers=sigma_w**2 / q * squares,
        slope_at_one=sigma_w**2 * mean_square_slope(q, activation),
    )
