"""What PyTorch's functions do to a signal, by their names: multiply with a weight, normalise, bend, add, pass on."""

from __future__ import annotations

from typing import Any, Literal

Kind = Literal["weight", "norm", "activation", "add", "multiply", "softmax", "pass", "other"]

_WEIGHT = {
    "linear": 1,
    "bilinear": 2,
    "conv1d": 1,
    "conv2d": 1,
    "conv3d": 1,
    "conv_transpose1d": 1,
    "conv_transpose2d": 1,
    "conv_transpose3d": 1,
    "embedding": 1,
    "addmm": 2,
}
_NORM = frozenset(
    {"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm", "normalize"}
)
_ACTIVATIONS = {
    "tanh": "tanh",
    "relu": "relu",
    "relu6": "relu6",
    "leaky_relu": "leaky_relu",
    "elu": "elu",
    "celu": "elu",
    "selu": "selu",
    "gelu": "gelu",
    "silu": "silu",
    "mish": "mish",
    "sigmoid": "sigmoid",
    "hardsigmoid": "hardsigmoid",
    "hardswish": "hardswish",
    "hardtanh": "hardtanh",
    "softplus": "softplus",
    "softsign": "softsign",
    "tanhshrink": "tanhshrink",
    "logsigmoid": "logsigmoid",
    "erf": "erf",
    "sin": "sin",
    "prelu": "leaky_relu(0.25)",
    "clamp": "clamp",
    "glu": "glu",
}
_SOFTMAX = frozenset({"softmax", "log_softmax", "scaled_dot_product_attention", "gumbel_softmax", "softmin"})
_ADD = frozenset({"add", "__add__", "__radd__", "__iadd__", "sub", "__sub__", "__isub__", "__rsub__", "rsub"})
_MULTIPLY = frozenset(
    {
        "mul",
        "__mul__",
        "__rmul__",
        "__imul__",
        "multiply",
        "div",
        "__truediv__",
        "__itruediv__",
        "matmul",
        "__matmul__",
        "bmm",
        "einsum",
        "mm",
        "baddbmm",
    }
)
# What rearranges, selects, copies or averages signals, and leaves their strength to what comes before.
_PASS = frozenset(
    {
        "view",
        "reshape",
        "permute",
        "transpose",
        "flatten",
        "unflatten",
        "squeeze",
        "unsqueeze",
        "contiguous",
        "chunk",
        "split",
        "unbind",
        "expand",
        "expand_as",
        "repeat",
        "__getitem__",
        "roll",
        "clone",
        "detach",
        "to",
        "float",
        "type_as",
        "movedim",
        "swapaxes",
        "swapdims",
        "t",
        "T",
        "mT",
        "__get__",
        "cat",
        "concat",
        "concatenate",
        "stack",
        "pad",
        "dropout",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "alpha_dropout",
        "feature_alpha_dropout",
        "identity",
        "select",
        "narrow",
        "index_select",
        "gather",
        "pixel_shuffle",
        "pixel_unshuffle",
        "unfold",
        "fold",
        "flip",
        "tensor_split",
        "hsplit",
        "vsplit",
        "view_as",
        "reshape_as",
        "half",
        "bfloat16",
        "double",
        "cpu",
        "cuda",
        "channel_shuffle",
        "masked_fill",
        "requires_grad_",
        "interpolate",
        "upsample",
        "zeros_like",
        "as_strided",
    }
)
_POOLING = frozenset(
    {
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
        "adaptive_max_pool1d",
        "adaptive_max_pool2d",
        "boolean_dispatch",
        "mean",
        "fn",
        "lp_pool2d",
        "amax",
        "max_pool2d_with_indices",
    }
)


def operation_name(func: Any) -> str:
    """The function's plain name: in-place variants count as what they do ("relu_" is "relu")."""
    name = str(getattr(func, "__name__", func))
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def kind_of_operation(name: str, *, signals: int, parameters: bool) -> Kind:
    """What an operation on `signals` signals does; sums and products with a parameter or a number pass a signal on."""
    if name in _WEIGHT:
        return "weight"
    if name in _NORM:
        return "norm"
    if name in _ACTIVATIONS:
        return "activation"
    if name in _SOFTMAX:
        return "softmax"
    if name in _ADD:
        return "add" if signals > 1 else "pass"
    if name in _MULTIPLY:
        if signals > 1:
            return "multiply"
        return "weight" if parameters and name in ("matmul", "__matmul__", "mm") else "other"
    if name in _PASS or name in _POOLING:
        return "pass"
    return "other"


def activation_name(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """The nonlinearity's name in the words of `critaudit.theory.activations`, with its parameter; None for others."""
    if name == "leaky_relu":
        return f"leaky_relu({_argument(args, kwargs, 1, 'negative_slope', 0.01):g})"
    if name in ("elu", "celu"):
        return f"elu({_argument(args, kwargs, 1, 'alpha', 1.0):g})"
    if name == "gelu" and kwargs.get("approximate") == "tanh":
        return "gelu_tanh"
    return _ACTIVATIONS.get(name)


def weight_position(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The tensor that a weight operation multiplies with."""
    if name == "embedding" and "weight" not in kwargs:
        return args[1]
    if name in ("matmul", "__matmul__", "mm"):
        return args[1] if len(args) > 1 else None
    place = _WEIGHT[name]
    return args[place] if len(args) > place else kwargs.get("weight")


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], place: int, name: str, default: float) -> float:
    value = args[place] if len(args) > place else kwargs.get(name, default)
    return float(value) if isinstance(value, (int, float)) else default
