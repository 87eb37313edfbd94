"""Passing circles of inputs through a network: how many, of how many points, and how they get in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from critaudit.dynamics.calibrated import token_table
from critaudit.dynamics.hooks import weight_layers
from critaudit.dynamics.jacobian.blocks import find_blocks
from critaudit.dynamics.manifold.circle import GreatCircle, great_circle
from critaudit.dynamics.manifold.geometry import Curve
from critaudit.dynamics.manifold.gram import GramSum
from critaudit.dynamics.manifold.watching import (
    Seen,
    Watch,
    add_batch,
    is_mixed,
    keep_alone,
    note_call,
    note_other,
    watched,
)
from critaudit.dynamics.running import CannotRunError, Running
from critaudit.errors import CritauditError

if TYPE_CHECKING:
    import torch
    from torch import nn

# Points and circles to choose from, best first: many of both for small networks.
_PLANS = ((256, 4), (128, 4), (64, 4), (64, 1), (48, 1), (32, 1), (24, 1), (16, 1))
# Products per audit: some ten seconds on one core. One of a Gram matrix is in float64 and takes twice the time.
_PRODUCTS = 18 * 10**10
# What the eigenvalues of an M×M matrix cost, in units of M³ products.
_EIGENVALUES = 25
# Entries of the largest layer's output at all points: 256 MB in float32, of which a network holds several at a time.
_ENTRIES = 1 << 26
_MOST_ENTRIES = 1 << 29


@dataclass(frozen=True, slots=True)
class Passed:
    """What the passes gave: per path the curves of its circles, as far as there are any, and why there are not."""

    layers: Mapping[str, tuple[Seen, tuple[Curve, ...]]]
    names: Mapping[str, str]
    points: int
    circles: int
    radius: float
    method: str


def pass_circles(network: Running, points: int | None, circles: int | None) -> Passed:
    """Send circles through the samples of `network`, by default as many of as many points as its size allows.

    Raises CannotRunError where the samples span no circle or a layer's output does not fit into memory.
    """
    rounds = _circles(network)
    table = token_table(network.module)
    ids = next(network.samples()) if table is not None else None
    fed = _Fed(network, table, ids, _blocks(network.module, rounds[0].points(4)[:1].to(network.place), ids))
    seen: dict[str, Seen] = {}
    with fed.watched(seen, note_call):
        fed.run(rounds[0].points(4)[:1])
    if not seen:
        raise CannotRunError("no weight layer of the network ran")
    count, number = _plan(seen)
    count, number = points or count, min(circles or number, len(rounds))
    with fed.watched(seen, note_other):
        fed.run(rounds[0].points(count)[_other(count)][None])
    curves: dict[str, list[Curve]] = {path: [] for path in seen}
    for circle in rounds[:number]:
        _send(fed, circle.points(count), seen)
        for path, layer in seen.items():
            if layer.problem is None:
                curves.setdefault(path, []).append(layer.gram.curve())
            layer.gram, layer.done, layer.others = GramSum(), 0, []
    what = "two samples" if network.count > 1 else "a sample and a random direction"
    what = f"{what}, embedded" if ids is not None else what
    return Passed(
        layers={path: (layer, tuple(curves.get(path, ()))) for path, layer in seen.items()},
        names=network.tensor_names,
        points=count,
        circles=number,
        radius=float(np.mean([circle.radius / circle.first.numel() ** 0.5 for circle in rounds[:number]])),
        method=f"{number} great circle{'s' if number > 1 else ''} of {count} points around the origin, each through "
        f"{what} ({network.method})",
    )


@dataclass(frozen=True, slots=True)
class _Fed:
    """A network, how points get into it (as inputs, or in place of the embedded tokens), and what is watched."""

    network: Running
    table: nn.Module | None
    ids: torch.Tensor | None
    blocks: tuple[str, ...]

    def watched(self, seen: dict[str, Seen], watch: Watch) -> AbstractContextManager[None]:
        """Inside, layers and blocks are watched."""
        return watched(self.network.module, seen, watch, self.blocks)

    def run(self, points: torch.Tensor) -> None:
        """One forward pass with these points as the batch."""
        batch = points.to(self.network.place)
        if self.table is None or self.ids is None:
            self.network.module(batch)
            return
        with _replaced(self.table, batch):
            self.network.module(self.ids.expand(len(batch), *self.ids.shape[1:]).contiguous())


def _blocks(module: nn.Module, point: torch.Tensor, ids: torch.Tensor | None) -> tuple[str, ...]:
    """The paths of the network's repeated blocks, if it has any."""
    found = find_blocks(module, point if ids is None else ids)
    layers = {path for path, _ in weight_layers(module)}
    return tuple(path for path in found.paths if found.are_modules and path not in layers)


