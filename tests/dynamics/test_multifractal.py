"""Dimensions of the modes of running networks: brute force, the references they stand beside, and their reasons."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.dynamics.multifractal import LayerDimensions, layer_dimensions
from critaudit.dynamics.running import running
from critaudit.laws.multifractal import ORDERS, dimensions, gaussian_dimensions
from tests.dynamics.networks import random_network, viewed

D2 = ORDERS.index(2.0)


def _found(network: nn.Module, **options: object) -> dict[str, LayerDimensions]:
    view, _ = viewed(network)
    assert view.runnable is not None
    with running(view.runnable, **options) as ready:  # type: ignore[arg-type]
        return {layer.tensor: layer for layer in layer_dimensions(ready, view)}


def test_given_a_square_layer_then_dimensions_are_those_of_the_jacobians_eigenvectors() -> None:
    network = random_network(24, 2, 1.9, 1.2, seed=1)
    inputs = np.random.default_rng(2).standard_normal((3, 24)).astype(np.float32)
    found = _found(network, inputs=inputs, samples=3)["2.weight"]

    means, counts = {"left": [], "right": []}, []
    for x in torch.from_numpy(inputs):
        slopes = (1 - torch.tanh(network[0](x)) ** 2).detach().double().numpy()
        J = network[2].weight.detach().double().numpy() * slopes
        for side, matrix in (("right", J), ("left", J.T)):
            values, vectors = np.linalg.eig(matrix)
            kept = np.abs(values) > 0.01 * np.abs(values).max()
            means[side].append(dimensions(vectors[:, kept]).mean(axis=1))
        counts.append(int(kept.sum()))
    assert (found.kind, found.activation, found.points) == ("eigenvectors", "tanh", 3)
    assert (found.n, found.discarded, found.faint) == (sum(counts), 0, 3 * 24 - sum(counts))
    for side in ("left", "right"):
        held = getattr(found, side)
        np.testing.assert_allclose(held.dimensions, np.mean(means[side], axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(held.by_point, np.array(means[side])[:, D2], rtol=1e-4)
        assert held.quantiles[0] <= held.quantiles[1] <= held.quantiles[2]
        assert held.sites == 24
    assert found.residual < 1e-6


def test_given_a_rectangular_layer_then_dimensions_are_those_of_its_singular_vectors() -> None:
    network = random_network(30, 1, 1.8, 1.0, seed=3, out=6)
    inputs = np.random.default_rng(4).standard_normal((2, 30)).astype(np.float32)
    for turned in (False, True):
        if turned:  # more outputs than inputs
            wide = nn.Linear(6, 30, bias=False)
            wide.weight = nn.Parameter(network[2].weight.T.detach().clone())
            network = nn.Sequential(nn.Linear(30, 6), nn.Tanh(), wide)
        found = _found(network, inputs=inputs, samples=2)["2.weight"]
        left, right = [], []
        for x in torch.from_numpy(inputs):
            slopes = (1 - torch.tanh(network[0](x)) ** 2).detach().double().numpy()
            U, sigma, Vt = np.linalg.svd(network[2].weight.detach().double().numpy() * slopes, full_matrices=False)
            kept = sigma > 0.01 * sigma[0]
            left.append(dimensions(U[:, kept]).mean(axis=1))
            right.append(dimensions(Vt[kept].T).mean(axis=1))
        assert found.kind == "singular vectors"
        assert (found.left.sites, found.right.sites) == ((30, 6) if turned else (6, 30))
        np.testing.assert_allclose(found.left.dimensions, np.mean(left, axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.right.dimensions, np.mean(right, axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.left.reference, gaussian_dimensions(found.left.sites, is_complex=False))


def test_given_gaussian_weights_without_nonlinearity_then_dimensions_are_the_reference() -> None:
    found = _found(random_network(150, 1, 2.0, 1.0, seed=5))["0.weight"]

    # Means over 150 vectors scatter by 0.002; Gaussian eigenvectors are a little more localised near real eigenvalues.
    for side in (found.left, found.right):
        np.testing.assert_allclose(side.dimensions, side.reference, atol=0.02)
        np.testing.assert_allclose(side.shuffled, side.reference, atol=0.02)
    assert found.points == 1


def test_given_heavy_tails_then_left_vectors_agree_with_the_shuffled_layer_and_not_with_gaussian_ones() -> None:
    found = _found(random_network(150, 3, 1.2, 1.5, seed=6))["4.weight"]

    assert found.left.reference[D2] - found.left.dimensions[D2] > 0.1
    assert found.left.shuffled[D2] == pytest.approx(found.left.dimensions[D2], abs=0.12)
    assert found.right.dimensions[D2] < found.left.dimensions[D2]


def test_given_half_the_neurons_off_then_left_vectors_sit_on_the_others() -> None:
    network = random_network(80, 2, 2.0, 1.0, seed=7, activation=nn.ReLU)
    found = _found(network, samples=2)["2.weight"]

    support = found.left.dimensions[0]  # D_0 = ln(sites that are not zero)/ln N
    assert 0.75 < support < 0.95
    assert found.right.dimensions[0] == pytest.approx(1.0)
    assert found.faint > 0


def test_given_layers_without_vectors_then_each_has_its_reason() -> None:
    dead = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    with torch.no_grad():
        dead[0].bias.fill_(-1e3)
    found = _found(dead)

    assert "slopes are zero" in found["2.weight"].reason
    assert "single entry" in found["4.weight"].reason
    assert found["0.weight"].reason is None


def test_given_degenerate_weights_then_nothing_breaks() -> None:
    network = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    with torch.no_grad():
        network[0].weight.fill_(0.1)  # rank one: one mode, spread evenly
        network[2].weight.zero_()
    found = _found(network)

    assert found["0.weight"].n == 1
    np.testing.assert_allclose(found["0.weight"].left.dimensions, 1.0, atol=1e-6)
    assert "zero" in found["2.weight"].reason


def test_given_a_layer_too_large_then_the_reason_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critaudit.dynamics.jacobian.dense.LARGEST_SQUARE", 16)
    found = _found(random_network(20, 2, 2.0, 1.0, seed=8))

    assert all("spectra are computed up to" in layer.reason for layer in found.values())


def test_given_the_same_seed_then_the_numbers_are_the_same() -> None:
    network = random_network(30, 2, 1.5, 1.2, seed=9)
    first, again = _found(network)["2.weight"], _found(network)["2.weight"]

    np.testing.assert_array_equal(first.left.dimensions, again.left.dimensions)
    np.testing.assert_array_equal(first.right.shuffled, again.right.shuffled)
