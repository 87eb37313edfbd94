"""Convolutions and fixed normalisations as linear maps whose second derivative costs what the first one does.

A Jacobian's action on tangents comes from differentiating its transposed action. PyTorch's second derivative of a
convolution also computes what nobody asked for, and a depthwise one channel by channel: twenty times slower than the
convolution itself. Here a convolution's derivative is the transposed convolution, and that one's derivative is the
convolution again; values stay the same to rounding.

This module imports torch: import it inside functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch.overrides import TorchFunctionMode

# stride, padding, dilation, transposed, output padding, groups: the tail of aten::convolution's arguments.
_Options: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], bool, tuple[int, ...], int]


class _Convolution(torch.autograd.Function):
    """x ↦ w ∗ x + b with constant w and b: derivative and transpose are convolutions too."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, options: _Options) -> torch.Tensor:
        found: torch.Tensor = torch.ops.aten.convolution(x, weight, bias, *options)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:  # noqa: ARG004
        x, weight, _, options = inputs
        ctx.save_for_backward(weight)
        ctx.save_for_forward(weight)
        ctx.shape, ctx.options = tuple(x.shape), options

    @staticmethod
    def jvp(ctx: Any, *tangents: torch.Tensor) -> torch.Tensor:
        (weight,) = ctx.saved_tensors
        found: torch.Tensor = torch.ops.aten.convolution(tangents[0], weight, None, *ctx.options)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return _Transposed.apply(grads[0], weight, ctx.shape, ctx.options), None, None, None


class _Transposed(torch.autograd.Function):
    """The transpose of `_Convolution`'s linear part."""

    generate_vmap_rule = True

    @staticmethod
    def forward(grad: torch.Tensor, weight: torch.Tensor, shape: tuple[int, ...], options: _Options) -> torch.Tensor:
        # The input's values do not matter, only its shape; its storage is a single number.
        x = grad.new_zeros(()).expand(shape)
        found: torch.Tensor = torch.ops.aten.convolution_backward(
            grad, x, weight, None, *options, [True, False, False]
        )[0]
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:  # noqa: ARG004
        _, weight, _, options = inputs
        ctx.save_for_backward(weight)
        ctx.options = options

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return _Convolution.apply(grads[0], weight, None, ctx.options), None, None, None


class LinearMaps(TorchFunctionMode):
    """Replaces convolutions with constant weights and normalisations with fixed statistics by linear maps."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        replacement = _REPLACEMENTS.get(getattr(func, "__name__", ""))
        if replacement is not None:
            found = replacement(*args, **kwargs)
            if found is not None:
                return found
        return func(*args, **kwargs)


def _convolve(axes: int) -> Callable[..., torch.Tensor | None]:
    """A replacement of torch.conv1d, conv2d or conv3d; it gives None for what it leaves to PyTorch."""

    def convolve(
        x: Any = None,
        weight: Any = None,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        **named: Any,
    ) -> torch.Tensor | None:
        x = named.pop("input", x)
        if named or isinstance(padding, str) or not _is_constant(x, weight, bias) or x.ndim != axes + 2:
            return None
        options = (_each(stride, axes), _each(padding, axes), _each(dilation, axes), False, (0,) * axes, groups)
        found: torch.Tensor = _Convolution.apply(x, weight, bias, options)
        return found

    return convolve


def _convolve_transposed(axes: int) -> Callable[..., torch.Tensor | None]:
    def convolve(
        x: Any = None,
        weight: Any = None,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
        **named: Any,
    ) -> torch.Tensor | None:
        x = named.pop("input", x)
        if named or not _is_constant(x, weight, bias) or x.ndim != axes + 2:
            return None
        more = _each(output_padding, axes)
        options = (_each(stride, axes), _each(padding, axes), _each(dilation, axes), True, more, groups)
        found: torch.Tensor = _Convolution.apply(x, weight, bias, options)
        return found

    return convolve


def _normalise(*args: Any, **kwargs: Any) -> torch.Tensor | None:
    """Batch normalisation in eval mode: an affine map per channel.

    PyTorch's own second derivative is slow, and wrong where the gradient comes in another memory layout.
    """
    if len(args) == 9:  # torch.batch_norm
        x, weight, bias, mean, variance, training, _, eps, _ = args
    else:  # torch.nn.functional.batch_norm
        named = dict(zip(("input", "running_mean", "running_var", "weight", "bias"), args, strict=False)) | kwargs
        x, mean, variance = named.get("input"), named.get("running_mean"), named.get("running_var")
        weight, bias = named.get("weight"), named.get("bias")
        training, eps = named.get("training", False), named.get("eps", 1e-5)
    if training or mean is None or variance is None or not _is_constant(x, weight, bias) or x.ndim < 2:
        return None
    gain = torch.rsqrt(variance + eps)
    gain = gain if weight is None else gain * weight
    shift = -mean * gain if bias is None else bias - mean * gain
    along = (1, -1) + (1,) * (x.ndim - 2)
    return torch.addcmul(shift.to(x.dtype).view(along), x, gain.to(x.dtype).view(along))


def _hard_sigmoid(x: Any = None, inplace: bool = False, **named: Any) -> torch.Tensor | None:
    """relu6(x + 3)/6, whose derivative PyTorch cannot differentiate in its fused form."""
    x = named.pop("input", x)
    if named or not _is_constant(x):
        return None
    source = x.clone() if inplace else x
    return _written(x, torch.nn.functional.relu6(source + 3.0) / 6.0, inplace)


def _hard_swish(x: Any = None, inplace: bool = False, **named: Any) -> torch.Tensor | None:
    """x·relu6(x + 3)/6, as MobileNetV3 has it."""
    x = named.pop("input", x)
    if named or not _is_constant(x):
        return None
    source = x.clone() if inplace else x
    return _written(x, source * torch.nn.functional.relu6(source + 3.0) / 6.0, inplace)


def _written(x: torch.Tensor, found: torch.Tensor, inplace: bool) -> torch.Tensor:
    """`found`, put into x where the caller wants it there."""
    return x.copy_(found) if inplace else found


def _is_constant(x: Any, *parameters: Any) -> bool:
    """Whether `x` is a floating-point tensor of the parameters' type and no parameter is being differentiated."""
    if not isinstance(x, torch.Tensor) or not x.is_floating_point():
        return False
    return all(
        parameter is None or (isinstance(parameter, torch.Tensor) and not parameter.requires_grad)
        for parameter in parameters
    )


def _each(value: Any, axes: int) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * axes
    sides = tuple(int(side) for side in value)
    return sides * axes if len(sides) == 1 else sides


_REPLACEMENTS: dict[str, Callable[..., torch.Tensor | None]] = {
    "conv1d": _convolve(1),
    "conv2d": _convolve(2),
    "conv3d": _convolve(3),
    "conv_transpose1d": _convolve_transposed(1),
    "conv_transpose2d": _convolve_transposed(2),
    "conv_transpose3d": _convolve_transposed(3),
    "batch_norm": _normalise,
    "hardsigmoid": _hard_sigmoid,
    "hardswish": _hard_swish,
}
