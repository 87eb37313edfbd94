"""Figures of spectra and dimensions: what they draw, which layers they choose, what they say about the rest."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from critaudit.measurement import Measurement, measured, not_applicable
from critaudit.report import Layer, Report
from critaudit.report.figures.panels import panels
from tests.report.make import HOSTILE, empty_report

RE, IM = (0.9, -0.5, 3.0, 0.1), (0.0, 0.4, 0.0, 0.2)
NAMES = ("jacobian_spectrum", "multifractal_curves", "d2_by_depth")


def _layer(name: str, index: int) -> Layer:
    curve = (1.0, 0.9, 0.8)
    held: dict[str, Measurement] = {
        "jacobian.eigenvalues_re": measured(RE),
        "jacobian.eigenvalues_im": measured(IM),
        "jacobian.spectral_radius": measured(3.0),
        "jacobian.expanding_share": measured(0.25),
        "jacobian.cutoff_radius_theory": measured(1.4) if index else not_applicable("ReLU"),
        "multifractal.orders": measured((0.0, 1.0, 2.0)),
        "multifractal.dq_left": measured(curve),
        "multifractal.dq_right": measured(curve),
        "multifractal.dq_left_reference": measured(curve),
        "multifractal.dq_left_shuffled": measured(curve),
        "multifractal.d2_left": measured(0.8 - 0.01 * index, interval=(0.7, 0.81)),
        "multifractal.d2_left_reference": measured(0.87),
        "multifractal.d2_left_shuffled": measured(0.82),
    }
    return Layer(name, "linear", (100, 100), held)


def _report(count: int, names: tuple[str, ...] = ()) -> Report:
    made = tuple(_layer(names[index] if names else f"layer.{index}", index) for index in range(count))
    return replace(empty_report(), layer_records=made)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_given_any_number_of_layers_then_each_figure_is_drawn_and_explained(name: str, count: int) -> None:
    figure = _report(count).figures[name]

    meta = figure.layout.meta
    assert 100 < len(meta["caption"]) <= 600
    assert "mislead" in meta["caption"] or name == "d2_by_depth"
    assert meta["n"] > 0
    assert "NaN" not in figure.to_json()
    assert ("are drawn" in meta["left_out"]) == (count > 6 and name != "d2_by_depth")


def test_given_eigenvalues_then_conjugates_are_drawn_and_circles_where_theory_has_them() -> None:
    figure = _report(2).figures["jacobian_spectrum"]

    names = [(trace.name, trace.xaxis) for trace in figure.data]
    assert names == [
        ("eigenvalues", "x"),
        ("unit circle", "x"),
        ("eigenvalues", "x2"),
        ("unit circle", "x2"),
        ("cut-off radius in theory", "x2"),
    ]
    assert figure.layout.meta["n"] == sum(len(trace.x) for trace in figure.data if trace.name == "eigenvalues")
    assert "Dashed" in figure.layout.meta["caption"]
    assert "Dashed" not in _report(1).figures["jacobian_spectrum"].layout.meta["caption"]
    marks = set(zip(figure.data[0].x, figure.data[0].y, strict=True))
    assert marks == set(zip(RE, IM, strict=True)) | {(-0.5, -0.4), (0.1, -0.2)}
    assert {round(math.hypot(x, y), 5) for x, y in zip(figure.data[4].x, figure.data[4].y, strict=True)} == {1.4}
    assert [trace.name for trace in figure.data if trace.showlegend] == [
        "eigenvalues",
        "unit circle",
        "cut-off radius in theory",
    ]
    # One eigenvalue far out stays beyond the picture; its size is in the heading.
    assert figure.layout.xaxis2.range[1] < 3.0
    assert "ρ = 3" in figure.layout.annotations[0].text
    assert figure.layout.yaxis2.scaleanchor == "x2"


@pytest.mark.parametrize(
    ("value", "title"),
    [
        (0.868, "In no layer do modes sit on fewer neurons than Gaussian vectors (D₂ no more than 0.01 below)"),
        (0.5, "Modes sit on the fewest neurons in layer 1: D₂ is 0.370 below Gaussian vectors"),
    ],
)
def test_given_one_layer_then_the_title_names_it_only_where_its_modes_are_localised(value: float, title: str) -> None:
    layer = _layer("dense", 0)
    convolution = Layer("conv", "conv", (8, 8), {"multifractal.d2_left": not_applicable("not a dense layer")})
    dense = replace(layer, measurements=dict(layer.measurements) | {"multifractal.d2_left": measured(value)})

    meta = replace(empty_report(), layer_records=(dense, convolution)).figures["d2_by_depth"].layout.meta

    assert meta["title"] == title
    assert meta["left_out"] == "1 layer is not drawn: 1 not applicable."


def test_given_many_layers_then_six_are_chosen_evenly_with_both_ends() -> None:
    drawn, total = panels(_report(40), "multifractal.orders", "multifractal.dq_left")

    assert total == 40
    assert [panel.place for panel in drawn] == [1, 9, 17, 24, 32, 40]


def test_given_series_of_other_lengths_or_none_then_the_layer_is_no_panel() -> None:
    report = _report(2)
    short = dict(report.layer_records[0].measurements) | {"multifractal.orders": measured((0.0, 1.0))}
    missing = dict(report.layer_records[1].measurements) | {"multifractal.orders": not_applicable("none")}
    changed = tuple(
        replace(layer, measurements=held) for layer, held in zip(report.layer_records, (short, missing), strict=True)
    )

    assert panels(replace(report, layer_records=changed), "multifractal.orders", "multifractal.dq_left") == ([], 0)


def test_given_curves_then_each_name_is_in_the_legend_once() -> None:
    figure = _report(3).figures["multifractal_curves"]

    shown = [trace.name for trace in figure.data if trace.showlegend]
    assert sorted(shown) == sorted(set(shown))
    assert set(shown) == {"left vectors", "left, entries shuffled", "right vectors", "Gaussian vectors"}


def test_given_a_report_without_these_measurements_then_the_figures_are_not_there() -> None:
    assert not set(NAMES) & set(empty_report().figures)


def test_given_hostile_names_then_no_figure_text_is_markup() -> None:
    report = _report(len(HOSTILE), HOSTILE)
    for name in NAMES:
        figure = report.figures[name]
        texts = [note["text"] for note in json.loads(figure.to_json())["layout"].get("annotations", [])]
        texts += [text for trace in figure.data for text in (trace.text or ())]
        assert not any("<" in text.replace("<br>", "") for text in texts)
