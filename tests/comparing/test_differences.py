"""Distances of weights against plain NumPy, and differences of measurements with honest intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.comparing.differences import difference, weight_distance, wording_change
from critaudit.measurement import measured, undetermined


@settings(deadline=None, max_examples=25, derandomize=True)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 7), st.integers(0, 10**6))
def test_distance_agrees_with_numpy(groups: int, rows: int, columns: int, seed: int):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, groups, rows, columns))
    found = weight_distance(a, b)
    assert found.relative == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a), rel=1e-12)
    assert found.cosine == pytest.approx(np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-12)
    ranks = [np.linalg.norm(d) ** 2 / np.linalg.norm(d, 2) ** 2 for d in b - a]
    assert found.step_stable_rank == pytest.approx(max(ranks), rel=1e-9)
    assert found.changed == 1.0


def test_a_change_of_one_entry_is_one_direction():
    a = np.random.default_rng(1).standard_normal((1, 6, 5)).astype(np.float32)
    b = a.copy()
    b[0, 2, 3] += 0.5
    found = weight_distance(a, b)
    assert found.changed == pytest.approx(1 / 30)
    assert found.step_stable_rank == pytest.approx(1.0, rel=1e-6)
    assert found.largest == pytest.approx(0.5, rel=1e-6)


def test_identical_and_zero_matrices_make_up_no_number():
    a = np.ones((1, 3, 3))
    same = weight_distance(a, a)
    assert (same.relative, same.changed, same.step_stable_rank) == (0.0, 0.0, None)
    assert same.cosine == pytest.approx(1.0)
    zero = weight_distance(np.zeros((1, 3, 3)), a)
    assert zero.relative is None
    assert zero.cosine is None


def test_slices_do_not_change_the_distance(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, 2, 50, 8))
    whole = weight_distance(a, b)
    monkeypatch.setattr("critaudit.comparing.differences._ROWS_AT_ONCE", 24)
    assert weight_distance(a, b).relative == pytest.approx(whole.relative, rel=1e-12)


def test_unequal_shapes_have_no_distance():
    with pytest.raises(ValueError, match="no distance"):
        weight_distance(np.zeros((1, 2, 3)), np.zeros((1, 3, 2)))


def test_the_interval_of_a_difference_is_that_of_two_independent_normal_estimates():
    found = difference(measured(1.0, interval=(0.7, 1.3)), measured(2.0, interval=(1.6, 2.4)))
    assert found.value == 1.0
    assert found.interval == pytest.approx((1.0 - 0.5, 1.0 + 0.5))


def test_the_interval_of_a_difference_keeps_to_its_sides():
    found = difference(measured(2.0, interval=(1.9, 2.0)), measured(1.8, interval=(1.7, 1.9)))
    assert found.interval is not None
    low, high = found.interval
    assert low == pytest.approx(-0.2 - math.hypot(0.0, 0.1))
    assert high == pytest.approx(-0.2 + math.hypot(0.1, 0.1))


def test_a_side_without_a_number_is_named_with_its_reason():
    found = difference(measured(1.0), undetermined("no sample was finite"))
    assert found.status == "undetermined"
    assert found.reason == "in B: no sample was finite"


def test_words_that_stay_are_not_said_to_change():
    assert wording_change(measured("ordered"), measured("ordered")).value == "ordered"
    assert wording_change(measured("ordered"), measured("chaotic")).value == "ordered → chaotic"
