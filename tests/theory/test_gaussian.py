"""The Gaussian mean field against golden numbers, independent quadrature, exact limits and a simulated network."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.integrate
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.errors import CritauditError
from critaudit.theory.activations import as_activation, leaky_relu
from critaudit.theory.gaussian import (
    chi1,
    chi1_at,
    depth_scales,
    edge_of_chaos,
    edge_points,
    fixed_point,
    susceptibility,
    widom_line,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "gaussian_mean_field.json").read_text())
EDGES = [(name, point) for name in ("tanh", "gelu", "erf", "silu") for point in GOLDEN[f"edge_{name}"]]
NAMES = (
    "tanh erf relu leaky_relu(0.1) gelu gelu_tanh silu softplus sigmoid identity elu(0.5) selu mish hardtanh "
    "hardsigmoid hardswish relu6 softsign tanhshrink log_sigmoid quick_gelu"
)
PROPERTY = settings(deadline=None, max_examples=25, derandomize=True)


def quad_mean(function: object, deviation: float, kinks: tuple[float, ...] = ()) -> float:
    """E[function(deviation·z)] by adaptive Gauss–Kronrod, split at kinks: another method than the code's."""
    integrand = lambda z: float(function(deviation * z)) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)  # noqa: E731
    points = sorted({0.0, *(k / deviation for k in kinks if abs(k) < 12 * deviation)})
    ends = [-12.0, *points, 12.0]
    return sum(
        scipy.integrate.quad(integrand, a, b, epsabs=1e-14, epsrel=1e-12, limit=300)[0]
        for a, b in itertools.pairwise(ends)
    )


@pytest.mark.parametrize("point", GOLDEN["widom_tanh"], ids=lambda p: f"sb2={p['sb2']}")
def test_given_golden_widom_points_when_computed_then_line_length_and_susceptibility_agree(point: dict) -> None:
    sigma_b = math.sqrt(point["sb2"])
    assert widom_line(sigma_b, "tanh") == pytest.approx(point["sw"], abs=1e-6)
    found = fixed_point(point["sw"], sigma_b, "tanh")
    assert found.q == pytest.approx(point["qstar"], abs=1e-9)
    assert found.q == pytest.approx(point["qstar"], rel=1e-8)
    assert found.strength == pytest.approx(point["sstar"], abs=1e-9)
    assert susceptibility(point["sw"], sigma_b, "tanh") == pytest.approx(point["chi"], rel=1e-9)


@pytest.mark.parametrize("point", GOLDEN["widom_tanh_dsw2"], ids=lambda p: f"sb2={p['sb2']}")
def test_given_golden_points_of_the_other_line_when_computed_then_they_agree(point: dict) -> None:
    sigma_b = math.sqrt(point["sb2"])
    assert widom_line(sigma_b, "tanh", by="sigma_w2") == pytest.approx(point["sw"], abs=1e-6)
    assert susceptibility(point["sw"], sigma_b, "tanh", by="sigma_w2") == pytest.approx(point["chi2"], rel=1e-9)


@pytest.mark.parametrize(("name", "point"), EDGES, ids=lambda v: v if isinstance(v, str) else f"q={v['q']}")
def test_given_golden_edge_points_when_computed_then_width_length_and_stability_agree(name: str, point: dict) -> None:
    (found,) = edge_points(math.sqrt(point["sb2"]), name)
    assert found.sigma_w == pytest.approx(point["sw"], abs=1e-9)
    assert found.q == pytest.approx(point["q"], abs=1e-9)
    # The golden slopes are finite differences.
    assert found.slope == pytest.approx(point["stab_sw2_dVdq"], abs=3e-9)
    assert found.stable == (point["stab_sw2_dVdq"] < 1)
    assert edge_of_chaos(math.sqrt(point["sb2"]), name) == found.sigma_w
    assert chi1_at(point["q"], point["sw"], name) == pytest.approx(1.0, abs=1e-9)
    if found.stable:
        assert chi1(point["sw"], math.sqrt(point["sb2"]), name) == pytest.approx(1.0, abs=1e-9)


