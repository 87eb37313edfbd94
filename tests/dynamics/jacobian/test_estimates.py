"""Intervals over samples: where they are, how wide, and that probes are not taken for samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from critaudit.dynamics.jacobian.estimates import geometric, mean_square, mean_with_errors, per_block


def test_given_positive_numbers_then_the_interval_is_positive_and_students_in_the_logarithm() -> None:
    samples = [np.array([value]) for value in (1.0, 2.0, 6.0)]
    found = mean_square(samples)
    assert found is not None
    half = stats.t.ppf(0.975, 2) * np.std([1, 2, 6], ddof=1) / math.sqrt(3) / 3.0
    assert found.value == 3.0
    assert found.interval == pytest.approx((3.0 * math.exp(-half), 3.0 * math.exp(half)))
    assert found.n == 3


def test_given_many_gaussian_samples_then_95_percent_of_the_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        found = mean_with_errors(list(rng.normal(2.0, 1.0, (5, 3))))
        assert found is not None
        assert found.interval is not None
        held += found.interval[0] < 2.0 < found.interval[1]
    # 380 ± 4.4; 6 standard deviations are 26
    assert 354 <= held <= 400


def test_given_several_probes_per_sample_then_samples_are_the_units_and_with_one_sample_the_probes() -> None:
    probes = np.array([1.0, 3.0, 2.0, 2.0])
    two = mean_with_errors([probes, probes])
    assert two is not None
    assert two.interval == (2.0, 2.0)
    one = mean_with_errors([probes])
    assert one is not None
    assert one.interval is not None
    assert one.interval[0] < 2.0 < one.interval[1]
    single = mean_with_errors([np.array([2.0])])
    assert single is not None
    assert single.interval is None


def test_given_errors_of_the_samples_own_then_the_interval_is_at_least_that_wide() -> None:
    found = mean_with_errors([np.array([1.0]), np.array([1.0])], errors=[0.3, 0.4])
    assert found is not None
    assert found.interval == pytest.approx((1 - 1.96 * 0.25, 1 + 1.96 * 0.25))


def test_given_nothing_or_no_path_then_there_is_no_estimate() -> None:
    assert mean_square([]) is None
    assert mean_with_errors([np.array([np.nan])]) is None
    assert geometric(np.array([])) is None
    found = per_block([np.array([[1.0, np.nan]]), np.array([[3.0, np.nan]])])
    assert found[0] is not None
    assert found[0].value == 2.0
    assert found[1] is None


def test_given_zeros_then_the_mean_square_is_zero_without_an_interval() -> None:
    found = mean_square([np.zeros(2), np.zeros(2)])
    assert found is not None
    assert (found.value, found.interval) == (0.0, None)


def test_given_logarithms_then_the_geometric_mean_lies_inside_its_interval() -> None:
    found = geometric(np.log([0.5, 1.0, 2.0]))
    assert found is not None
    assert found.value == pytest.approx(1.0)
    assert found.interval is not None
    assert found.interval[0] * found.interval[1] == pytest.approx(1.0)
