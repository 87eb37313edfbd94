"""What an optimizer's weight decay takes from J² per step, and the settings of its parameter groups.

To first order in the learning rate a decay w takes 2·u·κ·w·J² per step. u is the step that a constant gradient settles
to: lr·(1 − dampening)/(1 − momentum) for SGD, also with Nesterov's momentum, whose weight_decay is 2λ of a loss with
λ|w|² (Zhang21); lr/(1 − momentum) for RMSprop; lr for the others. κ is 1 where the decay acts on the weights directly
(decoupled) or the gradient is not scaled, and for Adam, NAdam, RAdam, RMSprop and Adagrad, whose decay is divided like
their gradient, mean(w²/(√v̂ + ε))/mean(w²) over the layer. For all others κ is measured (`measured_decay`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from critaudit.advice.course import OptimizerSetting
from critaudit.errors import UsageError
from critaudit.text import kind_of, printable

Family: TypeAlias = Literal["sgd", "decoupled", "adaptive", "none", "other"]

ADAM_OR_ADAMW = "Adam or AdamW"
_SGD = frozenset({"SGD"})
# Decay on the weights: w ← (1 − lr·weight_decay)·w before or after the step.
_DECOUPLED = frozenset({"AdamW", "NAdamW", "RAdamW", "Adafactor", "Muon", "Lion", "AdEMAMix", "SGDW", "RMSpropW"})
_ADAPTIVE = frozenset({"Adam", "NAdam", "RAdam", "RMSprop", "Adagrad"})
_WITHOUT_DECAY = frozenset({"LBFGS", "Rprop", "SparseAdam"})
# A key of param_groups that only one optimizer of PyTorch has.
_BY_KEY = (
    ("momentum_decay", "NAdam"),
    ("ns_steps", "Muon"),
    ("beta2_decay", "Adafactor"),
    ("relative_step", "Adafactor (transformers)"),
    ("rho", "Adadelta"),
    ("lambd", "ASGD"),
    ("etas", "Rprop"),
    ("lr_decay", "Adagrad"),
    ("centered", "RMSprop"),
    ("dampening", "SGD"),
)


@dataclass(frozen=True, slots=True)
class DecayRate:
    """The share of J² that is lost per step and per unit of `weight_decay`; None where `reason` says why not."""

    per_step: float | None
    method: str
    reason: str | None = None


def setting_of(group: Mapping[str, object], *, name: str | None = None) -> OptimizerSetting:
    """The setting in one entry of `param_groups`, live or from a checkpoint; `name` is the optimizer's class.

    A state dict does not hold that name: without it, keys tell. Groups of Adam and AdamW of PyTorch before 2.7 look the
    same; they are called "Adam or AdamW", whose decay cannot be told. Raises UsageError where no learning rate is.
    """
    lr = _number(group.get("lr"))
    if lr is None or lr < 0:
        raise UsageError("a parameter group has no learning rate; param_groups of a PyTorch optimizer are expected")
    betas = group.get("betas")
    known = isinstance(betas, (list, tuple)) and len(betas) >= 2
    named = name or _named_by_keys(group)
    eps = group.get("eps")
    return OptimizerSetting(
        name=printable(named, limit=80),
        lr=lr,
        momentum=_number(group.get("momentum")) or 0.0,
        dampening=_number(group.get("dampening")) or 0.0,
        nesterov=group.get("nesterov") is True,
        betas=(float(betas[0]), float(betas[1])) if known else None,  # type: ignore[index]
        eps=_number(eps[-1] if isinstance(eps, (list, tuple)) and eps else eps) or 1e-8,
        weight_decay=_number(group.get("weight_decay")) or 0.0,
        decoupled=_is_decoupled(group, named),
    )


def renamed(setting: OptimizerSetting, name: str) -> OptimizerSetting:
    """The setting with the optimizer's class as its owner names it ("AdamW")."""
    return replace(setting, name=name, decoupled=name in _DECOUPLED or (setting.decoupled and name in _ADAPTIVE))


def settings_of(optimizer: object) -> tuple[OptimizerSetting, ...]:
    """The settings of a live optimizer's groups. Raises UsageError for what has no `param_groups`."""
    groups = getattr(optimizer, "param_groups", None)
    if not isinstance(groups, Sequence) or not groups:
        raise UsageError(f"optimizer: {kind_of(optimizer)} was given; a torch.optim.Optimizer or its name is expected")
    return tuple(setting_of(group, name=type(optimizer).__name__) for group in groups)


