"""State dicts that are a chain of linear layers: weights whose widths fit together, run in the file's order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from critaudit.contents import LayerHint, Preprocessing, Runnable
from critaudit.errors import UsageError
from critaudit.sources.recognition.instantiate import load_weights
from critaudit.tensors import FLOATS, TensorRef

if TYPE_CHECKING:
    from torch import nn

# Matrices with these words in their names do other things than follow each other.
_NO_CHAIN = re.compile(
    r"attn|attention|_ih(_|$)|_hh(_|$)|embed|lora_|(^|[._])(q|k|v|qkv|query|key|value|gate|up|down)(_?proj)?([._]|$)",
    re.I,
)
_NO_BIAS = re.compile(r"norm|(^|[._])(bn|ln)\d*([._]|$)|running_|gamma|beta$|scale|weight$", re.I)
# Our name → (class in torch.nn, its arguments). Names are those of torch.nn.functional.
_ACTIVATIONS: dict[str, tuple[str, dict[str, object]]] = {
    "tanh": ("Tanh", {}),
    "relu": ("ReLU", {}),
    "relu6": ("ReLU6", {}),
    "leaky_relu": ("LeakyReLU", {}),
    "elu": ("ELU", {}),
    "celu": ("CELU", {}),
    "selu": ("SELU", {}),
    "gelu": ("GELU", {}),
    "gelu_tanh": ("GELU", {"approximate": "tanh"}),
    "silu": ("SiLU", {}),
    "mish": ("Mish", {}),
    "sigmoid": ("Sigmoid", {}),
    "hardtanh": ("Hardtanh", {}),
    "hardsigmoid": ("Hardsigmoid", {}),
    "hardswish": ("Hardswish", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "tanhshrink": ("Tanhshrink", {}),
    "logsigmoid": ("LogSigmoid", {}),
    "identity": ("Identity", {}),
}


@dataclass(frozen=True, slots=True)
class Chain:
    """Layers in order: (weight's name, bias's name or None). `transposed` weights are (inputs, outputs)."""

    layers: tuple[tuple[str, str | None], ...]
    widths: tuple[int, ...]
    transposed: bool

    @property
    def text(self) -> str:
        """784-784-10."""
        return "-".join(map(str, self.widths))


def find_chain(tensors: Mapping[str, TensorRef]) -> Chain | None:
    """The chain that all `tensors` form, in their order or in that of the numbers in their names, if they form one.

    Each matrix takes what the one before gives: (outputs, inputs) as in PyTorch, or all (inputs, outputs). A layer's
    bias is the vector of its output's length called `bias` beside its `weight`, or else right behind its matrix. A
    single matrix needs a bias to count as a layer.
    """
    if any(tensor.dtype not in FLOATS or 0 in tensor.shape for tensor in tensors.values()):
        return None
    for names in (list(tensors), sorted(tensors, key=_numbered)):
        layers = _paired(names, {name: len(tensor.shape) for name, tensor in tensors.items()})
        if not layers or (len(layers) == 1 and layers[0][1] is None):
            continue
        for transposed in (False, True):
            widths = _widths([tensors[weight].shape for weight, _ in layers], transposed=transposed)
            biases = [None if bias is None else tensors[bias].shape[0] for _, bias in layers]
            if widths and all(bias in (None, width) for bias, width in zip(biases, widths[1:], strict=True)):
                return Chain(tuple(layers), widths, transposed)
    return None


def _paired(names: Sequence[str], axes: Mapping[str, int]) -> list[tuple[str, str | None]]:
    """(weight, bias) in order; nothing where a tensor is neither."""
    weights = [name for name in names if axes[name] == 2]
    vectors = [name for name in names if axes[name] == 1]
    if len(weights) + len(vectors) < len(names) or any(_NO_CHAIN.search(name) for name in weights):
        return []
    if any(_NO_BIAS.search(name) for name in vectors):
        return []
    if not weights:
        return []
    found: dict[str, str | None] = {}
    for weight, behind in zip(names, [*names[1:], ""], strict=True):
        if axes[weight] != 2:
            continue
        beside = weight.removesuffix("weight") + "bias" if weight.endswith("weight") else ""
        if axes.get(beside) == 1:
            found[weight] = beside
        else:
            found[weight] = behind if axes.get(behind) == 1 and not behind.endswith(".bias") else None
    taken = [bias for bias in found.values() if bias is not None]
    return list(found.items()) if sorted(taken) == sorted(vectors) else []


def _numbered(name: str) -> list[tuple[int, str]]:
    """A sort key under which layer 2 comes before layer 10; no integer is made, as a hostile name has many digits."""
    parts = [part.lstrip("0") if odd % 2 else part for odd, part in enumerate(re.split(r"([0-9]+)", name))]
    return [(len(part) if odd % 2 else -1, part) for odd, part in enumerate(parts)]


def _widths(shapes: Sequence[tuple[int, ...]], *, transposed: bool) -> tuple[int, ...]:
    """Widths from the input on; () where one matrix does not take what the one before gives."""
    steps = [shape if transposed else shape[::-1] for shape in shapes]
    if any(before[1] != after[0] for before, after in pairwise(steps)):
        return ()
    return (steps[0][0], *(step[1] for step in steps))


def check_activation(activation: str) -> str:
    """`activation` as critaudit writes it. Raises UsageError for one that a chain cannot use."""
    name = activation.strip().lower()
    name = {"linear": "identity", "none": "identity", "swish": "silu", "leakyrelu": "leaky_relu"}.get(name, name)
    if name not in _ACTIVATIONS:
        raise UsageError(f"no activation is called {activation!r}; there are {', '.join(sorted(_ACTIVATIONS))}")
    return name


def chain_runnable(chain: Chain, tensors: Mapping[str, TensorRef], activation: str) -> Runnable:
    """The chain as a network: linear layers with `activation` between them and none behind the last."""
    names = {}
    for position, (weight, bias) in enumerate(chain.layers):
        names[f"{2 * position}.weight"] = weight
        if bias is not None:
            names[f"{2 * position}.bias"] = bias
    build = partial(_build, chain, tensors, names, check_activation(activation))
    return Runnable(build, Preprocessing((chain.widths[0],)), names)


def chain_hints(chain: Chain, activation: str | None) -> dict[str, LayerHint]:
    """Each tensor's layer: Linear with the chain's activation, the identity behind the last one."""
    name = None if activation is None else check_activation(activation)
    module = "Conv1D" if chain.transposed else "Linear"
    hints = {}
    for position, (weight, bias) in enumerate(chain.layers):
        last = position == len(chain.layers) - 1
        hint = LayerHint(module, "weight", activation="identity" if last else name)
        hints[weight] = hint
        if bias is not None:
            hints[bias] = LayerHint(module, "bias", activation=hint.activation)
    return hints


def _build(chain: Chain, tensors: Mapping[str, TensorRef], names: Mapping[str, str], activation: str) -> nn.Module:
    import torch
    from torch import nn

    kind, arguments = _ACTIVATIONS[activation]
    steps: list[nn.Module] = []
    with torch.device("meta"):
        for (before, after), (_, bias) in zip(
            zip(chain.widths, chain.widths[1:], strict=False), chain.layers, strict=True
        ):
            steps += [nn.Linear(before, after, bias=bias is not None), getattr(nn, kind)(**arguments)]
    network = nn.Sequential(*steps[:-1]).to_empty(device="cpu").eval()
    load_weights(
        network, {name: _oriented(tensors[source], chain) for name, source in names.items()}, optional=frozenset()
    )
    return network


def _oriented(tensor: TensorRef, chain: Chain) -> TensorRef:
    """The tensor as (outputs, inputs): a transposed view of the same bytes where the chain is transposed."""
    if not chain.transposed or len(tensor.shape) != 2:
        return tensor
    stride = tensor.effective_stride
    return TensorRef(tensor.storage, tensor.dtype, tensor.shape[::-1], tensor.offset, stride[::-1], tensor.quantisation)
