"""Integer weights in ONNX: the scale and zero point that turn them into numbers, where these are constants.

DequantizeLinear, QLinearConv, QLinearMatMul and QGemm name them; for ConvInteger and MatMulInteger the dynamic
quantiser of onnxruntime keeps them beside the weight as NAME_scale and NAME_zero_point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from critaudit.sources.onnx.graph import STANDARD_DOMAINS, Use, Value
from critaudit.tensors import Quantisation, TensorRef

MAX_SCALES = 1_000_000
# (operator, input of the integers) → (input of the scale, input of the zero point)
_COMPANIONS = {
    ("DequantizeLinear", 0): (1, 2),
    ("QLinearConv", 3): (4, 5),
    ("QLinearMatMul", 3): (4, 5),
    ("QLinearMatMul", 0): (1, 2),
    ("QGemm", 3): (4, 5),
}
_INTEGER_PRODUCTS = {("MatMulInteger", 1), ("ConvInteger", 1), ("MatMulInteger", 0)}
_SCALE_INPUTS = {
    "DequantizeLinear": (1, 2),
    "QuantizeLinear": (1, 2),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QGemm": (1, 2, 4, 5, 7, 8),
    "MatMulInteger": (2, 3),
    "ConvInteger": (2, 3),
}
Lookup = Callable[[Value | None], TensorRef | None]


def is_scale(value: Value) -> bool:
    """Whether the constant is used only as a scale or zero point."""
    uses = value.uses
    return bool(uses) and all(
        use.node.domain in STANDARD_DOMAINS and use.slot in _SCALE_INPUTS.get(use.node.op, ()) for use in uses
    )


def quantisation_of(value: Value, shape: tuple[int, ...], lookup: Lookup) -> Quantisation | str | None:
    """The constant's scale and zero point, None where it is not quantised, or why they cannot be had (in words)."""
    for use in value.uses:
        if use.node.op == "DequantizeLinear" and use.slot == 0 and use.node.integer("block_size", 0) > 0:
            return "block-wise quantised weights are not decoded"
        if use.node.op == "MatMulNBits" and use.slot == 1:
            return "packed 4-bit weights are not decoded"
        for scale, zero in _companions(use, value):
            numbers = lookup(scale)
            if numbers is None:
                continue
            return _quantisation(use, shape, numbers, lookup(zero))
    return None


def _companions(use: Use, value: Value) -> Iterator[tuple[Value | None, Value | None]]:
    if use.node.domain not in STANDARD_DOMAINS:
        return
    where = _COMPANIONS.get((use.node.op, use.slot))
    if where is not None:
        inputs = [use.scope.find(name) if name else None for name in use.node.inputs]
        inputs += [None] * (max(where) + 1 - len(inputs))
        yield inputs[where[0]], inputs[where[1]]
    elif (use.node.op, use.slot) in _INTEGER_PRODUCTS:
        base = value.name.removesuffix("_quantized")
        yield value.scope.find(f"{base}_scale"), value.scope.find(f"{base}_zero_point")


def _quantisation(
    use: Use, shape: tuple[int, ...], scale: TensorRef, zero: TensorRef | None
) -> Quantisation | str | None:
    if scale.numel > MAX_SCALES or (zero is not None and zero.numel not in (1, scale.numel)):
        return "the quantisation scales do not fit the tensor"
    scales = np.asarray(scale.read(), np.float64).reshape(-1)
    zeros = np.zeros(1) if zero is None else np.asarray(zero.read(), np.float64).reshape(-1)
    if scales.size == 1:
        return Quantisation((float(scales[0]),), (float(zeros[0]),) if zeros.size else (0.0,))
    axis = _axis(use, shape)
    if not 0 <= axis < len(shape) or shape[axis] != scales.size:
        return f"{scales.size} quantisation scales do not fit a tensor of shape {shape!s:.60}"
    zeros = np.broadcast_to(zeros, scales.shape)
    return Quantisation(tuple(scales.tolist()), tuple(zeros.tolist()), axis)


def _axis(use: Use, shape: tuple[int, ...]) -> int:
    if use.node.op == "DequantizeLinear":
        axis = use.node.integer("axis", 1)
        return axis + len(shape) if axis < 0 else axis
    if use.node.op in ("QLinearConv", "ConvInteger"):
        return 0
    if use.node.op == "QGemm" and use.node.integer("transB", 0):
        return 0
    return len(shape) - 1
