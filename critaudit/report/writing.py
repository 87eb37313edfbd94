"""The report as JSON (`critaudit.report/1`): plain finite values in a fixed order."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from critaudit.errors import UsageError
from critaudit.measurement import Measurement
from critaudit.report.record import SCHEMA, Report


def to_dict(report: Report) -> dict[str, Any]:
    """The report in the outline of `schema.json`. Measurements, versions and settings are sorted by name."""
    return {
        "schema": SCHEMA,
        "source": {
            "name": report.source.name,
            "format": report.source.format,
            "sha256": report.source.sha256,
            "bytes": plain(report.source.bytes),
        },
        "architecture": {
            "name": report.architecture.name,
            "how": report.architecture.how,
            "detail": report.architecture.detail,
        },
        "coverage": _coverage(report),
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "shape": plain(layer.shape),
                "measurements": _measurements(layer.measurements),
            }
            for layer in report.layer_records
        ],
        "model": {"measurements": _measurements(report.model)},
        "findings": [
            {
                "id": finding.rule,
                "severity": finding.severity,
                "layer": finding.layer,
                "text": finding.text,
                "evidence": list(finding.evidence),
                "caveat": finding.caveat,
            }
            for finding in report.findings
        ],
        "advice": [
            {
                "kind": advice.kind,
                "layer": advice.layer,
                "setting": advice.setting,
                "value": plain(advice.value),
                "interval": _interval(advice.interval),
                "expected_effect": advice.expected_effect,
                "basis": advice.basis,
            }
            for advice in report.advice
        ],
        "provenance": _provenance(report),
    }


def to_json(report: Report) -> str:
    """The report as indented ASCII JSON with a final newline; equal reports give equal text."""
    return json.dumps(to_dict(report), ensure_ascii=True, allow_nan=False, indent=1) + "\n"


def write_text(path: str | Path, text: str) -> Path:
    """Write `text` as UTF-8 and return the path. Raises UsageError where the file system refuses."""
    target = Path(path)
    try:
        target.write_text(text, encoding="utf-8", newline="\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(
            f"{target}: the report could not be written ({reason}); name a file in a folder that exists and is yours"
        ) from error
    return target


def plain(value: object) -> Any:
    """`value` as JSON can hold it: NumPy scalars and arrays unwrapped, tuples as lists, non-finite numbers as text."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {str(key): plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return [plain(item) for item in sorted(value, key=str)]
    unwrap = getattr(value, "tolist", None)  # NumPy scalars and arrays
    return plain(unwrap()) if callable(unwrap) else str(value)


def _measurements(measurements: Mapping[str, Measurement]) -> dict[str, Any]:
    return {name: _measurement(measurements[name]) for name in sorted(measurements)}


def _measurement(measurement: Measurement) -> dict[str, Any]:
    status, value, reason = measurement.status, plain(measurement.value), measurement.reason
    if status == "measured" and not _is_finite(measurement.value):
        # A number that is none must not pass as a measurement, however it got here.
        status, value, reason = "undetermined", None, f"the computation gave {value}"
    return {
        "status": status,
        "value": value,
        "interval": _interval(measurement.interval),
        "n": plain(measurement.n),
        "method": measurement.method,
        "reason": reason,
    }


def _is_finite(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_finite(item) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    unwrap = getattr(value, "tolist", None)
    return _is_finite(unwrap()) if callable(unwrap) else value is not None


def _interval(interval: tuple[float, float] | None) -> list[float] | None:
    if interval is None or not all(math.isfinite(end) for end in interval):
        return None
    return [float(end) for end in interval]


def _coverage(report: Report) -> dict[str, Any]:
    coverage = report.coverage
    return {
        "parameters": plain(coverage.parameters),
        "analysed": plain(coverage.analysed),
        "share": coverage.share,
        "tensors": [
            {
                "name": tensor.name,
                "shape": plain(tensor.shape),
                "dtype": tensor.dtype,
                "status": tensor.status,
                "reason": tensor.reason,
            }
            for tensor in coverage.tensors
        ],
        "problems": list(coverage.problems),
    }


def _provenance(report: Report) -> dict[str, Any]:
    provenance = report.provenance
    return {
        "versions": plain(provenance.versions),
        "settings": plain(provenance.settings),
        "seed": plain(provenance.seed),
        "threads": plain(provenance.threads),
        "device": provenance.device,
        "seconds": plain(provenance.seconds),
        "peak_memory": plain(provenance.peak_memory),
        "skipped": plain(provenance.skipped),
        "created": provenance.created,
    }
