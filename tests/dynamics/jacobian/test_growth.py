"""Norms from random vectors agree with those of the Jacobians written out, within the scatter of the vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.dynamics.jacobian import differentiable, find_blocks, frozen
from critaudit.dynamics.jacobian.growth import GrowthSample, grow
from critaudit.dynamics.jacobian.passage import Passage, pass_through
from tests.dynamics.jacobian.networks import Residual, brute_force, mlp_branch, piece


def _grown(network: nn.Module, sample: torch.Tensor, probes: int, seed: int = 0) -> tuple[GrowthSample, Passage]:
    with torch.no_grad():
        blocks = find_blocks(network, sample)
    with differentiable(network), frozen(network):
        passage = pass_through(network, sample, blocks)
        return grow(passage, probes=probes, seed=(seed, 0)), passage


def _orthogonal(width: int, gain: float) -> nn.Linear:
    layer = nn.Linear(width, width, bias=False).double()
    nn.init.orthogonal_(layer.weight, gain=gain)
    return layer


def test_given_scaled_rotations_then_every_norm_is_exactly_the_product_of_their_squares() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(_orthogonal(40, 2.0), _orthogonal(40, 0.5), _orthogonal(40, 3.0))
    found, _ = _grown(network, torch.randn(1, 40, dtype=torch.float64), probes=200)
    # THEN each block's norm is its gain squared, to the scatter of 200 vectors of 40 entries (6 standard errors)
    error = 6 * math.sqrt(2 / (40 * 200))
    assert found.block.mean(axis=0) == pytest.approx([4.0, 0.25, 9.0], rel=error)
    assert found.signal.mean(axis=0) == pytest.approx([4.0, 1.0, 9.0], rel=error)
    assert found.gradient.mean(axis=0) == pytest.approx([9.0, 2.25, 9.0], rel=error)
    assert found.signal_end.mean() == pytest.approx(9.0, rel=error)
    # AND a single tangent grows by exactly the product of the gains
    np.testing.assert_allclose(found.tangent, math.log(3.0), rtol=1e-10)
    assert found.is_forward


@pytest.mark.parametrize("kind", ["residual", "attention"])
def test_given_real_blocks_then_hutchinson_agrees_with_the_brute_force_jacobians(kind: str) -> None:
    blocks = [piece(kind)[0] for _ in range(2)]
    sample = piece(kind)[1]
    network = nn.Sequential(*blocks)
    found, passage = _grown(network, sample, probes=100)

    first, second = brute_force(blocks[0], sample), brute_force(blocks[1], blocks[0](sample))
    whole = second @ first
    for numbers, matrix in (
        (found.block[:, 0], first),
        (found.block[:, 1], second),
        (found.signal[:, 0], first),
        (found.signal[:, 1], whole),
        (found.gradient[:, 0], whole),
        (found.gradient[:, 1], second),
        (found.signal_end, whole),
    ):
        exact = (matrix**2).sum() / matrix.shape[0]
        assert abs(numbers.mean() - exact) < 6 * numbers.std(ddof=1) / math.sqrt(len(numbers))
        # AND the scatter is Hutchinson's: var = 2‖JJᵀ‖_F²
        spread = math.sqrt(2 * ((matrix @ matrix.T) ** 2).sum()) / matrix.shape[0]
        assert abs(math.log(numbers.std(ddof=1) / spread)) < 1.0
    assert len(passage.points) == 2


def test_given_the_last_blocks_output_as_the_end_then_its_gradient_is_the_probe_itself() -> None:
    network = nn.Sequential(*(Residual(mlp_branch(5)) for _ in range(2)), nn.Linear(5, 3)).double()
    found, _ = _grown(network[:2], torch.randn(1, 5, dtype=torch.float64), probes=300)
    assert found.gradient_last.mean() == pytest.approx(1.0, rel=6 * math.sqrt(2 / (5 * 300)))
    behind, _ = _grown(network, torch.randn(1, 5, dtype=torch.float64), probes=300)
    exact = float((network[2].weight.detach() ** 2).sum()) / 3
    assert behind.gradient_last.mean() == pytest.approx(exact, rel=0.5)


class _OnlyOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return 2 * grad


class _Doubling(nn.Module):
    def __init__(self, hidden: bool) -> None:
        super().__init__()
        self.rotation, self.hidden = _orthogonal(30, 1.0), hidden

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.rotation(x)
        return _OnlyOnce.apply(x) if self.hidden else 2 * x  # type: ignore[no-any-return]


def test_given_an_operation_with_one_derivative_only_then_the_signal_comes_from_gradients_pulled_back() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(_Doubling(hidden=True), _Doubling(hidden=False))
    found, _ = _grown(network, torch.randn(1, 30, dtype=torch.float64), probes=200)
    assert not found.is_forward
    error = 6 * math.sqrt(2 / (30 * 200))
    assert found.signal.mean(axis=0) == pytest.approx([4.0, 16.0], rel=error)
    assert found.tangent.mean() == pytest.approx(math.log(4.0), abs=error)


def test_given_the_same_seed_then_the_same_numbers_and_with_another_seed_others() -> None:
    torch.manual_seed(2)
    network = nn.Sequential(*(Residual(mlp_branch(6)) for _ in range(2)))
    sample = torch.randn(1, 6)
    one, again, other = (_grown(network, sample, probes=2, seed=seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.block, again.block)
    np.testing.assert_array_equal(one.tangent, again.tangent)
    assert not np.array_equal(one.block, other.block)
