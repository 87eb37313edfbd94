"""Watching a circle of inputs pass: what every layer gives at all points, as Gram matrices.

The points pass as one batch, so that a layer's outputs at all of them are there together and none has to be kept. The
first point passes alone before: it tells how large everything is, and which way round a layer lays out its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from critaudit.dynamics.hooks import first_signal, tensors_of, weight_layers
from critaudit.dynamics.manifold.gram import GramSum

if TYPE_CHECKING:
    import torch
    from torch import nn

_SIGNATURE = 512


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer with one sample: how much it gave, some of the values, and what it cost in products."""

    size: int
    signature: torch.Tensor
    products: int


@dataclass(slots=True)
class Seen:
    """A layer that ran: its calls with one sample, then the inner products of its outputs at all points."""

    layer: nn.Module
    tensors: tuple[str, ...]
    calls: list[Call] = field(default_factory=list)
    gram: GramSum = field(default_factory=GramSum)
    done: int = 0
    kept: list[list[torch.Tensor]] = field(default_factory=list)
    problem: str | None = None


Watch = Callable[[Seen, "torch.Tensor"], None]


@contextmanager
def watched(module: nn.Module, seen: dict[str, Seen], watch: Watch) -> Iterator[None]:
    """Inside, every weight layer's output goes to `watch`, with its entry in `seen`, made at its first call."""

    def hook(path: str, layer: nn.Module) -> Any:
        def note(_module: nn.Module, _args: Any, output: Any) -> None:
            signal = first_signal(output)
            if signal is not None and signal.numel():
                watch(seen.setdefault(path, Seen(layer, tensors_of(path, layer))), signal.detach())

        return note

    handles = [layer.register_forward_hook(hook(path, layer)) for path, layer in weight_layers(module)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def note_call(seen: Seen, output: torch.Tensor) -> None:
    """Write down one call with a single sample."""
    flat = output.reshape(-1)
    stride = max(1, flat.numel() // _SIGNATURE)
    seen.calls.append(Call(flat.numel(), flat[::stride].clone(), _products(seen.layer, output)))


def add_batch(seen: Seen, output: torch.Tensor, points: int) -> None:
    """Take in one call with all points as the batch, or note why its output cannot be told apart by points."""
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
    seen.gram.add(rows)


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
        stride = max(1, call.size // _SIGNATURE)
        off = float(torch.linalg.vector_norm(rows[0, ::stride] - call.signature))
        if best is None or off < 0.5 * least:
            best, least = rows, off
    return best


def _products(layer: nn.Module, output: torch.Tensor) -> int:
    """Multiplications of one call, counting those with the layer's weights."""
    from torch import nn

    if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)):
        return 0
    weights = sum(value.numel() for value in layer.parameters() if value.ndim >= 2)
    rows = layer.out_channels if isinstance(layer, nn.modules.conv._ConvNd) else output.shape[-1] if output.ndim else 1
    return output.numel() // max(rows, 1) * weights
