"""The headline: what it is, how much was looked at, the worst finding, what broke."""

from __future__ import annotations

from dataclasses import replace

from critaudit.report import Finding, verdict
from tests.report.make import empty_report, hostile_report, small_report


def test_given_a_report_with_findings_then_the_worst_is_in_the_headline() -> None:
    said = verdict.sentences(small_report())

    assert said[0].startswith("network.pt (zip checkpoint) holds 143 thousand parameters, recognised as resnet18")
    assert "12 weight matrices with 99.5 % of the parameters" in said[1]
    assert said[2] == "1 problem and 1 warning; the worst in blocks.11.recurrent.weight: the signal dies out."
    assert said[3] == "1 measurement failed."


def test_given_only_notes_then_nothing_needs_attention() -> None:
    report = small_report(3)
    notes = tuple(finding for finding in report.findings if finding.severity == "info")

    said = verdict.sentences(replace(report, findings=notes))

    assert "Nothing was found that needs attention (1 note below)." in said


def test_given_a_single_finding_then_it_is_told_without_a_list() -> None:
    report = replace(small_report(3), findings=(Finding("a", "problem", "fc", "fc is empty.", ()),))

    assert "1 problem: fc is empty." in verdict.sentences(report)


def test_given_an_empty_model_then_the_headline_promises_nothing() -> None:
    assert verdict.sentences(empty_report()) == (
        "empty.pt (zip checkpoint) holds no parameters.",
        "No weight matrix could be analysed.",
    )


def test_given_lost_tensors_and_hostile_names_then_they_are_counted_and_shown_safely() -> None:
    said = " ".join(verdict.sentences(hostile_report()))

    assert "14 tensors could not be read" in said
    assert said.isprintable()


def test_given_findings_then_the_worst_comes_first_and_equals_keep_their_order() -> None:
    report = small_report()
    doubled = replace(report, findings=report.findings + report.findings)

    order = [finding.severity for finding in verdict.by_severity(doubled)]

    assert order == ["problem"] * 2 + ["warning"] * 2 + ["info"] * 2
    assert list(verdict.counts(doubled)) == ["problem", "warning", "info"]
    assert verdict.not_measured(report)["failed"] == 1
