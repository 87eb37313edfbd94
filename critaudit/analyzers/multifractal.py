"""Multifractality: on how many neurons the modes of each dense layer's Jacobian sit (Qu22, Eq. 9, Figs 3, S2)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from critaudit.analyzers.base import Analyzer, Measurements, NetworkMeasurements, Settings, numbers
from critaudit.dynamics.jacobian.averages import over_points
from critaudit.dynamics.multifractal import LayerDimensions, Side, layer_dimensions
from critaudit.dynamics.running import CannotRunError, running
from critaudit.laws.multifractal import ORDERS
from critaudit.measurement import Measurement, measured, not_applicable, undetermined
from critaudit.model import ModelView
from critaudit.report.record import Finding, Layer
from critaudit.text import printable

_D2 = ORDERS.index(2.0)
# Vectors of fewer sites say little; beyond this much below Gaussian vectors they are worth a word.
_SITES, _FAR = 64, 0.15
_NOT_DENSE = "not a dense layer of its own: its modes are not looked at"


def _network(view: ModelView, settings: Settings, _: Sequence[Layer]) -> NetworkMeasurements:
    assert view.runnable is not None
    missing = not_applicable(_NOT_DENSE)
    layers: dict[str, Measurements] = {
        printable(matrix.tensor): {"multifractal.d2_left": missing} for matrix in view.matrices
    }
    try:
        with running(
            view.runnable,
            inputs=settings.inputs,
            samples=settings.samples,
            seed=settings.seed,
            device=settings.device,
        ) as network:
            for found in layer_dimensions(network, view):
                layers[printable(found.tensor)] = _layer(found)
    except CannotRunError as failure:
        return NetworkMeasurements(model={"multifractal.status": undetermined(str(failure))})
    return NetworkMeasurements(layers)


def _layer(found: LayerDimensions) -> Measurements:
    if found.left is None or found.right is None:
        return {"multifractal.d2_left": not_applicable(found.reason or "there are no vectors")}
    measurements = _side("left", found.left, found) | _side("right", found.right, found)
    total = found.n + found.discarded + found.faint
    aside = f"{found.discarded} of {total} vectors failed 1e-6 and are not used; {found.faint} are faint or zero"
    measurements["multifractal.residual"] = measured(
        found.residual,
        n=found.n,
        method=f"largest relative residual of the {found.kind} that are used",
        reason=aside if found.discarded + found.faint else None,
    )
    measurements["multifractal.orders"] = measured(tuple(ORDERS), method="the orders q of the curves")
    return measurements


def _side(name: Literal["left", "right"], side: Side, found: LayerDimensions) -> Measurements:
    slopes = "" if found.activation is None else f"·diag φ′(h), φ = {found.activation}"
    what = f"mean over {found.n} {name} {found.kind} of J = W{slopes}, {side.sites} sites"
    method = f"{what}; {_inputs(found.points)}"
    d2 = over_points(side.by_point, method, reason=_caveat(name, found))
    measurements: dict[str, Measurement] = {
        f"multifractal.d2_{name}": measured(
            float(side.dimensions[_D2]), interval=d2.interval, n=found.n, method=method, reason=d2.reason
        ),
        f"multifractal.d2_{name}_reference": measured(
            float(side.reference[_D2]), method=f"Gaussian vectors with {side.sites} sites, by quadrature"
        ),
        f"multifractal.d2_{name}_quantiles": measured(
            side.quantiles, n=found.n, method="D₂ that 5, 50 and 95 % of the vectors stay below"
        ),
        f"multifractal.dq_{name}": _curve(side.dimensions),
        f"multifractal.dq_{name}_reference": _curve(side.reference),
    }
    if side.shuffled is not None:
        measurements[f"multifractal.d2_{name}_shuffled"] = measured(
            float(side.shuffled[_D2]), method="entries of W shuffled, same slopes, one input"
        )
        measurements[f"multifractal.dq_{name}_shuffled"] = _curve(side.shuffled)
    return measurements


def _inputs(points: int) -> str:
    return "one input" if points == 1 else f"{points} inputs; interval over inputs"


def _caveat(name: str, found: LayerDimensions) -> str | None:
    if name == "right" and found.kind == "eigenvectors":
        return "with heavy tails the right vectors differ much between networks of one kind: judge on the left ones"
    return None


def _curve(values: NDArray[np.float64]) -> Measurement:
    return measured(tuple(float(f"{value:.6g}") for value in values))


def _summary(layers: Sequence[Layer]) -> Measurements:
    """How far the left vectors are from Gaussian ones, over the layers: D₂ itself depends on the width."""
    gaps = []
    for layer, value in numbers(layers, "multifractal.d2_left"):
        reference = _number(layer, "multifractal.d2_left_reference")
        if reference is not None and min(layer.shape) >= _SITES:
            gaps.append(reference - value)
    if not gaps:
        reason = f"no dense layer of width {_SITES} and more whose modes were looked at"
        return {"multifractal.gap_mean": undetermined(reason, n=0)}
    return {
        "multifractal.gap_mean": measured(
            math.fsum(gaps) / len(gaps),
            interval=(min(gaps), max(gaps)) if len(gaps) > 1 else None,
            n=len(gaps),
            method=f"D₂ of Gaussian vectors less that of the left vectors, mean over layers at least {_SITES} wide; "
            "interval: their range",
        )
    }


def _find(layers: Sequence[Layer], _model: Measurements) -> Iterator[Finding]:
    """Layers whose left vectors sit on clearly fewer neurons than Gaussian vectors of their length would."""
    far = []
    for layer, value in numbers(layers, "multifractal.d2_left"):
        reference = _number(layer, "multifractal.d2_left_reference")
        interval = layer.measurements["multifractal.d2_left"].interval
        highest = value if interval is None else interval[1]
        if reference is not None and min(layer.shape) >= _SITES and highest < reference - _FAR:
            far.append((layer, value, reference))
    if not far:
        return
    layer, value, reference = min(far, key=lambda item: item[1] - item[2])
    shuffled = _number(layer, "multifractal.d2_left_shuffled")
    other = "" if shuffled is None else f", and its own weights in random places {shuffled:.3g} (one draw)"
    count = f"{len(far)} layers" if len(far) > 1 else "One layer"
    yield Finding(
        "multifractal.localised",
        "info",
        layer.name if len(far) == 1 else None,
        f"{count} whose modes sit on few neurons: most so {layer.name}, where the left vectors have D₂ = {value:.3g}, "
        f"Gaussian vectors of that length {reference:.3g}{other}.",
        ("multifractal.d2_left", "multifractal.d2_left_reference", "multifractal.d2_left_shuffled"),
        "Neurons that are off or saturated localise modes as heavy-tailed weights do, and one draw of heavy-tailed "
        "weights differs from the next by 0.05 and more. It says nothing about how well the network works.",
    )


def _number(layer: Layer, identifier: str) -> float | None:
    held = layer.measurements.get(identifier)
    return None if held is None else held.number


MULTIFRACTAL = Analyzer(
    id="multifractal",
    title="Multifractality of the modes",
    why="Modes on few neurons make a layer sensitive to few features; in between lies Qu22's extended critical regime.",
    requires="network",
    network=_network,
    summary=_summary,
    find=_find,
)
