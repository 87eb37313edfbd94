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


def boundary(j0: float) -> float | None:
    """J at the edge of chaos of square tanh layers at this J₀ (Zhang21, Eq. 5), J₀ rounded to three decimals."""
    return _boundary(round(abs(j0), 3))


def excess(layer: Followed, now: LayerNow) -> float | None:
    """How far the layer is beyond its edge of chaos, as a logarithm: 0 on it, negative in order, positive in chaos.

    For square tanh layers ln(J/J at the boundary of the (J₀, J) plane), for others ½ ln χ₁, which grows alike. None
    where the layer has no edge: an output, an unknown activation, weights whose scale a normalisation takes back.
    """
    if not layer.acts or now.j is None or now.j <= 0.0:
        return None
    if layer.activation == "tanh" and layer.is_square and now.j0 is not None:
        edge = boundary(now.j0)
        return None if edge is None else math.log(now.j / edge)
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
def _boundary(j0: float) -> float | None:
    from critaudit.theory import spin_glass

    try:
        return float(spin_glass.boundary(j0))
    except CritauditError:
        return None
