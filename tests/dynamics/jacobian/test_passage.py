"""The graph between the blocks' ends: each block alone, in place or not, whatever it takes and gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.dynamics.jacobian import NotDifferentiableError, differentiable, find_blocks, frozen
from critaudit.dynamics.jacobian.passage import Passage, chain_of, pass_through
from tests.dynamics.jacobian.networks import Residual, brute_force, mlp_branch


def _pass(network: nn.Module, sample: torch.Tensor) -> Passage:
    with torch.no_grad():
        blocks = find_blocks(network, sample)
    with differentiable(network), frozen(network):
        return pass_through(network, sample, blocks)


def _network(*blocks: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    for block in blocks:
        for parameter in block.parameters():
            nn.init.normal_(parameter, std=0.4)
    return nn.Sequential(*blocks).double().eval()


def _dense(passage: Passage, index: int, *, branches: bool = False) -> np.ndarray:
    with differentiable():
        return passage.points[index].operator(branches=branches).dense()


def test_given_residual_blocks_then_each_points_jacobian_is_that_of_the_block_alone() -> None:
    network = _network(*(Residual(mlp_branch(6)) for _ in range(3)))
    sample = torch.randn(1, 6, dtype=torch.float64)
    passage = _pass(network, sample)

    x = sample
    assert [point.name for point in passage.points] == ["0", "1", "2"]
    for index, block in enumerate(network):
        np.testing.assert_allclose(_dense(passage, index), brute_force(block, x), rtol=1e-9, atol=1e-12)
        assert passage.points[index].keeps_shape
        assert not passage.points[index].ends_in_nonlinearity
        x = block(x)
    assert not passage.starts_inside
    torch.testing.assert_close(passage.end, x)


@pytest.mark.parametrize("in_place", [False, True])
def test_given_a_relu_behind_the_sum_then_the_sum_is_seen_before_it_even_in_place(in_place: bool) -> None:
    network = _network(*(Residual(mlp_branch(6), nn.ReLU(inplace=in_place)) for _ in range(2)))
    sample = torch.randn(1, 6, dtype=torch.float64)
    passage = _pass(network, sample)

    inner = brute_force(network[0].branch, sample)
    on = (network[0](sample) > 0).double().numpy().T
    assert passage.points[0].ends_in_nonlinearity
    np.testing.assert_allclose(_dense(passage, 0, branches=True), np.eye(6) + inner, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(_dense(passage, 0), on * (np.eye(6) + inner), rtol=1e-9, atol=1e-12)


class _InPlaceFirst(nn.Module):
    """Pre-activation in place: the block changes its own input."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.one, self.two = nn.ReLU(inplace=True), nn.Linear(5, 5), nn.Linear(5, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.tanh(self.one(self.act(x))))  # type: ignore[no-any-return]


def test_given_blocks_that_change_their_input_in_place_then_derivatives_are_by_the_input_as_it_came() -> None:
    network = _network(_InPlaceFirst(), _InPlaceFirst())
    sample = torch.randn(1, 5, dtype=torch.float64)
    passage = _pass(network, sample)
    middle = network[0](sample.clone())
    for index, x in enumerate((sample, middle)):
        found, expected = _dense(passage, index), brute_force(network[index], x.clone())
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert not np.allclose(_dense(passage, 0), 0)


def test_given_a_chain_then_segments_multiply_to_the_whole_jacobian() -> None:
    network = _network(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 5), nn.SiLU(), nn.Linear(5, 3))
    sample = torch.randn(1, 4, dtype=torch.float64)
    passage = _pass(network, sample)
    product = _dense(passage, 2) @ _dense(passage, 1) @ _dense(passage, 0)
    assert [point.name for point in passage.points] == ["0", "2", "4"]
    np.testing.assert_allclose(product, brute_force(network, sample), rtol=1e-9, atol=1e-12)


class _Branches(nn.Module):
    """Two parallel layers between two others: the second does not depend on the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.right, self.last = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.first(x))
        return self.last(self.left(x) + self.right(x))  # type: ignore[no-any-return]


def test_given_parallel_layers_then_they_share_a_segment_and_the_chain_still_multiplies_up() -> None:
    network, sample = _network(_Branches())[0], torch.randn(1, 4, dtype=torch.float64)
    passage = _pass(network, sample)
    assert [point.name for point in passage.points] == ["first", "left", "last"]
    product = _dense(passage, 2) @ _dense(passage, 1) @ _dense(passage, 0)
    np.testing.assert_allclose(product, brute_force(network, sample), rtol=1e-9, atol=1e-12)

    # WHEN the next sample passes through the cuts that the first one settled THEN it sees the same
    with torch.no_grad():
        blocks = find_blocks(network, sample)
    again = chain_of(passage, blocks)
    with differentiable(network), frozen(network):
        repeated = pass_through(network, sample, again)
    assert again.is_chain
    assert [point.name for point in repeated.points] == ["first", "left", "last"]


def test_given_token_ids_then_the_way_starts_at_the_first_block() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    network = nn.Sequential(nn.Embedding(9, 8), nn.TransformerEncoder(layer, 2), nn.Linear(8, 9)).eval()
    passage = _pass(network, torch.randint(0, 9, (1, 5)))
    assert passage.starts_inside
    assert passage.start is passage.points[0].x
    assert passage.start.shape == (1, 5, 8)
    assert passage.end.shape == (1, 5, 9)


class _Tupled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp_branch(4)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, None]:
        found = hidden + self.inner(hidden)
        return (found if mask is None else found * mask), None


class _Stack(nn.Module):
    """Blocks called by keyword, with a mask, that give tuples."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Tupled() for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(hidden=x, mask=torch.tensor([1.0, 0.5, 2.0, 1.0]))[0].mul_(2.0)
        return x


def test_given_keywords_masks_and_tuples_then_the_blocks_are_seen_and_a_change_behind_them_does_not_matter() -> None:
    network = _network(_Stack())[0]
    sample = torch.randn(1, 4, dtype=torch.float64)
    passage = _pass(network, sample)
    inner = brute_force(network.layers[0].inner, sample)
    mask = np.array([[1.0], [0.5], [2.0], [1.0]])
    np.testing.assert_allclose(_dense(passage, 0), mask * (np.eye(4) + inner), rtol=1e-7, atol=1e-10)
    assert [point.name for point in passage.points] == ["layers.0", "layers.1"]


class _Recurring(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Residual(mlp_branch(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(self.block(x))  # type: ignore[no-any-return]


def test_given_a_block_that_runs_twice_then_its_calls_are_numbered() -> None:
    passage = _pass(_network(_Recurring())[0], torch.randn(1, 4, dtype=torch.float64))
    assert [point.name for point in passage.points] == ["block (call 1)", "block (call 2)"]


class _Classes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x).argmax(dim=-1)  # type: ignore[no-any-return]


def test_given_a_network_that_gives_classes_only_then_it_is_refused_in_one_line() -> None:
    with pytest.raises(NotDifferentiableError, match="no block's output depends on its input"):
        _pass(_Classes(), torch.randn(1, 3))


def test_given_a_passage_then_parameters_hooks_and_modes_are_as_before() -> None:
    network = _network(*(Residual(mlp_branch(4), nn.ReLU()) for _ in range(2)))
    network[0].branch[0].weight.requires_grad_(False)
    _pass(network, torch.randn(1, 4, dtype=torch.float64))
    assert [parameter.requires_grad for parameter in network.parameters()] == [False] + [True] * 7
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
