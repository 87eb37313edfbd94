"""The report on an advice, put together from its parts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from critaudit import processors
from critaudit.advising import decaying, judging, starting
from critaudit.auditing.coverage import coverage
from critaudit.circumstances import circumstances
from critaudit.errors import CritauditError
from critaudit.measurement import Measurement, measured, not_applicable
from critaudit.report import (
    SEVERITIES,
    Advice,
    ArchitectureRecord,
    Coverage,
    Finding,
    Layer,
    Provenance,
    Report,
    SourceRecord,
    TensorRecord,
)

if TYPE_CHECKING:
    from torch import nn

    from critaudit.advice import InitialisationAdvice, WeightDecayAdvice
    from critaudit.advice.course import Course
    from critaudit.advising.subject import Subject

_PACKAGES = ("critaudit", "torch", "torchvision", "timm", "numpy", "scipy")


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Advice on initialisation with the network that it is for, and what was assumed on the way."""

    advice: InitialisationAdvice
    module: nn.Module
    assumed: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Decay:
    """Advice on weight decay with the course that it rests on."""

    advice: WeightDecayAdvice
    course: Course


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What could be computed, and by part ("initialisation", "weight decay") why something is missing.

    `missing` does not apply to this source; `broken` should have come out and did not, which makes the report partial.
    """

    start: Start | None = None
    decay: Decay | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    broken: Mapping[str, CritauditError] = field(default_factory=dict)


def report_of(
    subject: Subject, parts: Parts, *, settings: Mapping[str, object], seed: int, device: str, started: float
) -> Report:
    """The report, of the format "advice". Nothing is read here but the source's digest."""
    versions, peak_memory, created = circumstances(_PACKAGES)
    found = sorted(_findings(parts), key=lambda finding: -SEVERITIES.index(finding.severity))
    return Report(
        source=_source(subject),
        architecture=_architecture(subject),
        coverage=_coverage(subject, parts),
        layer_records=tuple(_layers(subject, parts)),
        model=_model(parts),
        findings=tuple(found),
        advice=tuple(_rows(parts)),
        provenance=Provenance(
            versions=versions,
            settings={name: value for name, value in settings.items() if value is not None},
            seed=seed,
            threads=processors.available(),
            device=device,
            seconds=time.perf_counter() - started,
            peak_memory=peak_memory,
            skipped=dict(parts.missing),
            created=created,
        ),
    )


def _source(subject: Subject) -> SourceRecord:
    from critaudit.sources import fingerprint

    path = subject.path
    whole = path is not None and subject.view is not None and subject.name == subject.view.source.name
    digest = fingerprint(path) if whole and path is not None else None
    return SourceRecord(subject.name, "advice", digest, subject.view.source.bytes if whole and subject.view else None)


def _architecture(subject: Subject) -> ArchitectureRecord:
    if subject.view is None:
        return ArchitectureRecord(None, "none", subject.no_network)
    known = subject.view.architecture
    return ArchitectureRecord(known.name, known.how, known.detail)


def _coverage(subject: Subject, parts: Parts) -> Coverage:
    """The model's ledger; of a log or a course, the weights that it followed. Broken parts are problems."""
    lost = () if parts.decay is None else parts.decay.course.lost
    problems = (*lost, *(f"{part}: {reason}" for part, reason in parts.broken.items()))
    if subject.view is not None:
        held = coverage(subject.view, {})
        return Coverage(held.parameters, held.analysed, held.tensors, (*held.problems, *problems))
    layers = () if parts.decay is None else parts.decay.course.layers
    tensors = tuple(TensorRecord(one.name, one.shape, "unknown", "analysed", None) for one in layers)
    total = sum(_size(one.shape) for one in layers)
    return Coverage(total, total, tensors, problems)


def _size(shape: Sequence[int]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total


def _layers(subject: Subject, parts: Parts) -> Iterator[Layer]:
    before = {} if parts.start is None else starting.of_layers(parts.start.advice, parts.start.module)
    decays = {} if parts.decay is None else decaying.of_layers(parts.decay.advice, parts.decay.course)
    if subject.view is None:
        for one in () if parts.decay is None else parts.decay.course.layers:
            yield Layer(one.name, one.kind, one.shape, decays.get(one.name, {}))
        return
    names = {} if subject.view.runnable is None else dict(subject.view.runnable.tensor_names)
    by_tensor = {_printed(names.get(name, name)): held for name, held in before.items()}
    for matrix in subject.view.matrices:
        held = dict(by_tensor.get(matrix.tensor, {}))
        if parts.start is not None and "init.signal_before" not in held:
            held["init.role"] = not_applicable("the forward pass was not seen to use this weight as one")
        yield Layer(matrix.name, matrix.kind, matrix.shape, {**held, **decays.get(matrix.name, {})})


def _printed(name: str) -> str:
    from critaudit.text import printable

    return printable(name)


def _model(parts: Parts) -> dict[str, Measurement]:
    found: dict[str, Measurement] = {}
    said: list[str] = []
    if parts.start is not None:
        found |= starting.of_network(parts.start.advice)
        found["init.snippet"] = _lines(judging.code(parts.start.advice))
        said.append(judging.sentence(parts.start.advice))
    if parts.decay is not None:
        found |= decaying.of_training(parts.decay.advice, parts.decay.course)
        if parts.decay.advice.weight_decay.number is not None:
            found["decay.snippet"] = _lines(parts.decay.advice.snippet)
        said.append(decaying.sentence(parts.decay.advice))
    for part, reason in parts.missing.items():
        said.append(f"No advice on {part}: {reason.rstrip('.')}.")
    return {**found, f"{'decay' if parts.start is None else 'init'}.summary": measured(tuple(said))}


def _lines(code: str) -> Measurement:
    """Code by lines: a line break inside a text does not survive on its way through a report."""
    return measured(tuple(code.split("\n")), method="Python to copy")


def _findings(parts: Parts) -> Iterator[Finding]:
    if parts.start is not None:
        yield from judging.findings(parts.start.advice)
        for note in parts.start.assumed:
            yield Finding("init.assumed", "info", None, f"{note[:1].upper()}{note[1:].rstrip('.')}.", ())
    if parts.decay is not None:
        yield from decaying.findings(parts.decay.advice)
    for part, reason in parts.broken.items():
        yield Finding("advice.broken", "warning", None, f"The advice on {part} did not come out: {reason}", ())


def _rows(parts: Parts) -> Iterator[Advice]:
    if parts.start is not None:
        yield from judging.rows(parts.start.advice)
    if parts.decay is not None:
        yield from parts.decay.advice.advice_items()
