"""What a Controller computes: growth as it is measured, the decay that balances it, and the targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from critaudit.advice.course import LayerCourse
from critaudit.errors import UsageError
from critaudit.training.followed import Live
from critaudit.training.optimizers import groups_by_parameter
from critaudit.training.weights import spreads

if TYPE_CHECKING:
    import torch

_MEMORY = 0.3  # weight of a new interval in the running mean of the growth
_FEWEST = 2  # intervals before anything is changed


@dataclass(frozen=True, slots=True)
class Targets:
    """J*² by layer, and why others are left alone."""

    held: dict[str, float]
    left_alone: dict[str, str]


@dataclass(frozen=True, slots=True)
class Demand:
    """What one layer asks of its decay: `wanted` now, and `balance`, the one that holds it at its target."""

    wanted: float
    balance: float


class Growing:
    """The growth of a layer's J² that decay has to balance, G/2u, as a running mean over control intervals.

    u is the share of itself that a weight loses per step and unit of weight decay. Both G and u go with the learning
    rate in SGD, so that their ratio outlives a schedule.
    """

    def __init__(self) -> None:
        self.per_decay: float | None = None
        self.j_squared = 0.0
        self.unit = 0.0
        self.interval = 0
        self.intervals = 0
        self._last: tuple[int, float, float, float] | None = None

    def look(self, step: int, j_squared: float, unit: float, decay: float) -> None:
        """The layer at `step`: its J², u, and the weight decay since the last look."""
        before, self._last = self._last, (step, j_squared, unit, decay)
        self.j_squared, self.unit = j_squared, unit
        if before is None or step <= before[0]:
            return
        self.interval = step - before[0]
        middle_unit = 0.5 * (unit + before[2])
        if middle_unit <= 0.0:
            return
        rise = (j_squared - before[1]) / self.interval
        # The decay of an interval is the one that was set at its beginning.
        seen = rise / (2.0 * middle_unit) + before[3] * 0.5 * (j_squared + before[1])
        self.per_decay = seen if self.per_decay is None else (1.0 - _MEMORY) * self.per_decay + _MEMORY * seen
        self.intervals += 1


def demanded(growing: Growing, target: float, gain: float) -> Demand | None:
    """The decay that lets J² close `gain` of its distance to `target` per control interval; None before it is known."""
    if growing.per_decay is None or growing.intervals < _FEWEST or growing.j_squared <= 0.0 or growing.unit <= 0.0:
        return None
    closing = gain * (growing.j_squared - target) / (2.0 * growing.unit * growing.interval)
    return Demand((growing.per_decay + closing) / growing.j_squared, max(growing.per_decay, 0.0) / target)


def limited(demands: Sequence[Demand], present: float, *, bounds: tuple[float, float | None], rate: float) -> float:
    """The decay for layers that share it: the mean of what they ask, in steps of `rate` of the balancing one at most.

    Steps towards zero decay are as large; bounds come last, so that a decay outside of them is brought back at once.
    """
    wanted = sum(demand.wanted for demand in demands) / len(demands)
    balance = sum(demand.balance for demand in demands) / len(demands)
    step = rate * max(balance, present)
    moved = min(max(wanted, present - step), present + step)
    low, high = bounds
    return max(moved, low, 0.0) if high is None else min(max(moved, low, 0.0), high)


def targets(matrices: Sequence[Live], target: object, optimizer: torch.optim.Optimizer) -> Targets:
    """The targets J*² of the matrices that the optimizer trains, by their names. Raises UsageError."""
    trained = groups_by_parameter(optimizer)
    held: dict[str, float] = {}
    alone: dict[str, str] = {}
    named = {one.followed.name: one for one in matrices}
    if isinstance(target, Mapping):
        unknown = next((name for name in target if name not in named), None)
        if unknown is not None:
            raise UsageError(f"target: no layer is called {unknown!r}; the layers are {', '.join(list(named)[:8])}, …")
    for name, one in named.items():
        if one.weight is None or not one.plain or id(one.weight) not in trained:
            alone[name] = "its weights are no parameter that this optimizer trains"
            continue
        if isinstance(target, Mapping):
            if name in target:
                held[name] = _positive(target[name], name)
            else:
                alone[name] = "no target was given for it"
        elif target == "edge":
            _edge(one, held, alone, optimizer)
        elif isinstance(target, (int, float)) and not isinstance(target, bool):
            held[name] = _positive(target, name)
        else:
            raise UsageError(f'target is {target!r}; "edge", a number J*², or a mapping by layer is expected')
    return Targets(held, alone)


def _edge(one: Live, held: dict[str, float], alone: dict[str, str], optimizer: torch.optim.Optimizer) -> None:
    """J*² at the layer's own edge of chaos as it is now, or why there is none."""
    from critaudit.advice.decaying.targets import target

    it, now = one.followed, spreads([one], optimizer)[0]
    course = LayerCourse(
        it.name,
        it.shape,
        it.fan_in,
        steps=(0.0,),
        j_squared=(now.j_squared or 0.0,),
        j0=(now.j0 or 0.0,),
        settings=(),
        activation=it.activation,
        sigma_b=now.sigma_b,
        normalised=it.normalised,
        kind=it.kind,
    )
    found = target(course)
    if found.number is None:
        alone[it.name] = found.reason or "it has no edge of its own"
    else:
        held[it.name] = found.number


def _positive(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < value < float("inf"):
        raise UsageError(f"target of {name}: {value!r} was given; J*² is a positive number")
    return float(value)