def test_given_the_golden_crossing_when_computed_then_widom_line_and_edge_of_tanh_meet_again() -> None:
    crossing = GOLDEN["widom_edge_crossing"]
    sigma_b = math.sqrt(crossing["sb2"])
    assert widom_line(sigma_b, "tanh") == pytest.approx(crossing["sw"], abs=1e-6)
    assert edge_of_chaos(sigma_b, "tanh") == pytest.approx(crossing["sw"], abs=1e-6)
    assert widom_line(0.9 * sigma_b) < edge_of_chaos(0.9 * sigma_b)
    assert widom_line(1.1 * sigma_b) > edge_of_chaos(1.1 * sigma_b)


def test_given_small_bias_when_computed_then_the_published_asymptotics_hold() -> None:
    sigma_b = 1e-5
    assert (widom_line(sigma_b) - 1) / sigma_b == pytest.approx(math.sqrt(2 / 3), rel=1e-3)
    assert susceptibility(widom_line(sigma_b), sigma_b) * math.sqrt(sigma_b) == pytest.approx(0.338869, rel=1e-3)
    assert fixed_point(1.0, sigma_b).q == pytest.approx(sigma_b / math.sqrt(2), rel=1e-3)
    assert fixed_point(1 + 1e-7, 0.0).q == pytest.approx(1e-7, rel=1e-3)
    assert fixed_point(math.sqrt(1 + 1e-10), 0.0).q == pytest.approx(0.5e-10, abs=1e-14)


@pytest.mark.parametrize(
    "name",
    NAMES.split(),
)
@pytest.mark.parametrize("q", [1e-4, 0.3, 30.0])
def test_given_each_activation_when_averaged_then_adaptive_quadrature_agrees(name: str, q: float) -> None:
    phi = as_activation(name)
    value = lambda x: phi.value(np.array([x]))[0]  # noqa: E731
    slope = lambda x: phi.derivative(np.array([x]))[0]  # noqa: E731
    mean_square = quad_mean(lambda x: value(x) ** 2, math.sqrt(q), phi.kinks)
    mean_slope = quad_mean(lambda x: slope(x) ** 2, math.sqrt(q), phi.kinks)
    growth = quad_mean(lambda x: value(x) * slope(x) * x, math.sqrt(q), phi.kinks) / q

    assert chi1_at(q, 1.0, name) == pytest.approx(mean_slope, rel=1e-10)
    sigma_w = 0.5 * math.sqrt(q / mean_square)
    sigma_b = math.sqrt(0.75 * q)
    found = fixed_point(sigma_w, sigma_b, name, start=q)
    assert found.q == pytest.approx(q, rel=1e-10)
    assert found.slope == pytest.approx(sigma_w**2 * growth, rel=1e-8, abs=1e-10)
    assert found.chi1 == pytest.approx(sigma_w**2 * mean_slope, rel=1e-9)


@pytest.mark.parametrize("sigma_w", [0.3, 1.0, 1.5, 3.0])
@pytest.mark.parametrize("name", ["tanh", "erf", "sigmoid", "hardtanh", "gelu"])
def test_given_a_susceptibility_when_differenced_then_the_fixed_point_moves_as_it_says(
    name: str, sigma_w: float
) -> None:
    if name == "gelu" and sigma_w > 1.2:
        sigma_w = 1.2
    step = 1e-5
    ahead, behind = (fixed_point(sigma_w + side, 0.2, name).strength for side in (step, -step))
    assert susceptibility(sigma_w, 0.2, name) == pytest.approx((ahead - behind) / (2 * step), rel=1e-6)
    assert susceptibility(sigma_w, 0.2, name, by="sigma_w2") == pytest.approx(
        susceptibility(sigma_w, 0.2, name) / (2 * sigma_w), rel=1e-12
    )


@PROPERTY
@given(
    sigma_w=st.floats(0.05, 4.0), sigma_b=st.floats(0.0, 2.0), name=st.sampled_from(["tanh", "erf", "sigmoid", "elu"])
)
def test_given_any_fixed_point_when_mapped_then_it_stays(sigma_w: float, sigma_b: float, name: str) -> None:
    found = fixed_point(sigma_w, sigma_b, name)
    phi = as_activation(name)
    if found.status == "diverges":
        assert sigma_w**2 / 2 >= 1
    elif found.status == "vanishes":
        assert found.q == 0.0
        assert found.slope <= 1.0 + 1e-9
    else:
        mapped = sigma_w**2 * quad_mean(lambda x: phi.value(np.array([x]))[0] ** 2, math.sqrt(found.q), phi.kinks)
        assert mapped + sigma_b**2 == pytest.approx(found.q, rel=1e-9)
        assert found.stable


