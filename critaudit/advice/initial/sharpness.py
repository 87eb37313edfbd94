"""How large a step a network's weights stand: the largest eigenvalue of the loss's Gauss–Newton matrix."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from critaudit.advice.initial.passes import Loss, output_of
from critaudit.errors import CritauditError
from critaudit.init.modes import calm, unwrapped

if TYPE_CHECKING:
    import torch
    from torch import nn

_LEAST, _MOST, _EXACT = 8, 40, 1e-5
# Beyond this time the least number of steps is enough; the residual says how good the eigenvalue is.
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Sharpness:
    """Largest eigenvalue λ of JᵀHJ, the Gauss–Newton matrix of the mean loss over `samples` inputs.

    `residual` = |Gv − λv|/λ: an exact eigenvalue lies within that relative distance. `samples` counts the positions of
    sequences too.
    Plain gradient descent is stable along this direction for learning rates below 2/λ.
    """

    value: float
    residual: float
    iterations: int
    samples: int


def sharpness(
    module: nn.Module,
    arguments: tuple[Any, ...],
    *,
    loss_curvature: str = "cross_entropy",
    loss: Loss | None = None,
    targets: Any = None,
    settled: float = 0.1,
    seed: int = 0,
) -> Sharpness:
    """Lanczos steps with products G·v = Jᵀ(H(Jv)): two backward passes each, the memory of three sets of weights.

    They end at a relative residual below `settled`; the eigenvalue's own error is of second order in it.

    H is the second derivative of `loss(output, targets)` by the outputs where a loss is given; else `loss_curvature` is
    "cross_entropy" (classes on the last axis; H = diag(p) − ppᵀ does not depend on the labels) or "squared" (the mean
    square over all outputs, as torch's `mse_loss`: H = 2/(number of outputs)), averaged over samples. Batch statistics
    are on, dropout off; buffers, modes and gradients of `module` are left as they are. For such losses G is positive
    semidefinite, and its largest eigenvalue the one that limits steps; the Hessian itself may have a negative one of
    larger size. Raises CritauditError where G is not finite; what the network raises goes through (an operation may
    have no second derivative).
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    module = unwrapped(module)
    parameters = [value for value in module.parameters() if value.requires_grad]
    # Fused attention has no second derivative.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), calm(module):
        output = output_of(module(*arguments))
        # Jᵀu is linear in u: its derivative along v, by the u that it was made with, is Jv.
        dummy = torch.zeros_like(output, requires_grad=True)
        pulled = torch.autograd.grad(output, parameters, dummy, create_graph=True, allow_unused=True)
        used = [(one, part) for one, part in zip(parameters, pulled, strict=True) if part is not None]
        curve = _of_kind(output.detach(), loss_curvature) if loss is None else _of_loss(output.detach(), loss, targets)

        def product(vectors: list[torch.Tensor]) -> list[torch.Tensor]:
            along = torch.autograd.grad([part for _, part in used], dummy, vectors, retain_graph=True)[0]
            return list(torch.autograd.grad(output, [one for one, _ in used], curve(along), retain_graph=True))

        generator = torch.Generator().manual_seed(seed)
        start = [torch.randn(one.shape, generator=generator).to(one) for one, _ in used]
        value, residual, count = _largest(product, start, settled)
    return Sharpness(value, residual, count, output.shape[:-1].numel() if output.ndim > 1 else len(output))


def _largest(
    product: Callable[[list[torch.Tensor]], list[torch.Tensor]], start: list[torch.Tensor], settled: float
) -> tuple[float, float, int]:
    """The largest eigenvalue of a symmetric matrix, its relative residual, and the number of Lanczos steps.

    Without reorthogonalisation: copies of eigenvalues that have been found do not move the largest one (Paige 1980).
    """
    began = time.monotonic()
    length = _norm(start)
    vector, before = [part / length for part in start], [part * 0.0 for part in start]
    diagonal: list[float] = []
    beside: list[float] = []
    value, residual = 0.0, 0.0
    for _ in range(_MOST):
        image = product(vector)
        last = beside[-1] if beside else 0.0
        image = [part - last * other for part, other in zip(image, before, strict=True)]
        diagonal.append(_dot(vector, image))
        image = [part - diagonal[-1] * one for part, one in zip(image, vector, strict=True)]
        beside.append(_norm(image))
        if not (math.isfinite(diagonal[-1]) and math.isfinite(beside[-1])):
            raise CritauditError("the curvature of the loss is not finite at these weights")
        matrix = np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1)
        values, vectors = np.linalg.eigh(matrix)
        value = float(values[-1])
        residual = beside[-1] * abs(float(vectors[-1, -1])) / value if value > 0.0 else 0.0
        # Early on, a smaller eigenvalue that the start points at can look settled.
        enough = len(diagonal) >= _LEAST and (residual < settled or time.monotonic() - began > _SECONDS)
        if enough or residual < _EXACT:
            break
        before, vector = vector, [part / beside[-1] for part in image]
    return max(value, 0.0), residual, len(diagonal)


def _of_kind(output: torch.Tensor, kind: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """v ↦ Hv of a usual loss, from the outputs."""
    import torch

    if kind == "squared":
        return lambda v: v * (2.0 / output.numel())
    count = output.shape[:-1].numel()
    p = torch.softmax(output, dim=-1)
    return lambda v: (p * v - p * (p * v).sum(dim=-1, keepdim=True)) / count


def _of_loss(output: torch.Tensor, loss: Loss, targets: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """v ↦ Hv of any loss that takes the output as one tensor, by differentiating twice."""
    import torch

    output = output.requires_grad_()
    (slope,) = torch.autograd.grad(loss(output, targets), output, create_graph=True)
    if not slope.requires_grad:  # a loss of straight lines
        return torch.zeros_like
    return lambda v: torch.autograd.grad(slope, output, v, retain_graph=True)[0]


def _dot(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    return sum(float((a.double() * b.double()).sum()) for a, b in zip(one, other, strict=True))


def _norm(parts: list[torch.Tensor]) -> float:
    import torch

    return math.sqrt(sum(float(torch.linalg.vector_norm(part, dtype=torch.float64)) ** 2 for part in parts))
