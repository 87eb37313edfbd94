"""Advice on weight decay as measurements and findings: of the training as a whole, and of each layer."""

from __future__ import annotations

from collections.abc import Iterator

from critaudit.advice.course import Course
from critaudit.advice.decaying.advising import WeightDecayAdvice
from critaudit.measurement import Measurement, measured
from critaudit.report import Finding
from critaudit.report.wording import number, plural, with_interval

_MOST_POINTS = 200
# Decay beyond the upper end by this factor costs accuracy (PHYSICS.md §10); too little costs hardly anything.
_TOO_MUCH = 4.0
CAVEAT = (
    "It rests on growth of J² going on as measured. In this project's study (reports/advice) the advised decay lowered "
    "the test loss and changed accuracy little."
)


def of_training(advice: WeightDecayAdvice, course: Course) -> dict[str, Measurement]:
    """The decay for the whole optimizer, by measurement ID (`decay.…`)."""
    found = {
        "decay.weight_decay": advice.weight_decay,
        "decay.lambda": advice.lambda_,
        "decay.determined": measured(len(advice.determined), n=len(advice.layers), method="layers of all"),
        "decay.unit": measured("epoch" if _per_epoch(course) is not None else course.unit),
    }
    if advice.dataset_size is not None:
        found["decay.dataset_size"] = measured(advice.dataset_size)
    if advice.batch_size is not None:
        found["decay.batch_size"] = measured(advice.batch_size)
    table = advice.equal_settings
    if table is not None and table.rows:
        found |= {
            "decay.equal_lrs": measured(tuple(row.lr for row in table.rows)),
            "decay.equal_momenta": measured(tuple(row.momentum for row in table.rows)),
            "decay.equal_batch_sizes": measured(tuple(float(row.batch_size) for row in table.rows)),
            "decay.equal_present": measured(next((k for k, row in enumerate(table.rows) if row.present), 0)),
        }
    return found


def of_layers(advice: WeightDecayAdvice, course: Course) -> dict[str, dict[str, Measurement]]:
    """By layer: the engine's measurements, its present decay, and J² along the training."""
    per_epoch = _per_epoch(course)
    held = {layer: dict(one) for layer, one in advice.measurements().items()}
    for layer in advice.layers:
        if layer.setting is not None:
            held[layer.layer]["decay.present"] = measured(layer.present, method="the optimizer's, at the last record")
    for one in course.layers:
        if one.name not in held or len(one.steps) < 2:
            continue
        kept = range(0, len(one.steps), -(-len(one.steps) // _MOST_POINTS))
        kept_ = [*kept, *([len(one.steps) - 1] if kept[-1] != len(one.steps) - 1 else [])]
        held[one.name]["decay.records"] = measured(len(one.steps))
        held[one.name]["decay.course"] = measured(tuple(one.j_squared[k] for k in kept_))
        held[one.name]["decay.course_at"] = measured(tuple(one.steps[k] / (per_epoch or 1.0) for k in kept_))
    return held


def _per_epoch(course: Course) -> float | None:
    """Steps per epoch where they are known; 1 where epochs were counted."""
    return 1.0 if course.unit == "epoch" else course.steps_per_epoch


def findings(advice: WeightDecayAdvice) -> Iterator[Finding]:
    """What is advised, or why nothing is, and what to know about the source."""
    value = advice.weight_decay.number
    if value is None:
        text = f"No weight decay is advised: {(advice.weight_decay.reason or 'it is not determined').rstrip('.')}."
        yield Finding("decay.undetermined", "info", None, text, ("decay.weight_decay",))
    else:
        yield _advised(advice, value)
    for note in dict.fromkeys(advice.notes):
        yield Finding("decay.source", "info", None, f"Of the source: {note.rstrip('.')}.", ())


def _advised(advice: WeightDecayAdvice, value: float) -> Finding:
    found = advice.determined
    present = sorted({layer.present for layer in found})
    now = number(present[0]) if present[0] == present[-1] else f"{number(present[0])} to {number(present[-1])}"
    high = value if advice.weight_decay.interval is None else advice.weight_decay.interval[1]
    too_much = present[0] > _TOO_MUCH * high
    text = (
        f"A weight decay of {with_interval(advice.weight_decay)} holds {plural(len(found), 'layer')} at the edge of "
        f"chaos; now it is {now}."
    )
    if too_much:
        text += " That is so much that it holds them far in the ordered phase, which costs accuracy."
    if advice.differ:
        text += " Layers ask for different values by more than their intervals: parameter groups serve them better."
    evidence = ("decay.weight_decay", "decay.target", "decay.growth")
    return Finding("decay.advised", "warning" if too_much else "info", None, text, evidence, CAVEAT)


def sentence(advice: WeightDecayAdvice) -> str:
    """The headline."""
    if advice.weight_decay.number is None:
        return f"Weight decay: none is advised ({(advice.weight_decay.reason or 'not determined').rstrip('.')})."
    return f"Weight decay: {with_interval(advice.weight_decay)}."
