"""Layers and blocks applied to their own output, in a report: numbers where that means something, else why not."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import nn

import critaudit
from critaudit.report.html import render


def _layer(size: int, sigma_w: float, seed: int) -> nn.Linear:
    layer = nn.Linear(size, size, bias=False)
    nn.init.normal_(layer.weight, std=sigma_w / math.sqrt(size), generator=torch.Generator().manual_seed(seed))
    return layer


def _audit(network: object, **options: object) -> critaudit.Report:
    return critaudit.audit(network, only=["asymptotic"], device="cpu", **options)  # type: ignore[arg-type]


def test_given_ordered_and_chaotic_layers_then_each_is_told_from_the_other() -> None:
    network = nn.Sequential(_layer(300, 0.5, 0), nn.Tanh(), _layer(300, 2.5, 1), nn.Tanh(), nn.Linear(300, 4))
    report = _audit(network)
    ordered, chaotic, last = (layer.measurements for layer in report.layer_records)
    assert ordered["asymptotic.phase"].value == "ordered"
    assert ordered["asymptotic.attractor"].value == "the signal dies out"
    assert ordered["asymptotic.jacobian"].number == pytest.approx(0.5, rel=0.05)
    assert (ordered["asymptotic.distance"].number or 0.0) < 1e-9
    assert chaotic["asymptotic.phase"].value == "chaotic"
    assert chaotic["asymptotic.attractor"].value == "moving"
    assert (chaotic["asymptotic.distance"].number or 0.0) > 0.1
    for name in ("exponent", "jacobian", "distance", "strength"):
        measurement = chaotic[f"asymptotic.{name}"]
        assert measurement.n == 4
        assert measurement.interval is not None
        assert measurement.interval[0] <= (measurement.number or 0.0) <= measurement.interval[1]
    assert last["asymptotic.exponent"].status == "not_applicable"
    assert "4×300" in (last["asymptotic.exponent"].reason or "")
    assert (report.model["asymptotic.layers_ordered"].value, report.model["asymptotic.layers_chaotic"].value) == (1, 1)
    (finding,) = report.findings
    assert (finding.rule, finding.layer, finding.severity) == ("asymptotic.chaotic", "2.weight", "info")
    assert "Lyapunov exponent" in render(report)


def test_given_a_layer_at_the_edge_then_its_phase_is_undetermined_with_the_interval() -> None:
    phase = _audit(nn.Sequential(_layer(300, 1.1, 3), nn.Tanh())).layer_records[0].measurements["asymptotic.phase"]
    assert phase.status == "undetermined"
    assert "at the edge within error" in (phase.reason or "")


def test_given_relu_above_its_edge_then_the_iteration_is_said_to_diverge() -> None:
    measurements = _audit(nn.Sequential(_layer(200, 2.0, 0), nn.ReLU())).layer_records[0].measurements
    for name in ("exponent", "phase", "jacobian"):
        assert measurements[f"asymptotic.{name}"].status == "undetermined"
        reason = measurements[f"asymptotic.{name}"].reason or ""
        grown = re.search(r"the iteration diverges: the signal grows ([\d.]+)-fold per step", reason)
        assert grown is not None
        # √(σ_w²/2), within what a width of 200 leaves
        assert float(grown[1]) == pytest.approx(math.sqrt(2), rel=0.15)


def test_given_weights_alone_then_layers_are_iterated_with_the_named_activation() -> None:
    weights = {"a.weight": _layer(60, 0.5, 0).weight.detach(), "b.weight": torch.ones(7, 60) / 60}
    without = _audit(weights)
    assert "--activation" in (without.layer_records[0].measurements["asymptotic.phase"].reason or "")
    assert _audit(weights, activation="tanh").layer_records[0].measurements["asymptotic.phase"].value == "ordered"
    odd = {"conv.weight": torch.ones(4, 4, 3, 3), "other": torch.ones(2, 2, 2)}
    held = _audit(odd, activation="tanh").layer_records[0].measurements["asymptotic.phase"]
    assert "a layer of kind conv" in (held.reason or "")


def test_given_bad_weights_or_a_linear_end_then_there_is_a_reason() -> None:
    network = nn.Sequential(_layer(8, 1.0, 0), nn.Tanh(), _layer(8, 1.0, 1))
    with torch.no_grad():
        network[0].weight[0, 0] = math.nan
    broken = _audit(network).layer_records[0].measurements["asymptotic.exponent"]
    assert (broken.status, broken.reason) == ("undetermined", "the weights hold NaN or infinite values")
    chain = {f"{name}.weight": _layer(8, 1.0, 0).weight.detach() for name in "ab"}
    end = _audit(chain, activation="tanh").layer_records[1].measurements["asymptotic.exponent"]
    assert "no nonlinearity follows" in (end.reason or "")


class _Block(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        self.one, self.two = _layer(30, gain, 0), _layer(30, gain, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.two(torch.tanh(self.one(x))))


def test_given_blocks_of_a_network_that_runs_then_the_model_has_one_number_for_each() -> None:
    network = nn.Sequential(nn.Linear(5, 30), _Block(0.5), _Block(4.0), nn.Linear(30, 2))
    model = _audit(network).model
    assert model["asymptotic.blocks"].value == ("1", "2")
    assert model["asymptotic.block_phases"].value == ("ordered", "chaotic")
    exponents, norms = (model[f"asymptotic.block_{name}"].value for name in ("exponents", "jacobians"))
    assert isinstance(exponents, tuple)
    assert isinstance(norms, tuple)
    assert float(exponents[0]) < 0 < float(exponents[1])
    assert float(norms[0]) == pytest.approx(0.25, rel=0.3)


def test_given_a_network_without_such_blocks_then_it_says_so() -> None:
    model = _audit(nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))).model
    assert model["asymptotic.blocks"].status == "not_applicable"
    assert "shape of its input" in (model["asymptotic.blocks"].reason or "")
