"""A great circle on its way through a wide random network: how much longer and more curved it becomes (Poole 2016)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from critaudit.errors import CritauditError
from critaudit.theory.activations import as_activation
from critaudit.theory.gaussian import AnyActivation
from critaudit.theory.length_map import mean_square, mean_square_slope


@dataclass(frozen=True, slots=True)
class CircleLayer:
    """What has become of a circle h(θ) behind a layer of N → ∞ units, the same at every θ.

    q: |h|²/N. stretch: |∂h|²/N, so that the curve is 2π√(N·stretch) long. curvature: κ√N, with 1/κ the radius of the
    circle that fits the curve best; 1/√q for a circle around the origin.
    """

    q: float
    stretch: float
    curvature: float

    @property
    def relative_curvature(self) -> float:
        """κ times √(Nq): 1 for a circle around the origin."""
        return self.curvature * math.sqrt(self.q)


def circle_through_layers(
    sigma_w: float, sigma_b: float, activation: AnyActivation = "tanh", *, layers: int, strength: float = 1.0
) -> tuple[CircleLayer, ...]:
    """The circle behind each of `layers` Gaussian layers, pre-activations; the first one sees a circle of `strength`.

    Per layer q ← σ_w²E[φ²] + σ_b², the squared stretch grows by χ₁ = σ_w²E[φ′²], and with χ₂ = σ_w²E[φ″²]
    κ² ← 3χ₂/χ₁² + κ²/χ₁, all averages at that layer's q (Poole 2016, Eqs. 7–8, which hold off the fixed point, too,
    because q is the same all along the circle).

    Raises CritauditError for an activation with kinks, on which the curvature is infinite, or fewer than one layer.
    """
    phi = as_activation(activation)
    if phi.kinks or phi.slopes is not None:
        raise CritauditError(
            f"{phi.name} has kinks: the curvature of a curve behind it grows without limit with the width"
        )
    if layers < 1 or not strength > 0.0:
        raise CritauditError(
            f"layers = {layers}, strength = {strength}: at least one layer and a positive strength are expected"
        )
    bend = as_activation(phi.derivative)
    variance_w, variance_b = sigma_w**2, sigma_b**2
    # The first layer is a random linear map: the circle stays one, around the bias.
    here = CircleLayer(variance_w * strength**2 + variance_b, variance_w * strength**2, 1.0 / (sigma_w * strength))
    found = [here]
    for _ in range(layers - 1):
        chi1 = variance_w * mean_square_slope(here.q, phi)
        chi2 = variance_w * mean_square_slope(here.q, bend)
        here = CircleLayer(
            variance_w * mean_square(here.q, phi) + variance_b,
            chi1 * here.stretch,
            math.sqrt(3.0 * chi2 / chi1**2 + here.curvature**2 / chi1),
        )
        found.append(here)
    return tuple(found)
