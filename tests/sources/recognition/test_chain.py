"""Chains of linear layers: found where every tensor fits in, run as what they are, refused elsewhere."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from critaudit.errors import UsageError
from critaudit.sources.recognition.chain import find_chain
from critaudit.sources.recognition.recognise import recognise
from tests.sources.networks import answer, reference, references


def _arrays(**shapes: tuple[int, ...]) -> dict:
    rng = np.random.default_rng(5)
    named = {name.replace("__", "."): shape for name, shape in shapes.items()}
    return {name: reference(rng.standard_normal(shape).astype(np.float32), name) for name, shape in named.items()}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 9), min_size=3, max_size=6), st.booleans(), st.sampled_from(["tanh", "relu", "gelu"]))
def test_any_perceptron_computes_the_same_after_recognition(widths: list[int], bias: bool, activation: str) -> None:
    # GIVEN a perceptron
    kind = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU}[activation]
    steps = [step for a, b in pairwise(widths) for step in (nn.Linear(a, b, bias=bias), kind())]
    network = nn.Sequential(*steps[:-1])
    # WHEN its state dict is recognised with its activation
    found = recognise(references(network.state_dict()), activation=activation)
    # THEN it is a chain of these widths and gives the same answers
    assert found.architecture.how == "chain"
    assert "-".join(map(str, widths)) in found.architecture.detail
    assert found.runnable is not None
    assert torch.equal(answer(found.runnable.build(), (widths[0],)), answer(network, (widths[0],)))


def test_a_chain_without_activation_is_not_run_and_says_what_it_needs() -> None:
    found = recognise(_arrays(fc1__weight=(5, 4), fc1__bias=(5,), fc2__weight=(3, 5), fc2__bias=(3,)))
    assert found.architecture.how == "chain"
    assert found.runnable is None
    assert "--activation" in found.architecture.detail
    assert found.hints["fc2.weight"].activation == "identity"
    assert found.hints["fc1.weight"].activation is None


def test_a_single_layer_needs_no_activation() -> None:
    found = recognise(_arrays(weight=(3, 5), bias=(3,)))
    assert found.runnable is not None
    assert found.runnable.input is not None
    assert found.runnable.input.shape == (5,)


def test_biases_sorted_before_weights_and_layer_10_behind_layer_2() -> None:
    # GIVEN names in alphabetical order, as safetensors stores them
    arrays = _arrays(**{f"net__{i}__{kind}": (i + 2, i + 1) if kind == "weight" else (i + 2,)
                        for i in range(12) for kind in ("bias", "weight")})  # fmt: skip
    ordered = {name: arrays[name] for name in sorted(arrays)}
    # WHEN they are recognised THEN the layers stand in the order of their numbers
    chain = find_chain(ordered)
    assert chain is not None
    assert chain.widths == tuple(range(1, 14))
    assert chain.layers[2] == ("net.2.weight", "net.2.bias")


def test_matrices_of_inputs_by_outputs_are_run_transposed() -> None:
    # GIVEN arrays as in NumPy code: x @ W1 + b1
    arrays = _arrays(W1=(4, 6), b1=(6,), W2=(6, 3), b2=(3,))
    x = np.random.default_rng(1).standard_normal((1, 4)).astype(np.float32)
    w1, b1, w2, b2 = (arrays[name].read() for name in ("W1", "b1", "W2", "b2"))
    # WHEN they are recognised and run
    found = recognise(arrays, activation="tanh")
    assert found.runnable is not None
    with torch.no_grad():
        got = found.runnable.build()(torch.from_numpy(x)).numpy()
    # THEN the result is that of the NumPy code
    np.testing.assert_allclose(got, np.tanh(x @ w1 + b1) @ w2 + b2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "shapes",
    [
        {"fc1__weight": (5, 4), "fc2__weight": (3, 6)},
        {"weight": (5, 4)},
        {"fc1__weight": (5, 4), "bn1__weight": (5,), "fc2__weight": (3, 5)},
        {"conv__weight": (5, 4, 3, 3), "fc__weight": (3, 5)},
        {"attn__q_proj__weight": (4, 4), "attn__k_proj__weight": (4, 4)},
        {"rnn__weight_ih_l0": (4, 4), "rnn__weight_hh_l0": (4, 4)},
        {"a__weight": (5, 4), "a__bias": (4,), "b__weight": (3, 5)},
        {"a__weight": (5, 4), "a__bias": (5,), "a__bias2": (5,), "b__weight": (3, 5)},
        {"scale": (), "a__weight": (5, 4), "b__weight": (3, 5)},
        {"a__weight": (0, 4), "b__weight": (3, 0)},
        {},
    ],
)
def test_other_tensors_are_no_chain(shapes: dict[str, tuple[int, ...]]) -> None:
    assert find_chain(_arrays(**shapes)) is None
    assert recognise(_arrays(**shapes)).architecture.how == "none"


def test_an_unknown_activation_is_a_one_line_error() -> None:
    with pytest.raises(UsageError, match="no activation is called 'tang'; there are celu, elu, "):
        recognise(_arrays(a__weight=(5, 4), b__weight=(3, 5)), activation="tang")
