"""Estimated exponents become measurements under their names, with ranges, laws, lines and null models."""

from __future__ import annotations

import math

import numpy as np
import pytest

from critaudit.analyzers.crackling import VERDICTS, both, exponent, findings, measurements
from critaudit.dynamics.avalanches import simulate
from critaudit.laws.crackling.estimation import estimate
from critaudit.laws.crackling.results import Crackling, Estimate
from critaudit.laws.crackling.tally import from_avalanches
from critaudit.report.measures import describe


def random_walks(seed: int, name: str) -> Crackling:
    counts = simulate(
        width=100, depth=300, sigma_w=math.exp(0.005), activation="identity", strength=1.0, networks=20,
        inputs_per_network=1500, seed=seed, workers=1,
    ).counts  # fmt: skip
    return estimate(counts, rng=np.random.default_rng(0), name=name, checked=False)


@pytest.fixture(scope="module")
def null() -> Crackling:
    return random_walks(1, "a linear network")


def test_given_random_walks_when_reported_then_every_number_has_its_name_and_lies_where_it_should(
    null: Crackling,
) -> None:
    counts = simulate(
        width=100, depth=300, sigma_w=math.exp(0.005), activation="identity", strength=1.0, networks=20,
        inputs_per_network=1500, seed=2, workers=1,
    ).counts  # fmt: skip
    found = estimate(counts, rng=np.random.default_rng(0), nulls=[null], checked=False)
    held = measurements(found, depth=300, nulls=[null])
    assert all(name.startswith("avalanche.") for name in held)
    assert held["avalanche.paths"].value == 30_000
    assert held["avalanche.depth"].value == 300
    shares = [held[f"avalanche.{name}_share"].number for name in ("none", "censored")]
    assert sum(shares) * 30_000 + held["avalanche.number"].number == pytest.approx(30_000)
    assert held["avalanche.alpha"].number == pytest.approx(1.5, abs=0.25)
    for stem, places in (("size", "sizes"), ("excess", "excess_sizes"), ("duration", "durations")):
        x, density = (np.array(held[f"avalanche.{name}"].value) for name in (places, f"{stem}_density"))
        assert x.size == density.size
        low, high = held[f"avalanche.{stem}_range"].value
        x1, y1, x2, y2 = held[f"avalanche.{stem}_fit"].value
        assert (x1, x2) == pytest.approx((low, high), rel=1e-5)
        # The line goes through the points and has the exponent's slope.
        inside = (x >= low) & (x <= high)
        line = np.exp(np.interp(np.log(x[inside]), np.log([x1, x2]), np.log([y1, y2])))
        assert np.median(np.abs(np.log(density[inside] / line))) < 0.1
        name = {"size": "tau", "excess": "tau_excess", "duration": "alpha"}[stem]
        assert math.log(y1 / y2) / math.log(x2 / x1) == pytest.approx(held[f"avalanche.{name}"].number, rel=1e-3)
    assert held["avalanche.null_names"].value == ("a linear network",)
    assert len(held["avalanche.class_names"].value) == len(held["avalanche.class_distances"].value)
    rows = len(held["avalanche.collapse_durations"].value)
    columns = len(held["avalanche.collapse_places"].value)
    assert len(held["avalanche.collapse_after"].value) == rows * columns
    assert held["avalanche.verdict"].value in VERDICTS.values()
    assert all(describe(name).label != name for name in held)


def test_given_too_few_avalanches_when_reported_then_exponents_are_undetermined_with_a_reason() -> None:
    counts = from_avalanches([0, 1, 2, 1], [0, 1.0, 2.0, 1.5], [0, 0.5, 1.0, 0.2], [0, 0, 1, 1], depth=10)
    held = measurements(estimate(counts, rng=np.random.default_rng(0)), depth=10, prefix="avalanche.n1.")
    for name in ("tau", "alpha", "slope", "dcc", "collapse_exponent", "branching_ratio"):
        assert held[f"avalanche.n1.{name}"].status == "undetermined"
        assert held[f"avalanche.n1.{name}"].reason
    for name in ("tau", "tau_excess", "alpha"):
        assert str(held[f"avalanche.n1.{name}"].reason).startswith("durations in 10 layers span")
        assert "3 avalanches are too few" in str(held[f"avalanche.n1.{name}"].reason)
    assert held["avalanche.n1.number"].value == 3
    assert "avalanche.n1.size_fit" not in held


