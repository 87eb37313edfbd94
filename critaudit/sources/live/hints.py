"""What a live network knows about its own layers: class, role, groups, and the nonlinearity behind each layer.

Only declarations are read: nothing is run, so this works on the `meta` device as well. An activation is reported where
the declaration leaves no doubt (a Sequential, a block of a known form) and is None elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from critaudit.contents import LayerHint

if TYPE_CHECKING:
    from torch import nn

# Class name → the nonlinearity's name in torch.nn.functional's words.
ACTIVATIONS: dict[str, str] = {
    "Tanh": "tanh",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "LeakyReLU": "leaky_relu",
    "PReLU": "prelu",
    "ELU": "elu",
    "CELU": "celu",
    "SELU": "selu",
    "GELU": "gelu",
    "GELUTanh": "gelu_tanh",
    "GELUActivation": "gelu",
    "NewGELUActivation": "gelu_tanh",
    "PytorchGELUTanh": "gelu_tanh",
    "QuickGELU": "quick_gelu",
    "QuickGELUActivation": "quick_gelu",
    "SiLU": "silu",
    "SiLUActivation": "silu",
    "Swish": "silu",
    "SwishMe": "silu",
    "Mish": "mish",
    "MishMe": "mish",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "hardsigmoid",
    "Hardsigmoid": "hardsigmoid",
    "HardSwish": "hardswish",
    "HardSwishMe": "hardswish",
    "Hardswish": "hardswish",
    "Hardtanh": "hardtanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanhshrink": "tanhshrink",
    "LogSigmoid": "logsigmoid",
    "Threshold": "threshold",
    "RReLU": "rrelu",
    "GLU": "glu",
}
_WEIGHTED = re.compile(r"^(Linear|Bilinear|LazyLinear|Conv1D|(Lazy)?Conv(Transpose)?[123]d)$")
# Quantised layers (GPTQ, AWQ, HQQ, bitsandbytes) register their trained weights as buffers.
_WEIGHTS_IN_BUFFERS = frozenset(
    {"weight", "bias", "qweight", "qzeros", "scales", "g_idx", "weight_packed", "weight_scale", "W_q", "CB", "SCB"}
)
# Between a layer and its nonlinearity these change the scale or the resolution, not the order of the two.
_TRANSPARENT = re.compile(
    r"(Norm|Norm[123]d|Dropout|Dropout[123]d|DropPath|DropBlock2d|Identity|Pool[123]d|Flatten|ZeroPad[123]d|BlurPool2d)$"
)
_ACTIVATION_NAMES = ("act", "relu", "activation", "act_layer", "act_fn", "nonlinearity", "nonlin")


def hints_of(module: nn.Module) -> dict[str, LayerHint]:
    """The layer behind each parameter and buffer of `module`, by its name in the state dict.

    A subclass counts as the PyTorch class that it extends (timm's `Conv2dSame` is a Conv2d). Parametrised weights
    (`parametrizations.weight.original0`) belong to the layer that they parametrise, with that path as their role.
    """
    activations = layer_activations(module)
    hints: dict[str, LayerHint] = {}
    for path, layer in module.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        for role, tensor in (*layer._parameters.items(), *layer._buffers.items()):
            if tensor is None:
                continue
            owner, owner_path, full_role = layer, path, role
            head, found, tail = f"{prefix}{role}".rpartition(".parametrizations.")
            if not found and prefix.startswith("parametrizations."):
                head, found, tail = "", "parametrizations.", f"{prefix}{role}".removeprefix("parametrizations.")
            if found:
                owner, owner_path, full_role = module.get_submodule(head), head, f"parametrizations.{tail}"
            groups = getattr(owner, "groups", 1)
            hints[f"{prefix}{role}"] = LayerHint(
                module=class_name(owner),
                role=full_role,
                groups=groups if type(groups) is int and groups > 0 else 1,
                activation=activations.get(owner_path),
                buffer=role in layer._buffers and role not in _WEIGHTS_IN_BUFFERS,
            )
    return hints


def class_name(layer: nn.Module) -> str:
    """The layer's class in PyTorch's words: the nearest ancestor that torch.nn itself defines, else its own class."""
    for kind in type(layer).__mro__:
        home = kind.__module__
        if kind.__name__ in ("Module", "NonDynamicallyQuantizableLinear") or kind.__name__.startswith("Parametrized"):
            continue
        if home.startswith("torch.jit."):
            break
        if home.startswith(("torch.nn.modules.", "torch.ao.nn.")) and not kind.__name__.startswith("_"):
            return kind.__name__
    original = getattr(layer, "original_name", None)  # TorchScript keeps the class's name as an attribute
    return original if isinstance(original, str) else type(layer).__name__


def activation_of(layer: object) -> str | None:
    """The nonlinearity's name if `layer` is one (a module or a function of torch.nn.functional), else None."""
    for kind in type(layer).__mro__:
        name = ACTIVATIONS.get(kind.__name__)
        if name == "gelu" and getattr(layer, "approximate", "none") == "tanh":
            return "gelu_tanh"
        if name is not None:
            return name
    name = getattr(layer, "__name__", None)
    return name if name in ACTIVATIONS.values() else None


def layer_activations(module: nn.Module) -> dict[str, str]:
    """Path of a layer → the nonlinearity that acts on its output, for the layers where the declaration says so."""
    found: dict[str, str] = {}
    for path, layer in module.named_modules(remove_duplicate=False):
        for child, activation in _declared(layer):
            found[f"{path}.{child}" if path else child] = activation
        if (own := _recurrent_activation(layer)) is not None:
            found[path] = own
    for path, activation in _along_sequences(module):
        found[path] = activation
    return found


def _recurrent_activation(layer: nn.Module) -> str | None:
    name = class_name(layer)
    if name in ("LSTM", "GRU", "LSTMCell", "GRUCell"):
        return "tanh"
    if name in ("RNN", "RNNCell"):
        return str(getattr(layer, "nonlinearity", "tanh"))
    return None


def _declared(block: nn.Module) -> Iterator[tuple[str, str]]:
    """(child, activation) in blocks whose attributes pair layers with nonlinearities: conv1·bn1·act1, fc1·act·fc2."""
    children = dict(block.named_children())
    if _is_sequence(block) or not children:
        return
    layers = [name for name, child in children.items() if _WEIGHTED.match(class_name(child))]
    kind = type(block).__name__
    if kind.startswith(("TransformerEncoderLayer", "TransformerDecoderLayer")):
        if (activation := activation_of(getattr(block, "activation", None))) is not None:
            yield "linear1", activation
            yield "linear2", "identity"
        return
    named = [activation_of(child) for name, child in children.items() if name in _ACTIVATION_NAMES]
    single = named[0] if len(named) == 1 else None
    if kind in ("BasicBlock", "Bottleneck") and "relu" in children:  # torchvision: one relu object, used after each
        yield from ((name, "relu") for name in layers)
    elif single is not None and layers in (["fc1", "fc2"], ["w1", "w2"], ["c_fc", "c_proj"]):
        yield layers[0], single
        yield layers[1], activation_of(children.get("scale_activation")) or "identity"
    else:
        yield from _in_definition_order(children)


def _in_definition_order(children: dict[str, nn.Module]) -> Iterator[tuple[str, str]]:
    """conv1·bn1·act1·conv2·…: a layer goes with the nonlinearity defined next, before any other layer.

    Definition order is the order of use wherever each layer has a nonlinearity of its own. Two layers in a row before
    one nonlinearity leave open which of them it follows, so neither gets it.
    """
    waiting: list[str] = []
    for name, child in children.items():
        if _WEIGHTED.match(class_name(child)):
            waiting.append(name)
        elif (activation := activation_of(child) or _inner_activation(child)) is not None:
            # A norm's own nonlinearity belongs to the layer right before it, however many wait.
            if len(waiting) == 1 or (waiting and activation_of(child) is None):
                yield waiting[-1], activation
            waiting = []
        elif not _TRANSPARENT.search(class_name(child)):
            waiting = []


def _inner_activation(norm: nn.Module) -> str | None:
    """The nonlinearity inside a norm-with-activation layer; "identity" where that layer was told to have none."""
    inner = dict(norm.named_children()).get("act")
    if inner is None or "norm" not in type(norm).__name__.lower():
        return None
    return "identity" if type(inner).__name__ == "Identity" else activation_of(inner)


def _is_sequence(layer: nn.Module) -> bool:
    """A container that surely calls its children in order: Sequential with its own forward."""
    from torch import nn

    return isinstance(layer, nn.Sequential) and type(layer).forward is nn.Sequential.forward


def _along_sequences(module: nn.Module) -> Iterator[tuple[str, str]]:
    """(path, activation) for each layer of the flattened outermost Sequentials."""
    inside: set[str] = set()
    for path, layer in module.named_modules(remove_duplicate=False):
        if not _is_sequence(layer) or path in inside:
            continue
        steps = list(_flatten(path, layer, inside))
        for position, (name, step) in enumerate(steps):
            if _WEIGHTED.match(class_name(step)):
                activation = _next_activation([after for _, after in steps[position + 1 :]])
                if activation is not None:
                    yield name, activation


def _flatten(path: str, sequence: nn.Module, inside: set[str]) -> Iterator[tuple[str, nn.Module]]:
    for name, child in sequence._modules.items():
        if child is None:
            continue
        full = f"{path}.{name}" if path else name
        if _is_sequence(child):
            inside.add(full)
            yield from _flatten(full, child, inside)
        else:
            yield full, child


def _next_activation(following: list[nn.Module]) -> str | None:
    for step in following:
        activation = activation_of(step) or _inner_activation(step)
        if activation is not None and activation != "identity":
            return activation
        if _WEIGHTED.match(class_name(step)):
            return "identity"
        if not _TRANSPARENT.search(class_name(step)):
            return None
    return None
