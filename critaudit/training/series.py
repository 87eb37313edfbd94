"""A training's records as measurements: for every layer the numbers as they are now, and each along the steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from critaudit.measurement import Measurement, measured, not_applicable, undetermined
from critaudit.report import Layer
from critaudit.report.wording import count
from critaudit.training.edges import boundary
from critaudit.training.followed import Followed
from critaudit.training.records import LayerNow, Record

Reading: TypeAlias = Callable[[LayerNow], float | None]

_KEPT = 400  # points of a series; the log has all
_STABLE = "stable law by maximum likelihood on all entries, at the recorded step"
_NOT_RUN = "its module was not seen to run: it is compiled, or its network calls the weights itself"
_NO_ACTIVATION = "the layer's activation is not known; give Monitor(activation=…)"
_LINEAR = "no nonlinearity follows this layer (an output, or a linear path): it has no edge of its own"
_GATE = "a recurrent gate is no layer of its own: it acts together with the others, through products"
_NORMALISED = "a normalisation comes right behind it, so the scale of its weights does not act as it does here"

# What is followed: the measurement's ID, how to read it, and how it came about.
_READINGS: dict[str, tuple[Reading, str]] = {
    "edge.j0": (lambda now: now.j0, "J₀ = N·mean(W), N = fan_in"),
    "edge.j": (lambda now: now.j, "J = √(N·var(W)), N = fan_in"),
    "edge.chi1": (
        lambda now: now.chi1,
        "χ₁ = σ_w²·E[φ′²] at the fixed point of the layer iterated on itself, with its own activation and bias, "
        "its weights without a mean",
    ),
    "entries.alpha": (lambda now: None if now.alpha is None else now.alpha[0], _STABLE),
    "entries.g_forward": (lambda now: now.g, f"g = (2N)^(1/α)·σ, N = fan_in; {_STABLE}"),
    "spectrum.norm": (lambda now: now.norm, "largest singular value"),
    "spectrum.stable_rank": (lambda now: now.stable_rank, "squared Frobenius over squared spectral norm"),
    "signal.strength": (lambda now: now.signal, "root mean square of the output in the training's own pass"),
    "signal.gradient": (
        lambda now: now.gradient,
        "norm of the loss's gradient with respect to the output, over the batch, in the training's own pass",
    ),
    "signal.dead": (lambda now: now.dead, "units whose pre-activation no sample of the batch makes positive"),
}


def layers_of(layers: Sequence[Followed], records: Sequence[Record], decays: bool) -> tuple[Layer, ...]:
    """The layers of the report; `decays` says that weight decay changed from layer to layer or with the steps."""
    return tuple(
        Layer(layer.name, layer.kind, layer.shape, _measurements(layer, place, records, decays))
        for place, layer in enumerate(layers)
    )


def series(points: Sequence[tuple[float, float]], identifier: str) -> dict[str, Measurement]:
    """A quantity along the steps, thinned evenly where there are many points; nothing where there are none."""
    if not points:
        return {}
    kept = thinned(points)
    n = len(points)
    return {
        f"trajectory.{identifier}": measured(tuple(value for _, value in kept), n=n),
        f"trajectory.{identifier}.at": measured(tuple(step for step, _ in kept), n=n),
    }


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most 400 points, the first and the last among them."""
    if len(points) <= _KEPT:
        return list(points)
    stride = (len(points) - 1) / (_KEPT - 1)
    return [points[round(place * stride)] for place in range(_KEPT)]


def _measurements(layer: Followed, place: int, records: Sequence[Record], decays: bool) -> dict[str, Measurement]:
    found: dict[str, Measurement] = {}
    for identifier, (reading, method) in _READINGS.items():
        points = [
            (float(record.step), value)
            for record in records
            if (value := reading(record.layers[place])) is not None and math.isfinite(value)
        ]
        if points:
            found[identifier] = _now(layer, identifier, points, records, place, method)
            found |= series(points, identifier)
        elif (reason := _absent(layer, identifier, records, place)) is not None:
            found[identifier] = reason
    found |= _edge(layer, records[-1].layers[place])
    if decays:
        found |= _decay(records, place)
    return found


def _now(
    layer: Followed,
    identifier: str,
    points: Sequence[tuple[float, float]],
    records: Sequence[Record],
    place: int,
    method: str,
) -> Measurement:
    """The last number of a series, and of which step it is where that is not the last one."""
    step, value = points[-1]
    if step != records[-1].step:
        method = f"{method}; at step {count(round(step))}, the last at which it was measured"
    interval = None
    if identifier == "entries.alpha":
        last = next(now.alpha for record in reversed(records) if (now := record.layers[place]).alpha is not None)
        interval = None if last is None else (last[1], last[2])
    reason = _NORMALISED if layer.normalised and identifier in ("edge.j", "edge.chi1") else None
    n = layer.groups * layer.rows * layer.columns if identifier.startswith(("edge", "entries")) else None
    return measured(value, interval=interval, n=n, method=method, reason=reason)


def _absent(layer: Followed, identifier: str, records: Sequence[Record], place: int) -> Measurement | None:
    """Why there is no number; None where nobody asked for it."""
    if identifier == "edge.chi1":
        if layer.kind == "recurrent":
            return not_applicable(_GATE)
        if layer.activation is None or layer.activation == "identity":
            return not_applicable(_NO_ACTIVATION if layer.activation is None else _LINEAR)
        return undetermined(f"theory gives no χ₁ for {layer.activation} at these weights")
    if identifier.startswith("edge."):
        return undetermined("the weights have no finite mean and variance")
    if identifier.startswith("entries."):
        return undetermined("no stable law could be fitted: too few entries, or too few levels")
    if identifier in ("signal.strength", "signal.gradient"):
        if any(("signal", place) in record.non_finite for record in records):
            return undetermined("it was NaN or infinite whenever it was looked at")
        if identifier == "signal.gradient" and any(record.layers[place].signal is not None for record in records):
            return not_applicable("no gradient came back to it")
        return not_applicable(_NOT_RUN)
    return None


def _edge(layer: Followed, now: LayerNow) -> dict[str, Measurement]:
    """Distance from the edge at the last record, as `critaudit audit` gives it."""
    found: dict[str, Measurement] = {}
    reason = _NORMALISED if layer.normalised else None
    if now.chi1 is not None and now.chi1 > 0.0:
        found["edge.distance"] = measured(math.log(now.chi1), method="ln χ₁ at the last record", reason=reason)
    edge = boundary(layer, now)
    if edge is not None and now.j is not None:
        sigma_b = f"σ_b = {now.sigma_b:.3g}" if now.sigma_b is not None else "no bias"
        method = f"J at which a tanh layer of this J₀ is at the edge of chaos (Zhang21, Eq. 5; {sigma_b})"
        found["edge.boundary"] = measured(edge, method=method)
        found["edge.margin"] = measured(now.j - edge, method="J − J at the boundary", reason=reason)
    return found


def _decay(records: Sequence[Record], place: int) -> dict[str, Measurement]:
    points = [
        (float(record.step), record.settings[setting].weight_decay)
        for record in records
        if (setting := record.layers[place].setting) is not None
    ]
    if not points:
        return {"optimizer.weight_decay": not_applicable("its weights are not trained")}
    last = measured(points[-1][1], method="weight_decay of its parameter group at the last record")
    return {"optimizer.weight_decay": last, **series(points, "optimizer.weight_decay")}
