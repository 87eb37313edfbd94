"""Activations by name: derivatives against finite differences, PyTorch's spellings, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from critaudit.errors import UsageError
from critaudit.theory.activations import as_activation, elu, leaky_relu, named_activation

NAMES = [
    "tanh erf identity relu gelu gelu_tanh silu quick_gelu mish softplus sigmoid log_sigmoid tanhshrink softsign selu",
    "hardtanh hardsigmoid relu6 hardswish leaky_relu elu elu(0.3) leaky_relu(0.2)",
]
ALL = " ".join(NAMES).split()


@pytest.mark.parametrize("name", ALL)
def test_given_each_name_when_differentiated_numerically_then_the_derivative_agrees(name: str) -> None:
    phi = named_activation(name)
    x = np.linspace(-9.013, 9.07, 400)
    numerical = as_activation(lambda x: phi.value(x), kinks=phi.kinks).derivative(x)
    assert np.allclose(phi.derivative(x), numerical, atol=5e-11)


@pytest.mark.parametrize("name", ALL)
def test_given_each_name_when_far_out_then_nothing_overflows(name: str) -> None:
    phi = named_activation(name)
    x = np.array([-1e12, -1e4, -50.0, 0.0, 50.0, 1e4, 1e12])
    with np.errstate(all="raise", under="ignore"):
        assert np.all(np.isfinite(phi.value(x)))
        assert np.all(np.isfinite(phi.derivative(x)))
        assert phi.far_slopes == pytest.approx(tuple(phi.derivative(x[[0, -1]])), abs=1e-9)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("GELU", "gelu"),
        ("SiLU", "silu"),
        ("swish", "silu"),
        ("torch.nn.ReLU6", "relu6"),
        ("nn.LeakyReLU", "leaky_relu(0.01)"),
        ("LeakyReLU( 0.2 )", "leaky_relu(0.2)"),
        ("gelu_pytorch_tanh", "gelu_tanh"),
        ("gelu_new", "gelu_tanh"),
        ("hard_swish", "hardswish"),
        ("linear", "identity"),
        ("LogSigmoid", "log_sigmoid"),
        (" tanh ", "tanh"),
    ],
)
def test_given_other_spellings_when_named_then_the_same_function_comes(spelling: str, name: str) -> None:
    assert named_activation(spelling).name == name


@pytest.mark.parametrize("name", ["", "nonsense", "tanh(3)", "leaky_relu(x)", "leaky_relu(1e)", "relu\x1b[31m"])
def test_given_an_unknown_name_when_asked_then_one_line_lists_the_known(name: str) -> None:
    with pytest.raises(UsageError, match="activation") as caught:
        named_activation(name)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_given_something_else_when_asked_then_it_is_refused() -> None:
    for wrong in (3, lambda x: 1.0, None):
        with pytest.raises(UsageError, match="no activation"):
            as_activation(wrong)


def test_given_an_activation_when_passed_then_it_comes_back() -> None:
    phi = leaky_relu(0.3)
    assert as_activation(phi) is phi
    assert phi.far_slopes == (0.3, 1.0)
    assert elu(2.0).value(np.array([-1e9, 1.0])) == pytest.approx([-2.0, 1.0])