def test_given_relu_when_computed_then_everything_is_exact() -> None:
    assert edge_of_chaos(0.0, "relu") == pytest.approx(math.sqrt(GOLDEN["relu"]["sw2"]), rel=1e-15)
    assert edge_points(0.3, "relu") == ()
    assert fixed_point(1.0, 0.5, "relu").q == pytest.approx(0.5, rel=1e-15)
    neutral = fixed_point(math.sqrt(2), 0.0, "relu", start=3.0)
    assert (neutral.status, neutral.q, neutral.chi1) == ("neutral", 3.0, 1.0)
    assert edge_of_chaos(0.0, leaky_relu(0.5)) == pytest.approx(math.sqrt(2 / 1.25), rel=1e-15)
    assert edge_of_chaos(0.0, "identity") == 1.0
    assert fixed_point(1.0, 0.0, "relu").status == "vanishes"


@pytest.mark.parametrize("name", ["relu", "gelu", "silu", "softplus", "elu", "hardswish"])
def test_given_a_length_that_diverges_when_asked_then_chi1_is_its_limit_and_the_rest_refuses(name: str) -> None:
    found = fixed_point(2.5, 0.1, name)
    assert (found.status, found.q, found.strength, found.stable) == ("diverges", None, None, False)
    assert found.chi1 == found.slope == pytest.approx(2.5**2 / 2, rel=1e-9)
    assert chi1(2.5, 0.1, name) == found.chi1
    with pytest.raises(CritauditError, match="diverges"):
        susceptibility(2.5, 0.1, name)
    with pytest.raises(CritauditError, match="diverges"):
        depth_scales(2.5, 0.1, name)
    with pytest.raises(CritauditError, match="no Widom line"):
        widom_line(0.1, name)


def test_given_gelu_with_two_basins_when_started_on_either_side_then_length_vanishes_or_diverges() -> None:
    unstable = next(point for point in GOLDEN["edge_gelu"] if point["q"] == 0.1)
    sigma_w, sigma_b = unstable["sw"], math.sqrt(unstable["sb2"])
    below = fixed_point(sigma_w, sigma_b, "gelu", start=0.099)
    above = fixed_point(sigma_w, sigma_b, "gelu", start=0.101)
    assert below.status == "fixed_point"
    assert below.q < 0.09
    assert below.stable
    assert above.status == "diverges"


def test_given_no_bias_below_onset_when_computed_then_signals_vanish_quietly() -> None:
    found = fixed_point(0.8, 0.0, "tanh")
    assert (found.status, found.q) == ("vanishes", 0.0)
    assert found.chi1 == pytest.approx(0.64, rel=1e-12)
    assert susceptibility(0.8, 0.0, "tanh") == 0.0
    assert fixed_point(1.0, 0.0, "tanh").q == 0.0
    with pytest.raises(CritauditError, match="marginal"):
        susceptibility(1.0, 0.0, "tanh")
    assert edge_of_chaos(0.0, "tanh") == widom_line(0.0, "tanh") == pytest.approx(1.0, abs=1e-12)
    assert edge_of_chaos(0.0, "gelu") == pytest.approx(2.0, abs=1e-10)
    assert not edge_points(0.0, "gelu")[0].stable


@pytest.mark.parametrize("sigma_b", [1e-14, 1e-12, 1e-9, 1e-6, 1e-3, 1.0, 100.0])
def test_given_any_size_of_bias_when_computed_then_tanh_has_one_edge_point(sigma_b: float) -> None:
    (point,) = edge_points(sigma_b, "tanh")
    assert point.stable
    assert chi1_at(point.q, point.sigma_w) == pytest.approx(1.0, abs=1e-12)


def test_given_a_function_when_used_as_activation_then_it_equals_the_named_one() -> None:
    assert fixed_point(1.7, 0.3, np.tanh).q == pytest.approx(fixed_point(1.7, 0.3, "tanh").q, rel=1e-14)
    assert chi1(1.7, 0.3, np.tanh) == pytest.approx(chi1(1.7, 0.3, "tanh"), rel=1e-10)
    clipped = as_activation(lambda x: np.clip(x, -1.0, 1.0), kinks=(-1.0, 1.0))
    assert chi1(1.7, 0.3, clipped) == pytest.approx(chi1(1.7, 0.3, "hardtanh"), rel=1e-10)
    given_slope = as_activation(np.sin, derivative=np.cos)
    # V(q) = (1 − e^{−2q})/2 for the sine.
    q = fixed_point(1.5, 0.4, given_slope).q
    assert q == pytest.approx(1.5**2 * (1 - math.exp(-2 * q)) / 2 + 0.16, rel=1e-12)


