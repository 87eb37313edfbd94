"""The geometry of curves whose shape is known: circles, ellipses, lines, torus knots; and of any by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import ellipe

from critaudit.dynamics.manifold import CV_OF_A_LINE, CV_OF_TANH_CIRCLE, Curve, Geometry, curve_geometry
from critaudit.errors import CritauditError

Array = NDArray[np.float64]


def _curve(points: Array, epsilon: float = 2.3e-16) -> Curve:
    centred = points - points.mean(axis=0)
    return Curve(centred @ centred.T, float(np.square(points).mean()), points.shape[1], epsilon)


def _measure(points: Array) -> Geometry:
    return curve_geometry(_curve(points))


def _angles(count: int = 256) -> Array:
    return np.arange(count) * (2 * np.pi / count)


def _embedded(plane: Array, size: int = 40, seed: int = 0) -> Array:
    """Points of a few coordinates, rotated into `size` dimensions."""
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, plane.shape[1])))[0]
    return plane @ basis.T


def _ellipse(a: float, b: float, count: int = 256) -> Array:
    return np.stack([a * np.cos(_angles(count)), b * np.sin(_angles(count))], axis=1)


def _wild(seed: int, count: int = 64, size: int = 30) -> Array:
    """A smooth closed curve without any symmetry, off the origin."""
    rng = np.random.default_rng(seed)
    waves = [np.cos(k * _angles(count)[:, None] + rng.uniform(0, 6, size)) / k for k in (1, 2, 3)]
    return np.asarray(sum(waves) + rng.standard_normal(size))


@pytest.mark.parametrize("count", [8, 16, 33, 256])
@pytest.mark.parametrize("radius", [1e-12, 3.0, 1e12])
def test_given_a_circle_of_any_size_then_every_number_is_that_of_a_circle(count: int, radius: float) -> None:
    plane = radius * np.stack([np.cos(_angles(count)), np.sin(_angles(count))], axis=1)

    found = _measure(_embedded(plane))

    assert found.cv == pytest.approx(0.0, abs=1e-9)
    assert found.participation == pytest.approx(2.0, rel=1e-9)
    assert found.variance_shares[:2] == pytest.approx((0.5, 0.5))
    assert found.singular_shares[:2] == pytest.approx((0.5, 0.5), abs=1e-4)
    assert found.curvature == pytest.approx(1.0, abs=1e-6)
    assert found.curvature_error < 1e-6
    assert found.turns == pytest.approx(1.0, abs=1e-6)
    assert found.spread == pytest.approx(1.0)
    assert found.strength == pytest.approx(radius / math.sqrt(40))
    # What is left of the polygon's shortness is of fourth order in its step.
    assert found.length == pytest.approx(2 * math.pi * radius / math.sqrt(40), rel=3 * (2 * math.pi / count) ** 4)
    assert found.correlation_width == pytest.approx(math.pi / 3, rel=(2 * math.pi / count) ** 2)
    assert np.linalg.norm(found.projection[:, :2], axis=1) == pytest.approx(np.ones(count))
    assert np.abs(found.projection[:, 2]).max() < 1e-6


@pytest.mark.parametrize(("a", "b"), [(2.0, 1.0), (1.0, 3.0), (1.0, 0.8)])
def test_given_an_ellipse_then_moments_length_and_curvature_are_the_known_integrals(a: float, b: float) -> None:
    found = _measure(_embedded(_ellipse(a, b, 512)))

    def speed(t: float) -> float:
        return math.hypot(a * math.sin(t), b * math.cos(t))

    mean, square = (
        quad(lambda t, power=power: speed(t) ** power, 0, 2 * math.pi)[0] / (2 * math.pi) for power in (1, 2)
    )
    radius = math.sqrt((a * a + b * b) / 2)
    curvature = quad(lambda t: a * b / speed(t) ** 3, 0, 2 * math.pi)[0] / (2 * math.pi)
    long, short = max(a, b), min(a, b)
    assert found.cv == pytest.approx(math.sqrt(square / mean**2 - 1), rel=1e-3)
    assert found.participation == pytest.approx((a * a + b * b) ** 2 / (a**4 + b**4))
    assert found.length == pytest.approx(4 * long * ellipe(1 - (short / long) ** 2) / math.sqrt(40), rel=1e-6)
    assert found.curvature == pytest.approx(curvature * radius, rel=1e-4)
    assert found.turns == pytest.approx(1.0, abs=1e-6)
    assert found.singular_shares[0] == pytest.approx(long / (a + b), abs=1e-4)


def test_given_a_circle_on_a_line_then_cv_is_that_of_a_rank_one_image() -> None:
    found = _measure(_embedded(np.cos(_angles(512) + 0.1)[:, None]))
    assert pytest.approx(0.4834, abs=5e-5) == CV_OF_A_LINE
    assert found.cv == pytest.approx(CV_OF_A_LINE, rel=1e-4)
    assert found.participation == pytest.approx(1.0)
    assert found.turns == pytest.approx(1.0, abs=1e-2)


def test_given_the_unit_circle_of_two_units_behind_tanh_then_cv_is_the_reference_line() -> None:
    assert _measure(np.tanh(_ellipse(1.0, 1.0, 512))).cv == pytest.approx(CV_OF_TANH_CIRCLE, abs=3e-5)


@pytest.mark.parametrize(("waves", "size"), [(3, 0.5), (5, 0.2), (7, 1.0)])
def test_given_a_torus_knot_then_curvature_and_turns_are_its_closed_forms(waves: int, size: float) -> None:
    # GIVEN (cos t, sin t, r cos kt, r sin kt), whose speed and curvature are constant
    t = _angles(512)
    knot = np.stack([np.cos(t), np.sin(t), size * np.cos(waves * t), size * np.sin(waves * t)], axis=1)
    found = _measure(_embedded(knot))
    # THEN |∂h|² = 1 + r²k², |∂²h|² = 1 + r²k⁴, and the two are orthogonal
    speed, bend = math.sqrt(1 + (size * waves) ** 2), math.sqrt(1 + size**2 * waves**4)
    assert found.cv == pytest.approx(0.0, abs=1e-9)
    assert found.curvature == pytest.approx(bend / speed**2 * math.sqrt(1 + size**2), rel=1e-4)
    assert found.turns == pytest.approx(bend / speed, rel=2e-3)
    assert found.turns_error < 0.01
    assert found.participation == pytest.approx((1 + size**2) ** 2 / (0.5 * (1 + size**4)))


def test_given_any_curve_then_the_gram_matrix_gives_what_the_points_give() -> None:
    points = _wild(3)
    found = _measure(points)
    steps = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    centred = points - points.mean(axis=0)
    singular = np.linalg.svd(centred, compute_uv=False)
    chords = np.roll(points, -1, axis=0) - points
    cosines = np.sum(chords * np.roll(chords, -1, axis=0), axis=1) / (steps * np.roll(steps, -1))
    assert found.cv == pytest.approx(steps.std() / steps.mean(), rel=1e-9)
    assert found.variance == pytest.approx(centred.var(axis=0).mean())
    assert found.spread == pytest.approx(centred.var(axis=0).mean() / np.square(points).mean())
    assert found.variance_shares == pytest.approx((singular**2 / np.sum(singular**2))[:5])
    assert found.singular_shares == pytest.approx((singular / singular.sum())[:5], rel=1e-4)
    assert found.participation == pytest.approx(np.sum(singular**2) ** 2 / np.sum(singular**4))
    assert found.turns == pytest.approx(np.arccos(cosines).sum() / (2 * np.pi), rel=1e-6)
    assert found.step_correlation == pytest.approx(np.sum(centred * np.roll(centred, -1, axis=0)) / np.sum(centred**2))
    assert found.length == pytest.approx(steps.sum() / math.sqrt(30), rel=0.02)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    scale=st.floats(1e-6, 1e6),
    shift=st.integers(0, 63),
    reverse=st.booleans(),
)
def test_given_another_scale_start_direction_or_rotation_then_the_shape_is_the_same(
    seed: int, scale: float, shift: int, reverse: bool
) -> None:
    points = _wild(seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((30, 30)))[0]
    moved = scale * np.roll(points, shift, axis=0)[:: -1 if reverse else 1] @ rotation

    one, two = _measure(points), _measure(moved)

    for name in ("spread", "cv", "participation", "turns", "curvature", "correlation_width", "step_correlation"):
        assert getattr(two, name) == pytest.approx(getattr(one, name), rel=1e-6)
    assert two.length == pytest.approx(scale * one.length, rel=1e-9)
    assert two.variance_shares == pytest.approx(one.variance_shares, rel=1e-6)


def test_given_kinks_then_curvature_and_turns_differ_from_those_of_every_second_point() -> None:
    # GIVEN a curve of many dimensions that is straight between random kinks, as behind a wide ReLU layer
    rng = np.random.default_rng(0)
    w = rng.standard_normal((2, 4000))
    for depth in range(2):
        points = np.maximum(_ellipse(1.0, 1.0, 64) @ w, 0.0)
        if depth:
            points = np.maximum(points @ rng.standard_normal((4000, 400)) / 60, 0.0)
    found = _measure(points)
    # THEN the number of points shows in the result, and its error says so
    assert found.curvature_error > 0.05 * found.curvature
    assert found.length_error < 0.02 * found.length


def test_given_points_without_a_curve_then_it_is_a_one_line_error() -> None:
    circle = _ellipse(1.0, 1.0, 16)
    with pytest.raises(CritauditError, match="7 points were given"):
        _measure(circle[:7])
    with pytest.raises(CritauditError, match="NaN or infinite"):
        _measure(np.where(circle > 0.99, np.nan, circle))
    with pytest.raises(CritauditError, match="has become a point"):
        _measure(np.zeros((16, 3)))
    with pytest.raises(CritauditError, match="has become a point"):
        curve_geometry(_curve(1e-7 * circle + 1.0, epsilon=1.2e-7))
    with pytest.raises(CritauditError, match="no more than rounding"):
        curve_geometry(_curve(7e-6 * _ellipse(1.0, 1.0, 256) + 0.7, epsilon=1.2e-7))


def test_given_a_curve_that_stands_still_for_a_while_then_its_numbers_are_finite() -> None:
    points = _ellipse(1.0, 2.0, 64)
    points[:9] = points[0]
    found = _measure(points)
    assert all(math.isfinite(value) for value in (found.cv, found.curvature, found.turns, found.length))
    assert 0.9 < found.turns < 1.1
