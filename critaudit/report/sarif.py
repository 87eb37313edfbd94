"""The findings in SARIF 2.1.0, which code hosts show beside the code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from critaudit.report.record import Finding, Report
from critaudit.report.writing import write_text

_LEVELS = {"info": "note", "warning": "warning", "problem": "error"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def to_sarif(report: Report, path: str | Path) -> Path:
    """Write the findings as SARIF. A layer is a logical location, the model's file the artifact.

    Raises UsageError where the file cannot be written.
    """
    return write_text(path, json.dumps(document(report), indent=1, ensure_ascii=True) + "\n")


def document(report: Report) -> dict[str, Any]:
    """The SARIF log as plain data (one run)."""
    rules = sorted({finding.rule for finding in report.findings})
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "critaudit",
                        "version": report.provenance.versions.get("critaudit", "0"),
                        "rules": [{"id": rule, "shortDescription": {"text": _title(rule)}} for rule in rules],
                    }
                },
                "artifacts": [{"location": {"uri": _uri(report)}}],
                "results": [_result(finding, rules, report) for finding in report.findings],
                "invocations": [{"executionSuccessful": not report.coverage.problems}],
            }
        ],
    }


def _result(finding: Finding, rules: list[str], report: Report) -> dict[str, Any]:
    text = finding.text if finding.caveat is None else f"{finding.text} ({finding.caveat})"
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": _uri(report), "index": 0}}}
    if finding.layer is not None:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.layer, "kind": "module"}]
    return {
        "ruleId": finding.rule,
        "ruleIndex": rules.index(finding.rule),
        "level": _LEVELS[finding.severity],
        "message": {"text": text},
        "locations": [location],
        "partialFingerprints": {"critaudit/1": f"{finding.rule}:{finding.layer or ''}"},
    }


def _title(rule: str) -> str:
    return rule.replace(".", ": ").replace("_", " ")


def _uri(report: Report) -> str:
    from urllib.parse import quote

    return quote(report.source.name)
