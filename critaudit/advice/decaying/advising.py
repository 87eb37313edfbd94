"""`critaudit.advice.weight_decay`: the decay that holds the layers of a training at their edge of chaos (Zhang21)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from critaudit.advice.course import Course
from critaudit.advice.decaying import words
from critaudit.advice.decaying.equal_scale import EqualScale, equal_scale
from critaudit.advice.decaying.gathering import gather
from critaudit.advice.decaying.layer_decay import LayerDecay, layer_decay
from critaudit.errors import UsageError
from critaudit.measurement import Measurement, measured, not_applicable, undetermined
from critaudit.report import Advice
from critaudit.report.wording import plural


@dataclass(frozen=True, slots=True, repr=False)
class WeightDecayAdvice:
    """The decay for every layer and for the optimizer as a whole, with all that they rest on.

    `weight_decay` and `lambda_` are for one value for all layers: their mean in logarithms, weighed by what each is
    known to; the interval covers every layer's value. `differ` says that the intervals of two layers do not meet, so
    that parameter groups are better than one value. `notes` are what to know about the source.
    """

    source: str
    layers: tuple[LayerDecay, ...]
    weight_decay: Measurement
    lambda_: Measurement
    differ: bool
    dataset_size: int | None
    batch_size: int | None
    notes: tuple[str, ...]

    @property
    def determined(self) -> tuple[LayerDecay, ...]:
        """The layers whose decay was determined."""
        return tuple(layer for layer in self.layers if layer.weight_decay.number is not None)

    @property
    def equal_settings(self) -> EqualScale | None:
        """Settings under which J² grows as now ("same η/((1 − m)B)"); None where the batch size is not known."""
        setting = next((layer.setting for layer in self.determined or self.layers if layer.setting), None)
        return None if setting is None or self.batch_size is None else equal_scale(setting, self.batch_size)

    def measurements(self) -> dict[str, dict[str, Measurement]]:
        """By layer, then by ID (`decay.weight_decay`, `decay.target`, …), as in a report."""
        return {layer.layer: layer.measurements for layer in self.layers}

    def advice_items(self) -> tuple[Advice, ...]:
        """Rows for a report: one for the optimizer, and one for each layer where layers differ."""
        return words.rows(self)

    @property
    def snippet(self) -> str:
        """Python to copy that sets the decay; a comment that says why there is none where it is not determined."""
        return words.snippet(self)

    @property
    def headline(self) -> str:
        """The decay in a few words: "weight decay 0.0012"."""
        value = self.weight_decay.number
        return "weight decay not determined" if value is None else f"weight decay {value:.3g}"

    def __repr__(self) -> str:
        layers = f"{len(self.determined)} of {len(self.layers)} layers"
        return f"<WeightDecayAdvice on {self.source}: {self.headline}, {layers}>"

    def describe(self) -> str:
        """The advice and its reasons in plain sentences, one per line."""
        return "\n".join(words.sentences(self))


def weight_decay(
    source: object,
    *,
    model: object = None,
    optimizer: object = None,
    dataset_size: int | None = None,
    batch_size: int | None = None,
    activation: str | None = None,
    arch: str | None = None,
    initial_j_squared: float | Mapping[str, float] | None = None,
    steps: float | None = None,
) -> WeightDecayAdvice:
    """Advise on weight decay from what a training left behind.

    `source` is a Course, a Monitor (anything with a method `course()`), a Monitor's log, checkpoints (a list of paths,
    a folder, one path), or an nn.Module together with its live `optimizer`. Growth of J² = N·var(W) is fitted with its
    error (`growth`), its balance with decay solved at each layer's own edge of chaos (`targets`) and translated to
    PyTorch's `weight_decay` for the optimizer (`optimizers`). Where the data do not determine it, the layer says why.

    `optimizer` is the live optimizer, its class's name ("AdamW", where a state dict does not tell), an
    OptimizerSetting, or an entry of `param_groups`. `model` is the live network, with which the decay of optimizers
    without a formula is measured. `dataset_size` and `batch_size` turn steps into epochs and give Zhang21's D, where
    the source does not say them. `activation` is the nonlinearity of layers whose own is not known, but for the last
    one, an output. From one checkpoint without balance, `initial_j_squared` (for all layers or by name) gives the
    beginning, and `steps` how long ago.

    Raises UsageError for a source or option that is not understood, SourceError where a file cannot be read.
    """
    if activation is not None:
        from critaudit.theory.activations import named_activation

        named_activation(activation)
    course = gather(
        source,
        model=model,
        optimizer=optimizer,
        dataset_size=dataset_size,
        batch_size=batch_size,
        activation=activation,
        arch=arch,
        steps=steps,
    )
    initial = _initial(initial_j_squared, course)
    # A last layer of which nobody knows what follows is an output: the named activation is not meant for it.
    named = [activation] * (len(course.layers) - 1) + [activation if len(course.layers) == 1 else None]
    layers = tuple(
        layer_decay(layer, course, activation=phi, initial=initial.get(layer.name))
        for layer, phi in zip(course.layers, named, strict=False)
    )
    overall = _overall([layer.weight_decay for layer in layers], len(layers))
    return WeightDecayAdvice(
        source=course.source,
        layers=layers,
        weight_decay=overall,
        lambda_=_overall_lambda(layers),
        differ=_differ([layer.weight_decay for layer in layers]),
        dataset_size=course.dataset_size,
        batch_size=course.batch_size,
        notes=course.notes,
    )


def _initial(given: float | Mapping[str, float] | None, course: Course) -> dict[str, float]:
    if given is None:
        return {}
    names = [layer.name for layer in course.layers]
    values = dict(given) if isinstance(given, Mapping) else dict.fromkeys(names, given)
    unknown = next((name for name in values if name not in names), None)
    if unknown is not None:
        raise UsageError(f"initial_j_squared: no layer is called {unknown!r}; the layers are {', '.join(names[:8])}")
    bad = next((value for value in values.values() if not 0.0 <= value < math.inf), None)
    if bad is not None:
        raise UsageError(f"initial_j_squared = {bad}: J² = fan_in·var(W) at the start, a number from 0 on, is expected")
    return {name: float(value) for name, value in values.items()}


def _overall(found: Sequence[Measurement], total: int) -> Measurement:
    """One value for all layers, or why there is none.

    A mean of logarithms with a random effect per layer (DerSimonian & Laird 1986).
    """
    known = [(one.number, one.interval) for one in found if one.number is not None and one.number > 0]
    if not known:
        return _none(found)
    logs = [math.log(value) for value, _ in known]
    errors = [0.0 if ends is None else _log_error(ends, value) for value, ends in known]
    mean, error = _pooled(logs, errors)
    low, high = min(mean - 1.96 * error, *logs), max(mean + 1.96 * error, *logs)
    method = f"mean of ln over {plural(len(known), 'layer')} of {total}; the interval covers every layer's value"
    if len(known) == 1:
        one = next(one for one in found if one.number is not None)
        return measured(one.number or 0.0, interval=one.interval, n=1, method=one.method, reason=one.reason)
    return measured(math.exp(mean), interval=(math.exp(low), math.exp(high)), n=len(known), method=method)


def _overall_lambda(layers: Sequence[LayerDecay]) -> Measurement:
    """λ for all layers; where the optimizer has none (decoupled decay), the reason that a determined layer gives."""
    determined = [layer.lambda_ for layer in layers if layer.weight_decay.number is not None]
    if determined and all(one.status == "not_applicable" for one in determined):
        return determined[0]
    return _overall([layer.lambda_ for layer in layers], len(layers))


def _none(found: Sequence[Measurement]) -> Measurement:
    unknown = [one.reason for one in found if one.status != "not_applicable"]
    if unknown:
        return undetermined(unknown[0] or "no layer's decay is determined")
    if found:
        return not_applicable(f"no layer has an edge of chaos that decay could hold; the first: {found[0].reason}")
    return not_applicable("there is no weight matrix that is trained")


def _log_error(ends: tuple[float, float], value: float) -> float:
    """The standard error of ln of a value with this 95 % interval."""
    low = max(ends[0], 1e-3 * value)
    return math.log(ends[1] / low) / (2 * 1.96) if ends[1] > low else 0.0


def _pooled(logs: Sequence[float], errors: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error."""
    least = max(max(errors), 1e-3) * 1e-2
    weights = [1.0 / max(error, least) ** 2 for error in errors]
    total = math.fsum(weights)
    mean = math.fsum(w * x for w, x in zip(weights, logs, strict=True)) / total
    spread = math.fsum(w * (x - mean) ** 2 for w, x in zip(weights, logs, strict=True))
    scale = total - math.fsum(w * w for w in weights) / total
    between = max(0.0, (spread - (len(logs) - 1)) / scale) if scale > 0 else 0.0
    weights = [1.0 / (1.0 / w + between) for w in weights]
    total = math.fsum(weights)
    return math.fsum(w * x for w, x in zip(weights, logs, strict=True)) / total, math.sqrt(1.0 / total)


def _differ(found: Sequence[Measurement]) -> bool:
    ends = [one.interval for one in found if one.number is not None and one.interval is not None]
    return len(ends) > 1 and max(low for low, _ in ends) > min(high for _, high in ends)
