"""Which layer an ONNX constant belongs to, told by the node that consumes it, and which nonlinearity follows it.

A Gemm without transB, and a MatMul, keep their weight as (inputs, outputs): in this project's words a "Conv1D".
Recurrent weights are packed as (directions, gates·hidden, inputs) and keep ONNX's names W, R and B.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from critaudit.contents import LayerHint
from critaudit.sources.onnx.graph import STANDARD_DOMAINS, Dataflow, Use, Value

ACTIVATIONS = {
    "Relu": "relu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "LeakyRelu": "leaky_relu",
    "PRelu": "prelu",
    "Elu": "elu",
    "Selu": "selu",
    "Celu": "celu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "HardSigmoid": "hardsigmoid",
    "HardSwish": "hardswish",
    "Mish": "mish",
    "Swish": "silu",
    "Gelu": "gelu",
    "BiasGelu": "gelu",
    "FastGelu": "gelu_tanh",
    "QuickGelu": "quick_gelu",
    "ThresholdedRelu": "threshold",
}
# x·f(x): the layer's output goes to both the inner function and the product.
_SELF_GATED = {"Sigmoid": "silu", "HardSigmoid": "hardswish"}
_TRANSPARENT = frozenset(
    {
        "BatchNormalization",
        "LayerNormalization",
        "InstanceNormalization",
        "GroupNormalization",
        "Dropout",
        "Identity",
        "Cast",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "MaxPool",
        "AveragePool",
        "Pad",
        "QuantizeLinear",
        "DequantizeLinear",
    }
)
_LAYERS = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "LSTM",
        "GRU",
        "RNN",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
        "QGemm",
    }
)
# (operator, input) → (module, role); {d} is the number of spatial dimensions.
_PARAMETERS = {
    ("Conv", 1): ("Conv{d}d", "weight"),
    ("Conv", 2): ("Conv{d}d", "bias"),
    ("FusedConv", 1): ("Conv{d}d", "weight"),
    ("FusedConv", 2): ("Conv{d}d", "bias"),
    ("ConvInteger", 1): ("Conv{d}d", "weight"),
    ("QLinearConv", 3): ("Conv{d}d", "weight"),
    ("QLinearConv", 8): ("Conv{d}d", "bias"),
    ("ConvTranspose", 1): ("ConvTranspose{d}d", "weight"),
    ("ConvTranspose", 2): ("ConvTranspose{d}d", "bias"),
    ("Gemm", 2): ("Linear", "bias"),
    ("QGemm", 6): ("Linear", "bias"),
    ("BatchNormalization", 1): ("BatchNorm", "weight"),
    ("BatchNormalization", 2): ("BatchNorm", "bias"),
    ("BatchNormalization", 3): ("BatchNorm", "running_mean"),
    ("BatchNormalization", 4): ("BatchNorm", "running_var"),
    ("InstanceNormalization", 1): ("InstanceNorm", "weight"),
    ("InstanceNormalization", 2): ("InstanceNorm", "bias"),
    ("LayerNormalization", 1): ("LayerNorm", "weight"),
    ("LayerNormalization", 2): ("LayerNorm", "bias"),
    ("SkipLayerNormalization", 2): ("LayerNorm", "weight"),
    ("SkipLayerNormalization", 3): ("LayerNorm", "bias"),
    ("SimplifiedLayerNormalization", 1): ("RMSNorm", "weight"),
    ("RMSNormalization", 1): ("RMSNorm", "weight"),
    ("GroupNormalization", 1): ("GroupNorm", "weight"),
    ("GroupNormalization", 2): ("GroupNorm", "bias"),
    ("PRelu", 1): ("PReLU", "weight"),
}
# A constant that is added to or multiplied with the signal, element by element, is no matrix whatever its shape.
_ELEMENTWISE = {"Add": ("Add", "bias"), "Sub": ("Add", "bias"), "Mul": ("Mul", "scale"), "Div": ("Mul", "scale")}
ELEMENTWISE = frozenset({"Add", "Mul"})
_BUFFERS = frozenset({"running_mean", "running_var"})
_RECURRENT = {1: ("W", "weight_ih"), 2: ("R", "weight_hh"), 3: ("B", "bias_ih")}
_TAKEN_APART = frozenset({"Slice", "Concat", "Unsqueeze", "Squeeze", "Split"})
_MAX_STEPS = 12
_MAX_USES = 64


class Route(NamedTuple):
    """A use of a constant that is reached past casts and the like: turned over, or in pieces, on the way."""

    use: Use
    transposed: bool
    taken_apart: bool


def routes(flow: Dataflow, value: Value) -> Iterator[Route]:
    """The uses of `value` that do something with it, nearest first."""
    queue = [Route(use, False, False) for use in value.uses[:_MAX_USES]]
    for _ in range(_MAX_STEPS):
        further: list[Route] = []
        for route in queue:
            for use in flow.followed(route.use):
                step = _passes(use, route)
                if step is None:
                    yield route._replace(use=use)
                    continue
                for name in use.node.outputs[:4]:
                    reached = use.scope.find(name)
                    further += [step._replace(use=later) for later in (reached.uses if reached else [])]
        queue = further[:_MAX_USES]


def _passes(use: Use, route: Route) -> Route | None:
    """The route onward where the node only hands the constant on, else None."""
    op = use.node.op
    if op in ("Identity", "Cast", "DequantizeLinear", "QuantizeLinear") and use.slot == 0:
        return route
    if op == "Transpose" and _swaps(use):
        return route._replace(transposed=not route.transposed)
    if op in _TAKEN_APART and (use.slot == 0 or op == "Concat"):
        return route._replace(taken_apart=True)
    return None


def _swaps(use: Use) -> bool:
    permutation = use.node.attributes.get("perm")
    return permutation is None or not permutation.integers or permutation.integers == [1, 0]


def hint_for(flow: Dataflow, value: Value, shape: tuple[int, ...]) -> LayerHint | None:
    """The layer that `value`, a constant of this shape, is a parameter of; None where its uses do not tell."""
    elementwise: LayerHint | None = None
    for route in routes(flow, value):
        if route.use.node.op in _ELEMENTWISE and elementwise is None:
            elementwise = LayerHint(*_ELEMENTWISE[route.use.node.op])
        found = _parameter(route, shape)
        if found is not None:
            module, role = found
            acting = role in ("weight", "W", "R", "weight_ih", "weight_hh") and module not in ("Embedding", "PReLU")
            groups = route.use.node.integer("group", 1) if module.endswith("d") else 1
            return LayerHint(
                module=module,
                role=role,
                groups=groups if 0 < groups <= max(shape, default=1) else 1,
                activation=activation_after(route.use) if acting and "Norm" not in module else None,
                buffer=role in _BUFFERS,
            )
    return elementwise


def _parameter(route: Route, shape: tuple[int, ...]) -> tuple[str, str] | None:
    """(module, role) of a constant at the end of `route`. "Conv1D" is the transposed linear layer."""
    node, index = route.use.node, route.use.slot
    if node.domain not in STANDARD_DOMAINS:
        return None
    if node.op in ("LSTM", "GRU", "RNN") and index in _RECURRENT:
        packed, cell = _RECURRENT[index]
        if len(shape) == (2 if packed == "B" else 3) and not route.transposed:
            return node.op, packed
        # Exporters cut PyTorch's own matrices into gates and put them together again in ONNX's order.
        return (f"{node.op}Cell", cell) if route.taken_apart and len(shape) == (1 if packed == "B" else 2) else None
    if route.taken_apart:
        return None
    if node.op == "Gather" and index == 0 and len(shape) == 2 and node.integer("axis", 0) == 0:
        return None if route.transposed else ("Embedding", "weight")
    if len(shape) == 2 and (outputs_first := _orientation(route)) is not None:
        return ("Linear" if outputs_first else "Conv1D"), "weight"
    found = _PARAMETERS.get((node.op, index))
    if found is None or route.transposed:
        return None
    spatial = len(shape) - 2 if len(shape) > 2 else _spatial(route.use)
    if found[1] == "weight" and "{d}" in found[0] and not 3 <= len(shape) <= 5:
        return None
    return found[0].format(d=min(max(spatial, 1), 3)), found[1]


def _spatial(use: Use) -> int:
    """The number of spatial dimensions of a convolution, told by the node of its bias."""
    kernel = use.node.attributes.get("kernel_shape")
    if kernel is not None and kernel.integers:
        return len(kernel.integers)
    weight = use.scope.find(use.node.inputs[1])
    return len(weight.message.dims) - 2 if weight is not None and weight.message is not None else 2


def _orientation(route: Route) -> bool | None:
    """Whether a matrix in a product is (outputs, inputs); None where the node is no product with it."""
    node, index = route.use.node, route.use.slot
    match node.op, index:
        case ("MatMul" | "MatMulInteger" | "FusedMatMul", 0 | 1):
            outputs_first = (index == 0) != bool(node.integer("transB" if index else "transA", 0))
        case ("QLinearMatMul", 0 | 3):
            outputs_first = index == 0
        case ("Gemm" | "QGemm", 0):
            outputs_first = not node.integer("transA", 0)
        case ("Gemm", 1) | ("QGemm", 3):
            outputs_first = bool(node.integer("transB", 0))
        case _:
            return None
    return outputs_first != route.transposed


def activation_after(use: Use) -> str | None:
    """The nonlinearity on the output of the node in `use`; "identity" where the next layer takes it directly."""
    if use.node.op in ("LSTM", "GRU", "RNN"):
        named = use.node.attributes.get("activations")
        first = named.texts[-1] if named is not None and named.texts else "Tanh"
        return ACTIVATIONS.get(first, first.lower() if first.isalpha() and len(first) < 20 else None)
    value = _output(use)
    for _ in range(_MAX_STEPS):
        if value is None or not value.uses:
            return None
        uses = value.uses
        if len(uses) > 1:
            return _gated(uses)
        following = uses[0]
        op = following.node.op
        if following.slot == 0 and op in ACTIVATIONS:
            approximate = following.node.attributes.get("approximate")
            return "gelu_tanh" if approximate is not None and approximate.text == "tanh" else ACTIVATIONS[op]
        if op in _LAYERS:
            return "identity"
        if op not in _TRANSPARENT and not (op in ("Add", "Mul", "Sub", "Div") and _with_constant(following)):
            return None
        value = _output(following)
    return None


def _gated(uses: list[Use]) -> str | None:
    """x·sigmoid(x), x·clip(x+3)/6, x·(1+erf(x/√2))/2 spelled out with several nodes."""
    if len(uses) != 2 or not any(use.node.op in ("Mul", "Div") for use in uses):
        return None
    for use in uses:
        if use.node.op in _SELF_GATED:
            return _SELF_GATED[use.node.op]
        value = _output(use)
        then = value.uses[0].node.op if value is not None and len(value.uses) == 1 else None
        if use.node.op == "Softplus" and then == "Tanh":
            return "mish"
        if use.node.op in ("Div", "Mul") and then == "Erf":
            return "gelu"
        if use.node.op == "Add" and then == "Clip":
            return "hardswish"
    return None


def _output(use: Use) -> Value | None:
    return use.scope.find(use.node.outputs[0]) if use.node.outputs else None


def _with_constant(use: Use) -> bool:
    others = [use.scope.find(name) for index, name in enumerate(use.node.inputs) if index != use.slot]
    return all(other is not None and other.message is not None for other in others)
