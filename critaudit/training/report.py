"""A training as a report, from its monitor or from its log alone."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from critaudit.circumstances import circumstances
from critaudit.errors import UsageError
from critaudit.measurement import Measurement, measured, undetermined
from critaudit.report import (
    ArchitectureRecord,
    Coverage,
    Finding,
    Layer,
    Provenance,
    Report,
    SourceRecord,
    TensorRecord,
)
from critaudit.report.wording import count, number, plural
from critaudit.training.course import course_of
from critaudit.training.edges import excess
from critaudit.training.log import Change, read_log
from critaudit.training.records import Growth, Header, Notice, Record
from critaudit.training.running import for_report
from critaudit.training.series import layers_of, series

if TYPE_CHECKING:
    from critaudit.training.journal import Journal
    from critaudit.training.monitor import Overhead

_MOST = 6  # findings of one rule that stand one by one
_EVIDENCE = {
    "training.edge": ("edge.j", "edge.chi1"),
    "training.tails": ("entries.alpha",),
    "training.dead_units": ("signal.dead",),
    "training.no_gradient": ("signal.gradient",),
    "training.constant": ("edge.j",),
    "training.signal_vanishes": ("training.signal_growth",),
    "training.signal_explodes": ("training.signal_growth",),
    "training.gradient_vanishes": ("training.gradient_growth",),
    "training.gradient_explodes": ("training.gradient_growth",),
}
_CAVEATS = {
    "training.edge": "The edge is that of a network of such layers with independent weights; trained ones are not. The "
    "numbers beside are the last ones.",
    "training.tails": "A fitted α below 2 alone proves no power-law tail.",
    "training.dead_units": "One batch was looked at; other samples may activate them.",
}


def report_of_log(path: str | os.PathLike[str]) -> Report:
    """The report on a training of which there is a Monitor's log. Raises CritauditError, in one line."""
    log = read_log(path)
    if not log.records:
        raise UsageError(f"{path}: this log has no record yet; it gets one at the training's first step")
    notes = list(log.notes)
    if log.ended is None:
        notes.append("the log has no end: the training runs on, or its process was killed")
    return report_of(log.header, log.records, log.notices, log.changes, order=log.order, notes=notes, lost=log.lost)


def report_of_journal(journal: Journal, *, overhead: Overhead, problems: Sequence[str]) -> Report:
    """The report on a training that is being followed. Raises UsageError before its first step."""
    if not journal.records:
        raise UsageError("nothing was recorded yet: the first record is taken at the optimizer's first step")
    records = [*journal.records[:-1], replace(journal.records[-1], overhead=overhead.share)]
    notes = [*journal.notes, *problems]
    return report_of(
        journal.header,
        records,
        journal.notices,
        journal.changes,
        order=journal.order,
        notes=notes,
        lost=journal.lost,
    )


def report_of(
    header: Header,
    records: Sequence[Record],
    notices: Sequence[Notice],
    changes: Sequence[Change],
    *,
    order: Sequence[str],
    notes: Sequence[str],
    lost: Sequence[str] = (),
) -> Report:
    """A report of the format "trajectory": every followed quantity now and along the steps.

    `notes` become findings; `lost` says what of the training could not be read, which makes the report a partial one.
    """
    started = time.perf_counter()
    layers = layers_of(header.layers, records, _decays_differ(records, changes))
    advice, said = for_report(course_of(header, records, notes=notes, lost=lost))
    model = {
        **_model(header, records, changes, order),
        "trajectory.summary": measured((*_sentences(header, records, layers), said)),
    }
    versions, peak_memory, created = circumstances(("critaudit", "torch", "numpy", "scipy"))
    return Report(
        source=SourceRecord(header.name, "trajectory", None, None),
        architecture=ArchitectureRecord(header.model, "given", "the network in training"),
        coverage=_coverage(header, lost),
        layer_records=layers,
        model=model,
        findings=(*_findings(notices, layers), *_notes(notes), *_far(layers)),
        advice=advice,
        provenance=Provenance(
            versions={**versions, **header.versions},
            settings={
                "optimizer": header.optimizer,
                "dataset_size": header.dataset_size,
                "batch_size": header.batch_size,
                **{name: value for name, value in header.settings.items() if name != "threads"},
                "begun": header.created,
            },
            seed=0,
            threads=int(header.settings.get("threads", 1)),
            device=header.device,
            seconds=time.perf_counter() - started,
            peak_memory=peak_memory,
            skipped={},
            created=created,
        ),
    )


def _coverage(header: Header, lost: Sequence[str]) -> Coverage:
    tensors = tuple(
        TensorRecord(entry.name, entry.shape, entry.dtype, entry.status, entry.reason) for entry in header.ledger
    )
    analysed = sum(entry.parameters for entry in header.ledger if entry.status == "analysed")
    return Coverage(header.parameters, analysed, tensors, tuple(lost))


def _model(
    header: Header, records: Sequence[Record], changes: Sequence[Change], order: Sequence[str]
) -> dict[str, Measurement]:
    steps = tuple(float(record.step) for record in records)
    found = {
        "trajectory.steps": measured(steps, n=len(steps)),
        "trajectory.unit": measured("step"),
        "training.steps": measured(records[-1].step),
        "training.records": measured(len(records)),
    }
    if header.dataset_size and header.batch_size:
        found["training.epochs"] = measured(records[-1].step * header.batch_size / header.dataset_size)
    overhead = next((record.overhead for record in reversed(records) if record.overhead is not None), None)
    if overhead is not None:
        method = "time in all of the monitor's hooks over the training's own time; waiting for the device left out"
        found["training.overhead"] = measured(overhead, method=method)
    for name in ("signal", "gradient"):
        found |= _growth(name, records, len(order))
    losses = [(float(record.step), record.loss) for record in records if record.loss is not None]
    if losses:
        found["training.loss"] = measured(
            losses[-1][1], method=f"loss of the batch at step {count(round(losses[-1][0]))}"
        )
        found |= series(losses, "training.loss")
    if changes:
        found["training.changes"] = measured(len(changes), method="changes of weight decay that a Controller made")
    return found