def test_given_silent_nulls_when_reported_then_the_report_says_that_they_were_run() -> None:
    counts = from_avalanches([1, 2], [1.0, 2.0], [0.5, 1.0], depth=10)
    silent = estimate(counts, rng=np.random.default_rng(0), name="noise")
    held = measurements(estimate(counts, rng=np.random.default_rng(0), nulls=[silent]), depth=10, nulls=[silent])
    assert held["avalanche.null_names"].status == "undetermined"
    assert "noise" in str(held["avalanche.null_names"].reason)


def test_given_an_estimate_when_measured_then_interval_and_reason_are_kept() -> None:
    held = exponent(Estimate(1.5, (1.4, 1.6), 1.51, 0.03), "", n=99.6, method="m")
    assert (held.number, held.interval, held.n, held.reason) == (1.5, (1.4, 1.6), 100, None)
    assert exponent(Estimate(1.5, None, None, None, "few"), "", n=1, method="m").reason == "few"
    assert exponent(None, "why", n=1, method="m").status == "undetermined"


def test_given_an_estimate_when_measured_then_plain_and_corrected_values_have_their_own_names_and_intervals() -> None:
    held = both("tau", Estimate(1.28, (1.28, 1.34), 1.31, 0.015, unstretched=(1.285, 1.34)), "", n=9, method="m")
    assert (held["tau"].number, held["tau"].interval) == (1.28, (1.28, 1.34))
    assert "corrected for scaling: 1.31, which the interval is about" in str(held["tau"].method)
    assert (held["tau_corrected"].number, held["tau_corrected"].interval) == (1.31, (1.285, 1.34))
    assert list(both("tau", Estimate(1.5, None, None, None, "few"), "", n=1, method="m")) == ["tau"]
    assert list(both("tau", None, "why", n=1, method="m")) == ["tau"]


def test_given_random_walks_when_reported_then_corrected_exponents_are_those_that_are_compared(
    null: Crackling,
) -> None:
    held = measurements(null, depth=300)
    names = ("tau_excess", "alpha", "slope_excess")
    centre = [held[f"avalanche.{name}_corrected"].number for name in names]
    assert centre == pytest.approx(list(null.excess.centre))  # type: ignore[arg-type]
    for name in (*names, "tau", "slope", "dcc"):
        corrected, plain = held[f"avalanche.{name}_corrected"], held[f"avalanche.{name}"]
        for one in (corrected, plain):
            assert one.interval is not None
            assert one.interval[0] <= one.number <= one.interval[1]
        low, high = plain.interval  # type: ignore[misc]
        below, above = corrected.interval  # type: ignore[misc]
        assert low == min(below, plain.number)
        assert high == max(above, plain.number)
        assert "corrected" in describe(f"avalanche.{name}_corrected").label
        assert "plain fit" in describe(f"avalanche.{name}").label
    predicted = held["avalanche.predicted_slope_corrected"].number
    assert predicted == pytest.approx((centre[1] - 1) / (centre[0] - 1))
    assert held["avalanche.dcc_corrected"].number == pytest.approx(abs(predicted - centre[2]))


def test_given_measurements_when_found_then_one_finding_with_evidence_that_exists(null: Crackling) -> None:
    held = measurements(null, depth=300)
    (finding,) = findings(held, null.verdict.text)
    assert finding.text == null.verdict.text
    assert "avalanche.verdict" in finding.evidence
    assert all(held[name].status == "measured" for name in finding.evidence)
    assert not list(findings({}, "nothing"))
