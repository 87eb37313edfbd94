"""The report: one frozen record, and the views of it (JSON, HTML, terminal, tables, figures)."""

from __future__ import annotations

from critaudit.report.record import (
    SCHEMA,
    SEVERITIES,
    Advice,
    ArchitectureRecord,
    Coverage,
    Finding,
    Layer,
    Provenance,
    Report,
    Severity,
    SourceRecord,
    TensorRecord,
)

__all__ = [
    "SCHEMA",
    "SEVERITIES",
    "Advice",
    "ArchitectureRecord",
    "Coverage",
    "Finding",
    "Layer",
    "Provenance",
    "Report",
    "Severity",
    "SourceRecord",
    "TensorRecord",
]
