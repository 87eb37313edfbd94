"""The growth of one layer's J² from whatever is known of its training: a record, a balance, or one moment."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from critaudit.advice.decaying.growth import FEWEST, fit_growth
from critaudit.advice.decaying.timeline import Array, Timeline
from critaudit.report.wording import number, plural, share

# Of J² at the edge: growth is measured on records up to here where there are enough of them.
_NEAR_EDGE = 1.25
# Memory of the start, e^{−rt}, below which a layer under decay counts as balanced.
_FORGOTTEN = 0.05
# What J² may change over the time of the whole record where its decay's rate is not known and balance is assumed.
_FLAT = 0.1
# Growth from two moments: what the transient at the beginning may add or take (reports/advice, after three epochs).
_TRANSIENT, _EPOCHS = 0.4, 3.0


@dataclass(frozen=True, slots=True)
class LayerGrowth:
    """G per unit of the optimizer's time with its 95 % interval, as measured where J² was `at`.

    `balance` is G in units of the present decay's pull, G = balance·wd·2u…: set where only the balance is known and
    not the rate: then `value` and `interval` are None, and the decay for a target is wd·balance/J*². `note` is what to
    know about it.
    """

    value: float | None
    interval: tuple[float, float] | None
    at: float
    n: int
    method: str
    note: str | None = None
    balance: tuple[float, float, float] | None = None


def layer_growth(
    line: Timeline, target: float | None, *, initial: float | None, epochs: float | None
) -> LayerGrowth | str:
    """G of a layer, or the reason why it is not determined.

    `target` is J*² where the layer has one, `initial` J² before the first step where that is known otherwise, `epochs`
    the number of epochs so far. In this order: the fit over the records, up to the edge where the record passes it;
    for fewer than four records the balance under decay, if the decay had the time to bring it about, or the mean
    growth since `initial`; the balance of a flat J² where the rate of decay is not known.
    """
    if line.setting.lr == 0.0:
        return "the learning rate is 0: nothing grows"
    if line.rates is None:
        return _balance(line)
    line, passed = _up_to_edge(line, target)
    if len(line.times) < FEWEST:
        return _from_one(line, initial, epochs)
    if passed is None and target is not None and line.j_squared[-1] > _NEAR_EDGE * target and not line.decays:
        return (
            f"J² = {number(float(line.j_squared[-1]))} is beyond the edge, J*² = {number(target)}, in all records or "
            "before there were enough of them: growth is not linear there, and without decay nothing says what "
            "balances it at the edge; records from the beginning of the training are needed"
        )
    found = fit_growth(line.times, line.j_squared, decay_rate=line.rates)
    if found.slope is None or found.interval is None:
        return found.reason or "the growth of J² is not determined"
    note = passed
    if passed is None and target is not None and line.j_squared[-1] > _NEAR_EDGE * target:
        note = f"measured beyond the edge, where J² = {number(float(line.j_squared[-1]))}; there growth is another"
    return LayerGrowth(found.slope, found.interval, float(line.j_squared[-1]), found.n, found.method or "", note)


def _up_to_edge(line: Timeline, target: float | None) -> tuple[Timeline, str | None]:
    """The records up to the edge where J² passes it and enough of them lie before; and that it is so."""
    if target is None or line.j_squared[-1] <= _NEAR_EDGE * target:
        return line, None
    beyond = np.flatnonzero(line.j_squared > _NEAR_EDGE * target)
    first = int(beyond[0])
    if first < FEWEST or line.j_squared[0] > target:
        return line, None
    from dataclasses import replace

    rates = None if line.rates is None else line.rates[:first]
    cut = replace(
        line, times=line.times[:first], j_squared=line.j_squared[:first], steps=line.steps[:first], rates=rates
    )
    return cut, f"J² passed the edge at step {line.steps[first]:g}; growth is that of the records until then"


def _from_one(line: Timeline, initial: float | None, epochs: float | None) -> LayerGrowth | str:
    """G from the last record alone: by the balance under decay, else by what J² was at the beginning."""
    now, rate = float(line.j_squared[-1]), line.rate or 0.0
    held = f"{plural(len(line.times), 'record')} of J²"
    if line.age <= 0.0:
        return f"{held}, and the number of steps since the start is not known: give steps=, or earlier checkpoints"
    left = math.exp(-rate * line.age)
    if rate > 0.0 and left <= _FORGOTTEN:
        value = rate * now
        largest = max(2.0 * now, 2.0)  # J² at the start, if it was not given
        low = rate * max(now - left * (largest if initial is None else initial), 0.0) / (1.0 - left)
        how = f"G = r·J² at balance: {number(rate * line.age)} of the decay's times left {share(left)} of the start"
        note = "one moment: J² is taken to be balanced, and learning rate and decay to have been as they are"
        return LayerGrowth(value, (min(low, value), value / (1.0 - left)), now, 1, how, note)
    if initial is None:
        pace = f" (after {number(rate * line.age)} of the decay's own times)" if rate > 0.0 else ", without decay"
        return (
            f"{held} says nothing of growth{pace}: give a log, {FEWEST} or more checkpoints of the training, or "
            "initial_j_squared= and steps="
        )
    if epochs is not None and epochs < _EPOCHS:
        return f"{number(epochs)} epochs are too few for a mean growth: the first {_EPOCHS:g} are a transient"
    value = rate * (now - left * initial) / (1.0 - left) if rate > 0.0 else (now - initial) / line.age
    if value <= 0.0:
        return f"J² fell from {number(initial)} to {number(now)} beside its decay: there is no growth to balance"
    note = (
        f"mean growth since the start, whose transient may make it wrong by {share(_TRANSIENT)}: the interval says so"
    )
    ends = ((1.0 - _TRANSIENT) * value, (1.0 + _TRANSIENT) * value)
    return LayerGrowth(value, ends, now, 2, "growth from J² at the start and now", note)


def _balance(line: Timeline) -> LayerGrowth | str:
    """Where the rate of decay is not known: J² that no longer changes is held by decay, whatever its rate."""
    reason = line.unit.reason or "the rate of decay is not known"
    later = line.j_squared[len(line.j_squared) // 2 :]
    if len(later) < FEWEST:
        return reason
    times = line.times[len(line.times) // 2 :]
    drift, error = _slope(times, later)
    mean, span = float(np.mean(later)), float(line.times[-1] - line.times[0])
    if (abs(drift) + error) * span > _FLAT * mean:
        return f"{reason}; and J² still changes, so that it is no balance either"
    spread = 1.96 * float(np.std(later)) / math.sqrt(len(later)) + (abs(drift) + error) * span
    how = "proportional rule: J² is flat over the second half of the records, so decay balances growth"
    note = f"{reason}, so J² is taken to be balanced because it is flat"
    return LayerGrowth(None, None, mean, len(later), how, note, balance=(mean - spread, mean, mean + spread))


def _slope(times: Array, values: Array) -> tuple[float, float]:
    """Least-squares slope and two standard errors."""
    x, y = times - times.mean(), values - values.mean()
    slope = float(x @ y / (x @ x))
    residual = y - slope * x
    return slope, 2.0 * math.sqrt(float(residual @ residual) / max(len(x) - 2, 1) / float(x @ x))
