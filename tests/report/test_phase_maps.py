"""The phase diagrams' figures and the regions of the α–g plane."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from critaudit.auditing.phase import phase_report
from critaudit.measurement import measured
from critaudit.report import Report, html
from critaudit.report.figures.regions import Window, labels, regions
from critaudit.theory.levy import phase
from critaudit.theory.phase_lines_table import CHAOTIC_LINE, ORDERED_LINE
from tests.report.make import drawn_phases, small_report


@pytest.fixture(scope="module")
def report() -> Report:
    return drawn_phases()


def inside(x: float, y: float, xs: list[float], ys: list[float]) -> bool:
    """Whether a point is in a polygon, by counting crossings."""
    crossings = 0
    for (x1, y1), (x2, y2) in zip(
        zip(xs, ys, strict=True), [*zip(xs[1:], ys[1:], strict=True), (xs[0], ys[0])], strict=True
    ):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            crossings += 1
    return crossings % 2 == 1


@pytest.mark.parametrize(("alpha", "g"), [(1.1, 0.3), (1.1, 1.5), (1.1, 2.8), (1.6, 0.55), (1.6, 1.0), (1.9, 1.9)])
def test_given_a_point_when_shaded_then_the_region_is_the_phase_of_theory(alpha: float, g: float) -> None:
    drawn = regions(ORDERED_LINE, CHAOTIC_LINE, Window(0.95, 0.0, 3.0))

    assert [trace["name"] for trace in drawn if inside(alpha, g, trace["x"], trace["y"])] == [phase(alpha, g)]


def test_given_windows_when_labelled_then_each_region_in_sight_has_its_name_inside() -> None:
    for window in (Window(0.95, 0.0, 2.4), Window(0.95, 0.0, 4.0), Window(0.5, 0.01, 100.0, logarithmic=True)):
        polygons = {trace["name"]: trace for trace in regions(ORDERED_LINE, CHAOTIC_LINE, window)}
        placed = labels(ORDERED_LINE, CHAOTIC_LINE, window)
        assert [label["text"] for label in placed] == ["ordered", "extended critical", "chaotic"]
        for label in placed:
            g = 10.0 ** label["y"] if window.logarithmic else label["y"]
            polygon = polygons[label["text"]]
            assert inside(label["x"], g, polygon["x"], polygon["y"])


def test_given_a_chaotic_line_that_ends_when_shaded_then_the_regime_reaches_the_top() -> None:
    critical = regions(((1.0, 0.5), (1.5, 0.6), (2.0, 1.0)), ((1.5, 2.0), (2.0, 1.0)), Window(1.0, 0.0, 3.0))[1]

    assert critical["y"][3:] == [1.0, 2.0, 3.0]


def test_given_phase_diagrams_when_drawn_then_captions_name_the_cut_and_say_that_edges_move(report: Report) -> None:
    meta = report.figures.spec("phase_alpha_g")["layout"]["meta"]

    assert "r₀ = 0.01" in meta["title"]
    assert "upper edge moves with r₀" in meta["caption"]
    names = [trace["name"] for trace in report.figures.spec("phase_alpha_g")["data"]]
    assert "ordered line (cutoff)" in names
    assert "ordered line (fixed point)" in names
    assert "chaotic line, no cut" in names
    other = phase_report(["alpha-g"], power=3, r0=0.2, definition="fixed_point", points=8).figures.spec("phase_alpha_g")
    assert "L = 3, r₀ = 0.2" in other["layout"]["meta"]["title"]
    assert "|ln r|³" in other["layout"]["meta"]["caption"]
    assert other["data"][3]["name"] == "ordered line (fixed point)"


def test_given_the_map_when_drawn_then_cells_without_a_value_are_empty_and_json_is_clean() -> None:
    gelu = phase_report(["sigma"], activation="gelu", points=10)
    spec = gelu.figures.spec("phase_sigma")
    (drawn,) = (trace for trace in spec["data"] if trace["type"] == "heatmap")

    assert any(value is None for row in drawn["z"] for value in row)
    json.dumps(spec, allow_nan=False)
    number = sum(value is not None for row in drawn["z"] for value in row)
    assert number == spec["layout"]["meta"]["n"]


def test_given_the_map_when_drawn_then_the_bar_beside_it_has_its_colours_and_ticks(report: Report) -> None:
    spec = report.figures.spec("phase_sigma")
    (drawn,) = (trace for trace in spec["data"] if trace["type"] == "heatmap")
    bar, texts = spec["layout"]["shapes"], spec["layout"]["annotations"]

    for shape, (_, colour) in ((bar[0], drawn["colorscale"][0]), (bar[-1], drawn["colorscale"][-1])):
        for place in (1, 3, 5):
            near = int(colour[place : place + 2], 16)
            assert int(shape["fillcolor"][place : place + 2], 16) == pytest.approx(near, abs=6)
    ticks = [(text["y"], float(text["text"])) for text in texts if text["text"] != "χ_s"]
    low, high = drawn["zmin"], drawn["zmax"]
    for height, value in ticks:
        assert math.log10(value) == pytest.approx(low + (high - low) * (height - 0.1) / 0.75, abs=1e-6)


def test_given_a_page_when_rendered_then_the_figures_and_their_guide_are_in_it(report: Report) -> None:
    page = html.render(report)

    for words in ('id="figure-phase_alpha_g"', 'id="figure-phase_j0_j"', "Phase diagrams say how signals behave"):
        assert words in page
    assert 'id="coverage"' not in page


@pytest.mark.parametrize("name", ["phase.alphas", "phase.ordered_cutoff", "phase.map_chi", "phase.boundary_j"])
def test_given_a_report_with_an_empty_series_when_read_then_its_figure_is_left_out(report: Report, name: str) -> None:
    broken = replace(report, model={**report.model, name: measured(())})

    assert len(list(broken.figures)) == 2
    assert html.render(broken)


@pytest.mark.parametrize("stem", ["jacobian.mean_log", "jacobian.mean_log_singular"])
def test_given_jacobians_beside_their_shuffled_copies_when_drawn_then_rings_show_the_layers_as_they_are(
    stem: str,
) -> None:
    report = small_report(8)
    first = report.layer_records[0]
    pair = {stem: measured(-1.5), f"{stem}_shuffled": measured(-1.0)}
    both = replace(
        report, layer_records=(replace(first, measurements={**first.measurements, **pair}), *report.layer_records[1:])
    )

    spec = both.figures.spec("alpha_g_plane")
    (ring,) = (trace for trace in spec["data"] if trace["name"] == "the layer as it is")

    g = first.measurements["entries.g_forward"].number
    assert g is not None
    assert ring["y"] == pytest.approx([g * math.exp(-0.5)], rel=1e-5)
    assert ring["customdata"] == [1]
    assert "It may mislead" in spec["layout"]["meta"]["caption"]
    assert "It may mislead" not in report.figures.spec("alpha_g_plane")["layout"]["meta"]["caption"]
