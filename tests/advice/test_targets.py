"""Where a layer's own edge is, and which layers have none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from critaudit.advice.course import LayerCourse, OptimizerSetting
from critaudit.advice.decaying.targets import rotation, target
from critaudit.theory import gaussian, spin_glass
from tests.advice.courses import SGD, layer


def one(**changes: object) -> LayerCourse:
    return layer([0.0], [0.3], SGD, **changes)


@pytest.mark.parametrize(("j0", "edge"), [(0.0, 1.0), (-0.7, 1.0), (1.5, spin_glass.boundary(1.5) ** 2)])
def test_square_tanh_layers_have_zhang21s_boundary_which_biases_raise(j0: float, edge: float) -> None:
    for sigma_b in (None, 0.0):
        assert target(one(j0=(j0,), sigma_b=sigma_b)).number == pytest.approx(edge)
    biased = target(one(j0=(j0,), sigma_b=0.4))
    assert biased.number == pytest.approx(spin_glass.boundary(j0, 0.4) ** 2)
    assert "σ_b = 0.4" in (biased.method or "")
    if abs(j0) <= 1.0:
        assert biased.number == pytest.approx(gaussian.edge_of_chaos(0.4) ** 2)


def test_other_shapes_and_activations_have_the_gaussian_edge_at_their_bias() -> None:
    wide = {"shape": (50, 100)}
    assert target(one(**wide)).number == pytest.approx(1.0)
    expected = gaussian.edge_of_chaos(0.3, "tanh") ** 2
    assert target(one(sigma_b=0.3, **wide)).number == pytest.approx(expected)
    assert target(one(kind="conv", shape=(8, 8, 3, 3), sigma_b=0.3)).number == pytest.approx(expected)
    assert target(one(activation="erf")).number == pytest.approx(math.pi / 4)
    assert target(one(activation="selu", sigma_b=0.1)).number == pytest.approx(gaussian.edge_of_chaos(0.1, "selu") ** 2)


@pytest.mark.parametrize("sigma_b", [None, 0.0, 0.4])
def test_straight_lines_have_a_borderline_whatever_the_bias(sigma_b: float | None) -> None:
    found = target(one(activation="relu", sigma_b=sigma_b))
    assert found.number == pytest.approx(2.0)
    assert "borderline" in (found.method or "")
    assert target(one(activation="leaky_relu(0.2)")).number == pytest.approx(2.0 / 1.04)


def test_an_unstable_edge_is_not_advised() -> None:
    found = target(one(activation="gelu"))
    assert found.status == "undetermined"
    assert "not stable" in (found.reason or "")
    assert target(one(activation="gelu", sigma_b=0.5)).status == "measured"


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"kind": "embedding"}, "not_applicable", "embedding"),
        ({"kind": "recurrent"}, "not_applicable", "gate"),
        ({"activation": "identity"}, "not_applicable", "output"),
        ({"normalised": True}, "not_applicable", "normalisation"),
        ({"activation": None}, "undetermined", "activation="),
        ({"activation": "prelu"}, "undetermined", "not known"),
        ({"activation": "softplus"}, "undetermined", "no edge of chaos"),
    ],
)
def test_layers_without_an_edge_say_why(changes: dict[str, object], status: str, words: str) -> None:
    found = target(one(**changes))
    assert found.status == status
    assert words in (found.reason or "")


def test_an_activation_that_is_named_fills_in_for_one_that_is_not_known() -> None:
    assert target(one(activation=None), activation="relu").number == pytest.approx(2.0)
    assert target(one(activation="tanh"), activation="relu").number == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("setting", "step"),
    [
        (OptimizerSetting("SGD", 0.1, weight_decay=5e-3), lambda p: torch.optim.SGD(p, 0.1, weight_decay=5e-3)),
        (
            OptimizerSetting("SGD", 0.05, momentum=0.8, weight_decay=5e-3),
            lambda p: torch.optim.SGD(p, 0.05, momentum=0.8, weight_decay=5e-3),
        ),
        (
            OptimizerSetting("AdamW", 0.01, betas=(0.9, 0.999), weight_decay=0.5, decoupled=True),
            lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.5),
        ),
    ],
)
def test_normalised_weights_turn_at_the_predicted_pace(setting: OptimizerSetting, step: object) -> None:
    """Gradients at right angles to the weights, that go with 1/|w|: what a normalisation behind them makes."""
    draws = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(400, generator=draws) * 0.1)
    optimizer = step([weight])  # type: ignore[operator]
    angles = []
    for count in range(2400):
        before = weight.detach().clone()
        noise = torch.randn(400, generator=draws) / before.norm()
        weight.grad = noise - (noise @ before) / (before @ before) * before
        optimizer.step()
        if count >= 1800:
            angles.append(math.acos(min(1.0, float(nn_cosine(before, weight.detach())))))
    expected = rotation(setting)
    assert expected is not None
    assert float(np.sqrt(np.mean(np.square(angles)))) == pytest.approx(expected, rel=0.1)
    said = target(one(normalised=True, settings=(setting,))).reason or ""
    assert "rad per step" in said


def nn_cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.dot(a, b) / (a.norm() * b.norm())
