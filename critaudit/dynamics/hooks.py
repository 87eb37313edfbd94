"""Watching a network run: forward hooks that keep norms only, in surroundings that are left as they were found."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(slots=True)
class Trace:
    """What a layer's hook wrote down: per finished sample, the mean strength over the layer's calls."""

    layer: nn.Module
    tensors: tuple[str, ...]
    outgoing: list[float | None] = field(default_factory=list)
    incoming: list[float | None] = field(default_factory=list)
    calls: int = 0
    open: list[tuple[float | None, float | None]] = field(default_factory=list)

    def close_sample(self) -> None:
        if self.open:
            self.outgoing.append(_mean([out for out, _ in self.open]))
            self.incoming.append(_mean([into for _, into in self.open]))
            self.calls = max(self.calls, len(self.open))
            self.open = []


def hook(traces: dict[str, Trace], path: str, layer: nn.Module) -> Any:
    """A forward hook that notes the strengths before and behind `layer` in `traces[path]`, made at its first call."""
    tensors = tensors_of(path, layer)

    def watch(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        # Entered on first call, so that the traces stand in the order in which the layers ran.
        trace = traces.setdefault(path, Trace(layer, tensors))
        trace.open.append((strength_of(first_signal(output)), strength_of(first_signal((args, kwargs)))))

    return watch


def weight_layers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules that multiply with a weight: PyTorch's own, and any other leaf with a matrix called weight."""
    from torch import nn

    known = (
        nn.Linear,
        nn.Bilinear,
        nn.modules.conv._ConvNd,
        nn.Embedding,
        nn.EmbeddingBag,
        nn.RNNBase,
        nn.RNNCellBase,
        nn.MultiheadAttention,
    )
    for path, layer in module.named_modules():
        if isinstance(layer, known):
            yield path, layer
        elif not any(True for _ in layer.children()) and "Norm" not in type(layer).__name__:
            weights = [value for name, value in layer.named_parameters() if name.startswith(("weight", "kernel"))]
            if any(sum(side > 1 for side in value.shape) >= 2 for value in weights):
                yield path, layer


def tensors_of(path: str, layer: nn.Module) -> tuple[str, ...]:
    """Names of the matrices that the layer's output comes from; those of parametrisations and projections included.

    A stack of recurrent layers shows the output of its last one only, so only that one's matrices are named.
    """
    from torch import nn

    prefix = f"{path}." if path else ""
    names = [name for name, value in layer.named_parameters() if value.ndim >= 2]
    if isinstance(layer, nn.RNNBase):
        last = f"_l{layer.num_layers - 1}"
        names = [name for name in names if name.endswith((last, f"{last}_reverse"))] or names
    return tuple(prefix + name for name in names)


def own_tensors(tensors: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """By path, the tensors that speak for the layer at that path: a layer inside that ran as a module has its own.

    Attention names the matrices of its projections; one that is a module of its own is left to that. Layers for which
    nothing remains are left out.
    """
    found = {}
    for path, names in tensors.items():
        taken = {name for other, inner in tensors.items() if other.startswith(f"{path}.") for name in inner}
        if own := tuple(name for name in names if name not in taken):
            found[path] = own
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def strength_of(values: torch.Tensor | None) -> float | None:
    """‖x‖₂/√n in float64, NaN where any entry is not finite; None where there is no floating-point signal."""
    import torch

    if values is None or values.numel() == 0 or not (values.is_floating_point() or values.is_complex()):
        return None
    plain = values.detach()
    plain = torch.view_as_real(plain) if plain.is_complex() else plain
    wide = torch.float32 if plain.device.type == "mps" else torch.float64
    norm = float(torch.linalg.vector_norm(plain, dtype=wide))
    return norm / math.sqrt(values.numel()) if math.isfinite(norm) else math.nan


def first_signal(found: Any, depth: int = 0) -> torch.Tensor | None:
    """The first floating-point tensor in whatever a module takes or returns: tuple, mapping, record of tensors."""
    import torch

    if isinstance(found, torch.Tensor):
        return found if found.is_floating_point() or found.is_complex() else None
    if depth > 4 or isinstance(found, (str, bytes)) or found is None:
        return None
    if isinstance(found, Mapping):
        found = list(found.values())
    elif not isinstance(found, (tuple, list)):
        found = list(getattr(found, "__dict__", {}).values())
    for part in found:
        if (tensor := first_signal(part, depth + 1)) is not None:
            return tensor
    return None


@contextmanager
def undisturbed(place: torch.device, seed: int) -> Iterator[None]:
    """No gradients, no warnings, seeded randomness inside; every global random state is put back at the end."""
    import torch

    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
