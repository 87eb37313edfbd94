"""The report: one frozen record that every renderer reads and nothing else (`critaudit.report/1`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from critaudit.measurement import Measurement

if TYPE_CHECKING:
    import pandas as pd

    from critaudit.report.figures import Figures

SCHEMA = "critaudit.report/1"
Severity: TypeAlias = Literal["info", "warning", "problem"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "problem")
# Formats of reports that rest on no model: what theory predicts, what was simulated.
WITHOUT_MODEL = ("theory", "simulation")


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """Where the model came from; a `format` in WITHOUT_MODEL says that there is none."""

    name: str
    format: str
    sha256: str | None
    bytes: int | None


@dataclass(frozen=True, slots=True)
class ArchitectureRecord:
    """Which network it is, how we know (recognised, given, chain, none), and what differs."""

    name: str | None
    how: str
    detail: str


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """One line of the coverage ledger; status is analysed, skipped or lost."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    status: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the model was looked at: parameters counted once, and the fate of every tensor."""

    parameters: int
    analysed: int
    tensors: tuple[TensorRecord, ...]
    problems: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Analysed share of all parameters, in [0, 1]; 0 for a model without parameters."""
        return self.analysed / self.parameters if self.parameters else 0.0


@dataclass(frozen=True, slots=True)
class Layer:
    """One weight matrix and what was measured on it, by measurement ID ("entries.alpha")."""

    name: str
    kind: str
    shape: tuple[int, ...]
    measurements: Mapping[str, Measurement]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the owner should know, with the measurements it rests on and what could make it wrong.

    `layer` is None for the whole model. `rule` names the rule that fired ("entries.non_finite").
    """

    rule: str
    severity: Severity
    layer: str | None
    text: str
    evidence: tuple[str, ...]
    caveat: str | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """A setting that the owner may change, what to expect, and what the advice rests on."""

    kind: str
    layer: str | None
    setting: str
    value: float | str
    interval: tuple[float, float] | None
    expected_effect: str
    basis: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """How the numbers came about: enough to get them again."""

    versions: Mapping[str, str]
    settings: Mapping[str, object]
    seed: int
    threads: int
    device: str
    seconds: float
    peak_memory: int | None
    skipped: Mapping[str, str]
    created: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Report:
    """An audit's complete result. Made by `critaudit.audit`, read back by `Report.load`, shown by every renderer.

    The record holds the numbers; the methods below are thin doors to the modules that show them, so that reading a
    report loads neither pandas nor plotly before they are wanted.
    """

    source: SourceRecord
    architecture: ArchitectureRecord
    coverage: Coverage
    layer_records: tuple[Layer, ...]
    model: Mapping[str, Measurement]
    findings: tuple[Finding, ...]
    advice: tuple[Advice, ...]
    provenance: Provenance

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """Read a report from a JSON file (`critaudit.report/1`).

        Unknown fields are ignored and missing optional ones take their defaults, so that old and newer files stay
        readable. Raises CritauditError, with one line, for anything else.
        """
        from critaudit.report.reading import load

        return load(path)

    @classmethod
    def from_dict(cls, data: object) -> Report:
        """The report in a decoded JSON document; the inverse of `to_dict`. Raises CritauditError."""
        from critaudit.report.reading import from_dict

        return from_dict(data)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain lists, dicts, strings and finite numbers, in the fixed outline of `schema.json`."""
        from critaudit.report.writing import to_dict

        return to_dict(self)

    def to_json(self, path: str | Path) -> Path:
        """Write the report as ASCII JSON; equal reports give equal bytes. Raises UsageError if it cannot."""
        from critaudit.report.writing import to_json, write_text

        return write_text(path, to_json(self))

    def to_html(self, path: str | Path) -> Path:
        """Write the report as one self-contained HTML page. Raises UsageError if it cannot."""
        from critaudit.report.html import render
        from critaudit.report.writing import write_text

        return write_text(path, render(self))

    @property
    def has_model(self) -> bool:
        """Whether a model was audited; theory and simulations have measurements and findings, but nothing to cover."""
        return self.source.format not in WITHOUT_MODEL

    @property
    def layers(self) -> pd.DataFrame:
        """One row per layer: name, kind, shape and every measurement's value (see `critaudit.report.table`)."""
        from critaudit.report.table import layers

        return layers(self)

    @property
    def measurements(self) -> pd.DataFrame:
        """One row per layer and measurement, with status, value, interval, n, method and reason."""
        from critaudit.report.table import measurements

        return measurements(self)

    @property
    def figures(self) -> Figures:
        """The report's plotly figures by name, each built when it is asked for."""
        from critaudit.report.figures import Figures

        return Figures(self)

    def __repr__(self) -> str:
        """One line; the full record has thousands."""
        from critaudit.report.wording import plural

        held = plural(len(self.layer_records), "layer") if self.has_model else plural(len(self.model), "measurement")
        counts = f"{held}, {plural(len(self.findings), 'finding')}"
        return f"<Report on {self.source.name}: {counts}>"

    def _repr_html_(self) -> str:
        from critaudit.report.notebook import summary

        return summary(self)
