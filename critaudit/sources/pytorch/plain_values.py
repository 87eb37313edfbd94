"""Settings and training records out of an object tree: plain values, capped in number, length and depth."""

from __future__ import annotations

import math
from collections.abc import Mapping

from critaudit.sources.pickles.inert import Inert
from critaudit.sources.pytorch.names import component
from critaudit.sources.pytorch.stored_tensors import TensorLike

_MAX_DEPTH = 5
_MAX_VALUES = 2_000
_MAX_ENTRIES = 100
_MAX_TEXT = 500
_OPTIMIZER_SETTINGS = (
    "lr",
    "initial_lr",
    "momentum",
    "weight_decay",
    "betas",
    "eps",
    "nesterov",
    "amsgrad",
    "dampening",
    # Keys that tell one optimizer from another, whose name a state dict does not hold.
    "decoupled_weight_decay",
    "alpha",
    "beta2_decay",
    "centered",
    "etas",
    "lambd",
    "lr_decay",
    "momentum_decay",
    "ns_steps",
    "relative_step",
    "rho",
)


def plain_values(mapping: Mapping[object, object], skip: frozenset[str]) -> dict[str, object]:
    """The plain values of a checkpoint's outermost dictionary, without the keys in `skip`."""
    left = [_MAX_VALUES]
    found: dict[str, object] = {}
    for key, value in mapping.items():
        name = component(key)
        if name in skip or left[0] <= 0:
            continue
        plain = _plain(value, 1, left)
        if plain is not None and plain not in ({}, []):
            found[name] = plain
    return found


def optimizer_settings(state: object) -> list[dict[str, object]]:
    """Learning rate, weight decay, momentum, … of each parameter group of an optimizer's state dict."""
    groups = state.get("param_groups") if type(state) is dict else None
    settings = []
    for group in groups[:_MAX_ENTRIES] if type(groups) is list else ():
        if type(group) is dict:
            left = [_MAX_ENTRIES]
            known = {name: _plain(group.get(name), 1, left) for name in _OPTIMIZER_SETTINGS if name in group}
            if "params" in group and type(group["params"]) is list:
                known["tensors"] = len(group["params"])
            settings.append(known)
    return settings


def _plain(value: object, depth: int, left: list[int]) -> object:
    """`value` as JSON could hold it; None for what is no setting (tensors, functions, what lies too deep)."""
    left[0] -= 1
    if left[0] < 0 or depth > _MAX_DEPTH or isinstance(value, TensorLike):
        return None
    for _ in range(_MAX_DEPTH):
        if isinstance(value, Inert):
            value = _described(value)
    if type(value) is str:
        return value if len(value) <= _MAX_TEXT else value[:_MAX_TEXT] + "…"
    if type(value) is int:
        return value if value.bit_length() <= 64 else None
    if type(value) is float:
        return value if math.isfinite(value) else str(value)
    if type(value) is bool:
        return value
    if type(value) in (list, tuple):
        items = [_plain(item, depth + 1, left) for item in value[:_MAX_ENTRIES]]  # type: ignore[index]
        return [item for item in items if item is not None]
    if type(value) is dict:
        entries = {}
        for number, (key, item) in enumerate(value.items()):
            if number >= _MAX_ENTRIES or left[0] <= 0:
                break
            plain = _plain(item, depth + 1, left)
            if plain is not None:
                entries[component(key)] = plain
        return entries
    return None


def _described(value: Inert) -> object:
    """A stand-in's attributes and items as a dictionary; its class name where it has none."""
    if value.name.startswith("omegaconf."):  # configurations of Hydra and Lightning: nodes around plain values
        return value.attributes.get("_content", value.attributes.get("_val"))
    parts = [part for part in (value.attributes, value.items) if part]
    if not parts:
        return value.name
    described: dict[object, object] = {}
    for part in parts:
        for number, (key, item) in enumerate(part.items()):
            if number >= _MAX_ENTRIES:
                break
            described[key] = item
    return described
