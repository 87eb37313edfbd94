"""The optimizer that advice is for: what the user says of it, else what the checkpoint says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from critaudit.advice.course import OptimizerSetting
from critaudit.errors import CritauditError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

# Learning rates at which these are usually started.
_USUAL = {"SGD": 0.01, "Adam": 0.001, "AdamW": 0.001}
_DECOUPLED = {"AdamW": 0.01}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for: a live optimizer, an OptimizerSetting, a class's name or None, and single numbers."""

    optimizer: object = None
    lr: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        for name, value, most in (
            ("lr", self.lr, math.inf),
            ("momentum", self.momentum, 1.0),
            ("weight_decay", self.weight_decay, math.inf),
        ):
            least_open = name == "lr"
            if value is not None and not ((value > 0.0 if least_open else value >= 0.0) and value < most):
                expected = "a finite number above 0" if least_open else "a number from 0"
                raise UsageError(
                    f"{name} = {value:g} was given; {expected}{' to below 1' if name == 'momentum' else ''} is expected"
                )
        if isinstance(self.optimizer, str):
            _check_name(self.optimizer)


def setting_for_trials(wanted: Wanted, path: Path | None) -> tuple[OptimizerSetting, tuple[str, ...]]:
    """The setting of trial trainings, and what had to be assumed.

    What the user says counts first, then the checkpoint's optimizer (with the learning rate that its schedule began
    with), then plain SGD. Raises UsageError for a name that torch.optim does not have.
    """
    setting, assumed = _base(wanted, path)
    changes = {
        name: value
        for name, value in (("lr", wanted.lr), ("momentum", wanted.momentum), ("weight_decay", wanted.weight_decay))
        if value is not None
    }
    if "lr" in changes:
        assumed = tuple(said for said in assumed if "learning rate" not in said)
    return replace(setting, **changes), assumed  # type: ignore[arg-type]


def _base(wanted: Wanted, path: Path | None) -> tuple[OptimizerSetting, tuple[str, ...]]:
    optimizer = wanted.optimizer
    if isinstance(optimizer, OptimizerSetting):
        return optimizer, ()
    if optimizer is not None and not isinstance(optimizer, str):
        from critaudit.advice.optimizers import settings_of

        return settings_of(optimizer)[0], ()
    saved = None if path is None else _saved(path, optimizer)
    if saved is not None:
        return saved, (f"{saved.name} with learning rate {saved.lr:g}, as the checkpoint says",)
    name = optimizer or "SGD"
    said = [] if optimizer else ["no optimizer was named: plain SGD is assumed"]
    lr = _USUAL.get(name, 0.001)
    said.append(f"no learning rate was given: {lr:g} is assumed")
    decay = _DECOUPLED.get(name, 0.0)
    return OptimizerSetting(name, lr, weight_decay=decay, decoupled=name in _DECOUPLED), tuple(said)


def _saved(path: Path, name: str | None) -> OptimizerSetting | None:
    """The first parameter group of the checkpoint's optimizer, where trials can be made with it."""
    from critaudit.advice.optimizers import ADAM_OR_ADAMW, setting_of
    from critaudit.sources.pytorch.optimizer_state import read_optimizer

    try:
        saved = read_optimizer(path)
        if saved is None or not saved.groups:
            return None
        setting = setting_of(saved.groups[0], name=name)
    except CritauditError:
        return None
    if setting.name == ADAM_OR_ADAMW:
        setting = replace(setting, name="Adam")
    first = _first_rate(saved.groups[0])
    setting = setting if first is None else replace(setting, lr=first)
    return setting if setting.lr > 0.0 and _is_known(setting.name) else None


def _first_rate(group: Mapping[str, object]) -> float | None:
    """The learning rate that a schedule of PyTorch's began with."""
    value = group.get("initial_lr")
    return float(value) if isinstance(value, (int, float)) and 0.0 < float(value) < math.inf else None


def _is_known(name: str) -> bool:
    import torch

    kind = getattr(torch.optim, name, None)
    return isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)


def _check_name(name: str) -> None:
    """Raise UsageError for what is no optimizer of torch.optim, with what was perhaps meant."""
    if _is_known(name):
        return
    import torch

    known = [one for one in dir(torch.optim) if _is_known(one) and one != "Optimizer"]
    same = [one for one in known if one.lower() == name.lower()]
    from difflib import get_close_matches

    close = same or get_close_matches(name, known, n=3)
    hint = f"did you mean {', '.join(close)}?" if close else f"one of {', '.join(known)} is expected"
    raise UsageError(f"torch.optim has no optimizer {name}; {hint}")
