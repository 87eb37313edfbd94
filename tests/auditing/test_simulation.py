"""Avalanches of random networks as a report: the plan, null models, several widths, a map."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from critaudit.analyzers.crackling import series
from critaudit.auditing import ensembles, simulation
from critaudit.auditing.ensembles import Plan
from critaudit.auditing.simulation import avalanche_report
from critaudit.errors import CritauditError, UsageError
from critaudit.laws.crackling.results import Estimate
from critaudit.measurement import Measurement
from critaudit.report import Report
from critaudit.theory import gaussian, levy

SMALL = Plan(width=40, depth=60, networks=12, inputs=250, workers=1)


@pytest.fixture(scope="module")
def report() -> Report:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensembles, "_MAP_WEIGHTS", (0.9, 1.2, 4))
        patch.setattr(ensembles, "_MAP_BIASES", (0.0, 0.1, 3))
        patch.setattr(ensembles, "_MAP_PATHS", 50)
        patch.setattr(ensembles, "_LEAST_DECADES", 0.3)
        return avalanche_report(SMALL, widths=[60], mapped=True)


def test_given_a_plan_when_reported_then_the_record_is_a_simulation_with_verdict_nulls_and_settings(
    report: Report,
) -> None:
    assert (report.source.format, report.has_model) == ("simulation", False)
    assert "N = 40" in report.source.name
    assert report.model["avalanche.paths"].value == 3000
    said = report.model["avalanche.summary"].value
    assert any("Verdict" in sentence for sentence in said)
    assert any("a linear network" in sentence and "surrogate" in sentence for sentence in said)
    assert {finding.rule for finding in report.findings} == {"avalanche.verdict"}
    assert report.provenance.settings["widths"] == [40, 60]
    assert report.provenance.settings["ensemble"] == "fresh"
    assert all(word not in sentence for sentence in said for word in ("critical.", "is critical"))


def test_given_the_report_when_written_then_json_and_page_hold_it(report: Report) -> None:
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert Report.from_dict(document).to_dict() == report.to_dict()
    for name in ("avalanche_widths", "avalanche_map_size", "avalanche_map_strength", "avalanche_map_susceptibility"):
        assert name in report.figures
        assert report.figures[name].layout.meta["caption"]


def test_given_several_widths_when_extrapolated_then_series_and_limits_are_there(report: Report) -> None:
    assert report.model["avalanche.width_values"].value == (40.0, 60.0)
    for name in ("tau", "alpha", "slope"):
        limit = report.model[f"avalanche.limit_{name}"]
        if limit.status == "measured":
            assert limit.interval[0] < limit.number < limit.interval[1]
            assert len(report.model[f"avalanche.width_{name}"].value) == limit.n
            assert "from two widths (40 and 60)" in str(limit.reason)
        else:
            assert limit.reason


def test_given_widths_when_extrapolated_then_the_main_one_is_among_them_and_three_are_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[int]] = []

    def exponents(plan: Plan, widths: list[int], *_: object) -> dict[str, Measurement]:
        asked.append(list(widths))
        held = {width: Estimate(1.5, (1.4, 1.6), 1.5 - 1.0 / width, 0.01, unstretched=(1.4, 1.6)) for width in widths}
        return ensembles._one_exponent("tau", held) | {"avalanche.width_values": series(widths)}

    monkeypatch.setattr(simulation, "over_widths", exponents)
    few = replace(SMALL, inputs=10, depth=10)
    three = avalanche_report(few, widths=[20, 10, 20])
    two = avalanche_report(few, widths=[20])

    assert asked == [[10, 20, 40], [20, 40]]
    assert three.provenance.settings["widths"] == [10, 20, 40]
    assert (three.model["avalanche.limit_tau"].n, three.model["avalanche.limit_tau"].reason) == (3, None)
    assert "not checked by a third" in str(two.model["avalanche.limit_tau"].reason)
    for report in (three, two):
        assert report.model["avalanche.limit_tau"].number == pytest.approx(1.5)
        title = report.figures.spec("avalanche_widths")["layout"]["title"]["text"]
        assert ("unchecked" in title) == (report is two)


def test_given_bent_curves_when_extrapolated_then_there_is_no_limit_and_no_figure() -> None:
    report = avalanche_report(replace(SMALL, inputs=100, sigma_w=0.8), widths=[40, 50])
    for name in ("tau", "alpha", "slope"):
        assert report.model[f"avalanche.limit_{name}"].status == "undetermined"
        assert "decade" in str(report.model[f"avalanche.limit_{name}"].reason)
    assert "avalanche_widths" not in report.figures


def test_given_a_map_when_reported_then_rows_are_biases_and_lines_are_those_of_theory(report: Report) -> None:
    weights, biases = (report.model[f"avalanche.map_sigma_{name}"].value for name in "wb")
    assert (len(weights), len(biases)) == (4, 3)
    sizes = report.model["avalanche.map_size"].value
    assert len(sizes) == 12
    assert sizes[3] > sizes[0]
    at = dict(zip(biases, report.model["avalanche.map_widom_sigma_w"].value, strict=True))
    assert at[0.1] == pytest.approx(gaussian.widom_line(0.1), rel=1e-5)


@pytest.mark.parametrize(("sigma_w", "share"), [(1e-3, "100 % have no avalanche"), (1e3, "100 % are above threshold")])
def test_given_no_avalanche_that_ends_when_reported_then_nothing_is_said_of_others(sigma_w: float, share: str) -> None:
    report = avalanche_report(replace(SMALL, networks=1, inputs=1, sigma_w=sigma_w))
    first = report.model["avalanche.summary"].value[0]  # type: ignore[index]
    assert first.startswith("1 input with weights of its own")
    assert share in first
    assert "others" not in first
    assert first.endswith("none has an avalanche that ends.")


def test_given_no_scale_when_planned_then_it_is_the_edge_at_this_width() -> None:
    assert Plan(width=100, strength=1e-4).scale == pytest.approx(math.exp(0.005), rel=1e-6)
    # κ = 6 for relu
    assert Plan(width=100, activation="relu").scale == pytest.approx(math.sqrt(2.0) * math.exp(5 / 400), rel=1e-9)
    assert Plan(sigma_b=0.2).scale == gaussian.edge_of_chaos(0.2)
    assert Plan(alpha=1.5).scale == levy.ordered_line(1.5)
    assert Plan(sigma_w=1.3, alpha=1.5).scale == 1.3


def test_given_the_default_scale_when_another_width_is_run_then_it_has_its_own_edge() -> None:
    plan = replace(SMALL, networks=1, inputs=10)
    assert plan.run(width=80).sigma_w == pytest.approx(replace(plan, width=80).scale)
    assert replace(plan, sigma_w=1.1).run(width=80).sigma_w == 1.1


def test_given_a_seed_when_reported_twice_with_other_workers_then_measurements_are_the_same() -> None:
    plan = replace(SMALL, inputs=100, depth=30, ensemble="quenched", sigma_w=1.1)
    one, two = avalanche_report(plan), avalanche_report(replace(plan, workers=2))
    assert one.model == two.model
    assert one.findings == two.findings


def test_given_place_in_theory_when_it_does_not_exist_then_a_reason_stands_there() -> None:
    relu = ensembles.place_in_theory(Plan(activation="relu", sigma_w=1.5, sigma_b=0.1))
    assert {held.status for held in relu.values()} == {"not_applicable"}
    assert all(held.reason for held in relu.values())
    stable = ensembles.place_in_theory(Plan(alpha=1.5))
    assert stable["avalanche.susceptibility"].status == "not_applicable"
    tanh = ensembles.place_in_theory(Plan(sigma_w=1.2, sigma_b=0.1))
    assert tanh["avalanche.fixed_strength"].number == gaussian.fixed_point(1.2, 0.1).strength


@pytest.mark.parametrize(
    ("plan", "more", "word"),
    [
        (SMALL, {"widths": [40]}, "1 width would .* 2 to"),
        (SMALL, {"widths": list(range(30, 60))}, "2 to"),
        (replace(SMALL, alpha=1.5), {"mapped": True}, "Gaussian"),
        (replace(SMALL, alpha=1.5, activation="relu"), {}, "unbounded"),
        (replace(SMALL, activation="nothing"), {}, "not known"),
        (replace(SMALL, activation="relu", sigma_b=0.1), {}, "edge of chaos"),
        (replace(SMALL, strength=-1.0), {}, "strength"),
    ],
)
def test_given_a_plan_that_makes_no_sense_when_reported_then_one_line_says_why(
    plan: Plan, more: dict, word: str
) -> None:
    with pytest.raises(CritauditError, match=word) as error:
        avalanche_report(plan, **more)
    assert "\n" not in str(error.value)
    assert issubclass(UsageError, CritauditError)
