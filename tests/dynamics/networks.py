"""Random tanh networks of Qu22's ensemble, as modules and as layers of a report."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import critaudit
from critaudit.laws.nulls import stable_sample
from critaudit.measurement import measured
from critaudit.model import ModelView
from critaudit.report.record import Layer


def random_network(
    width: int, depth: int, alpha: float, g: float, *, seed: int, activation: type[nn.Module] = nn.Tanh, out: int = 0
) -> nn.Sequential:
    """`depth` square layers with stable weights of scale g(2N)^(−1/α), without biases; then one of `out` rows."""
    rng = np.random.default_rng(seed)
    steps: list[nn.Module] = []
    for index in range(depth + (out > 0)):
        rows = out if index == depth else width
        layer = nn.Linear(width, rows, bias=False)
        values = g * (2 * width) ** (-1 / alpha) * stable_sample(alpha, 0.0, (rows, width), rng)
        layer.weight = nn.Parameter(torch.tensor(values, dtype=torch.float32))
        steps += [layer, activation()]
    return nn.Sequential(*steps[:-1])


def viewed(network: nn.Module, alpha: float | None = None, g: float | None = None) -> tuple[ModelView, list[Layer]]:
    """The network as the analyzers see it, with α and g as the entries' analyzer would have them."""
    view = critaudit.load(network)
    held = {} if alpha is None else {"entries.alpha": measured(alpha), "entries.g_forward": measured(g or 1.0)}
    return view, [Layer(matrix.name, matrix.kind, matrix.shape, held) for matrix in view.matrices]
