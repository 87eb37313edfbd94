"""Which matrices are followed, that their numbers are those of the whole tensors, and what stands behind them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from critaudit.training.followed import EMBEDDING, follow
from critaudit.training.signals import growth
from critaudit.training.tails import Norms, tail
from critaudit.training.weights import spreads
from tests.training.networks import convolutional, mlp


class Zoo(nn.Module):
    """A layer of every kind."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.normed = parametrizations.weight_norm(nn.Linear(8, 8))
        self.spectral = parametrizations.spectral_norm(nn.Linear(8, 8))
        self.pruned = nn.Linear(8, 8)
        prune.l1_unstructured(self.pruned, "weight", 0.3)
        self.attention = nn.MultiheadAttention(8, 2)
        self.lstm = nn.LSTM(8, 8)
        self.grouped = nn.Conv2d(8, 16, 3, groups=2)
        self.transposed = nn.ConvTranspose2d(8, 4, 3)
        self.half = nn.Linear(8, 8).bfloat16()
        self.table = nn.Embedding(20, 8)
        self.tied = nn.Linear(8, 20, bias=False)
        self.tied.weight = self.table.weight


def test_numbers_are_those_of_the_matrices_that_an_audit_reads():
    network = follow(Zoo())
    optimizer = torch.optim.SGD(network.module.parameters(), lr=0.1)
    for one, now in zip(network.matrices, spreads(network.matrices, optimizer), strict=True):
        blocks = one.matrix.read().astype(np.float64)
        it = one.followed
        assert now.j0 == pytest.approx(it.fan_in * blocks.mean(), abs=1e-6), it.name
        assert now.j_squared == pytest.approx(it.fan_in * blocks.var(), rel=1e-5), it.name
        laid_out = one.blocks()
        assert laid_out is not None
        for mine, theirs in zip(laid_out.double().numpy(), blocks, strict=True):
            values = np.linalg.svd(mine, compute_uv=False), np.linalg.svd(theirs, compute_uv=False)
            assert np.allclose(*values, atol=1e-5), it.name
    names = [one.followed.name for one in network.matrices]
    assert {"attention.in_proj_weight[q]", "lstm.weight_hh_l0[g]", "grouped.weight", "normed.weight"} <= set(names)
    assert not any("table" in name or "tied" in name for name in names)
    assert next(entry.reason for entry in network.ledger if entry.name == "table.weight") == EMBEDDING
    owners = {one.followed.name: one.followed.module for one in network.matrices}
    assert owners["attention.out_proj.weight"] == owners["attention.in_proj_weight[v]"] == "attention"


def test_looking_at_spectral_norm_does_not_move_its_power_iteration():
    module = nn.Sequential(parametrizations.spectral_norm(nn.Linear(8, 8)))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    network = follow(module)
    spreads(network.matrices, torch.optim.SGD(module.parameters(), lr=0.1))
    Norms().measure(network.matrices[0])
    tail(network.matrices[0])
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("size", [20, 700, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_large_sums_keep_their_digits(size: int, dtype: torch.dtype):
    torch.manual_seed(size)
    layer = nn.Linear(size, 64, dtype=dtype)
    with torch.no_grad():
        layer.weight.normal_(mean=0.01, std=0.03)
    network = follow(nn.Sequential(layer))
    now = spreads(network.matrices, torch.optim.SGD(layer.parameters(), lr=0.1))[0]
    exact = layer.weight.detach().double()
    assert now.j_squared == pytest.approx(size * float(exact.var(correction=0)), rel=1e-6)
    assert now.j0 == pytest.approx(size * float(exact.mean()), rel=1e-6)


def test_weights_that_are_not_finite_have_no_spread():
    model = mlp(depth=1)
    model[0].weight.data[0, 0] = float("inf")
    network = follow(model)
    first, second = spreads(network.matrices, torch.optim.SGD(model.parameters(), lr=0.1))
    assert first.j_squared is None
    assert second.j_squared is not None
    assert Norms().measure(network.matrices[0]) is None


@pytest.mark.parametrize("shape", [(300, 400), (16, 900), (1000, 300)])
def test_norms_settle_along_a_training_and_draw_nothing(shape: tuple[int, int]):
    state = torch.get_rng_state()
    source = torch.Generator().manual_seed(0)
    layer = nn.Linear(shape[1], shape[0], bias=False)
    torch.set_rng_state(state)
    layer.weight.data = torch.randn(shape, generator=source) / shape[1] ** 0.5
    one, norms = follow(nn.Sequential(layer)).matrices[0], Norms()
    for _ in range(3):
        layer.weight.data += 0.001 * torch.randn(shape, generator=source)
        found = norms.measure(one)
    exact = np.linalg.svd(layer.weight.detach().double().numpy(), compute_uv=False)
    assert found is not None
    assert found[0] == pytest.approx(exact[0], rel=5e-3)
    assert found[0] <= exact[0] * (1 + 1e-5)
    assert found[1] == pytest.approx((exact**2).sum() / exact[0] ** 2, rel=1e-2)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_layer_before_a_normalisation_is_known_by_definition_order():
    network = follow(convolutional())
    assert {one.followed.name: one.followed.normalised for one in network.matrices}["conv1.weight"]
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    assert not any(one.followed.normalised for one in follow(encoder).matrices)
    alternating = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 8))
    assert [one.followed.normalised for one in follow(alternating).matrices] == [True, False]


def test_growth_is_the_slope_of_the_logarithm():
    slope, error, depth = growth([2.0 * 1.5**place for place in range(10)])
    assert (slope, error, depth) == (pytest.approx(np.log(1.5)), pytest.approx(0.0, abs=1e-9), 10)
    source = np.random.default_rng(0)
    values = np.exp(0.3 * np.arange(40) + 0.2 * source.standard_normal(40))
    slope, error, _ = growth(values.tolist())
    expected = np.polyfit(np.arange(40), np.log(values), 1, cov="unscaled")
    assert slope == pytest.approx(expected[0][0])
    assert error == pytest.approx(0.2 * np.sqrt(expected[1][0, 0]), rel=0.3)
    assert abs(slope - 0.3) < 4 * error
    assert growth([1.0]) is growth([None, 3.0]) is growth([0.0, 0.0, 1.0]) is None
    assert growth([1.0, None, 4.0]) == (pytest.approx(np.log(2.0)), None, 2)
