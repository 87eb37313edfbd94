"""Axes: their titles, whole-number depths, and logarithmic scales with ticks in plain signs."""

from __future__ import annotations

import math
from typing import Any

from critaudit.report.figures.points import Point

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Values that span more than this factor are drawn on a logarithmic axis.
_WIDE = 30.0


def axis(title: str, **options: Any) -> dict[str, Any]:
    """An axis with a title."""
    return {"title": {"text": title}} | options


def depth(drawn: list[Point]) -> dict[str, Any]:
    """Places of layers: whole numbers only; few layers are ticked one by one."""
    last = max((point.place for point in drawn), default=1)
    ticks = {"dtick": 1} if last <= 12 else {}
    return axis("layer, in the order of the model", range=[0.4, last + 0.6], tickformat="d", **ticks)


def scale(values: list[float]) -> dict[str, Any]:
    """A logarithmic axis where positive values span more than a factor of 30; {} otherwise."""
    if min(values) <= 0 or math.log10(max(values)) - math.log10(min(values)) < math.log10(_WIDE):
        return {}
    return logarithmic(values)


def logarithmic(values: list[float]) -> dict[str, Any]:
    """A logarithmic axis for positive values, ticked at powers of ten (at 2 and 5 as well where they span little).

    The ticks are spelled out where they get long: plotly's own powers need style attributes, which the page forbids.
    """
    if not values:
        return {"type": "log"}
    exponents = [math.log10(value) for value in values]
    low, high = math.floor(min(exponents)), math.ceil(max(exponents))
    if high - low < 2:
        narrow = max(exponents) - min(exponents) < 0.7
        return {"type": "log", "dtick": "D1" if narrow else "D2", "exponentformat": "none"}
    step = 1 + (high - low) // 10
    powers = [power for power in range(low - step, high + step + 1, step) if -308 < power < 309]
    labels = [_power_of_ten(power) for power in powers]
    return {"type": "log", "tickvals": [10.0**power for power in powers], "ticktext": labels}


def _power_of_ten(power: int) -> str:
    return f"{10.0**power:g}" if -4 < power < 5 else f"10{str(power).translate(_SUPERSCRIPTS)}"
