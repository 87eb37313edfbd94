"""Figures of avalanches: what they draw is what was measured, and what is missing is left out."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from critaudit.measurement import measured, undetermined
from critaudit.report import Report, html
from tests.report.avalanches import simulated_report

NAMES = ["avalanche_distributions", "avalanche_mean_size", "avalanche_collapse", "avalanche_exponents"]


@pytest.fixture(scope="module")
def report() -> Report:
    return simulated_report()


def traces(report: Report, name: str) -> dict[str, dict]:
    return {trace["name"]: trace for trace in report.figures.spec(name)["data"]}


def test_given_avalanches_when_drawn_then_all_figures_have_titles_captions_and_clean_json(report: Report) -> None:
    assert list(report.figures) == NAMES
    for name in NAMES:
        spec = report.figures.spec(name)
        assert len(spec["layout"]["meta"]["caption"]) > 60
        assert all(trace["name"] for trace in spec["data"])
        json.dumps(spec, allow_nan=False)
        assert report.figures[name].layout.meta["n"] > 0
    page = html.render(report)
    assert "Straight lines on logarithmic paper are cheap" in page
    assert "Brownian &amp;lt;excursion&amp;gt;" in page  # quoted for plotly, and once more for the page


def test_given_fits_when_drawn_then_lines_span_their_range_and_the_legend_has_exponent_and_decades(
    report: Report,
) -> None:
    drawn = traces(report, "avalanche_distributions")
    line = drawn["durations: α = 1.90, corrected 2.00 (1.90 – 2.10), 2.00 decades"]

    assert (line["x"], line["y"]) == ([5.0, 500.0], [0.04, 4e-6])
    assert len(drawn["total sizes, Σ s"]["x"]) == 40
    # A density of zero has no place on a logarithmic axis.
    assert len(drawn["excess sizes, Σ (s − θ)"]["x"]) == 39
    layout = report.figures.spec("avalanche_distributions")["layout"]
    assert layout["meta"]["title"].endswith("classes not excluded")
    low, high = layout["xaxis"]["range"]
    # Two decades before the fitted range are in sight, not six.
    assert -2.8 < low < -1.5
    assert high > 4.0


def test_given_mean_sizes_when_drawn_then_bars_are_the_intervals_and_the_caption_has_the_mismatch(
    report: Report,
) -> None:
    marks = traces(report, "avalanche_mean_size")["mean excess size, 95 % intervals"]

    assert marks["error_y"]["array"] == pytest.approx([0.1 * y for y in marks["y"]], rel=1e-3)
    meta = report.figures.spec("avalanche_mean_size")["layout"]["meta"]
    assert "1.90, corrected 2.00 (1.95 – 2.05)" in meta["title"]
    assert "0.0100 (0 – 0.100)" in meta["caption"]


def test_given_profiles_when_drawn_then_rows_belong_to_their_durations_and_the_rescaled_ones_agree(
    report: Report,
) -> None:
    drawn = report.figures.spec("avalanche_collapse")["data"]

    assert [trace["name"] for trace in drawn] == ["D = 10", "D = 100"] * 2
    assert drawn[1]["y"] == pytest.approx([10.0 * value for value in drawn[0]["y"]])
    assert drawn[3]["y"] == pytest.approx(drawn[2]["y"])
    assert [trace["xaxis"] for trace in drawn] == ["x", "x", "x2", "x2"]


def test_given_a_cloud_when_drawn_then_the_ellipse_holds_95_per_cent_of_it(report: Report) -> None:
    for panel, (across, up) in (("x", ("tau", "alpha")), ("x2", ("alpha", "slope"))):
        (ellipse,) = (
            trace
            for trace in report.figures.spec("avalanche_exponents")["data"]
            if trace["name"] == "95 % ellipse" and trace["xaxis"] == panel
        )
        x, y = (np.array(report.model[f"avalanche.cloud_{name}"].value, dtype=float) for name in (across, up))
        rim = np.array([ellipse["x"], ellipse["y"]])
        cloud = np.stack([x, y])
        covariance = np.cov(cloud, bias=True)
        exponents = {"tau": "tau_excess", "alpha": "alpha", "slope": "slope_excess"}
        centre = np.array(
            [[report.model[f"avalanche.{exponents[name]}_corrected"].number] for name in (across, up)], dtype=float
        )
        radii = np.einsum("ik,ij,jk->k", rim - centre, np.linalg.inv(covariance), rim - centre)
        np.testing.assert_allclose(radii, 5.991, rtol=2e-2)
        inside = np.einsum("ik,ij,jk->k", cloud - centre, np.linalg.inv(covariance), cloud - centre) <= 5.991
        assert 0.9 <= inside.mean() <= 0.99


def test_given_classes_and_nulls_when_drawn_then_those_not_excluded_are_filled_and_all_are_in_sight(
    report: Report,
) -> None:
    spec = report.figures.spec("avalanche_exponents")
    drawn = traces(report, "avalanche_exponents")

    assert drawn["universality classes"]["marker"]["symbol"] == ["diamond", "diamond-open"]
    assert drawn["universality classes"]["text"] == ["1", "2"]
    assert "1 mean-field directed percolation, 2 Brownian" in spec["layout"]["meta"]["caption"]
    assert drawn["null: a linear network"]["x"] == [1.5]  # the lower panel: α across
    low, high = spec["layout"]["xaxis"]["range"]
    assert low < 1.29
    assert high > 1.5
    # The dashed line in the upper panel is α − 1 = slope·(τ − 1).
    relation = next(trace for trace in spec["data"] if trace["name"] == "crackling relation")
    slope = (relation["y"][1] - relation["y"][0]) / (relation["x"][1] - relation["x"][0])
    assert slope == pytest.approx(2.0, abs=0.01)


def test_given_plain_and_corrected_exponents_when_drawn_then_both_are_marked_and_named(report: Report) -> None:
    spec = report.figures.spec("avalanche_exponents")
    marks = [trace for trace in spec["data"] if trace["name"].startswith("exponents, ")]

    assert [(mark["name"], mark["x"], mark["y"], mark["xaxis"]) for mark in marks] == [
        ("exponents, corrected for scaling", [1.5], [2.0], "x"),
        ("exponents, plain fits", [1.42], [1.9], "x"),
        ("exponents, corrected for scaling", [2.0], [2.0], "x2"),
        ("exponents, plain fits", [1.9], [1.9], "x2"),
    ]
    assert [mark["marker"]["symbol"] for mark in marks[:2]] == ["circle", "square-open"]
    assert [mark["showlegend"] for mark in marks] == [True, True, False, False]
    # The ellipse and the relation are those of the corrected exponents.
    upper = {trace["name"]: trace for trace in spec["data"] if trace["xaxis"] == "x"}
    assert np.mean(upper["95 % ellipse"]["x"][:-1]) == pytest.approx(1.5, abs=1e-3)
    (x1, x2), (y1, y2) = upper["crackling relation"]["x"], upper["crackling relation"]["y"]
    assert (y2 - y1) / (x2 - x1) == pytest.approx(2.0)


def test_given_a_report_without_corrected_exponents_when_drawn_then_the_cloud_has_its_own_centre(
    report: Report,
) -> None:
    old = replace(report, model={name: held for name, held in report.model.items() if "corrected" not in name})

    drawn = traces(old, "avalanche_exponents")
    assert "exponents, plain fits" in drawn
    tau, alpha = (np.mean(report.model[f"avalanche.cloud_{name}"].value) for name in ("tau", "alpha"))
    (mark,) = (
        trace
        for trace in old.figures.spec("avalanche_exponents")["data"]
        if trace["name"] == "exponents, corrected for scaling" and trace["xaxis"] == "x"
    )
    assert (mark["x"][0], mark["y"][0]) == pytest.approx((tau, alpha), abs=1e-3)
    assert "1.90 (1.90 – 2.05)" in old.figures.spec("avalanche_mean_size")["layout"]["meta"]["title"]


@pytest.mark.parametrize(
    ("missing", "left"),
    [
        (("cloud_tau",), NAMES[:3]),
        (("collapse_after",), [NAMES[0], NAMES[1], NAMES[3]]),
        (("mean_size", "duration_density"), NAMES[2:]),
    ],
)
def test_given_what_was_not_measured_when_drawn_then_its_figure_is_left_out(
    report: Report, missing: tuple[str, ...], left: list[str]
) -> None:
    gaps = {f"avalanche.{name}": undetermined("no range") for name in missing}

    assert list(replace(report, model={**report.model, **gaps}).figures) == left


def test_given_no_fit_and_no_nulls_when_drawn_then_only_what_there_is_appears(report: Report) -> None:
    gone = ("size_fit", "excess_fit", "duration_fit", "null_names", "null_tau", "null_alpha", "null_slope", "number")
    model = {name: held for name, held in report.model.items() if name.partition(".")[2] not in gone}
    model["avalanche.verdict"] = measured("no power law")
    bare = replace(report, model=model)

    assert "no power law" in bare.figures.spec("avalanche_distributions")["layout"]["meta"]["title"]
    assert len(bare.figures.spec("avalanche_distributions")["data"]) == 3
    assert not [name for name in traces(bare, "avalanche_exponents") if name.startswith("null")]
    assert math.isfinite(bare.figures.spec("avalanche_exponents")["layout"]["xaxis"]["range"][0])
