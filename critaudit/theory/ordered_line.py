"""The line in the (α, g) plane below which a network with heavy-tailed weights counts as ordered (Qu22)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, TypeAlias

from scipy.optimize import brentq

from critaudit.errors import CritauditError
from critaudit.theory import gaussian
from critaudit.theory.activations import Activation, Function, as_activation
from critaudit.theory.jacobian_law import CUTOFF_SHARE
from critaudit.theory.levy_fixed_point import check_bounded, check_point, log_scale, weight_for
from critaudit.theory.parametric_spectrum import parametric_spectrum
from critaudit.theory.slope_law import slope_law

AnyActivation: TypeAlias = str | Activation | Function
Definition: TypeAlias = Literal["cutoff", "fixed_point"]

# q* on the line that Qu22 describes in words.
_SMALL_Q = 0.01
# So near to α = 2 the one-percent rule is coarser than the rounding of the spectrum's edge.
_EDGE_FROM = 1.99
# Parameters t around the cut, where y = 0.01·y₀; the rest of the spectrum is not needed.
_LOWEST, _HIGHEST = -60.0, 8.0


def ordered_line(alpha: float, *, definition: Definition = "cutoff", activation: AnyActivation = "tanh") -> float:
    """The g at which a network of this α passes from order to the extended critical regime (D_b = 0).

    "cutoff": the characteristic radius of the Jacobian's spectrum is one (`JacobianLaw.cutoff_radius`), what the
    figure of Qu22 draws; "fixed_point": q* = 0.01, what its text says. They differ by up to a quarter; for α < 2 both
    mark a crossover. At α = 2 the spectrum has an edge and the former is where that passes one: 1 for tanh, the edge of
    chaos of `theory.gaussian`; from α = 1.99 on it is not let beyond that, which the one-percent rule overshoots by up
    to 0.7 % (α > 1.9998).
    Raises CritauditError as `fixed_point` does, for an unknown definition, and where no g up to 1e6 is on the line.

    >>> round(ordered_line(1.5), 5)
    0.60201
    """
    phi = as_activation(activation)
    check_point(alpha, 1.0, 0.0)
    check_bounded(alpha, phi)
    if definition == "fixed_point":
        return weight_for(math.log(_SMALL_Q), alpha, phi)
    if definition != "cutoff":
        raise CritauditError(f"{definition!r:.40} is no definition of the ordered line; give 'cutoff' or 'fixed_point'")
    return _cutoff_line(float(alpha), phi)


@lru_cache(maxsize=512)
def _cutoff_line(alpha: float, phi: Activation) -> float:
    if alpha == 2.0:
        return gaussian.edge_of_chaos(0.0, phi)
    line = weight_for(_cutoff_log_q(alpha, phi), alpha, phi)
    return min(line, gaussian.edge_of_chaos(0.0, phi)) if alpha > _EDGE_FROM else line


def _cutoff_log_q(alpha: float, phi: Activation) -> float:
    """ln q* where the characteristic radius is one: along the fixed points g is explicit in q*."""

    def excess(log_q: float) -> float:
        slopes = slope_law(alpha, log_scale(log_q, alpha), phi, resolve=0.0)
        spectrum = parametric_spectrum(alpha, slopes, lowest=_LOWEST, highest=_HIGHEST)
        return math.log(weight_for(log_q, alpha, phi) * spectrum.cutoff_radius(CUTOFF_SHARE))

    # Tails so light that q* on the line is e^−20 or less are those within 0.02 of α = 2.
    here, value = -5.0, excess(-5.0)
    direction = 1.0 if value < 0.0 else -1.0
    while abs(here) < 1e4:
        after = here + direction * max(0.5, 0.3 * abs(here))
        beyond = excess(after)
        if value * beyond <= 0.0:
            return float(brentq(excess, here, after, xtol=1e-10, rtol=1e-12))
        here, value = after, beyond
    raise CritauditError(
        f"{phi.name} at alpha = {alpha:g} has no ordered line by the cut-off radius: it passes one at no weight scale; "
        "try definition='fixed_point'"
    )
