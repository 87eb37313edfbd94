"""Short trainings of a copy: how a network at its present weights takes a given optimizer and learning rate."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from critaudit.advice.initial.passes import Loss, experimental
from critaudit.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from critaudit.advice.course import OptimizerSetting

# A loss that grew to this multiple of its first value ends a trial.
_EXPLODED = 1e3
# A trial is hopeless that is less than this share of a rival's way down where the rival came this share down or more.
_BEHIND, _WAY = 0.1, 0.1


@dataclass(frozen=True, slots=True)
class Task:
    """What a trial trains on: arguments of the forward pass, samples first, and targets.

    `what` says in words what the targets are: the user's, or with `stand_in` a teacher's that stands in for them.
    """

    arguments: tuple[Any, ...]
    targets: Any
    loss: Loss
    what: str
    batch_size: int
    stand_in: bool = False

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.arguments[0])

    def taken(self, index: Any) -> tuple[tuple[Any, ...], Any]:
        """Arguments and targets of the samples at `index` (a slice or a tensor); what is not per sample as it is."""
        return tuple(self._part(one, index) for one in self.arguments), self._part(self.targets, index)

    def first(self) -> tuple[tuple[Any, ...], Any]:
        """The first batch."""
        return self.taken(slice(self.batch_size))

    def _part(self, values: Any, index: Any) -> Any:
        import torch

        if isinstance(values, torch.Tensor) and values.ndim > 0 and len(values) == self.samples:
            return values[index.to(values.device) if isinstance(index, torch.Tensor) else index]
        return values


@dataclass(frozen=True, slots=True)
class Trial:
    """`losses` of the steps that were made, infinite from where the loss became so; at learning rate `lr`.

    `stopped`: it was given up at half of its steps, hopelessly behind another one (see `hopeless`).
    """

    lr: float
    losses: tuple[float, ...]
    stopped: bool = False

    @property
    def score(self) -> float:
        """Mean loss over the second half of the steps."""
        half = self.losses[len(self.losses) // 2 :]
        return math.fsum(half) / len(half) if half and all(map(math.isfinite, half)) else math.inf

    @property
    def error(self) -> float:
        """Standard error of `score`, from batch to batch."""
        half = self.losses[len(self.losses) // 2 :]
        if len(half) < 2 or not math.isfinite(self.score):
            return math.inf
        return math.sqrt(math.fsum((one - self.score) ** 2 for one in half) / (len(half) - 1) / len(half))


def trial(
    module: nn.Module,
    task: Task,
    setting: OptimizerSetting,
    *,
    lr: float,
    steps: int,
    seed: int = 0,
    rival: Trial | None = None,
) -> Trial:
    """Train a copy of `module` for `steps` steps of `setting` at learning rate `lr`; the module is left as it is.

    Batches are drawn with `seed`, the same for every candidate. Where half the steps show it to be `hopeless` beside
    `rival`, a trial of the same steps, it ends there. Raises UsageError for an optimizer that cannot be made.
    """
    import torch

    network = experimental(module)
    optimizer = build_optimizer(network, setting, lr)
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    with torch.enable_grad():
        for step in range(steps):
            if rival is not None and step == steps // 2 and hopeless(losses, rival):
                return Trial(lr, tuple(losses), stopped=True)
            arguments, targets = task.taken(torch.randperm(task.samples, generator=generator)[: task.batch_size])
            optimizer.zero_grad()
            value = task.loss(network(*arguments), targets)
            losses.append(float(value.detach()))
            if not math.isfinite(losses[-1]) or losses[-1] > _EXPLODED * max(losses[0], 1e-6):
                losses[-1] = math.inf
                losses += [math.inf] * (steps - len(losses))
                break
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return Trial(lr, tuple(losses))


def hopeless(losses: list[float], rival: Trial) -> bool:
    """Whether a trial need not go on after these losses, those of the first half of its steps.

    It need not where the rival, from its first loss to the mean of its second quarter of steps, came down by a tenth or
    more, and this trial's second quarter lies less than a tenth of that way below the rival's first loss.
    """
    quarter = slice(len(losses) // 2, len(losses))
    there = rival.losses[quarter]
    if not losses or len(there) < len(losses[quarter]) or not all(map(math.isfinite, (rival.losses[0], *there))):
        return False
    mine, its = (math.fsum(one) / len(one) for one in (losses[quarter], there))
    way = rival.losses[0] - its
    return way > _WAY * abs(rival.losses[0]) and rival.losses[0] - mine < _BEHIND * way


def build_optimizer(module: nn.Module, setting: OptimizerSetting, lr: float) -> torch.optim.Optimizer:
    """The named optimizer of torch.optim on all parameters that want gradients, with what it takes of the setting.

    Raises UsageError for a name that torch.optim does not have, one whose steps need a closure (LBFGS), settings that
    it refuses, and a module without trainable parameters.
    """
    import torch

    kind = getattr(torch.optim, setting.name, None)
    if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)) or kind is torch.optim.Optimizer:
        raise UsageError(
            f"torch.optim has no {setting.name}; SGD, Adam, AdamW or another of its optimizers is expected"
        )
    takes = inspect.signature(kind).parameters
    options: dict[str, Any] = {"lr": lr, "weight_decay": setting.weight_decay, "momentum": setting.momentum}
    options |= {"dampening": setting.dampening, "nesterov": setting.nesterov}
    if setting.betas is not None:
        options |= {"betas": setting.betas, "eps": setting.eps}
    try:
        built: torch.optim.Optimizer = kind(
            [one for one in module.parameters() if one.requires_grad],
            **{name: value for name, value in options.items() if name in takes},
        )
    except (TypeError, ValueError) as error:
        raise UsageError(f"{setting.name} cannot be made: {' '.join(str(error).split())[:200]}") from error
    closure = inspect.signature(kind.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise UsageError(f"{setting.name} asks for a closure; trials are made with optimizers that step without one")
    return built
