"""Many independent Markov paths at once: a slot whose path has ended starts the next, so that no slot ever idles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from critaudit.dynamics.avalanches.tracking import Floats, Tracker
from critaudit.laws.crackling.records import Array, AvalancheCounts, Integers
from critaudit.laws.crackling.tally import tally

# Of large ensembles, every eighth path is followed layer by layer for profiles and regression sums; of deep ones fewer,
# so that the layers that are remembered take 64 MB at most.
_FOLLOWED = 8
_REMEMBERED = 2**24


class Steps(Protocol):
    """How a path goes on. A state is all that the next layer depends on; one float32 per path."""

    @property
    def slots(self) -> int:
        """How many paths are best worked on side by side."""

    def start(self, count: int) -> Floats:
        """States of `count` new paths before their first layer."""

    def strength(self, state: Floats) -> Floats:
        """Strength s of the next layer, drawn given the state (a new array)."""

    def advance(self, strength: Floats) -> Floats:
        """The states after that layer, drawn given all that `strength` drew (a new array)."""


@dataclass(frozen=True, slots=True)
class Task:
    """A block of whole clusters: `clusters` times `paths_each` paths of at most `depth` layers, threshold θ."""

    clusters: int
    paths_each: int
    depth: int
    width: int
    threshold: float


class _Slots:
    """What is known of the path in each slot: its number, the layers behind it and the sum of s − θ over them."""

    def __init__(self, count: int, followed: int, depth: int) -> None:
        self.path = np.arange(count)
        self.layer = np.zeros(count, np.int32)
        self.excess = np.zeros(count, np.float32)
        # Strengths above threshold by slot and layer, for the first slots.
        self.history = np.zeros(followed * depth, np.float32)
        self.row = np.arange(0, followed * depth, depth)


def run(task: Task, steps: Steps) -> AvalancheCounts:
    """All paths of the block from first to last layer, as statistics per cluster."""
    tracker = Tracker(task.depth, task.clusters, task.threshold)
    lasting, excess = endings(task, steps, tracker)
    profiles, lags = tracker.finish()
    return tally(
        lasting,
        task.width * (excess + task.threshold * lasting),
        task.width * excess,
        np.repeat(np.arange(task.clusters), task.paths_each),
        depth=task.depth,
        cluster_count=task.clusters,
        threshold=task.threshold,
        lags=lags,
        profiles=profiles,
    )


def endings(task: Task, steps: Steps, tracker: Tracker | None = None) -> tuple[Integers, Array]:
    """For each path, in how many layers it is above threshold (`depth`: censored), and Σ (s − θ) over them.

    Which slot a path runs in does not depend on what becomes of it, so the paths of some slots are a fair sample; their
    layers are handed to the `tracker`.
    """
    paths, depth = task.clusters * task.paths_each, task.depth
    count = min(steps.slots, paths)
    followed = count if paths < 4 * count else count // _FOLLOWED
    followed = min(followed, max(1, _REMEMBERED // depth)) if tracker is not None else 0
    slots = _Slots(count, followed, depth)
    lasting, excess = np.zeros(paths, np.int64), np.zeros(paths)
    state, started, theta = steps.start(count), count, np.float32(task.threshold)
    while slots.path.size:
        s = steps.strength(state)
        over = s - theta
        slots.history[slots.row + slots.layer[: slots.row.size]] = over[: slots.row.size]
        below = over < 0
        slots.layer += 1
        ended = np.flatnonzero(below | (slots.layer == depth))
        state = steps.advance(s)
        if not ended.size:
            slots.excess += over
            continue
        fell = below[ended]
        over[ended[fell]] = 0.0
        slots.excess += over
        done, layers = slots.path[ended], slots.layer[ended] - fell
        lasting[done] = layers
        excess[done] = slots.excess[ended]
        if tracker is not None:
            _follow(slots, ended, layers, done // task.paths_each, tracker)
        fresh = min(ended.size, paths - started)
        again = ended[:fresh]
        state[again] = steps.start(fresh)
        slots.path[again] = np.arange(started, started + fresh)
        slots.layer[again], slots.excess[again] = 0, 0.0
        started += fresh
        if fresh < ended.size:
            state = _shrink(slots, ended[fresh:], state)
    return lasting, excess


def _follow(
    slots: _Slots, ended: NDArray[np.intp], layers: NDArray[np.int32], clusters: Integers, tracker: Tracker
) -> None:
    """Hand the followed ones among the ended avalanches to the tracker."""
    chosen = (ended < slots.row.size) & (layers > 0)
    if not chosen.any():
        return
    lasting = layers[chosen].astype(np.int64)
    begin = np.cumsum(lasting) - lasting
    place = np.repeat(slots.row[ended[chosen]] - begin, lasting)
    place += np.arange(place.size)
    tracker.add(slots.history[place], lasting, clusters[chosen])


def _shrink(slots: _Slots, gone: NDArray[np.intp], state: Floats) -> Floats:
    stay = np.delete(np.arange(slots.path.size), gone)
    slots.path, slots.layer, slots.excess = slots.path[stay], slots.layer[stay], slots.excess[stay]
    slots.row = slots.row[stay[stay < slots.row.size]]
    return state[stay]
