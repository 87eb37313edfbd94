"""Iterated layers and blocks: linear maps by hand, random layers against mean field, and what does not settle."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.contents import Preprocessing, Runnable
from critaudit.dynamics.asymptotic import Asymptotics, block_asymptotics, dense_asymptotics, mean_error
from critaudit.dynamics.asymptotic import blocks as blocks_module
from critaudit.dynamics.asymptotic.blocks import BlockOperator, Iterated
from critaudit.dynamics.asymptotic.iteration import NEARBY
from critaudit.dynamics.running import CannotRunError, running
from critaudit.errors import CritauditError
from critaudit.theory import gaussian, spin_glass
from critaudit.theory.activations import as_activation, named_activation

TANH = named_activation("tanh")


def _random(size: int, sigma_w: float, sigma_b: float, seed: int, mean: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    weight = mean / size + sigma_w / math.sqrt(size) * rng.standard_normal((size, size))
    return weight, sigma_b * rng.standard_normal(size)


def _jacobian(found: Asymptotics) -> float:
    return float(np.mean(found.jacobians))


def test_given_a_linear_map_then_exponent_and_norm_are_those_of_the_matrix() -> None:
    # GIVEN x ↦ Wx with eigenvalues 0.9, 0.5, 0.1 in a skew basis
    basis = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [0.0, 0.0, 1.0]])
    weight = basis @ np.diag([0.9, 0.5, 0.1]) @ np.linalg.inv(basis)
    found = dense_asymptotics(weight, None, as_activation(lambda x: 1.0 * x), steps=300)
    # THEN differences shrink like the largest eigenvalue, and the norm is ‖W‖_F/√N
    assert found.exponents == pytest.approx([math.log(0.9)] * 4, abs=1e-6)
    assert found.jacobians == pytest.approx([np.linalg.norm(weight) / math.sqrt(3)] * 4, rel=1e-9)
    assert found.phase == "ordered"
    assert not found.separated


def test_given_a_rotation_then_nothing_is_decided_and_the_distance_stays() -> None:
    turn = np.array([[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]])
    found = dense_asymptotics(turn, None, as_activation(lambda x: 1.0 * x), steps=200)
    assert found.exponent == pytest.approx(0.0, abs=1e-9)
    assert found.phase == "undecided"
    assert found.distances == pytest.approx(found.begun, rel=1e-6)
    assert found.distances == pytest.approx([NEARBY * strength for strength in found.strengths], rel=1e-6)
    assert found.fixed == (False,) * 4


@pytest.mark.parametrize(("sigma_w", "sigma_b"), [(0.5, 0.0), (0.8, 0.3), (1.2, 0.6)])
def test_given_random_tanh_layers_below_the_edge_then_pairs_meet_and_the_norm_is_the_root_of_chi1(
    sigma_w: float, sigma_b: float
) -> None:
    size = 400
    found = dense_asymptotics(*_random(size, sigma_w, sigma_b, 5), TANH)
    theory = gaussian.fixed_point(sigma_w, sigma_b, "tanh")
    assert found.phase == "ordered"
    assert not found.separated
    assert max(found.distances) < 1e-6
    # THEN ‖J*‖_F/√N = √χ₁ and s* = √q*, within finite-size fluctuations of order 1/√N
    assert _jacobian(found) == pytest.approx(math.sqrt(theory.chi1), rel=4 / math.sqrt(size))
    assert np.mean(found.strengths) == pytest.approx(theory.strength or 0.0, abs=6 * sigma_b / math.sqrt(size) + 1e-9)


@pytest.mark.parametrize(("sigma_w", "sigma_b"), [(2.0, 0.0), (3.0, 0.3)])
def test_given_random_tanh_layers_above_the_edge_then_pairs_stay_apart_on_a_chaotic_attractor(
    sigma_w: float, sigma_b: float
) -> None:
    size = 400
    found = dense_asymptotics(*_random(size, sigma_w, sigma_b, 6), TANH)
    theory = gaussian.fixed_point(sigma_w, sigma_b, "tanh")
    assert found.phase == "chaotic"
    assert found.separated
    assert min(found.distances) > 0.1
    assert not any(found.fixed)
    assert _jacobian(found) == pytest.approx(math.sqrt(theory.chi1), rel=4 / math.sqrt(size))
    assert np.mean(found.strengths) == pytest.approx(theory.strength or 0.0, rel=4 / math.sqrt(size))
    # the exponent of a wide random layer is half the logarithm of χ₁ at most
    assert found.exponent < 0.5 * math.log(theory.chi1) + 0.02


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_given_a_mean_coupling_then_the_ferromagnet_is_ordered_where_its_spread_alone_is_chaotic(sign: float) -> None:
    # GIVEN J = 1.6, chaotic for J₀ = 0 but below the boundary for J₀ = ±3
    assert spin_glass.boundary(3.0) > 1.6 > spin_glass.boundary(0.0)
    alone = dense_asymptotics(_random(400, 1.6, 0.0, 1)[0], None, TANH)
    coupled = dense_asymptotics(_random(400, 1.6, 0.0, 1, mean=sign * 3.0)[0], None, TANH)
    assert alone.phase == "chaotic"
    assert coupled.phase == "ordered"
    chi1 = spin_glass.chi1(sign * 3.0, 1.6)
    # D·W of a mean coupling has its mean part in one direction, which is O(1) in ‖J‖_F².
    assert _jacobian(coupled) == pytest.approx(math.sqrt(chi1), rel=0.15)


def test_given_unbounded_activations_then_they_settle_below_their_edge_and_run_away_above() -> None:
    relu = named_activation("relu")
    below, above = (dense_asymptotics(*_random(200, sigma_w, 0.1, 2), relu) for sigma_w in (1.0, 1.7))
    assert below.phase == "ordered"
    assert above.phase == "diverges"
    assert above.growth == pytest.approx(math.log(1.7 / math.sqrt(2)), abs=0.05)
    # A signal that grows in proportion to the steps does not settle, although no bound is reached.
    slow = dense_asymptotics(np.eye(5), np.ones(5), relu, steps=200)
    assert slow.phase == "diverges"
    assert slow.growth < 0.02
    lost = dense_asymptotics(1e20 * np.eye(3), None, relu)
    assert (lost.phase, lost.steps) == ("diverges", 0)


@pytest.mark.parametrize("weight", [np.zeros((5, 5)), np.full((5, 5), 1e30), -np.full((5, 5), 1e30)])
def test_given_zero_or_saturating_weights_then_all_is_finite_and_ordered(weight: np.ndarray) -> None:
    found = dense_asymptotics(weight, None, TANH)
    assert found.phase == "ordered"
    assert found.exponents == pytest.approx([math.log(1e-150)] * 4)
    assert max(found.jacobians) == 0.0
    assert all(map(math.isfinite, (*found.interval, found.growth, *found.distances, *found.strengths)))


def test_given_a_small_chaotic_layer_then_its_fluctuations_are_no_growth() -> None:
    phases = [dense_asymptotics(_random(12, 4.0, 0.0, seed)[0], None, TANH).phase for seed in range(12)]
    assert "diverges" not in phases


def test_given_layers_that_cannot_be_iterated_then_it_is_a_one_line_error() -> None:
    with pytest.raises(CritauditError, match="3×2 layer cannot be applied"):
        dense_asymptotics(np.ones((3, 2)), None, TANH)
    with pytest.raises(CritauditError, match="NaN or infinite"):
        dense_asymptotics(np.full((2, 2), np.nan), None, TANH)


def test_given_means_over_inputs_then_errors_are_students() -> None:
    assert mean_error((1.0,)) == 0.0
    assert mean_error((0.0, 1.0, 2.0)) == pytest.approx(4.303 / math.sqrt(3))


class _Block(nn.Module):
    def __init__(self, size: int, gain: float, *, residual: bool = False) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(size, size), nn.Linear(size, size, bias=False)
        self.residual = residual
        with torch.no_grad():
            self.two.weight *= gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.tanh(self.two(torch.tanh(self.one(x))))
        return x + inner if self.residual else inner


def _iterated(network: nn.Module, shape: tuple[int, ...], **options: object) -> Iterated:
    runnable = Runnable(lambda: network.eval(), Preprocessing(shape), {name: name for name in network.state_dict()})
    with running(runnable, samples=4, seed=0) as fed:
        return block_asymptotics(fed)


def test_given_blocks_then_those_that_give_what_they_take_are_iterated_from_their_own_inputs() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(9, 40), _Block(40, 0.5), _Block(40, 12.0), _Block(40, 3.0, residual=True), nn.Linear(40, 2)
    )
    found = _iterated(network, (9,))
    phases = {block.path: block.found.phase for block in found.blocks}
    assert phases == {"1": "ordered", "2": "chaotic", "3": "diverges"}
    assert found.candidates == 3
    assert "4 inputs" in found.method
    # the exponent of the chaotic block agrees with exact derivatives of the same map
    weights = [layer.weight.detach().double().numpy() for layer in (network[2].one, network[2].two)]
    bias = network[2].one.bias.detach().double().numpy()
    x, v, grown = np.full(40, 0.3), np.random.default_rng(0).standard_normal(40), []
    for _ in range(2000):
        v /= np.linalg.norm(v)
        inner = np.tanh(weights[0] @ x + bias)
        x = np.tanh(weights[1] @ inner)
        v = (1 - x**2) * (weights[1] @ ((1 - inner**2) * (weights[0] @ v)))
        grown.append(math.log(np.linalg.norm(v)))
    exponent = next(block.found.exponent for block in found.blocks if block.path == "2")
    assert exponent == pytest.approx(np.mean(grown[100:]), abs=0.1)


def test_given_a_block_then_its_derivatives_and_norm_are_those_of_the_dense_jacobian() -> None:
    torch.manual_seed(1)
    block = _Block(30, 3.0)
    x = torch.randn(1, 30)
    jacobian = torch.autograd.functional.jacobian(block, x)[0, :, 0].double().numpy()
    operator = BlockOperator(block, [blocks_module._Call((x,), {})] * 400, seed=0)
    state = operator.start()
    tangent = np.random.default_rng(0).standard_normal(state.shape)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    with torch.no_grad():
        step = operator(state, state, tangent)
    assert np.allclose(step.state, block(x).detach().double().numpy(), atol=1e-6)
    assert np.allclose(step.tangent, tangent @ jacobian.T, atol=5e-3 * np.linalg.norm(jacobian, 2))
    # THEN the mean over random directions is ‖J‖_F²/N within its stochastic error
    assert step.jacobian is not None
    exact = np.square(jacobian).sum() / 30
    error = 5 * math.sqrt(2 * np.square(jacobian @ jacobian.T).sum()) / 30 / math.sqrt(400)
    assert step.jacobian.mean() == pytest.approx(exact, abs=error + 5e-3 * exact)


def test_given_a_whole_network_that_gives_what_it_takes_then_it_is_iterated_too() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 3, padding=1))
    found = _iterated(network, (2, 6, 6))
    assert [block.path for block in found.blocks] == [""]
    assert found.blocks[0].found.phase == "ordered"


def test_given_a_budget_then_fewer_steps_and_then_fewer_blocks_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(9, 10), *(_Block(10, 0.5) for _ in range(6)), nn.Linear(10, 2))
    full = 4 * 200 * 6  # calls × products × blocks, per input and step
    monkeypatch.setattr(blocks_module, "_PRODUCTS", 4 * 40 * full)
    assert "6 of 6 pieces" in _iterated(network, (9,)).method
    assert "up to 40 times" in _iterated(network, (9,)).method
    monkeypatch.setattr(blocks_module, "_PRODUCTS", 3 * 20 * full // 2)
    assert [block.path for block in _iterated(network, (9,)).blocks] == ["1", "3", "6"]
    monkeypatch.setattr(blocks_module, "_PRODUCTS", 1)
    assert len(_iterated(network, (9,)).blocks) == 1


def test_given_no_piece_that_gives_what_it_takes_then_it_says_so() -> None:
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    with pytest.raises(CannotRunError, match="shape of its input"):
        _iterated(network, (4,))
