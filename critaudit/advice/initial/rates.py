"""For which learning rates a network's weights are good: trials over two decades around the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from critaudit.advice.initial.trials import Task, Trial, trial

if TYPE_CHECKING:
    from torch import nn

    from critaudit.advice.course import OptimizerSetting

FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True, slots=True)
class RateRange:
    """Learning rates tried, and those at which training went well.

    `good` are the smallest and the largest of a row around the best one whose score is within `slack` of the best
    score's distance from the first loss; None where no rate brought the loss down.
    """

    trials: tuple[Trial, ...]
    good: tuple[float, float] | None
    best: float | None


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
    smaller rates need more steps, larger ones fail.
    """
    done = {one.lr: one for one in known}
    trials = []
    for factor in FACTORS:
        lr = setting.lr * factor
        trials.append(done.get(lr) or trial(module, task, setting, lr=lr, steps=steps, seed=seed))
    return judge(tuple(trials))


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
