"""A circle of inputs on its way through a network: what becomes of it behind every weight layer (Qu22, Figs 4, 5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from threadpoolctl import threadpool_limits

from critaudit.contents import InputArray, Runnable
from critaudit.dynamics.hooks import own_tensors
from critaudit.dynamics.manifold.geometry import Curve, Geometry, curve_geometry
from critaudit.dynamics.manifold.passing import Passed, pass_circles
from critaudit.dynamics.running import CannotRunError, running
from critaudit.errors import CritauditError, UsageError


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

    `blocks` are the network's repeated blocks (see `jacobian.blocks.find_blocks`): `name` is the module's path, and
    `tensors` are those of the last weight layer inside.
    `radius` is the mean strength R/√n of the input circles, `points` the number M of points on each of them.
    """

    layers: tuple[LayerManifold, ...] = ()
    blocks: tuple[LayerManifold, ...] = ()
    points: int = 0
    circles: int = 0
    radius: float | None = None
    method: str = ""
    reason: str | None = None


def propagate_circle(
    runnable: Runnable,
    *,
    inputs: InputArray | None = None,
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
            passed = pass_circles(network, points, circles)
    except CannotRunError as failure:
        return Propagation(reason=str(failure))
    return _measured(passed)


def _measured(passed: Passed) -> Propagation:
    owners = own_tensors({path: seen.tensors for path, (seen, _) in passed.layers.items()})
    # Small matrices: threads only wait for each other, and their number must not change the numbers.
    with threadpool_limits(1):
        layers = [_layer(passed, path, tensors) for path, tensors in owners.items()]
        blocks = [
            replace(_layer(passed, path, owners[last]), name=path)
            for path, (seen, _) in passed.layers.items()
            if seen.is_block and (last := _last_inside(path, owners)) is not None
        ]
    return Propagation(tuple(layers), tuple(blocks), passed.points, passed.circles, passed.radius, passed.method)


def _layer(passed: Passed, path: str, tensors: tuple[str, ...]) -> LayerManifold:
    seen, curves = passed.layers[path]
    sources = tuple(passed.names.get(tensor, tensor) for tensor in tensors)
    found, reason = _geometries(curves)
    return LayerManifold(
        name=sources[0],
        tensors=sources,
        module=type(seen.layer).__name__,
        calls=len(seen.calls),
        circles=found,
        reason=seen.problem or reason,
    )


def _last_inside(path: str, layers: Iterable[str]) -> str | None:
    """The last of the layers, in the order in which they ran, that is inside the block at `path`."""
    inside = [layer for layer in layers if layer.startswith(f"{path}.")]
    return inside[-1] if inside else None


def _geometries(curves: tuple[Curve, ...]) -> tuple[tuple[Geometry, ...], str | None]:
    found, reason = [], None
    for curve in curves:
        try:
            found.append(curve_geometry(curve))
        except CritauditError as error:
            reason = str(error)
    return tuple(found), reason
