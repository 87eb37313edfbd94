"""Figures of avalanches: what they draw is what was measured, and what is missing is left out."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from critaudit.measurement import Measurement, measured, undetermined
from critaudit.report import Report, html
from tests.report.make import empty_report

NAMES = ["avalanche_distributions", "avalanche_mean_size", "avalanche_collapse", "avalanche_exponents"]


def series(values: object) -> Measurement:
    return measured(tuple(float(value) for value in np.asarray(values, dtype=float).ravel()))


def crackling() -> dict[str, Measurement]:
    """Measurements of an ensemble with exact power laws: τ = 1.5, α = 2, slope 2."""
    rng = np.random.default_rng(0)
    s, d = np.geomspace(1e-6, 1e4, 40), np.geomspace(1.0, 1000.0, 20)
    cloud = rng.multivariate_normal([1.5, 2.0, 2.0], [[4e-4, 3e-4, 0], [3e-4, 9e-4, 0], [0, 0, 1e-4]], 200)
    places, durations = (np.arange(8) + 0.5) / 8, np.array([10.0, 100.0])
    before = durations[:, np.newaxis] * places * (1 - places)
    held = {
        "verdict": measured("classes not excluded", n=1000, reason="agrees"),
        "number": measured(1000),
        "tau": measured(1.5, interval=(1.45, 1.55)),
        "tau_excess": measured(1.5, interval=(1.46, 1.54)),
        "alpha": measured(2.0, interval=(1.9, 2.1)),
        "slope_excess": measured(2.0, interval=(1.95, 2.05)),
        "predicted_slope": measured(2.0),
        "dcc": measured(0.01, interval=(0.0, 0.1)),
        "collapse_exponent": measured(2.0),
        "collapse_error": measured(0.001),
        "size_decades": measured(3.0),
        "excess_decades": measured(3.0),
        "duration_decades": measured(2.0),
        "sizes": series(s),
        "size_density": series(s**-1.5),
        "size_fit": series([1.0, 1.0, 1e3, 1e3**-1.5]),
        "excess_sizes": series(s),
        "excess_density": series([0.0, *s[1:] ** -1.5]),
        "excess_fit": series([1.0, 1.0, 1e3, 1e3**-1.5]),
        "durations": series(d),
        "duration_density": series(d**-2.0),
        "duration_fit": series([5.0, 0.04, 500.0, 4e-6]),
        "mean_durations": series(d),
        "mean_size": series(d**2),
        "mean_size_low": series(0.9 * d**2),
        "mean_size_high": series(1.1 * d**2),
        "mean_size_fit": series([5.0, 25.0, 500.0, 250000.0]),
        "collapse_durations": series(durations),
        "collapse_places": series(places),
        "collapse_before": series(before),
        "collapse_after": series(before / durations[:, np.newaxis]),
        "cloud_tau": series(cloud[:, 0]),
        "cloud_alpha": series(cloud[:, 1]),
        "cloud_slope": series(cloud[:, 2]),
        "class_names": measured(("mean-field directed percolation (branching)", "Brownian <excursion>")),
        "class_tau": series([1.5, 4 / 3]),
        "class_alpha": series([2.0, 1.5]),
        "class_slope": series([2.0, 1.5]),
        "class_distances": series([0.3, 9.0]),
        "null_names": measured(("a linear network",)),
        "null_tau": series([1.29]),
        "null_alpha": series([1.5]),
        "null_slope": series([1.9]),
        "null_distances": series([20.0]),
    }
    return {f"avalanche.{name}": value for name, value in held.items()}


@pytest.fixture(scope="module")
def report() -> Report:
    return replace(empty_report(), model=crackling(), source=replace(empty_report().source, format="simulation"))


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
    line = drawn["durations: α = 2.00 (1.90 – 2.10), 2.00 decades"]

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
    assert "2.00 (1.95 – 2.05)" in meta["title"]
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
        centre = cloud.mean(axis=1, keepdims=True)
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
