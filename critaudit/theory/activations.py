"""Activation functions with their derivatives, kinks and exact Gaussian averages, by PyTorch's names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.special import erf, expit, ndtr

from critaudit.errors import UsageError
from critaudit.theory.quadrature import Array

Function: TypeAlias = Callable[[Array], Array]


@dataclass(frozen=True, slots=True, eq=False)
class Activation:
    """A function φ on arrays, its derivative φ′, and where either is not smooth.

    `slopes` = (a₋, a₊) says that φ(x) = a₋x for x < 0 and a₊x for x > 0 exactly, so that every average is known. Beyond
    |x| = 40 a function should have settled to a straight line; averages of one that has not lose accuracy.
    """

    name: str
    value: Function
    derivative: Function
    kinks: tuple[float, ...] = ()
    slopes: tuple[float, float] | None = None

    @property
    def far_slopes(self) -> tuple[float, float]:
        """Slopes far to the left and to the right: what a diverging signal sees. Zero for bounded functions."""
        if self.slopes is not None:
            return self.slopes
        far = 1e12
        left, right = self.value(np.array([-far, far]))
        # A bounded function, or √|x|, has none.
        return _nearest_zero(-float(left) / far), _nearest_zero(float(right) / far)


def _nearest_zero(slope: float) -> float:
    return slope if abs(slope) > 1e-5 else 0.0


def named_activation(name: str) -> Activation:
    """The activation that PyTorch (or a Hugging Face config) calls `name`, in any spelling: "GELU", "leaky_relu(0.2)".

    `gelu` is the exact one, `erf` is erf(x), `elu` and `leaky_relu` take their parameter in parentheses (1 and 0.01
    without). Raises UsageError for an unknown name.
    """
    matched = re.fullmatch(r"\s*([\w .-]+?)\s*(?:\(\s*([-+.\deE]+)\s*\))?\s*", name)
    key = re.sub(r"[\W_]", "", matched.group(1).rsplit(".", 1)[-1].lower()) if matched else ""
    key = _ALIASES.get(key, key)
    parameter = matched.group(2) if matched else None
    if key in _FAMILIES:
        make, default = _FAMILIES[key]
        try:
            return make(default if parameter is None else float(parameter))
        except ValueError:
            raise UsageError(f"activation {name!r}: the parameter in parentheses is no number") from None
    if key not in _NAMED or parameter is not None:
        known = ", ".join(sorted([activation.name for activation in _NAMED.values()] + ["leaky_relu", "elu"]))
        raise UsageError(f"activation {name!r} is not known; give one of {known}, or a Python function")
    return _NAMED[key]


def as_activation(
    activation: str | Activation | Function, *, derivative: Function | None = None, kinks: tuple[float, ...] = ()
) -> Activation:
    """An Activation from a name, from a function on float64 arrays, or as it is.

    For a function, `derivative` may be given; else it is a sixth-order central difference that never steps over one of
    `kinks` (good to 1e-11). Raises UsageError for an unknown name or a function that does not map arrays to arrays.
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        return named_activation(activation)
    probe = np.array([-1.0, 0.5])
    if not callable(activation) or np.shape(activation(probe)) != probe.shape:
        raise UsageError(f"{activation!r:.80} is no activation; give a name or a function from an array to an array")
    return Activation(
        getattr(activation, "__name__", "function"),
        activation,
        derivative if derivative is not None else _numerical_derivative(activation, kinks),
        tuple(kinks),
    )


def leaky_relu(slope: float = 0.01) -> Activation:
    """x for x > 0, slope·x below."""
    return Activation(
        f"leaky_relu({slope:g})",
        lambda x: np.where(x > 0, x, slope * x),
        lambda x: np.where(x > 0, 1.0, slope),
        (0.0,),
        (slope, 1.0),
    )


def elu(alpha: float = 1.0) -> Activation:
    """x for x > 0, alpha·(eˣ − 1) below."""
    return _scaled_elu(f"elu({alpha:g})", alpha, 1.0)


def _scaled_elu(name: str, alpha: float, scale: float) -> Activation:
    return Activation(
        name,
        lambda x: scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0))),
        lambda x: scale * np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0.0))),
        (0.0,),
    )


