"""Chains: every layer works at the strength that theory says, whatever the layers and nonlinearities are."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from critaudit.errors import CritauditError, UsageError
from critaudit.init import critical_, operating_point
from tests.init.networks import UNet, batch, chain, hooked, roles, strengths

ACTIVATIONS = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
    "leaky_relu(0.2)": lambda: nn.LeakyReLU(0.2, inplace=True),
    "leaky_relu(0.25)": nn.PReLU,
    "elu(1)": nn.ELU,
    "selu": lambda: nn.SELU(inplace=True),
    "relu6": nn.ReLU6,
    "log_sigmoid": nn.LogSigmoid,
    "hardtanh": nn.Hardtanh,
    "mish": nn.Mish,
}


@pytest.mark.parametrize("family", ["orthogonal", "gaussian", "stable"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_layer_works_at_the_operating_point(name: str, family: str) -> None:
    depth = 6
    network, inputs = chain(depth, ACTIVATIONS[name]), batch(64, 20)
    found = critical_(network, inputs, family=family, readout=0.7)
    point = operating_point(name, depth)
    assert found.points == {f"chain:{name}": point}
    assert found.depth == depth
    measured = strengths(network, inputs)
    for layer in found.layers[:-1]:
        assert layer.role == "chain"
        assert layer.strength == point.strength
        assert measured[layer.name] == pytest.approx(point.strength, rel=1e-3)
    assert found.layers[-1].role == "readout"
    assert measured[found.layers[-1].name] == pytest.approx(0.7, rel=1e-3)


def test_strengths_are_those_that_plain_hooks_see() -> None:
    network, inputs = chain(5), batch(32, 20)
    found = critical_(network, inputs)
    measured = hooked(network, inputs)
    for layer in found.layers:
        assert measured[layer.name] == pytest.approx(layer.strength, rel=1e-4)


@pytest.mark.parametrize("family", ["orthogonal", "gaussian"])
def test_wide_layers_have_the_scale_of_mean_field_theory(family: str) -> None:
    network, inputs = chain(8, width=400), batch(300, 20)
    found = critical_(network, inputs, family=family)
    for layer in found.layers[1:-1]:
        assert layer.sigma_w == pytest.approx(found.points["chain:tanh"].sigma_w, rel=0.05)
        if family == "orthogonal":  # all singular values alike
            assert layer.scale == pytest.approx(layer.sigma_w, rel=1e-4)


def test_a_weight_holds_the_scale_that_is_told() -> None:
    network = chain(3, width=200)
    found = critical_(network, batch(64, 20), family="gaussian")
    for layer in found.layers:
        weight = network.get_parameter(layer.name).double()
        assert layer.sigma_w == pytest.approx(math.sqrt(weight.shape[1] * float(weight.detach().square().mean())))
        # Of a Gaussian of that scale, its mean square is within five standard errors.
        assert layer.sigma_w == pytest.approx(layer.scale, rel=5 / math.sqrt(2 * weight.numel()))


def test_fifty_layers_pass_gradients_to_the_first_where_the_default_does_not() -> None:
    def first_to_last(network: nn.Module) -> float:
        network.zero_grad()
        network(inputs).square().mean().backward()
        # ‖∂/∂h‖ at a layer is that of its bias's gradient per sample; summed over a batch it is as good here.
        gradients = [part.bias.grad.norm() for part in network if isinstance(part, nn.Linear)]
        return float(torch.log(gradients[0] / gradients[-2]))

    inputs = batch(64, 20)
    network = chain(50)
    assert abs(first_to_last(network)) > 10.0
    critical_(network, inputs)
    assert abs(first_to_last(network)) < 1.5


@pytest.mark.parametrize("sigma_b", [0.1, 0.3])
def test_biases_are_part_of_the_strength(sigma_b: float) -> None:
    network, inputs = chain(5, width=300), batch(128, 20)
    found = critical_(network, inputs, family="gaussian", sigma_b=sigma_b)
    point = operating_point("tanh", 5, sigma_b=sigma_b)
    measured = strengths(network, inputs)
    for layer in found.layers[1:-1]:
        bias = network.get_parameter(layer.name.replace("weight", "bias"))
        assert float(bias.detach().std()) == pytest.approx(sigma_b, rel=5 / math.sqrt(600))
        # The bias is fixed, the weights' part is not independent of it on one batch.
        assert measured[layer.name] == pytest.approx(point.strength, rel=0.1)
        assert layer.sigma_w == pytest.approx(point.sigma_w, rel=0.15)
    assert not network[-1].bias.any()


def test_convolutions_of_all_kinds() -> None:
    network = nn.Sequential(
        nn.Conv1d(4, 16, 5, padding=2),
        nn.ReLU(),
        nn.Conv1d(16, 16, 3, groups=16),
        nn.ReLU(),
        nn.Conv1d(16, 32, 3, groups=4, stride=2),
        nn.ReLU(),
        nn.ConvTranspose1d(32, 8, 4, stride=2),
        nn.ReLU(),
        nn.ConvTranspose1d(8, 8, 3, groups=2),
        nn.ReLU(),
        nn.Conv1d(8, 3, 1),
    )
    inputs = batch(16, 4, 40)
    for family in ("orthogonal", "gaussian", "stable"):
        found = critical_(network, inputs, family=family)
        assert found.depth == 5
        measured = hooked(network, inputs)
        assert [measured[layer.name] for layer in found.layers] == pytest.approx([1.0] * 6, rel=1e-3)
    gaussian = {layer.name: layer for layer in critical_(network, inputs, family="gaussian").layers}
    assert gaussian["2.weight"].sigma_w is not None
    fan_in = {"0": 20, "2": 3, "4": 12, "6": 128, "8": 12, "10": 8}
    for name, size in fan_in.items():
        weight = network.get_parameter(f"{name}.weight").detach().double()
        assert gaussian[f"{name}.weight"].sigma_w == pytest.approx(math.sqrt(size * float(weight.square().mean())))


def test_biases_of_convolutions_and_unbatched_signals() -> None:
    network = nn.Sequential(nn.Conv2d(3, 40, 3), nn.Tanh(), nn.Conv2d(40, 40, 3), nn.Tanh(), nn.Conv2d(40, 2, 3))
    for shape in ((8, 3, 12, 12), (3, 12, 12)):
        found = critical_(network, batch(*shape), sigma_b=0.2)
        assert strengths(network, batch(*shape))["2.weight"] == pytest.approx(found.layers[1].strength, rel=0.2)


def test_functions_in_place_operations_and_plain_products() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Parameter(torch.zeros(20, 40))  # inputs × outputs
            self.b = nn.Parameter(torch.zeros(40, 40))
            self.c = nn.Parameter(torch.zeros(30, 40))
            self.shift, self.d = nn.Parameter(torch.ones(30)), nn.Parameter(torch.zeros(5, 30))

        def forward(self, x: Tensor) -> Tensor:
            x = (x @ self.a).relu_()
            x = torch.addmm(self.b[0] * 0.0, x, self.b).clamp_(-100.0, 100.0).relu()
            x = F.relu_(F.linear(x, self.c, self.shift))
            return (self.d @ x.T).T

    network, inputs = Plain(), batch(64, 20)
    found = critical_(network, inputs)
    assert roles(found) == {"a": "chain", "b": "linear", "c": "chain", "d": "readout"}
    assert not network.shift.any()
    measured = strengths(network, inputs)
    assert [measured[name] for name in "acd"] == pytest.approx([1.0, 1.0, 1.0], rel=1e-3)
    assert found.layers[0].sigma_w == pytest.approx(math.sqrt(20 * float(network.a.detach().square().mean())))


def test_signals_that_are_joined() -> None:
    network, inputs = UNet(), batch(4, 3, 16, 16)
    found = critical_(network, inputs)
    assert found.depth == 4
    assert found.branches == 0
    assert list(hooked(network, inputs).values()) == pytest.approx([1.0] * 5, rel=1e-3)


def test_what_computes_a_nonlinearity_of_its_own() -> None:
    class Swish(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.sigmoid(x)

    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2.0 / (1.0 + torch.exp(-2.0 * x)) - 1.0  # tanh

    network, inputs = chain(4, Swish), batch(64, 20)
    found = critical_(network, inputs)
    assert found.points == {"chain:silu": operating_point("silu", 4)}
    network = chain(4, Odd)
    unnamed = critical_(network, inputs)
    assert unnamed.points == {}
    assert strengths(network, inputs)["2.weight"] == pytest.approx(strengths(network, inputs)["0.weight"], rel=0.5)
    named = critical_(network, inputs, activation="tanh")
    assert named.points == {"chain:tanh": operating_point("tanh", 4)}
    assert strengths(network, inputs)["4.weight"] == pytest.approx(named.points["chain:tanh"].strength, rel=1e-3)


@pytest.mark.parametrize("activation", [lambda: nn.CELU(0.5), lambda: nn.Softplus(beta=3.0), nn.Softshrink, nn.GLU])
def test_nonlinearities_that_theory_has_no_name_for_keep_the_strength(activation) -> None:
    network = nn.Sequential(nn.Linear(20, 32), activation(), nn.Linear(16 if activation is nn.GLU else 32, 5))
    inputs = batch(64, 20)
    found = critical_(network, inputs)
    assert found.points == {}
    assert strengths(network, inputs)["0.weight"] == pytest.approx(float(inputs.square().mean().sqrt()), rel=1e-3)


def test_an_activation_that_ends_the_network_does_not_make_a_link() -> None:
    network, inputs = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 3), nn.Sigmoid()), batch(64, 20)
    found = critical_(network, inputs)
    assert roles(found) == {"0.weight": "chain", "2.weight": "readout"}
    assert strengths(network, inputs)["2.weight"] == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"family": "uniform"}, "family 'uniform'"),
        ({"readout": 0.0}, "above 0"),
        ({"branch": -1.0}, "above 0"),
        ({"branch": math.nan}, "above 0"),
        ({"sigma_b": -0.1}, "from 0"),
        ({"family": "stable", "alpha": 2.5}, "alpha = 2.5"),
        ({"activation": "sinus"}, "'sinus' is not known"),
    ],
)
def test_options_that_make_no_sense_leave_the_network_as_it_was(options, text: str) -> None:
    network = chain(2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(UsageError, match=text):
        critical_(network, batch(8, 20), **options)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_no_stable_edge_with_biases_is_an_error() -> None:
    with pytest.raises(CritauditError, match="no stable edge"):
        critical_(chain(3, nn.ReLU), batch(8, 20), sigma_b=0.2)
