"""Short trainings of a copy: how a network at its present weights takes a given optimizer and learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from critaudit.advice.initial.passes import Loss, experimental

if TYPE_CHECKING:
    import torch
    from torch import nn

    from critaudit.advice.course import OptimizerSetting

# A loss that grew to this multiple of its first value ends a trial.
_EXPLODED = 1e3


@dataclass(frozen=True, slots=True)
class Task:
    """What a trial trains on: arguments of the forward pass, samples first, and targets.

    `what` says in words what the targets are: the user's, or a teacher's that stands in for them.
    """

    arguments: tuple[Any, ...]
    targets: Any
    loss: Loss
    what: str
    batch_size: int

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.arguments[0])


@dataclass(frozen=True, slots=True)
class Trial:
    """`losses` of every step; `score` is the mean of the second half (infinite where the loss became so), with `error`,
    the standard error of that mean from batch to batch. `trains` says that it lies below the loss of the first steps.
    """

    lr: float
    losses: tuple[float, ...]

    @property
    def score(self) -> float:
        """Mean loss over the second half of the steps."""
        half = self.losses[len(self.losses) // 2 :]
        return math.fsum(half) / len(half) if half and all(map(math.isfinite, half)) else math.inf

    @property
    def error(self) -> float:
        """Standard error of `score`."""
        half = self.losses[len(self.losses) // 2 :]
        if len(half) < 2 or not math.isfinite(self.score):
            return math.inf
        return math.sqrt(math.fsum((one - self.score) ** 2 for one in half) / (len(half) - 1) / len(half))


def trial(module: nn.Module, task: Task, setting: OptimizerSetting, *, lr: float, steps: int, seed: int = 0) -> Trial:
    """Train a copy of `module` for `steps` steps of `setting` at learning rate `lr`; the module is left as it is.

    Batches are drawn with `seed`, the same for every candidate.
    """
    import torch

    network = experimental(module)
    optimizer = build_optimizer(network, setting, lr)
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    with torch.enable_grad():
        for _ in range(steps):
            batch = torch.randperm(task.samples, generator=generator)[: task.batch_size]
            optimizer.zero_grad()
            value = task.loss(network(*_take(task.arguments, batch)), _take_one(task.targets, batch))
            losses.append(float(value.detach()))
            if not math.isfinite(losses[-1]) or losses[-1] > _EXPLODED * max(losses[0], 1e-6):
                losses[-1] = math.inf
                losses += [math.inf] * (steps - len(losses))
                break
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return Trial(lr, tuple(losses))


def build_optimizer(module: nn.Module, setting: OptimizerSetting, lr: float) -> torch.optim.Optimizer:
    """The named optimizer of torch.optim on all parameters. Raises UsageError for a name that it does not have."""
    import torch

    from critaudit.errors import UsageError

    kind = getattr(torch.optim, setting.name, None)
    if not isinstance(kind, type):
        raise UsageError(
            f"torch.optim has no {setting.name}; SGD, Adam, AdamW or another of its optimizers is expected"
        )
    options: dict[str, Any] = {"lr": lr, "weight_decay": setting.weight_decay}
    if setting.name == "SGD":
        options |= {"momentum": setting.momentum, "dampening": setting.dampening, "nesterov": setting.nesterov}
    elif setting.betas is not None:
        options["betas"] = setting.betas
    built: torch.optim.Optimizer = kind([one for one in module.parameters() if one.requires_grad], **options)
    return built


def _take(arguments: tuple[Any, ...], batch: torch.Tensor) -> tuple[Any, ...]:
    return tuple(_take_one(one, batch) for one in arguments)


def _take_one(values: Any, batch: torch.Tensor) -> Any:
    import torch

    if isinstance(values, torch.Tensor) and values.ndim > 0:
        return values[batch.to(values.device)]
    return values
