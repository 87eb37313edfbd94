"""Signal strengths are those that arithmetic by hand gives, for every kind of layer; the network is left as it was."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.contents import Preprocessing, Runnable
from critaudit.dynamics.capture import Signal, signal
from critaudit.errors import SourceError, UsageError


def _runnable(network: nn.Module, wants: Preprocessing | None = None, prefix: str = "") -> Runnable:
    names = {name: prefix + name for name in network.state_dict()}
    return Runnable(lambda: network.eval(), wants, names)


def _run(network: nn.Module, wants: Preprocessing | None = None, samples: int = 3, **options: object) -> Signal:
    return signal(_runnable(network, wants), samples=samples, **options)  # type: ignore[arg-type]


def test_strengths_of_a_perceptron_equal_arithmetic_by_hand() -> None:
    # GIVEN a perceptron and inputs
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
    inputs = np.random.default_rng(1).standard_normal((7, 6)).astype(np.float32)
    # WHEN it is run
    found = signal(_runnable(network, prefix="net."), inputs=inputs)
    # THEN each strength is the mean over samples of ‖x‖/√n before the nonlinearity
    w1, b1, w2, b2 = (value.detach().double().numpy() for value in network.parameters())
    hidden = inputs @ w1.T + b1
    outputs = np.tanh(hidden) @ w2.T + b2
    rms = [np.sqrt((values**2).mean(axis=1)) for values in (inputs, hidden, np.tanh(hidden), outputs)]
    first, second = found.layers
    assert (first.name, second.name) == ("net.0.weight", "net.2.weight")
    assert first.strength == pytest.approx(rms[1].mean(), rel=1e-6)
    assert first.deviation == pytest.approx(rms[1].std(ddof=1), rel=1e-5)
    assert second.incoming == pytest.approx(rms[2].mean(), rel=1e-6)
    assert second.ratio == pytest.approx((rms[3] / rms[2]).mean(), rel=1e-6)
    assert found.output is not None
    assert found.output.strength == pytest.approx(rms[3].mean(), rel=1e-6)
    assert found.output.top == tuple(outputs.argmax(axis=1))
    assert (found.samples, found.reason, first.n, first.non_finite) == (7, None, 7, 0)
    assert found.input_strength == pytest.approx(rms[0].mean(), rel=1e-6)


def test_a_scaled_linear_network_scales_the_strength() -> None:
    # GIVEN the identity, scaled by 3, and Gaussian inputs
    network = nn.Linear(400, 400, bias=False)
    nn.init.eye_(network.weight)
    with torch.no_grad():
        network.weight *= 3
    found = _run(network, samples=20)
    # THEN inputs have unit strength (within 6 standard errors) and the ratio is 3
    assert found.input_strength == pytest.approx(1.0, abs=6 / math.sqrt(2 * 400 * 20))
    assert found.layers[0].ratio == pytest.approx(3.0, rel=1e-6)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    wants = Preprocessing((3, 12, 12))
    assert _run(network, wants, seed=4) == _run(network, wants, seed=4)
    assert _run(network, wants, seed=4).layers != _run(network, wants, seed=5).layers


class _Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Embedding(40, 8)
        self.words = nn.Embedding(50, 8)
        self.recurrent = nn.LSTM(8, 6, num_layers=2, batch_first=True)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.answer = nn.Linear(6, 50)

    def forward(self, ids: torch.Tensor) -> SimpleNamespace:
        states, _ = self.recurrent(self.words(ids) + self.positions(torch.arange(ids.shape[1])))
        mixed, _ = self.attention(states, states, states)
        return SimpleNamespace(loss=None, logits=self.answer(mixed))


def test_token_networks_with_recurrence_and_attention_run_on_random_ids() -> None:
    # GIVEN a network of token ids whose output is a record
    found = _run(_Words())
    # THEN every layer is measured at its module's output, and ids are no signal
    assert found.reason is None
    assert "token ids below 50" in found.method
    layers = {layer.name: layer for layer in found.layers}
    assert set(layers) == {
        "words.weight",
        "positions.weight",
        "recurrent.weight_ih_l1",
        "attention.in_proj_weight",
        "answer.weight",
    }
    assert layers["words.weight"].incoming is None
    assert layers["recurrent.weight_ih_l1"].tensors == ("recurrent.weight_ih_l1", "recurrent.weight_hh_l1")
    assert layers["attention.in_proj_weight"].tensors == ("attention.in_proj_weight", "attention.out_proj.weight")
    assert found.output is not None
    assert found.output.shape == (32, 50)


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 5), nn.Flatten(), nn.Linear(2 * 24 * 24, 10)), (1, 28, 28)),
        (nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU()), (2, 16000)),
        (nn.Sequential(nn.Conv3d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 6 * 6 * 6, 2)), (1, 8, 8, 8)),
        (nn.GRU(5, 4), (16, 5)),
        (nn.Sequential(nn.ConvTranspose2d(3, 2, 2), nn.BatchNorm2d(2)), (3, 224, 224)),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (16, 8)),
    ],
)
def test_an_unknown_input_is_inferred_from_the_first_layer(network: nn.Module, shape: tuple[int, ...]) -> None:
    found = _run(network, samples=1)
    assert found.reason is None
    assert "×".join(map(str, shape)) in found.method
    assert found.layers


def test_fused_paths_do_not_hide_layers() -> None:
    # GIVEN a transformer layer, which PyTorch runs as one fused operation in eval mode when nobody watches
    found = _run(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), samples=1)
    assert {layer.name for layer in found.layers} == {"self_attn.in_proj_weight", "linear1.weight", "linear2.weight"}


def test_a_shared_layer_counts_with_the_mean_of_its_calls() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4, bias=False)
            nn.init.eye_(self.layer.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(3 * self.layer(x))

    found = signal(_runnable(Shared()), inputs=np.ones((2, 4), dtype=np.float32))
    (layer,) = found.layers
    assert layer.calls == 2
    assert layer.strength == pytest.approx((1 + 3) / 2)
    assert layer.ratio == pytest.approx(1.0)


def test_parametrised_and_weight_normed_layers_are_named_by_their_tensors() -> None:
    network = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2))
    )
    found = _run(network)
    assert [layer.tensors for layer in found.layers] == [
        ("0.parametrizations.weight.original0", "0.parametrizations.weight.original1"),
        ("1.parametrizations.weight.original",),
    ]


def test_the_first_layer_that_overflows_is_named_and_left_out_of_means() -> None:
    # GIVEN a network whose second layer overflows on one of two samples
    network = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(3)))
    with torch.no_grad():
        for layer, weight in zip(network, (1.0, 1e38, 1.0), strict=True):
            layer.weight.fill_(weight)
    # WHEN it is run on 1 and 100
    found = signal(_runnable(network), inputs=np.array([[1.0], [100.0]], dtype=np.float32))
    # THEN the finite sample is measured and the other one counted
    assert found.first_non_finite == "1.weight"
    assert (found.layers[1].n, found.layers[1].non_finite) == (1, 1)
    assert found.layers[1].strength == pytest.approx(1e38)
    assert found.layers[1].deviation is None


def test_large_finite_signals_do_not_overflow_in_the_norm() -> None:
    network = nn.Linear(3, 3, bias=False)
    nn.init.eye_(network.weight)
    found = signal(_runnable(network), inputs=np.full((1, 3), 1e30, dtype=np.float32))
    assert found.layers[0].strength == pytest.approx(1e30, rel=1e-6)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (nn.ReLU(), "what the network takes as input is not known; give inputs"),
        (nn.Bilinear(2, 3, 4), "what the network takes as input is not known"),
        (nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(7, 2)), "no usual input size fits the network (R"),
    ],
)
def test_a_network_that_cannot_be_fed_gives_a_reason(network: nn.Module, words: str) -> None:
    found = _run(network)
    assert found.reason is not None
    assert words in found.reason
    assert "\n" not in found.reason
    assert found.layers == ()


def test_a_network_that_raises_gives_a_reason_and_loses_its_hooks() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.layer(x)
            raise ZeroDivisionError("two\nlines\x1b[31m")

    network = Fails()
    found = _run(network, Preprocessing((2,)))
    assert found.reason == r"the forward pass failed: ZeroDivisionError: two lines\x1b[31m"
    assert not network.layer._forward_hooks


def test_a_source_that_cannot_be_built_gives_a_reason() -> None:
    def broken() -> nn.Module:
        raise SourceError("x.pt: truncated")

    def foreign() -> nn.Module:
        raise RuntimeError("no such operator")

    assert signal(Runnable(broken, None, {})).reason == "x.pt: truncated"
    assert signal(Runnable(foreign, None, {})).reason == (
        "the network could not be built: RuntimeError: no such operator"
    )


def test_nothing_outside_is_disturbed() -> None:
    # GIVEN a network that draws random numbers from everywhere, in training mode in part
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.norm = nn.BatchNorm1d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.layer(x + torch.rand(3) + random.random() + np.random.rand()))  # noqa: NPY002

    network = Noisy()
    runnable = Runnable(lambda: network, Preprocessing((3,)), {})
    network.train()
    before = (torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())  # noqa: NPY002
    state = {name: value.clone() for name, value in network.state_dict().items()}
    # WHEN it is measured
    assert signal(runnable, samples=2).reason is None
    # THEN random states, weights, statistics, gradients, flags and hooks are what they were
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])  # noqa: NPY002
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert network.training
    assert network.norm.training
    assert network.layer.weight.grad is None
    assert not network.layer._forward_hooks
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("device", ["cuda:99", "tpu9", "meta?"])
def test_an_impossible_device_is_a_one_line_error(device: str) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        _run(nn.Linear(2, 2), device=device)


def test_impossible_inputs_are_one_line_errors() -> None:
    with pytest.raises(UsageError, match="batch first"):
        signal(_runnable(nn.Linear(2, 2)), inputs=np.zeros(2, dtype=np.float32))
    with pytest.raises(UsageError, match="samples is 0"):
        _run(nn.Linear(2, 2), samples=0)
