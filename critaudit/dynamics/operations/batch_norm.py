"""Running statistics of batch normalisation for networks that have not seen data yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn


def statistics_unset(module: nn.Module) -> bool:
    """Whether batch normalisation has not seen data: every layer's running mean is 0 and its running variance 1."""
    layers = _layers(module)
    return bool(layers) and all(
        bool((layer.running_mean == 0).all()) and bool((layer.running_var == 1).all())  # type: ignore[union-attr]
        for layer in layers
    )


def calibrate_batch_norm(module: nn.Module, batches: Iterable[torch.Tensor]) -> int:
    """Set the running statistics to those of `batches`: every batch counts alike (momentum None), then eval mode again.

    Only these layers are in training mode meanwhile, so dropout stays off. Returns the number of layers.
    """
    layers = _layers(module)
    before = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None
            layer.train()
        if layers:
            for batch in batches:
                module(batch)
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum
            layer.eval()
    return len(layers)


def _layers(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    from torch import nn

    return [
        part
        for part in module.modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None
    ]
