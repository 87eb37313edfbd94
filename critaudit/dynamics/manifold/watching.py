"""Watching a circle of inputs pass: what every layer gives at all points, as Gram matrices.

The points pass as one batch, so that a layer's outputs at all of them are there together and none has to be kept. Two
points pass alone before: the first tells how large everything is and which way round a layer lays out its batch, the
second whether the network keeps its samples apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from critaudit.dynamics.hooks import first_signal, tensors_of, weight_layers
from critaudit.dynamics.manifold.gram import GramSum

if TYPE_CHECKING:
    import torch
    from torch import nn

_SIGNATURE = 512
# Relative differences between passing alone and in the batch: rounding, which layers may amplify, and more than that.
_ROUNDING, _MIXED = 1e-4, 1e-2


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer with one sample: how much it gave, some of the values, and what it cost in products."""

    size: int
    signature: torch.Tensor
    products: int


@dataclass(slots=True)
class Seen:
    """A layer or a block that ran: its calls with one sample, then the inner products of its outputs at all points.

    `others` are some of the values that it gave for another point alone, and `off` is how much they differ, relatively,
    from what it gave for that point in the batch.
    """

    layer: nn.Module
    tensors: tuple[str, ...]
    is_block: bool = False
    calls: list[Call] = field(default_factory=list)
    others: list[torch.Tensor] = field(default_factory=list)
    off: float = 0.0
    gram: GramSum = field(default_factory=GramSum)
    done: int = 0
    kept: list[list[torch.Tensor]] = field(default_factory=list)
    problem: str | None = None


Watch = Callable[[Seen, "torch.Tensor"], None]


@contextmanager
def watched(module: nn.Module, seen: dict[str, Seen], watch: Watch, blocks: Iterable[str] = ()) -> Iterator[None]:
    """Inside, the output of every weight layer, and of every module at the paths `blocks`, goes to `watch`.

    It comes with its entry in `seen`, made at its first call.
    """
    layers, modules = dict(weight_layers(module)), dict(module.named_modules())
    layers |= {path: modules[path] for path in blocks if path not in layers}

    def hook(path: str, layer: nn.Module) -> Any:
        is_block = path in blocks
        tensors = () if is_block else tensors_of(path, layer)

        def note(_module: nn.Module, _args: Any, output: Any) -> None:
            signal = first_signal(output)
            if signal is not None and signal.numel():
                watch(seen.setdefault(path, Seen(layer, tensors, is_block)), signal.detach())

        return note

    handles = [layer.register_forward_hook(hook(path, layer)) for path, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def note_call(seen: Seen, output: torch.Tensor) -> None:
    """Write down one call with a single sample."""
    products = 0 if seen.is_block else _products(seen.layer, output)
    seen.calls.append(Call(output.numel(), _signature(output.reshape(-1)), products))


def note_other(seen: Seen, output: torch.Tensor) -> None:
    """Write down some of what another point alone gives."""
    seen.others.append(_signature(output.reshape(-1)))


def add_batch(seen: Seen, output: torch.Tensor, points: int, other: int) -> None:
    """Take in one call with all points as the batch, or note why its output cannot be told apart by points.

    `other` is the place of the point that passed alone as well.
    """
    place = seen.done
    seen.done += 1
    if place >= len(seen.calls):
        seen.problem = "the layer is called more often for many samples than for one"
        return
    call = seen.calls[place]
    if output.numel() == call.size:
        seen.problem = "the layer's output does not depend on the input"
        return
    rows = by_point(output, call, points)
    if rows is None:
        seen.problem = "the layer's output is not laid out by samples"
        return
    if place < len(seen.others) and len(seen.others[place]):
        alone = seen.others[place]
        size = float(alone.abs().max()) or 1.0
        seen.off = max(seen.off, float((_signature(rows[other]) - alone).abs().max()) / size)
    seen.gram.add(rows)


def is_mixed(seen: Iterable[Seen]) -> bool:
    """Whether the network mixes the samples of a batch (a recurrent layer that takes the first axis for time).

    `seen` are the layers in their order. In a chaotic network rounding grows from layer to layer until it is as large
    as the signal; samples that meet differ at once.
    """
    largest = 0.0
    for layer in seen:
        if layer.off > _MIXED and largest < _ROUNDING:
            return True
        largest = max(largest, layer.off)
    return False


def keep_alone(seen: Seen, output: torch.Tensor) -> None:
    """Keep one call with a single point, where points cannot pass together."""
    seen.kept[-1].append(output.reshape(1, -1).clone())


def by_point(output: torch.Tensor, call: Call, points: int) -> torch.Tensor | None:
    """`output` as (points, size), whichever axis the batch is on; None where none fits.

    Of several axes that could be the batch (as many steps as points) the one is right that gives the first point's
    values as they were when it passed alone. Windows and heads folded into the batch stay in their point's row.
    """
    import torch

    if output.numel() != points * call.size:
        return None
    best, least = None, float("inf")
    for axis, length in enumerate(output.shape):
        if length % points:
            continue
        rows = output.movedim(axis, 0).reshape(points, call.size)
        off = float(torch.linalg.vector_norm(_signature(rows[0]) - call.signature))
        if best is None or off < 0.5 * least:
            best, least = rows, off
    return best


def _signature(flat: torch.Tensor) -> torch.Tensor:
    return flat[:: max(1, flat.numel() // _SIGNATURE)].clone()


def _products(layer: nn.Module, output: torch.Tensor) -> int:
    """Multiplications of one call, counting those with the layer's weights."""
    from torch import nn

    if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)):
        return 0
    weights = sum(value.numel() for value in layer.parameters() if value.ndim >= 2)
    rows = layer.out_channels if isinstance(layer, nn.modules.conv._ConvNd) else output.shape[-1] if output.ndim else 1
    return output.numel() // max(rows, 1) * weights
