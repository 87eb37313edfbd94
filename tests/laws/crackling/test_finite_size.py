"""Exponents at several widths extrapolated to infinite width."""

from __future__ import annotations

import numpy as np
import pytest

from critaudit.errors import CritauditError
from critaudit.laws.crackling.finite_size import extrapolate

WIDTHS = np.array([50, 100, 200, 400, 800])


def test_given_values_on_a_line_in_one_over_width_when_extrapolated_then_the_limit_is_exact() -> None:
    found = extrapolate(WIDTHS, 1.5 + 3.0 / WIDTHS, np.array([0.02, 0.01, 0.01, 0.02, 0.01]))
    assert found.limit == pytest.approx(1.5)
    assert found.slope == pytest.approx(3.0)
    assert found.chi_square == pytest.approx(0.0, abs=1e-18)
    assert found.degrees == 3
    assert not found.stretched
    assert found.drifts


def test_given_noise_when_extrapolated_often_then_intervals_cover_and_errors_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    errors = np.full(5, 0.01)
    covered = 0
    for _ in range(400):
        values = 1.5 + 1.0 / WIDTHS + errors * rng.standard_normal(5)
        found = extrapolate(WIDTHS, values, errors)
        covered += found.interval[0] <= 1.5 <= found.interval[1]
    # 95 % of 400, five standard errors.
    assert abs(covered - 382) < 22
    coefficients, covariance = np.polyfit(1 / WIDTHS, values, 1, w=1 / errors, cov="unscaled")
    plain = extrapolate(WIDTHS, values, errors)
    assert plain.limit == pytest.approx(coefficients[1])
    factor = np.sqrt(plain.chi_square / 3) if plain.stretched else 1.0
    assert plain.error == pytest.approx(factor * np.sqrt(covariance[1, 1]))
    assert plain.slope_error == pytest.approx(factor * np.sqrt(covariance[0, 0]))


def test_given_values_off_the_line_when_extrapolated_then_errors_are_stretched() -> None:
    values = np.array([1.5, 1.7, 1.4, 1.6, 1.5])
    found = extrapolate(WIDTHS, values, np.full(5, 0.01))
    assert found.stretched
    assert found.p < 1e-6
    assert found.error > 0.05
    assert not found.drifts


def test_given_two_widths_or_nonsense_when_extrapolated_then_a_line_or_one_clear_sentence() -> None:
    found = extrapolate([100, 400], [1.6, 1.525], [0.01, 0.01])
    assert found.limit == pytest.approx(1.5)
    assert found.p == 1.0
    for widths, values, errors in (
        ([100], [1.5], [0.1]),
        ([100, 100], [1.5, 1.6], [0.1, 0.1]),
        ([100, 200], [1.5], [0.1, 0.1]),
        ([100, 200], [1.5, np.nan], [0.1, 0.1]),
        ([100, 200], [1.5, 1.6], [0.1, 0.0]),
    ):
        with pytest.raises(CritauditError, match="width"):
            extrapolate(widths, values, errors)
