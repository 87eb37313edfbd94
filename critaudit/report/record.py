"""The report: one frozen record that every renderer reads and nothing else (`critaudit.report/1`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from critaudit.measurement import Measurement

SCHEMA = "critaudit.report/1"
Severity: TypeAlias = Literal["info", "warning", "problem"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "problem")


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """Where the model came from."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """An audit's complete result. Made by `critaudit.audit`, read back by `Report.load`, shown by every renderer."""

    source: SourceRecord
    architecture: ArchitectureRecord
    coverage: Coverage
    layer_records: tuple[Layer, ...]
    model: Mapping[str, Measurement]
    findings: tuple[Finding, ...]
    advice: tuple[Advice, ...]
    provenance: Provenance
