"""How strong the signal is behind every weight layer: one forward pass per sample, watched by hooks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from critaudit.contents import InputArray, Runnable
from critaudit.dynamics.hooks import Trace, first_signal, hook, own_tensors, strength_of, weight_layers
from critaudit.dynamics.running import CannotRunError, Running, running

_STRENGTH = "‖x‖₂/√n of each weight layer's output, before its nonlinearity"


@dataclass(frozen=True, slots=True)
class LayerSignal:
    """Signal strength s = ‖x‖₂/√n at the output of one weight layer, over `n` samples with finite signal.

    `name` and `tensors` are the source's names: a layer with several weights (attention, LSTM) has one output.
    `strength` is the mean over samples, `deviation` the standard deviation over samples (None for one sample),
    `incoming` the mean strength of the layer's input and `ratio` the mean of output over input (None where the input
    is no signal, as for token ids, or is zero). A layer that is applied several times per sample counts with the mean
    of its `calls`; a recurrent layer's output is its hidden state. `non_finite` counts the samples that are left out
    because the output held NaN or infinity.
    """

    name: str
    tensors: tuple[str, ...]
    module: str
    strength: float | None
    deviation: float | None
    n: int
    incoming: float | None
    ratio: float | None
    calls: int
    non_finite: int


@dataclass(frozen=True, slots=True)
class OutputSignal:
    """The network's output: one sample's shape, strength as in LayerSignal, and each sample's largest class if any."""

    shape: tuple[int, ...]
    strength: float | None
    deviation: float | None
    n: int
    top: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signal:
    """Strengths in the order in which the layers ran, or the `reason` why there are none.

    `first_non_finite` names the first layer whose output held NaN or infinity in any sample.
    """

    layers: tuple[LayerSignal, ...] = ()
    output: OutputSignal | None = None
    input_strength: float | None = None
    samples: int = 0
    first_non_finite: str | None = None
    method: str = _STRENGTH
    reason: str | None = None


def signal(
    runnable: Runnable,
    *,
    inputs: InputArray | None = None,
    samples: int = 64,
    seed: int = 0,
    device: str = "cpu",
) -> Signal:
    """Run the network on `inputs` (batch first), or on `samples` calibrated Gaussian ones, and measure every layer.

    InputArray pass one at a time, so that the norm is one sample's whatever the layout of a layer's output (time first,
    windows, proposals). Only norms are kept. The caller's random state is left as it was, and a network that
    cannot be run gives a `reason`, never an exception; UsageError is raised for a device or inputs that cannot be used.

    Strength as in Ghavasieh25 (Methods 0.11: s = √q; 0.15: s̃_l = ‖x_l‖₂/√n_l).
    """
    try:
        with running(runnable, inputs=inputs, samples=samples, seed=seed, device=device) as network:
            return _measure(network)
    except CannotRunError as failure:
        return Signal(reason=str(failure))


def _measure(network: Running) -> Signal:
    module = network.module
    traces: dict[str, Trace] = {}
    handles = []
    outputs, strengths, tops = [], [], []
    shape: tuple[int, ...] = ()
    try:
        for path, layer in weight_layers(module):
            handles.append(layer.register_forward_hook(hook(traces, path, layer), with_kwargs=True))
        for values in network.samples():
            strengths.append(strength_of(values))
            answer = first_signal(module(values))
            for trace in traces.values():
                trace.close_sample()
            outputs.append(strength_of(answer))
            if answer is not None:
                shape = tuple(answer.shape[1:])
                if answer.ndim == 2 and answer.shape[0] == 1 and answer.shape[1] > 1:
                    tops.append(int(answer[0].argmax()))
    finally:
        for handle in handles:
            handle.remove()
    found = _statistics(outputs)
    return Signal(
        layers=_layers(traces, network.tensor_names),
        output=OutputSignal(shape, found.mean, found.deviation, found.n, tuple(tops)) if found.n or shape else None,
        input_strength=_statistics(strengths).mean,
        samples=len(strengths),
        first_non_finite=_first_non_finite(traces, network.tensor_names),
        method=f"{_STRENGTH}; {network.method}",
    )


def _layers(traces: Mapping[str, Trace], names: Mapping[str, str]) -> tuple[LayerSignal, ...]:
    """The traces as records. A projection inside an attention layer that ran as a module speaks for itself."""
    found = []
    for path, tensors in own_tensors({path: trace.tensors for path, trace in traces.items()}).items():
        trace = traces[path]
        out = _statistics(trace.outgoing)
        pairs = zip(trace.outgoing, trace.incoming, strict=True)
        ratios = [a / b for a, b in pairs if a is not None and b is not None and math.isfinite(a + b) and b > 0]
        sources = tuple(names.get(tensor, tensor) for tensor in tensors)
        found.append(
            LayerSignal(
                name=sources[0],
                tensors=sources,
                module=type(trace.layer).__name__,
                strength=out.mean,
                deviation=out.deviation,
                n=out.n,
                incoming=_statistics(trace.incoming).mean,
                ratio=sum(ratios) / len(ratios) if ratios else None,
                calls=trace.calls,
                non_finite=out.non_finite,
            )
        )
    return tuple(found)


def _first_non_finite(traces: Mapping[str, Trace], names: Mapping[str, str]) -> str | None:
    for trace in traces.values():
        if _statistics(trace.outgoing).non_finite and trace.tensors:
            return names.get(trace.tensors[0], trace.tensors[0])
    return None


@dataclass(frozen=True, slots=True)
class _Statistics:
    mean: float | None
    deviation: float | None
    n: int
    non_finite: int


def _statistics(values: Sequence[float | None]) -> _Statistics:
    """Mean and standard deviation of the finite values; None stands for "no signal here" and does not count."""
    present = [value for value in values if value is not None]
    finite = np.array([value for value in present if math.isfinite(value)], dtype=np.float64)
    return _Statistics(
        mean=float(finite.mean()) if finite.size else None,
        deviation=float(finite.std(ddof=1)) if finite.size > 1 else None,
        n=int(finite.size),
        non_finite=len(present) - int(finite.size),
    )
