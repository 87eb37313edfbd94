"""Reports without a model: an ordinary record, from which every view drops what only a model has."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from critaudit.auditing.modelless import report_without_model
from critaudit.measurement import failed, measured, not_applicable, undetermined
from critaudit.report import Finding, Report, html, verdict
from critaudit.report.terminal import render


@pytest.fixture(scope="module")
def report() -> Report:
    return report_without_model(
        "theory",
        "phase diagrams of tanh networks",
        {
            "phase.line": measured(0.602, interval=(0.601, 0.603), method="cut-off radius one"),
            "phase.other": not_applicable("the length diverges"),
            "phase.third": undetermined("the length diverges"),
        },
        summary=("The ordered line is at 0.602.", "It closes at (2, 1)."),
        settings={"r0": 0.01},
        seconds=1.5,
    )


def test_given_a_computation_when_reported_then_the_headline_is_its_own_and_talks_of_no_weights(report: Report) -> None:
    said = verdict.sentences(report)

    assert said[:3] == (
        "Phase diagrams of tanh networks: theory, computed without a model.",
        "The ordered line is at 0.602.",
        "It closes at (2, 1).",
    )
    assert said[3] == "Not determined: other, third (the length diverges)."
    assert len(said) == 4
    assert not report.has_model
    assert repr(report) == "<Report on phase diagrams of tanh networks: 4 measurements, 0 findings>"


def test_given_findings_and_failures_when_reported_then_they_are_told(report: Report) -> None:
    worse = replace(
        report,
        source=replace(report.source, format="simulation"),
        findings=(Finding("avalanche.null", "warning", None, "A random walk does the same.", ("phase.line",)),),
        model={"avalanche.tau": failed("no tail"), "avalanche.summary": measured("One sentence.")},
    )

    assert verdict.sentences(worse) == (
        "Phase diagrams of tanh networks: a simulation; no model was audited.",
        "One sentence.",
        "1 warning: A random walk does the same.",
        "1 measurement failed.",
    )
    assert 'id="findings"' in html.render(worse)


def test_given_a_computation_when_rendered_then_the_page_has_no_empty_sections(report: Report) -> None:
    page = html.render(report)

    for absent in (
        "#coverage",
        'id="coverage"',
        "weight matri",
        'id="layers"',
        "Architecture",
        'id="findings"',
        "The model as a whole",
    ):
        assert absent not in page[: page.index('id="report-data"')]
    for present in ('href="#model"', 'id="model"', "0.602", "phase-diagrams-of-tanh-networks.critaudit.json"):
        assert present in page
    # The headline's sentences stand at the top, not as a row of the table.
    assert "phase.summary" not in page[: page.index('id="report-data"')]


def test_given_a_computation_when_saved_then_it_fits_the_schema_and_comes_back(report: Report, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(html.__file__).parent / "schema.json").read_text())
    path = report.to_json(tmp_path / "phase.json")

    jsonschema.validate(json.loads(path.read_text()), schema)
    again = Report.load(path)

    assert again.to_dict() == report.to_dict()
    assert verdict.sentences(again) == verdict.sentences(report)
    assert again.provenance.settings == {"r0": 0.01}
    assert {"python", "numpy", "critaudit"} <= set(again.provenance.versions)


@pytest.mark.parametrize("terminal", [True, False])
def test_given_a_computation_when_printed_then_its_numbers_stand_where_layers_would(
    report: Report, terminal: bool
) -> None:
    file = io.StringIO()
    render(report, Console(file=file, force_terminal=terminal, width=60, color_system=None))

    shown = file.getvalue()
    assert "analysed" not in shown
    assert "look at first" not in shown
    assert "line  0.602 (0.601 – 0.603)" in shown
    assert "report.model" in report._repr_html_()


def test_given_many_measurements_when_printed_then_the_rest_is_counted(report: Report) -> None:
    many = replace(report, model={f"phase.x{place:02}": measured(place) for place in range(20)})
    file = io.StringIO()
    render(many, Console(file=file, force_terminal=False))

    assert "x15  15" in file.getvalue()
    assert "and 4 more measurements in the report" in file.getvalue()
