"""Nonlinearities that act on each element by itself: which one it was, and its slopes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.errors import UsageError
from critaudit.sources.live.hints import activation_of, class_name
from critaudit.theory.activations import named_activation

if TYPE_CHECKING:
    import torch
    from torch import nn

Array: TypeAlias = NDArray[np.float64]

# Functions that networks apply without a module of their own, the likeliest first.
_FUNCTIONS = (
    "identity",
    "relu",
    "tanh",
    "gelu",
    "gelu_tanh",
    "silu",
    "sigmoid",
    "leaky_relu(0.01)",
    "leaky_relu(0.1)",
    "leaky_relu(0.2)",
    "elu(1)",
    "selu",
    "relu6",
    "hardswish",
    "softplus",
    "mish",
    "quick_gelu",
    "erf",
    "softsign",
    "hardtanh",
    "hardsigmoid",
)
# Elements mix here, or chance enters.
_NOT_POINTWISE = frozenset(
    {
        "GLU",
        "RReLU",
        "Softmax",
        "Softmin",
        "LogSoftmax",
        "Softmax2d",
        "AdaptiveLogSoftmaxWithLoss",
        "MultiheadAttention",
    }
)


def module_activation(module: nn.Module) -> str | None:
    """The name of a module that applies one function to each element, with its parameter; None for other modules."""
    kind = class_name(module)
    if kind in _NOT_POINTWISE:
        return None
    if kind == "LeakyReLU":
        return f"leaky_relu({float(getattr(module, 'negative_slope', 0.01)):g})"
    if kind == "ELU" or (kind == "CELU" and getattr(module, "alpha", None) == 1.0):
        return f"elu({float(getattr(module, 'alpha', 1.0)):g})"
    if type(module).__module__ == "torch.nn.modules.activation" or activation_of(module) is not None:
        return activation_of(module) or kind.lower()
    return None


def differentiated(module: nn.Module, before: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The output of an activation module and its derivative, both shaped as its input; None where it has none."""
    import torch

    try:
        with torch.enable_grad():
            h = before.detach().clone().requires_grad_(True)
            # `forward` passes hooks by; a module that works in place gets a copy.
            after = module.forward(h.clone())
            (slopes,) = torch.autograd.grad(after.sum(), h)
    except (RuntimeError, TypeError, ValueError):
        return None  # integers, a module without derivative
    return after.detach(), slopes.detach()


def named_slopes(module: nn.Module, h: Array, slopes: Array, *, tolerance: float) -> tuple[str, Array]:
    """The name of an activation module, and φ′(h) of the function of that name, which is exact in its tails.

    Where the module's own derivative `slopes` is another (it has its own parameters), that one is given, and the name
    is none that the theory knows.
    """
    name = module_activation(module) or class_name(module)
    try:
        exact = named_activation(name).derivative(h)
    except UsageError:
        return name, slopes
    if np.allclose(exact, slopes, rtol=10.0 * tolerance, atol=10.0 * tolerance):
        return name, np.asarray(exact)
    return f"{name} with its own parameters", slopes


def known_function(h: Array, x: Array, *, tolerance: float = 1e-5) -> tuple[str | None, Array] | None:
    """The function that turned h into x, with φ′(h): a name of `theory.activations`, None for the identity.

    `tolerance` is the largest error, as a share of the largest entry, that rounding makes; of several functions within
    it the closest one. None where no known function is.
    """
    errors = {}
    for name in _FUNCTIONS:
        with np.errstate(over="ignore", under="ignore"):
            errors[name] = difference(named_activation(name).value(h), x)
    best = min(errors, key=errors.__getitem__)
    if errors[best] > tolerance:
        return None
    return (None if best == "identity" else best), np.asarray(named_activation(best).derivative(h))


def difference(expected: Array, found: Array) -> float:
    """The largest difference as a share of the largest entry; infinite for other shapes and infinite entries."""
    if expected.shape != found.shape or not np.isfinite(expected).all():
        return float("inf")
    scale = float(np.abs(found).max(initial=0.0))
    return float(np.abs(expected - found).max(initial=0.0)) / max(scale, 1e-30)
