"""What an optimizer's weight decay takes from J², measured: copies of it step with and without a little more decay.

For any `torch.optim.Optimizer`. Everything happens on copies in float64 on the CPU: the network, the optimizer, its
hooks and PyTorch's random states stay as they are.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from critaudit.errors import UsageError
from critaudit.text import printable

if TYPE_CHECKING:
    import torch

_MEMORY = 7.0  # time constants of the momentum after which 1e-3 of its start is left
_MOST_STEPS = 1000
_AIM = 1e-6  # relative change of J²: linear in the decay, and far above rounding
_NEAR, _FAR = 1e-9, 1e-3  # changes that are read
_TRIES = 12


def measure_decay(optimizer: torch.optim.Optimizer, weights: Sequence[torch.nn.Parameter]) -> tuple[float | None, ...]:
    """The share of J² that a `weight_decay` of 1 would take per step from each of `weights`, to first order.

    The stored gradients are applied at every step with alternating signs, as of noise around zero: steps that add up
    would carry the weights, and what the optimizer knows of its gradients, away from where they are. When the momentum
    has settled, the rate is read from the ratio of J² with and without the additional decay. None for weights that have
    no gradient or no decay, or where no change is seen.
    Oracle: 2·lr/(1 − momentum) for SGD, 2·lr for AdamW (`optimizers.decay_rate`).

    Raises UsageError where no gradient is stored, where no group has a `weight_decay`, or where the copy cannot step.
    """
    import torch

    groups = {id(one): group for group in optimizer.param_groups for one in group["params"]}
    known = [one for one in weights if id(one) in groups and one.grad is not None and one.grad.layout == torch.strided]
    if not known:
        raise UsageError(
            "no gradients are stored on the weights, so what the optimizer's decay takes cannot be measured; ask after "
            "loss.backward() and before zero_grad()"
        )
    kind = printable(type(optimizer).__name__, limit=80)
    wanted = [one for one in known if "weight_decay" in groups[id(one)]]
    if not wanted:
        raise UsageError(f"{kind} has no weight_decay in its parameter groups; there is none to advise on")
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            found = _rates(optimizer, wanted, max(_settling(groups[id(one)]) for one in wanted))
    except Exception as error:  # an optimizer's step is anyone's code
        raise UsageError(
            f"a copy of {kind} cannot step by itself ({type(error).__name__}: {error}); its decay cannot be measured"
        ) from None
    return tuple(found.get(id(one)) for one in weights)


def _rates(optimizer: torch.optim.Optimizer, wanted: list[torch.nn.Parameter], settle: int) -> dict[int, float]:
    """By the identity of a weight, its rate; what changed too much or too little is tried with another decay."""
    lr = max((float(group["lr"]) for group in optimizer.param_groups), default=0.0) or 1.0
    further = 2 * math.ceil(settle / 4) + 10  # even, so that both times have seen the same signs
    extra = _AIM / (2.0 * lr * further)
    found: dict[int, float] = {}
    plain = dict(zip(map(id, wanted), _path(optimizer, wanted, 0.0, settle, further), strict=True))
    for _ in range(_TRIES):
        changes = []
        for one, (first, last) in zip(wanted, _path(optimizer, wanted, extra, settle, further), strict=True):
            lost = (plain[id(one)][1] - last) - (plain[id(one)][0] - first)
            changes.append(lost)
            if _NEAR <= lost <= _FAR:
                found[id(one)] = lost / (extra * further)
        wanted = [one for one in wanted if id(one) not in found]
        left = [change for change in changes if not _NEAR <= change <= _FAR]
        if not wanted:
            break
        finite = [change for change in left if math.isfinite(change) and change > 0]
        extra *= min(max(_AIM / max(finite, default=_AIM * 1e-3), 1e-6), 1e6)
    return found


def _path(
    optimizer: torch.optim.Optimizer, weights: Sequence[torch.nn.Parameter], extra: float, settle: int, further: int
) -> list[tuple[float, float]]:
    """ln var(W) of a copy of each weight after `settle` steps and after `further` more."""
    import torch

    torch.default_generator.manual_seed(0)  # optimizers that draw random numbers draw the same ones
    clone, copies = _copied(optimizer, weights, extra)
    step = type(clone).step
    step = step.__wrapped__ if getattr(step, "hooked", False) else step  # without what watches the user's own steps
    gradients = [one.grad for one in copies]
    seen = []
    for count in range(1, settle + further + 1):
        for one, gradient in zip(copies, gradients, strict=True):
            one.grad = gradient.clone() if count % 2 else -gradient
        step(clone)
        if count in (settle, settle + further):
            seen.append([math.log(float(one.var(correction=0))) for one in copies])
    return list(zip(*seen, strict=True))


def _copied(
    optimizer: torch.optim.Optimizer, weights: Sequence[torch.nn.Parameter], extra: float
) -> tuple[Any, list[Any]]:
    """An optimizer of the same class for copies of the weights alone, with its state and its own attributes."""
    copies: dict[int, Any] = {}
    for one in weights:
        copied = _double(one).requires_grad_()
        copied.grad = None if one.grad is None else _double(one.grad)
        copies[id(one)] = copied
    groups = []
    for group in optimizer.param_groups:
        members = [copies[id(one)] for one in group["params"] if id(one) in copies]
        if members:
            settings = {
                key: copy.deepcopy(value) for key, value in group.items() if key not in ("params", "param_names")
            }
            settings |= {key: None for key in ("fused", "foreach") if key in settings}
            settings |= {"capturable": False} if "capturable" in settings else {}
            if "weight_decay" in settings:
                settings["weight_decay"] = float(settings["weight_decay"]) + extra
            groups.append({**settings, "params": members})
    state = {copies[id(one)]: _state(optimizer.state[one]) for one in weights if one in optimizer.state}
    clone = object.__new__(type(optimizer))
    memo: dict[int, Any] = dict(copies)
    for name, value in vars(optimizer).items():
        if name not in ("state", "param_groups", "defaults", "step") and "hook" not in name:
            clone.__dict__[name] = copy.deepcopy(value, memo)
    from collections import defaultdict

    clone.__setstate__(
        {"defaults": dict(optimizer.defaults), "state": defaultdict(dict, state), "param_groups": groups}
    )
    return clone, list(copies.values())


def _state(held: Mapping[str, Any]) -> dict[str, Any]:
    """Moments in float64; counters of steps as they are."""
    import torch

    def copied(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return copy.deepcopy(value)
        return _double(value) if value.ndim and value.is_floating_point() else value.detach().cpu().clone()

    return {key: copied(value) for key, value in held.items()}


def _double(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    return tensor.detach().to("cpu", torch.float64).clone()


def _settling(group: Mapping[str, Any]) -> int:
    """Steps until the momentum has forgotten its start."""
    betas = group.get("betas")
    momenta = [group.get("momentum", 0.0), *(betas[:1] if isinstance(betas, (list, tuple)) else ())]
    slowest = max([float(one) for one in momenta if 0.0 <= float(one) < 1.0], default=0.0)
    return min(math.ceil(_MEMORY / (1.0 - slowest)), _MOST_STEPS)
