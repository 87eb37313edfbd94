"""Operating points against quadratures of their own, series and exact results."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from critaudit.errors import CritauditError
from critaudit.init import operating_point
from critaudit.theory import gaussian

SMOOTH = {
    "tanh": (mpmath.tanh, lambda x: mpmath.sech(x) ** 2),
    "gelu": (lambda x: x * mpmath.ncdf(x), lambda x: mpmath.ncdf(x) + x * mpmath.npdf(x)),
    "silu": (
        lambda x: x / (1 + mpmath.exp(-x)),
        lambda x: 1 / (1 + mpmath.exp(-x)) + x * mpmath.exp(-x) / (1 + mpmath.exp(-x)) ** 2,
    ),
}


def mean(function, s: float):
    """E[f(sz)] by mpmath."""
    return mpmath.quad(lambda z: function(s * z) * mpmath.npdf(z), [-12, -4, -1, 0, 1, 4, 12])


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("depth", [3, 10])
def test_it_solves_the_length_map_and_gives_the_growth_of_gradients(name: str, depth: int) -> None:
    phi, slope = SMOOTH[name]
    point = operating_point(name, depth)
    s, q = point.strength, point.strength**2
    with mpmath.workdps(20):
        square, steep = mean(lambda x: phi(x) ** 2, s), mean(lambda x: slope(x) ** 2, s)
        linear = mean(lambda x: x * phi(x), s) / s
    assert point.sigma_w**2 == pytest.approx(float(q / square), rel=1e-10)
    assert point.chi1 == pytest.approx(float(q / square * steep), rel=1e-10)
    assert point.bend == pytest.approx(float(1 - linear**2 / square), rel=1e-8)
    h = 1e-5
    with mpmath.workdps(20):
        up, down = (mean(lambda x: phi(x) ** 2, math.sqrt(q + d)) for d in (h, -h))
    assert point.length_slope == pytest.approx(float(q / square * (up - down) / (2 * h)), rel=1e-6)
    assert abs(math.log(point.chi1)) * depth <= 0.5
    assert point.within


def test_tanh_follows_its_series_at_weak_signals() -> None:
    point = operating_point("tanh", 200)
    q = point.strength**2
    assert q < 0.05
    assert point.sigma_w**2 == pytest.approx(1 + 2 * q - 5 * q * q / 3, abs=20 * q**3)
    assert point.chi1 == pytest.approx(1 + 4 * q * q / 3, abs=20 * q**3)


@pytest.mark.parametrize("depth", [1, 10, 100])
def test_relu_is_critical_at_any_strength_and_takes_one(depth: int) -> None:
    point = operating_point("relu", depth)
    assert (point.strength, point.chi1, point.length_slope) == pytest.approx((1.0, 1.0, 1.0))
    assert point.sigma_w**2 == pytest.approx(2.0)
    assert point.bend == pytest.approx(0.5)  # E[zφ(z)]²/E[φ²] = ¼/½


@pytest.mark.parametrize("slope", [0.01, 0.25])
def test_leaky_relu_has_its_exact_gain(slope: float) -> None:
    assert operating_point(f"leaky_relu({slope})", 30).sigma_w ** 2 == pytest.approx(2 / (1 + slope**2))


def test_deeper_chains_of_tanh_work_at_weaker_signals() -> None:
    depths = (1, 2, 5, 10, 20, 30, 50, 100, 300)
    points = [operating_point("tanh", depth) for depth in depths]
    strengths = [point.strength for point in points]
    assert strengths == sorted(strengths, reverse=True)
    assert len(set(strengths)) > 6
    assert all(math.log(point.chi1) * depth <= 0.5 for point, depth in zip(points, depths, strict=True))
    # The strengths that the docstring names.
    assert [operating_point("tanh", depth).strength for depth in (10, 30, 50)] == pytest.approx(
        [0.58, 0.39, 0.33], abs=0.006
    )


def test_a_smaller_tolerance_asks_for_weaker_signals() -> None:
    loose, tight = operating_point("tanh", 20, tolerance=1.0), operating_point("tanh", 20, tolerance=0.1)
    assert tight.strength < loose.strength
    assert math.log(tight.chi1) * 20 <= 0.1


@pytest.mark.parametrize("sigma_b", [0.05, 0.2])
@pytest.mark.parametrize("depth", [1, 40])
def test_with_biases_it_is_the_edge_of_chaos(sigma_b: float, depth: int) -> None:
    point = operating_point("tanh", depth, sigma_b=sigma_b)
    assert point.chi1 == pytest.approx(1.0, abs=1e-9)
    assert point.sigma_w == pytest.approx(gaussian.edge_of_chaos(sigma_b, "tanh"), rel=1e-9)
    settled = gaussian.fixed_point(point.sigma_w, sigma_b, "tanh")
    assert settled.q == pytest.approx(point.strength**2, rel=1e-7)
    assert point.length_slope < 1.0


def test_where_no_strength_is_within_the_tolerance_the_nearest_one_is_given() -> None:
    point = operating_point("tanhshrink", 50)
    assert not point.within
    others = [
        gaussian.chi1_at(s * s, math.sqrt(s * s / _mean_square(s)), "tanhshrink") for s in (0.1, 0.5, 1.0, 3.0, 10.0)
    ]
    assert all(abs(math.log(point.chi1)) <= abs(math.log(other)) for other in others)


def _mean_square(s: float) -> float:
    z, w = np.polynomial.hermite_e.hermegauss(120)
    return float(np.dot(w, (s * z - np.tanh(s * z)) ** 2) / w.sum())


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        (("sinus", 3), {}, "'sinus' is not known"),
        (("tanh", 0), {}, "depth = 0"),
        (("relu", 3), {"sigma_b": 0.2}, "no stable edge of chaos"),
    ],
)
def test_errors_are_one_line(arguments, options, text: str) -> None:
    with pytest.raises(CritauditError, match=text) as caught:
        operating_point(*arguments, **options)
    assert "\n" not in str(caught.value)
