"""A network or a state dict that is in memory: its tensors where they are, its layers as they describe themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from critaudit.errors import NotAModelError, SourceError, UsageError
from critaudit.sources.contents import Contents, LayerHint, LeftOut, Preprocessing, Runnable
from critaudit.sources.live_copy import runnable_copy
from critaudit.sources.live_hints import class_name, hints_of, layer_activations
from critaudit.sources.live_tensors import describe_numpy, describe_torch
from critaudit.tensors import TensorRef
from critaudit.text import printable

if TYPE_CHECKING:
    from torch import nn

__all__ = ["hints_of", "preprocessing_of", "read_live"]

# Deeper nesting than this is no checkpoint that anybody saves; it also ends cyclic mappings.
_MAX_DEPTH = 12
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
    raise UsageError(f"{shown}: this is a {type(source).__name__}; an nn.Module, a state dict or a path is expected")


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
    module = _unwrapped(module)
    try:
        entries = dict(module.state_dict(keep_vars=True))
        hints = hints_of(module)
    except Exception as error:  # the module's classes may override both with any code
        raise SourceError(
            f"{shown}: the module's state dict cannot be had: {type(error).__name__}: {error}; "
            "give the state dict itself"
        ) from None
    entries, packed = _unpacked(entries, module)
    tensors, left_out, metadata = _sort(entries, depth=0)
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
        metadata=metadata,
        # A network without its values (meta device, lazy layers) could be copied but not run.
        runnable=None if lost else runnable,
        architecture=_architecture(module),
    )


def _unwrapped(module: nn.Module) -> nn.Module:
    """The network inside DataParallel, DistributedDataParallel and torch.compile."""
    for _ in range(_MAX_DEPTH):
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


def _read_mapping(mapping: Mapping[object, object], shown: str) -> Contents:
    tensors, left_out, metadata = _sort(dict(mapping), depth=0)
    if not tensors and not left_out:
        raise NotAModelError(
            f"{shown}: no tensors are in this mapping; names with torch tensors or arrays are expected"
        )
    return Contents(
        format="live state dict",
        tensors=tensors,
        left_out=left_out,
        problems=tuple(f"{item.name}: {item.reason}" for item in left_out if item.lost)[:20],
        metadata=metadata,
    )


def _sort(
    entries: Mapping[object, object] | dict[str, object], *, depth: int
) -> tuple[dict[str, TensorRef], tuple[LeftOut, ...], dict[str, object]]:
    """Tensors, what was left out, and the plain values beside them."""
    tensors: dict[str, TensorRef] = {}
    left_out: list[LeftOut] = []
    metadata: dict[str, object] = {}
    for name, value in _leaves(entries, "", depth):
        found = _describe(name, value)
        if isinstance(found, TensorRef):
            tensors[name] = found
        elif isinstance(found, LeftOut):
            left_out.append(found)
        elif isinstance(value, (bool, int, float, str)):
            metadata[name] = value
    return tensors, tuple(left_out), metadata


def _leaves(
    entries: Mapping[object, object] | dict[str, object], prefix: str, depth: int
) -> Iterator[tuple[str, object]]:
    for key, value in entries.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            if depth < _MAX_DEPTH:
                yield from _leaves(value, f"{name}.", depth + 1)
            else:
                yield name, LeftOut(name, (), "mapping", f"it is nested more than {_MAX_DEPTH} deep", lost=True)
        else:
            yield name, value


def _describe(name: str, value: object) -> TensorRef | LeftOut | None:
    import torch

    if isinstance(value, LeftOut):
        return value
    if isinstance(value, torch.Tensor):
        return describe_torch(name, value)
    if isinstance(value, np.ndarray):
        return describe_numpy(name, value)
    return None
