"""How large a step a network's weights stand: the largest eigenvalue of the loss's Gauss–Newton matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from critaudit.advice.initial.passes import output_of

if TYPE_CHECKING:
    import torch
    from torch import nn

_MOST, _SETTLED = 30, 3e-2


@dataclass(frozen=True, slots=True)
class Sharpness:
    """Largest eigenvalue λ of JᵀHJ, the Gauss–Newton matrix of the mean loss over `samples` inputs.

    `residual` = |Gv − λv|/λ: an exact eigenvalue lies within that relative distance.
    Plain gradient descent is stable along this direction for learning rates below 2/λ.
    """

    value: float
    residual: float
    iterations: int
    samples: int


def sharpness(
    module: nn.Module, arguments: tuple[Any, ...], *, loss_curvature: str = "cross_entropy", seed: int = 0
) -> Sharpness:
    """Power iteration with products G·v = Jᵀ(H(Jv)), one forward-over-reverse and one backward pass each.

    `loss_curvature` is "cross_entropy" (classes on the last axis; H = diag(p) − ppᵀ does not depend on the labels) or
    "squared" (H = 1). Buffers, modes and gradients of `module` are left as they are. G is positive semidefinite, so the
    iteration converges to its largest eigenvalue; the Hessian itself may have a negative one of larger size.
    """
    import torch

    parameters = [value for value in module.parameters() if value.requires_grad]
    generator = torch.Generator().manual_seed(seed)
    from torch.nn.attention import SDPBackend, sdpa_kernel

    # Fused attention has no second derivative.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        output = output_of(module(*arguments))
        flat = output.flatten(0, -2) if output.ndim > 1 else output[:, None]
        dummy = torch.zeros_like(flat, requires_grad=True)
        pulled = torch.autograd.grad(flat, parameters, dummy, create_graph=True, allow_unused=True)
    used = [(parameter, part) for parameter, part in zip(parameters, pulled, strict=True) if part is not None]
    curve = _curvature(flat.detach(), loss_curvature)

    def product(vectors: list[torch.Tensor]) -> list[torch.Tensor]:
        along = torch.autograd.grad([part for _, part in used], dummy, vectors, retain_graph=True)[0]
        return list(torch.autograd.grad(flat, [one for one, _ in used], curve(along), retain_graph=True))

    vectors = [torch.randn(one.shape, generator=generator).to(one) for one, _ in used]
    value, residual, count = 0.0, math.inf, 0
    for step in range(_MOST):
        length = _norm(vectors)
        if not length > 0.0 or not math.isfinite(length):
            break
        vectors = [part / length for part in vectors]
        image = product(vectors)
        count = step + 1
        value = sum(float((a.double() * b.double()).sum()) for a, b in zip(vectors, image, strict=True))
        residual = _norm([b - value * a for a, b in zip(vectors, image, strict=True)]) / max(abs(value), 1e-300)
        vectors = [part.detach() for part in image]
        if residual < _SETTLED:
            break
    return Sharpness(value, residual, count, len(flat))


def _curvature(output: torch.Tensor, kind: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """v ↦ Hv of the mean loss over samples, from the outputs."""
    import torch

    count = len(output)
    if kind == "squared":
        return lambda v: v / count
    p = torch.softmax(output, dim=-1)
    return lambda v: (p * v - p * (p * v).sum(dim=-1, keepdim=True)) / count


def _norm(parts: list[torch.Tensor]) -> float:
    import torch

    return math.sqrt(sum(float(torch.linalg.vector_norm(part, dtype=torch.float64)) ** 2 for part in parts))