def _numerical_derivative(function: Function, kinks: tuple[float, ...]) -> Function:
    def derivative(x: Array) -> Array:
        step = 1e-2 * np.maximum(1.0, 1e-3 * np.abs(x))
        for kink in kinks:
            step = np.minimum(step, np.abs(x - kink) / 4.0)
        step = np.maximum(step, np.finfo(np.float64).tiny)
        # The step that the rounded arguments really make.
        step = (x + step) - x
        step = np.where(step == 0.0, np.spacing(np.abs(x) + 1e-300), step)
        near = function(x + step) - function(x - step)
        middle = function(x + 2.0 * step) - function(x - 2.0 * step)
        far = function(x + 3.0 * step) - function(x - 3.0 * step)
        return np.asarray((45.0 * near - 9.0 * middle + far) / (60.0 * step))

    return derivative


def _clipped(name: str, slope: float, shift: float, low: float, high: float) -> Activation:
    left, right = (low - shift) / slope, (high - shift) / slope
    return Activation(
        name,
        lambda x: np.clip(slope * x + shift, low, high),
        lambda x: np.where((x > left) & (x < right), slope, 0.0),
        (left, right),
    )


def _sech_squared(x: Array) -> Array:
    decay = np.exp(-2.0 * np.abs(x))
    return np.asarray(4.0 * decay / np.square(1.0 + decay))


def _gelu_slope(x: Array) -> Array:
    return np.asarray(ndtr(x) + x * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi))


def _gelu_tanh(x: Array) -> Array:
    return np.asarray(0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))))


def _gelu_tanh_slope(x: Array) -> Array:
    root = math.sqrt(2.0 / math.pi)
    inner = root * (x + 0.044715 * x**3)
    return np.asarray(
        0.5 * (1.0 + np.tanh(inner)) + 0.5 * x * _sech_squared(inner) * root * (1.0 + 3 * 0.044715 * x * x)
    )


def _silu(name: str, rate: float) -> Activation:
    def slope(x: Array) -> Array:
        gate = expit(rate * x)
        return np.asarray(gate * (1.0 + rate * x * expit(-rate * x)))

    return Activation(name, lambda x: x * expit(rate * x), slope)


def _softplus(x: Array) -> Array:
    return np.logaddexp(0.0, x)


def _mish_slope(x: Array) -> Array:
    gate = np.tanh(_softplus(x))
    return np.asarray(gate + x * _sech_squared(_softplus(x)) * expit(x))


def _hardswish_slope(x: Array) -> Array:
    return np.where(x <= -3.0, 0.0, np.where(x >= 3.0, 1.0, x / 3.0 + 0.5))


_FAMILIES: dict[str, tuple[Callable[[float], Activation], float]] = {"leakyrelu": (leaky_relu, 0.01), "elu": (elu, 1.0)}
_ALIASES = {
    "swish": "silu",
    "linear": "identity",
    "none": "identity",
    "celu": "elu",
    "gelunew": "gelutanh",
    "gelupytorchtanh": "gelutanh",
    "gelufast": "gelutanh",
    "logistic": "sigmoid",
}
_NAMED = {
    re.sub("_", "", activation.name): activation
    for activation in (
        Activation("tanh", np.tanh, _sech_squared),
        Activation("erf", erf, lambda x: 2.0 / math.sqrt(math.pi) * np.exp(-x * x)),
        Activation("identity", lambda x: x, np.ones_like, (), (1.0, 1.0)),
        Activation("relu", lambda x: np.maximum(x, 0.0), lambda x: np.where(x > 0, 1.0, 0.0), (0.0,), (0.0, 1.0)),
        Activation("gelu", lambda x: x * ndtr(x), _gelu_slope),
        Activation("gelu_tanh", _gelu_tanh, _gelu_tanh_slope),
        _silu("silu", 1.0),
        _silu("quick_gelu", 1.702),
        Activation("mish", lambda x: x * np.tanh(_softplus(x)), _mish_slope),
        Activation("softplus", _softplus, expit),
        Activation("sigmoid", expit, lambda x: expit(x) * expit(-x)),
        Activation("log_sigmoid", lambda x: -_softplus(-x), lambda x: expit(-x)),
        Activation("tanhshrink", lambda x: x - np.tanh(x), lambda x: np.square(np.tanh(x))),
        Activation("softsign", lambda x: x / (1.0 + np.abs(x)), lambda x: 1.0 / np.square(1.0 + np.abs(x)), (0.0,)),
        _scaled_elu("selu", 1.6732632423543772848170429916717, 1.0507009873554804934193349852946),
        _clipped("hardtanh", 1.0, 0.0, -1.0, 1.0),
        _clipped("hardsigmoid", 1.0 / 6.0, 0.5, 0.0, 1.0),
        _clipped("relu6", 1.0, 0.0, 0.0, 6.0),
        Activation("hardswish", lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0), _hardswish_slope, (-3.0, 3.0)),
    )
}