def test_given_the_ordered_phase_when_scaled_then_depths_are_those_of_the_slopes() -> None:
    found = fixed_point(1.1, 0.4, "tanh")
    depths = depth_scales(1.1, 0.4, "tanh")
    assert depths.xi_q == pytest.approx(-1 / math.log(found.slope), rel=1e-12)
    assert depths.xi_c == pytest.approx(-1 / math.log(found.chi1), rel=1e-12)
    assert depths.correlation == 1.0
    assert depth_scales(math.sqrt(2), 0.0, "relu").xi_c is None


@pytest.mark.parametrize(
    ("name", "sigma_w", "sigma_b"), [("tanh", 1.9, 0.1), ("erf", 1.3, 0.2), ("hardtanh", 2.0, 0.5)]
)
def test_given_the_chaotic_phase_when_iterated_with_a_double_average_then_the_same_correlation_settles(
    name: str, sigma_w: float, sigma_b: float
) -> None:
    phi = as_activation(name)
    q = fixed_point(sigma_w, sigma_b, name).q
    z = np.linspace(-8, 8, 801)
    w = np.exp(-z * z / 2)
    w /= w.sum()
    first = phi.value(math.sqrt(q) * z)

    def mapped(c: float) -> float:
        second = phi.value(math.sqrt(q) * (c * z[:, None] + math.sqrt(1 - c * c) * z))
        return (sigma_w**2 * float((w * first) @ (second @ w)) + sigma_b**2) / q

    depths = depth_scales(sigma_w, sigma_b, name)

    c = depths.correlation
    assert 0.0 < c < 1.0
    assert mapped(c) == pytest.approx(c, abs=2e-5)
    slope = (mapped(c + 1e-4) - mapped(c - 1e-4)) / 2e-4
    assert depths.xi_c == pytest.approx(-1 / math.log(slope), rel=1e-3)


def test_given_chaos_without_bias_when_settled_then_odd_activations_decorrelate() -> None:
    assert depth_scales(1.8, 0.0, "tanh").correlation == 0.0


def test_given_a_wide_random_network_when_run_then_length_and_growth_are_the_predicted_ones() -> None:
    rng = np.random.default_rng(8)
    width, sigma_w, sigma_b = 1500, 1.4, 0.3
    found = fixed_point(sigma_w, sigma_b, "tanh")
    h = math.sqrt(found.q) * rng.standard_normal(width)
    shift = 1e-6 * rng.standard_normal(width)
    growth = []
    for _ in range(8):
        weights = rng.standard_normal((width, width)) * sigma_w / math.sqrt(width)
        bias = sigma_b * rng.standard_normal(width)
        after, other = weights @ np.tanh(h) + bias, weights @ np.tanh(h + shift) + bias
        growth.append(np.sum((other - after) ** 2) / np.sum(shift**2))
        h, shift = after, other - after
    # Relative fluctuations per layer are about √(2/width) = 0.04.
    assert np.mean(h**2) == pytest.approx(found.q, rel=0.25)
    assert np.mean(growth) == pytest.approx(found.chi1, rel=0.15)


@pytest.mark.parametrize(("sigma_w", "sigma_b"), [(-1.0, 0.0), (math.nan, 0.0), (1.0, math.inf), (1.0, -0.1)])
def test_given_impossible_widths_when_computed_then_one_line_says_so(sigma_w: float, sigma_b: float) -> None:
    with pytest.raises(CritauditError, match="must be a number"):
        fixed_point(sigma_w, sigma_b, "tanh")


def test_given_no_edge_when_asked_then_one_line_says_so() -> None:
    with pytest.raises(CritauditError, match="no edge of chaos"):
        edge_of_chaos(0.1, "relu")
    with pytest.raises(CritauditError, match="start"):
        fixed_point(1.0, 1.0, "tanh", start=0.0)
