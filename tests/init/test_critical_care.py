"""What is left as it is, with its reason; and everything around the weights, which is as before."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from critaudit.errors import UsageError
from critaudit.init import critical_
from tests.init.networks import Language, Pair, Residual, batch, chain, reasons, roles, strengths


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def changed(before: dict[str, Tensor], module: nn.Module) -> set[str]:
    return {name for name, value in module.state_dict().items() if not torch.equal(before[name], value)}


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into, self.lstm, self.out = nn.Linear(20, 16), nn.LSTM(16, 24, batch_first=True), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(F.relu(self.into(x)))[0][:, -1])


def test_recurrent_layers_are_left() -> None:
    network = Recurrent()
    before = state(network)
    found = critical_(network, batch(8, 5, 20))
    assert changed(before, network) == {"into.weight", "into.bias", "out.weight", "out.bias"}
    assert reasons(found)["lstm.weight_hh_l0"] == "it is used by lstm"
    assert roles(found) == {
        "into.weight": "chain",
        "out.weight": "readout",
        "lstm.weight_ih_l0": "left",
        "lstm.weight_hh_l0": "left",
    }


@pytest.mark.parametrize(
    "wrap",
    [parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal],
    ids=["weight_norm", "spectral_norm", "orthogonal"],
)
def test_parametrised_weights_are_left(wrap) -> None:
    network = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), wrap(nn.Linear(16, 16)), nn.Tanh(), nn.Linear(16, 3))
    before = state(network)
    found = critical_(network, batch(8, 20))
    assert changed(before, network) == {"0.weight", "0.bias", "2.bias", "4.weight", "4.bias"}
    assert any("it is computed from 2.parametrizations" in reason for reason in reasons(found).values())
    assert found.depth == 2


def test_weights_with_the_old_hooks_are_left() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        normed = nn.utils.weight_norm(nn.Linear(16, 16))
    network = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), normed, nn.Tanh(), nn.Linear(16, 3))
    before = state(network)
    found = critical_(network, batch(8, 20))
    assert not {"2.weight_g", "2.weight_v"} & changed(before, network)
    assert any("it is computed from" in reason for reason in reasons(found).values())


def test_masked_weights_are_left() -> None:
    class Masked(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.weight * (self.weight > 0), self.bias)

    network = nn.Sequential(Masked(20, 16), nn.Tanh(), nn.Linear(16, 3))
    before = state(network)
    found = critical_(network, batch(8, 20))
    assert "0.weight" not in changed(before, network)
    assert reasons(found)["0.weight"] == "it is computed from 0.weight (mul)"


def test_frozen_parameters_are_left() -> None:
    network = nn.Sequential(
        nn.Linear(20, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3)
    )
    network[1].weight.data.fill_(0.3)
    for part in (network[1], network[3]):
        part.requires_grad_(False)
    before = state(network)
    found = critical_(network, batch(8, 20))
    assert changed(before, network) == {"0.weight", "0.bias", "5.weight", "5.bias"}
    assert reasons(found)["3.weight"] == "it is frozen (requires_grad=False)"
    assert strengths(network, batch(8, 20))["5.weight"] == pytest.approx(1.0, rel=1e-3)


def test_a_frozen_bias_is_part_of_the_strength() -> None:
    network = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3))
    network[0].bias.requires_grad_(False).fill_(0.5)
    critical_(network, batch(64, 20))
    assert torch.equal(network[0].bias, torch.full((64,), 0.5))
    # What the weights and the biases add is not quite independent in 64 channels.
    assert strengths(network, batch(64, 20))["0.weight"] == pytest.approx(1.0, rel=0.1)


def test_what_the_forward_pass_does_not_reach_is_said() -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(20, 3), nn.Linear(20, 20)
            self.query, self.position = nn.Linear(4, 20), nn.Parameter(torch.ones(1, 20))
            self.start = nn.Parameter(torch.ones(1, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x + self.position + self.query(self.start))

    network = Spare()
    before = state(network)
    found = critical_(network, batch(8, 20))
    assert changed(before, network) == {"used.weight", "used.bias"}
    assert reasons(found) == {
        "spare.weight": "the forward pass does not reach it",
        "query.weight": "signals do not pass it: it is used with parameters alone",
        "start": "signals do not pass it: it is used with parameters alone",
        "position": "it is added to signals",
    }


def test_a_dead_signal_is_said() -> None:
    network = chain(2)
    found = critical_(network, torch.zeros(8, 20))
    assert set(reasons(found).values()) == {"no signal came out of it that could be scaled"}


def test_everything_around_the_weights_is_as_before() -> None:
    network, inputs = Residual(nn.BatchNorm2d), batch(8, 3, 8, 8)
    network.stem.weight.requires_grad_(False)
    network.blocks[1].eval()
    network(inputs).sum().backward()
    modes = [part.training for part in network.modules()]
    wants = [value.requires_grad for value in network.parameters()]
    gradients = [None if value.grad is None else value.grad.clone() for value in network.parameters()]
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    identities = [id(value) for value in network.parameters()]
    random = (torch.random.get_rng_state(), np.random.get_state()[1].tolist())  # noqa: NPY002
    critical_(network, inputs)
    assert [part.training for part in network.modules()] == modes
    assert [value.requires_grad for value in network.parameters()] == wants
    for value, gradient in zip(network.parameters(), gradients, strict=True):
        assert (value.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(value.grad, gradient)
        assert value.grad_fn is None
    assert all(torch.equal(buffers[name], value) for name, value in network.named_buffers())
    assert [id(value) for value in network.parameters()] == identities
    assert torch.equal(random[0], torch.random.get_rng_state())
    assert random[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())
    assert torch.is_grad_enabled()


def test_modes_and_buffers_are_put_back_after_an_error() -> None:
    class Fails(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            raise RuntimeError("too bad\nreally")

    network = Fails(nn.Linear(20, 8), nn.BatchNorm1d(8), nn.Dropout())
    before = state(network)
    with pytest.raises(UsageError, match=r"Fails does not run .*too bad really") as caught:
        critical_(network, batch(8, 20))
    assert "\n" not in str(caught.value)
    assert not changed(before, network)
    assert all(part.training for part in network.modules())


@pytest.mark.parametrize("family", ["orthogonal", "gaussian", "stable"])
def test_a_seed_gives_the_weights_and_applying_it_again_changes_nothing(family: str) -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 0.1 * torch.randn_like(x)

    network = nn.Sequential(Noisy(), Residual(), nn.Dropout(0.5), nn.Linear(5, 5))
    inputs = batch(8, 3, 8, 8)
    critical_(network, inputs, family=family, seed=3)
    once = state(network)
    torch.manual_seed(99)
    critical_(network, inputs, family=family, seed=3)
    assert not changed(once, network)
    with torch.no_grad():
        for value in network.parameters():
            value.mul_(0.3)
    critical_(network, inputs, family=family, seed=3)
    assert not changed(once, network)
    critical_(network, inputs, family=family, seed=4)
    assert changed(once, network)


def test_networks_without_values_are_refused() -> None:
    with pytest.raises(UsageError, match=r"0\.weight is on the meta device"):
        critical_(chain(2).to("meta"), batch(8, 20))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types_of_numbers(dtype: torch.dtype) -> None:
    network = chain(4).to(dtype)
    found = critical_(network, batch(64, 20))  # float32 inputs are converted
    assert {value.dtype for value in network.parameters()} == {dtype}
    measured = strengths(network, batch(64, 20).to(dtype))
    for layer in found.layers:
        assert measured[layer.name] == pytest.approx(layer.strength, rel=0.02 if dtype != torch.float64 else 1e-6)


def test_wrapped_networks_are_looked_through() -> None:
    plain, inputs = chain(3), batch(16, 20)
    critical_(plain, inputs)
    parallel = nn.DataParallel(chain(3))
    assert roles(critical_(parallel, inputs)) == roles(critical_(chain(3), inputs))
    assert all(torch.equal(a, b) for a, b in zip(parallel.parameters(), plain.parameters(), strict=True))
    compiled = torch.compile(chain(3), backend="eager")
    critical_(compiled, inputs)
    assert all(torch.equal(a, b) for a, b in zip(compiled.parameters(), plain.parameters(), strict=True))
    inner = nn.Sequential(torch.compile(chain(3)[:4], backend="eager"), *chain(3)[4:])
    assert critical_(inner, inputs).depth == 3
    assert all(torch.equal(a, b) for a, b in zip(inner.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing(reentrant: bool) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = chain(4)

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = checkpoint(layer, x, use_reentrant=reentrant)
            return x

    network, plain, inputs = Checkpointed(), chain(4), batch(16, 20)
    found = critical_(network, inputs)
    critical_(plain, inputs)
    assert found.depth == 4
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), plain.parameters(), strict=True))


def test_several_arguments_and_a_mapping_out() -> None:
    network = Pair()
    inputs = (batch(16, 20), batch(16, 10, seed=1), 2.0)
    found = critical_(network, inputs)
    assert roles(found) == {
        "left.weight": "chain",
        "right.weight": "chain",
        "hidden.weight": "chain",
        "out.weight": "readout",
        "value.weight": "readout",
    }
    assert found.depth == 2
    assert strengths(network, *inputs)["value.weight"] == pytest.approx(1.0, rel=1e-3)


def test_without_inputs_samples_of_the_kind_that_it_takes_are_drawn() -> None:
    assert critical_(chain(3)).depth == 3
    image = nn.Sequential(nn.Conv2d(3, 4, 7, 8), nn.ReLU(), nn.Conv2d(4, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 2, 3))
    assert critical_(image).depth == 2
    assert critical_(Language()).branches == 6
    assert critical_(nn.Sequential(nn.Flatten(), nn.Linear(30, 3))).layers[0].role == "readout"


def test_arrays_and_lists_are_inputs_too() -> None:
    one, other = chain(2), chain(2)
    values = batch(8, 20)
    critical_(one, values)
    critical_(other, values.double().numpy())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    critical_(other, values.tolist())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (torch.full((4, 20), torch.nan), "NaN or infinity"),
        ({"x": torch.zeros(4, 20)}, "inputs are a dict"),
        ("image.png", "inputs are a str"),
        (object(), "make no tensor"),
        (torch.zeros(4, 7), "does not run on the inputs"),
        (torch.zeros(4, 20, dtype=torch.int64), "does not run on the inputs"),
    ],
)
def test_inputs_that_are_none_are_refused(inputs: object, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        critical_(chain(2), inputs)


def test_a_network_that_does_not_tell_what_it_takes_asks_for_inputs() -> None:
    with pytest.raises(UsageError, match="give inputs"):
        critical_(nn.ReLU())
