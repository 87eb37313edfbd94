"""What theory says of a chain at its operating point: depth scale, susceptibility, edge; the place of heavy tails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from critaudit.errors import CritauditError
from critaudit.init import OperatingPoint
from critaudit.theory import gaussian
from critaudit.theory.ordered_line import ordered_line


@dataclass(frozen=True, slots=True)
class Prediction:
    """Mean field at (σ_w, σ_b) of the operating point; None where a quantity does not exist (`notes` say why).

    `depth_scale` is ξ_c, the layers over which two signals forget their difference (None: never, at the edge itself);
    `susceptibility` = ∂s*/∂σ_w; `edge` and `widom` the σ_w of the edge of chaos and of the Widom line at this σ_b.
    """

    activation: str
    point: OperatingPoint
    depth: int
    depth_scale: float | None
    susceptibility: float | None
    edge: float | None
    widom: float | None
    notes: tuple[str, ...]


def predict(activation: str, point: OperatingPoint, depth: int, *, sigma_b: float = 0.0) -> Prediction:
    """The prediction for `depth` layers at this operating point."""
    notes: list[str] = []

    def quantity(compute: Callable[[], float | None]) -> float | None:
        try:
            return compute()
        except CritauditError as error:
            notes.append(str(error))
            return None

    return Prediction(
        activation,
        point,
        depth,
        quantity(lambda: gaussian.depth_scales(point.sigma_w, sigma_b, activation).xi_c),
        quantity(lambda: gaussian.susceptibility(point.sigma_w, sigma_b, activation)),
        quantity(lambda: gaussian.edge_of_chaos(sigma_b, activation)),
        quantity(lambda: gaussian.widom_line(sigma_b, activation)),
        tuple(notes),
    )


def heavy_tails(activation: str | None, alpha: float, g: float) -> str:
    """Where weights of exponent α and scale g lie in the mean-field phase diagram of Qu22, or why that says nothing."""
    if activation is None:
        return "no chain of one known activation: Qu22's mean field does not apply"
    try:
        line = ordered_line(alpha, activation=activation)
    except CritauditError as error:
        return str(error)
    side = "above it, where the critical regime begins" if g > line else "below it, in the ordered phase"
    return f"g = {g:.3g}; the ordered line of {activation} at α = {alpha:g} is at g = {line:.3g}: {side} (Qu22, Fig. 2)"
