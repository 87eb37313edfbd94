"""The headline: what it is, how much was looked at, the worst finding, what broke."""

from __future__ import annotations

from dataclasses import replace

from critaudit.measurement import not_applicable, undetermined
from critaudit.report import Coverage, Finding, Report, TensorRecord, verdict
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

    assert "Nothing that needs attention was found in what was measured (1 note below)." in said


def test_given_a_single_finding_then_it_is_told_without_a_list() -> None:
    report = replace(small_report(3), findings=(Finding("a", "problem", "fc", "fc is empty.", ()),))

    assert "1 problem: fc is empty." in verdict.sentences(report)
    elsewhere = replace(report, findings=(Finding("a", "warning", "c.weight", "Half of it carries nothing.", ()),))
    assert "1 warning in c.weight: Half of it carries nothing." in verdict.sentences(elsewhere)
    assert repr(elsewhere).endswith(": 3 layers, 1 finding>")


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


def test_given_one_warning_among_notes_then_it_is_not_called_the_worst_of_one() -> None:
    findings = tuple(
        Finding(severity=severity, rule="a.b", layer=None, text="This is so.", evidence=())
        for severity in ("warning", "info", "info")
    )

    assert "1 warning: This is so." in verdict.sentences(replace(small_report(3), findings=findings))


def without_activation() -> Report:
    """A chain whose activation is unknown: J is measured, χ₁ is not, and there is no network to run."""
    report = small_report(3)
    unknown = {"edge.chi1": not_applicable("the activation is not known")}
    layers = tuple(
        replace(
            layer,
            measurements={name: held for name, held in layer.measurements.items() if name != "signal.strength"}
            | unknown,
        )
        for layer in report.layer_records
    )
    provenance = replace(report.provenance, skipped={"signal": "no network to run: name the activation."})
    model = {"signal.status": not_applicable("no network to run"), "edge.distance_mean": undetermined("no layer")}
    return replace(report, layer_records=layers, provenance=provenance, model=model)


def test_given_analyzers_that_gave_no_number_then_the_headline_names_them_with_the_reason() -> None:
    assert (
        "Not measured: distance to the edge of chaos (the activation is not known); "
        "signal strength (no network to run: name the activation)."
    ) in verdict.sentences(without_activation())


def test_given_one_reason_for_several_analyzers_then_it_is_said_once_behind_their_names() -> None:
    report = without_activation()
    provenance = replace(
        report.provenance, skipped=dict.fromkeys(("signal", "jacobian", "manifold"), "no network to run")
    )

    said = " ".join(verdict.sentences(replace(report, provenance=provenance)))

    assert said.count("no network to run") == 1
    assert "; signal strength, Jacobians, what becomes of a circle of inputs (no network to run)." in said


def test_given_one_layer_that_was_measured_then_its_analyzer_is_not_called_unmeasured() -> None:
    report = without_activation()
    layers = (*report.layer_records, small_report(4).layer_records[3])

    said = " ".join(verdict.sentences(replace(report, layer_records=layers)))

    assert "distance to the edge" not in said
    assert "Not measured" not in " ".join(verdict.sentences(small_report()))


def test_given_lost_tensors_then_the_share_is_not_of_a_total_that_nobody_knows() -> None:
    report = small_report(3)
    lost = TensorRecord("c.weight", (), "unknown", "lost", "its shard cannot be read")
    partial = replace(report, coverage=Coverage(1000, 990, (*report.coverage.tensors, lost), ("shard: no such file",)))

    said = verdict.sentences(partial)

    assert said[0].startswith("network.pt (zip checkpoint) holds 1\u202f000 parameters that could be read, ")
    assert said[1].endswith("3 weight matrices with 99.0 % of the parameters that could be read.")
    assert verdict.parameters_noun(report.coverage) == "parameters"
    assert verdict.parameters_noun(hostile_report().coverage) == "known parameters"
