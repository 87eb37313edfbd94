"""Mean field of wide random networks with Gaussian weights: length, χ₁, depth scales, susceptibility, edge, Widom line.

The length q of a signal (mean squared pre-activation) maps from layer to layer as q ← σ_w²·E[φ(√q z)²] + σ_b²; signal
strength is s = √q (Poole 2016; Schoenholz 2016; Ghavasieh25). Averages are quadratures to rounding, or closed forms
(erf, ReLU, leaky ReLU, identity). `activation` is always a name as PyTorch has it, an `Activation`, or a function on
arrays (see `activations.as_activation`). Units: σ_w² = fan_in·var(W), σ_b² = var(b).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from critaudit.errors import CritauditError
from critaudit.theory.activations import Activation, Function, as_activation
from critaudit.theory.correlation import correlation_map
from critaudit.theory.length_map import diverging_growth, mean_square, mean_square_growth, mean_square_slope

AnyActivation: TypeAlias = str | Activation | Function
Status: TypeAlias = Literal["fixed_point", "vanishes", "diverges", "neutral"]
By: TypeAlias = Literal["sigma_w", "sigma_w2"]

# Lengths below the former are zero within the rounding of the length map, beyond the latter they are called infinite.
_SHORTEST, _LONGEST = 1e-14, 1e30
_SHORTEST_EDGE, _LONGEST_EDGE = 1e-18, 1e13
# Search grid in ln q: an eighth of an octave to a factor 1.3 misses no root of a function as smooth as a length map.
_RATIO = 1.25


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """Where the length of a signal settles.

    `status`: `fixed_point` (q* > 0), `vanishes` (q* = 0: signals die out), `diverges` (no finite q*; `q` is None), or
    `neutral` (every length maps to itself, as for ReLU at σ_w² = 2; `q` is the start). `slope` is the derivative of the
    length map there and `stable` says |slope| < 1. `chi1` = σ_w²E[φ′(√q* z)²]; where the length diverges, both are
    their limits at infinite length.
    """

    status: Status
    q: float | None
    slope: float
    chi1: float

    @property
    def stable(self) -> bool:
        """Whether a small change of the length dies out."""
        return self.q is not None and abs(self.slope) < 1.0

    @property
    def strength(self) -> float | None:
        """s* = √q*, the root mean square pre-activation."""
        return None if self.q is None else math.sqrt(self.q)


@dataclass(frozen=True, slots=True)
class DepthScales:
    """Numbers of layers over which a signal forgets: its length (ξ_q) and its correlation with another (ξ_c).

    Deviations from the fixed point fade as e^{−layers/ξ} (Schoenholz 2016, Eqs. 7–9). None is infinity: at the edge of
    chaos ξ_c, where the length is marginal ξ_q. `correlation` is the fixed point c* that ξ_c belongs to: 1 in the
    ordered phase, below 1 in the chaotic one.
    """

    xi_q: float | None
    xi_c: float | None
    correlation: float


@dataclass(frozen=True, slots=True)
class EdgePoint:
    """A point of the edge of chaos, χ₁ = 1, at signal length q (1 for ReLU, where every length is as good).

    `slope` is that of the length map. Where `stable` is False the length itself runs away: do not initialise there.
    At q = 0, where every slope is one, `stable` says that short signals do not grow.
    """

    sigma_w: float
    sigma_b: float
    q: float
    slope: float
    stable: bool


def fixed_point(
    sigma_w: float, sigma_b: float, activation: AnyActivation = "tanh", *, start: float = 1.0
) -> FixedPoint:
    """The length q* that a signal of initial length `start` settles at.

    GELU-like activations have several fixed points; the one reached from `start` is given, 0 and infinity included.
    q* solves its equation to 1e-13 relative. Raises CritauditError for negative or non-finite σ_w, σ_b.
    """
    phi = as_activation(activation)
    variance_w, variance_b = _checked(sigma_w, "sigma_w") ** 2, _checked(sigma_b, "sigma_b") ** 2
    if phi.slopes is not None:
        return _straight_lines(variance_w, variance_b, phi, start)

    def growth(q: float) -> float:
        return (variance_w * mean_square(q, phi) + variance_b) / q - 1.0

    def growth_on_grid(q: float) -> float:
        return (variance_w * _mean_square_on_grid(q, phi) + variance_b) / q - 1.0

    q = _attractor(growth, growth_on_grid, variance_b, start)
    if q is None:
        limit = variance_w * diverging_growth(phi)
        return FixedPoint("diverges", None, limit, limit)
    return _at(q, variance_w, phi, "fixed_point" if q > 0.0 else "vanishes")


def chi1(sigma_w: float, sigma_b: float, activation: AnyActivation = "tanh", *, start: float = 1.0) -> float:
    """χ₁ at the fixed point: factor per layer by which a small squared difference of two signals grows.

    1 is the edge of chaos; below it signals converge and gradients vanish, above it they separate and explode. Where
    the length diverges this is the limit of χ₁ for long signals (σ_w²/2 for ReLU, GELU, SiLU).
    """
    return fixed_point(sigma_w, sigma_b, activation, start=start).chi1


def chi1_at(q: float, sigma_w: float, activation: AnyActivation = "tanh") -> float:
    """χ₁ = σ_w²·E[φ′(√q z)²] for a signal of given length q, for instance a measured one."""
    return _checked(sigma_w, "sigma_w") ** 2 * mean_square_slope(_checked(q, "q"), as_activation(activation))


def depth_scales(
    sigma_w: float, sigma_b: float, activation: AnyActivation = "tanh", *, start: float = 1.0
) -> DepthScales:
    """ξ_q and ξ_c at the fixed point reached from `start`. Raises CritauditError where the length diverges."""
    phi = as_activation(activation)
    found = fixed_point(sigma_w, sigma_b, phi, start=start)
    if found.q is None:
        raise CritauditError(
            f"{phi.name} at sigma_w = {sigma_w:g}, sigma_b = {sigma_b:g} has no depth scales: the length diverges there"
        )
    if found.chi1 <= 1.0 or found.q == 0.0:
        return DepthScales(_depth(found.slope), _depth(found.chi1), 1.0)
    correlations = correlation_map(found.q, sigma_w, sigma_b, phi)
    settled = correlations.fixed_point()
    return DepthScales(_depth(found.slope), _depth(correlations.slope(settled)), settled)


def susceptibility(
    sigma_w: float, sigma_b: float, activation: AnyActivation = "tanh", *, by: By = "sigma_w", start: float = 1.0
) -> float:
    """χ_s = ∂s*/∂σ_w, or ∂s*/∂σ_w² with by="sigma_w2" (Ghavasieh25); 0 where signals die out.

    Raises CritauditError where the length diverges or is marginal, so that the derivative does not exist.
    """
    phi = as_activation(activation)
    found = fixed_point(sigma_w, sigma_b, phi, start=start)
    if found.status == "vanishes" and found.slope < 1.0 - 1e-9:
        return 0.0
    if found.q is None or found.q == 0.0 or found.slope >= 1.0 - 1e-12:
        raise CritauditError(
            f"the susceptibility of {phi.name} at sigma_w = {sigma_w:g}, sigma_b = {sigma_b:g} does not exist: the "
            "signal's length diverges or is marginal there; give a point with a stable fixed point"
        )
    return _susceptibility_at(found.q, sigma_w, phi, by)


def edge_points(sigma_b: float, activation: AnyActivation = "tanh") -> tuple[EdgePoint, ...]:
    """All points of the edge of chaos at this σ_b, by growing length.

    Along the edge σ_w² = 1/K(q) and σ_b² = q − V(q)/K(q) are explicit in the length q, so that only one scalar equation
    is solved. tanh has one point for each σ_b, GELU and SiLU have up to two, ReLU one at σ_b = 0 and none elsewhere.
    """
    phi = as_activation(activation)
    variance_b = _checked(sigma_b, "sigma_b") ** 2
    if phi.slopes is not None:
        if variance_b > 0.0:
            return ()
        return (EdgePoint(1.0 / math.sqrt(mean_square_slope(1.0, phi)), 0.0, 1.0, 1.0, True),)

    def excess(q: float) -> float:
        return _edge_variance(q, phi) - variance_b

    # The same lengths for every σ_b, so that a whole edge costs little more than a point.
    lengths = _sign_changes(excess, [(q, _edge_variance_on_grid(q, phi) - variance_b) for q in _edge_lengths()])
    if variance_b == 0.0 and mean_square(0.0, phi) == 0.0:
        lengths.insert(0, 0.0)
    points = [_edge_at(q, sigma_b, phi) for q in lengths if mean_square_slope(q, phi) > 1e-12]
    return tuple(points)


def edge_of_chaos(sigma_b: float, activation: AnyActivation = "tanh") -> float:
    """σ_w on the edge of chaos χ₁ = 1 at this σ_b; where there are several, the first stable one, else the first.

    Raises CritauditError where there is none (ReLU with σ_b > 0: the length diverges all along χ₁ = 1).
    """
    points = edge_points(sigma_b, activation)
    if not points:
        raise CritauditError(
            f"{as_activation(activation).name} has no edge of chaos at sigma_b = {sigma_b:g}: no finite signal length "
            "has chi1 = 1 there; try sigma_b = 0"
        )
    return next((point for point in points if point.stable), points[0]).sigma_w


def widom_line(sigma_b: float, activation: AnyActivation = "tanh", *, by: By = "sigma_w") -> float:
    """σ_w at which the susceptibility χ_s is largest for this σ_b (Ghavasieh25): the Widom-like line.

    by="sigma_w2" maximises ∂s*/∂σ_w² instead, which is another line. At σ_b = 0 the susceptibility diverges at onset,
    σ_w = 1/|φ′(0)|. The maximum is located to 1e-8 in σ_w. Raises CritauditError where there is none: for activations
    whose length diverges (ReLU, GELU, SiLU), or at a bias so large that χ_s only falls or only rises.
    """
    phi = as_activation(activation)
    variance_b = _checked(sigma_b, "sigma_b") ** 2
    if phi.slopes is None and diverging_growth(phi) == 0.0:
        if variance_b == 0.0 and mean_square(0.0, phi) == 0.0:
            return 1.0 / math.sqrt(mean_square_slope(0.0, phi))
        found = _most_susceptible(variance_b, phi, by)
        if found is not None:
            return found
    raise CritauditError(
        f"{phi.name} has no Widom line at sigma_b = {sigma_b:g}: the susceptibility has no maximum at a finite, "
        "stable length"
    )


def _checked(value: float, name: str) -> float:
    number = float(value)
    if not 0.0 <= number <= 1e6:  # NaN fails as well
        raise CritauditError(f"{name} = {number} was given, but it must be a number from 0 to 1e6")
    return number


def _straight_lines(variance_w: float, variance_b: float, phi: Activation, start: float) -> FixedPoint:
    """φ of two straight lines: the length map is one as well."""
    slope = variance_w * mean_square_slope(1.0, phi)
    # √2² differs from 2 by rounding; the marginal case must not hang on that.
    if abs(slope - 1.0) <= 8.0 * np.finfo(np.float64).eps:
        slope = 1.0
    if slope < 1.0:
        q = variance_b / (1.0 - slope)
        return FixedPoint("fixed_point" if q > 0.0 else "vanishes", q, slope, slope)
    if slope == 1.0 and variance_b == 0.0:
        return FixedPoint("neutral", start, 1.0, 1.0)
    return FixedPoint("diverges", None, slope, slope)


def _at(q: float, variance_w: float, phi: Activation, status: Status) -> FixedPoint:
    return FixedPoint(status, q, variance_w * mean_square_growth(q, phi), variance_w * mean_square_slope(q, phi))


@lru_cache(maxsize=4096)
def _mean_square_on_grid(q: float, phi: Activation) -> float:
    """V(q) at the steps of a search, which are the same for all σ_w and σ_b."""
    return mean_square(q, phi)


def _attractor(
    growth: Callable[[float], float], growth_on_grid: Callable[[float], float], variance_b: float, start: float
) -> float | None:
    """First zero of the relative growth of q on the side that q moves to from `start`; None where it grows forever."""
    if not 0.0 < start < _LONGEST:
        raise CritauditError(f"start = {start} was given, but a signal's length is a positive finite number")
    q, here = start, growth_on_grid(start)
    if here == 0.0:
        return start
    ratio = _RATIO if here > 0.0 else 1.0 / _RATIO
    # q never falls below σ_b².
    shortest = 0.5 * variance_b if variance_b > 0.0 else _SHORTEST
    while (q < _LONGEST) if here > 0.0 else (q > shortest):
        after = q * ratio
        there = growth_on_grid(after)
        if here * there <= 0.0:
            return float(brentq(growth, q, after, xtol=1e-15 * q, rtol=1e-14))
        q, here = after, there
    return None if here > 0.0 else 0.0


@lru_cache(maxsize=1)
def _edge_lengths() -> tuple[float, ...]:
    """Lengths between which roots along the edge are sought."""
    count = 1 + math.ceil(math.log(_LONGEST_EDGE / _SHORTEST_EDGE) / math.log(_RATIO))
    return tuple(np.geomspace(_SHORTEST_EDGE, _LONGEST_EDGE, count).tolist())


def _edge_variance(q: float, phi: Activation) -> float:
    """σ_b² at the point of the edge where signals have length q: q − V(q)/K(q)."""
    # A function with no slope anywhere has K = 0 and no edge.
    return q - mean_square(q, phi) / max(mean_square_slope(q, phi), 1e-300)


@lru_cache(maxsize=4096)
def _edge_variance_on_grid(q: float, phi: Activation) -> float:
    return _edge_variance(q, phi)


def _sign_changes(function: Callable[[float], float], values: Iterable[tuple[float, float]]) -> list[float]:
    """Roots of `function`, one for each sign change of its `values` (q, function(q)) at growing q.

    `function` is a difference of numbers of size q: where it is below 1e-14·q it is rounding and has no sign.
    """
    points = [(q, value) for q, value in values if abs(value) > 1e-14 * q]
    return [
        float(brentq(function, a, b, xtol=1e-15 * a, rtol=1e-14))
        for (a, value_a), (b, value_b) in itertools.pairwise(points)
        if value_a * value_b < 0.0
    ]


def _depth(factor: float) -> float | None:
    """Layers over which a deviation that is multiplied by `factor` per layer falls to 1/e; None for never."""
    size = abs(factor)
    if size >= 1.0:
        return None
    return -1.0 / math.log(size) if size > 0.0 else 0.0


def _edge_at(q: float, sigma_b: float, phi: Activation) -> EdgePoint:
    variance_w = 1.0 / mean_square_slope(q, phi)
    slope = variance_w * mean_square_growth(q, phi)
    beside = slope if q > 0.0 else variance_w * mean_square_growth(1e-4, phi)
    return EdgePoint(math.sqrt(variance_w), float(sigma_b), q, slope, beside < 1.0 + 1e-9)


def _susceptibility_at(q: float, sigma_w: float, phi: Activation, by: By) -> float:
    """∂s*/∂σ_w at a fixed point q > 0: V·σ_w/(s(1 − σ_w²V′)), by the implicit function theorem."""
    response = mean_square(q, phi) / (2.0 * math.sqrt(q) * (1.0 - sigma_w**2 * mean_square_growth(q, phi)))
    return response if by == "sigma_w2" else 2.0 * sigma_w * response


def _most_susceptible(variance_b: float, phi: Activation, by: By) -> float | None:
    """σ_w of the first maximum of χ_s at this σ_b, along the fixed points σ_w² = (q − σ_b²)/V(q)."""

    def sigma_w(t: float) -> float:
        return math.sqrt(math.exp(t) / mean_square(variance_b + math.exp(t), phi))

    def negative(t: float) -> float:
        return -_susceptibility_at(variance_b + math.exp(t), sigma_w(t), phi, by)

    grid = np.arange(math.log(max(1e-6 * variance_b, 1e-18)), math.log(1e4), math.log(_RATIO))
    values = [negative(float(t)) for t in grid]
    for place in range(2, len(grid) - 2):
        # Two steps of 1.25 to the sides a maximum is clearly lower; rounding of a constant is not.
        beside = min(values[place - 2], values[place + 2])
        if values[place] <= min(values[place - 1], values[place + 1]) and values[place] < (1.0 + 1e-9) * beside < 0.0:
            best = minimize_scalar(
                negative, bounds=(grid[place - 1], grid[place + 1]), method="bounded", options={"xatol": 1e-10}
            )
            return sigma_w(float(best.x))
    return None