def _circles(network: Running) -> list[GreatCircle]:
    """Circles through the first two samples, the next two, and so on; one sample alone gets a random partner."""
    table = token_table(network.module)
    samples = [_embedded(network, table, ids) if table is not None else ids for ids in network.samples()]
    if len(samples) == 1:
        samples.append(_partner(samples[0], network.seed))
    return [great_circle(*pair) for pair in zip(samples[::2], samples[1::2], strict=False)]


def _partner(sample: torch.Tensor, seed: int) -> torch.Tensor:
    """A Gaussian sample of the same norm."""
    import torch

    rng = np.random.default_rng(seed)
    values = torch.from_numpy(rng.standard_normal(tuple(sample.shape), dtype=np.float32)).to(sample.device)
    partner: torch.Tensor = values * (torch.linalg.vector_norm(sample) / torch.linalg.vector_norm(values))
    return partner


def _embedded(network: Running, table: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """What the embedding gives for one sample of token ids, shape (1, …)."""
    found: list[torch.Tensor] = []
    handle = table.register_forward_hook(lambda _module, _args, output: found.append(output.detach().clone()))
    try:
        network.module(ids)
    finally:
        handle.remove()
    if not found or found[0].ndim == 0 or found[0].shape[0] != 1:
        raise CannotRunError("the embedded tokens are not laid out by samples")
    return found[0]


@contextmanager
def _replaced(table: nn.Module, values: torch.Tensor) -> Iterator[None]:
    """Inside, looking up a batch of tokens gives `values`; before other hooks see the output."""

    def replace(_module: nn.Module, _args: Any, output: torch.Tensor) -> torch.Tensor:
        return values.to(output.dtype) if output.shape == values.shape else output

    handle = table.register_forward_hook(replace, prepend=True)
    try:
        yield
    finally:
        handle.remove()


def _plan(seen: Mapping[str, Seen]) -> tuple[int, int]:
    """The most points and circles that the network's size allows."""
    calls = [call for layer in seen.values() for call in layer.calls]
    products, values = sum(call.products for call in calls), sum(call.size for call in calls)
    largest = max(call.size for call in calls)
    for points, circles in _PLANS:
        cost = circles * (points * products + 2 * points**2 * values + _EIGENVALUES * points**3 * len(seen))
        if cost <= _PRODUCTS and points * largest <= _ENTRIES:
            return points, circles
    if _PLANS[-1][0] * largest > _MOST_ENTRIES:
        raise CannotRunError(f"a layer gives {largest:,} values per sample; a circle of them does not fit into memory")
    return _PLANS[-1]


def _send(fed: _Fed, points: torch.Tensor, seen: dict[str, Seen]) -> None:
    """Pass all points together, or one by one where the network takes no batch of them."""
    try:
        other = _other(len(points))
        with fed.watched(seen, lambda layer, output: add_batch(layer, output, len(points), other)):
            fed.run(points)
        passed = not is_mixed(seen.values())
    except CritauditError:
        raise
    except Exception:  # Foreign code: a network that knows one sample at a time may raise anything.
        passed = False
    if not passed:
        _send_alone(fed, points, seen)
    for layer in seen.values():
        if layer.problem is None and layer.done not in (0, len(layer.calls)):
            layer.problem = "the layer is called less often for many samples than for one"
        elif layer.problem is None and not layer.done:
            layer.problem = "the layer did not run with all points together"


def _other(points: int) -> int:
    """The place of the point that passes alone for comparison."""
    return points // 3


def _send_alone(fed: _Fed, points: torch.Tensor, seen: dict[str, Seen]) -> None:
    import torch

    total = sum(call.size for layer in seen.values() for call in layer.calls)
    if total * len(points) > _MOST_ENTRIES:
        raise CannotRunError(
            "the network takes one sample at a time and is too large to keep what every one of them gives"
        )
    for layer in seen.values():
        layer.gram, layer.done, layer.kept, layer.problem = GramSum(), len(layer.calls), [], None
    for point in range(len(points)):
        for layer in seen.values():
            layer.kept.append([])
        with fed.watched(seen, keep_alone):
            fed.run(points[point : point + 1])
    for layer in seen.values():
        rows = [torch.cat(calls, dim=1) for calls in layer.kept if calls]
        layer.kept = []
        if len(rows) < len(points) or len({row.shape for row in rows}) > 1:
            layer.problem = "the layer's output differs in size from one input to the next"
        else:
            layer.gram.add(torch.cat(rows))
