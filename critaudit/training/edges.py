"""Where a layer in training stands beside its own edge of chaos."""

from __future__ import annotations

import math
from functools import lru_cache

from critaudit.errors import CritauditError
from critaudit.training.followed import Followed
from critaudit.training.records import LayerNow


def chi1(layer: Followed, j: float, sigma_b: float | None) -> float | None:
    """χ₁ of the layer's own activation at (J, σ_b); None where the layer has none, or theory gives none.

    J is rounded to four figures and σ_b to three first, so that a record seldom has to solve for it anew; both are well
    within the errors of these as estimates.
    """
    if layer.activation is None or layer.activation == "identity" or layer.kind == "recurrent":
        return None
    return _chi1(float(f"{j:.4g}"), float(f"{sigma_b or 0.0:.3g}"), layer.activation)


def boundary(layer: Followed, now: LayerNow) -> float | None:
    """J at the edge of chaos of a square tanh layer at its J₀ and σ_b (Zhang21, Eq. 5, with biases); None for others.

    Without a mean beyond |J₀| = 1 this is the J at which χ₁ is 1. J₀ is rounded to three decimals, σ_b as in `chi1`.
    """
    if layer.activation != "tanh" or not layer.is_square or now.j0 is None:
        return None
    j0 = abs(now.j0)
    return _boundary(round(j0, 3) if j0 > 1.0 else 0.0, float(f"{now.sigma_b or 0.0:.3g}"))


def excess(layer: Followed, now: LayerNow) -> float | None:
    """How far the layer is beyond its edge of chaos, as a logarithm: 0 on it, negative in order, positive in chaos.

    For square tanh layers ln(J/J at their `boundary`), for others ½ ln χ₁, which for ReLU is the same. None where the
    layer has no edge: an output, an unknown activation, weights whose scale a normalisation takes back.
    """
    if not layer.acts or now.j is None or now.j <= 0.0:
        return None
    edge = boundary(layer, now)
    if edge is not None:
        return math.log(now.j / edge)
    return 0.5 * math.log(now.chi1) if now.chi1 is not None and now.chi1 > 0.0 else None


@lru_cache(maxsize=8192)
def _chi1(j: float, sigma_b: float, activation: str) -> float | None:
    from critaudit.theory import gaussian

    try:
        found = float(gaussian.chi1(j, sigma_b, activation))
    except CritauditError:
        return None
    return found if math.isfinite(found) else None


@lru_cache(maxsize=8192)
def _boundary(j0: float, sigma_b: float) -> float | None:
    from critaudit.theory import spin_glass

    try:
        return float(spin_glass.boundary(j0, sigma_b))
    except CritauditError:
        return None
