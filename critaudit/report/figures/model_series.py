"""Series and numbers of the whole model, as figures need them: what was not measured is empty, not an error."""

from __future__ import annotations

import math

from critaudit.report import wording
from critaudit.report.figures.points import safe
from critaudit.report.record import Report


def numbers(report: Report, identifier: str) -> list[float]:
    """A series of numbers; empty where it was not measured or is none."""
    return [float(value) for value in _values(report, identifier) if isinstance(value, (int, float))]


def texts(report: Report, identifier: str) -> list[str]:
    """A series of texts; empty where it was not measured."""
    return [str(value) for value in _values(report, identifier)]


def number(report: Report, identifier: str) -> float:
    """A number; NaN where it was not measured."""
    held = report.model.get(identifier)
    return held.number if held is not None and held.number is not None else math.nan


def shown(report: Report, identifier: str) -> str:
    """A number with its interval in words, or that there is none."""
    held = report.model.get(identifier)
    return "undetermined" if held is None else safe(wording.with_interval(held))


def with_corrected(report: Report, identifier: str) -> str:
    """A plain fit's number, and after it the one corrected for scaling with its interval, if there is one."""
    plain, corrected = (report.model.get(f"{identifier}{end}") for end in ("", "_corrected"))
    if plain is None or corrected is None or corrected.status != "measured":
        return shown(report, identifier)
    return safe(f"{wording.value(plain)}, corrected {wording.with_interval(corrected)}")


def _values(report: Report, identifier: str) -> tuple[object, ...]:
    held = report.model.get(identifier)
    value = held.value if held is not None and held.status == "measured" else None
    return tuple(value) if isinstance(value, tuple) else ()
