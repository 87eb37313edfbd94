"""Residual networks and transformers: branches get their share, streams grow by the budget at most."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from critaudit.init import critical_
from tests.init.networks import (
    Attending,
    Language,
    Residual,
    Scaled,
    Squeeze,
    batch,
    reasons,
    roles,
    stream_growth,
    strengths,
)

IMAGES = (12, 3, 12, 12)


@pytest.mark.parametrize("skip_last", [False, True])
@pytest.mark.parametrize("budget", [1.0, 0.3])
@pytest.mark.parametrize("family", ["orthogonal", "stable"])
def test_branches_share_the_budget(skip_last: bool, budget: float, family: str) -> None:
    torch.manual_seed(0)
    network, inputs = Residual(skip_last=skip_last), batch(*IMAGES)
    found = critical_(network, inputs, family=family, branch=budget)
    assert found.branches == 5
    named = roles(found)
    assert [named[f"blocks.{i}.conv2.weight"] for i in range(5)] == ["branch_end"] * 5
    assert [named[f"blocks.{i}.conv1.weight"] for i in range(5)] == ["inside"] * 5
    assert named["blocks.2.skip.weight"] == "skip"
    assert found.depth == 1
    # Behind each sum the mean square is (1 + budget/5) of the stream's on average, ± the correlation of the two.
    assert stream_growth(network, inputs) == pytest.approx(5 * math.log1p(budget / 5), abs=0.5)
    measured = strengths(network, inputs)
    share = math.sqrt(budget / 5)
    assert measured["blocks.0.conv2.weight"] == pytest.approx(share * _relu(measured, network, inputs), rel=1e-3)


def _relu(measured: dict[str, float], network: nn.Module, inputs: Tensor) -> float:
    """Strength of the stream before the first block: that of the rectified stem."""
    with torch.no_grad():
        return float(F.relu(network.stem(inputs)).double().square().mean().sqrt())


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, lambda n: nn.GroupNorm(2, n)], ids=["batch", "group"])
def test_the_scale_of_a_normalisation_sets_a_branch(norm) -> None:
    network, inputs = Residual(norm), batch(*IMAGES)
    found = critical_(network, inputs)
    assert found.branches == 5
    assert stream_growth(network, inputs) == pytest.approx(5 * math.log1p(0.2), abs=0.5)
    measured = strengths(network, inputs)
    for place in range(5):
        gamma = network.blocks[place].norm2.weight.detach()
        assert torch.allclose(gamma, gamma[0].expand_as(gamma))
        assert 0.0 < float(gamma[0]) < 0.8
        assert measured[f"blocks.{place}.norm2.weight"] == pytest.approx(float(gamma[0]), rel=1e-2)
        assert torch.equal(network.blocks[place].norm1.weight, torch.ones_like(gamma))
    assert reasons(found)["blocks.0.conv1.weight"] == "a normalisation undoes its scale"


@pytest.mark.parametrize("first", [True, False], ids=["pre-norm", "post-norm"])
def test_transformers(first: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(20, 32), *(Attending(32, first=first) for _ in range(4)))
    inputs = batch(8, 10, 20)
    found = critical_(network, inputs)
    named = roles(found)
    assert found.branches == 8
    for place in range(1, 5):
        assert named[f"{place}.attention.in_proj_weight"] == "linear"
        assert named[f"{place}.attention.out_proj.weight"] == "branch_end"
        assert named[f"{place}.fc1.weight"] == "inside"
        assert named[f"{place}.fc2.weight"] == "branch_end"
    assert stream_growth(network, inputs) == pytest.approx(8 * math.log1p(1 / 8), abs=0.5)
    # Queries, keys and values are orthogonal each, so that strength is kept in each.
    packed = network[2].attention.in_proj_weight.detach().view(3, 32, 32)
    gram = packed @ packed.mT
    assert torch.allclose(gram / gram[0, 0, 0], torch.eye(32).expand(3, 32, 32), atol=1e-4)


@pytest.mark.parametrize("first", [True, False])
def test_the_layer_of_pytorch(first: bool) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=first)
    network, inputs = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), batch(8, 10, 32)
    found = critical_(network, inputs)
    assert found.branches == 6
    assert {layer.role for layer in found.layers} == {"linear", "inside", "branch_end"}
    assert not reasons(found)
    assert stream_growth(network, inputs) == pytest.approx(6 * math.log1p(1 / 6), abs=0.5)


def test_a_decoder_attends_to_a_memory() -> None:
    network = nn.Transformer(32, 4, 2, 2, 64, batch_first=True)
    found = critical_(network, (batch(4, 9, 32), batch(4, 7, 32, seed=1)))
    assert found.branches == 2 * 2 + 2 * 3
    assert torch.isfinite(network(batch(4, 9, 32), batch(4, 7, 32))).all()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("first", [True, False])
def test_language_models_on_token_ids(tied: bool, first: bool) -> None:
    torch.manual_seed(0)
    network = Language(first=first, tied=tied)
    table = network.tokens.weight.detach().clone()
    ids = torch.randint(0, 50, (6, 12), generator=torch.Generator().manual_seed(1))
    found = critical_(network, ids)
    assert found.branches == 6
    assert torch.equal(network.tokens.weight, table)
    assert roles(found)["tokens.weight"] == "embedding"
    assert "looked up" in reasons(found)["tokens.weight"]
    assert stream_growth(network, ids) == pytest.approx(6 * math.log1p(1 / 6), abs=0.6)
    if not tied:
        assert strengths(network, ids)["head.weight"] == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("start", [1e-6, 0.1])
def test_layer_scales_are_left_and_not_made_up_for(start: float) -> None:
    torch.manual_seed(0)
    network, inputs = Scaled(start), batch(64, 20)
    found = critical_(network, inputs)
    for gamma in network.gamma:
        assert torch.equal(gamma, torch.full_like(gamma, start))
    assert reasons(found)["gamma.0"] == "it scales signals"
    named = roles(found)
    for place in range(4):
        assert named[f"first.{place}.weight"] == "inside"
        assert named[f"second.{place}.weight"] == "linear"
    measured = strengths(network, inputs)
    assert all(0.2 < measured[f"second.{place}.weight"] < 2.0 for place in range(4))
    assert abs(stream_growth(network, inputs)) < 5 * start


def test_gates_keep_strength_and_the_branch_gets_its_share() -> None:
    torch.manual_seed(0)
    network, inputs = Squeeze(), batch(*IMAGES)
    found = critical_(network, inputs)
    named = roles(found)
    assert found.branches == 3
    assert [named[f"{part}.1.weight"] for part in ("convs", "down", "up")] == ["branch_end", "inside", "linear"]
    assert stream_growth(network, inputs) < 1.0
    assert max(strengths(network, inputs).values()) < 3.0


def test_a_branch_that_grows_behind_its_last_weight_is_held_to_its_share() -> None:
    class Loud(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into = nn.Linear(20, 32)
            self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            x = self.into(x)
            for layer in self.layers:
                x = x + 5.0 * layer(torch.tanh(x))
            return x

    torch.manual_seed(0)
    network, inputs = Loud(), batch(64, 20)
    assert critical_(network, inputs).branches == 4
    assert stream_growth(network, inputs) == pytest.approx(4 * math.log1p(1 / 4), abs=0.7)


def test_long_chains_inside_a_branch_are_counted() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(20, 20) for _ in range(12))

        def forward(self, x: Tensor) -> Tensor:
            y = x
            for layer in self.layers[:-1]:
                y = torch.tanh(layer(y))
            return x + self.layers[-1](y)

    from critaudit.init import operating_point

    found = critical_(Wide(), batch(32, 20))
    assert found.points == {"inside:tanh": operating_point("tanh", 11)}


def test_a_block_used_again_keeps_the_scale_of_its_first_use() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.block = nn.Linear(20, 32), Attending(32, first=True)

        def forward(self, x: Tensor) -> Tensor:
            x = self.into(x)
            for _ in range(5):
                x = self.block(x)
            return x

    torch.manual_seed(0)
    network, inputs = Shared(), batch(8, 6, 20)
    found = critical_(network, inputs)
    assert found.branches == 10
    assert len(found.layers) == 5
    assert stream_growth(network, inputs) < 1.3
    gain = {layer.name: layer for layer in found.layers}["block.fc2.weight"]
    assert strengths(network, inputs)["block.fc2.weight"] == pytest.approx(gain.strength, rel=1e-2)


def test_a_recurrence_written_by_hand_is_a_chain_of_its_steps() -> None:
    class Unrolled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.out = nn.Linear(20, 20), nn.Linear(20, 4)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(9):
                x = torch.tanh(self.cell(x))
            return self.out(x)

    assert critical_(Unrolled(), batch(32, 20)).depth == 9
