"""Reports on what was computed without a model: theory and simulations, in the same record as an audit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from critaudit.circumstances import circumstances
from critaudit.measurement import Measurement, measured
from critaudit.report import SEVERITIES, ArchitectureRecord, Coverage, Finding, Provenance, Report, SourceRecord
from critaudit.report.measures import analyzer

_PACKAGES = ("critaudit", "numpy", "scipy")


def report_without_model(
    kind: Literal["theory", "simulation"],
    subject: str,
    measurements: Mapping[str, Measurement],
    *,
    summary: Sequence[str],
    settings: Mapping[str, object],
    seconds: float,
    findings: Iterable[Finding] = (),
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    packages: Sequence[str] = _PACKAGES,
) -> Report:
    """The report of a computation that looked at no model: all views of a report take it as they take an audit.

    `subject` names what was computed ("phase diagrams of tanh networks"). `measurements` are those of the model as a
    whole, at least one; `summary` are the plain sentences for the headline, kept as `<analyzer>.summary` of the first
    measurement's analyzer. `packages` are the distributions whose versions the numbers depend on.
    """
    name = analyzer(next(iter(measurements)))
    versions, peak_memory, created = circumstances(packages)
    return Report(
        source=SourceRecord(subject, kind, None, None),
        architecture=ArchitectureRecord(None, "none", ""),
        coverage=Coverage(0, 0, ()),
        layer_records=(),
        model={**measurements, f"{name}.summary": measured(tuple(summary))},
        findings=tuple(sorted(findings, key=lambda finding: -SEVERITIES.index(finding.severity))),
        advice=(),
        provenance=Provenance(
            versions=versions,
            settings=dict(settings),
            seed=seed,
            threads=threads,
            device=device,
            seconds=seconds,
            peak_memory=peak_memory,
            skipped={},
            created=created,
        ),
    )
