"""Figures as image files: what is drawn, equal bytes, and errors in one line."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from critaudit.errors import CritauditError, UsageError
from critaudit.report import Report
from critaudit.report.image import save_image
from tests.report.make import drawn_phases, small_report

NAMES = ["phase_alpha_g", "phase_sigma", "phase_j0_j"]


@pytest.fixture(scope="module")
def report() -> Report:
    return drawn_phases()


def test_given_phase_diagrams_when_drawn_then_a_png_has_one_panel_each(report: Report, tmp_path: Path) -> None:
    sizes = []
    for count in (1, 3):
        data = save_image(report, tmp_path / f"{count}.png", NAMES[:count]).read_bytes()
        assert data.startswith(b"\x89PNG\r\n")
        sizes.append(struct.unpack(">II", data[16:24]))
    assert sizes[1][0] == 3 * sizes[0][0] >= 2400
    assert sizes[1][1] == sizes[0][1]


def test_given_phase_diagrams_when_drawn_as_svg_then_titles_captions_and_the_cut_are_in_it(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib as mpl

    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "none")  # text as text
    first = save_image(report, tmp_path / "a.svg", NAMES).read_text()
    second = save_image(report, tmp_path / "b.svg", NAMES).read_text()

    assert first == second
    for words in ("r₀ = 0.01", "extended critical", "moves with r₀", "edge of chaos", "Widom line", "ferro-"):
        assert words in first


def test_given_what_cannot_be_drawn_when_asked_then_one_line_says_so(report: Report, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.png"):
        save_image(report, tmp_path / "a.jpg", NAMES)
    with pytest.raises(UsageError, match="could not be written"):
        save_image(report, tmp_path / "missing" / "a.png", NAMES[:1])
    with pytest.raises(KeyError, match="phase_alpha_g"):
        save_image(report, tmp_path / "a.png", ["no_such_figure"])
    with pytest.raises(CritauditError, match="type bar"):
        save_image(small_report(3), tmp_path / "a.png", ["coverage_by_kind"])


def test_given_a_figure_of_marks_on_a_logarithmic_axis_when_drawn_then_it_is_an_image(tmp_path: Path) -> None:
    path = save_image(small_report(5), tmp_path / "a.png", ["strength_by_depth", "alpha_g_plane"])

    assert path.stat().st_size > 10_000
