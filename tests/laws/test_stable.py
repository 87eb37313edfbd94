"""Stable densities: golden numbers, scipy, closed forms, symmetry, and what must be refused."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import levy_stable

from critaudit.errors import UsageError
from critaudit.laws.stable import stable_cdf, stable_logpdf

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "stable_logpdf_S0.json").read_text(encoding="utf-8"))


def test_given_golden_points_when_evaluated_then_the_promised_tolerances_hold() -> None:
    for point in GOLDEN["points"]:
        tolerance = 2e-6 if point["alpha"] >= 0.9 else 1e-4
        value = stable_logpdf(point["x"], point["alpha"], point["beta"], parametrization="S0")
        assert float(value) == pytest.approx(point["logpdf"], abs=tolerance, rel=1e-12)
        if point["alpha"] != 1:
            x1 = point["x"] + point["beta"] * math.tan(math.pi * point["alpha"] / 2)
            assert float(stable_logpdf(x1, point["alpha"], point["beta"])) == pytest.approx(
                point["logpdf"], abs=tolerance, rel=1e-9
            )


@pytest.mark.parametrize(("alpha", "beta"), [(0.8, 0.2), (1.2, -0.5), (1.5, 0.0), (1.8, 0.9), (1.7, 1.0)])
def test_given_the_bulk_when_evaluated_then_scipy_agrees(alpha: float, beta: float) -> None:
    x = np.array([-2.0, -0.5, 0.3, 1.7, 4.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(stable_logpdf(x, alpha, beta), levy_stable.logpdf(x, alpha, beta), atol=1e-4)
        np.testing.assert_allclose(stable_cdf(x, alpha, beta), levy_stable.cdf(x, alpha, beta), atol=1e-5)


def test_given_many_points_when_accumulated_then_they_agree_with_the_few() -> None:
    x = np.sinh(np.linspace(-15, 15, 90)) * 0.3
    for alpha, beta in ((0.7, 0.3), (1.0, -0.5), (1.6, 0.8), (1.6, 0.95)):
        many = stable_cdf(x, alpha, beta)
        few = np.concatenate([stable_cdf(part, alpha, beta) for part in np.split(x, 2)])
        np.testing.assert_allclose(many, few, rtol=2e-5 if alpha < 0.9 else 2e-6)


def test_given_arrays_of_parameters_when_evaluated_then_they_broadcast() -> None:
    alpha, beta, x = np.array([[0.9], [1.0], [2.0]]), np.array([[0.0], [0.5], [0.0]]), np.linspace(-3, 3, 5)
    for function in (stable_logpdf, stable_cdf):
        values = function(x, alpha, beta)
        assert values.shape == (3, 5)
        for row in range(3):
            np.testing.assert_array_equal(values[row], function(x, float(alpha[row, 0]), float(beta[row, 0])))
    assert stable_logpdf(0.0, 1.5).shape == ()


def test_given_a_one_sided_tail_when_evaluated_then_it_is_exact_where_the_table_is_not() -> None:
    # α = 1/2, β = 1 is Lévy's law, e^{−1/2x} x^{−3/2} / √(2π) for x > 0 in S1.
    x = np.array([-1.0, 0.02, 0.05, 1.0, 1e5])
    with np.errstate(divide="ignore", invalid="ignore"):
        levy = np.where(x > 0, -0.5 * math.log(2 * math.pi) - 1.5 * np.log(np.abs(x)) - 1 / (2 * x), -np.inf)
    np.testing.assert_allclose(stable_logpdf(x, 0.5, 1.0), levy, atol=1e-4)
    light = stable_logpdf(-np.arange(4.0, 12.0), 1.8, 1.0)
    assert np.all(np.diff(light) < -1)
    assert light[-1] < -40


@given(
    st.floats(0.5, 2.0), st.floats(-1, 1), st.floats(-1e6, 1e6), st.sampled_from(["S0", "S1"])
)  # fmt: skip
@settings(max_examples=40, deadline=None, derandomize=True)
def test_given_a_reflection_when_evaluated_then_beta_changes_sign(
    alpha: float, beta: float, x: float, parametrization: str
) -> None:
    left = stable_logpdf(x, alpha, beta, parametrization=parametrization)
    right = stable_logpdf(-x, alpha, -beta, parametrization=parametrization)
    np.testing.assert_allclose(left, right, rtol=1e-7, atol=1e-6)
    total = stable_cdf(x, alpha, beta, parametrization=parametrization) + stable_cdf(
        -x, alpha, -beta, parametrization=parametrization
    )
    assert float(total) == pytest.approx(1, abs=1e-6)


def test_given_an_unknown_parametrization_or_parameter_when_evaluated_then_one_clear_line() -> None:
    with pytest.raises(UsageError, match="use 'S0' or 'S1'"):
        stable_logpdf(0.0, 1.5, parametrization="A")
    with pytest.raises(UsageError, match="outside"):
        stable_cdf(0.0, 2.5)
