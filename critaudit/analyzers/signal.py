"""Signal: how strong a signal is behind every layer of the running network (Ghavasieh25, Methods 0.11 and 0.15)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from critaudit.analyzers.base import Analyzer, Measurements, NetworkMeasurements, Settings, numbers
from critaudit.dynamics.capture import LayerSignal, Signal, signal
from critaudit.measurement import Measurement, measured, not_applicable, undetermined
from critaudit.model import ModelView
from critaudit.report.record import Finding, Layer
from critaudit.text import printable

# A signal this many times weaker or stronger than the input no longer trains well at ordinary learning rates.
_FADED, _GROWN = 1e-3, 1e3


def _network(view: ModelView, settings: Settings, _: Sequence[Layer]) -> NetworkMeasurements:
    assert view.runnable is not None
    found = signal(
        view.runnable,
        inputs=settings.inputs,
        samples=settings.samples if settings.inputs is None else len(settings.inputs),
        seed=settings.seed,
        device=settings.device,
    )
    if found.reason is not None:
        return NetworkMeasurements(model={"signal.status": undetermined(found.reason)})
    layers = {
        printable(tensor): _layer(layer, found) for layer in found.layers for tensor in layer.tensors or (layer.name,)
    }
    return NetworkMeasurements(layers, _model(found))


def _layer(layer: LayerSignal, found: Signal) -> Measurements:
    return {
        "signal.strength": _over_samples(layer.strength, layer.deviation, layer.n, found.method),
        "signal.ratio": not_applicable("the layer's input is no signal (token ids) or zero")
        if layer.ratio is None
        else measured(
            layer.ratio, n=layer.n, method="strength behind the layer over strength before it, mean over samples"
        ),
        "signal.non_finite": measured(
            layer.non_finite, n=layer.n + layer.non_finite, method="samples with NaN or infinity"
        ),
    }


def _model(found: Signal) -> Measurements:
    measurements: dict[str, Measurement] = {}
    if found.input_strength is not None:
        measurements["signal.input_strength"] = measured(found.input_strength, n=found.samples, method=found.method)
    output = found.output
    if output is not None:
        measurements["signal.output_strength"] = _over_samples(
            output.strength, output.deviation, output.n, found.method
        )
        if output.top:
            measurements["signal.top_classes"] = measured(
                tuple(int(index) for index in output.top[:16]), n=len(output.top), method="largest output per sample"
            )
    if found.first_non_finite is not None:
        measurements["signal.first_non_finite"] = measured(printable(found.first_non_finite), n=found.samples)
    return measurements


def _over_samples(value: float | None, deviation: float | None, n: int, method: str) -> Measurement:
    """A mean over samples with the 95 % interval of that mean."""
    if value is None:
        return undetermined("no sample gave a finite signal", n=n, method=method)
    error = None if deviation is None or n < 2 else 1.96 * deviation / math.sqrt(n)
    return measured(value, interval=None if error is None else (value - error, value + error), n=n, method=method)


def _find(layers: Sequence[Layer], model: Measurements) -> Iterator[Finding]:
    first = model.get("signal.first_non_finite")
    if first is not None and first.status == "measured":
        yield Finding(
            "signal.non_finite",
            "problem",
            str(first.value),
            f"The signal becomes NaN or infinite in {first.value}, the first layer where it does.",
            ("signal.non_finite",),
            "Seen with this audit's inputs, in float32.",
        )
    start = model.get("signal.input_strength")
    strengths = numbers(layers, "signal.strength")
    if start is None or not start.number or not strengths:
        return
    weakest = min(strengths, key=lambda item: item[1])
    strongest = max(strengths, key=lambda item: item[1])
    for (layer, strength), share, word in (
        (weakest, weakest[1] / start.number, "faded"),
        (strongest, strongest[1] / start.number, "grown"),
    ):
        if share < _FADED or share > _GROWN:
            yield Finding(
                f"signal.{word}",
                "warning",
                layer.name,
                f"The signal has {word} to {strength:.3g} here, {share:.3g} times the input's strength.",
                ("signal.strength",),
                "Normalisation or a residual path behind the layer can restore it; see the depth profile.",
            )


SIGNAL = Analyzer(
    id="signal",
    title="Signal strength",
    why="A signal that fades or explodes with depth takes the gradient with it.",
    requires="network",
    network=_network,
    find=_find,
)
