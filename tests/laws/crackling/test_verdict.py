"""Verdicts from exponents and errors that are made up, so that each reason is met in turn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from critaudit.laws.crackling.results import ClassDistance, Estimate, PowerLaw, Verdict
from critaudit.laws.crackling.rivals import RivalLaw
from critaudit.laws.crackling.truncated import RangeFit
from critaudit.laws.crackling.verdict import (
    GREATEST_DRIFT,
    SYSTEMATIC_FLOOR,
    class_distances,
    distance_to,
    drift_allowed,
    drift_bound,
    is_power_law,
    judge,
    lognormal_drift,
    too_shallow,
)
from critaudit.theory.avalanche_classes import CLASSES

FIT = RangeFit(1.5, 0.01, 0.01, 1.0, 1000.0, 0, 100, 10_000.0, 0.005, 0.5, 0.1, 0.01, 0.05, 0.5)
LAW = PowerLaw("durations", 20_000.0, FIT, Estimate(1.5, (1.45, 1.55), 1.5, 0.025), (), 3.5, np.zeros((0, 3)), None, "")
SIZE = replace(LAW, quantity="excess sizes")
ERRORS = np.diag(np.square([0.01, 0.02, 0.02]))
HOLDS = Estimate(0.1, (0.0, 0.3), 0.1, 0.1)


def verdict(
    duration: PowerLaw = LAW,
    size: PowerLaw = SIZE,
    *,
    clusters: int = 50,
    classes: tuple[ClassDistance, ...] = class_distances(np.array([1.5, 2.0, 2.0]), ERRORS),
    nulls: tuple[ClassDistance, ...] = (),
    silent: tuple[str, ...] = (),
    mismatch: Estimate | None = HOLDS,
    depth: int = 1000,
) -> Verdict:
    return judge(
        duration, size, clusters=clusters, classes=classes, nulls=nulls, silent_nulls=silent, mismatch=mismatch,
        depth=depth, centre=np.array([1.51, 2.02, 2.04]),
    )  # fmt: skip


def with_range(law: PowerLaw, low: float, high: float, available: float) -> PowerLaw:
    return replace(law, fit=replace(FIT, low=low, high=high), available=available)


@pytest.mark.parametrize("row", CLASSES, ids=lambda row: row.name)
def test_given_the_exponents_of_a_class_when_compared_then_it_is_nearest_and_not_excluded(row) -> None:
    found = class_distances(np.array(row.exponents), ERRORS)
    assert found[0].distance == pytest.approx(0.0, abs=1e-9)
    assert found[0].exponents == row.exponents
    assert found[0].p == pytest.approx(1.0)
    assert [one.distance for one in found] == sorted(one.distance for one in found)


def test_given_a_departure_when_measured_then_it_is_in_units_of_error_and_floor() -> None:
    centre = np.array([1.5 + 3 * SYSTEMATIC_FLOOR[0], 2.0, 2.0])
    found = distance_to("x", (1.5, 2.0, 2.0), centre, np.zeros((3, 3)))
    assert found.distance == pytest.approx(3.0)
    # χ² with three degrees of freedom: P(> 9) = 0.0293.
    assert found.p == pytest.approx(0.0293, abs=1e-4)
    assert found.excluded
    assert not distance_to("x", (1.5, 2.0, 2.0), centre, ERRORS * 4).excluded


def test_given_mean_field_exponents_when_judged_then_the_class_is_named_and_missing_nulls_are_said() -> None:
    found = verdict()
    assert found.kind == "classes"
    assert found.classes == (CLASSES[0].name,)
    assert "No null model was run" in found.text
    assert "crackling relation holds" in found.text


def test_given_nulls_when_they_agree_then_equivalent_and_when_they_differ_or_are_silent_then_told() -> None:
    same = distance_to("a linear network", (1.5, 2.0, 2.0), np.array([1.5, 2.0, 2.0]), ERRORS)
    other = distance_to("phase surrogates", (1.2, 1.4, 2.0), np.array([1.5, 2.0, 2.0]), ERRORS)
    found = verdict(nulls=(same, other))
    assert found.kind == "null_equivalent"
    assert found.nulls == ("a linear network",)
    assert "need no critical point" in found.text
    found = verdict(nulls=(other,), silent=("AR surrogates",))
    assert found.kind == "classes"
    assert "phase surrogates gave other exponents" in found.text
    assert "AR surrogates gave no power law" in found.text


def test_given_exponents_of_no_class_when_judged_then_the_nearest_is_named_with_its_distance() -> None:
    found = verdict(classes=class_distances(np.array([1.9, 2.4, 1.5]), ERRORS))
    assert found.kind == "no_listed_class"
    assert "standard errors away" in found.text


def test_given_random_walk_exponents_when_judged_then_the_caution_is_there() -> None:
    found = verdict(classes=class_distances(np.array([4 / 3, 1.5, 1.5]), ERRORS))
    assert found.kind == "classes"
    assert "random walk's first return" in found.text


def test_given_a_violated_relation_when_judged_then_it_is_told() -> None:
    told = verdict(mismatch=Estimate(0.5, (0.3, 0.7), 0.45, 0.1)).text
    assert "violated (mismatch 0.45, of the plain fits 0.50, at least 0.30)" in told
    assert "could not be tested" in verdict(mismatch=None).text


def test_given_too_few_layers_when_judged_then_depth_is_named_and_no_more_avalanches_are_asked_for() -> None:
    few = replace(LAW, fit=None, available=0.0, reason="29 avalanches are too few for a fit, which needs 500")
    found = verdict(few, replace(few, quantity="excess sizes"), depth=9)
    assert found.kind == "insufficient_range"
    assert found.text.startswith("Too few layers: durations in 9 layers span 0.90 decades at most")
    assert "33 layers" in found.text
    assert "500" not in found.text
    # What was found is told, and so is what is missing where depth allows it.
    assert "follow a power law over 0.78 decades" in verdict(with_range(LAW, 1, 6, 0.9), few, depth=9).text
    assert "500" in verdict(few, few, depth=33).text
    assert (too_shallow(32) != "", too_shallow(33), too_shallow(2) != "") == (True, "", True)


def test_given_exponents_that_are_compared_when_judged_then_the_text_says_which_they_are() -> None:
    same = distance_to("a linear network", (1.5, 2.0, 2.0), np.array([1.5, 2.0, 2.0]), ERRORS)
    nowhere = class_distances(np.array([1.9, 2.4, 1.5]), ERRORS)
    for found in (verdict(), verdict(nulls=(same,)), verdict(classes=nowhere)):
        assert "corrected for scaling, τ = 1.51, α = 2.02, 1/σνz = 2.04, and not those of the plain fits" in found.text
    assert "corrected" not in verdict(clusters=3).text


@pytest.mark.parametrize(
    ("duration", "size", "kind"),
    [
        (with_range(LAW, 1, 20, 1.4), SIZE, "insufficient_range"),
        (with_range(LAW, 1, 20, 3.0), SIZE, "insufficient_range"),
        (with_range(LAW, 1, 6, 3.0), SIZE, "no_power_law"),
        (LAW, replace(SIZE, fit=None, reason="nothing passes", available=3.0), "no_power_law"),
        (LAW, replace(SIZE, fit=None, reason="too few", available=0.5), "insufficient_range"),
        (LAW, replace(SIZE, n=0.0, fit=None), "undetermined"),
    ],
)
def test_given_short_or_missing_ranges_when_judged_then_before_anything_else(
    duration: PowerLaw, size: PowerLaw, kind: str
) -> None:
    assert verdict(duration, size).kind == kind


def test_given_room_to_bend_or_a_better_law_or_few_clusters_when_judged_then_undetermined() -> None:
    loose = replace(LAW, fit=replace(FIT, drift_error=0.4))
    # Relative to the tail exponent, 0.5.
    assert drift_bound(loose) == pytest.approx((0.01 + 1.645 * 0.4) / 0.5, abs=1e-3)
    assert not is_power_law(loose)
    assert verdict(loose).kind == "undetermined"
    assert "lognormal" in verdict(loose).text
    beaten = replace(LAW, rivals=(RivalLaw("lognormal", -9.0, 1e-4, True),))
    assert not is_power_law(beaten)
    assert verdict(beaten).kind == "undetermined"
    # A cut-off within the range is a power law's own.
    cut = replace(LAW, rivals=(RivalLaw("power_law_with_cutoff", -9.0, 1e-4, True),))
    assert is_power_law(cut)
    assert verdict(cut).kind == "classes"
    assert verdict(clusters=4).kind == "undetermined"
    assert verdict(classes=()).kind == "undetermined"
    assert is_power_law(LAW)
    assert drift_bound(replace(LAW, fit=replace(FIT, exponent=1.0))) == math.inf
    assert drift_allowed(replace(LAW, fit=replace(FIT, exponent=1.0))) == 0.0


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
def test_given_a_lognormal_when_its_drift_is_predicted_from_one_exponent_and_the_share_above_then_it_is_its_own(
    sigma: float,
) -> None:
    low, length = 1.2, 3.5
    middle = (low + length / 2 / sigma) / sigma
    fit = replace(FIT, exponent=1 + middle, low=1.0, high=math.exp(length), share=float(ndtr(-low)))
    law = replace(LAW, fit=fit)
    assert lognormal_drift(law) == pytest.approx(length / sigma**2 / middle)
    # Under x → x³ the tail exponent and its change shrink alike.
    cubed = replace(LAW, fit=replace(fit, exponent=1 + middle / 3, high=math.exp(3 * length)))
    assert lognormal_drift(cubed) == pytest.approx(lognormal_drift(law))
    # What drifts as the lognormal does is never claimed, however well it is known.
    known = replace(law, fit=replace(fit, drift=length / sigma**2, drift_error=1e-6))
    assert drift_bound(known) == pytest.approx(lognormal_drift(law), rel=1e-3)
    assert not is_power_law(known)


def test_given_a_range_that_holds_all_values_when_compared_then_no_lognormal_begins_like_that() -> None:
    law = replace(LAW, fit=replace(FIT, share=1.0))
    assert lognormal_drift(law) == math.inf
    assert drift_allowed(law) == GREATEST_DRIFT


def test_given_any_verdict_when_read_then_nothing_is_called_critical() -> None:
    texts = [verdict().text, verdict(clusters=3).text, verdict(with_range(LAW, 1, 6, 3.0)).text]
    for text in texts:
        # "criticality" appears only where its evidence is denied.
        assert "critical" not in text.replace("no evidence of criticality", "")
