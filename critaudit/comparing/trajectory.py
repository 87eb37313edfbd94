"""Reports on the checkpoints of one training as one report: every quantity along the steps."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from critaudit.circumstances import circumstances
from critaudit.comparing.matching import match
from critaudit.errors import UsageError
from critaudit.measurement import Measurement, measured, not_applicable
from critaudit.report import Finding, Layer, Provenance, Report, SourceRecord
from critaudit.report.wording import number, plural

# What is followed along the training, where it was measured.
FOLLOWED = (
    "entries.alpha",
    "entries.g_forward",
    "edge.j0",
    "edge.j",
    "edge.chi1",
    "spectrum.norm",
    "spectrum.stable_rank",
    "signal.strength",
    "jacobian.mean_log",
    "multifractal.d2_left",
)


@dataclass(frozen=True, slots=True)
class Moment:
    """One checkpoint: how far the training was (`step`, in `unit`) and its report."""

    step: float
    unit: str
    report: Report


def trajectory(moments: Iterable[Moment], *, name: str) -> Report:
    """One report over the checkpoints of one training, in the order of their steps.

    Layers are those of the last checkpoint; earlier ones are matched to them as `critaudit.compare` does. Every
    followed quantity is a series `trajectory.ID` per layer with its places `trajectory.ID.at`; steps at which it was
    not measured are not in them. The numbers of a layer are those of the last checkpoint. Raises UsageError for none.
    """
    started = time.perf_counter()
    ordered = sorted(moments, key=lambda moment: moment.step)
    if not ordered:
        raise UsageError("a trajectory of no checkpoints was asked for; give at least one")
    last = ordered[-1].report
    series = [_Series() for _ in last.layer_records]
    for moment in ordered:
        found = match(moment.report.layer_records, last.layer_records)
        for first, second, _ in found.pairs:
            series[second].add(moment.step, moment.report.layer_records[first])
    layers = tuple(
        replace(layer, measurements={**layer.measurements, **one.measurements()})
        for layer, one in zip(last.layer_records, series, strict=True)
    )
    steps = tuple(moment.step for moment in ordered)
    model = {
        **last.model,
        "trajectory.steps": measured(steps, n=len(steps)),
        "trajectory.unit": measured(_unit(ordered)),
        "trajectory.summary": measured(_sentences(name, ordered, layers)),
    }
    versions, peak_memory, created = circumstances(("critaudit", "torch", "numpy", "scipy"))
    return Report(
        source=SourceRecord(name, "trajectory", last.source.sha256, last.source.bytes),
        architecture=last.architecture,
        coverage=last.coverage,
        layer_records=layers,
        model=model,
        findings=tuple(_findings(ordered)),
        advice=last.advice,
        provenance=Provenance(
            versions=versions,
            settings={**last.provenance.settings, "checkpoints": [moment.report.source.name for moment in ordered]},
            seed=last.provenance.seed,
            threads=last.provenance.threads,
            device=last.provenance.device,
            seconds=time.perf_counter() - started,
            peak_memory=peak_memory,
            skipped=last.provenance.skipped,
            created=created,
        ),
    )


class _Series:
    """The numbers of one layer as the training goes on."""

    def __init__(self) -> None:
        self._numbers: dict[str, list[tuple[float, float]]] = {}
        self._seen: set[str] = set()

    def add(self, step: float, layer: Layer) -> None:
        for identifier in FOLLOWED:
            held = layer.measurements.get(identifier)
            if held is None:
                continue
            self._seen.add(identifier)
            if held.number is not None:
                self._numbers.setdefault(identifier, []).append((step, held.number))

    def measurements(self) -> dict[str, Measurement]:
        found: dict[str, Measurement] = {}
        for identifier in FOLLOWED:
            if identifier not in self._seen:
                continue
            pairs = self._numbers.get(identifier, [])
            if not pairs:
                found[f"trajectory.{identifier}"] = not_applicable("it was measured at no step")
                continue
            found[f"trajectory.{identifier}"] = measured(tuple(value for _, value in pairs), n=len(pairs))
            found[f"trajectory.{identifier}.at"] = measured(tuple(step for step, _ in pairs), n=len(pairs))
        return found


def _unit(ordered: Sequence[Moment]) -> str:
    units = {moment.unit for moment in ordered}
    return units.pop() if len(units) == 1 else "checkpoint"


def _sentences(name: str, ordered: Sequence[Moment], layers: Sequence[Layer]) -> tuple[str, ...]:
    unit = _unit(ordered)
    said = [
        f"{name}: {plural(len(ordered), 'checkpoint')} of one training, {unit} {ordered[0].step:g} to "
        f"{ordered[-1].step:g}, {plural(len(layers), 'layer')}."
    ]
    moved = []
    for layer in layers:
        held = layer.measurements.get("trajectory.edge.j")
        if held is not None and isinstance(held.value, tuple) and len(held.value) > 1:
            first, final = held.value[0], held.value[-1]
            if isinstance(first, float) and isinstance(final, float) and first > 0:
                moved.append((abs(final / first - 1), layer.name, first, final))
    if moved:
        _, which, first, final = max(moved)
        said.append(f"The coupling spread J moved most in {which}, from {number(first)} to {number(final)}.")
    return tuple(said)


def _findings(ordered: Sequence[Moment]) -> list[Finding]:
    """The last checkpoint's findings; those that the first one did not have say so."""
    if len(ordered) == 1:
        return list(ordered[0].report.findings)
    known = {(finding.rule, finding.layer) for finding in ordered[0].report.findings}
    return [
        finding if (finding.rule, finding.layer) in known else replace(finding, text=f"Since the start: {finding.text}")
        for finding in ordered[-1].report.findings
    ]
