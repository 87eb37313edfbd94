"""When is recorded: dense at first, then within the share of time that was promised."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.training.pacing import Clock, Pace, paces


def run(pace: Pace, steps: int, *, step_seconds: float, cost: float) -> tuple[list[int], Clock]:
    """A training whose steps and records take constant times."""
    clock, measured = Clock(), [0]
    pace.done(0, cost)
    following = pace.following(0, clock)
    for step in range(1, steps + 1):
        clock.step(step_seconds)
        if step == following:
            measured.append(step)
            pace.done(step, cost)
        if step >= following - 1:  # as the monitor does: the plan is looked at again just before
            following = pace.following(step, clock)
    return measured, clock


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-4, 1.0), st.floats(1e-3, 300.0), st.sampled_from([0.02, 0.01, 0.003]))
def test_the_time_spent_falls_to_the_share_and_stays_there(step_seconds: float, ratio: float, share: float):
    steps = 4000
    pace = Pace(share=share)
    measured, clock = run(pace, steps, step_seconds=step_seconds, cost=ratio * step_seconds)
    # At any time: the share, what may be spent at first, and the one record that starts it.
    assert pace.spent <= max(share * clock.seconds, 0.05 * clock.seconds + 0.1) + 2 * ratio * step_seconds
    long = 20.0 * (2 * ratio * step_seconds + 0.1) / share
    if clock.seconds > long:  # the beginning is paid back
        assert pace.spent <= share * clock.seconds * 1.01
    assert measured == sorted(set(measured))


def test_cheap_records_begin_with_the_powers_of_two_and_become_as_dense_as_allowed():
    measured, _ = run(Pace(share=0.02), 3000, step_seconds=1e-3, cost=1e-3)
    assert measured[:9] == [0, 1, 2, 4, 8, 16, 32, 64, 128]
    late = [step for step in measured if step > 1000]
    gaps = {second - first for first, second in itertools.pairwise(late)}
    assert gaps <= {50, 51}  # one step's time of work every fifty steps


def test_a_long_training_is_not_recorded_more_often_than_it_changes():
    pace = Pace(share=0.02)
    measured, _ = run(pace, 200_000, step_seconds=1.0, cost=1e-6)
    assert len(measured) < 512 * 10
    assert measured[-1] - measured[-2] >= 200_000 // 512 - 1


def test_a_pause_is_no_training_time():
    clock = Clock()
    for _ in range(100):
        clock.step(0.01)
    clock.step(3600.0)
    assert clock.seconds == pytest.approx(101 * 0.01, rel=0.05)
    assert clock.usual == pytest.approx(0.01)


def test_a_fixed_interval_is_kept_whatever_it_costs():
    measured, _ = run(Pace(every=25), 110, step_seconds=1e-3, cost=10.0)
    assert measured == [0, 1, 25, 50, 75, 100]
    both = paces(10, ("weights", "tails"))
    assert [both[kind].interval(Clock()) for kind in both] == [10, 100]
    assert paces({"tails": 7}, ("weights", "tails"))["weights"].interval(Clock()) is None


def test_slow_measurements_wait_for_their_share_from_the_beginning():
    pace = Pace(share=0.01, early=False)
    measured, clock = run(pace, 20_000, step_seconds=1e-2, cost=0.3)
    assert measured[1] >= 2 * 0.3 / 0.01 / 1e-2 - 100
    assert pace.spent <= 0.01 * clock.seconds + 1e-9
