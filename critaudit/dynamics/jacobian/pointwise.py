"""Nonlinearities that act on each element by itself: which one it was, and its slopes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.errors import UsageError
from critaudit.sources.live.hints import activation_of, class_name
from critaudit.theory.activations import named_activation

if TYPE_CHECKING:
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


def module_slopes(module: nn.Module, h: Array, x: Array, *, tolerance: float = 1e-5) -> Array | None:
    """φ′(h) of an activation module that turned h into x, shape (units,); None where it did not.

    `tolerance` is the largest error, as a share of the largest entry, that rounding makes.
    The derivative of the function that the module is named for, exact in its tails, where that agrees with the
    module's own by automatic differentiation; else the latter.
    """
    import torch

    with torch.enable_grad():
        before = torch.from_numpy(h.copy())
        parameter = next(iter(module.parameters()), None)
        before = (before if parameter is None else before.to(parameter)).requires_grad_(True)
        # Out of place, and with the shape (batch, features) that parametrised activations (PReLU) want.
        after = module(before.clone().reshape(1, -1)).reshape(-1)
        (gradient,) = torch.autograd.grad(after.sum(), before)
    if _error(after.detach().double().cpu().numpy(), x) > tolerance:
        return None
    slopes = gradient.detach().double().cpu().numpy()
    try:
        named = named_activation(module_activation(module) or "")
    except UsageError:
        return np.asarray(slopes)
    exact = named.derivative(h)
    return np.asarray(exact if np.allclose(exact, slopes, rtol=1e-5, atol=1e-5) else slopes)


def known_function(h: Array, x: Array, *, tolerance: float = 1e-5) -> tuple[str | None, Array] | None:
    """The function that turned h into x, with φ′(h): a name of `theory.activations`, None for the identity.

    Of several within `tolerance` (see `module_slopes`) the closest one; None where no known function is.
    """
    errors = {}
    for name in _FUNCTIONS:
        with np.errstate(over="ignore", under="ignore"):
            errors[name] = _error(named_activation(name).value(h), x)
    best = min(errors, key=errors.__getitem__)
    if errors[best] > tolerance:
        return None
    return (None if best == "identity" else best), np.asarray(named_activation(best).derivative(h))


def _error(expected: Array, found: Array) -> float:
    """The largest difference as a share of the largest entry; infinite for other shapes and infinite entries."""
    if expected.shape != found.shape or not np.isfinite(expected).all():
        return float("inf")
    scale = float(np.abs(found).max(initial=0.0))
    return float(np.abs(expected - found).max(initial=0.0)) / max(scale, 1e-30)
