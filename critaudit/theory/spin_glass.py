"""The Sherrington–Kirkpatrick phase diagram, on which Zhang21 places the layers of tanh networks.

A layer whose weights have mean J₀/N and variance J²/N drives its units with a Gaussian field of mean J₀μ and variance
J²q₀, where μ = ∫Dz tanh(J₀μ + J√q₀ z) and q₀ = ∫Dz tanh²(J₀μ + J√q₀ z). Small differences between two signals grow by
χ₁ = J² ∫Dz sech⁴(J₀μ + J√q₀ z) per layer; χ₁ = 1 is the boundary (Zhang21, Eq. 5; de Almeida & Thouless 1978 at
temperature one). All averages are by quadrature to 1e-14, none by sampling.

For J₀ < 0 the signal flips its sign at every layer and is otherwise that of |J₀|, because tanh is odd.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy.optimize import brentq

from critaudit.errors import CritauditError
from critaudit.theory.quadrature import Array, expectation

Phase: TypeAlias = Literal["ordered", "ferromagnetic", "chaotic"]

# Up to this distance from the corner (1, 1) the boundary's series is exact to 1e-13 and root finding is not.
_NEAR_CORNER = 1e-3
_LARGEST = 1e6
# Below the former a bias moves the boundary by less than 1e-6. Below the latter rounding hides where on the boundary
# the field's mean begins, and a bias beside a mean moves the boundary by less than 1e-6.
_NO_BIAS, _FAINT_BIAS = 1e-9, 1e-6


class OrderParameters(NamedTuple):
    """Mean activity μ = ⟨tanh h⟩ ≥ 0 and mean square activity q₀ = ⟨tanh² h⟩ of a unit at the stable fixed point."""

    mu: float
    q0: float


def boundary(j0: float, sigma_b: float = 0.0) -> float:
    """The J at which a tanh layer with mean coupling J₀ is at the edge of chaos: order below it, chaos above.

    It is 1 for |J₀| ≤ 1 and rises as 1 + e − e² + 35e³/9 − … with e = |J₀| − 1. Units: J₀ = N·mean(W), J² = N·var(W).
    Beyond Zhang21, biases of mean 0 and variance σ_b² add σ_b² to the variance of the field. For |J₀| ≤ 1 that keeps a
    layer in order up to a larger J, which is `gaussian.edge_of_chaos(sigma_b)`.
    Raises CritauditError where `j0` is not a number of size up to a million, or `sigma_b` not one from 0 on.
    """
    strength = abs(_checked(j0, "J0"))
    if _checked(sigma_b, "sigma_b", least=0.0) > _NO_BIAS:
        return _boundary_with_bias(strength, float(sigma_b))
    if strength <= 1.0:
        return 1.0
    excess = strength - 1.0
    if excess <= _NEAR_CORNER:
        return 1.0 + excess * (1.0 - excess * (1.0 - excess * (35.0 / 9.0 - excess * 373.0 / 18.0)))
    return _boundary_by_field(strength)


def phase(j0: float, j: float, sigma_b: float = 0.0) -> Phase:
    """The phase of a tanh layer at (J₀, J), with biases of variance σ_b² as in `boundary`.

    `ordered` (paramagnetic): any signal dies out. `ferromagnetic`: ordered around a common non-zero activity.
    `chaotic` (spin glass): above the boundary, nearby signals separate. The boundary itself counts as ordered.
    Raises CritauditError for a negative J or a value that is not finite.
    """
    if _checked(j, "J", least=0.0) > boundary(j0, sigma_b):
        return "chaotic"
    return "ferromagnetic" if abs(j0) > 1.0 else "ordered"


def order_parameters(j0: float, j: float) -> OrderParameters:
    """Self-consistent μ and q₀ at (J₀, J), the stable pair; (0, 0) where every signal dies out.

    Raises CritauditError for a negative J or a value that is not finite.
    """
    mean, variance = _field(abs(_checked(j0, "J0")), _checked(j, "J", least=0.0))
    deviation = math.sqrt(variance)
    return OrderParameters(
        expectation(np.tanh, mean, deviation) if mean > 0.0 else 0.0, expectation(_tanh_squared, mean, deviation)
    )


def chi1(j0: float, j: float) -> float:
    """χ₁ = J² ∫Dz sech⁴(J₀μ + J√q₀ z) at the self-consistent state: growth per layer of a small squared difference.

    Raises CritauditError for a negative J or a value that is not finite.
    """
    mean, variance = _field(abs(_checked(j0, "J0")), _checked(j, "J", least=0.0))
    return j * j * expectation(_sech_fourth, mean, math.sqrt(variance))


def _checked(value: float, name: str, least: float = -_LARGEST) -> float:
    if not least <= value <= _LARGEST:  # NaN fails as well
        raise CritauditError(f"{name} = {value} was given, but it must be a number from {least:g} to {_LARGEST:g}")
    return float(value)


@lru_cache(maxsize=1024)
def _boundary_by_field(strength: float) -> float:
    """Root of J₀(v) = strength along the boundary, which is explicit in the variance v of the field."""
    return _boundary_above(math.log(0.5 * _NEAR_CORNER), strength, 0.0)


@lru_cache(maxsize=1024)
def _boundary_with_bias(strength: float, sigma_b: float) -> float:
    """The same with biases; up to some J₀ above 1 the field has no mean on the boundary, which then is one J."""

    def balance(log_variance: float) -> float:
        return _boundary_balance(0.0, math.exp(log_variance), sigma_b)

    low = high = 2.0 * math.log(sigma_b)
    while balance(high) <= 0.0:
        high += 2.0
    start = brentq(balance, low, high, xtol=1e-14, rtol=1e-14)
    deviation = math.exp(0.5 * start)
    without_mean = 1.0 / math.sqrt(expectation(_sech_fourth, 0.0, deviation))
    if strength * (1.0 - expectation(_tanh_squared, 0.0, deviation)) <= 1.0 + 1e-6:
        return without_mean
    if sigma_b < _FAINT_BIAS:
        return max(boundary(strength), without_mean)
    return _boundary_above(start + 1e-8, strength, sigma_b)


def _boundary_above(low: float, strength: float, sigma_b: float) -> float:
    """The boundary's J at J₀ = strength, where the logarithm of the field's variance is above `low`."""

    def excess(log_variance: float) -> float:
        variance = math.exp(log_variance)
        mean = _boundary_mean(variance, sigma_b)
        return mean / expectation(np.tanh, mean, math.sqrt(variance)) - strength

    high = max(low, 0.0)
    while excess(high) < 0.0:
        high += 2.0
    variance = math.exp(brentq(excess, low, high, xtol=1e-14, rtol=1e-14))
    mean = _boundary_mean(variance, sigma_b)
    return 1.0 / math.sqrt(expectation(_sech_fourth, mean, math.sqrt(variance)))


def _boundary_balance(mean: float, variance: float, sigma_b: float) -> float:
    """Zero where χ₁ = 1 and v = J²q₀ + σ_b² both hold: (v − σ_b²)·E sech⁴ = E tanh²."""
    deviation = math.sqrt(variance)
    slopes, squares = expectation(_sech_fourth, mean, deviation), expectation(_tanh_squared, mean, deviation)
    return (variance - sigma_b * sigma_b) * slopes - squares


def _boundary_mean(variance: float, sigma_b: float) -> float:
    """Mean m of the field on the boundary, where its variance is v."""

    def balance(mean: float) -> float:
        return _boundary_balance(mean, variance, sigma_b)

    high = 1.0
    while balance(high) > 0.0:
        high *= 2.0
    return float(brentq(balance, 0.0, high, xtol=1e-15, rtol=1e-14))


@lru_cache(maxsize=1024)
def _field(j0: float, j: float) -> tuple[float, float]:
    """Mean and variance of the field at the stable fixed point, J₀ ≥ 0."""
    unmagnetised = _variance(0.0, j)
    # Slope at μ = 0 of the map μ → ⟨tanh⟩: a magnetisation grows only where it exceeds one.
    if j0 * (1.0 - expectation(_tanh_squared, 0.0, math.sqrt(unmagnetised))) <= 1.0:
        return 0.0, unmagnetised

    def growth(mean: float) -> float:
        return j0 * expectation(np.tanh, mean, math.sqrt(_variance(mean, j))) / mean - 1.0

    low = 1e-8
    if growth(low) <= 0.0:
        return 0.0, unmagnetised
    mean = float(brentq(growth, low, j0, xtol=1e-16, rtol=1e-14))
    return mean, _variance(mean, j)


def _variance(mean: float, j: float) -> float:
    """The stable v = J²⟨tanh²⟩ at a given mean of the field."""
    if j == 0.0 or (mean == 0.0 and j <= 1.0):
        return 0.0

    def growth(log_variance: float) -> float:
        variance = math.exp(log_variance)
        return j * j * expectation(_tanh_squared, mean, math.sqrt(variance)) / variance - 1.0

    # v ≥ J²tanh²(m)·(something above 1/2) and v ≤ J².
    low = math.log(1e-18 if mean == 0.0 else 0.01 * (j * math.tanh(mean)) ** 2)
    if growth(low) <= 0.0:
        return 0.0
    return math.exp(brentq(growth, low, 2.0 * math.log(j), xtol=1e-15, rtol=1e-14))


def _tanh_squared(x: Array) -> Array:
    return np.square(np.tanh(x))


def _sech_fourth(x: Array) -> Array:
    # sech² = 4e/(1 + e)² with e = e^{−2|x|} keeps its digits where 1 − tanh² has none left.
    decay = np.exp(-2.0 * np.abs(x))
    return np.square(4.0 * decay / np.square(1.0 + decay))
