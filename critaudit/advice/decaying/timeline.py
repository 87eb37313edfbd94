"""A layer's course in the optimizer's own time: Σu over the steps, with what weight decay takes per unit of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.advice.course import LayerCourse, OptimizerSetting
from critaudit.advice.optimizers import DecayRate, decay_rate, step_size
from critaudit.errors import UsageError

Array: TypeAlias = NDArray[np.float64]
_EPOCHS = DecayRate(
    None, "", "how many steps an epoch has is not known; give dataset_size= and batch_size= to turn it into a decay"
)


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """J² at the times t = Σu, u the step size, its mean between records; of records at the same t the last is kept.

    `rates` is r, the share of J² that decay takes per unit of t, at each record; None where decay acts and its rate is
    not known. `step_size` is u now, `unit` what a decay of 1 takes per step now, `age` the t since the first step if u
    was always as it is at the first record (0 where steps are not known), `steps` those of the records that are left.
    """

    times: Array
    j_squared: Array
    rates: Array | None
    steps: Array
    step_size: float
    age: float
    setting: OptimizerSetting
    unit: DecayRate

    @property
    def decays(self) -> bool:
        """Whether weight decay acted at any record."""
        return self.rates is None or bool(np.any(self.rates > 0))

    @property
    def rate(self) -> float | None:
        """r now."""
        return None if self.rates is None else float(self.rates[-1])


def timeline(layer: LayerCourse, *, counts: str = "step") -> Timeline:
    """The layer in its optimizer's time; `counts` is what its steps are ("epoch": of an unknown number of steps each).

    Raises UsageError where records or settings do not fit together.
    """
    steps, squares = np.asarray(layer.steps, np.float64), np.asarray(layer.j_squared, np.float64)
    if not len(steps) or not len(steps) == len(squares) == len(layer.settings):
        raise UsageError(
            f"{layer.name}: {len(steps)} steps, {len(squares)} values of J² and {len(layer.settings)} settings of the "
            "optimizer; one of each per record is expected"
        )
    if np.any(np.diff(steps) < 0) or not (np.all(np.isfinite(steps)) and np.all(np.isfinite(squares))):
        raise UsageError(f"{layer.name}: steps do not ascend, or J² is not finite at some of them")
    sizes = np.array([step_size(setting) for setting in layer.settings])
    times = np.concatenate([[0.0], np.cumsum(0.5 * (sizes[1:] + sizes[:-1]) * np.diff(steps))])
    units = [_EPOCHS] * len(sizes) if counts == "epoch" else _units(layer, sizes)
    decays = np.array([setting.weight_decay for setting in layer.settings])
    rates: Array | None = np.zeros_like(times)
    if np.any(decays > 0):
        known = np.array([np.nan if one.per_step is None else one.per_step for one in units])
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.where((decays > 0) & (sizes > 0), known * decays / sizes, 0.0)
        rates = None if np.any(np.isnan(found)) else found
    kept = np.concatenate([np.diff(times) > 0, [True]])
    return Timeline(
        times=times[kept],
        j_squared=squares[kept],
        rates=None if rates is None else rates[kept],
        steps=steps[kept],
        step_size=float(sizes[-1]),
        age=float(times[-1] + sizes[0] * steps[0]),
        setting=layer.settings[-1],
        unit=units[-1],
    )


def _units(layer: LayerCourse, sizes: Array) -> list[DecayRate]:
    """What a decay of 1 takes per step, at each record. A measured rate goes with the step size."""
    scaled = layer.adaptivity if layer.adaptivity and len(layer.adaptivity) == len(sizes) else (None,) * len(sizes)
    return [
        decay_rate(
            setting,
            adaptivity=factor,
            step=step,
            measured=None
            if layer.measured_decay is None or sizes[-1] <= 0
            else layer.measured_decay * float(size / sizes[-1]),
        )
        for setting, factor, step, size in zip(layer.settings, scaled, layer.steps, sizes, strict=True)
    ]
