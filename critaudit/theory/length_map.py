"""The three Gaussian averages that the mean field of a random network is made of, for any activation."""

from __future__ import annotations

import math

import numpy as np

from critaudit.theory.activations import Activation
from critaudit.theory.quadrature import gaussian_rule

# Below this length φ(x) is its quadratic expansion over the whole Gaussian, and sampled slopes there suffice.
_SMALL = 1e-24


def mean_square(q: float, activation: Activation) -> float:
    """V(q) = E[φ(√q z)²], exact for erf and for functions of two straight lines."""
    if activation.slopes is not None:
        return 0.5 * q * _square_sum(activation.slopes)
    if activation.name == "erf":
        return 2.0 / math.pi * math.asin(2.0 * q / (1.0 + 2.0 * q))
    rule = gaussian_rule(0.0, math.sqrt(q), activation.kinks)
    return rule.mean(np.square(activation.value(rule.x)))


def mean_square_slope(q: float, activation: Activation) -> float:
    """K(q) = E[φ′(√q z)²]; χ₁ = σ_w²K(q). At q = 0 the mean of the squared left and right slopes."""
    if activation.slopes is not None:
        return 0.5 * _square_sum(activation.slopes)
    if activation.name == "erf":
        return 4.0 / math.pi / math.sqrt(1.0 + 4.0 * q)
    rule = gaussian_rule(0.0, math.sqrt(max(q, _SMALL)), activation.kinks)
    return rule.mean(np.square(activation.derivative(rule.x)))


def mean_square_growth(q: float, activation: Activation) -> float:
    """dV/dq = E[φ φ′ z]/√q, which needs no second derivative; σ_w²·dV/dq is the slope of the length map.

    At kinks of φ it stays exact. φφ′ is taken odd in z first, so that its even part, which is much larger at small q,
    cannot leave rounding behind.
    """
    if activation.slopes is not None:
        return 0.5 * _square_sum(activation.slopes)
    if activation.name == "erf":
        return 4.0 / math.pi / ((1.0 + 2.0 * q) * math.sqrt(1.0 + 4.0 * q))
    root = math.sqrt(max(q, 1e-12))
    mirrored = tuple({kink * sign for kink in activation.kinks for sign in (-1.0, 1.0)})
    rule = gaussian_rule(0.0, root, mirrored)
    product = activation.value(rule.x) * activation.derivative(rule.x)
    return rule.mean(rule.z * 0.5 * (product - activation.value(-rule.x) * activation.derivative(-rule.x))) / root


def diverging_growth(activation: Activation) -> float:
    """Limit of V(q)/q, and of K(q), as q → ∞: half the sum of the squared far slopes."""
    return 0.5 * _square_sum(activation.far_slopes)


def _square_sum(slopes: tuple[float, float]) -> float:
    return slopes[0] ** 2 + slopes[1] ** 2
