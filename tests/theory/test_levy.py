"""The Lévy mean field against golden numbers, an independent quadrature, limits, the Gaussian theory and samples."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.errors import CritauditError
from critaudit.theory import gaussian
from critaudit.theory.levy import JacobianLaw, fixed_point, log_determinant_constant, ordered_line

GOLDEN_FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = json.loads((GOLDEN_FOLDER / "levy_fixed_point.json").read_text())
LOGDET = json.loads((GOLDEN_FOLDER / "logdet.json").read_text())["c"]
ROWS = [
    (block["alpha"], row["g"], bias, row["q"])
    for key, bias in (("Db0", 0.0), ("Db0p05", 0.05))
    for block in GOLDEN[key]
    for row in block["rows"]
]
# The golden table loses digits where q* is tiny; these three are from 25-digit arithmetic (mpmath), which the table's
# values satisfy to 2e-9 … 1e-8 only.
CORRECTED = {
    (1.5, 0.5): -11.200443895145002,
    (1.9, 0.5): -59.313510777601124,
    (1.9, 0.75): -17.452239178328387,
}
PROPERTY = settings(deadline=None, max_examples=25, derandomize=True)


@pytest.mark.parametrize(("alpha", "g", "bias", "q"), ROWS)
def test_given_golden_fixed_points_when_computed_then_q_agrees(alpha: float, g: float, bias: float, q: float) -> None:
    found = fixed_point(alpha, g, bias=bias)
    corrected = bias == 0.0 and (alpha, g) in CORRECTED
    if q == 0.0:
        assert (found.status, found.q, found.log_q) == ("vanishes", 0.0, -math.inf)
    else:
        assert found.status == "fixed_point"
        assert found.q == pytest.approx(q, rel=5e-7 if corrected else 1e-8)


@pytest.mark.parametrize("point", CORRECTED, ids=str)
def test_given_tiny_q_when_computed_then_it_agrees_with_25_digit_arithmetic(point: tuple[float, float]) -> None:
    assert fixed_point(*point).log_q == pytest.approx(CORRECTED[point], abs=1e-10)


@pytest.mark.parametrize("row", GOLDEN["ordered_line_q0p01"], ids=lambda row: f"alpha={row['alpha']}")
def test_given_golden_ordered_line_when_q_is_a_hundredth_then_g_agrees(row: dict) -> None:
    line = ordered_line(row["alpha"], definition="fixed_point")
    assert line == pytest.approx(row["g"], rel=1e-10)
    assert fixed_point(row["alpha"], line).q == pytest.approx(0.01, rel=1e-9)


@pytest.mark.parametrize("alpha", LOGDET)
def test_given_golden_log_determinants_when_computed_then_they_agree(alpha: str) -> None:
    assert log_determinant_constant(float(alpha)) == pytest.approx(LOGDET[alpha], abs=1e-12)


@pytest.mark.parametrize("alpha", [1.2, 1.7, 2.0])
def test_given_sampled_stable_matrices_when_slogdet_is_averaged_then_it_is_the_constant(alpha: float) -> None:
    size, matrices = 300, 40
    rng = np.random.default_rng(7)
    scale = (2 * size) ** (-1 / alpha)
    logs = np.array(
        [np.linalg.slogdet(scale * symmetric_stable_sample(rng, alpha, (size, size)))[1] for _ in range(matrices)]
    )
    error = logs.std(ddof=1) / math.sqrt(matrices) / size
    # The finite-size correction is of order ln(N)/N.
    assert logs.mean() / size == pytest.approx(log_determinant_constant(alpha), abs=6 * error + math.log(size) / size)


def symmetric_stable_sample(rng: np.random.Generator, alpha: float, shape: tuple[int, ...]) -> np.ndarray:
    """Chambers, Mallows and Stuck (1976): S_α(0, 1, 0)."""
    angle = rng.uniform(-math.pi / 2, math.pi / 2, shape)
    exponential = rng.exponential(size=shape)
    if alpha == 1.0:
        return np.tan(angle)
    return (
        np.sin(alpha * angle)
        / np.cos(angle) ** (1 / alpha)
        * (np.cos((1 - alpha) * angle) / exponential) ** ((1 - alpha) / alpha)
    )


@pytest.mark.parametrize("activation", ["tanh", "erf", "sigmoid", "softsign", "hardtanh", "hardsigmoid", "relu"])
@pytest.mark.parametrize(("g", "bias"), [(1.3, 0.0), (0.7, 0.3)])
def test_given_alpha_two_when_computed_then_it_is_the_gaussian_mean_field(
    activation: str, g: float, bias: float
) -> None:
    found = fixed_point(2.0, g, bias=bias, activation=activation)
    expected = gaussian.fixed_point(g, math.sqrt(bias), activation)
    assert found.q == expected.q
    if found.q > 0.0:
        assert found.scale == pytest.approx(math.sqrt(found.q / 2), rel=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "erf", "sigmoid", "softsign", "hardtanh", "hardsigmoid"])
def test_given_alpha_just_below_two_when_computed_then_it_joins_the_gaussian_one(activation: str) -> None:
    below = fixed_point(2.0 - 1e-9, 1.4, bias=0.2, activation=activation)
    assert below.q == pytest.approx(fixed_point(2.0, 1.4, bias=0.2, activation=activation).q, rel=2e-8)


@PROPERTY
@given(
    alpha=st.floats(0.5, 1.999),
    g=st.floats(0.05, 20.0),
    bias=st.sampled_from([0.0, 1e-6, 0.5]),
    activation=st.sampled_from(["tanh", "erf", "softsign", "hardtanh"]),
)
def test_given_any_bounded_odd_activation_when_solved_then_q_is_positive_and_grows_with_g_and_bias(
    alpha: float, g: float, bias: float, activation: str
) -> None:
    found = fixed_point(alpha, g, bias=bias, activation=activation)
    assert found.status == "fixed_point"
    assert math.isfinite(found.log_q)
    assert fixed_point(alpha, 1.01 * g, bias=bias, activation=activation).log_q > found.log_q
    assert fixed_point(alpha, g, bias=bias + 0.01, activation=activation).log_q > found.log_q


@pytest.mark.parametrize("activation", ["tanh", "hardtanh", "sigmoid"])
def test_given_a_cauchy_field_when_averaged_by_the_angle_then_q_solves_its_equation(activation: str) -> None:
    # h = (q/2)·tan(θ) with θ uniform: another method, with no density.
    from critaudit.theory.activations import named_activation

    found = fixed_point(1.0, 1.5, activation=activation)
    theta = (np.arange(400_000) + 0.5) / 400_000 * math.pi - math.pi / 2
    mean = np.abs(named_activation(activation).value(found.scale * np.tan(theta))).mean()
    assert 1.5 * mean == pytest.approx(found.q, rel=1e-6)


def test_given_alpha_near_two_and_weak_weights_when_solved_then_q_is_kept_as_a_logarithm() -> None:
    found = fixed_point(1.9999, 0.5)
    assert found.status == "fixed_point"
    assert found.q == 0.0
    # (2−α)·ln q tends to (1 − g^−2)·2 as α → 2, by the tail's logarithm.
    assert found.log_q * 1e-4 == pytest.approx(2 * (1 - 4), rel=1e-3)


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "softplus", "leaky_relu(0.1)"])
def test_given_an_unbounded_activation_when_alpha_is_below_two_then_one_line_points_to_measured_quantities(
    activation: str,
) -> None:
    with pytest.raises(CritauditError, match="unbounded") as caught:
        fixed_point(1.9, 1.0, activation=activation)
    assert "jacobian.mean_log" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(CritauditError, match="unbounded"):
        ordered_line(1.9, activation=activation)


@pytest.mark.parametrize(
    ("alpha", "g", "bias"), [(2.1, 1, 0), (0.4, 1, 0), (math.nan, 1, 0), (1.5, -1, 0), (1.5, math.inf, 0), (1.5, 1, -1)]
)
def test_given_numbers_outside_the_theory_when_asked_then_an_error_says_so(alpha: float, g: float, bias: float) -> None:
    with pytest.raises(CritauditError, match=r"alpha|g =|bias"):
        fixed_point(alpha, g, bias=bias)


def test_given_a_function_that_gives_nan_when_solved_then_an_error_says_so() -> None:
    with pytest.raises(CritauditError, match="NaN"):
        fixed_point(1.5, 1.0, activation=lambda x: np.where(np.abs(x) < 5, x, np.nan))


def test_given_a_python_function_when_solved_then_it_is_what_its_name_gives() -> None:
    assert fixed_point(1.4, 1.1, activation=np.tanh).log_q == fixed_point(1.4, 1.1).log_q
    assert JacobianLaw(1.4, 1.1, activation=np.tanh).quantile(0.5) == pytest.approx(
        float(JacobianLaw(1.4, 1.1).quantile(0.5)), rel=1e-7
    )


def test_given_alpha_across_the_tables_seam_when_solved_then_nothing_jumps() -> None:
    below, at, above = (fixed_point(alpha, 0.8).log_q for alpha in (1 - 1e-9, 1.0, 1 + 1e-9))
    assert below == pytest.approx(at, abs=1e-7)
    assert above == pytest.approx(at, abs=1e-7)


@pytest.mark.parametrize("alpha", [0.5, 1.3, 1.999])
@pytest.mark.parametrize("g", [1e-6, 1e-3, 1e3, 1e6])
def test_given_extreme_weights_when_computed_then_everything_stays_finite(alpha: float, g: float) -> None:
    found = fixed_point(alpha, g)
    assert math.isfinite(found.log_q)
    law = JacobianLaw(alpha, g)
    assert 0.0 <= law.expanding_share <= 1.0
    assert 0.0 < law.cutoff_radius < math.inf
    assert math.isfinite(law.log_average())
    if alpha < 1.0:
        assert law.mean_log == -math.inf
    elif g < 1.0:
        # All slopes are one: the spectrum of the weights alone, stretched by g.
        assert law.mean_log - math.log(g) == pytest.approx(log_determinant_constant(alpha), abs=1e-9)


def test_given_no_weights_when_solved_then_only_the_bias_is_left() -> None:
    assert fixed_point(1.5, 0.0).status == "vanishes"
    assert fixed_point(1.5, 0.0, bias=0.25).q == pytest.approx(0.25)


def test_given_weights_too_strong_for_relu_at_alpha_two_when_solved_then_the_divergence_is_told() -> None:
    with pytest.raises(CritauditError, match="diverges"):
        fixed_point(2.0, 1.5, activation="relu")


@pytest.mark.parametrize("alpha", [0.0, -1.0, 2.5, math.nan])
def test_given_no_stability_index_when_the_determinant_is_asked_then_an_error_says_so(alpha: float) -> None:
    with pytest.raises(CritauditError, match="stability index"):
        log_determinant_constant(alpha)
