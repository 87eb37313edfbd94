"""What a report loads, and when: nothing heavy before it is shown, and never a model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import sys
from critaudit.report import Report
report = Report.load(sys.argv[1])
{action}
loaded = set(sys.argv[2].split(",")) & set(sys.modules)
assert not loaded, loaded
"""


@pytest.mark.parametrize(
    ("action", "forbidden"),
    [
        ("report.to_json(sys.argv[1])", "torch,pandas,plotly,jinja2,scipy,rich,numpy"),
        ("from critaudit.report.verdict import sentences; sentences(report)", "torch,pandas,plotly,jinja2,scipy,numpy"),
        ("report._repr_html_()", "torch,pandas,plotly,jinja2,scipy"),
        ("report.layers", "torch,plotly,jinja2,scipy"),
        ("report.to_html(sys.argv[1] + '.html')", "torch,pandas,plotly.graph_objects,critaudit.model"),
        ("report.figures['alpha_by_depth']", "torch,jinja2,critaudit.model"),
    ],
)
def test_given_a_view_of_a_report_then_only_what_it_needs_is_loaded(
    action: str, forbidden: str, tmp_path: Path
) -> None:
    from tests.report.make import small_report

    source = small_report(2).to_json(tmp_path / "report.json")

    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(action=action), source, forbidden],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.stderr == ""