def _growth(name: str, records: Sequence[Record], depth: int) -> dict[str, Measurement]:
    points: list[tuple[float, Growth]] = [
        (float(record.step), record.growth[name]) for record in records if record.growth and name in record.growth
    ]
    identifier = f"training.{name}_growth"
    if not points:
        return {identifier: undetermined("no two layers were seen to run")}
    (step, (exponent, error, depth_seen)), way = points[-1], "depth" if name == "signal" else "depth, backwards"
    value = math.exp(max(min(exponent, 700.0), -700.0))
    interval = None
    if error is not None and abs(exponent) + 1.96 * error < 700.0:
        interval = (math.exp(exponent - 1.96 * error), math.exp(exponent + 1.96 * error))
    method = (
        f"factor per layer: least squares of the logarithm over the {way}, {depth_seen} of {depth} modules in the "
        f"order in which they run, at step {count(round(step))}"
    )
    rows = [(at, math.exp(max(min(one[0], 700.0), -700.0))) for at, one in points]
    return {identifier: measured(value, interval=interval, n=depth_seen, method=method), **series(rows, identifier)}


def _sentences(header: Header, records: Sequence[Record], layers: Sequence[Layer]) -> Iterator[str]:
    last = records[-1]
    epochs = ""
    if header.dataset_size and header.batch_size:
        epochs = f" ({number(last.step * header.batch_size / header.dataset_size)} epochs)"
    cost = "" if last.overhead is None else f", at {100 * last.overhead:.1f} % of the training's time"
    yield (
        f"{header.name}: {plural(last.step, 'step')} of {header.optimizer}{epochs} on {header.model} were followed in "
        f"{plural(len(records), 'record')} of {plural(len(layers), 'weight matrix', 'weight matrices')}{cost}."
    )
    pairs = zip(header.layers, last.layers, strict=True)
    beyond = [one for layer, now in pairs if (one := excess(layer, now)) is not None]
    if beyond:
        yield _beyond(sum(one > 0 for one in beyond), len(beyond))
    moved = [
        (abs(held.value[-1] / held.value[0] - 1), layer.name, held.value[0], held.value[-1])
        for layer in layers
        if (held := layer.measurements.get("trajectory.edge.j")) is not None
        and isinstance(held.value, tuple)
        and isinstance(held.value[0], float)
        and isinstance(held.value[-1], float)
        and held.value[0] > 0
    ]
    if moved:
        _, which, first, final = max(moved)
        yield f"The coupling spread J moved most in {which}, from {number(first)} to {number(final)}."


def _beyond(chaotic: int, total: int) -> str:
    """On which side of their edges the layers ended."""
    if total == 1:
        return f"The one layer with an edge of chaos of its own ended {'beyond' if chaotic else 'short of'} it."
    if chaotic in (0, total):
        return f"All {total} layers with an edge of chaos of their own ended {'beyond' if chaotic else 'short of'} it."
    return (
        f"Of the {total} layers with an edge of chaos of their own {chaotic} ended beyond it, the others short of it."
    )


def _findings(notices: Sequence[Notice], layers: Sequence[Layer]) -> Iterator[Finding]:
    """Warnings as findings; of many of one kind the first ones, and how many there are."""
    counts, shown = Counter(notice.rule for notice in notices), Counter[str]()
    for notice in notices:
        shown[notice.rule] += 1
        if shown[notice.rule] > _MOST:
            continue
        text = notice.text
        if shown[notice.rule] == _MOST and counts[notice.rule] > _MOST:
            rest = counts[notice.rule] - _MOST
            text = f"{text} Of this kind {plural(rest, 'more warning')} came later; the log has all."
        yield Finding(
            notice.rule,
            notice.severity,
            notice.layer,
            text,
            _evidence(notice, layers),
            _CAVEATS.get(notice.rule),
        )


def _evidence(notice: Notice, layers: Sequence[Layer]) -> tuple[str, ...]:
    """The measurements that the notice speaks of: χ₁ says nothing of an edge that depends on J₀."""
    has_boundary = any(layer.name == notice.layer and "edge.boundary" in layer.measurements for layer in layers)
    if notice.rule == "training.edge" and has_boundary:
        return ("edge.j", "edge.boundary")
    return _EVIDENCE.get(notice.rule, ())


def _notes(notes: Sequence[str]) -> Iterator[Finding]:
    for note in dict.fromkeys(notes):
        yield Finding("training.log", "info", None, f"{note[:1].upper()}{note[1:]}.", ())


def _far(layers: Sequence[Layer]) -> Iterator[Finding]:
    from critaudit.analyzers.edge import EDGE

    if EDGE.find is not None:
        yield from EDGE.find(layers, {})


def _decays_differ(records: Sequence[Record], changes: Sequence[Change]) -> bool:
    """Whether there is something to see in the weight decays: changes, or differences between trained layers."""
    if changes:
        return True
    decays = {
        record.settings[now.setting].weight_decay
        for record in records
        for now in record.layers
        if now.setting is not None
    }
    return len(decays) > 1
