"""The margin of square tanh layers to the (J₀, J) boundary: theory's value, its interval, and where it is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import critaudit
from critaudit.measurement import Measurement
from critaudit.theory import gaussian, spin_glass


def _edge(weight: torch.Tensor, activation: nn.Module | None) -> dict[str, Measurement]:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight)
    network = nn.Sequential(layer, activation) if activation is not None else nn.Sequential(layer)
    return dict(critaudit.audit(network, only=["edge"], device="cpu").layer_records[0].measurements)


def _weight(size: int, j0: float, j: float, seed: int = 0) -> torch.Tensor:
    noise = np.random.default_rng(seed).standard_normal((size, size))
    noise = (noise - noise.mean()) / noise.std()
    return torch.from_numpy((j0 / size + j / math.sqrt(size) * noise).astype(np.float32))


@pytest.mark.parametrize(("j0", "j"), [(0.0, 0.7), (0.0, 1.4), (2.5, 1.4), (-2.5, 1.4), (1.2, 1.3)])
def test_given_a_square_tanh_layer_then_boundary_and_margin_are_theorys(j0: float, j: float) -> None:
    found = _edge(_weight(100, j0, j), nn.Tanh())
    boundary, margin = found["edge.boundary"], found["edge.margin"]
    assert boundary.number == pytest.approx(spin_glass.boundary(j0), rel=1e-3)
    assert margin.number == pytest.approx(j - spin_glass.boundary(j0), abs=2e-3)
    assert margin.interval is not None
    assert margin.interval[0] < (margin.number or 0.0) < margin.interval[1]
    assert (found["edge.phase"].value == "chaotic") == ((margin.number or 0.0) > 0)


def test_given_many_layers_of_one_law_then_the_interval_of_the_margin_holds_the_truth_as_often_as_it_says() -> None:
    j0, j, size = 1.6, 1.5, 60
    truth, parts = j - spin_glass.boundary(j0), []
    rng = np.random.default_rng(7)
    for _ in range(30):
        layer = nn.Linear(size, size, bias=False)
        weight = j0 / size + j / math.sqrt(size) * rng.standard_normal((size, size))
        layer.weight = nn.Parameter(torch.from_numpy(weight.astype(np.float32)))
        parts += [layer, nn.Tanh()]
    report = critaudit.audit(nn.Sequential(*parts), only=["edge"], device="cpu")
    ends = [layer.measurements["edge.margin"].interval or (0.0, 0.0) for layer in report.layer_records]
    held = sum(low <= truth <= high for low, high in ends)
    # 95 % of 30 are 28.5; fewer than 21 would happen less than once in a million
    assert held >= 21


@pytest.mark.parametrize(
    ("shape", "activation", "words"),
    [
        ((6, 6), nn.ReLU(), "that of tanh layers; ln χ₁ (edge.distance) says it for other activations"),
        ((6, 4), nn.Tanh(), "that of square layers; ln χ₁ (edge.distance) says it for other shapes"),
    ],
)
def test_given_another_layer_then_it_says_what_was_measured_instead(
    shape: tuple[int, int], activation: nn.Module, words: str
) -> None:
    found = _edge(torch.randn(shape, generator=torch.Generator().manual_seed(0)), activation)
    for name in ("boundary", "margin", "phase"):
        assert found[f"edge.{name}"].status == "not_applicable"
        assert words in (found[f"edge.{name}"].reason or "")
    assert found["edge.distance"].status == "measured"


def test_given_weights_of_zero_then_the_distance_says_why_it_has_no_logarithm() -> None:
    found = _edge(torch.zeros(16, 16), nn.Tanh())

    assert found["edge.chi1"].value == 0.0
    assert found["edge.distance"].status == "undetermined"
    assert found["edge.distance"].reason == "χ₁ is 0, as of weights that are all equal: it has no logarithm"


@pytest.mark.parametrize(("depth", "words"), [(1, "the one layer whose"), (3, "3 of the 3 layers whose")])
def test_given_layers_far_from_their_edge_then_one_is_not_counted(depth: int, words: str) -> None:
    parts: list[nn.Module] = []
    for seed in range(depth):
        layer = nn.Linear(40, 40, bias=False)
        layer.weight = nn.Parameter(_weight(40, 0.0, 0.3, seed))
        parts += [layer, nn.Tanh()]
    found = critaudit.audit(nn.Sequential(*parts), only=["edge"], device="cpu").findings
    assert [finding.rule for finding in found] == ["edge.ordered"]
    assert f"{words} activation is known (|ln χ₁| > ln 2;" in found[0].text


@pytest.mark.parametrize(("j", "phase"), [(1.15, "ordered"), (1.25, "chaotic")])
def test_given_a_bias_then_the_boundary_is_where_chi1_is_one(j: float, phase: str) -> None:
    layer = nn.Linear(100, 100)
    layer.weight = nn.Parameter(_weight(100, 0.0, j))
    nn.init.constant_(layer.bias, 0.1)  # its edge is at J = 1.193
    report = critaudit.audit(nn.Sequential(layer, nn.Tanh()), only=["edge"], device="cpu")
    found = report.layer_records[0].measurements
    assert found["edge.phase"].value == phase
    assert found["edge.boundary"].number == pytest.approx(gaussian.edge_of_chaos(0.1), rel=1e-4)
    assert ((found["edge.distance"].number or 0.0) > 0) == ((found["edge.margin"].number or 0.0) > 0)
    assert (phase == "chaotic") == ((found["edge.margin"].number or 0.0) > 0)
