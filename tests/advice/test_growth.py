"""The growth of J²: known answers with every kind of noise, transients, refusals, and how units change it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.advice.decaying.growth import Growth, fit_growth
from critaudit.errors import UsageError
from tests.advice.courses import noise, solution

PROPERTY = settings(deadline=None, max_examples=20, derandomize=True)
G = 0.004


def slope_of(found: Growth) -> float:
    assert found.status == "measured", found.reason
    assert found.slope is not None
    return found.slope


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.3, 5.0])
@pytest.mark.parametrize("n", [4, 5, 9, 40, 900])
def test_without_noise_the_growth_is_exact(n: int, rate: float) -> None:
    times = np.linspace(3.0, 40.0, n)
    found = fit_growth(times, solution(times, G, rate, 0.25), decay_rate=rate)
    assert slope_of(found) == pytest.approx(G, rel=1e-6)
    assert found.trend == pytest.approx(0.0, abs=1e-4)


def test_without_decay_the_intercept_is_zhang21s_c() -> None:
    times = np.arange(2.0, 14.0)
    found = fit_growth(times, 0.25 + G * times)
    assert found.intercept == pytest.approx(0.25, rel=1e-9)


def test_times_need_not_be_even_and_rates_may_change() -> None:
    times = np.array([0.0, 1.0, 1.5, 4.0, 9.0, 9.1, 20.0, 31.0])
    rates = np.where(times < 9.05, 0.02, 0.3)
    # Between two records the rate is the mean of theirs.
    values = [0.25]
    for place in range(1, len(times)):
        span = times[place] - times[place - 1]
        rate = 0.5 * (rates[place] + rates[place - 1])
        values.append(float(solution(np.array([span]), G, rate, values[-1])[0]))
    assert slope_of(fit_growth(times, values, decay_rate=rates)) == pytest.approx(G, rel=1e-6)


@pytest.mark.parametrize("kind", ["white", "walk", "correlated"])
@pytest.mark.parametrize(
    ("n", "rate", "transient", "size"),
    [
        (5, 0.0, 0.0, 0.05),
        (9, 0.0, 1.0, 0.03),
        (13, 0.0, 0.0, 0.1),
        (13, 0.06, 0.0, 0.1),
        (13, 0.5, 1.0, 0.05),
        (40, 0.0, 1.0, 0.1),
    ],
)
def test_the_interval_holds_the_truth_in_nine_of_ten_cases(
    kind: str, n: int, rate: float, transient: float, size: float
) -> None:
    rng = np.random.default_rng(20260301)
    times = np.arange(float(n))
    truth = solution(times, G, rate, 0.25, transient=transient)
    held = seen = 0
    for _ in range(100):
        found = fit_growth(times, truth + noise(rng, kind, n, size * G, rate=rate), decay_rate=rate)
        if found.interval is not None:
            seen += 1
            held += found.interval[0] <= G <= found.interval[1]
    assert seen >= 75
    assert held >= 0.9 * seen


def test_more_records_tell_more() -> None:
    rng = np.random.default_rng(5)
    widths = []
    for n in (6, 20, 80):
        times = np.arange(float(n))
        found = fit_growth(times, 0.25 + G * times + noise(rng, "walk", n, 0.05 * G))
        assert found.interval is not None
        widths.append(found.interval[1] - found.interval[0])
    assert widths[0] > 2 * widths[1] > 3 * widths[2]


def test_a_transient_is_dropped_and_a_steady_start_is_used() -> None:
    times = np.arange(13.0)
    late = fit_growth(times, solution(times, G, 0.0, 0.25, transient=1.0))
    assert slope_of(late) == pytest.approx(G, rel=0.03)
    assert late.window is not None
    assert late.window[0] >= 3.0
    rng = np.random.default_rng(2)
    steady = [
        fit_growth(times, 0.25 + G * times + noise(rng, "white", 13, 0.2 * G)).window or (99.0, 0.0) for _ in range(20)
    ]
    assert np.median([start for start, _ in steady]) <= 1.0


def test_growth_that_changes_is_that_of_the_end_and_says_how_far_it_moved() -> None:
    times = np.arange(20.0)
    values = 0.25 + G * (0.5 * times + 0.25 * times**2 / 19.0)  # from 0.5·G to G
    found = fit_growth(times, values)
    assert slope_of(found) == pytest.approx(G, rel=0.01)
    assert found.trend is not None
    assert found.trend > 0.1
    assert found.systematic is not None
    assert found.statistical is not None
    assert found.systematic > found.statistical


@pytest.mark.parametrize("n", [0, 1, 3])
def test_fewer_than_four_values_are_refused(n: int) -> None:
    found = fit_growth(np.arange(float(n)), 0.25 + G * np.arange(float(n)))
    assert found.status == "undetermined"
    assert "too few" in (found.reason or "")
    assert found.slope is None
    assert found.interval is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (0.25 + np.zeros(12), "does not change"),
        (0.5 - G * np.arange(12.0), "falls"),
        (0.25 + G * np.tile([0.0, 3.0], 6), "not determined|does not grow|known only"),
        (0.25 + G * np.expm1(np.arange(5.0)), "known only"),
        (0.25 + G * (1.0 - np.exp(-np.arange(5.0))), "known only|does not grow"),
    ],
)
def test_what_does_not_determine_a_slope_is_refused_with_the_reason(values: np.ndarray, words: str) -> None:
    found = fit_growth(np.arange(float(len(values))), values)
    assert found.status == "undetermined"
    assert any(word in (found.reason or "") for word in words.split("|")), found.reason
    assert "\n" not in (found.reason or "")


@pytest.mark.parametrize(
    ("times", "values", "rate", "words"),
    [
        ([0, 1, 1, 2], [1, 2, 3, 4], None, "ascend"),
        ([0, 1, 2], [1, 2, 3, 4], None, "3 times and 4 values"),
        ([0, 1, 2, 3], [1, 2, math.nan, 4], None, "finite"),
        ([0, 1, 2, 3], [1, 2, 3, 4], -0.1, "below 0"),
        ([0, 1, 2, 3], [1, 2, 3, 4], [0.1, 0.2], "2 decay rates"),
    ],
)
def test_contradictions_are_usage_errors(times: list[float], values: list[float], rate: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        fit_growth(times, values, decay_rate=rate)  # type: ignore[arg-type]


@given(
    stretch=st.floats(1e-4, 1e6),
    height=st.floats(1e-3, 1e3),
    shift=st.floats(-1e3, 1e3),
    rate=st.sampled_from([0.0, 0.05]),
)
@PROPERTY
def test_units_of_time_and_of_j_squared_only_change_the_units_of_the_answer(
    stretch: float, height: float, shift: float, rate: float
) -> None:
    rng = np.random.default_rng(7)
    times = np.arange(13.0)
    values = solution(times, G, rate, 0.25, transient=0.5) + noise(rng, "walk", 13, 0.05 * G)
    plain = fit_growth(times, values, decay_rate=rate)
    moved = fit_growth(stretch * (times + shift), height * values, decay_rate=rate / stretch)
    assert slope_of(moved) == pytest.approx(slope_of(plain) * height / stretch, rel=1e-5)
    assert moved.interval == pytest.approx([end * height / stretch for end in plain.interval or ()], rel=1e-3)
