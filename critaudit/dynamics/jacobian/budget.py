"""How much is measured on a network of a given size: decided by counting, never by a clock, so that results repeat."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from critaudit.dynamics.hooks import first_signal, weight_layers
from critaudit.dynamics.jacobian.krylov import Effort

if TYPE_CHECKING:
    import torch
    from torch import nn

# Multiplications that the default spends: some 20 s on one core of a desktop; a graphics card does thirty times more.
_ALLOWED, _ALLOWED_CUDA = 4e11, 1.2e13
# What a layer's call and an element of its output cost besides, in multiplications.
_PER_CALL, _PER_ELEMENT = 1e6, 100.0
# In units of one forward pass: a sample's graph, with its second derivative; a probe of all norms; a pair of products.
_GRAPH, _PROBE, _PAIR = 2.6, 3.4, 2.7
_LARGEST_EXACT = 256


@dataclass(frozen=True, slots=True)
class Budget:
    """How many samples and random probes go into norms, how many samples into spectra, and how hard these are tried.

    Blocks whose smaller side is at most `exact` are written out. `spectral_samples` is 0 where a spectrum would take
    longer than the audit should.
    """

    samples: int
    probes: int
    spectral_samples: int
    effort: Effort
    exact: int = _LARGEST_EXACT


def forward_cost(module: nn.Module, sample: torch.Tensor) -> float:
    """Multiplications of one forward pass of `sample`, counted by hooks on the weight layers, with a word for calls."""
    total = 0.0

    def count(layer: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        nonlocal total
        signal = first_signal(output)
        elements = 0 if signal is None else signal.numel()
        last = elements and signal is not None and signal.shape[-1]
        channels = getattr(layer, "out_channels", None) or getattr(layer, "out_features", None) or last or 1
        weights = sum(parameter.numel() for parameter in layer.parameters() if parameter.ndim >= 2)
        total += weights * elements / channels + _PER_ELEMENT * elements + _PER_CALL

    handles = [layer.register_forward_hook(count) for _, layer in weight_layers(module)]
    try:
        module(sample)
    finally:
        for handle in handles:
            handle.remove()
    return max(total, _PER_CALL)


def budget(cost: float, samples: int, *, on_cuda: bool = False, generosity: float = 1.0) -> Budget:
    """The budget for a network whose forward pass costs `cost` multiplications, with at most `samples` samples."""
    units = generosity * (_ALLOWED_CUDA if on_cuda else _ALLOWED) / cost
    probes = 4 if units >= 2000 else 2 if units >= 400 else 1
    used = max(1, min(samples, int(0.32 * units / (_GRAPH + probes * _PROBE))))
    spectral = min(used, 4 if units >= 20_000 else 2 if units >= 400 else 1)
    steps = int(0.4 * units / (_PAIR * spectral))
    if steps < 6:
        return Budget(used, probes, 0, Effort(0, 0, 0))
    effort = Effort(
        steps=min(steps, 32),
        top_restarts=30 if units >= 20_000 else 10 if units >= 2000 else 2 if units >= 60 else 0,
        radius_restarts=10 if units >= 20_000 else 2 if units >= 600 else 0,
    )
    return Budget(used, probes, spectral, effort)


def total_cost(cost: float, plan: Budget) -> float:
    """About how many multiplications a budget spends."""
    effort = plan.effort
    pairs = effort.steps + 6 * effort.top_restarts + 10 * effort.radius_restarts + 4
    norms = plan.samples * (_GRAPH + plan.probes * _PROBE)
    return cost * (norms + _PAIR * plan.spectral_samples * pairs * math.copysign(1.0, effort.steps))
