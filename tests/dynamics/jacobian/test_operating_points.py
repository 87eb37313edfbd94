"""What stands before a dense layer: found in modules and functions alike, and nothing where nothing is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from critaudit.contents import Preprocessing, Runnable
from critaudit.dynamics.jacobian.operating_points import DenseLayer, dense_operating_points
from critaudit.dynamics.running import running


def _found(network: nn.Module, shape: tuple[int, ...], *, samples: int = 3, seed: int = 0) -> dict[str, DenseLayer]:
    """The dense layers of the network by tensor, run on Gaussian inputs."""
    inputs = np.random.default_rng(seed).standard_normal((samples, *shape)).astype(np.float32)
    names = {name: name for name in network.state_dict()}
    runnable = Runnable(lambda: network.eval(), Preprocessing(shape), names)
    with running(runnable, inputs=inputs, samples=samples, seed=seed) as ready:
        return {layer.tensor: layer for layer in dense_operating_points(ready, names.keys())}


def _inputs(shape: tuple[int, ...], *, samples: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((samples, *shape)).astype(np.float32))


class _Functional(nn.Module):
    """Two dense layers with a function between them, and whatever stands before it."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor], between: nn.Module | None = None) -> None:
        super().__init__()
        self.fc1, self.fc2, self.between = nn.Linear(6, 8), nn.Linear(8, 5), between or nn.Identity()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.function(self.between(self.fc1(x))))


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (nn.Tanh(), "tanh"),
        (nn.ReLU(inplace=True), "relu"),
        (nn.GELU(), "gelu"),
        (nn.GELU(approximate="tanh"), "gelu_tanh"),
        (nn.SiLU(inplace=True), "silu"),
        (nn.LeakyReLU(0.3), "leaky_relu(0.3)"),
        (nn.ELU(0.5), "elu(0.5)"),
        (nn.Sigmoid(), "sigmoid"),
        (nn.PReLU(8, init=0.2), "prelu"),
        (nn.Hardtanh(-0.3, 0.4), "hardtanh with its own parameters"),
    ],
)
def test_given_an_activation_module_then_slopes_are_its_own(activation: nn.Module, name: str) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(6, 8), activation, nn.Dropout(0.5), nn.Linear(8, 5))
    layer = _found(network, (6,))["3.weight"]

    h = network[0](_inputs((6,))).detach().double().requires_grad_(True)
    (slopes,) = torch.autograd.grad(activation.double()(h.clone()).sum(), h)
    assert (layer.activation, layer.slopes.shape) == (name, (3, 8))
    np.testing.assert_allclose(layer.slopes, slopes.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.weight(), network[3].weight.detach().numpy())


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (torch.tanh, "tanh"),
        (functional.relu, "relu"),
        (functional.relu_, "relu"),
        (functional.gelu, "gelu"),
        (functional.silu, "silu"),
        (lambda x: functional.leaky_relu(x, 0.2), "leaky_relu(0.2)"),
    ],
)
def test_given_a_function_between_layers_then_it_is_recognised_by_its_numbers(
    function: Callable[[torch.Tensor], torch.Tensor], name: str
) -> None:
    torch.manual_seed(2)
    layer = _found(_Functional(function), (6,))["fc2.weight"]

    assert layer.activation == name
    assert layer.slopes.shape == (3, 8)


def test_given_a_weak_signal_then_tanh_is_not_taken_for_the_identity() -> None:
    torch.manual_seed(3)
    network = _Functional(torch.tanh)
    with torch.no_grad():
        network.fc1.weight *= 0.02
        network.fc1.bias *= 0.02

    assert _found(network, (6,))["fc2.weight"].activation == "tanh"


def test_given_a_batch_normalisation_before_the_nonlinearity_then_slopes_are_at_its_output() -> None:
    torch.manual_seed(4)
    norm = nn.BatchNorm1d(8)
    norm.running_var.uniform_(0.05, 4.0)
    norm.running_mean.normal_()
    network = nn.Sequential(nn.Linear(6, 8), norm, nn.Tanh(), nn.Linear(8, 5))
    h = network.eval()[:2](_inputs((6,))).detach().double()

    for layer in (
        _found(network, (6,))["3.weight"],
        _found(_same(_Functional(torch.tanh, norm), network), (6,))["fc2.weight"],
    ):
        assert layer.activation == "tanh"
        np.testing.assert_allclose(layer.slopes, (1 - torch.tanh(h) ** 2).numpy(), rtol=1e-4)


def _same(functional_network: _Functional, network: nn.Sequential) -> _Functional:
    functional_network.fc1.load_state_dict(network[0].state_dict())
    return functional_network


