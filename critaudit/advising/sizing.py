"""How large trial trainings may be: batch size, steps and images within a fixed amount of work.

The work is counted in multiplications, not seconds, so that the same request gives the same numbers everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from critaudit.advice.initial.rates import LONGER
from critaudit.advising.samples import Feed

BATCH = 128
# Multiplications for all candidates together: about a minute of one core.
WORK = 6e12
_CANDIDATES, _RATES, _CONFIRMATIONS, _CURVATURE, _PASSES = 8, 4, 2, 60, 4
_SMALL_BATCH, _SMALLEST_BATCH, _FEWEST_STEPS = 16, 8, 16


@dataclass(frozen=True, slots=True, eq=False)
class Size:
    """What every candidate is tried on, and for how long. `notes` say what differs from the usual, and why."""

    feed: Feed
    batch_size: int
    steps: int
    sharpness: bool
    notes: tuple[str, ...]

    @property
    def work(self) -> float:
        """Multiplications of all trials: a backward pass counts as two forward ones."""
        looks = _CURVATURE if self.sharpness else 0
        passes = _CANDIDATES * (self.steps + _PASSES + looks) + (_RATES + _CONFIRMATIONS * LONGER) * self.steps
        return 3.0 * passes * self.batch_size * self.feed.work


def fitting(feeds: Iterable[Feed], *, batch_size: int | None, steps: int, most: float = WORK) -> Size:
    """The first size within the work `most`, or the smallest where none is.

    Random images are made smaller first, then batches; last, sharpness is left out and steps are fewer. `batch_size`
    and `steps` are those asked for, in the first place.
    """
    smallest = None
    for smallest in _ladder(list(feeds), batch_size or BATCH, steps):
        if smallest.work <= most:
            return smallest
    assert smallest is not None, "there is no way to feed the network"
    return smallest


def _ladder(feeds: list[Feed], batch: int, steps: int) -> Iterator[Size]:
    def size(feed: Feed, size_: int, steps_: int, sharpness: bool) -> Size:
        notes = [feed.note] if feed.note else []
        if size_ != batch:
            notes.append(f"batches have {size_} samples instead of {batch}")
        if steps_ != steps:
            notes.append(f"{steps_} steps are made instead of {steps}")
        if not sharpness:
            notes.append("sharpness is not measured")
        return Size(feed, size_, steps_, sharpness, (f"to end soon, {', '.join(notes)}",) if notes else ())

    for feed in feeds:
        yield size(feed, batch, steps, True)
    last, smaller = feeds[-1], batch
    while smaller > _SMALL_BATCH:
        smaller = max(smaller // 2, _SMALL_BATCH)
        yield size(last, smaller, steps, True)
    yield size(last, smaller, steps, False)
    yield size(last, min(smaller, _SMALLEST_BATCH), min(steps, _FEWEST_STEPS), False)
