"""What an optimizer does to each parameter: its settings, and by how much it scales weights' gradients (Adam)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from critaudit.advice.course import OptimizerSetting
from critaudit.advice.optimizers import setting_of
from critaudit.errors import UsageError
from critaudit.report.wording import plural
from critaudit.text import kind_of

if TYPE_CHECKING:
    import torch
    from torch import nn

_WRAPPERS = 8


def plain_optimizer(optimizer: object) -> torch.optim.Optimizer:
    """The PyTorch optimizer inside Lightning's or Accelerate's wrapper. Raises UsageError for anything else."""
    import torch

    found = optimizer
    for _ in range(_WRAPPERS):
        if isinstance(found, torch.optim.Optimizer):
            inner = getattr(found, "optimizer", None)
            if not isinstance(inner, torch.optim.Optimizer):
                return found
            found = inner
        else:
            found = getattr(found, "optimizer", None)
    raise UsageError(
        f"optimizer: {kind_of(optimizer)} was given; a torch.optim.Optimizer is expected (one Monitor per optimizer)"
    )


def check_trains(optimizer: torch.optim.Optimizer, *modules: nn.Module) -> None:
    """Raise UsageError where certainly no parameter of the optimizer is one of the modules'.

    Wrappers that train flat pieces of the weights, or copies in another precision, leave it open: those pass.
    """
    own = {id(one): one.dtype for module in modules for one in module.parameters()}
    trained = [one for group in optimizer.param_groups for one in group["params"]]
    if any(id(one) in own for one in trained):
        return
    flat = all(one.ndim < 2 for one in trained)
    if not flat and {one.dtype for one in trained} & set(own.values()):
        raise UsageError(
            f"optimizer: none of its {plural(len(trained), 'parameter')} is one of this network "
            f"({kind_of(modules[0])}); give the optimizer that trains it"
        )


def settings_now(optimizer: torch.optim.Optimizer) -> list[OptimizerSetting | None]:
    """The setting of each of the optimizer's parameter groups at this moment; None where a group has no lr."""
    found: list[OptimizerSetting | None] = []
    for group in optimizer.param_groups:
        try:
            found.append(setting_of(group, name=type(optimizer).__name__))
        except UsageError:
            found.append(None)
    return found


def groups_by_parameter(optimizer: torch.optim.Optimizer) -> dict[int, int]:
    """By the identity of a parameter, the index of its group."""
    return {id(one): place for place, group in enumerate(optimizer.param_groups) for one in group["params"]}


def weighed_by_adaptivity(
    optimizer: torch.optim.Optimizer, group: Mapping[str, Any], weight: torch.Tensor, part: tuple[int, int, int] | None
) -> torch.Tensor | None:
    """Σ w²/(√v̂ + ε) over the rows of a parameter or of a part of it, on its device; over Σ w² it is the adaptivity κ.

    v̂ is the optimizer's running mean of squared gradients (Adam's family: corrected for its start; RMSprop, Adagrad).
    None where the optimizer keeps none for this parameter (yet). Oracle: `critaudit.advice.decaying.adaptivity`.
    """
    import torch

    found = _mean_square(optimizer.state.get(weight, {}), group)
    if found is None:
        return None
    mean_square, corrected = found
    values = weight.detach()
    if part is not None:
        values, mean_square = values.narrow(*part), mean_square.narrow(*part)
    plain = values.float()
    # √(v/c) + ε = (√v + ε√c)/√c, which saves a pass over the tensor.
    root_of_c = corrected**0.5
    root = mean_square.float().sqrt().add_(_eps(group.get("eps", 1e-8)) * root_of_c)
    found_rows: torch.Tensor = torch.linalg.vecdot(_flat(plain), _flat(plain / root)) * root_of_c
    return found_rows


def _flat(values: torch.Tensor) -> torch.Tensor:
    return values.reshape(values.shape[0], -1) if values.ndim > 1 else values.reshape(1, -1)


def _mean_square(state: Mapping[str, Any], group: Mapping[str, Any]) -> tuple[torch.Tensor, Any] | None:
    """v, and c with v̂ = v/c: 1 where nothing is to be corrected."""
    import torch

    betas = group.get("betas")
    found = state.get("max_exp_avg_sq", state.get("exp_avg_sq"))
    if isinstance(found, torch.Tensor) and betas is not None and "step" in state:
        step = state["step"]
        return found, 1.0 - float(betas[1]) ** (step.to(found.device) if isinstance(step, torch.Tensor) else step)
    found = state.get("square_avg", state.get("sum"))
    if not isinstance(found, torch.Tensor):
        return None
    mean = state.get("grad_avg")  # a centred RMSprop
    return (found if mean is None else (found - mean.square()).clamp_(min=0.0)), 1.0


def steps_taken(optimizer: torch.optim.Optimizer) -> int | None:
    """The number of steps that the optimizer's own state counts (Adam's family), None where it counts none."""
    counted = list(_counters(optimizer))
    return max(counted) if counted else None


def _counters(optimizer: torch.optim.Optimizer) -> Iterator[int]:
    for state in list(optimizer.state.values())[:8]:
        step = state.get("step") if isinstance(state, Mapping) else None
        if step is not None:
            yield int(step)


def _eps(value: Any) -> float:
    """Adafactor has two; the second is what its divisor is kept away from zero by."""
    if isinstance(value, (tuple, list)):
        value = value[-1]
    return 1e-8 if value is None else float(value)
