"""One layer's weight decay: what its growth, its optimizer and its own edge of chaos ask for.

With dJ²/dt = G − 2·u·κ·wd·J² the decay wd* = G/(2·u·κ·J*²) balances growth at the edge J*². For SGD that is Zhang21's
λ = D/(4·S·J*²), with wd* = 2λ and G = u·D/S. Time runs with the optimizer's step size u, so that a schedule of the
learning rate changes its pace and not the law: SGD's growth goes with u, and so it is assumed of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from critaudit.advice.course import Course, LayerCourse, OptimizerSetting
from critaudit.advice.decaying import layer_numbers
from critaudit.advice.decaying.layer_growth import layer_growth
from critaudit.advice.decaying.layer_numbers import Case
from critaudit.advice.decaying.targets import target
from critaudit.advice.decaying.timeline import Timeline, timeline
from critaudit.errors import CritauditError
from critaudit.measurement import Measurement, measured, undetermined

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


def layer_decay(
    layer: LayerCourse, course: Course, *, activation: str | None = None, initial: float | None = None
) -> LayerDecay:
    """The weight decay for one layer of `course`; what cannot be told is a status with its reason, never a number.

    `activation` counts where the layer's own is not known; `initial` is J² before the first step, where it is known and
    not in the course. Nothing is raised for what is wrong with a layer: that is its reason.
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
    case = Case(line, growth, goal.number, course)
    decay = layer_numbers.weight_decay(case, goal)
    return replace(
        blank,
        growth=layer_numbers.growth(case),
        growth_per_epoch=layer_numbers.growth_per_epoch(case),
        constant=layer_numbers.constant(case),
        edge_epochs=layer_numbers.edge_epochs(case, goal, blank.j_squared),
        weight_decay=decay,
        lambda_=layer_numbers.lambda_(decay, line.setting),
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
