"""Drawn sites: stable pre-activations have the scale that the theory gives, and α = 2 is the Gaussian case."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ks_2samp

from critaudit.dynamics.avalanches import conveyor, quenched
from critaudit.dynamics.avalanches.quenched import Recipe
from critaudit.dynamics.avalanches.sites import Sites
from critaudit.theory import levy
from critaudit.theory.activations import named_activation


def sites(of: Recipe, seed: int = 0) -> Sites:
    return Sites(
        of.activation, of.width, of.sigma_w, of.sigma_b, of.strength, of.alpha, np.random.default_rng(seed)
    )  # fmt: skip


@pytest.mark.parametrize("alpha", [1.0, 1.5, 1.9])
def test_given_a_wide_network_when_it_settles_then_its_scale_is_the_mean_field_fixed_point(alpha: float) -> None:
    of = Recipe(4000, 2, 1.1, 0.3, named_activation("tanh"), 1.0, alpha)
    steps = sites(of)
    state = steps.start(100)
    for _ in range(30):
        state = steps.advance(steps.strength(state))
    expected = levy.fixed_point(alpha, 1.1, bias=0.3**alpha).q
    found = state.astype(np.float64) ** alpha
    error = found.std() / math.sqrt(found.size)
    # Finite width shifts the mean by a relative 1/N or so.
    assert abs(found.mean() - expected) < 5.5 * error + 0.003 * expected


@pytest.mark.parametrize("alpha", [1.2, 1.7])
def test_given_stable_matrices_when_multiplied_then_durations_and_sizes_have_the_same_law(alpha: float) -> None:
    of = Recipe(40, 20, 0.8, 0.05, named_activation("tanh"), 0.3, alpha)
    paths = [quenched.Path(of, 1) for _ in range(400)]
    for path, seed in zip(paths, np.random.SeedSequence(5).spawn(400), strict=True):
        quenched.follow(of, path, 1, seed)
    lasting, excess = conveyor.endings(conveyor.Task(1, 5000, 20, 40, 0.3), sites(of))
    assert 0.05 < np.mean(lasting > 1) < 0.95
    assert ks_2samp(lasting, [path.lasting[0] for path in paths]).pvalue > 1e-6
    assert ks_2samp(excess, [path.excess[0] for path in paths]).pvalue > 1e-6


def test_given_width_one_when_run_then_the_strength_is_one_folded_normal() -> None:
    of = Recipe(1, 2, 2.0, 0.0, named_activation("identity"), 0.5)
    steps = sites(of)
    strength = steps.strength(steps.start(50_000))
    assert float(np.mean(np.square(strength, dtype=np.float64))) == pytest.approx(1.0, abs=5.5 * math.sqrt(2 / 50_000))
