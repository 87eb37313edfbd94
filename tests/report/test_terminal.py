"""The terminal summary: within its width, without colour where none is wanted, never obeying a name."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from critaudit.report import Report
from critaudit.report.terminal import most_remarkable, render
from tests.report.make import empty_report, hostile_report, small_report, theory_report

REPORTS = {"small": small_report, "empty": empty_report, "hostile": hostile_report, "theory": theory_report}


def rendered(report: Report, *, terminal: bool, width: int = 80, **options: object) -> str:
    file = io.StringIO()
    render(report, Console(file=file, force_terminal=terminal, width=width, **options), written=["/tmp/[red]a.html"])  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("name", REPORTS)
def test_given_a_terminal_then_no_line_is_wider(name: str, width: int) -> None:
    shown = rendered(REPORTS[name](), terminal=True, width=width, no_color=True, color_system=None)

    lines = [line for line in shown.splitlines() if not line.startswith("wrote")]
    assert max(cell_len(line) for line in lines) <= width
    assert "\x1b" not in shown


def test_given_a_terminal_then_verdict_coverage_findings_layers_and_files_are_there() -> None:
    shown = rendered(small_report(), terminal=True, width=120, color_system=None)

    for part in ("recognised as resnet18", "99.5 % of parameters analysed", "■ problem", "look at first", "χ₁"):
        assert part in shown
    assert "blocks.11.recurrent.weight" in shown
    assert "wrote /tmp/[red]a.html" in shown


def test_given_sixty_columns_then_the_layer_table_still_shows_alpha() -> None:
    shown = rendered(small_report(), terminal=True, width=60, color_system=None)

    assert "α" in shown
    assert "1.53" in shown


def test_given_a_pipe_then_there_are_plain_whole_lines_and_no_table() -> None:
    shown = rendered(small_report(), terminal=False)

    assert "\x1b" not in shown
    assert "█" not in shown
    assert "look at first" not in shown
    assert "▲ warning  blocks.1.linear.weight  differences between inputs grow by 40 % in this layer" in shown


def test_given_no_color_then_nothing_is_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    without = rendered(small_report(), terminal=True)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm-256color")

    assert "\x1b[3" not in without
    assert "\x1b[3" in rendered(small_report(), terminal=True)


@pytest.mark.parametrize("terminal", [True, False])
def test_given_hostile_names_then_only_our_own_escapes_reach_the_terminal(terminal: bool) -> None:
    shown = rendered(hostile_report(), terminal=terminal, color_system=None)

    assert all(character.isprintable() or character in "\n\u202f" for character in shown)
    assert "{{7*7}}" in shown


def test_given_a_terminal_without_unicode_then_all_signs_have_stand_ins() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    render(small_report(), Console(file=file, force_terminal=True, width=120, color_system=None))
    file.seek(0)

    shown = file.read()
    assert "alpha" in shown
    assert "!! problem" in shown
    assert "\\u" not in shown


def test_given_findings_then_their_layers_are_the_most_remarkable() -> None:
    names = [layer.name for layer in most_remarkable(small_report(), 3)]

    assert names[:2] == ["blocks.11.recurrent.weight", "blocks.1.linear.weight"]
