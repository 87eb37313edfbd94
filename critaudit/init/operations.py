"""What PyTorch's functions do to a signal, by their names: multiply with a weight, normalise, bend, add, pass on."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["input", "weight", "norm", "activation", "add", "multiply", "softmax", "pass", "other"]

# What multiplies with a weight, and where it stands among the arguments.
WEIGHT = {
    "linear": 1,
    "bilinear": 2,
    "conv1d": 1,
    "conv2d": 1,
    "conv3d": 1,
    "conv_transpose1d": 1,
    "conv_transpose2d": 1,
    "conv_transpose3d": 1,
    "embedding": 1,
    "embedding_bag": 1,
    "addmm": 2,
}
PRODUCTS = ("matmul", "__matmul__", "mm")
_NORM = frozenset({"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "normalize"})
# By the function's name; None: a nonlinearity that theory has no name for.
_ACTIVATIONS: dict[str, str | None] = {
    "tanh": "tanh",
    "relu": "relu",
    "relu6": "relu6",
    "leaky_relu": "leaky_relu",
    "elu": "elu",
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
    "logsigmoid": "log_sigmoid",
    "log_sigmoid": "log_sigmoid",
    "erf": "erf",
    "celu": None,
    "sin": None,
    "cos": None,
    "rrelu": None,
    "threshold": None,
    "prelu": None,
    "hardshrink": None,
    "softshrink": None,
}
_SOFTMAX = frozenset({"softmax", "log_softmax", "scaled_dot_product_attention", "gumbel_softmax", "softmin"})
_ADD = frozenset({"add", "__add__", "__radd__", "__iadd__", "sub", "__sub__", "__isub__", "__rsub__", "rsub"})
ELEMENTWISE = frozenset(
    {"mul", "__mul__", "__rmul__", "__imul__", "multiply", "div", "__truediv__", "__itruediv__", "addcmul", "pow"}
)
_MULTIPLY = ELEMENTWISE - {"addcmul", "pow"} | frozenset(
    {
        "matmul",
        "__matmul__",
        "bmm",
        "einsum",
        "mm",
        "baddbmm",
        "glu",
    }
)
# What rearranges, selects or copies signals.
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
        "as_strided",
    }
)
# What averages signals or picks the largest.
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


# What makes a new tensor in the likeness of another: no signal passes.
FRESH = frozenset(
    f"{kind}{way}"
    for kind in ("zeros", "ones", "empty", "full", "rand", "randn", "randint", "bernoulli")
    for way in ("", "_like")
) | {"new_zeros", "new_ones", "new_full", "new_empty", "new_tensor"}


def operation_name(func: Any) -> str:
    """The function's plain name: in-place variants count as what they do ("relu_" is "relu")."""
    name = str(getattr(func, "__name__", func))
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def kind_of_operation(name: str, *, signals: int, parameters: bool) -> Kind:
    """What an operation on `signals` signals does; sums with a parameter or a number pass a signal on."""
    if name in WEIGHT:
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
        if signals > 1 or name == "glu":
            return "multiply"
        return "weight" if parameters and name in PRODUCTS else "other"
    if name in _PASS or name in _POOLING:
        return "pass"
    return "other"


def rearranges(name: str) -> bool:
    """Whether an operation gives entries of its argument, unchanged: a view, a part, a copy, another type."""
    return name in _PASS and name not in ("dropout", "interpolate", "upsample", "pad", "masked_fill")


def changes_strength(name: str) -> bool:
    """Whether an operation that passes a signal on gives another mean square: averages, sums with a constant, joins."""
    return name in _POOLING or name in _ADD or name in ("cat", "concat", "concatenate", "stack", "pad", "interpolate")


def activation_name(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """The nonlinearity's name in the words of `critaudit.theory.activations`, with its parameter; None for others."""
    if name == "leaky_relu":
        return f"leaky_relu({_argument(args, kwargs, 1, 'negative_slope', 0.01):g})"
    if name == "prelu":
        slopes = args[1] if len(args) > 1 else kwargs["weight"]
        return f"leaky_relu({float(slopes.detach().double().mean()):g})"
    if name in ("elu", "celu"):
        alpha = _argument(args, kwargs, 1, "alpha", 1.0)
        return f"elu({alpha:g})" if name == "elu" or alpha == 1.0 else None
    if name == "gelu" and kwargs.get("approximate") == "tanh":
        return "gelu_tanh"
    if name == "hardtanh":
        ends = (_argument(args, kwargs, 1, "min_val", -1.0), _argument(args, kwargs, 2, "max_val", 1.0))
        return {(-1.0, 1.0): "hardtanh", (0.0, 6.0): "relu6"}.get(ends)
    if name == "softplus" and _argument(args, kwargs, 1, "beta", 1.0) != 1.0:
        return None
    return _ACTIVATIONS.get(name)


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], place: int, name: str, default: float) -> float:
    value = args[place] if len(args) > place else kwargs.get(name, default)
    return float(value) if isinstance(value, (int, float)) else default
