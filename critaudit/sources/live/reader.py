"""A network or a state dict that is in memory: its tensors where they are, its layers as they describe themselves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from critaudit.contents import Contents, LayerHint, LeftOut, Preprocessing, Runnable
from critaudit.errors import NotAModelError, SourceError, UsageError
from critaudit.sources.live.copying import runnable_copy
from critaudit.sources.live.hints import class_name, hints_of, layer_activations
from critaudit.sources.live.tensors import describe_numpy, describe_torch
from critaudit.sources.pytorch.object_tree import MAX_DEPTH
from critaudit.sources.pytorch.stored_tensors import Refused, TensorLike
from critaudit.sources.pytorch.unwrap import unwrap
from critaudit.tensors import TensorRef
from critaudit.text import kind_of, printable

if TYPE_CHECKING:
    from torch import nn

__all__ = ["hints_of", "preprocessing_of", "read_live", "unwrapped"]

_MAX_WRAPPERS = 12
_UNBOUNDED = 2**60  # what is in memory already cannot claim more than it has
_PACKED = "._packed_params._packed_params"


def read_live(source: object, *, name: str | None = None) -> Contents:
    """Describe an nn.Module or a mapping of names to torch tensors or NumPy arrays (nested mappings are flattened).

    Nothing is copied and the module is not changed: its training flag, gradients and the random state stay. `name` is
    what to call it in messages. A module's contents are runnable: `build` makes a copy in eval mode.
    Raises UsageError where `source` is neither, NotAModelError where it holds no tensor.
    """
    from torch import nn

    shown = printable(name or type(source).__name__, limit=80)
    if isinstance(source, nn.Module):
        return _read_module(source, shown)
    if isinstance(source, Mapping):
        return _read_mapping(source, shown)
    raise UsageError(f"{shown}: this is {kind_of(source)}; an nn.Module, a state dict or a path is expected")


def preprocessing_of(module: nn.Module) -> Preprocessing | None:
    """The input that the network declares: timm's configuration, or the width of a first linear layer."""
    config = getattr(module, "pretrained_cfg", None)
    if isinstance(config, Mapping) and isinstance(config.get("input_size"), (tuple, list)):
        mean, std = config.get("mean"), config.get("std")
        return Preprocessing(
            shape=tuple(int(n) for n in config["input_size"]),
            mean=tuple(float(x) for x in mean) if mean else None,
            std=tuple(float(x) for x in std) if std else None,
            interpolation=str(config.get("interpolation") or "bicubic"),
            crop=float(config.get("crop_pct") or 1.0),
            crop_mode=str(config.get("crop_mode") or "center"),
        )
    first = _first_layer(module)
    features = getattr(first, "in_features", None)
    if first is not None and class_name(first) == "Linear" and isinstance(features, int) and features > 0:
        return Preprocessing(shape=(features,))
    return None


def _first_layer(module: nn.Module) -> nn.Module | None:
    """The first layer that a Sequential calls, past containers and Flatten; None where order is not declared."""
    from torch import nn

    if isinstance(module, nn.Sequential):
        steps = (step for step in module if type(step).__name__ not in ("Flatten", "Identity", "Dropout"))
        first = next(steps, None)
        return None if first is None else _first_layer(first)
    return None if list(module.children()) else module


