"""Stable fits: recovery, invariances, boundaries, narrow types, and what must be refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.errors import CritauditError
from critaudit.laws.binning import bin_values
from critaudit.laws.stable import stable_logpdf
from critaudit.laws.stable_fit import StableFit, fit_stable, gaussian_likelihood_ratio
from critaudit.laws.stable_likelihood import Sample, maximise, score, slope
from critaudit.laws.stable_table import centre


def draw(rng: np.random.Generator, alpha: float, beta: float, n: int) -> np.ndarray:
    """Standard S1 numbers, α ≠ 1 (Chambers, Mallows & Stuck 1976)."""
    angle, waiting = rng.uniform(-math.pi / 2, math.pi / 2, n), rng.exponential(size=n)
    skew = beta * math.tan(math.pi * alpha / 2)
    turned = alpha * angle + math.atan(skew)
    left = (1 + skew**2) ** (1 / (2 * alpha)) * np.sin(turned) / np.cos(angle) ** (1 / alpha)
    return left * (np.cos(angle - turned) / waiting) ** ((1 - alpha) / alpha)


def unbinned_alpha(values: np.ndarray, fit: StableFit) -> float:
    """α at the maximum of the likelihood of the values themselves."""
    bins = bin_values(values)
    points = (np.sort(values.astype(np.float64)) - bins.middle) / bins.scale
    beta = fit.beta or 0.0
    sigma = fit.sigma / bins.scale
    location = (fit.mu_s0 - bins.middle) / bins.scale - sigma * beta * centre(fit.alpha)[0]
    start = np.array([math.log(2 - fit.alpha), beta, location, math.log(sigma)])
    theta, _ = maximise(Sample(points, np.ones(points.size), float(points.size)), start, tolerance=1e-10)
    return 2 - math.exp(theta[0])


@pytest.mark.parametrize(
    ("alpha", "beta"), [(0.6, 0.3), (0.85, -0.6), (0.999, 0.4), (1.2, 0.0), (1.5, 0.8), (1.8, -0.3), (1.95, 0.0)]
)
def test_given_stable_numbers_when_fitted_then_every_parameter_is_within_five_errors(alpha: float, beta: float) -> None:
    sigma, mu = 0.02, -0.3
    values = sigma * draw(np.random.default_rng(17), alpha, beta, 60_000) + mu
    fit = fit_stable(values.astype(np.float64))
    assert not fit.boundary
    assert fit.beta is not None
    assert fit.beta_se is not None
    assert fit.alpha_se is not None
    assert fit.sigma_se is not None
    assert fit.mu_s0_se is not None
    assert fit.mu_se is not None
    assert abs(fit.alpha - alpha) < 5 * fit.alpha_se < 0.1
    assert abs(fit.beta - beta) < 5 * fit.beta_se < 1.0
    assert abs(fit.sigma - sigma) < 5 * fit.sigma_se < 0.1 * sigma
    mu_s0 = mu + sigma * beta * math.tan(math.pi * alpha / 2)
    assert abs(fit.mu_s0 - mu_s0) < 5 * fit.mu_s0_se < 0.1 * sigma
    assert abs(fit.mu - mu) < 5 * fit.mu_se
    low, high = fit.alpha_interval
    assert low < fit.alpha < high
    assert high - low == pytest.approx(2 * 1.96 * fit.alpha_se, rel=0.1)
    assert fit.loglik > fit.gaussian_loglik
    logpdf = stable_logpdf((values - fit.mu_s0) / fit.sigma, fit.alpha, fit.beta, parametrization="S0")
    assert fit.loglik == pytest.approx(float(np.sum(logpdf)) - values.size * math.log(fit.sigma), rel=2e-6)


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [("t3", 1.61, 0.025), ("t5", 1.79, 0.025), ("laplace", 1.61, 0.025), ("mix", 1.73, 0.025)],
)
def test_given_laws_that_are_not_stable_when_fitted_then_the_known_pseudo_alpha_comes_out(
    name: str, expected: float, tolerance: float
) -> None:
    rng = np.random.default_rng(5)
    n = 150_000
    laws = {
        "t3": lambda: rng.standard_t(3, n),
        "t5": lambda: rng.standard_t(5, n),
        "laplace": lambda: rng.laplace(size=n),
        "mix": lambda: rng.standard_normal(n) * np.where(rng.uniform(size=n) < 0.1, 3.0, 1.0),
    }
    assert fit_stable(laws[name]()).alpha == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(
    ("alpha", "beta", "n"), [(0.8, 0.5, 140_000), (1.2, 0.0, 300_000), (1.5, 0.3, 20_000), (1.8, 0.0, 300_000)]
)
def test_given_binned_entries_when_fitted_then_alpha_is_that_of_the_unbinned_likelihood(
    alpha: float, beta: float, n: int
) -> None:
    values = (0.02 * draw(np.random.default_rng(6), alpha, beta, n) + 0.003).astype(np.float32)
    fit = fit_stable(values)
    assert fit.alpha == pytest.approx(unbinned_alpha(values, fit), abs=3e-6)


def test_given_gaussian_numbers_when_fitted_then_the_gaussian_is_not_rejected() -> None:
    values = np.random.default_rng(8).normal(0.5, 0.04, 100_000)
    fit = fit_stable(values)
    assert fit.boundary
    assert fit.alpha > 1.999
    assert (fit.alpha_se, fit.beta, fit.beta_se) == (None, None, None)
    assert fit.alpha_interval[1] == 2.0
    assert 1.995 < fit.alpha_interval[0] < fit.alpha
    assert fit.sigma == pytest.approx(values.std() / math.sqrt(2), rel=2e-3)
    assert fit.mu == pytest.approx(values.mean(), abs=1e-4)
    assert fit.mu_se == pytest.approx(0.04 / math.sqrt(values.size), rel=0.01)
    variance = float(values.var())
    exact = -values.size / 2 * (math.log(2 * math.pi * variance) + 1)
    assert fit.gaussian_loglik == pytest.approx(exact, abs=0.5)


def test_given_gaussian_matrices_when_tested_then_few_are_called_heavy_tailed() -> None:
    rng = np.random.default_rng(9)
    rejected = sum(not fit_stable(rng.standard_normal(2_000)).boundary for _ in range(60))
    assert rejected <= 14  # 5 % of 60 is 3; 15 or more has probability 1e-6
    assert gaussian_likelihood_ratio(rng.standard_t(3, 2_000)) > 50


def test_given_heavier_tails_when_tested_then_they_are_found() -> None:
    rng = np.random.default_rng(10)
    assert not fit_stable(rng.standard_t(5, 5_000)).boundary
    assert not fit_stable(draw(rng, 1.9, 0.0, 5_000)).boundary


@given(
    st.floats(-30, 30), st.floats(-20, 20), st.booleans(), st.integers(0, 3)
)  # fmt: skip
@settings(max_examples=12, deadline=None, derandomize=True)
def test_given_scaled_shifted_or_mirrored_entries_when_fitted_then_the_parameters_follow(
    exponent: float, shift: float, mirrored: bool, seed: int
) -> None:
    values = draw(np.random.default_rng(seed), 1.4, 0.3, 3_000)
    factor = (-1 if mirrored else 1) * 10.0**exponent
    plain, moved = fit_stable(values), fit_stable(factor * (values + shift))
    assert moved.alpha == pytest.approx(plain.alpha, abs=2e-5)
    assert moved.beta == pytest.approx(math.copysign(1, factor) * plain.beta, abs=2e-4)
    assert moved.sigma == pytest.approx(abs(factor) * plain.sigma, rel=2e-5)
    assert moved.mu == pytest.approx(factor * (plain.mu + shift), abs=2e-4 * abs(factor))
    assert moved.alpha_se == pytest.approx(plain.alpha_se, rel=1e-2)


@pytest.mark.parametrize("shape", [(200, 150), (30, 1000), (10, 3, 1000)])
def test_given_any_shape_or_order_when_fitted_then_the_fit_is_the_same(shape: tuple[int, ...]) -> None:
    values = draw(np.random.default_rng(11), 1.6, 0.0, 30_000).astype(np.float32)
    shuffled = np.random.default_rng(12).permutation(values).reshape(shape)
    assert fit_stable(shuffled) == fit_stable(values)
    assert fit_stable(shuffled.T) == fit_stable(values)


@pytest.mark.parametrize("dtype", ["f2", "bf16", "i1"])
def test_given_narrow_types_when_fitted_then_alpha_stays(dtype: str) -> None:
    values = 0.02 * draw(np.random.default_rng(13), 1.7, 0.0, 150_000).astype(np.float32)
    if dtype == "bf16":
        narrow = ((values.view(np.uint32) + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)
    else:
        narrow = (
            values.astype(np.float16) if dtype == "f2" else np.clip(np.round(values * 600), -128, 127).astype(np.int8)
        )
        values = values if dtype == "f2" else np.clip(values * 600, -128, 127)
    wide, fit = fit_stable(values if dtype != "i1" else 0.02 * values), fit_stable(narrow)
    assert "distinct values" in fit.method
    assert fit.alpha == pytest.approx(wide.alpha, abs=0.01)


def test_given_pruned_and_broken_entries_when_fitted_then_they_are_counted_and_do_not_matter() -> None:
    values = draw(np.random.default_rng(14), 1.5, 0.0, 40_000)
    dirty = np.concatenate([np.zeros(50_000), values, [np.nan, np.inf, -np.inf]])
    fit, clean = fit_stable(dirty), fit_stable(values)
    assert (fit.n, fit.zeros, fit.non_finite) == (40_000, 50_000, 3)
    assert fit.alpha == pytest.approx(clean.alpha, abs=1e-5)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros(0), "too few"),
        (np.zeros((40, 40)), "too few"),
        (np.full(100, np.nan), "100 non-finite"),
        (np.arange(1.0, 30.0), "29 entries"),
        (np.full(1000, 0.7), "one and the same value"),
        (np.where(np.arange(1000) % 2 == 0, 1.0, -1.0), "values"),
        (np.random.default_rng(0).integers(-3, 4, 5000).astype(np.int8), "takes only"),
        (np.clip(np.random.default_rng(0).standard_normal(200_000), -1, 1).astype(np.float32), "16% of the non-zero"),
        (np.ones((3, 3), dtype=bool), "too few"),
    ],
)
def test_given_nothing_to_fit_when_fitted_then_one_line_says_why(values: np.ndarray, reason: str) -> None:
    with pytest.raises(CritauditError, match=reason) as caught:
        fit_stable(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("uniform", 2.0, 2.0), ("exponential", 0.9, 1.2), ("cauchy^5", 0.5, 0.5), ("one outlier", 1.9, 2.0)],
)
def test_given_odd_laws_when_fitted_then_a_finite_answer_says_what_it_is(name: str, low: float, high: float) -> None:
    rng = np.random.default_rng(15)
    laws = {
        "uniform": rng.uniform(-1, 1, 5000),
        "exponential": rng.exponential(size=5000),
        "cauchy^5": rng.standard_cauchy(5000) ** 5,
        "one outlier": np.append(rng.standard_normal(1000), 1e6),
    }
    fit = fit_stable(laws[name])
    assert low <= fit.alpha <= high
    assert fit.boundary == (name == "uniform")
    assert ("end of its range" in fit.method) == (name != "uniform")
    for value in (fit.sigma, fit.mu, fit.loglik, *fit.alpha_interval):
        assert math.isfinite(value)


def test_given_a_likelihood_when_differentiated_then_score_and_information_are_its_derivatives() -> None:
    values = draw(np.random.default_rng(16), 1.3, 0.2, 500)
    sample = Sample(np.sort(values), np.ones(500), 500.0)
    theta = np.array([math.log(0.6), 0.1, 0.2, 0.1])
    here = slope(sample, theta)
    value, gradient = score(sample, theta)
    assert value == pytest.approx(here.value)
    np.testing.assert_allclose(gradient, here.gradient, rtol=1e-9)
    units = np.array([1, 1, math.exp(theta[3]), 1])  # the location's derivative is per scale
    step = 1e-5
    for k in range(4):
        shift = step * units[k] * np.eye(4)[k]
        (above, up), (below, down) = score(sample, theta + shift), score(sample, theta - shift)
        assert (above - below) / (2 * step) == pytest.approx(gradient[k], rel=1e-6, abs=1e-5)
        bend = (up - down) / (2 * step)
        others = [j for j in range(4) if (j, k) not in ((2, 3),)]
        np.testing.assert_allclose(bend[others], -here.information[others, k], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("top", [1e8, 1e60, 1e300])
def test_given_an_absurd_outlier_when_fitted_then_nothing_overflows(top: float) -> None:
    values = np.append(np.random.default_rng(18).standard_normal(400), top)
    fit = fit_stable(values)
    assert not fit.boundary
    assert math.isfinite(fit.loglik)
    assert fit.alpha_interval[0] <= fit.alpha <= fit.alpha_interval[1]


def test_given_bits_of_noise_when_fitted_then_signalling_nan_are_only_counted() -> None:
    values = np.frombuffer(np.random.default_rng(19).bytes(40_000), np.float32)
    fit = fit_stable(values)
    assert fit.non_finite == np.count_nonzero(~np.isfinite(values)) > 0
    assert "lower end" in fit.method
    assert fit.alpha == 0.5
