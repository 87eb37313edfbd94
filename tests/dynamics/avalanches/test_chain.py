"""The chain of strengths against exact probabilities, drawn sites and matrix products."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import gammainc
from scipy.stats import chi2, ks_2samp, norm

from critaudit.dynamics.avalanches import conveyor, quenched
from critaudit.dynamics.avalanches.chain import Chain, Table, root_chi_square
from critaudit.dynamics.avalanches.quenched import Recipe
from critaudit.dynamics.avalanches.sites import Sites
from critaudit.theory.activations import named_activation

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "gaussian_mean_field.json").read_text())


def recipe(width: int, name: str = "tanh", sigma_w: float = 1.05, sigma_b: float = 0.0, depth: int = 40) -> Recipe:
    return Recipe(width, depth, sigma_w, sigma_b, named_activation(name), 0.2)


def by_chain(of: Recipe, paths: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    task = conveyor.Task(1, paths, of.depth, of.width, of.strength)
    return conveyor.endings(task, Chain(Table(of), np.random.default_rng(seed)))


def by_sites(of: Recipe, paths: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    task = conveyor.Task(1, paths, of.depth, of.width, of.strength)
    settings = (of.activation, of.width, of.sigma_w, of.sigma_b, of.strength, of.alpha)
    return conveyor.endings(task, Sites(*settings, np.random.default_rng(seed)))


@pytest.mark.parametrize("width", [33, 100, 400, 10_000, 1_000_000])
def test_given_normal_numbers_when_transformed_then_they_are_chi_square_quantiles(width: int) -> None:
    z = np.linspace(-5.5, 5.5, 201)
    exact = np.sqrt(np.where(z < 0, chi2.ppf(norm.cdf(z), width), chi2.isf(norm.sf(z), width)) / width)
    np.testing.assert_allclose(np.polyval(root_chi_square(width), z), exact, atol=4e-7 / math.sqrt(2 * width))


def test_given_the_golden_survival_of_linear_networks_when_simulated_then_within_monte_carlo_error() -> None:
    (golden,) = GOLDEN["linear_survival"]
    paths = 200_000
    of = Recipe(golden["N"], 201, math.sqrt(golden["sw2"]), 0.0, named_activation("identity"), 1.0)
    lasting, _ = by_chain(of, paths)
    for duration, expected in golden["P_D_ge"].items():
        error = math.sqrt(expected * (1.0 - expected) / paths)
        assert abs(np.mean(lasting >= int(duration)) - expected) < 5.5 * error


@pytest.mark.parametrize("golden", GOLDEN["no_avalanche_probability"])
@pytest.mark.parametrize("name", ["tanh", "relu", "identity"])
def test_given_no_bias_when_simulated_then_the_share_without_avalanche_is_the_exact_one(
    golden: dict[str, float], name: str
) -> None:
    width, variance, paths = int(golden["N"]), golden["sw2"], 100_000
    assert gammainc(width / 2, width / (2 * variance)) == pytest.approx(golden["p"], abs=1e-12)
    lasting, _ = by_chain(recipe(width, name, math.sqrt(variance), depth=3), paths)
    error = math.sqrt(golden["p"] * (1.0 - golden["p"]) / paths)
    assert abs(np.mean(lasting == 0) - golden["p"]) < 5.5 * error


@pytest.mark.parametrize(
    ("width", "name", "sigma_w", "sigma_b"),
    [(40, "tanh", 1.1, 0.1), (100, "tanh", 1.05, 0.0), (400, "tanh", 1.02, 0.05), (64, "relu", 1.42, 0.0),
     (64, "gelu", 1.9, 0.05), (100, "erf", 0.92, 0.05)],
)  # fmt: skip
def test_given_every_site_drawn_when_compared_then_durations_and_sizes_have_one_law(
    width: int, name: str, sigma_w: float, sigma_b: float
) -> None:
    of = recipe(width, name, sigma_w, sigma_b)
    chain, sites = by_chain(of, 40_000), by_sites(of, 600_000 // width)
    assert len(np.unique(sites[0])) > 5
    for ours, theirs in zip(chain, sites, strict=True):
        assert ks_2samp(ours, theirs).pvalue > 1e-6


@pytest.mark.parametrize(("width", "networks"), [(100, 300), (400, 60)])
def test_given_matrix_products_when_compared_then_durations_and_sizes_have_one_law(width: int, networks: int) -> None:
    of = recipe(width, sigma_w=1.03, sigma_b=0.05, depth=15)
    paths = [quenched.Path(of, 1) for _ in range(networks)]
    for path, seed in zip(paths, np.random.SeedSequence(3).spawn(networks), strict=True):
        quenched.follow(of, path, 1, seed)
    lasting, excess = by_chain(of, 30_000)
    assert ks_2samp(lasting, [path.lasting[0] for path in paths]).pvalue > 1e-6
    assert ks_2samp(excess, [path.excess[0] for path in paths]).pvalue > 1e-6


def test_given_a_diverging_signal_when_simulated_then_numbers_stay_finite_and_paths_are_censored() -> None:
    lasting, excess = by_chain(Recipe(50, 400, 3.0, 0.0, named_activation("relu"), 1.0), 200)
    assert np.mean(lasting == 400) > 0.9
    assert np.all(np.isfinite(excess))
