"""The figures of circles and of iterated layers: what they show, what they leave out, at every size of a report."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from critaudit.measurement import Measurement, measured, undetermined
from critaudit.report import Layer, Report
from critaudit.report.figures import Figures
from tests.report.make import HOSTILE, empty_report

NAMES = ("manifold_shape", "manifold_growth", "manifold_projections", "asymptotic_by_depth")
_CIRCLE = tuple(value for k in range(16) for value in (math.cos(k * math.pi / 8), math.sin(k * math.pi / 8), 0.0))


def _layer(place: int, *, turns: bool = True, picture: bool = True, name: str | None = None) -> Layer:
    grown = 1.0 + 0.3 * place
    held: dict[str, Measurement] = {
        "manifold.cv": measured(0.02 * place, interval=(0.01 * place, 0.03 * place), n=4),
        "manifold.participation": measured(1 + grown, interval=(grown, 2 + grown), n=4),
        "manifold.plane_share": measured(1 / grown, n=4),
        "manifold.stretch": measured(grown, interval=(0.9 * grown, 1.1 * grown), n=4),
        "manifold.turns": measured(grown**2, n=4) if turns else undetermined("kinks"),
        "asymptotic.exponent": measured(
            -0.1 + 0.05 * place, interval=(-0.12 + 0.05 * place, -0.08 + 0.05 * place), n=4
        ),
        "asymptotic.jacobian": measured(0.8 + 0.05 * place, n=4),
    }
    if picture:
        held["manifold.projection"] = measured(_CIRCLE, n=16)
    return Layer(name or f"blocks.{place}.weight", "linear", (8, 8), held)


def _report(layers: tuple[Layer, ...]) -> Report:
    model = {"manifold.points": measured(16), "manifold.circles": measured(4), "manifold.pictures": measured(6)}
    return replace(empty_report(), layer_records=layers, model=model)


def _spec(report: Report, name: str) -> dict[str, object]:
    spec = report.figures.spec(name)
    json.dumps(spec, allow_nan=False)
    return spec


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 2, 6, 9])
def test_given_any_number_of_layers_then_each_figure_is_drawn_with_title_caption_and_count(
    name: str, count: int
) -> None:
    figure = _report(tuple(_layer(place) for place in range(count))).figures[name]
    meta = figure.layout.meta
    assert meta["n"] == count
    assert len(meta["caption"]) > 60
    assert meta["title"]
    assert all(trace.name for trace in figure.data)  # the page lays out legends by the names of the traces


def test_given_a_report_without_circles_then_there_are_no_such_figures() -> None:
    assert not set(NAMES) & set(empty_report().figures)


def test_given_shapes_then_unevenness_and_dimension_stand_beside_those_of_known_shapes() -> None:
    layout = _report(tuple(_layer(place) for place in range(3))).figures["manifold_shape"].layout
    heights = {(shape.yref, round(shape.y0, 3)) for shape in layout.shapes}
    assert heights == {("y", 0.483), ("y", 0.16), ("y2", 2.0), ("y2", 1.0)}
    assert "4 circles of 16 points." in layout.meta["caption"]
    assert layout.meta["title"].startswith("In the last layer a circle of inputs has 2.60 dimensions")


def test_given_one_circle_then_the_caption_speaks_of_no_bars() -> None:
    several = _report((_layer(0), _layer(1)))
    one = tuple(
        replace(layer, measurements={name: replace(held, interval=None) for name, held in layer.measurements.items()})
        for layer in several.layer_records
    )

    assert "Bars are 95 %" in several.figures["manifold_shape"].layout.meta["caption"]
    assert "Bars" not in replace(several, layer_records=one).figures["manifold_shape"].layout.meta["caption"]


def test_given_blocks_then_they_have_hollow_marks_at_their_last_layers() -> None:
    block = {f"manifold.block_{name}": measured(2.5) for name in ("cv", "participation", "stretch")}
    layers = [_layer(place) for place in range(4)]
    layers[1], layers[3] = (replace(layers[place], measurements=layers[place].measurements | block) for place in (1, 3))
    figures = _report(tuple(layers)).figures
    for name in ("manifold_shape", "manifold_growth"):
        hollow = [trace for trace in figures[name].data if trace.name == "blocks ending with linear"]
        assert [list(trace.x) for trace in hollow] == [[2, 4]] * len(hollow)
        assert len(hollow) == (2 if name == "manifold_shape" else 1)
        assert all(symbol.endswith("-open") for trace in hollow for symbol in trace.marker.symbol)
        assert "Hollow marks" in figures[name].layout.meta["caption"]
        assert figures[name].layout.meta["n"] == 4
    assert figures["manifold_shape"].layout.yaxis.range[1] >= 2.5


def test_given_dimensions_over_decades_then_the_guides_follow_the_logarithmic_axis() -> None:
    wild = replace(_layer(1), measurements=_layer(1).measurements | {"manifold.participation": measured(90.0)})
    layout = _report((_layer(0), wild)).figures["manifold_shape"].layout
    assert layout.yaxis2.type == "log"
    places = {note.text: note.y for note in layout.annotations}
    assert places["circle: 2"] == pytest.approx(math.log10(2))
    assert places["line: 1"] == 0.0


def test_given_turns_in_some_layers_then_they_have_a_panel_and_the_rest_is_counted() -> None:
    layers = tuple(_layer(place, turns=place != 1) for place in range(4))
    figure = _report(layers).figures["manifold_growth"]
    below = [trace for trace in figure.data if trace.yaxis == "y2"]
    assert [list(trace.x) for trace in below] == [[1, 3, 4]]
    assert "Turns: 1 layer is not drawn: 1 undetermined." in figure.layout.meta["left_out"]
    assert "and turns" in figure.layout.meta["title"]
    # where no layer but the first has turns, there is no panel for them
    alone = _report(tuple(_layer(place, turns=place == 0) for place in range(4))).figures["manifold_growth"]
    assert not [trace for trace in alone.data if trace.yaxis == "y2"]
    assert "turns" not in alone.layout.meta["title"]
    assert list(alone.layout.yaxis.domain) == [0.0, 1.0]


def test_given_pictures_then_each_curve_is_closed_square_and_inside_its_panel() -> None:
    figure = _report(tuple(_layer(place, picture=place != 2) for place in range(5))).figures["manifold_projections"]
    assert len(figure.data) == 4
    for index, trace in enumerate(figure.data):
        suffix = "" if index == 0 else str(index + 1)
        assert (trace.x[0], trace.y[0]) == (trace.x[-1], trace.y[-1])
        across, up = figure.layout[f"xaxis{suffix}"], figure.layout[f"yaxis{suffix}"]
        assert up.scaleanchor == f"x{suffix}"
        assert across.range == up.range
        assert max(map(abs, trace.x)) < across.range[1]
        assert 0 <= up.domain[0] < up.domain[1] <= 1
    assert next(note.text for note in figure.layout.annotations) == "layer 1: 100 %"


def test_given_parts_of_one_tensor_then_their_common_output_is_drawn_once() -> None:
    names = ("qkv.weight[q]", "qkv.weight[k]", "qkv.weight[v]", "proj.weight")
    layers = tuple(replace(_layer(place, name=name), kind="attention") for place, name in enumerate(names))
    same = {"manifold.projection": layers[0].measurements["manifold.projection"]}
    layers = tuple(replace(layer, measurements=dict(layer.measurements) | same) for layer in layers)

    figure = _report(layers).figures["manifold_projections"]

    assert [trace.name for trace in figure.data] == ["qkv.weight[q]", "proj.weight"]
    assert figure.layout.meta["title"].startswith("A circle of inputs behind 2 layers")


def test_given_a_file_with_odd_series_then_they_are_left_out() -> None:
    odd = [(), (1.0, 2.0), ("a", "b", "c")]
    layers = tuple(
        replace(_layer(place), measurements={"manifold.projection": Measurement("measured", value)})
        for place, value in enumerate(odd)
    )
    spec = _spec(_report(layers), "manifold_projections")
    assert spec["data"] == []


def test_given_iterated_layers_then_the_chaotic_ones_are_counted_by_their_intervals() -> None:
    figure = _report(tuple(_layer(place) for place in range(6))).figures["asymptotic_by_depth"]
    # exponents −0.1 … 0.15; their intervals reach ± 0.02
    assert figure.layout.meta["title"] == "Chaotic on their own: 3 of 6 square layers"
    assert figure.layout.yaxis.range[0] < -0.1
    assert figure.layout.yaxis.range[1] > 0.15


def test_given_hostile_names_and_extreme_values_then_the_figures_hold_no_markup_and_no_infinities() -> None:
    extreme = {
        "manifold.cv": measured(1e300),
        "manifold.participation": measured(1.0),
        "manifold.stretch": measured(1e-300),
        "manifold.turns": measured(0.0),
        "asymptotic.exponent": measured(-1e9),
        "asymptotic.jacobian": measured(0.0),
        "manifold.projection": measured((0.0, 1e9, 0.0)),
    }
    layers = tuple(_layer(place, name=name) for place, name in enumerate(HOSTILE))
    layers += (replace(layers[0], measurements=extreme),)
    report = _report(layers)
    for name in NAMES:
        text = json.dumps(_spec(report, name), ensure_ascii=False)
        assert "<script" not in text
        assert "<img" not in text
        assert "<b>" not in text
    assert isinstance(report.figures, Figures)
