"""How small changes grow through a network: partial-Jacobian norms of signal and gradient, and Lyapunov growth.

The partial-Jacobian norm from a to b is 𝒥 = ‖∂b/∂a‖_F²/n_b (Doshi, He & Gromov 2021, 2111.12143): the mean square
change per unit of b when every unit of a changes by an independent amount of variance 1, and the squared norm of the
gradient at a for a random gradient of norm 1 at b. All of them come from a few random vectors (Hutchinson): one
backward pass shows every 𝒥 to the output, one tangent pass every 𝒥 from the input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from critaudit.dynamics.jacobian.operators import NotDifferentiableError, check_adjoint, random_like
from critaudit.dynamics.jacobian.passage import Passage

if TYPE_CHECKING:
    import torch

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class GrowthSample:
    """One sample's norms; arrays of shape (probes, blocks) unless said otherwise. NaN where no path leads.

    `block`: 𝒥 of each block alone. `signal`: 𝒥 from the start to each block's output, `signal_end` (probes,) to the
    network's. `gradient`: 𝒥 from each block's input to the network's output, `gradient_last` (probes,) from the last
    block's output. `tangent` (probes,): ln of the factor by which one random tangent's root mean square grew from the
    first block's input to the last one's output. `is_forward` says that tangents were pushed forward; otherwise
    `signal` comes from random gradients pulled back, and `tangent` is that of one such gradient's norm.
    """

    block: Numbers
    signal: Numbers
    signal_end: Numbers
    gradient: Numbers
    gradient_last: Numbers
    tangent: Numbers
    is_forward: bool


def grow(passage: Passage, *, probes: int, seed: Sequence[int]) -> GrowthSample:
    """Measure one passage with `probes` independent random vectors of each kind."""
    import torch

    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    draws = _Draws(generator)
    block = np.array([_block_norms(passage, draws) for _ in range(probes)])
    gradients = np.array([_gradients(passage, draws) for _ in range(probes)])
    try:
        tangents, is_forward = _tangents(passage, draws, probes), True
    except NotDifferentiableError:
        tangents, is_forward = _pulled(passage, draws, probes), False
    return GrowthSample(
        block=block,
        signal=tangents[:, :-2],
        signal_end=tangents[:, -2],
        gradient=gradients[:, :-1],
        gradient_last=gradients[:, -1],
        tangent=tangents[:, -1],
        is_forward=is_forward,
    )


class _Draws:
    """Standard normal tensors from one generator on the CPU, the same on every device."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def like(self, tensor: torch.Tensor) -> torch.Tensor:
        import torch

        drawn = torch.randn(tensor.shape, generator=self._generator, dtype=torch.float32)
        return drawn.to(device=tensor.device, dtype=tensor.dtype)


def _block_norms(passage: Passage, draws: _Draws) -> list[float]:
    pulled = ((point, _pull(point.y, [point.x], draws)[0]) for point in passage.points)
    return [0.0 if part is None else _mean_square(part, point.y) for point, part in pulled]


def _gradients(passage: Passage, draws: _Draws) -> list[float]:
    """𝒥 from every block's input, and from the last one's output, to the end."""
    at = [point.x for point in passage.points] + [passage.points[-1].y]
    if passage.end is at[-1]:
        return [_mean_square(part, passage.end) for part in _pull(passage.end, at[:-1], draws)] + [1.0]
    return [_mean_square(part, passage.end) for part in _pull(passage.end, at, draws)]


def _tangents(passage: Passage, draws: _Draws, probes: int) -> Numbers:
    """(probes, blocks + 2): 𝒥 from the start to every block's output and the end, and the tangent's logarithm."""
    first = passage.points[0].x
    targets = [first, *(point.y for point in passage.points), passage.end]
    reached = [index for index, target in enumerate(targets) if target.requires_grad and target is not passage.start]
    cotangents = [random_like(targets[index]).requires_grad_(True) for index in reached]
    pulled = _grad([targets[index] for index in reached], [passage.start], cotangents, create_graph=True)[0]
    found = np.full((probes, len(targets)), np.nan)
    for probe in range(probes):
        v = draws.like(passage.start)
        if pulled is not None:
            parts = _grad([pulled], cotangents, [v]) if pulled.requires_grad else [None] * len(reached)
            if probe == 0:
                check_adjoint(list(zip(cotangents, parts, strict=True)), pulled, v)
            for index, part in zip(reached, parts, strict=True):
                found[probe, index] = _mean_square(part, targets[index])
        if first is passage.start:
            found[probe, 0] = _mean_square(v, v)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = 0.5 * np.log(found[:, -2] / found[:, 0])
    return np.column_stack([found[:, 1:], logs])


def _pulled(passage: Passage, draws: _Draws, probes: int) -> Numbers:
    """The same where an operation cannot be differentiated twice: from gradients at every target."""
    first = passage.points[0].x
    targets = [*(point.y for point in passage.points), passage.end]
    rows = []
    for _ in range(probes):
        row = [_mean_square(_pull(target, [passage.start], draws)[0], target) for target in targets]
        through = _mean_square(_pull(targets[-2], [first], draws)[0], targets[-2])
        rows.append([*row, 0.5 * math.log(through) if through > 0 else -math.inf])
    return np.array(rows)


def _pull(y: torch.Tensor, at: list[torch.Tensor], draws: _Draws) -> list[torch.Tensor | None]:
    return _grad([y], at, [draws.like(y)])


def _grad(
    outputs: list[torch.Tensor], inputs: list[torch.Tensor], grads: list[torch.Tensor], *, create_graph: bool = False
) -> list[torch.Tensor | None]:
    import torch

    try:
        found = torch.autograd.grad(
            outputs, inputs, grads, retain_graph=True, create_graph=create_graph, allow_unused=True
        )
    except RuntimeError as error:
        text = " ".join(str(error).split())[:200]
        raise NotDifferentiableError(f"an operation cannot be differentiated as often as needed: {text}") from error
    return list(found)


def _mean_square(part: torch.Tensor | None, per: torch.Tensor) -> float:
    """‖part‖² per element of `per`; NaN where there is no path, infinite where the derivative is NaN or infinite."""
    import torch

    if part is None:
        return math.nan
    norm = float(torch.linalg.vector_norm(part.detach(), dtype=torch.float64))
    return norm * norm / per.numel() if math.isfinite(norm) else math.inf
