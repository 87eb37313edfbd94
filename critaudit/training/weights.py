"""Mean and spread of every followed matrix at this moment, from its own device and with one wait for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from critaudit.training.followed import Live
from critaudit.training.optimizers import adaptivity, groups_by_parameter

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Spread:
    """J₀ = N·mean(W), J² = N·var(W) (None: not finite), the bias's root mean square, and Adam's adaptivity."""

    j0: float | None
    j_squared: float | None
    sigma_b: float | None
    adaptivity: float | None


def spreads(matrices: Sequence[Live], optimizer: torch.optim.Optimizer) -> list[Spread]:
    """The present spread of each matrix, N = fan_in.

    Sums run over rows in the weights' own precision and over their results in float64, which is good to 1e-8 of J²
    for float32 weights. Nothing of the network changes and nothing random is drawn.
    Oracle: `critaudit.laws.moments`. Source: Zhang21, Eq. 2.
    """
    import torch

    groups = groups_by_parameter(optimizer)
    waiting: list[torch.Tensor] = []

    def wanted(value: torch.Tensor | None) -> int | None:
        if value is None:
            return None
        waiting.append(value.detach())
        return len(waiting) - 1

    with torch.no_grad():
        places = []
        for one in matrices:
            values = one.values()
            place = None if one.weight is None else groups.get(id(one.weight))
            scaled = None
            if one.weight is not None and one.plain and place is not None:
                scaled = adaptivity(optimizer, optimizer.param_groups[place], one.weight, one.followed.part)
            bias = None if one.bias is None else _sum_of_squares(one.bias.detach())
            places.append((wanted(_sum(values)), wanted(_sum_of_squares(values)), wanted(bias), wanted(scaled)))
    numbers = fetch(waiting)

    def number(place: int | None) -> float | None:
        return None if place is None else numbers[place]

    return [
        _spread(one, number(first), number(second), number(bias), number(scaled))
        for one, (first, second, bias, scaled) in zip(matrices, places, strict=True)
    ]


def fetch(values: Sequence[torch.Tensor]) -> list[float]:
    """Numbers from where they are, with one copy per device."""
    import torch

    by_device: dict[torch.device, list[int]] = {}
    for place, value in enumerate(values):
        by_device.setdefault(value.device, []).append(place)
    found = [math.nan] * len(values)
    for device, places in by_device.items():
        wide = torch.float32 if device.type == "mps" else torch.float64
        stacked = torch.stack([values[place].to(wide).reshape(()) for place in places])
        for place, number in zip(places, stacked.tolist(), strict=True):
            found[place] = number
    return found


def _spread(one: Live, total: float | None, squares: float | None, bias: float | None, scaled: float | None) -> Spread:
    count, fan_in = one.matrix.size, one.followed.fan_in
    j0 = j_squared = None
    if total is not None and squares is not None and math.isfinite(total) and math.isfinite(squares):
        mean = total / count
        j0, j_squared = fan_in * mean, fan_in * max(squares / count - mean * mean, 0.0)
    known = bias is not None and math.isfinite(bias) and one.bias is not None
    return Spread(
        j0,
        j_squared,
        math.sqrt((bias or 0.0) / max(one.bias.numel(), 1)) if known and one.bias is not None else None,
        scaled if scaled is not None and math.isfinite(scaled) else None,
    )


def _rows(values: torch.Tensor) -> torch.Tensor:
    return values.reshape(values.shape[0], -1) if values.ndim > 1 else values.reshape(1, -1)


def _sum(values: torch.Tensor) -> torch.Tensor:
    import torch

    narrow = values.element_size() < 4 or values.device.type == "mps"
    return torch.sum(torch.sum(_rows(values), dim=1, dtype=torch.float32 if narrow else None).to(_wide(values)))


def _sum_of_squares(values: torch.Tensor) -> torch.Tensor:
    import torch

    narrow = values.element_size() < 4 or values.device.type == "mps"
    norms = torch.linalg.vector_norm(_rows(values), dim=1, dtype=torch.float32 if narrow else None)
    return torch.sum(norms.to(_wide(values)).square())


def _wide(values: torch.Tensor) -> torch.dtype:
    import torch

    return torch.float32 if values.device.type == "mps" else torch.float64
