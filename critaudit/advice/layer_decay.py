"""One layer's weight decay: what its growth, its optimizer and its own edge of chaos ask for.

With dJ²/dt = G − 2·u·κ·wd·J² the decay wd* = G/(2·u·κ·J*²) balances growth at the edge J*². For SGD that is Zhang21's
λ = D/(4·S·J*²), with wd* = 2λ and G = u·D/S. Time runs with the optimizer's step size u, so that a schedule of the
learning rate changes its pace and not the law: SGD's growth goes with u, and so it is assumed of the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from critaudit.advice.course import Course, LayerCourse, OptimizerSetting
from critaudit.advice.layer_growth import LayerGrowth, layer_growth
from critaudit.advice.optimizers import family
from critaudit.advice.targets import target
from critaudit.advice.timeline import Timeline, timeline
from critaudit.errors import CritauditError
from critaudit.measurement import Measurement, measured, not_applicable, undetermined
from critaudit.report.wording import number

# On the way from J² to J*², and over a factor of 20 in η/((1 − m)B), growth (D) changed at most by this power of J*²/J²
# in this project's study (tanh, Fashion-MNIST; reports/advice/weight_decay.jsonl): from J² = 0.27 by a factor of 1.6.
DRIFT = 0.35
_NO_OPTIMIZER = "the optimizer's settings are not known; give a checkpoint with its state, or optimizer="


@dataclass(frozen=True, slots=True)
class LayerDecay:
    """What weight decay the layer asks for, and what that rests on.

    `j_squared` and `j0` are the last ones, `setting` the optimizer's. `target` is J*²; `growth` is G, what training
    alone adds to J² per step at the present step size, `growth_per_epoch` Zhang21's A, `constant` his D (SGD);
    `edge_epochs` the epochs until J² is at the edge with the present decay. `weight_decay` is the value for PyTorch's
    optimizer, `lambda_` the λ of a loss with λ|w|², half of it, where decay goes through the gradient. Intervals are of
    95 %; those of D, the epochs and the decay allow besides for how growth may change on the way to the edge (`DRIFT`).
    """

    layer: str
    shape: tuple[int, ...]
    setting: OptimizerSetting | None
    j_squared: float
    j0: float | None
    target: Measurement
    growth: Measurement
    growth_per_epoch: Measurement
    constant: Measurement
    edge_epochs: Measurement
    weight_decay: Measurement
    lambda_: Measurement

    @property
    def status(self) -> str:
        """Whether a weight decay was determined, as a measurement's status."""
        return self.weight_decay.status

    @property
    def reason(self) -> str | None:
        """Why no decay was determined; what to know about it where one was."""
        return self.weight_decay.reason

    @property
    def method(self) -> str | None:
        """What the decay was computed from."""
        return self.weight_decay.method

    @property
    def present(self) -> float:
        """The optimizer's weight decay of this layer at the last record; 0 where the optimizer is not known."""
        return 0.0 if self.setting is None else self.setting.weight_decay

    @property
    def measurements(self) -> dict[str, Measurement]:
        """By ID, as in a report."""
        return {
            "decay.j_squared": measured(self.j_squared, method="J² = N·var(W), N = fan_in, at the last record"),
            "decay.target": self.target,
            "decay.growth": self.growth,
            "decay.growth_per_epoch": self.growth_per_epoch,
            "decay.constant": self.constant,
            "decay.edge_epochs": self.edge_epochs,
            "decay.weight_decay": self.weight_decay,
            "decay.lambda": self.lambda_,
        }


@dataclass(frozen=True, slots=True)
class _Case:
    """All that is known of the layer when its numbers are told."""

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


def layer_decay(
    layer: LayerCourse, course: Course, *, activation: str | None = None, initial: float | None = None
) -> LayerDecay:
    """The weight decay for one layer of `course`; what cannot be told is a status with its reason, never a number.

    `activation` counts where the layer's own is not known; `initial` is J² before the first step, where it is known and
    not in the course. Raises nothing of a layer's own: a contradiction in its records becomes `failed`-like reasons.
    """
    goal = target(layer, activation=activation)
    blank = _blank(layer, goal)
    if not layer.settings:
        return _refused(blank, _NO_OPTIMIZER)
    try:
        line = timeline(layer, counts=course.unit)
        growth = layer_growth(line, goal.number, initial=initial, epochs=_epochs(line, course))
    except CritauditError as error:
        return _refused(blank, str(error))
    if isinstance(growth, str):
        return _refused(blank, growth)
    case = _Case(line, growth, goal.number, course)
    decay = _weight_decay(case, goal)
    return replace(
        blank,
        growth=_growth(case),
        growth_per_epoch=_growth_per_epoch(case),
        constant=_constant(case),
        edge_epochs=_edge_epochs(case, goal, blank.j_squared),
        weight_decay=decay,
        lambda_=_lambda(decay, line.setting),
    )


def _blank(layer: LayerCourse, goal: Measurement) -> LayerDecay:
    nothing = undetermined("")
    return LayerDecay(
        layer=layer.name,
        shape=layer.shape,
        setting=layer.settings[-1] if layer.settings else None,
        j_squared=layer.j_squared[-1],
        j0=layer.j0[-1] if layer.j0 else None,
        target=goal,
        growth=nothing,
        growth_per_epoch=nothing,
        constant=nothing,
        edge_epochs=nothing,
        weight_decay=nothing,
        lambda_=nothing,
    )


def _refused(blank: LayerDecay, reason: str) -> LayerDecay:
    """Nothing is determined; where the layer has no edge at all, that is the reason for its decay."""
    unknown = undetermined(reason)
    wanted = blank.target if blank.target.status == "not_applicable" else unknown
    return replace(
        blank,
        growth=unknown,
        growth_per_epoch=unknown,
        constant=unknown,
        edge_epochs=wanted,
        weight_decay=wanted,
        lambda_=wanted,
    )


def _epochs(line: Timeline, course: Course) -> float | None:
    """Epochs since the first step."""
    if course.unit == "epoch":
        return float(line.steps[-1])
    per = course.steps_per_epoch
    return None if per is None else float(line.steps[-1]) / per


def _growth(case: _Case) -> Measurement:
    found = case.scaled(case.line.step_size)
    if found is None:
        return undetermined(case.growth.note or "only its balance with decay is known")
    if not case.in_steps:
        return undetermined(case.line.unit.reason or "", n=case.growth.n)
    value, ends = found
    return measured(value, interval=ends, n=case.growth.n, method=case.growth.method, reason=case.growth.note)


def _growth_per_epoch(case: _Case) -> Measurement:
    per = case.epochs_per_record
    if per is None:
        return undetermined("dataset_size and batch_size are not known, so steps cannot be told in epochs")
    found = case.scaled(case.line.step_size / per)
    if found is None:
        return undetermined(case.growth.note or "only its balance with decay is known")
    how = f"A of J² = A·epoch + C (Zhang21), from {case.growth.method}"
    return measured(found[0], interval=found[1], n=case.growth.n, method=how, reason=case.growth.note)


def _constant(case: _Case) -> Measurement:
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


def _weight_decay(case: _Case, goal: Measurement) -> Measurement:
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


def _lambda(decay: Measurement, setting: OptimizerSetting) -> Measurement:
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


def _edge_epochs(case: _Case, goal: Measurement, now: float) -> Measurement:
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
