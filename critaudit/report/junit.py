"""The audit as JUnit XML, which continuous integration shows as a list of tests."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from critaudit.report import measures
from critaudit.report.record import SEVERITIES, Report, Severity
from critaudit.report.writing import write_text


def to_junit(report: Report, path: str | Path, *, fail_on: Severity = "problem") -> Path:
    """Write a test suite: findings at or above `fail_on` failed, each other analyzer passed, or was skipped.

    Raises UsageError where the file cannot be written.
    """
    return write_text(path, document(report, fail_on=fail_on))


def document(report: Report, *, fail_on: Severity = "problem") -> str:
    """The XML text."""
    bar = SEVERITIES.index(fail_on)
    failing = [finding for finding in report.findings if SEVERITIES.index(finding.severity) >= bar]
    at_fault = {measures.analyzer(finding.rule) for finding in failing}
    passed = [
        name for name in measures.analyzers(report) if name not in at_fault and name not in report.provenance.skipped
    ]
    skipped = report.provenance.skipped
    suite = ElementTree.Element(
        "testsuite",
        name=f"critaudit {report.source.name}",
        tests=str(len(failing) + len(passed) + len(skipped)),
        failures=str(len(failing)),
        errors=str(int(bool(report.coverage.problems))),
        skipped=str(len(skipped)),
        time=f"{report.provenance.seconds:.3f}",
        timestamp=report.provenance.created[:19],
    )
    for finding in failing:
        name = finding.rule if finding.layer is None else f"{finding.rule} [{finding.layer}]"
        case = ElementTree.SubElement(suite, "testcase", classname=report.source.name, name=name)
        failure = ElementTree.SubElement(case, "failure", message=finding.text, type=finding.severity)
        failure.text = finding.caveat or ""
    for name in passed:
        ElementTree.SubElement(suite, "testcase", classname=report.source.name, name=name)
    for name, reason in skipped.items():
        case = ElementTree.SubElement(suite, "testcase", classname=report.source.name, name=name)
        ElementTree.SubElement(case, "skipped", message=reason)
    if report.coverage.problems:
        case = ElementTree.SubElement(suite, "testcase", classname=report.source.name, name="coverage")
        ElementTree.SubElement(case, "error", message=report.coverage.problems[0], type="partial")
        suite.set("tests", str(int(suite.get("tests", "0")) + 1))
    ElementTree.indent(suite)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(suite, encoding="unicode")}\n'
