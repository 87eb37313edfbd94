"""Mean and spread of every followed matrix at this moment, from its own device and with one wait for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.training.followed import Live
from critaudit.training.optimizers import groups_by_parameter, weighed_by_adaptivity

if TYPE_CHECKING:
    import torch

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spread:
    """J₀ = N·mean(W), J² = N·var(W) (None: not finite), the bias's root mean square, and Adam's adaptivity."""

    j0: float | None
    j_squared: float | None
    sigma_b: float | None
    adaptivity: float | None


def spreads(matrices: Sequence[Live], optimizer: torch.optim.Optimizer) -> list[Spread]:
    """The present spread of each matrix, N = fan_in.

    Rows are summed in the weights' own precision (float32 at least) where they are, and their sums in float64 here,
    which is good to 1e-7 of J² for float32 weights. Nothing of the network changes and nothing random is drawn.
    Oracle: `critaudit.laws.moments`. Source: Zhang21, Eq. 2.
    """
    import torch

    groups = groups_by_parameter(optimizer)
    rows: list[torch.Tensor | None] = []
    with torch.no_grad():
        for one in matrices:
            values = one.values()
            place = None if one.weight is None or not one.plain else groups.get(id(one.weight))
            scaled = None
            if one.weight is not None and place is not None:
                group = optimizer.param_groups[place]
                scaled = weighed_by_adaptivity(optimizer, group, one.weight, one.followed.part)
            bias = None if one.bias is None else _norms(one.bias.detach())
            rows += [
                torch.sum(values, dim=_beside_rows(values), dtype=_precision(values)),
                _norms(values),
                bias,
                scaled,
            ]
        found = iter(_fetch_rows(rows))
    return [_spread(one, *(next(found) for _ in range(4))) for one in matrices]


def fetch(values: Sequence[torch.Tensor]) -> list[float]:
    """Numbers from where they are, with one copy per device."""
    return [float(one[0]) for one in _fetch_rows(list(values)) if one is not None]


def _fetch_rows(rows: Sequence[torch.Tensor | None]) -> list[Array | None]:
    """Short vectors from where they are, in float64, with one copy per device."""
    import torch

    by_device: dict[torch.device, list[int]] = {}
    for place, one in enumerate(rows):
        if one is not None:
            by_device.setdefault(one.device, []).append(place)
    found: list[Array | None] = [None] * len(rows)
    for places in by_device.values():
        parts = [one.detach().reshape(-1) for place in places if (one := rows[place]) is not None]
        joined = torch.cat(parts).cpu().numpy().astype(np.float64)
        ends = np.cumsum([len(part) for part in parts])
        for place, part in zip(places, np.split(joined, ends[:-1]), strict=True):
            found[place] = part
    return found


def _spread(one: Live, sums: Array | None, norms: Array | None, bias: Array | None, scaled: Array | None) -> Spread:
    count, fan_in = one.matrix.size, one.followed.fan_in
    assert sums is not None
    assert norms is not None
    total, squares = float(sums.sum()), float(norms @ norms)
    j0 = j_squared = None
    if math.isfinite(total) and math.isfinite(squares):
        mean = total / count
        j0, j_squared = fan_in * mean, fan_in * max(squares / count - mean * mean, 0.0)
    sigma_b = None
    if bias is not None and one.bias is not None:
        sigma_b = float(bias[0]) / math.sqrt(max(one.bias.numel(), 1))
    kappa = float(scaled.sum()) / squares if scaled is not None and squares > 0.0 else math.nan
    return Spread(
        j0,
        j_squared,
        sigma_b if sigma_b is not None and math.isfinite(sigma_b) else None,
        kappa if math.isfinite(kappa) else None,
    )


def _beside_rows(values: torch.Tensor) -> tuple[int, ...]:
    """All axes but the first, whatever the order in memory; of a vector the only one."""
    return tuple(range(min(1, values.ndim - 1), values.ndim))


def _norms(values: torch.Tensor) -> torch.Tensor:
    import torch

    found: torch.Tensor = torch.linalg.vector_norm(values, dim=_beside_rows(values), dtype=_precision(values))
    return found


def _precision(values: torch.Tensor) -> torch.dtype:
    import torch

    return torch.float64 if values.dtype == torch.float64 else torch.float32