def family(setting: OptimizerSetting) -> Family:
    """How its weight decay acts."""
    if setting.decoupled:
        return "decoupled"
    if setting.name in _SGD:
        return "sgd"
    if setting.name in _ADAPTIVE:
        return "adaptive"
    return "none" if setting.name in _WITHOUT_DECAY else "other"


def step_size(setting: OptimizerSetting) -> float:
    """u, what a gradient of 1 that stays moves a weight by per step in the end (Adam: in units of its scaled gradient).

    Raises UsageError for a momentum outside [0, 1).
    """
    if not 0.0 <= setting.momentum < 1.0:
        raise UsageError(f"momentum = {setting.momentum:g}: a number from 0 to below 1 is expected")
    match setting.name:
        case "SGD":
            return setting.lr * (1.0 - setting.dampening * (setting.momentum > 0)) / (1.0 - setting.momentum)
        case "RMSprop" | "SGDW" | "RMSpropW":
            return setting.lr / (1.0 - setting.momentum)
        case _:
            return setting.lr


def decay_rate(
    setting: OptimizerSetting,
    *,
    adaptivity: float | None = None,
    step: float | None = None,
    measured: float | None = None,
) -> DecayRate:
    """What a `weight_decay` of 1 would take from J² per step, to first order.

    `adaptivity` is κ at that time, `step` the number of steps (for RAdam's warm-up), `measured` the rate where it was
    measured on the live optimizer at these settings; it counts where no formula is known.
    """
    match family(setting):
        case "sgd":
            return DecayRate(2.0 * step_size(setting), "2·lr·(1 − dampening)/(1 − momentum) per step")
        case "decoupled":
            return DecayRate(2.0 * setting.lr, "2·lr per step (decoupled)")
        case "none":
            return DecayRate(None, "", f"{setting.name} has no weight decay")
        case "adaptive" if adaptivity is not None:
            rectified = rectification(setting, step)
            how = "2·lr·κ per step, κ = mean(w²/(√v̂ + ε))/mean(w²)"
            return DecayRate(2.0 * step_size(setting) * adaptivity * rectified, how)
        case _ if measured is not None:
            return DecayRate(measured, "measured on copies of the optimizer and its parameters")
        case "adaptive":
            missing = f"the squared gradients that {setting.name} keeps are not recorded"
            return DecayRate(
                None, "", f"{missing}; give the checkpoint with its optimizer state, or the live optimizer"
            )
        case _ if setting.name == ADAM_OR_ADAMW:
            what = "the parameter groups do not say whether this is Adam or AdamW"
            return DecayRate(None, "", f"{what}; name it: optimizer='AdamW'")
        case _:
            what = f"how {setting.name} applies weight decay is not known"
            return DecayRate(
                None, "", f"{what}; give the live network and optimizer after a backward pass to measure it"
            )


def rectification(setting: OptimizerSetting, step: float | None) -> float:
    """RAdam's factor for the variance of early steps (1 for all others and for late steps)."""
    if setting.name != "RAdam" or setting.betas is None or step is None:
        return 1.0
    beta = setting.betas[1]
    most = 2.0 / (1.0 - beta) - 1.0
    power = beta**step
    length = most - 2.0 * step * power / (1.0 - power) if power < 1.0 else most
    if length <= 5.0:  # it steps like SGD then
        return 1.0
    return math.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length))


def _named_by_keys(group: Mapping[str, object]) -> str:
    for key, name in _BY_KEY:
        if key in group:
            return name
    if "betas" not in group:
        return "an unnamed optimizer"
    if "eps" not in group:
        return "Lion"
    if "amsgrad" in group:
        decoupled = group.get("decoupled_weight_decay")
        return ADAM_OR_ADAMW if decoupled is None else "AdamW" if decoupled else "Adam"
    return "RAdam" if "decoupled_weight_decay" in group else "Adamax"


def _is_decoupled(group: Mapping[str, object], name: str) -> bool:
    said = group.get("decoupled_weight_decay")
    return said if isinstance(said, bool) else name in _DECOUPLED


def _number(value: object) -> float | None:
    """A finite number, also one in a tensor or a text of the inert reader; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None
