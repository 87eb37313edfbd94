"""The law of the Jacobian's eigenvalues against golden numbers, the circular law, closed forms and sampled matrices."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.errors import CritauditError
from critaudit.theory import gaussian
from critaudit.theory.activations import as_activation
from critaudit.theory.levy import JacobianLaw, fixed_point, log_determinant_constant

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "jacobian_law.json").read_text())["rows"]
PROPERTY = settings(deadline=None, max_examples=12, derandomize=True)


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: f"alpha={row['alpha']},g={row['g']}")
def test_given_golden_spectra_when_computed_then_all_numbers_agree_to_1e_5(row: dict) -> None:
    law = JacobianLaw(row["alpha"], row["g"])
    found = {
        "mean_log": law.mean_log,
        "mean_log_clip1em2": law.log_average(1, r0=0.01),
        "frac_gt1": law.expanding_share,
        "median_r": float(law.quantile(0.5)),
        "q90": float(law.quantile(0.9)),
        "q99": float(law.quantile(0.99)),
        "rcut_y_1pct": law.cutoff_radius,
    }
    assert found == pytest.approx({name: row[name] for name in found}, abs=1e-5)
    radii = np.array([float(radius) for radius in row["cdf"]])
    np.testing.assert_allclose(1.0 - law.survival(radii), list(row["cdf"].values()), rtol=0, atol=1e-5)


def test_given_a_linear_gaussian_layer_when_computed_then_it_is_the_circular_law() -> None:
    law = JacobianLaw(2.0, 0.8, activation="identity")
    radii = np.array([0.0, 0.1, 0.4, 0.79, 0.8, 1.0])
    np.testing.assert_allclose(law.survival(radii), np.maximum(0.0, 1.0 - (radii / 0.8) ** 2), atol=1e-9)
    np.testing.assert_allclose(law.density(radii[1:4]), 2 * radii[1:4] / 0.8**2, rtol=1e-7)
    np.testing.assert_allclose(law.quantile([0.0, 0.25, 1.0]), [0.0, 0.4, 0.8], atol=1e-9)
    assert law.mean_log == pytest.approx(math.log(0.8) - 0.5, abs=1e-12)
    assert law.power_average(2.0) == pytest.approx(0.8**2 / 2, rel=3e-7)
    assert law.edge == pytest.approx(0.8, rel=1e-9)


@pytest.mark.parametrize("activation", ["tanh", "relu", "erf", "gelu"])
def test_given_alpha_two_when_computed_then_the_edge_is_the_root_of_chi1(activation: str) -> None:
    law = JacobianLaw(2.0, 1.3, bias=0.1, activation=activation)
    assert law.edge**2 == pytest.approx(gaussian.chi1(1.3, math.sqrt(0.1), activation), rel=1e-7)
    assert law.survival(law.edge * 1.0001) == 0.0
    assert float(law.survival(law.edge * 0.99)) > 0.0


def test_given_relu_when_computed_then_half_of_the_eigenvalues_are_zero() -> None:
    law = JacobianLaw(2.0, 1.2, activation="relu")
    assert float(law.survival(1e-12)) == pytest.approx(0.5, abs=1e-8)
    assert float(law.quantile(0.3)) == 0.0
    assert law.mean_log == -math.inf


@pytest.mark.parametrize(("alpha", "activation"), [(1.0, "tanh"), (0.7, "tanh"), (1.5, "erf"), (1.5, "hardtanh")])
def test_given_slopes_whose_logarithm_has_no_mean_when_asked_then_mean_log_is_minus_infinity(
    alpha: float, activation: str
) -> None:
    assert JacobianLaw(alpha, 1.0, activation=activation).mean_log == -math.inf


def test_given_alpha_near_one_when_the_mean_log_is_asked_then_the_slow_tail_is_in_it() -> None:
    # ln sech²(h) = ln 4 − 2|h| + small, and E|h| = (2/π)Γ(1−1/α)·scale is known.
    alpha, g = 1.02, 3.0
    found = fixed_point(alpha, g)
    mean_size = 2 / math.pi * math.gamma(1 - 1 / alpha) * found.scale
    law = JacobianLaw(alpha, g)
    bound = math.log(g) - 2 * mean_size
    assert bound - 1.0 < law.mean_log < bound + math.log(4.0)


def test_given_signals_from_tiny_to_long_when_the_mean_log_is_asked_then_it_is_finite_and_changes_smoothly() -> None:
    # The ends of the quadrature pass through |h| ~ 1 on the way.
    gs = np.geomspace(0.15, 0.6, 25)
    means = np.array([JacobianLaw(1.5, g).mean_log for g in gs]) - np.log(gs)
    assert np.all(np.isfinite(means))
    assert np.all(np.diff(means) < 1e-9)
    assert means[0] == pytest.approx(log_determinant_constant(1.5), abs=1e-9)
    assert np.abs(np.diff(means)).max() < 0.03


@pytest.mark.parametrize(("alpha", "g"), [(1.5, 0.75), (1.8, 1.3), (2.0, 1.5)])
def test_given_the_law_when_averaged_over_quantiles_then_all_averages_agree(alpha: float, g: float) -> None:
    law = JacobianLaw(alpha, g)
    radii = law.quantile((np.arange(1500) + 0.5) / 1500)
    for power, r0 in ((1, 0.01), (2, 0.05), (5, 0.1), (1, 2.0)):
        logs = np.log(np.maximum(radii, r0))
        direct = np.mean(np.sign(logs) * np.abs(logs) ** power)
        assert law.log_average(power, r0=r0) == pytest.approx(direct, rel=2e-3, abs=1e-4)
    assert law.power_average(2.0) == pytest.approx(np.mean(radii**2), rel=1e-3)
    assert law.mean_log == pytest.approx(np.mean(np.log(radii)), rel=0.02)


@pytest.mark.parametrize("g", [1.0, 3.0])
def test_given_slopes_that_pass_zero_when_averaged_then_the_singular_logarithm_is_resolved(g: float) -> None:
    # φ(x) = x·e^{−x²/2} turns at ±1, where P(|λ| ≥ r) is sharp in h.
    def turning(x: np.ndarray) -> np.ndarray:
        return x * np.exp(-0.5 * x * x)

    law = JacobianLaw(1.7, g, activation=turning)
    # 128 nodes per panel and no special panels gave these.
    assert law.log_average(1) == pytest.approx({1.0: -0.625643, 3.0: -0.582054}[g], abs=2e-6)


def test_given_gelu_when_its_slope_is_averaged_then_adaptive_quadrature_agrees() -> None:
    law = JacobianLaw(2.0, 0.8, bias=0.3, activation="gelu")
    phi, deviation = as_activation("gelu"), math.sqrt(law.fixed_point.q)

    def integrand(z: float) -> float:
        slope = abs(phi.derivative(np.array([deviation * z]))[0])
        return math.log(slope) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    zero = scipy.optimize.brentq(lambda h: phi.derivative(np.array([h]))[0], -1.0, -0.5) / deviation
    points = [-12.0, zero, 0.0, 12.0]
    expected = sum(
        scipy.integrate.quad(integrand, low, high, limit=400, epsabs=1e-10)[0]
        for low, high in itertools.pairwise(points)
    )
    assert law.mean_log == pytest.approx(math.log(0.8) + expected + log_determinant_constant(2.0), abs=1e-6)


def test_given_a_cut_that_vanishes_when_averaged_then_the_closed_form_is_reached() -> None:
    law = JacobianLaw(1.6, 1.5)
    cuts = [law.log_average(1, r0=r0) for r0 in (1e-10, 1e-30, 1e-90)]
    assert cuts[0] > cuts[1] > cuts[2] > law.mean_log
    # The tail's share falls like (ln 1/r₀)^{1−α}.
    tails = np.array(cuts) - law.mean_log
    np.testing.assert_allclose(tails[1:] / tails[:-1], 3.0**-0.6, rtol=0.03)


@pytest.mark.parametrize("alpha", [0.6, 1.2, 1.97, 2.0])
def test_given_the_density_when_integrated_then_it_is_the_distribution(alpha: float) -> None:
    law = JacobianLaw(alpha, 1.2)
    low, high = float(law.quantile(0.6)), float(law.quantile(0.98))
    points, weights = np.polynomial.legendre.leggauss(20)
    radii = 0.5 * (low + high) + 0.5 * (high - low) * points
    assert 0.5 * (high - low) * weights @ law.density(radii) == pytest.approx(0.38, abs=1e-6)


@PROPERTY
@given(
    alpha=st.floats(0.5, 2.0),
    g=st.floats(0.02, 30.0),
    bias=st.sampled_from([0.0, 0.4]),
    activation=st.sampled_from(["tanh", "erf", "hardtanh", "softsign", "sigmoid"]),
)
def test_given_any_point_when_computed_then_probabilities_fall_and_quantiles_invert_them(
    alpha: float, g: float, bias: float, activation: str
) -> None:
    law = JacobianLaw(alpha, g, bias=bias, activation=activation)
    radii = g * np.geomspace(1e-3, 30.0, 25)
    survival = law.survival(radii)
    assert np.all((survival >= 0.0) & (survival <= 1.0 + 1e-9))
    assert np.all(np.diff(survival) <= 1e-12)
    assert np.all(law.density(radii) >= 0.0)
    shares = np.array([0.5, 0.9, 0.99, 0.99999])
    quantiles = law.quantile(shares)
    positive = quantiles > 0.0
    np.testing.assert_allclose(law.survival(quantiles)[positive], 1.0 - shares[positive], rtol=1e-7)
    assert law.mean_log <= law.log_average(1, r0=1e-3) + 1e-6


@pytest.mark.parametrize(("alpha", "g", "matrices"), [(1.5, 0.75, 12), (2.0, 1.5, 8)])
def test_given_sampled_jacobians_when_diagonalised_then_shares_and_quantiles_follow_the_law(
    alpha: float, g: float, matrices: int
) -> None:
    size = 400
    rng = np.random.default_rng(11)
    law = JacobianLaw(alpha, g)
    radii = np.array([0.05, 0.25, 0.5, 1.0])
    shares, logs = [], []
    for _ in range(matrices):
        sizes = np.abs(_eigenvalues(rng, alpha, g, law.fixed_point.scale, size))
        shares.append([(sizes >= radius).mean() for radius in radii])
        logs.append(np.log(np.maximum(sizes, 0.01)).mean())
    for sample, expected in [
        *zip(np.transpose(shares), law.survival(radii), strict=True),
        (np.array(logs), law.log_average(1, r0=0.01)),
    ]:
        error = sample.std(ddof=1) / math.sqrt(matrices)
        assert sample.mean() == pytest.approx(expected, abs=6 * error + 3.0 / size)


def _eigenvalues(rng: np.random.Generator, alpha: float, g: float, scale: float, size: int) -> np.ndarray:
    """Eigenvalues of W·D as those of √D W √D over the neurons that are not saturated; the rest are zero."""
    weights = g * (2 * size) ** (-1 / alpha) * _stable_sample(rng, alpha, (size, size))
    slopes = np.cosh(np.clip(scale * _stable_sample(rng, alpha, (size,)), -300, 300)) ** -2.0
    active = slopes > 1e-10
    root = np.sqrt(slopes[active])
    found = np.linalg.eigvals(root[:, np.newaxis] * weights[np.ix_(active, active)] * root)
    return np.concatenate([found, np.zeros(size - found.size)])


def _stable_sample(rng: np.random.Generator, alpha: float, shape: tuple[int, ...]) -> np.ndarray:
    """Chambers, Mallows and Stuck (1976): S_α(0, 1, 0), α ≠ 1."""
    angle = rng.uniform(-math.pi / 2, math.pi / 2, shape)
    stretch = (np.cos((1 - alpha) * angle) / rng.exponential(size=shape)) ** ((1 - alpha) / alpha)
    return np.sin(alpha * angle) / np.cos(angle) ** (1 / alpha) * stretch


def test_given_wrong_arguments_when_asked_then_one_line_says_what_was_expected() -> None:
    law = JacobianLaw(1.5, 1.0)
    with pytest.raises(CritauditError, match="radius below zero"):
        law.survival([0.1, -1.0])
    with pytest.raises(CritauditError, match="radius"):
        law.density(math.nan)
    with pytest.raises(CritauditError, match=r"outside \[0, 1\]"):
        law.quantile(1.5)
    with pytest.raises(CritauditError, match="r0"):
        law.log_average(1, r0=0.0)
    with pytest.raises(CritauditError, match="whole number"):
        law.log_average(0)
    with pytest.raises(CritauditError, match="power"):
        law.power_average(-1.0)
    with pytest.raises(CritauditError, match="without weights"):
        JacobianLaw(1.5, 0.0)
    with pytest.raises(CritauditError, match="unbounded"):
        JacobianLaw(1.5, 1.0, activation="relu")


def test_given_an_empty_or_shaped_array_when_asked_then_the_shape_is_kept() -> None:
    law = JacobianLaw(1.5, 1.0)
    assert law.survival(np.zeros((0,))).shape == (0,)
    assert law.survival(np.ones((2, 3))).shape == (2, 3)
    assert law.quantile(np.full((3, 1), 0.5)).shape == (3, 1)
    assert law.survival(0.0) == 1.0
    assert math.isnan(float(law.density(0.0)))
    assert law.quantile(1.0) == math.inf
