"""The figures: what they show, what they leave out, and that names stay names."""

from __future__ import annotations

from dataclasses import replace
from html import unescape

import pytest

from critaudit.measurement import measured
from critaudit.report import Layer, Report
from critaudit.report.figures.axes import logarithmic
from critaudit.theory.phase_lines_table import ORDERED_LINE
from critaudit.theory.spin_glass import boundary
from tests.report.make import empty_report, hostile_report, small_report

NAMES = [
    "coverage_by_kind",
    "alpha_by_depth",
    "alpha_g_plane",
    "spectrum_by_depth",
    "chi1_by_depth",
    "j0_j_plane",
    "strength_by_depth",
]


@pytest.fixture(scope="module")
def report() -> Report:
    return small_report(24)


@pytest.mark.parametrize("name", NAMES)
def test_given_a_report_then_each_figure_has_title_axes_caption_and_count(report: Report, name: str) -> None:
    figure = report.figures[name]

    meta = figure.layout.meta
    assert meta["title"] == figure.layout.title.text
    assert len(meta["caption"]) > 60
    assert meta["n"] > 0
    assert figure.layout.xaxis.title.text or figure.layout.xaxis2.title.text
    assert figure.layout.paper_bgcolor is None
    assert figure.layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"


def test_given_reports_then_the_mapping_holds_what_can_be_drawn(report: Report) -> None:
    assert list(report.figures) == NAMES
    assert list(empty_report().figures) == []
    assert len(empty_report().figures) == 0
    assert 5 not in report.figures
    with pytest.raises(KeyError, match="no figures"):
        empty_report().figures["alpha_by_depth"]


def test_given_layers_without_alpha_then_the_figure_says_how_many_are_left_out(report: Report) -> None:
    figure = report.figures["alpha_by_depth"]

    drawn = sum(len(trace.x) for trace in figure.data)
    assert drawn == figure.layout.meta["n"] == 22
    assert figure.layout.meta["left_out"] == "2 layers are not drawn: 2 undetermined."
    alphas = {layer.measurements["entries.alpha"].number for layer in report.layer_records} - {None}
    assert sorted(y for trace in figure.data for y in trace.y) == pytest.approx(sorted(alphas), rel=1e-5)
    assert figure.layout.shapes[0].y0 == 2.0


def test_given_verdicts_then_the_alpha_figure_tells_the_fit_from_the_verdict(report: Report) -> None:
    held = {0: (1.5, (1.4, 1.6)), 1: (1.99, (1.98, 2.0)), 2: (2.0, (1.99, 2.0))}
    layers = tuple(
        replace(report.layer_records[place], measurements={"entries.alpha": measured(alpha, interval=ends)})
        for place, (alpha, ends) in held.items()
    )
    counts = {"stable_compatible": 0, "heavier_not_stable": 1, "scale_mixture": 1, "lighter_than_gaussian": 1}
    model = {f"entries.layers_{name}": measured(number, n=3) for name, number in counts.items()}

    meta = replace(report, layer_records=layers, model=model).figures["alpha_by_depth"].layout.meta

    assert meta["title"] == "Fitted α below 2 in 1 of 3 layers"
    assert meta["caption"].endswith("2 layers are judged heavier-tailed than a Gaussian.")
    assert "judged" not in report.figures["alpha_by_depth"].layout.meta["caption"]


def test_given_the_alpha_g_plane_then_the_ordered_line_is_the_tabulated_one(report: Report) -> None:
    figure = report.figures["alpha_g_plane"]

    line = next(trace for trace in figure.data if "ordered line (cutoff)" in trace.name)
    assert list(zip(line.x, line.y, strict=True)) == list(ORDERED_LINE)
    assert figure.layout.meta["n"] == 20
    assert "2 undetermined" in figure.layout.meta["left_out"]
    assert "2 not applicable" in figure.layout.meta["left_out"]


