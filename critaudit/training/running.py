"""Advice on weight decay from a training that runs; that it is not determined yet is the usual case at first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from critaudit.errors import CritauditError
from critaudit.report import Advice
from critaudit.report.wording import interval, within

if TYPE_CHECKING:
    from critaudit.advice import WeightDecayAdvice
    from critaudit.advice.course import Course


def advised(course: Course) -> WeightDecayAdvice | str:
    """What the course advises, or in one line why it can advise nothing."""
    from critaudit.advice import weight_decay

    try:
        return weight_decay(course)
    except CritauditError as error:
        return str(error)


def in_short(course: Course) -> str | None:
    """The advised weight decay with its interval in a few signs; None where it is not determined."""
    found = advised(course)
    if isinstance(found, str) or found.weight_decay.number is None:
        return None
    ends = found.weight_decay.interval
    return within(found.weight_decay.number, ends, 2) + ("" if ends is None else f" ({interval(ends, 2)})")


def for_report(course: Course) -> tuple[tuple[Advice, ...], str]:
    """Rows for a report, and the sentence that says what they come to or why there are none."""
    found = advised(course)
    if isinstance(found, str):
        return (), f"No weight decay is advised: {found.rstrip('.')}."
    value, ends = found.weight_decay.number, found.weight_decay.interval
    if value is None:
        reason = found.weight_decay.reason or "it is not determined"
        return (), f"No weight decay is advised: {reason.rstrip('.')}."
    between = "" if ends is None else f" ({interval(ends)})"
    return found.advice_items(), f"Advised weight decay: {within(value, ends)}{between}."
