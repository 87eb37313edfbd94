"""Whole pickled modules, read from their stand-ins: a state dict's names, and what each layer says about itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from critaudit.contents import LayerHint
from critaudit.sources.live.hints import ACTIVATIONS
from critaudit.sources.pickles.inert import Inert
from critaudit.sources.pytorch.names import NameBudget, component
from critaudit.sources.pytorch.stored_tensors import TensorLike

_MAX_DEPTH = 100
_MAX_MODULES = 50_000
_CONVOLUTIONS = tuple(f"Conv{kind}{n}d" for kind in ("", "Transpose") for n in "123")
_WEIGHTED = frozenset({"Linear", "Bilinear", "Conv1D", *_CONVOLUTIONS})
# Between a layer and its nonlinearity these change the scale or the resolution, not the order of the two.
_TRANSPARENT = (
    *(f"{kind}{n}" for kind in ("Norm", "Dropout", "Pool") for n in ("", "1d", "2d", "3d")),
    *("Identity", "DropPath", "Flatten"),
)
_SEQUENTIAL = "torch.nn.modules.container.Sequential"


@dataclass(slots=True)
class ModuleTensors:
    """The tensors of a module by state-dict name, hints for them, tensors that are plain attributes, and problems."""

    tensors: dict[str, TensorLike] = field(default_factory=dict)
    hints: dict[str, LayerHint] = field(default_factory=dict)
    attributes: dict[str, TensorLike] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def is_module(value: object) -> bool:
    """Whether a stand-in has the inner life of an nn.Module."""
    if not isinstance(value, Inert):
        return False
    attributes = value.attributes
    return type(attributes.get("_modules")) is dict and type(attributes.get("_parameters")) is dict


def read_module(root: Inert, names: NameBudget) -> ModuleTensors:
    """The tensors of a pickled module, as its state dict would name them (shared modules under each of their names)."""
    found = ModuleTensors()
    modules = list(_walk(root, names, found.problems))
    activations = dict(_activations([module for _, module in modules]))
    for prefix, module in modules:
        attributes = module.attributes
        hidden = attributes.get("_non_persistent_buffers_set")
        transient = set(_texts(hidden))
        kind, activation = class_of(module), activations.get(id(module))
        groups = _groups(module, kind)
        for part in ("_parameters", "_buffers"):
            for role, tensor in _entries(attributes.get(part)):
                if not isinstance(tensor, TensorLike):
                    continue
                name = names.add(prefix + role)
                if part == "_buffers" and role in transient:
                    found.attributes[name] = tensor
                else:
                    found.tensors[name] = tensor
                    if groups is not None:
                        found.hints[name] = LayerHint(kind, role, groups, activation, buffer=part == "_buffers")
        for key, value in attributes.items():
            if isinstance(value, TensorLike):
                found.attributes[names.add(prefix + component(key))] = value
    return found


def _walk(root: Inert, names: NameBudget, problems: list[str]) -> Iterator[tuple[str, Inert]]:
    """(prefix, module) in the order of `named_modules`, without recursion; cycles are cut, depth and number capped."""
    stack: list[tuple[str, Inert, tuple[int, ...]]] = [("", root, ())]
    count = 0
    while stack:
        prefix, module, above = stack.pop()
        count += 1
        if count > _MAX_MODULES:
            problems.append(f"the model has more than {_MAX_MODULES} modules; the rest was not read")
            return
        yield names.add(prefix), module
        if len(above) >= _MAX_DEPTH:
            problems.append(f"{prefix}: modules nested deeper than {_MAX_DEPTH} levels were not read")
            continue
        children = list(_entries(module.attributes.get("_modules")))
        line = (*above, id(module))
        for name, child in children[::-1]:
            if not isinstance(child, Inert) or not is_module(child):
                continue
            if id(child) in line:
                problems.append(f"{prefix}{name}: a module that contains itself was not followed")
            else:
                stack.append((f"{names.add(prefix)}{name}.", child, line))


def _entries(mapping: object) -> Iterator[tuple[str, object]]:
    if type(mapping) is dict:
        for key, value in mapping.items():
            yield component(key), value


def _texts(values: object) -> Iterator[str]:
    if type(values) is list:
        yield from (value for value in values if type(value) is str)


def class_of(module: Inert) -> str:
    """The module's class in PyTorch's words: torch.nn's own, or what the attributes of a subclass say."""
    name, attributes = module.class_name, module.attributes
    if name == "NonDynamicallyQuantizableLinear":
        return "Linear"
    if module.name.startswith(("torch.nn.", "torch.ao.")):
        return component(name)
    kernel = attributes.get("kernel_size")
    if (
        {"in_channels", "out_channels", "groups"} <= attributes.keys()
        and type(kernel) is tuple
        and len(kernel) in (1, 2, 3)
    ):
        return f"Conv{'Transpose' if attributes.get('transposed') is True else ''}{len(kernel)}d"
    if {"in_features", "out_features"} <= attributes.keys():
        return "Linear"
    if {"num_embeddings", "embedding_dim"} <= attributes.keys():
        return "Embedding"
    mode = attributes.get("mode")
    if {"input_size", "hidden_size", "num_layers"} <= attributes.keys() and type(mode) is str:
        return "RNN" if mode.startswith("RNN") else component(mode)
    return component(name)


def _groups(module: Inert, kind: str) -> int | None:
    """The groups of a convolution; None where it does not tell (TorchScript), 1 for every other layer."""
    groups = module.attributes.get("groups")
    if type(groups) is int and 0 < groups < 2**31:
        return groups
    return None if kind in _CONVOLUTIONS else 1


def _activations(modules: list[Inert]) -> Iterator[tuple[int, str]]:
    """(id of a layer's stand-in, the nonlinearity that follows it), where a Sequential or the layer itself says so."""
    inside: set[int] = set()
    for module in modules:
        kind = class_of(module)
        if kind in ("LSTM", "GRU", "LSTMCell", "GRUCell"):
            yield id(module), "tanh"
        elif kind in ("RNN", "RNNCell"):
            relu = "relu" in (module.attributes.get("nonlinearity"), str(module.attributes.get("mode")).lower()[4:])
            yield id(module), "relu" if relu else "tanh"
        elif module.name == _SEQUENTIAL and id(module) not in inside:
            yield from _along(_flat(module, inside))


def _flat(sequence: Inert, inside: set[int]) -> list[Inert]:
    """The steps of a Sequential, those of Sequentials inside it in their place; each Sequential is opened once."""
    steps: list[Inert] = []
    stack = [sequence]
    while stack:
        step = stack.pop()
        if step.name == _SEQUENTIAL and id(step) not in inside:
            inside.add(id(step))
            children = [child for _, child in _entries(step.attributes.get("_modules")) if isinstance(child, Inert)]
            stack.extend(reversed(children))
        else:
            steps.append(step)
    return steps


def _along(steps: list[Inert]) -> Iterator[tuple[int, str]]:
    following: str | None = None  # unknown at the end: another module may apply one
    for step in reversed(steps):
        kind = class_of(step)
        activation = activation_of(step)
        if kind in _WEIGHTED:
            if following is not None:
                yield id(step), following
            following = "identity"
        elif activation is not None:
            following = activation
        elif not kind.endswith(_TRANSPARENT):
            following = None


def activation_of(module: Inert) -> str | None:
    """The nonlinearity's name where the stand-in's class is one."""
    name = ACTIVATIONS.get(module.class_name)
    return "gelu_tanh" if name == "gelu" and module.attributes.get("approximate") == "tanh" else name
