"""Great circles: closed curves of inputs with the same norm everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from critaudit.dynamics.running import CannotRunError

if TYPE_CHECKING:
    import torch

# Two inputs whose directions differ by less than this angle (in radians) span no plane worth the name.
_PARALLEL = 1e-3


@dataclass(frozen=True, slots=True)
class GreatCircle:
    """x(θ) = R(u cos θ + v sin θ) with orthonormal u and v of shape (1, *sample), in float64.

    The circle lies around the origin, which for normalised images is the mean image, in the plane of two inputs x₁ and
    x₂: u is the direction of x₁ and v that of the part of x₂ across it. R is the root mean square of their norms, so
    every point is as strong as they are (Poole 2016, Sec. 3).
    """

    first: torch.Tensor
    second: torch.Tensor
    radius: float

    def points(self, count: int) -> torch.Tensor:
        """`count` equally spaced points from θ = 0 on, shape (count, *sample), float32."""
        import torch

        angles = torch.arange(count, dtype=torch.float64, device=self.first.device) * (2.0 * torch.pi / count)
        angles = angles.reshape(-1, *(1 for _ in self.first.shape[1:]))
        around = self.first * torch.cos(angles) + self.second * torch.sin(angles)
        return (self.radius * around).to(torch.float32)


def great_circle(x1: torch.Tensor, x2: torch.Tensor) -> GreatCircle:
    """The great circle through the directions of two inputs of shape (1, *sample).

    Raises CannotRunError where they span no plane: one of them is zero or not finite, or they are parallel.
    """
    import torch

    if x1.device.type == "mps":
        x1, x2 = x1.cpu(), x2.cpu()
    one, two = x1.to(torch.float64), x2.to(torch.float64)
    norm1, norm2 = float(torch.linalg.vector_norm(one)), float(torch.linalg.vector_norm(two))
    if not 0.0 < norm1 * norm2 < float("inf"):
        raise CannotRunError("one of the two inputs is zero or not finite, so that no circle passes through them")
    u = one / norm1
    across = two - u * float(torch.sum(u * two))
    rest = float(torch.linalg.vector_norm(across))
    if rest <= _PARALLEL * norm2:
        raise CannotRunError("the two inputs are parallel, so that they span no circle; give two that differ")
    v = across / rest
    v = v - u * float(torch.sum(u * v))
    return GreatCircle(u, v / torch.linalg.vector_norm(v), float(((norm1**2 + norm2**2) / 2.0) ** 0.5))
