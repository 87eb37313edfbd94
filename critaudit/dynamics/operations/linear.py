"""The same architecture without its nonlinearities: what a network that cannot compute makes of the same inputs."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from critaudit.dynamics.operations.norms import first_tensor
from critaudit.dynamics.operations.trace import leaves, symbolic
from critaudit.dynamics.running import CannotRunError, brief

if TYPE_CHECKING:
    import torch
    from torch import fx, nn

# Names of modules and functions in lower case, PyTorch's and timm's.
# fmt: off
_ODD = frozenset({
    "relu", "relu_", "relu6", "leakyrelu", "leaky_relu", "leaky_relu_", "elu", "elu_", "selu", "celu", "gelu",
    "gelutanh", "quickgelu", "quick_gelu", "silu", "swish", "mish", "hardswish", "hard_swish", "tanh", "tanh_",
    "hardtanh", "softsign", "prelu", "rrelu", "softshrink", "hardshrink", "tanhshrink",
})
# fmt: on
_GATES = {"sigmoid": 0.25, "sigmoid_": 0.25, "hardsigmoid": 1 / 6, "hard_sigmoid": 1 / 6}


@dataclass(frozen=True, slots=True, eq=False)
class Linearised:
    """A copy of a network in which `replaced` activations pass their input on; `method` says so in words."""

    module: nn.Module
    replaced: int
    method: str


def linearised(module: nn.Module) -> Linearised:
    """A copy of `module` with every activation replaced by the identity and max pooling by average pooling.

    Sigmoids, which gate, become their tangent at zero, ½ + x/4. A replaced activation stays an operation, so that both
    networks have as many layers. Weights are the same; running statistics of normalisations are too, and must be
    calibrated anew (`calibrate_batch_norm`). Products of signals, layer normalisation and softmax stay as they are:
    `departure` measures how far from affine the copy is. Raises CannotRunError where the network cannot be copied or
    has no activation that is known.
    """
    try:
        twin = copy.deepcopy(module)
    except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError, RecursionError) as error:
        raise CannotRunError(f"the network cannot be copied: {brief(error)}") from error
    count = _replace_modules(twin)
    try:
        traced = symbolic(twin)[0]
    except Exception:  # Tracing runs foreign code with stand-ins for tensors; without it, functions stay.
        if not count:
            raise CannotRunError("no activation that is a module was found, and the network cannot be traced") from None
        return Linearised(twin, count, f"{count} activations replaced by the identity (modules only)")
    functions = _replace_functions(traced)
    if not count + functions:
        raise CannotRunError("no activation was found that could be replaced by the identity")
    return Linearised(
        traced.eval() if functions else twin,
        count + functions,
        f"{count + functions} activations replaced by the identity",
    )


def departure(module: nn.Module, one: torch.Tensor, other: torch.Tensor) -> float:
    """How far the answer at the middle of two inputs is from the middle of the answers, relative to their distance.

    Zero for an affine network; NaN where the answers are no signal.
    """
    ends = [first_tensor(module(values)) for values in (one, other, 0.5 * (one + other))]
    first, second, middle = ends
    if first is None or second is None or middle is None:
        return float("nan")
    bent = (middle.double() - 0.5 * (first.double() + second.double())).norm()
    return float(bent / (first.double() - second.double()).norm().clamp_min(1e-300))


def _replace_modules(module: nn.Module) -> int:
    count = 0
    for path, part in list(leaves(module)):
        if not path:
            continue
        kind = type(part).__name__.lower()
        substitute = _line(kind) or _average(part)
        if substitute is not None:
            parent, _, name = path.rpartition(".")
            setattr(module.get_submodule(parent), name, substitute)
            count += _line(kind) is not None
    return count


def _replace_functions(traced: fx.GraphModule) -> int:
    """Activations that are called as functions or methods become modules of the traced graph."""
    count = 0
    for node in list(traced.graph.nodes):
        if node.op not in ("call_function", "call_method") or not node.args:
            continue
        kind = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        substitute = _line(kind.lower()) or _average_of(node)
        if substitute is None:
            continue
        name = f"_line_{node.name}"
        traced.add_module(name, substitute)
        with traced.graph.inserting_after(node):
            stand_in = traced.graph.call_module(name, (node.args[0],))
        node.replace_all_uses_with(stand_in)
        traced.graph.erase_node(node)
        count += _line(kind.lower()) is not None
    traced.recompile()
    return count


def _line(kind: str) -> nn.Module | None:
    from critaudit.dynamics.operations.substitutes import Line

    if kind in _GATES:
        return Line(0.5, _GATES[kind])
    return Line() if kind in _ODD else None


def _average(part: nn.Module) -> nn.Module | None:
    """The average pooling with the windows of a max pooling; padding counts as zeros, so that it is linear."""
    from torch import nn

    for most, average in ((nn.MaxPool1d, nn.AvgPool1d), (nn.MaxPool2d, nn.AvgPool2d), (nn.MaxPool3d, nn.AvgPool3d)):
        if isinstance(part, most) and part.dilation in (1, (1, 1), (1, 1, 1)):
            return average(part.kernel_size, part.stride, part.padding, part.ceil_mode)  # type: ignore[arg-type]
    for most_of, average_of in (
        (nn.AdaptiveMaxPool1d, nn.AdaptiveAvgPool1d),
        (nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d),
        (nn.AdaptiveMaxPool3d, nn.AdaptiveAvgPool3d),
    ):
        if isinstance(part, most_of) and not part.return_indices:
            return average_of(part.output_size)
    return None


def _average_of(node: fx.Node) -> nn.Module | None:
    from torch import nn
    from torch.nn import functional

    arguments: Any = node.args[1:]
    options: Any = dict(node.kwargs)
    if node.target is functional.max_pool2d:
        return _average(nn.MaxPool2d(*arguments, **options))
    if node.target is functional.adaptive_max_pool2d:
        return _average(nn.AdaptiveMaxPool2d(*arguments, **options))
    return None
