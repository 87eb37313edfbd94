"""The fixed point of the mean field of wide random networks with heavy-tailed weights (Qu22, Eq. 5).

Weights W_ij ~ S_α(σ = g(2N)^{−1/α}) with N the fan-in make pre-activations h ~ S_α((q/2)^{1/α}), whose scale maps from
layer to layer as q ← g^α·E|φ(h)|^α + D_b (Qu22, Eq. 5). At α = 2 that is a Gaussian of variance q with σ_w = g: the
mean field of `critaudit.theory.gaussian`. Averages are quadratures to rounding; nothing is sampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from scipy.optimize import brentq

from critaudit.errors import CritauditError
from critaudit.theory import gaussian
from critaudit.theory.activations import Activation, Function, as_activation
from critaudit.theory.length_map import mean_square
from critaudit.theory.levy_average import log_growth

AnyActivation: TypeAlias = str | Activation | Function

_LARGEST_G = 1e6


@dataclass(frozen=True, slots=True)
class LevyFixedPoint:
    """Where the scale of a signal settles: h ~ S_α((q/2)^{1/α}).

    `status` is `fixed_point` or `vanishes` (q* = 0, only at α = 2 or where φ′(0) = 0). `log_q` is kept beside `q`
    because q* falls below the smallest double as α → 2 at g < 1 (`q` is 0.0 then); it is −inf where q* vanishes.
    """

    alpha: float
    g: float
    bias: float
    activation: str
    status: Literal["fixed_point", "vanishes"]
    log_q: float

    @property
    def q(self) -> float:
        """q*."""
        return math.exp(self.log_q)

    @property
    def log_scale(self) -> float:
        """ln of the scale (q/2)^{1/α} of the pre-activations' stable law."""
        return log_scale(self.log_q, self.alpha)

    @property
    def scale(self) -> float:
        """(q/2)^{1/α}: scale of the pre-activations' stable law; at α = 2 their standard deviation is √2 times it."""
        return math.exp(self.log_scale)


def fixed_point(alpha: float, g: float, *, bias: float = 0.0, activation: AnyActivation = "tanh") -> LevyFixedPoint:
    """The fixed point q* = g^α·E|φ(h)|^α + D_b that a signal with q = 1 settles at, to 1e-12 relative.

    `g` = D_w^{1/α}; `bias` is D_b, which adds to q as it is (σ_b² at α = 2). For α < 2 and D_b = 0, q* > 0 for every
    g > 0, because the slope of the map at zero diverges logarithmically: there is no ordered phase at infinite width.
    Raises CritauditError for α outside [0.5, 2], g or D_b outside their range, and for unbounded activations with
    α < 2, where E|φ(h)|^α does not exist.

    >>> round(fixed_point(1.5, 1.0).q, 6)
    0.105928
    """
    phi = as_activation(activation)
    check_point(alpha, g, bias)
    check_bounded(alpha, phi)
    if alpha == 2.0:
        return _gaussian(g, bias, phi)
    if g == 0.0:
        return _record(alpha, g, bias, phi, math.log(bias) if bias > 0.0 else -math.inf)
    log_weight = alpha * math.log(g)

    def growth(log_q: float) -> float:
        """ln of the factor by which q grows in one layer."""
        noise = bias * math.exp(-log_q) if bias > 0.0 else 0.0
        return math.log(math.exp(log_weight + log_growth(log_q, alpha, phi)) + noise)

    return _record(alpha, g, bias, phi, _settle(growth))


def log_scale(log_q: float, alpha: float) -> float:
    """ln (q/2)^{1/α}: the scale of the pre-activations' stable law."""
    return (log_q - math.log(2.0)) / alpha


def weight_for(log_q: float, alpha: float, activation: Activation) -> float:
    """The g whose fixed point at D_b = 0 is q: explicit, g^α = q/E|φ(h)|^α."""
    if alpha == 2.0:
        return math.sqrt(math.exp(log_q) / mean_square(math.exp(log_q), activation))
    return math.exp(-log_growth(log_q, alpha, activation) / alpha)


def check_point(alpha: float, g: float, bias: float) -> None:
    """Raise CritauditError where there is no theory for these numbers."""
    if not 0.5 <= alpha <= 2.0:  # NaN fails as well
        raise CritauditError(f"alpha = {alpha} is outside [0.5, 2], the stability indices that the mean field covers")
    if not 0.0 <= g <= _LARGEST_G:
        raise CritauditError(f"g = {g} was given, but a weight scale is a number from 0 to {_LARGEST_G:g}")
    if not 0.0 <= bias <= _LARGEST_G:
        raise CritauditError(f"bias = {bias} was given, but D_b is a number from 0 to {_LARGEST_G:g}")


def check_bounded(alpha: float, activation: Activation) -> None:
    """Raise CritauditError where E|φ(h)|^α is infinite: an unbounded φ with α < 2."""
    if alpha < 2.0 and activation.far_slopes != (0.0, 0.0):
        raise CritauditError(
            f"no Lévy mean field for {activation.name} at alpha = {alpha:g}: it is unbounded, so E|phi(h)|^alpha is "
            "infinite below alpha = 2; use the measured quantities (jacobian.mean_log, signal.strength) or a bounded "
            "activation such as tanh"
        )


def _gaussian(g: float, bias: float, phi: Activation) -> LevyFixedPoint:
    found = gaussian.fixed_point(g, math.sqrt(bias), phi)
    if found.q is None:
        raise CritauditError(
            f"the signal of {phi.name} at alpha = 2, g = {g:g} diverges and has no fixed point; give a smaller g"
        )
    return _record(2.0, g, bias, phi, math.log(found.q) if found.q > 0.0 else -math.inf)


def _record(alpha: float, g: float, bias: float, phi: Activation, log_q: float) -> LevyFixedPoint:
    status: Literal["fixed_point", "vanishes"] = "vanishes" if log_q == -math.inf else "fixed_point"
    return LevyFixedPoint(float(alpha), float(g), float(bias), phi.name, status, log_q)


def _settle(growth: Callable[[float], float]) -> float:
    """The root of `growth` in ln q on the side that q moves to from one; −inf where it falls for ever.

    Steps lengthen far below q = 1, where the map is a power law times a logarithm and has one fixed point at most.
    """
    here, value = 0.0, growth(0.0)
    direction = 1.0 if value > 0.0 else -1.0
    while abs(here) < 1e16:
        after = here + direction * max(0.25, 0.25 * (abs(here) - 10.0))
        beyond = growth(after)
        if value * beyond <= 0.0:
            return float(brentq(growth, here, after, xtol=1e-14, rtol=1e-14))
        here, value = after, beyond
    return -math.inf
