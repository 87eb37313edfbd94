"""Networks with random weights as sources see them: tensors by name, in memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from critaudit.sources.recognition.instantiate import build_network
from critaudit.tensors import MemoryStorage, TensorRef


def reference(values: np.ndarray, key: str) -> TensorRef:
    """A tensor in memory."""
    raw = np.frombuffer(np.ascontiguousarray(values).tobytes(), dtype=np.uint8)
    return TensorRef(MemoryStorage(raw, key), str(values.dtype), values.shape)


def references(state: Mapping[str, torch.Tensor]) -> dict[str, TensorRef]:
    """A state dict as a reader would give it."""
    return {name: reference(value.detach().numpy(), name) for name, value in state.items()}


def random_network(library: str, name: str, *, classes: int | None = None) -> nn.Module:
    """A library's network in eval mode, every parameter and buffer drawn small and variances around one."""
    generator = torch.Generator().manual_seed(7)
    network = build_network(library, name, classes=classes)
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                value.copy_(0.2 * torch.rand(value.shape, generator=generator) + (0.9 if "var" in key else -0.1))
    return network


def answer(network: nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    """What `network` gives for one fixed random sample."""
    with torch.no_grad():
        return network(torch.randn(1, *shape, generator=torch.Generator().manual_seed(3)))
