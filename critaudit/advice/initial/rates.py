"""For which learning rates a network's weights are good: trials over two decades, and longer ones that confirm them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from critaudit.advice.initial.trials import Task, Trial, trial

if TYPE_CHECKING:
    from torch import nn

    from critaudit.advice.course import OptimizerSetting

FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
# A rate is confirmed by a trial of so many times the steps: what trains at first can fall apart later.
LONGER = 5


@dataclass(frozen=True, slots=True)
class RateRange:
    """Learning rates tried, and those at which training went well.

    `good` are the smallest and the largest of a row around the best one whose score is at least half as far below the
    first loss as the best score; None where no rate brought the loss down. `confirmations` are longer trials from the
    largest such rate down; `good` ends at the first that `holds`.
    """

    trials: tuple[Trial, ...]
    good: tuple[float, float] | None
    best: float | None
    confirmations: tuple[Trial, ...] = ()

    @property
    def lost(self) -> tuple[float, ...]:
        """Rates at which the loss came down in the usual steps and was lost again in more."""
        held = 0 if self.good is None else 1
        return tuple(one.lr for one in self.confirmations[: len(self.confirmations) - held])


def rate_range(
    module: nn.Module,
    task: Task,
    setting: OptimizerSetting,
    *,
    steps: int,
    seed: int = 0,
    known: tuple[Trial, ...] = (),
) -> RateRange:
    """Try `FACTORS` times the setting's learning rate; trials in `known` are not repeated.

    A rate is good if it brought the loss at least half as far down as the best one did, in the same number of steps:
    smaller rates need more steps, larger ones fail. The largest good rates are confirmed over `LONGER` times the steps.
    """
    done = {one.lr: one for one in known}
    trials = []
    for factor in FACTORS:
        lr = setting.lr * factor
        trials.append(done.get(lr) or trial(module, task, setting, lr=lr, steps=steps, seed=seed))
    return confirmed(
        judge(tuple(trials)), lambda lr: trial(module, task, setting, lr=lr, steps=LONGER * steps, seed=seed)
    )


def judge(trials: tuple[Trial, ...]) -> RateRange:
    """The good rates among `trials`, which are in ascending order of rate."""
    first = min(one.losses[0] for one in trials)
    best = min(trials, key=lambda one: one.score)
    gain = first - best.score
    if not gain > 2.0 * best.error:
        return RateRange(trials, None, None)
    good = [first - one.score >= 0.5 * gain for one in trials]
    low = high = trials.index(best)
    while low > 0 and good[low - 1]:
        low -= 1
    while high < len(trials) - 1 and good[high + 1]:
        high += 1
    return RateRange(trials, (trials[low].lr, trials[high].lr), best.lr)


def confirmed(found: RateRange, longer: Callable[[float], Trial]) -> RateRange:
    """The range without the largest rates whose `longer` trial does not hold."""
    if found.good is None:
        return found
    low, high = found.good
    row = [one for one in found.trials if low <= one.lr <= high]
    made: list[Trial] = []
    while row:
        made.append(longer(row[-1].lr))
        if holds(made[-1].losses, row[-1]):
            best = min(row, key=lambda one: one.score)
            return RateRange(found.trials, (low, row[-1].lr), best.lr, tuple(made))
        row.pop()
    return RateRange(found.trials, None, None, tuple(made))


def holds(losses: Sequence[float], short: Trial) -> bool:
    """Whether a loss that came down stays down: no later mean over half a short trial's steps loses half of the way.

    Looked at from where the loss has come half as far down as in the `short` trial at this rate.
    """
    width = max(len(short.losses) // 2, 1)
    first = losses[0]
    gain, lowest = first - short.score, math.inf
    for start in range(0, len(losses) - width + 1, width):
        mean = math.fsum(losses[start : start + width]) / width
        way = first - lowest
        if not math.isfinite(mean) or (way >= 0.5 * gain and mean > lowest + 0.5 * way):
            return False
        lowest = min(lowest, mean)
    return True
