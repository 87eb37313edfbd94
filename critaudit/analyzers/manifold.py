"""Manifold: what becomes of a circle of inputs on its way through the network (Qu22, Figs 4, 5; Poole 2016)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from critaudit.analyzers.base import Analyzer, Measurements, NetworkMeasurements, Settings, numbers
from critaudit.dynamics.manifold import Geometry, LayerManifold, Propagation, propagate_circle
from critaudit.measurement import Measurement, measured, not_applicable, undetermined
from critaudit.model import ModelView
from critaudit.report.record import Finding, Layer
from critaudit.report.wording import plural
from critaudit.text import printable

# 97.5 % points of Student's t for means over that many circles.
_STUDENT = {2: 12.706, 3: 4.303, 4: 3.182}
# A number is not given where every second point alone would change it by more than this: angles by a tenth (the kinks
# of a wide ReLU layer turn a curve at random, so that the angle per step goes with the square root of the step: it
# changes by 0.29), a length, whose interval shows it, by a third.
_UNRESOLVED_ANGLE, _UNRESOLVED_LENGTH = 0.1, 1 / 3
# Layers whose circle is shown, and points that a picture of it needs.
_PICTURES, _PICTURE_POINTS = 6, 64
# Variance over mean square: differences of 1 % of the signal.
_COLLAPSED = 1e-4
_LINE = 1.1
_UNRELATED = 0.5

_Value = Callable[[Geometry], float]
# ID → how it is read from a circle, how much every second point alone would change it, and what it is.
_NUMBERS: dict[str, tuple[_Value, _Value | None, str]] = {
    "cv": (lambda g: g.cv, None, "std/mean of the distances between neighbouring points"),
    "participation": (lambda g: g.participation, None, "(Σλ)²/Σλ² of the principal components"),
    "plane_share": (lambda g: sum(g.variance_shares[:2]), None, "share of the variance in two principal components"),
    "spread": (lambda g: g.spread, None, "variance along the circle over the mean square of the output"),
    "stretch": (lambda g: g.length, lambda g: 3.0 * g.length_error, "length/√n over that of the input circle"),
    "turns": (lambda g: g.turns, lambda g: g.turns_error, "sum of the angles between successive steps over 2π"),
    "curvature": (lambda g: g.curvature, lambda g: 3.0 * g.curvature_error, "mean of κ·R, R = root mean square radius"),
    "correlation_width": (lambda g: g.correlation_width, None, "angle at which the autocorrelation is one half"),
    "neighbour_correlation": (lambda g: g.step_correlation, None, "autocorrelation of neighbouring points"),
}
_BLOCK_NUMBERS = ("cv", "participation", "spread", "stretch")
_UNSEEN = "the running network does not call this layer as a module of its own, so that its output is not seen"
_SERIES = ("variance_shares", "singular_shares")


def _network(view: ModelView, settings: Settings, _: Sequence[Layer]) -> NetworkMeasurements:
    assert view.runnable is not None
    found = propagate_circle(view.runnable, inputs=settings.inputs, seed=settings.seed, device=settings.device)
    if found.reason is not None:
        return NetworkMeasurements(model={"manifold.status": undetermined(found.reason)})
    pictured = _pictured(found)
    layers = {
        printable(tensor): _layer(layer, found, layer.name in pictured)
        for layer in found.layers
        for tensor in layer.tensors
    }
    for block in found.blocks:
        for tensor in block.tensors:
            layers.setdefault(printable(tensor), {}).update(_block(block, found))
    for matrix in view.matrices:
        layers.setdefault(printable(matrix.tensor), _gaps(not_applicable(_UNSEEN)))
    model = {
        "manifold.points": measured(found.points, n=found.circles, method=found.method),
        "manifold.circles": measured(found.circles, method=found.method),
        "manifold.pictures": measured(len(pictured), method="layers behind which the circle is drawn"),
    }
    if found.radius is not None:
        model["manifold.input_strength"] = measured(found.radius, n=found.circles, method=f"R/√n; {found.method}")
    return NetworkMeasurements(layers, model)


def _pictured(found: Propagation) -> set[str]:
    """The layers whose circle is shown: first, last, and some evenly in between."""
    names = [layer.name for layer in found.layers if layer.circles]
    last = len(names) - 1
    return {names[round(place * last / (_PICTURES - 1))] for place in range(_PICTURES)} if names else set()


def _layer(layer: LayerManifold, found: Propagation, pictured: bool) -> Measurements:
    circles = layer.circles
    if not circles:
        reason = layer.reason or "no circle could be measured"
        gap = not_applicable(reason) if "does not depend" in reason else undetermined(reason, n=0)
        return _gaps(gap)
    measurements, method = _numbers(layer, found, _NUMBERS), _method(layer, found)
    for name in _SERIES:
        columns = zip(*(getattr(circle, name) for circle in circles), strict=True)
        measurements[f"manifold.{name}"] = measured(
            tuple(_short(math.fsum(column) / len(circles)) for column in columns), n=len(circles), method=method
        )
    if pictured:
        measurements["manifold.projection"] = _projection(circles[0])
    return measurements


def _block(block: LayerManifold, found: Propagation) -> Measurements:
    """What leaves the block that ends with a layer, beside what the layer gives."""
    named = _numbers(block, found, _BLOCK_NUMBERS)
    where = f"behind the block {printable(block.name)}, which ends with this layer"
    return {
        name.replace("manifold.", "manifold.block_"): replace(measure, method=f"{where}; {measure.method}")
        for name, measure in named.items()
    }


def _numbers(layer: LayerManifold, found: Propagation, names: Iterable[str]) -> Measurements:
    """The named numbers of a layer or a block over its circles."""
    measurements: dict[str, Measurement] = {}
    for name in names if layer.circles else ():
        value, error, what = _NUMBERS[name]
        scale = 1.0 / (2.0 * math.pi * found.radius) if name == "stretch" and found.radius else 1.0
        values = [scale * value(circle) for circle in layer.circles]
        errors = [scale * error(circle) for circle in layer.circles] if error is not None else []
        limit = _UNRESOLVED_LENGTH if name == "stretch" else _UNRESOLVED_ANGLE
        measurements[f"manifold.{name}"] = _over_circles(values, errors, limit, f"{what}; {_method(layer, found)}")
    return measurements


def _method(layer: LayerManifold, found: Propagation) -> str:
    note = f"; all {layer.calls} calls together" if layer.calls > 1 else ""
    return f"{found.points} points; {len(layer.circles)} of {plural(found.circles, 'circle')}{note}"


def _gaps(gap: Measurement) -> Measurements:
    """The same reason for the most telling measurements."""
    return {f"manifold.{name}": gap for name in ("cv", "participation", "spread", "stretch", "turns")}


def _over_circles(values: Sequence[float], errors: Sequence[float], limit: float, method: str) -> Measurement:
    """The mean over circles with its 95 % interval, widened by how much every second point would change it."""
    number = len(values)
    mean = math.fsum(values) / number
    error = math.fsum(errors) / number if errors else 0.0
    if mean and error > limit * abs(mean):
        return undetermined(
            f"kinks, or folds finer than the points: every second one alone would change it by {error / abs(mean):.0%}",
            n=number,
            method=method,
        )
    half = error
    if number > 1:
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (number - 1))
        half += _STUDENT.get(number, 1.96) * deviation / math.sqrt(number)
    interval = (max(mean - half, 0.0), mean + half) if half > 0.0 else None
    return measured(mean, interval=interval, n=number, method=method)


def _projection(circle: Geometry) -> Measurement:
    """x, y, z of the first circle's points in its first three principal components, one point after the other."""
    stride = max(1, circle.points // _PICTURE_POINTS)
    values = tuple(_short(float(value)) for value in circle.projection[::stride].reshape(-1))
    return measured(values, n=len(values) // 3, method="x, y, z per point, in units of the root mean square radius")


def _short(value: float) -> float:
    """Five decimals: less than a pixel of a picture."""
    return round(value, 5) + 0.0


def _find(layers: Sequence[Layer], _model: Measurements) -> Iterator[Finding]:
    collapsed = _collapsed_to_the_end(layers)
    caveat = (
        "Seen on circles of mixtures of two inputs; your data may differ more from each other, or less. Without "
        "--inputs they are noise, whose average over an image hardly changes."
    )
    if collapsed:
        yield Finding(
            "manifold.collapsed",
            "warning",
            collapsed[0].name,
            f"From here to the end ({plural(len(collapsed), 'layer')}) the outputs along a whole circle of different "
            "inputs differ by less than 1 % of their size: the network hardly tells inputs apart.",
            ("manifold.spread",),
            caveat,
        )
    lost = [layer for layer, value in numbers(layers, "manifold.neighbour_correlation") if value < _UNRELATED]
    if lost:
        yield Finding(
            "manifold.folded",
            "warning",
            lost[0].name if len(lost) == 1 else None,
            f"In {plural(len(lost), 'layer')} (first {lost[0].name}) neighbouring points of a circle of inputs have "
            "become unrelated: nearby inputs are torn apart, as in the chaotic phase.",
            ("manifold.neighbour_correlation",),
            caveat,
        )
    yield from _flattened(layers, caveat)


def _flattened(layers: Sequence[Layer], caveat: str) -> Iterator[Finding]:
    """A circle on a line, in layers that have room for a plane; the network's last layer may mean it."""
    flat = [
        layer
        for layer, value in numbers(layers[:-1], "manifold.participation")
        if value < _LINE and layer.shape and min(layer.shape[:2]) > 2
    ]
    if flat:
        yield Finding(
            "manifold.flattened",
            "info",
            flat[0].name if len(flat) == 1 else None,
            f"In {plural(len(flat), 'layer')} (first {flat[0].name}) a circle of inputs has been pressed onto nearly "
            f"one direction (participation ratio below {_LINE}; a circle has 2).",
            ("manifold.participation", "manifold.cv"),
            f"A single heavy weight or a narrow layer does that, by design or not. {caveat}",
        )


def _collapsed_to_the_end(layers: Sequence[Layer]) -> list[Layer]:
    """The last layers, all of which give nearly the same for all inputs; those that tell nothing do not count.

    A branch that collapses and joins others again (a gate behind a global average) is no loss.
    """
    found: list[Layer] = []
    for layer in reversed(layers):
        held = layer.measurements.get("manifold.spread")
        if held is None or held.status == "not_applicable":
            continue
        spread = 0.0 if held.status == "undetermined" and "rounding" in (held.reason or "") else held.number
        if spread is None or spread >= _COLLAPSED:
            break
        found.append(layer)
    return found[::-1]


MANIFOLD = Analyzer(
    id="manifold",
    title="Manifold propagation",
    why="A circle of inputs shows what layers do to the shape of data: stretch, flatten, fold or collapse it.",
    requires="network",
    network=_network,
    find=_find,
)
