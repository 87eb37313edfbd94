"""Settings of one growth: what to change together so that J² grows as before (Zhang21, Figs 4-6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from critaudit.advice.course import OptimizerSetting
from critaudit.advice.optimizers import family
from critaudit.errors import UsageError

MOMENTA = (0.0, 0.5, 0.9, 0.95)
RATIOS = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class EqualSetting:
    """A learning rate, momentum and batch size with the same η/((1 − m)B), and so the same growth A per epoch.

    `weight_decay` is one for all of them: the balance D/(2·S·J*²) holds none of the three. `present` marks the setting
    that the others are compared with.
    """

    lr: float
    momentum: float
    batch_size: int
    present: bool = False


@dataclass(frozen=True, slots=True)
class EqualScale:
    """The rows of the table, and the scale η/((1 − m)B); none of either, and the `reason`, where the rule fails."""

    scale: float | None
    rows: tuple[EqualSetting, ...]
    reason: str | None = None


def equal_scale(
    setting: OptimizerSetting,
    batch_size: int,
    *,
    momenta: Sequence[float] = MOMENTA,
    batch_sizes: Sequence[int] | None = None,
) -> EqualScale:
    """Settings with the same scale as `setting` at `batch_size` (SGD; dampening counts as a smaller learning rate).

    Zhang21's A = ηD/((1 − m)B): in the study of this project (reports/advice) J² after twelve epochs agreed to 0.1 %
    between lr × 2, momentum 0.5 and half the batch. Batch sizes are a quarter to four times the present one, unless
    given. For optimizers that scale each gradient (Adam) growth does not go with this ratio, and the table is empty.
    Raises UsageError for a batch size below 1 or a momentum outside [0, 1).
    """
    if batch_size < 1 or any(size < 1 for size in batch_sizes or ()):
        raise UsageError(f"batch_size = {batch_size}: a whole number from 1 on is expected")
    if any(not 0.0 <= momentum < 1.0 for momentum in (*momenta, setting.momentum)):
        raise UsageError("a momentum outside [0, 1) was given; numbers from 0 to below 1 are expected")
    if family(setting) != "sgd":
        what = f"{setting.name} scales each gradient by its own size, so growth does not go with lr/((1 − m)·batch)"
        return EqualScale(None, (), f"{what}; no settings of equal growth are known for it")
    lr = setting.lr * (1.0 - setting.dampening * (setting.momentum > 0))
    scale = lr / ((1.0 - setting.momentum) * batch_size)
    sizes = batch_sizes or tuple(dict.fromkeys(max(round(batch_size * ratio), 1) for ratio in RATIOS))
    return EqualScale(scale, tuple(_rows(scale, (setting.momentum, batch_size), momenta, sizes)))


def _rows(
    scale: float, present: tuple[float, int], momenta: Sequence[float], sizes: Sequence[int]
) -> Iterator[EqualSetting]:
    for momentum in sorted({*momenta, present[0]}):
        for size in sorted({*sizes, present[1]}):
            yield EqualSetting(scale * (1.0 - momentum) * size, momentum, size, (momentum, size) == present)
