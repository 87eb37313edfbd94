"""Taking up a training that has a log already: is it the same one, and how far is it?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from critaudit.errors import UsageError
from critaudit.training.followed import Followed
from critaudit.training.log import Log, LogFile, read_log
from critaudit.training.records import Header, LayerNow, Record

How: TypeAlias = Literal["given", "optimizer", "weights", "new"]


@dataclass(frozen=True, slots=True)
class Start:
    """The step that a training starts from, and how that is known."""

    step: int
    how: How


def earlier(path: Path, file: LogFile, header: Header) -> Log | None:
    """The log that `file` goes on with, None where it is new. Raises UsageError where it is of another network."""
    if file.is_empty:
        return None
    found = read_log(path)
    known, now = _outline(found.header.layers), _outline(header.layers)
    if known != now:
        differing = sorted(set(known) ^ set(now))
        raise UsageError(
            f"{path}: this log is of another network ({found.header.model}, {len(known)} matrices; "
            f"first difference: {differing[0][0] if differing else 'their order'}); give another path"
        )
    return found


def start_of(given: int | None, counted: int | None, log: Log | None, now: Sequence[LayerNow]) -> Start:
    """Where the training starts: as given, as the optimizer counts, else as the weights say.

    An optimizer without a counter (SGD) leaves it open whether its training was taken up or begun anew. The record in
    the log whose spreads are nearest to the present ones tells: its step is taken.
    """
    if given is not None:
        return Start(given, "given")
    if counted is not None:
        return Start(counted, "optimizer")
    if log is None or not log.records:
        return Start(0, "new")
    nearest = min(log.records, key=lambda record: (_distance(record, now), -record.step))
    return Start(nearest.step, "weights")


def _distance(record: Record, now: Sequence[LayerNow]) -> float:
    """Between the spreads of a record and the present ones: relative in J², in units of J for J₀."""
    total = 0.0
    for one, other in zip(record.layers, now, strict=True):
        if not one.j_squared or not other.j_squared or one.j0 is None or other.j0 is None:
            total += 1.0
            continue
        total += math.log(one.j_squared / other.j_squared) ** 2 + (one.j0 - other.j0) ** 2 / other.j_squared
    return total


def _outline(layers: Sequence[Followed]) -> list[tuple[str, tuple[int, ...]]]:
    return [(layer.name, layer.shape) for layer in layers]
