"""A circle of inputs on its way through a network: what becomes of it behind every weight layer (Qu22, Figs 4, 5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from critaudit.contents import Runnable
from critaudit.dynamics.calibrated import token_table
from critaudit.dynamics.hooks import own_tensors
from critaudit.dynamics.manifold.circle import GreatCircle, great_circle
from critaudit.dynamics.manifold.geometry import Curve, Geometry, curve_geometry
from critaudit.dynamics.manifold.gram import GramSum
from critaudit.dynamics.manifold.watching import Seen, add_batch, keep_alone, note_call, watched
from critaudit.dynamics.running import CannotRunError, Running, running
from critaudit.errors import CritauditError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

# Points and circles to choose from, best first: many of both for small networks.
_PLANS = ((256, 4), (128, 4), (64, 4), (64, 1), (48, 1), (32, 1), (24, 1), (16, 1))
# Products per audit: some ten seconds on one core. One of a Gram matrix is in float64 and takes twice the time.
_PRODUCTS = 16 * 10**10
# What the eigenvalues of an M×M matrix cost, in units of M³ products.
_EIGENVALUES = 25
# Entries of the largest layer's output at all points: 256 MB in float32, of which a network holds several at a time.
_ENTRIES = 1 << 26
_MOST_ENTRIES = 1 << 29


@dataclass(frozen=True, slots=True)
class LayerManifold:
    """What the circles have become behind one weight layer.

    `name` and `tensors` are the source's names. `circles` holds one Geometry per circle that could be measured, and
    `reason` says what was wrong with the others. A layer that is applied several times per sample (`calls`) is measured
    on all its outputs together.
    """

    name: str
    tensors: tuple[str, ...]
    module: str
    calls: int
    circles: tuple[Geometry, ...]
    reason: str | None


@dataclass(frozen=True, slots=True)
class Propagation:
    """The layers in the order in which they ran, or the `reason` why there are none.

    `radius` is the mean strength R/√n of the input circles, `points` the number M of points on each of them.
    """

    layers: tuple[LayerManifold, ...] = ()
    points: int = 0
    circles: int = 0
    radius: float | None = None
    method: str = ""
    reason: str | None = None


def propagate_circle(
    runnable: Runnable,
    *,
    inputs: NDArray[np.float32] | None = None,
    points: int | None = None,
    circles: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Propagation:
    """Send great circles through a network and measure their geometry behind every weight layer.

    Each circle passes through the directions of two of the `inputs` (batch first), or of two random ones; for a network
    of token ids it lies in the space of the embedded sequences. By default, up to 4 circles of 256 points pass, fewer
    through large networks: 32 points once through a ResNet-50 at 224². The numbers depend on the network's size alone.

    A network that cannot be run gives a `reason`, never an exception. Raises UsageError for fewer than 8 points, less
    than one circle, or a device or inputs that cannot be used.
    """
    if (points is not None and points < 8) or (circles is not None and circles < 1):
        raise UsageError(f"points = {points}, circles = {circles}: at least 8 points and 1 circle are expected")
    try:
        with running(runnable, inputs=inputs, samples=2 * (circles or 4), seed=seed, device=device) as network:
            passed = _pass(network, points, circles)
    except CannotRunError as failure:
        return Propagation(reason=str(failure))
    return _measured(passed)


@dataclass(frozen=True, slots=True)
class _Passed:
    """What the passes gave: per path the curves of its circles, as far as there are any, and why there are not."""

    layers: Mapping[str, tuple[Seen, tuple[Curve, ...]]]
    names: Mapping[str, str]
    points: int
    circles: int
    radius: float
    method: str


def _pass(network: Running, points: int | None, circles: int | None) -> _Passed:
    rounds = _circles(network)
    table = token_table(network.module)
    ids = next(network.samples()) if table is not None else None
    seen: dict[str, Seen] = {}
    with watched(network.module, seen, note_call):
        _run(network, rounds[0].points(4)[:1], ids, table)
    if not seen:
        raise CannotRunError("no weight layer of the network ran")
    count, number = _plan(seen)
    count, number = points or count, min(circles or number, len(rounds))
    curves: dict[str, list[Curve]] = {path: [] for path in seen}
    for circle in rounds[:number]:
        _send(network, circle.points(count), ids, table, seen)
        for path, layer in seen.items():
            if layer.problem is None:
                curves.setdefault(path, []).append(layer.gram.curve())
            layer.gram, layer.done = GramSum(), 0
    what = "two samples" if network.count > 1 else "a sample and a random direction"
    what = f"{what}, embedded" if ids is not None else what
    return _Passed(
        layers={path: (layer, tuple(curves.get(path, ()))) for path, layer in seen.items()},
        names=network.tensor_names,
        points=count,
        circles=number,
        radius=float(np.mean([circle.radius / circle.first.numel() ** 0.5 for circle in rounds[:number]])),
        method=f"{number} great circle{'s' if number > 1 else ''} of {count} points around the origin, each through "
        f"{what} ({network.method})",
    )


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


def _run(network: Running, points: torch.Tensor, ids: torch.Tensor | None, table: nn.Module | None) -> None:
    """One forward pass with these points as the batch: as inputs, or in place of the embedded tokens."""
    batch = points.to(network.place)
    if table is None or ids is None:
        network.module(batch)
        return
    with _replaced(table, batch):
        network.module(ids.expand(len(batch), *ids.shape[1:]).contiguous())


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


def _send(
    network: Running,
    points: torch.Tensor,
    ids: torch.Tensor | None,
    table: nn.Module | None,
    seen: dict[str, Seen],
) -> None:
    """Pass all points together, or one by one where the network takes no batch of them."""
    try:
        with watched(network.module, seen, lambda layer, output: add_batch(layer, output, len(points))):
            _run(network, points, ids, table)
    except CritauditError:
        raise
    except Exception:  # Foreign code: a network that knows one sample at a time may raise anything.
        _send_alone(network, points, ids, table, seen)
    for layer in seen.values():
        if layer.problem is None and layer.done not in (0, len(layer.calls)):
            layer.problem = "the layer is called less often for many samples than for one"
        elif layer.problem is None and not layer.done:
            layer.problem = "the layer did not run with all points together"


def _send_alone(
    network: Running,
    points: torch.Tensor,
    ids: torch.Tensor | None,
    table: nn.Module | None,
    seen: dict[str, Seen],
) -> None:
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
        with watched(network.module, seen, keep_alone):
            _run(network, points[point : point + 1], ids, table)
    for layer in seen.values():
        rows = [torch.cat(calls, dim=1) for calls in layer.kept if calls]
        layer.kept = []
        if len(rows) < len(points) or len({row.shape for row in rows}) > 1:
            layer.problem = "the layer's output differs in size from one input to the next"
        else:
            layer.gram.add(torch.cat(rows))


def _measured(passed: _Passed) -> Propagation:
    owners = own_tensors({path: seen.tensors for path, (seen, _) in passed.layers.items()})
    # Small matrices: threads only wait for each other, and their number must not change the numbers.
    with threadpool_limits(1):
        geometries = {path: _geometries(passed.layers[path][1]) for path in owners}
    layers = []
    for path, tensors in owners.items():
        seen, _ = passed.layers[path]
        sources = tuple(passed.names.get(tensor, tensor) for tensor in tensors)
        found, reason = geometries[path]
        layers.append(
            LayerManifold(
                name=sources[0],
                tensors=sources,
                module=type(seen.layer).__name__,
                calls=len(seen.calls),
                circles=found,
                reason=seen.problem or reason,
            )
        )
    return Propagation(tuple(layers), passed.points, passed.circles, passed.radius, passed.method)


def _geometries(curves: tuple[Curve, ...]) -> tuple[tuple[Geometry, ...], str | None]:
    found, reason = [], None
    for curve in curves:
        try:
            found.append(curve_geometry(curve))
        except CritauditError as error:
            reason = str(error)
    return tuple(found), reason
