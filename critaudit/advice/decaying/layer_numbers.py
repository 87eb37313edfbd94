"""The numbers of a layer's advice: A, D, epochs to the edge, weight decay and λ from its growth, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

from critaudit.advice.course import Course, OptimizerSetting
from critaudit.advice.decaying.layer_growth import LayerGrowth
from critaudit.advice.decaying.timeline import Timeline
from critaudit.advice.optimizers import family
from critaudit.measurement import Measurement, measured, not_applicable, undetermined
from critaudit.report.wording import number

# On the way from J² to J*², and over a factor of 20 in η/((1 − m)B), growth (D) changed at most by this power of J*²/J²
# in this project's study (tanh, Fashion-MNIST; reports/advice/weight_decay.jsonl): from J² = 0.27 by a factor of 1.6.
DRIFT = 0.35


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of a layer when its numbers are told: `goal` is J*², None where it has none."""

    line: Timeline
    growth: LayerGrowth
    goal: float | None
    course: Course

    @property
    def in_steps(self) -> bool:
        return self.course.unit == "step"

    @property
    def epochs_per_record(self) -> float | None:
        """Epochs per unit of `steps`."""
        if not self.in_steps:
            return 1.0
        per = self.course.steps_per_epoch
        return None if per is None else 1.0 / per

    @property
    def drift(self) -> float:
        """Factor by which growth may differ at the edge."""
        return 1.0 if self.goal is None else math.exp(DRIFT * abs(math.log(self.goal / self.growth.at)))

    def scaled(self, factor: float, *, drift: float = 1.0) -> tuple[float, tuple[float, float]] | None:
        """G and its interval times `factor`, the interval wider by `drift` at both ends; None where G is not known."""
        if self.growth.value is None or self.growth.interval is None:
            return None
        low, high = self.growth.interval
        return factor * self.growth.value, (factor * low / drift, factor * high * drift)


def growth(case: Case) -> Measurement:
    found = case.scaled(case.line.step_size)
    if found is None:
        return undetermined(case.growth.note or "only its balance with decay is known")
    if not case.in_steps:
        return undetermined(case.line.unit.reason or "", n=case.growth.n)
    value, ends = found
    return measured(value, interval=ends, n=case.growth.n, method=case.growth.method, reason=case.growth.note)


def growth_per_epoch(case: Case) -> Measurement:
    per = case.epochs_per_record
    if per is None:
        return undetermined("dataset_size and batch_size are not known, so steps cannot be told in epochs")
    found = case.scaled(case.line.step_size / per)
    if found is None:
        return undetermined(case.growth.note or "only its balance with decay is known")
    how = f"A of J² = A·epoch + C (Zhang21), from {case.growth.method}"
    return measured(found[0], interval=found[1], n=case.growth.n, method=how, reason=case.growth.note)


def constant(case: Case) -> Measurement:
    """Zhang21's D = A(1 − m)B/η = S·G/u per unit of u."""
    setting, course = case.line.setting, case.course
    if family(setting) != "sgd":
        return not_applicable(f"D = A(1 − m)B/η is SGD's; {setting.name} scales each gradient by its own size")
    samples = course.dataset_size if case.in_steps else course.batch_size
    if samples is None:
        return undetermined(f"{'dataset_size' if case.in_steps else 'batch_size'} is not known; give it to get D")
    found = case.scaled(float(samples), drift=case.drift)
    if found is None:
        return undetermined(case.growth.note or "only its balance with decay is known")
    how = "D = A(1 − m)B/η (Zhang21); interval: that of A, and its change on the way to the edge"
    return measured(found[0], interval=found[1], n=case.growth.n, method=how, reason=case.growth.note)


def weight_decay(case: Case, goal: Measurement) -> Measurement:
    """wd* = G/(2·u·κ·J*²), or wd·J²/J*² where J² is balanced at a rate that is not known."""
    if goal.status != "measured" or case.goal is None:
        return goal
    growth, unit = case.growth, case.line.unit
    if growth.balance is not None:
        low, value, high = (case.line.setting.weight_decay * one / case.goal for one in growth.balance)
        ends = (low / case.drift, high * case.drift)
        how = f"wd* = wd·J²/J*² at balance, J*² = {number(case.goal)}; {growth.method}"
        return measured(value, interval=ends, n=growth.n, method=how, reason=growth.note)
    if unit.per_step is None or unit.per_step <= 0.0:
        return undetermined(unit.reason or "the present learning rate is 0", n=growth.n)
    found = case.scaled(case.line.step_size / (unit.per_step * case.goal), drift=case.drift)
    if found is None:
        return undetermined(growth.note or "growth is not known")
    how = (
        f"wd* = G/(r₁·J*²), r₁ = {number(unit.per_step)} ({unit.method}), J*² = {number(case.goal)}; {growth.method}; "
        f"interval wider by {number(case.drift)} for growth that changes on the way to the edge"
    )
    return measured(found[0], interval=found[1], n=growth.n, method=how, reason=growth.note)


def lambda_(decay: Measurement, setting: OptimizerSetting) -> Measurement:
    if decay.status != "measured":
        return decay
    if setting.decoupled:
        return not_applicable(f"the decay of {setting.name} acts beside the loss, which holds no λ|w|²")
    if decay.number is None:
        return undetermined("the weight decay is no number")
    ends = None if decay.interval is None else (decay.interval[0] / 2, decay.interval[1] / 2)
    return measured(
        decay.number / 2,
        interval=ends,
        n=decay.n,
        method="half of the weight decay: gradient 2λw of a loss with λ|w|²",
        reason=decay.reason,
    )


def edge_epochs(case: Case, goal: Measurement, now: float) -> Measurement:
    """Epochs until J² reaches J*² with the present decay: (J*² − J²)/A without one (Zhang21)."""
    if goal.status != "measured" or case.goal is None:
        return goal
    if now >= case.goal:
        return not_applicable(f"J² = {number(now)} is at its edge already, J*² = {number(case.goal)}")
    per, rate, found = case.epochs_per_record, case.line.rate, case.scaled(1.0, drift=case.drift)
    if per is None:
        return undetermined("dataset_size and batch_size are not known, so steps cannot be told in epochs")
    if rate is None or found is None:
        return undetermined(case.growth.note or "growth and decay are not known apart")
    unit = per / case.line.step_size
    until = _time_to(found[0], rate, now, case.goal)
    if until is None:
        settles = number(found[0] / rate)
        return not_applicable(
            f"with the present decay J² settles near {settles}, below its edge at {number(case.goal)}"
        )
    soonest, latest = _time_to(found[1][1], rate, now, case.goal), _time_to(found[1][0], rate, now, case.goal)
    ends = None if soonest is None or latest is None else (unit * soonest, unit * latest)
    unbounded = "perhaps never: with the least growth of its interval J² settles below the edge"
    return measured(
        unit * until,
        interval=ends,
        n=case.growth.n,
        method="time to J*² by dJ²/dt = G − r·J² with the present decay",
        reason=case.growth.note if ends is not None else unbounded,
    )


def _time_to(growth: float, rate: float, now: float, goal: float) -> float | None:
    """Time until J² grew from `now` to `goal`; None for never."""
    if rate <= 0.0:
        return (goal - now) / growth if growth > 0.0 else None
    settles = growth / rate
    return None if settles <= goal else math.log((settles - now) / (settles - goal)) / rate
