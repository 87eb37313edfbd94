"""The first order around the Gaussian against the exact likelihood."""

from __future__ import annotations

import math

import numpy as np
import pytest

from critaudit.laws.near_gaussian import near_gaussian
from critaudit.laws.stable_likelihood import CHI_SQUARE_95, Sample, gaussian_likelihood, log_likelihood, maximise
from critaudit.laws.stable_table import away_from_gaussian, jet


def sample_of(values: np.ndarray) -> tuple[Sample, float, float]:
    points = np.sort(values)
    return Sample(points, np.ones(points.size), float(points.size)), float(points.mean()), float(points.var())


@pytest.mark.parametrize("beta", [-1.0, 0.0, 0.6])
def test_given_the_derivative_by_alpha_when_stepped_then_it_is_that_of_the_density(beta: float) -> None:
    y = np.linspace(-6, 6, 41)
    even, odd = away_from_gaussian(y)
    step = 1e-7
    difference = (jet(y, 2 - 2 * step, beta).value - jet(y, 2 - step, beta).value) / step
    assert difference == pytest.approx(even + beta * odd, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_given_gaussian_numbers_when_bounded_then_the_profile_has_fallen_by_about_as_much(seed: int) -> None:
    sample, mean, variance = sample_of(np.random.default_rng(seed).standard_normal(20_000))
    theta = near_gaussian(sample, mean, variance).bound()
    _, there = maximise(sample, theta, fixed_alpha=True)
    fallen = gaussian_likelihood(sample.total, variance) - there.value
    assert fallen == pytest.approx(CHI_SQUARE_95 / 2, rel=0.3)


def test_given_slightly_heavy_numbers_when_started_from_the_peak_then_the_climb_is_short() -> None:
    rng = np.random.default_rng(3)
    sample, mean, variance = sample_of(np.append(rng.standard_normal(20_000), [5.5, -5.8]))
    start = near_gaussian(sample, mean, variance).peak()
    best, slope = maximise(sample, start)
    assert log_likelihood(sample, start) > gaussian_likelihood(sample.total, variance)
    assert slope.value - log_likelihood(sample, start) < 1.0
    assert abs(best[0] - start[0]) < 1.5


def test_given_an_outlier_or_a_uniform_when_asked_then_answers_are_finite() -> None:
    for values in (np.append(np.random.default_rng(4).standard_normal(500), 1e6), np.linspace(-1, 1, 300)):
        found = near_gaussian(*sample_of(values))
        for theta in (found.peak(), found.bound()):
            assert np.all(np.isfinite(theta))
            assert theta[0] <= math.log(0.5)
