"""Avalanches in a report: verdict, exponents at three thresholds, null models; and nothing where there is nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import critaudit
from critaudit.analyzers import select
from critaudit.analyzers.avalanche import AVALANCHE, LINEAR, SURROGATES, THRESHOLDS, at_threshold, surrogate_nulls
from critaudit.analyzers.base import Settings
from critaudit.contents import Preprocessing, Runnable
from critaudit.dynamics import model_paths
from critaudit.dynamics.model_avalanches import Paths
from critaudit.model import ModelView
from critaudit.report.measures import describe


class _Deep(nn.Module):
    """Thirty tanh layers, then a normalised output."""

    def __init__(self, width: int = 24, depth: int = 30) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.norm(x).flatten(1)


@pytest.fixture(scope="module")
def view() -> ModelView:
    torch.manual_seed(2)
    network = _Deep()
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.normal_(0.0, 1.05 / 24**0.5)
    return critaudit.load(network)


@pytest.fixture(autouse=True)
def _inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_paths, "_MOST", 900)


def test_given_a_network_then_everything_is_reported_at_three_thresholds(view: ModelView) -> None:
    # WHEN it is audited
    report = critaudit.audit(view, only=["avalanche"])
    # THEN there are layers, avalanches and a verdict at each threshold, beside null models
    model = report.model
    assert model["avalanche.operations"].value == "30 Linear, 30 tanh"
    assert "graph traced" in str(model["avalanche.operations"].method)
    # The view, and the normalised output, whose strength is 1 but for rounding.
    assert model["avalanche.left_out"].value == 2
    for prefix in THRESHOLDS.values():
        assert model[f"{prefix}verdict"].status == "measured"
        assert model[f"{prefix}paths"].value == 900
        assert "900 inputs and 300 others for the thresholds" in str(model[f"{prefix}paths"].method)
        assert model[f"{prefix}depth"].value == 60
        assert "this one network" in str(model[f"{prefix}clusters"].method)
    shares = [model[f"{prefix}none_share"].number for prefix in ("avalanche.n-1.", "avalanche.", "avalanche.n1.")]
    # A Gaussian strength is below μ − σ, μ and μ + σ with these probabilities (5 standard errors, thresholds' own too).
    assert shares == pytest.approx([0.159, 0.5, 0.841], abs=0.15)
    assert model["avalanche.duration_density"].status == "measured"
    assert not any(describe(name).plotted for name in model if name.startswith(("avalanche.n-1.", "avalanche.n1.")))
    # AND the same for the linear layers alone
    assert model["avalanche.weights.depth"].value == 30
    assert model["avalanche.weights.verdict"].status == "measured"
    # AND one finding, which claims nothing that the verdict does not
    (finding,) = [one for one in report.findings if one.rule == "avalanche.verdict"]
    assert str(model["avalanche.verdict"].reason) in finding.text
    # AND says what became of the inputs where it counts the paths
    assert "900 paths at thresholds of mean strength (900 inputs and 300 others for the thresholds" in finding.text
    assert "critical" not in finding.text.replace("no critical point", "")
    assert finding.caveat is not None
    json.loads(json.dumps([held.value for held in model.values()], allow_nan=False))


def test_given_the_same_seed_then_the_same_measurements(view: ModelView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_paths, "_MOST", 256)
    first, second = (AVALANCHE.network(view, Settings(seed=5), ()) for _ in range(2))  # type: ignore[misc]
    assert first.model == second.model


def test_given_paths_of_noise_then_null_models_have_the_same_and_nothing_is_claimed() -> None:
    # GIVEN random walks with a pull to zero: no network, no criticality
    rng = np.random.default_rng(1)
    scores = np.zeros((2000, 80))
    for place in range(1, 80):
        scores[:, place] = 0.9 * scores[:, place - 1] + 0.436 * rng.standard_normal(2000)
    scores[:, 0] = rng.standard_normal(2000)
    names = tuple(f"layer{place}" for place in range(80))
    paths = Paths(names, scores, np.full((1, 80), 9.0), np.ones((1, 80)), np.zeros(2000, dtype=np.int64))
    # WHEN they are judged beside surrogates
    nulls = surrogate_nulls(paths, seed=3)
    found = at_threshold(paths, nulls, 0, "avalanche.")
    # THEN no class is named
    assert list(nulls) == list(SURROGATES.values())
    assert found["avalanche.verdict"].value in (
        "no power law",
        "too short a range",
        "like a null model",
        "undetermined",
    )
    assert "avalanche.classes" not in found


def test_given_a_network_that_cannot_run_then_the_reason_is_kept() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    runnable = Runnable(lambda: network.eval(), Preprocessing((5,)), {})
    held = critaudit.load(network)
    broken = ModelView(**{name: getattr(held, name) for name in held.__dataclass_fields__} | {"runnable": runnable})
    found = AVALANCHE.network(broken, Settings(), ())  # type: ignore[misc]
    assert found.model["avalanche.status"].status == "undetermined"
    assert "forward pass failed" in str(found.model["avalanche.status"].reason)
    assert list(AVALANCHE.find((), found.model)) == []  # type: ignore[misc]


def test_given_inputs_and_a_shallow_network_then_the_finding_says_where_inputs_went_and_that_depth_forbids_a_law() -> (
    None
):
    torch.manual_seed(0)
    layers = [part for _ in range(5) for part in (nn.Linear(20, 20), nn.Tanh())][:-1]
    inputs = np.random.default_rng(0).standard_normal((100, 20)).astype(np.float32)
    report = critaudit.audit(critaudit.load(nn.Sequential(*layers)), only=["avalanche"], inputs=inputs)
    (finding,) = [one for one in report.findings if one.rule == "avalanche.verdict"]
    assert finding.text.startswith("Too few layers: durations in 9 layers span 0.90 decades at most")
    assert "500" not in finding.text
    assert "66 paths at thresholds of mean strength (100 given inputs" in finding.text
    assert "every third of them for the thresholds" in finding.text


def test_given_too_few_operations_then_the_reason_is_kept() -> None:
    found = AVALANCHE.network(critaudit.load(nn.Linear(6, 6)), Settings(), ())  # type: ignore[misc]
    assert "at least 3" in str(found.model["avalanche.status"].reason)


def test_given_no_twin_then_surrogates_are_run_and_the_reason_is_kept() -> None:
    torch.manual_seed(4)
    network = nn.Sequential(*(nn.Linear(8, 8) for _ in range(6)))
    found = AVALANCHE.network(critaudit.load(network), Settings(), ())  # type: ignore[misc]
    assert "null model: no activation was found" in str(found.model["avalanche.operations"].method)
    told = str(found.model["avalanche.null_names"].reason or found.model["avalanche.null_names"].value)
    assert LINEAR not in told
    assert all(name in told for name in SURROGATES.values())


def test_given_nothing_is_asked_then_it_does_not_run() -> None:
    assert AVALANCHE not in select(None)
    assert AVALANCHE in select(["all"])
    assert [analyzer.id for analyzer in select("avalanche, edge")] == ["edge", "avalanche"]
    assert select(["avalanche"]) == (AVALANCHE,)
