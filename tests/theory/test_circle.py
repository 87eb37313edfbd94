"""Poole's mean field of a circle: fixed points, closed forms, and what it refuses."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss

from critaudit.errors import CritauditError
from critaudit.theory import gaussian
from critaudit.theory.circle import circle_through_layers


def _average(values: np.ndarray, weights: np.ndarray) -> float:
    return float(values @ weights / weights.sum())


def test_given_tanh_then_each_layer_follows_from_the_one_before_by_independent_quadrature() -> None:
    z, weights = hermegauss(120)
    found = circle_through_layers(1.5, 0.2, "tanh", layers=6, strength=0.8)
    assert (found[0].q, found[0].stretch) == pytest.approx((1.5**2 * 0.8**2 + 0.04, 1.5**2 * 0.8**2))
    for here, after in itertools.pairwise(found):
        t = np.tanh(math.sqrt(here.q) * z)
        chi1 = 1.5**2 * _average((1 - t**2) ** 2, weights)
        chi2 = 1.5**2 * _average((2 * t * (1 - t**2)) ** 2, weights)
        assert after.q == pytest.approx(1.5**2 * _average(t**2, weights) + 0.04, rel=1e-6)
        assert after.stretch == pytest.approx(chi1 * here.stretch, rel=1e-6)
        assert after.curvature**2 == pytest.approx(3 * chi2 / chi1**2 + here.curvature**2 / chi1, rel=1e-6)


def test_given_many_layers_then_length_grows_by_root_chi1_and_curvature_settles_in_the_chaotic_phase_alone() -> None:
    chaotic, ordered = (circle_through_layers(sigma_w, 0.3, "tanh", layers=200) for sigma_w in (2.0, 0.8))
    chi1 = gaussian.chi1(2.0, 0.3, "tanh")
    assert chaotic[-1].stretch / chaotic[-2].stretch == pytest.approx(chi1)
    assert chaotic[-1].curvature == pytest.approx(chaotic[-2].curvature)
    # Below the edge the curve shrinks, and what remains is a circle of ever larger curvature.
    assert ordered[-1].curvature / ordered[-2].curvature == pytest.approx(
        1 / math.sqrt(gaussian.chi1(0.8, 0.3, "tanh"))
    )


def test_given_a_linear_network_then_the_circle_stays_one() -> None:
    for layer in circle_through_layers(1.3, 0.0, lambda x: 1.0 * x, layers=5):
        assert layer.relative_curvature == pytest.approx(1.0, abs=1e-6)
        assert layer.stretch == pytest.approx(layer.q)


def test_given_kinks_or_impossible_numbers_then_it_says_so() -> None:
    for activation in ("relu", "leaky_relu(0.1)", "hardtanh"):
        with pytest.raises(CritauditError, match="has kinks"):
            circle_through_layers(1.0, 0.0, activation, layers=3)
    with pytest.raises(CritauditError, match="layers = 0"):
        circle_through_layers(1.0, 0.0, "tanh", layers=0)
