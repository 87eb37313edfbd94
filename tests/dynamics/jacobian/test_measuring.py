"""A whole network's blocks, as the audit measures them, against matrices written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.dynamics.jacobian import Effort, NetworkJacobians, NotDifferentiableError, block_jacobians
from critaudit.dynamics.jacobian.budget import Budget
from critaudit.dynamics.jacobian.measuring import block_spectrum
from critaudit.dynamics.jacobian.passage import BlockPoint
from critaudit.dynamics.jacobian.surroundings import differentiable
from tests.dynamics.jacobian.networks import Residual, brute_force, mlp_branch, opened, piece


def _network(depth: int, width: int, std: float, behind: type[nn.Module] | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [Residual(mlp_branch(width), None if behind is None else behind()) for _ in range(depth)]
    for block in blocks:
        for name, parameter in block.named_parameters():
            nn.init.normal_(parameter, std=std / math.sqrt(width) if name.endswith("weight") else 0.1)
    return nn.Sequential(*blocks)


def _measured(network: nn.Module, shape: tuple[int, ...], **options: int) -> NetworkJacobians:
    with opened(network, shape, **options) as running:
        return block_jacobians(running)


def test_given_small_residual_blocks_then_spectra_are_those_of_the_matrices_at_the_samples() -> None:
    network = _network(3, 12, 0.5)
    with opened(network, (12,), samples=4) as running:
        found = block_jacobians(running)
        samples = list(running.samples())

    matrices = [[], [], []]
    for x in samples:
        for index, block in enumerate(network):
            matrices[index].append(brute_force(block.double(), x.double()))
            x = block.double()(x.double())
    for block, held in zip(found.blocks, matrices, strict=True):
        assert block.spectrum is not None
        assert block.spectrum.mean_log is not None
        assert block.spectrum.radius is not None
        logs = [np.linalg.slogdet(matrix)[1] / 12 for matrix in held]
        tops = [np.linalg.norm(matrix, 2) for matrix in held]
        radii = [np.abs(np.linalg.eigvals(matrix)).max() for matrix in held]
        shares = [(np.linalg.svd(matrix, compute_uv=False) > 1).mean() for matrix in held]
        assert block.spectrum.mean_log.value == pytest.approx(np.mean(logs), abs=1e-5)
        assert block.spectrum.top.value == pytest.approx(np.mean(tops), rel=1e-5)
        assert block.spectrum.radius.value == pytest.approx(np.mean(radii), rel=1e-5)
        assert block.spectrum.expanding.value == pytest.approx(np.mean(shares), abs=1e-6)
        assert (block.spectrum.steps, block.spectrum.samples, block.spectrum.live) == (None, 4, 1.0)
        assert block.keeps_shape
    assert [block.name for block in found.blocks] == ["0", "1", "2"]


def test_given_many_samples_then_norms_and_growth_hold_the_true_values_in_their_intervals() -> None:
    # GIVEN a linear network, whose Jacobian is the same at every sample
    torch.manual_seed(0)
    layers = [nn.Linear(30, 30, bias=False) for _ in range(4)]
    found = _measured(nn.Sequential(*layers), (30,), samples=16)

    matrices = [layer.weight.detach().double().numpy() for layer in layers]
    whole = np.linalg.multi_dot(matrices[::-1])
    true = (whole**2).sum() / 30
    assert found.end_to_end is not None
    assert found.growth_per_block is not None
    assert found.lyapunov is not None
    for estimate, value in (
        (found.end_to_end, math.sqrt(true)),
        (found.gradient_ratio, math.sqrt(true)),
        (found.growth_per_block, 0.5 * math.log(true) / 4),
        *((block.norm, (matrix**2).sum() / 30) for block, matrix in zip(found.blocks, matrices, strict=True)),
    ):
        assert estimate is not None
        assert estimate.interval is not None
        # twice the half-width is more than 4 standard errors of Student's t
        low, high = estimate.interval
        assert low - (estimate.value - low) < value < high + (high - estimate.value)
    # AND a single tangent grows less on average than the mean square
    assert found.lyapunov.value < found.growth_per_block.value
    assert (found.samples, found.non_finite, found.is_forward) == (16, 0, True)


def test_given_relu_behind_the_sums_then_norms_see_it_and_spectra_are_those_of_the_sums() -> None:
    found = _measured(_network(2, 16, 0.5, nn.ReLU), (16,))
    for block in found.blocks:
        assert block.ends_in_nonlinearity
        assert block.spectrum is not None
        assert block.spectrum.mean_log is not None
        assert abs(block.spectrum.mean_log.value) < 0.3
        assert block.norm is not None
        assert block.norm.value < 0.9


def test_given_a_relu_chain_then_dead_directions_are_counted_and_left_out() -> None:
    torch.manual_seed(0)
    found = _measured(nn.Sequential(nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU()), (20,))
    assert not found.are_modules
    for block in found.blocks:
        assert block.spectrum is not None
        assert 0.2 < block.spectrum.live < 0.8
        assert block.spectrum.mean_log is not None


def test_given_a_block_too_large_to_write_out_then_krylov_gives_what_the_matrix_gives() -> None:
    # GIVEN a bottleneck, looked at with and without the right to write it out
    module, x = piece("bottleneck")
    x = x.clone().requires_grad_(True)
    with differentiable(module):
        y = module(x.clone())
        point = BlockPoint("b", x, y, y)
        exact, live = block_spectrum(point, Budget(1, 1, 1, Effort(), exact=10_000), rng=np.random.default_rng(0))
        found, seen = block_spectrum(point, Budget(1, 1, 1, Effort(), exact=0), rng=np.random.default_rng(0))
    # THEN live directions, the largest value and the mean logarithm agree
    assert found.steps is not None
    assert exact.steps is None
    assert (seen, found.dimension) == (live, exact.dimension)
    assert live < 1.0
    assert found.top == pytest.approx(exact.top, rel=1e-6)
    assert found.mean_log is not None
    assert exact.mean_log is not None
    assert abs(found.mean_log - exact.mean_log) < 4 * found.mean_log_error
    assert abs(found.expanding - exact.expanding) < 4 * found.expanding_error


def test_given_token_ids_then_growth_starts_behind_the_embedding() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    network = nn.Sequential(nn.Embedding(9, 8), nn.TransformerEncoder(layer, 2), nn.Linear(8, 9))
    with opened(_Tokens(network), (5,)) as running:
        found = block_jacobians(running)
    assert found.starts_inside
    assert found.end_to_end is not None
    assert len(found.blocks) == 2


class _Tokens(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.inner(ids)  # type: ignore[no-any-return]


class _Overflow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 40), nn.Linear(40, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.exp(self.one(x) * 1e6))  # type: ignore[no-any-return]


def test_given_signals_that_overflow_then_samples_are_left_out_and_counted() -> None:
    torch.manual_seed(0)
    found = _measured(_Overflow(), (4,), samples=6)
    assert found.samples == 0
    assert found.non_finite == 6
    assert found.end_to_end is None
    assert all(block.norm is None for block in found.blocks)


class _Classes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x).argmax(dim=-1)  # type: ignore[no-any-return]


def test_given_nothing_to_differentiate_then_it_is_refused() -> None:
    with pytest.raises(NotDifferentiableError):
        _measured(_Classes(), (4,))


def test_given_the_same_seed_then_all_numbers_repeat() -> None:
    network = _network(2, 8, 0.5)
    assert _measured(network, (8,), seed=3) == _measured(network, (8,), seed=3)
    assert _measured(network, (8,), seed=3) != _measured(network, (8,), seed=4)
