"""At which signal strength a chain of layers should work: where gradients keep their size for that many layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from critaudit.errors import CritauditError
from critaudit.theory.activations import Activation, as_activation
from critaudit.theory.gaussian import edge_points
from critaudit.theory.length_map import mean_square, mean_square_growth, mean_square_slope
from critaudit.theory.quadrature import expectation

# By how much ln(mean square gradient) may change over the whole depth.
TOLERANCE = 0.5
# From 0.02 to 20, 1 among them.
_STRENGTHS = np.exp(np.arange(-156, 121) / 40.0)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A pre-activation strength s = √q and what mean-field theory says of a layer that keeps it.

    `sigma_w` keeps the length: σ_w² = (q − σ_b²)/E[φ(sz)²]; `chi1` = σ_w²E[φ′(sz)²] is then the growth of a mean square
    gradient per layer. `length_slope` is the slope of the length map; above 1 a length runs away from s unless it is
    set layer by layer, as `critical_` does. `bend` is the share of φ(sz)'s mean square that is no linear function of z:
    0 for a layer that might as well be linear. `within` says that |ln χ₁|·depth ≤ the tolerance.
    """

    strength: float
    sigma_w: float
    chi1: float
    length_slope: float
    bend: float
    within: bool


@lru_cache(maxsize=256)
def operating_point(
    activation: str, depth: int, *, sigma_b: float = 0.0, tolerance: float = TOLERANCE
) -> OperatingPoint:
    """The strength nearest to 1 at which `depth` layers without bias change a mean square gradient by e^±tolerance.

    Among these, strengths at which the activation bends at least half as much as at 1 come first. For odd bounded
    activations weak signals are the critical ones: tanh has χ₁ ≈ 1 + 4q²/3 at its fixed point, so that 10, 30 and 50
    layers may work at s = 0.59, 0.39 and 0.33. For ReLU every strength is as good (1 is taken, σ_w² = 2); for GELU and
    SiLU strong signals are. Where no strength is within the tolerance, the one of the smallest |ln χ₁|.
    With `sigma_b` > 0 it is the stable point of the edge of chaos at this σ_b, where χ₁ = 1 for any depth.
    Raises CritauditError for unknown activations, for those that are zero everywhere, for a depth below 1, and with
    `sigma_b` where the activation has no stable edge of chaos.
    """
    phi = as_activation(activation)
    if depth < 1:
        raise CritauditError(f"depth = {depth} was given; a number of layers from 1 is expected")
    if sigma_b > 0.0:
        edges = [point for point in edge_points(sigma_b, phi) if point.stable and point.q > 0.0]
        if not edges:
            raise CritauditError(
                f"{phi.name} has no stable edge of chaos at sigma_b = {sigma_b:g}; leave the biases out (sigma_b = 0)"
            )
        return _point(math.sqrt(edges[0].q), phi, depth, tolerance, sigma_b)
    points = [_point(float(s), phi, depth, tolerance) for s in _STRENGTHS]
    usual = _point(1.0, phi, depth, tolerance)
    within = [point for point in points if point.within]
    within = [point for point in within if point.bend >= 0.5 * usual.bend] or within
    if within:
        return min(within, key=lambda point: abs(math.log(point.strength)))
    return min(points, key=lambda point: abs(math.log(max(point.chi1, 1e-300))))


def _point(strength: float, phi: Activation, depth: int, tolerance: float, sigma_b: float = 0.0) -> OperatingPoint:
    q = strength * strength
    square = mean_square(q, phi)
    if square <= 0.0:
        raise CritauditError(f"{phi.name} is zero for every signal; no weights keep a signal alive behind it")
    variance = (q - sigma_b * sigma_b) / square
    chi1 = variance * mean_square_slope(q, phi)
    # E[zφ(sz)] by quadrature, as the others.
    slope = expectation(lambda x: x * phi.value(x), 0.0, strength, phi.kinks) / strength
    within = chi1 > 0.0 and abs(math.log(chi1)) * depth <= tolerance
    bend = max(1.0 - slope * slope / square, 0.0)
    return OperatingPoint(strength, math.sqrt(variance), chi1, variance * mean_square_growth(q, phi), bend, within)
