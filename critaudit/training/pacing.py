"""When to record: dense at first, then so that what it costs stays a stated share of the training's time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence

from critaudit.errors import UsageError

# Records never come closer than this share of the steps so far: a long training must not fill memory and disk.
_FINEST = 1.0 / 512.0
_KEPT = 32
_WORST = 4.0  # a pause (validation, saving) counts as at most so many usual steps
# At first, steps 1, 2, 4, … are recorded beyond the share: as long as that costs no more than this part of the time so
# far and this many seconds. It is paid back: later records wait until all that was spent is within the share.
_AT_FIRST, _CREDIT = 0.02, 0.05
# The shares of the training's time that the kinds of measurement may take, well within 2 %: some of what they cost
# cannot be timed from inside (the slower way through PyTorch's calls, cold caches; `benchmarks/monitor.py`).
_SHARES = {"weights": 0.006, "tails": 0.003, "spectra": 0.002}
# With a fixed number of steps, how many times less often the slower kinds come.
_SLOWER = {"weights": 1, "tails": 10, "spectra": 50}


class Clock:
    """The training's own time: seconds without the monitor's. A pause counts as four usual steps at most."""

    __slots__ = ("_place", "_recent", "_worst", "seconds", "usual")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.usual: float | None = None
        self._recent: list[float] = []
        self._place, self._worst = 0, math.inf

    def step(self, seconds: float) -> None:
        """One more step, and how long it took without the monitor. Called at every step: it must cost nothing."""
        recent, place = self._recent, self._place
        self.seconds += seconds if seconds < self._worst else self._worst
        if len(recent) < _KEPT:
            recent.append(seconds)
        else:
            recent[place % _KEPT] = seconds
        self._place = place + 1
        if place < 8 or place % 64 == 0:
            self.usual = sorted(recent)[len(recent) // 2]
            self._worst = _WORST * self.usual


class Pace:
    """Decides which steps are recorded, for one kind of measurement.

    With `every`, each multiple of it (and step 1). Else steps 1, 2, 4, 8, … until the time spent is within `share` of
    the training's, and from then on as often as that share allows, yet never closer than a 512th of the steps so far.
    Without `early` it waits for its share from the beginning. `spent` is the time spent on the measurement so far, in
    seconds, and `count` how often it was made.
    """

    def __init__(self, *, every: int | None = None, share: float = 0.02, early: bool = True) -> None:
        self._every, self._share, self._early = every, share, early
        self._last: int | None = None
        self._costs: deque[float] = deque(maxlen=5)
        self.spent = 0.0
        self.count = 0

    def following(self, step: int, clock: Clock) -> int:
        """The next step to measure, as it looks after step `step`; always a later one."""
        soonest = step + 1
        if self._last is None:
            return soonest
        if self._every is not None:
            return soonest if self._last < 1 else soonest + (-soonest % self._every)
        if clock.usual is None or clock.usual <= 0.0:
            return max(soonest, 2 * self._last) if self._early else soonest + _KEPT
        then = self.spent + self.cost
        waiting = math.ceil((then / self._share - clock.seconds) / clock.usual)
        # Cumulated shares leave room for several records at once, after a wait: half of the usual distance is kept.
        apart = max(math.ceil(self._last * _FINEST), math.ceil(0.5 * self.cost / (self._share * clock.usual)))
        within_share = max(soonest, self._last + apart, step + waiting)
        if not self._early:
            return within_share
        doubled = max(soonest, 2 * self._last)
        seconds = clock.seconds + (doubled - step) * clock.usual
        return min(within_share, doubled) if then <= _AT_FIRST * seconds + _CREDIT else within_share

    def done(self, step: int, seconds: float) -> None:
        """Step `step` was measured, and it took so long."""
        self._last = step
        self._costs.append(seconds)
        self.spent += seconds
        self.count += 1

    @property
    def cost(self) -> float:
        """What a measurement costs, in seconds: the median of the last five, 0 before the first."""
        return sorted(self._costs)[len(self._costs) // 2] if self._costs else 0.0

    def interval(self, clock: Clock) -> int | None:
        """Steps between measurements that the share allows at present, None where it is not known yet."""
        if self._every is not None:
            return self._every
        if not clock.usual or not self._costs:
            return None
        return max(1, math.ceil(self.cost / (self._share * clock.usual)), math.ceil((self._last or 0) * _FINEST))


def paces(every: int | Mapping[str, int] | None, kinds: Sequence[str]) -> dict[str, Pace]:
    """The pace of each kind of measurement; a number of steps is that of the weights, others come less often.

    Raises UsageError for a number below 1 and for an unknown kind.
    """
    given: Mapping[str, int]
    if isinstance(every, Mapping):
        given = every
    else:
        given = {} if every is None else {kind: every * times for kind, times in _SLOWER.items()}
    for kind, steps in given.items():
        if kind not in _SHARES:
            raise UsageError(f"every: {kind!r} is no kind of measurement; {', '.join(_SHARES)} are")
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise UsageError(f"every is {steps!r}; a number of steps from 1 on is expected")
    unused = sum(share for kind, share in _SHARES.items() if kind not in kinds)
    return {
        kind: Pace(
            every=given.get(kind),
            share=_SHARES[kind] + (unused if kind == "tails" else 0.0),
            early=kind == "weights",
        )
        for kind in kinds
    }


class Schedule:
    """Which step is recorded next (`following`), and what of it (`kinds`)."""

    def __init__(self, every: int | Mapping[str, int] | None, kinds: Sequence[str]) -> None:
        self.clock, self.paces = Clock(), paces(every, kinds)
        self.following = 0
        self.kinds: frozenset[str] = frozenset()

    def plan(self, step: int) -> None:
        """Look at it anew after step `step`."""
        following = {kind: pace.following(step, self.clock) for kind, pace in self.paces.items()}
        self.following = min(following.values())
        self.kinds = frozenset(kind for kind, due in following.items() if due <= self.following)
