"""Strengths of operations are those of arithmetic by hand, traced or hooked, in batches or alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from critaudit.dynamics.operations import watch
from critaudit.dynamics.operations.norms import sample_strengths, whole_strength
from critaudit.dynamics.running import CannotRunError
from tests.dynamics.operations.networks import Branching, Recurrent, Residual, Tokens, batch, rms, samples


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    torch.manual_seed(3)
    with torch.no_grad():
        yield


def test_strengths_of_a_residual_network_equal_arithmetic_by_hand() -> None:
    # GIVEN a network with a shared in-place activation, a sum, functions, views and a constant
    network, inputs = Residual().eval(), samples(5, 3, 6, 6)
    # WHEN its operations are watched
    watched = watch(network, inputs)
    found = watched.strengths(inputs)
    # THEN these are the layers, and nothing that only moves values is one
    assert watched.names == (
        "stem", "norm", "act", "body", "act#2", "add", "add#2", "relu", "max_pool2d", "head",
    )  # fmt: skip
    assert watched.kinds[:3] == ("Conv2d", "BatchNorm2d", "ReLU")
    assert watched.weighted == {"stem", "body", "head"}
    assert watched.how == "operations of the graph traced by torch.fx"
    reasons = dict(watched.left_out)
    assert reasons["drop"] == reasons["transpose"] == reasons["contiguous"] == reasons["flatten"]
    assert reasons["abs"] == "does not depend on the input"
    # AND each strength is that of the tensors computed by hand
    for sample, row in zip(inputs, found, strict=True):
        a = network.stem(sample)
        b = network.norm(a)
        c = b.relu()
        d = network.body(c)
        e = d.relu()
        f = e + network.shift.abs()
        g = f + c
        h = functional.max_pool2d(g.relu(), 3)
        i = network.head(h.transpose(2, 3).flatten(1))
        assert row == pytest.approx([rms(values) for values in (a, b, c, d, e, f, g, g.relu(), h, i)], rel=1e-6)


def test_graph_and_hooks_agree_where_all_operations_are_modules() -> None:
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.GELU(), nn.Conv2d(4, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)
    )
    inputs = samples(4, 2, 6, 6)
    traced, hooked = watch(network.eval(), inputs, graph=True), watch(network, inputs, graph=False)
    assert traced.names == hooked.names == ("0", "1", "2", "3", "5")
    np.testing.assert_array_equal(traced.strengths(inputs), hooked.strengths(inputs))


def test_hooks_see_the_modules_of_a_network_that_also_calls_functions() -> None:
    network, inputs = Residual().eval(), samples(3, 3, 6, 6)
    traced, hooked = watch(network, inputs), watch(network, inputs, graph=False)
    assert hooked.names == ("stem", "norm", "act", "body", "act#2", "head")
    columns = [traced.names.index(name) for name in hooked.names]
    np.testing.assert_allclose(hooked.strengths(inputs), traced.strengths(inputs)[:, columns], rtol=1e-6)


def test_a_network_that_cannot_be_traced_is_hooked() -> None:
    network, inputs = Branching().eval(), samples(3, 6)
    watched = watch(network, inputs)
    assert watched.names == ("first", "act", "second", "act#2", "third")
    assert "cannot be traced" in watched.how
    with pytest.raises(CannotRunError, match="cannot be traced"):
        watch(network, inputs, graph=True)


def test_outputs_that_are_not_batch_first_pass_one_sample_at_a_time() -> None:
    # GIVEN a recurrent network whose states are time first
    network, inputs = Recurrent().eval(), samples(4, 9, 5)
    watched = watch(network, inputs)
    # THEN the strength is one sample's, whatever the layout
    assert watched.batch == 1
    assert "one sample at a time" in watched.how
    found = watched.strengths(inputs)
    for sample, row in zip(inputs, found, strict=True):
        states = network.memory(network.encode(sample).transpose(0, 1))[0]
        assert row[watched.names.index("memory")] == pytest.approx(rms(states), rel=1e-6)


def test_statistics_over_the_batch_are_noticed() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.line(x)
            return torch.tanh(y - y.mean(dim=0) * 0.5)

    assert watch(Centred().eval(), samples(3, 6)).batch == 1


def test_selections_and_copies_are_no_layers() -> None:
    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.line(x)[:, torch.tensor([0, 2, 4])]
            y = torch.cat([y.repeat(1, 2), y.flip(1)], dim=1)
            return torch.tanh(y.clone().unsqueeze(1).expand(-1, 3, -1))

    assert watch(Chosen().eval(), samples(2, 6)).names == ("line", "cat", "tanh")


def test_token_ids_are_inputs_too() -> None:
    network = Tokens().eval()
    inputs = [torch.randint(0, 30, (1, 7), generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    watched = watch(network, inputs)
    assert watched.names == ("embed", "mix", "tanh", "mean", "answer")
    assert watched.strengths(inputs)[2, 0] == pytest.approx(rms(network.embed(inputs[2])), rel=1e-6)


def test_an_operation_count_that_depends_on_the_input_is_refused() -> None:
    class Deep(Branching):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            for _ in range(2 if float(x[0, 0]) > 0 else 3):
                x = self.act(self.second(x))
            return x

    network = Deep().eval()
    inputs = samples(40, 6)
    signs = [float(network.first(values)[0, 0]) > 0 for values in inputs]
    same = [values for values, sign in zip(inputs, signs, strict=True) if sign]
    other = [values for values, sign in zip(inputs, signs, strict=True) if not sign]
    with pytest.raises(CannotRunError, match="depends on the input"):
        watch(network, [same[0], other[0]])
    with pytest.raises(CannotRunError, match="depends on the input"):
        watch(network, other[:2]).strengths(same)


def test_a_network_without_a_signal_has_nothing_to_follow() -> None:
    with pytest.raises(CannotRunError, match="nothing to follow"):
        watch(nn.Sequential(nn.Identity()).eval(), samples(2, 4))


def test_batches_do_not_change_the_strengths_and_hooks_do_not_stay() -> None:
    network, inputs = Branching().eval(), samples(150, 6)
    watched = watch(network, inputs)
    assert watched.batch > 1
    alone = np.concatenate([watched.strengths([values]) for values in inputs])
    np.testing.assert_allclose(watched.strengths(inputs), alone, rtol=1e-6)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())
    assert watched.strengths([]).shape == (0, 5)


def test_the_cost_of_a_sample_counts_products_and_values() -> None:
    network = nn.Sequential(nn.Linear(10, 20, bias=False), nn.Tanh(), nn.Linear(20, 5, bias=False)).eval()
    watched = watch(network, samples(2, 10))
    assert watched.flops == 2 * (10 * 20 + 20 * 5) + 40 * (20 + 20 + 5)
    assert watched.summary == "2 Linear, 1 Tanh"


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 3), st.integers(1, 6), st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_strengths_of_any_shape_are_root_mean_squares(axes: int, side: int, dtype: torch.dtype) -> None:
    values = torch.randn(3, *(side + axis for axis in range(axes)), dtype=torch.float32).to(dtype)
    expected = [rms(part) for part in values]
    assert sample_strengths(values).tolist() == pytest.approx(expected, rel=1e-6)
    assert float(whole_strength(values)) == pytest.approx(rms(values), rel=1e-6)


def test_complex_values_count_with_their_modulus() -> None:
    values = torch.tensor([[3.0 + 4.0j, 0.0], [1.0j, 1.0]])
    assert sample_strengths(values).tolist() == pytest.approx([5 / 2**0.5, 1.0])


def test_an_overflow_is_infinite_not_an_error() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).eval()
    watched = watch(network, samples(2, 4))
    found = watched.strengths([batch(samples(1, 4)) * 1e38])
    assert not np.isfinite(found).all()