def test_given_the_coupling_plane_then_the_boundary_is_theorys_and_markers_say_where_it_applies(report: Report) -> None:
    figure = report.figures["j0_j_plane"]

    line = figure.data[-1]
    assert list(line.y) == pytest.approx([boundary(j0) for j0 in line.x], rel=1e-5)
    symbols = {trace.name: set(trace.marker.symbol) for trace in figure.data[:-1]}
    assert symbols["linear"] == {"circle"}
    assert symbols["conv"] == {"square-open"}


def test_given_signals_that_vanish_then_the_logarithmic_axis_leaves_them_out_and_says_so(report: Report) -> None:
    layers = [
        replace(layer, measurements={"signal.strength": measured(0.0 if place == 2 else 10.0**-place)})
        for place, layer in enumerate(report.layer_records[:8])
    ]

    figure = replace(report, layer_records=tuple(layers)).figures["strength_by_depth"]

    assert figure.layout.meta["n"] == 7
    assert "1 layer with strength 0" in figure.layout.meta["left_out"]
    assert "10⁻⁷" in figure.layout.yaxis.ticktext
    dead = (replace(layers[2], measurements={"signal.strength": measured(0.0)}),)
    assert "zero throughout" in replace(report, layer_records=dead).figures["strength_by_depth"].layout.title.text


@pytest.mark.parametrize("values", [[0.67, 0.5, 2.9], [0.1, 5.0], [1.2], [40.0, 41.0], [2e-7, 3e-7], [1e-9, 1e3]])
def test_given_a_logarithmic_axis_then_two_to_twenty_ticks_are_in_sight(values: list[float]) -> None:
    axis = logarithmic(values)

    # plotly shows the values with a margin; a single one with a power of ten around it
    margin = 10.0 if len(values) == 1 else (max(values) / min(values)) ** 0.05
    seen = [tick for tick in axis["tickvals"] if min(values) / margin <= tick <= max(values) * margin]
    assert 2 <= len(seen) <= 20
    assert len(axis["tickvals"]) == len(set(axis["ticktext"]))


def test_given_an_input_strength_then_its_label_is_beside_the_marks(report: Report) -> None:
    layout = report.figures["strength_by_depth"].layout

    label = next(item for item in layout.annotations if item.text.startswith("input:"))
    assert (label.xref, label.x, label.xanchor) == ("paper", 1, "left")
    assert layout.margin.r >= 60


def test_given_the_coverage_figure_then_numbers_stand_beside_hatched_bars_and_names_are_short() -> None:
    analysed, gaps = small_report(24).figures["coverage_by_kind"].data
    long = hostile_report().figures["coverage_by_kind"].data[1]

    assert (analysed.textposition, gaps.textposition) == ("auto", "outside")
    assert all(len(unescape(line)) <= 24 for name in [*gaps.y, *long.y] for line in name.split("<br>"))


def test_given_extreme_values_then_every_figure_is_still_drawn(report: Report) -> None:
    held = {
        "entries.alpha": measured(2.0, interval=(1.99, 2.0)),
        "entries.g_forward": measured(1e300),
        "spectrum.norm": measured(0.0),
        "spectrum.stable_rank": measured(1.0),
        "edge.chi1": measured(1e-300),
        "edge.j0": measured(-1e5),
        "edge.j": measured(0.0),
        "signal.strength": measured(1e-320),
    }
    extreme = tuple(Layer("a", "novel<kind>", shape, held) for shape in ((), (3,), (0, 0)))

    figures = replace(report, layer_records=extreme).figures

    assert list(figures) == NAMES
    assert all("Infinity" not in figure.to_json() and "NaN" not in figure.to_json() for figure in figures.values())


def test_given_hostile_names_then_no_figure_text_is_markup() -> None:
    for name, figure in hostile_report().figures.items():
        for trace in figure.data:
            texts = [*(trace.text or ()), *(trace.hovertext or ()), trace.name or ""]
            if name == "coverage_by_kind":
                texts += list(trace.y)
            for text in texts:
                assert "<" not in text.replace("<br>", "")