def _read_module(module: nn.Module, shown: str) -> Contents:
    module = unwrapped(module)
    try:
        entries = dict(module.state_dict(keep_vars=True))
        hints = hints_of(module)
    except Exception as error:  # the module's classes may override both with any code
        raise SourceError(
            f"{shown}: the module's state dict cannot be had: {type(error).__name__}: {error}; "
            "give the state dict itself"
        ) from None
    entries, packed = _unpacked(entries, module)
    tensors, left_out = _described(entries)
    if not tensors and not left_out:
        raise NotAModelError(f"{shown}: this module has no parameters; a module with weights is expected")
    own_names = [name for name, _ in (*module.named_parameters(), *module.named_buffers())]
    runnable = Runnable(
        build=partial(runnable_copy, module),
        input=preprocessing_of(module),
        tensor_names={name: name for name in own_names if name in tensors},
    )
    lost = [item for item in left_out if item.lost]
    return Contents(
        format=f"live PyTorch module ({printable(type(module).__name__, limit=60)})",
        tensors=tensors,
        left_out=left_out,
        problems=tuple(f"{item.name}: {item.reason}" for item in lost[:20]),
        hints={**{name: hint for name, hint in hints.items() if name in tensors}, **packed},
        # A network without its values (meta device, lazy layers) could be copied but not run.
        runnable=None if lost else runnable,
        architecture=_architecture(module),
    )


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside DataParallel, DistributedDataParallel and torch.compile."""
    for _ in range(_MAX_WRAPPERS):
        kind = type(module).__name__
        inner = getattr(module, "_orig_mod" if kind == "OptimizedModule" else "module", None)
        if kind not in ("OptimizedModule", "DataParallel", "DistributedDataParallel") or inner is None:
            break
        module = inner
    return module


def _architecture(module: nn.Module) -> str:
    config = getattr(module, "pretrained_cfg", None)
    named = config.get("architecture") if isinstance(config, Mapping) else None
    return printable(named if isinstance(named, str) and named else type(module).__name__, limit=80)


def _unpacked(entries: dict[str, object], module: nn.Module) -> tuple[dict[str, object], dict[str, LayerHint]]:
    """PyTorch's quantised layers keep (weight, bias) as one packed entry: named and hinted as a layer's own pair."""
    plain: dict[str, object] = {}
    hints: dict[str, LayerHint] = {}
    activations = layer_activations(module)
    for name, value in entries.items():
        if not (name.endswith(_PACKED) and isinstance(value, tuple) and len(value) == 2):
            plain[name] = value
            continue
        path = name.removesuffix(_PACKED)
        kind = class_name(module.get_submodule(path))
        for role, part in zip(("weight", "bias"), value, strict=True):
            if part is not None:
                plain[f"{path}.{role}"] = part
                hints[f"{path}.{role}"] = LayerHint(kind, role, activation=activations.get(path))
    return plain, hints


def _described(entries: Mapping[str, object]) -> tuple[dict[str, TensorRef], tuple[LeftOut, ...]]:
    """The tensors of a module's state dict, and those that cannot be read; its extra state is no tensor."""
    import torch

    tensors: dict[str, TensorRef] = {}
    left_out: list[LeftOut] = []
    for name, value in entries.items():
        if not isinstance(value, torch.Tensor):
            continue
        found = describe_torch(name, value)
        if isinstance(found, TensorRef):
            tensors[name] = found
        else:
            left_out.append(found)
    return tensors, tuple(left_out)


def _read_mapping(mapping: Mapping[object, object], shown: str) -> Contents:
    """A state dict or a checkpoint's dictionary, sorted like the same dictionary in a file."""
    return unwrap(_tree(mapping, {}, 0), "live state dict", shown, _UNBOUNDED)


class _LiveTensor(TensorLike):
    """A tensor or array in memory, in the form in which checkpoints are sorted."""

    __slots__ = ("_found",)

    def __init__(self, found: TensorRef | LeftOut) -> None:
        self._found = found

    def resolve(self) -> TensorRef | Refused:
        """See TensorLike."""
        found = self._found
        return found if isinstance(found, TensorRef) else Refused(found.shape, found.dtype, found.reason, found.lost)


def _tree(value: object, seen: dict[int, object], depth: int) -> object:
    """`value` with plain containers, and every tensor described; cycles stay cycles."""
    import torch

    if isinstance(value, torch.Tensor):
        return _LiveTensor(describe_torch("", value))
    if isinstance(value, np.ndarray):
        return _LiveTensor(describe_numpy("", value))
    if isinstance(value, torch.nn.Module):
        value = value.state_dict()
    if not isinstance(value, (Mapping, list, tuple)) or depth > MAX_DEPTH:
        return value
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, Mapping):
        plain: dict[object, object] = {}
        seen[id(value)] = plain
        plain.update((key, _tree(inner, seen, depth + 1)) for key, inner in value.items())
        return plain
    listed: list[object] = []
    seen[id(value)] = listed
    listed.extend(_tree(inner, seen, depth + 1) for inner in value)
    return listed
