"""The summary in a notebook."""

from __future__ import annotations

from tests.report.make import empty_report, hostile_report, small_report
from tests.report.parsing import elements


def test_given_a_report_then_the_summary_names_the_worst_finding_and_the_next_steps() -> None:
    shown = small_report()._repr_html_()

    assert "the signal dies out" in shown
    assert "report.to_html(path)" in shown
    assert "<table>" not in empty_report()._repr_html_()


def test_given_hostile_names_then_no_element_is_injected() -> None:
    allowed = {"div", "p", "table", "thead", "tbody", "tr", "th", "td", "code"}

    assert {name for name, _ in elements(hostile_report()._repr_html_())} <= allowed
    assert "and 9 more findings" in hostile_report()._repr_html_()


def test_given_a_report_then_its_text_is_one_short_line() -> None:
    assert repr(small_report()) == "<Report on network.pt: 12 layers, 3 findings>"