@pytest.mark.parametrize(
    "between",
    [
        nn.Sequential(nn.Tanh(), nn.LayerNorm(8)),
        nn.Sequential(nn.Tanh(), nn.BatchNorm1d(8, momentum=None)),
        nn.Softmax(dim=-1),
        nn.Sequential(nn.Linear(8, 16), nn.GLU()),
        nn.Identity(),
    ],
)
def test_given_no_pointwise_nonlinearity_right_before_then_the_jacobian_is_the_weight(between: nn.Module) -> None:
    torch.manual_seed(5)
    if isinstance(between, nn.Sequential) and isinstance(between[-1], nn.BatchNorm1d):
        between[-1].running_mean.fill_(0.3)
    layer = _found(nn.Sequential(nn.Linear(6, 8), between, nn.Linear(8, 5)), (6,))["2.weight"]

    assert layer.activation is None
    assert layer.slopes.tolist() == [[1.0] * 8]


def test_given_a_sum_after_the_nonlinearity_then_nothing_is_claimed() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.act, self.fc2 = nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.act(self.fc1(x))
            y += x  # in place: the same memory, other numbers
            return self.fc2(y)

    torch.manual_seed(6)
    assert _found(Residual(), (6,))["fc2.weight"].activation is None


def test_given_the_first_layer_then_nothing_stands_before_it() -> None:
    layer = _found(nn.Sequential(nn.Linear(6, 8), nn.Tanh()), (6,))["0.weight"]

    assert layer.activation is None
    assert layer.slopes.shape == (1, 6)


def test_given_a_convolution_before_a_flattened_layer_then_slopes_are_those_of_its_map() -> None:
    torch.manual_seed(7)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 4 * 4, 5))
    layer = _found(network, (1, 6, 6))["3.weight"]

    expected = (network[0](_inputs((1, 6, 6))) > 0).double().reshape(3, -1)
    assert layer.activation == "relu"
    np.testing.assert_array_equal(layer.slopes, expected.numpy())


def test_given_many_positions_then_one_of_each_sample_is_taken_by_the_seed() -> None:
    torch.manual_seed(8)
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5))
    first, again, other = (_found(network, (50, 6), seed=seed)["2.weight"].slopes for seed in (0, 0, 1))

    h = network[0](_inputs((50, 6))).detach().double()
    slopes = (1 - torch.tanh(h) ** 2).numpy()
    assert all(np.any(np.all(np.isclose(slopes[k], first[k], rtol=1e-5), axis=1)) for k in range(3))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_given_a_transposed_dense_layer_then_its_weight_is_turned() -> None:
    class Conv1D(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.nf, self.weight = 4, nn.Parameter(torch.randn(6, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight

    network = nn.Sequential(Conv1D(), nn.Tanh(), nn.Linear(4, 3))
    found = _found(network, (6,))

    assert found["0.weight"].weight().shape == found["0.weight"].shape == (4, 6)
    assert found["2.weight"].activation == "tanh"


def test_given_bfloat16_then_the_nonlinearity_is_still_found() -> None:
    torch.manual_seed(9)

    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = _Functional(torch.tanh).to(torch.bfloat16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x.to(torch.bfloat16))

    assert _found(Half(), (6,))["body.fc2.weight"].activation == "tanh"


def test_given_signals_that_are_not_finite_then_the_reason_says_so() -> None:
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5))
    with torch.no_grad():
        network[0].bias.fill_(float("nan"))
    layer = _found(network, (6,))["2.weight"]

    assert layer.slopes is None
    assert "NaN" in layer.reason


def test_given_a_layer_that_never_runs_then_the_reason_says_so() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    assert "did not run as a module" in _found(Idle(), (6,))["idle.weight"].reason


def test_given_a_run_then_no_hook_is_left() -> None:
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5))
    _found(network, (6,))

    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in network.modules())


def test_given_an_activation_with_a_parameter_per_channel_then_slopes_are_each_channels() -> None:
    torch.manual_seed(10)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.PReLU(3), nn.Flatten(), nn.Linear(3 * 4 * 4, 5))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([0.1, 0.5, 2.0]))
    layer = _found(network, (1, 6, 6))["3.weight"]

    h = network[0](_inputs((1, 6, 6)))
    expected = torch.where(h > 0, 1.0, network[1].weight[:, None, None]).reshape(3, -1)
    np.testing.assert_allclose(layer.slopes, expected.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(
        layer.gains(), [np.linalg.norm(layer.weight() * row) / np.sqrt(48) for row in layer.slopes], rtol=1e-6
    )
