"""Figures of ensembles read the record only: exponents by width, maps with the lines of theory."""

from __future__ import annotations

import math
from dataclasses import replace

from critaudit.measurement import measured
from critaudit.report import Report
from tests.report.make import empty_report


def mapped(**more: object) -> Report:
    model = {
        "map_sigma_w": (0.9, 1.0, 1.1),
        "map_sigma_b": (0.0, 0.1),
        "map_size": (0.0, 2.0, 900.0, 50.0, 700.0, 1000.0),
        "map_censored": (0.0, 0.0, 0.9, 0.1, 0.7, 1.0),
        "map_strength": (0.0, 0.01, 0.3, 0.2, 0.3, 0.4),
        "map_chi_sigma_w": (0.9, 1.1, 0.9, 1.0, 1.1),
        "map_chi_sigma_b": (0.0, 0.0, 0.1, 0.1, 0.1),
        "map_chi": (0.0, 2.4, 0.5, 1.0, 1.2),
        "map_widom_sigma_w": (1.0, 1.15),
        "map_widom_sigma_b": (0.0, 0.1),
    } | more
    report = empty_report()
    return replace(
        report,
        model={f"avalanche.{name}": measured(values) for name, values in model.items()},
        provenance=replace(report.provenance, settings={"sigma_w": 1.05, "sigma_b": 0.03, "strength": 0.1}),
    )


def test_given_a_map_when_drawn_then_cells_lie_at_their_scales_with_lines_and_the_ensembles_place() -> None:
    report = mapped()
    for name in ("avalanche_map_size", "avalanche_map_strength", "avalanche_map_susceptibility"):
        spec = report.figures.spec(name)
        cells, line, here = spec["data"]
        assert (cells["x"], cells["y"]) == ([0.9, 1.0, 1.1], [0.0, 0.1])
        assert line["name"].startswith("Widom line")
        assert (here["x"], here["y"]) == ([1.05], [0.03])
    sizes = report.figures.spec("avalanche_map_size")["data"][0]
    assert sizes["z"][1][2] == 3.0
    assert "90.0 % censored" in sizes["text"][0][2]
    strengths = report.figures.spec("avalanche_map_strength")["data"][0]
    assert strengths["z"] == [[0.0, 0.01, 0.3], [0.2, 0.3, 0.4]]


def test_given_a_point_without_fixed_point_when_drawn_then_its_cell_is_empty_and_says_why() -> None:
    cells = mapped().figures.spec("avalanche_map_susceptibility")["data"][0]
    assert cells["z"][0][1] is None
    assert cells["text"][0][1] == "no fixed point"
    assert cells["z"][1][1] == 0.0


def test_given_an_ensemble_outside_the_map_when_drawn_then_it_is_not_shown() -> None:
    report = mapped()
    moved = replace(report, provenance=replace(report.provenance, settings={"sigma_w": 3.0, "sigma_b": 0.0}))
    assert len(moved.figures.spec("avalanche_map_size")["data"]) == 2
    assert "that of the report" in moved.figures.spec("avalanche_map_size")["layout"]["meta"]["caption"]


def test_given_exponents_by_width_when_drawn_then_limits_stand_at_zero_and_in_the_title() -> None:
    report = replace(
        empty_report(),
        model={
            "avalanche.width_values": measured((50.0, 100.0, 200.0)),
            "avalanche.width_tau_at": measured((50.0, 200.0)),
            "avalanche.width_tau": measured((1.3, 1.4)),
            "avalanche.width_tau_low": measured((1.2, 1.3)),
            "avalanche.width_tau_high": measured((1.5, 1.6)),
            "avalanche.limit_tau": measured(1.43, interval=(1.3, 1.6)),
        },
    )
    spec = report.figures.spec("avalanche_widths")
    bars, limit = spec["data"]
    assert bars["x"] == [0.02, 0.005]
    assert math.isclose(bars["error_y"]["array"][0], 0.2)
    assert (limit["x"], limit["y"]) == ([0.0], [1.43])
    assert "τ = 1.43" in spec["layout"]["title"]["text"]


def test_given_nothing_of_the_kind_then_there_are_no_such_figures() -> None:
    assert not [name for name in empty_report().figures if name.startswith("avalanche")]
