"""`Controller`: hold each layer's J² at a target while it trains, by its weight decay. Off unless asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from critaudit.advice.optimizers import decay_rate, setting_of
from critaudit.errors import UsageError
from critaudit.training.control import Demand, Growing, demanded, limited, targets
from critaudit.training.followed import Live
from critaudit.training.groups import split
from critaudit.training.log import Change
from critaudit.training.optimizers import groups_by_parameter
from critaudit.training.weights import Spread, spreads

if TYPE_CHECKING:
    from critaudit.training.monitor import Monitor

Target: TypeAlias = Literal["edge"] | float | Mapping[str, float]
_WORTH_A_LINE = 1e-3  # relative change of a weight decay that is set and logged


@dataclass(frozen=True, slots=True)
class Held:
    """A layer under control: its target J*², its present J² and weight decay (None before the first look)."""

    name: str
    target: float
    j_squared: float | None
    weight_decay: float | None


class Controller:
    """Adjusts `weight_decay` by parameter group so that J² = N·var(W) of each layer settles at its target J*².

    Beyond Zhang21, who compute one decay for a whole training: J² grows by G − 2u·wd·J² per step, where u is what the
    optimizer makes of decay (half of `advice.optimizers.decay_rate`). G/2u is measured as the training goes; the decay
    is the one that balances it at the target (G/2u divided by J*²) plus what closes `gain` of the distance per control
    interval. It stays within `bounds`, is never negative, and changes by at most `rate` of the balancing decay at once.

    `target`: "edge" is the layer's own edge of chaos (`advice.decaying.targets`), a number J*² for every layer, or a
    mapping from layers' names to J*². Layers that have no edge (outputs, normalised layers, unknown activations) are
    left alone under "edge", with the reason in `left_alone`. `every` is the control interval in steps (None: a quarter
    of an epoch, at least 20; 100 where the epoch is not known). `split_groups` gives every matrix a parameter group of
    its own (`training.split_groups`; `schedulers` as there); otherwise layers that share a group share its decay. With
    `share` the matrices that are left alone take the mean decay of those under control (Zhang21's λ acts on all
    weights); without it they keep their own. Every change goes to the monitor's log. In distributed training all
    processes make the changes of rank 0. Loading a state dict into the optimizer ends what was measured; control begins
    anew from the decays that were loaded.

    Raises UsageError for a target that names no layer or is not positive, and where no layer is left to control.
    """

    def __init__(
        self,
        monitor: Monitor,
        *,
        target: Target = "edge",
        bounds: tuple[float, float | None] = (0.0, None),
        gain: float = 0.25,
        rate: float = 0.25,
        every: int | None = None,
        split_groups: bool = False,
        share: bool = False,
        schedulers: Sequence[object] = (),
    ) -> None:
        low, high = bounds
        if low < 0.0 or (high is not None and high < low):
            raise UsageError(f"bounds are {bounds}; 0 ≤ lower ≤ upper is expected (None: no upper bound)")
        if not 0.0 < gain <= 1.0 or not rate > 0.0:
            raise UsageError(f"gain is {gain} and rate {rate}; 0 < gain ≤ 1 and rate > 0 are expected")
        if every is not None and every < 1:
            raise UsageError(f"every is {every}; a number of steps from 1 on is expected")
        self._monitor, self._optimizer = monitor, monitor.optimizer
        self._bounds, self._gain, self._rate = (low, high), gain, rate
        self._every = every or _usual_interval(monitor)
        wanted = targets(monitor.network.matrices, target, self._optimizer)
        self.left_alone: dict[str, str] = wanted.left_alone
        self._targets = wanted.held
        self._matrices: list[Live] = [one for one in monitor.network.matrices if one.followed.name in wanted.held]
        if not self._matrices:
            first = next(iter(wanted.left_alone.items()), ("", "no layer is trained"))
            raise UsageError(f"no layer can be held at a target; {first[0]}: {first[1]}")
        self._sharing = [
            one
            for one in monitor.network.matrices
            if share and one.weight is not None and one.followed.name not in wanted.held
        ]
        if split_groups:
            split(self._optimizer, monitor.network.matrices, schedulers)
        self._growing: dict[str, Growing] = {}
        self._now: dict[str, Spread] = {}
        self._stopped = False
        self._handles = [
            self._optimizer.register_step_post_hook(self._after_step),
            self._optimizer.register_load_state_dict_post_hook(self._after_load),
        ]

    @property
    def layers(self) -> tuple[Held, ...]:
        """The layers under control."""
        groups = groups_by_parameter(self._optimizer)
        held = []
        for one in self._matrices:
            name, place = one.followed.name, groups.get(id(one.weight))
            decay = None if place is None else float(self._optimizer.param_groups[place]["weight_decay"])
            now = self._now.get(name)
            held.append(Held(name, self._targets[name], None if now is None else now.j_squared, decay))
        return tuple(held)

    def stop(self) -> None:
        """Control no longer; the decays stay as they are."""
        self._stopped = True
        handles, self._handles = self._handles, []
        for handle in handles:
            handle.remove()

    def _after_load(self, *_: Any) -> None:
        self._growing, self._now = {}, {}

    def _after_step(self, *_: Any) -> None:
        if self._monitor.is_closed:  # it no longer counts steps
            self._stopped = True
        if not self._stopped and self._monitor.steps % self._every == 0:
            self._monitor.guarded(self._control)

    def _control(self) -> None:
        """Look at every layer, and set the decay of every group."""
        step = self._monitor.steps
        found = spreads(self._matrices, self._optimizer)
        self._now = {one.followed.name: now for one, now in zip(self._matrices, found, strict=True)}
        groups, demands = groups_by_parameter(self._optimizer), dict[int, list[tuple[Live, Demand]]]()
        for one, now in zip(self._matrices, found, strict=True):
            place = groups.get(id(one.weight))
            if place is None or now.j_squared is None:
                continue
            setting = setting_of(self._optimizer.param_groups[place], name=type(self._optimizer).__name__)
            rate = decay_rate(setting, adaptivity=now.adaptivity, step=step)
            if rate.per_step is None:
                self.left_alone[one.followed.name] = rate.reason or "its decay is not known"
                continue
            unit = 0.5 * rate.per_step
            growing = self._growing.setdefault(one.followed.name, Growing())
            growing.look(step, now.j_squared, unit, setting.weight_decay)
            demand = demanded(growing, self._targets[one.followed.name], self._gain)
            if demand is not None:
                demands.setdefault(place, []).append((one, demand))
        decays = {place: self._decay_of(place, members) for place, members in demands.items()}
        agreed = _agreed(decays)
        for place, decay in agreed.items():
            self._set(step, place, decay, [one for one, _ in demands[place]])
        if agreed:
            mean = math.fsum(agreed.values()) / len(agreed)
            for one in self._sharing:
                place = groups.get(id(one.weight))
                if place is not None and place not in agreed:
                    self._set(step, place, mean, [one])

    def _decay_of(self, place: int, members: Sequence[tuple[Live, Demand]]) -> float:
        """What the members of a group ask for together, within bounds and no faster than allowed."""
        present = float(self._optimizer.param_groups[place]["weight_decay"])
        return limited([demand for _, demand in members], present, bounds=self._bounds, rate=self._rate)

    def _set(self, step: int, place: int, decay: float, members: Sequence[Live]) -> None:
        group = self._optimizer.param_groups[place]
        before = float(group["weight_decay"])
        if abs(decay - before) <= _WORTH_A_LINE * max(before, decay):
            return
        group["weight_decay"] = decay
        for one in members:
            name = one.followed.name
            now = self._now.get(name)
            change = Change(step, name, before, decay, None if now is None else now.j_squared, self._targets.get(name))
            self._monitor.note_change(change)


def _usual_interval(monitor: Monitor) -> int:
    per_epoch = monitor.steps_per_epoch
    return 100 if per_epoch is None else max(20, math.ceil(per_epoch / 4))


def _agreed(decays: Mapping[int, float]) -> dict[int, float]:
    """The decays of the process of rank 0 in every process, so that their weights stay the same to the last bit."""
    import torch
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return dict(decays)
    places = sorted(decays)
    values = torch.tensor([decays[place] for place in places], dtype=torch.float64)
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    shared = values.to(device)
    dist.broadcast(shared, src=0)
    return dict(zip(places, shared.tolist(), strict=True))
