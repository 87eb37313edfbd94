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
    margin = max(0.6, 0.02 * last)
    return axis(
        "layer, in the order of the model", range=[max(1 - margin, 0.1), last + margin], tickformat="d", **ticks
    )


def scale(values: list[float]) -> dict[str, Any]:
    """A logarithmic axis where positive values span more than a factor of 30; {} otherwise."""
    if min(values) <= 0 or math.log10(max(values)) - math.log10(min(values)) < math.log10(_WIDE):
        return {}
    return logarithmic(values)


def logarithmic(values: list[float]) -> dict[str, Any]:
    """A logarithmic axis for positive values, ticked at powers of ten, more densely where they span less than two.

    The ticks are spelled out: plotly's own leave a short axis with one, and its powers need style attributes, which the
    page forbids.
    """
    if not values:
        return {"type": "log"}
    exponents = [math.log10(value) for value in values]
    low, high = math.floor(min(exponents)), math.ceil(max(exponents))
    span = max(exponents) - min(exponents)
    if span < 2.0 and low > -300 and high < 300:
        ticks = _even_ticks(min(values), max(values)) if 0.0 < span < 0.7 else _one_two_five(low - 1, high + 1)
        return {"type": "log", "tickvals": ticks, "ticktext": [_label(tick) for tick in ticks]}
    step = 1 + (high - low) // 10
    powers = [power for power in range(low - step, high + step + 1, step) if -308 < power < 309]
    labels = [_power_of_ten(power) for power in powers]
    return {"type": "log", "tickvals": [10.0**power for power in powers], "ticktext": labels}


def _even_ticks(low: float, high: float) -> list[float]:
    """Round numbers in even steps, some five between `low` and `high` and a few beyond for intervals."""
    spread = max(high - low, 1e-6 * high)
    wanted = spread / 5
    power = 10.0 ** math.floor(math.log10(wanted))
    step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= 0.999 * wanted)
    first, last = math.floor((low - spread) / step), math.ceil((high + spread) / step)
    return [float(f"{place * step:.9g}") for place in range(first, last + 1) if place > 0]


def _one_two_five(low: int, high: int) -> list[float]:
    """1, 2 and 5 times the powers of ten from `low` to `high`."""
    return [float(f"{digit}e{power}") for power in range(low, high + 1) for digit in (1, 2, 5)]


def _label(tick: float) -> str:
    mantissa, power = f"{tick:.8e}".split("e")
    if -4 < int(power) < 5:
        return f"{tick:.9g}"
    factor = "" if float(mantissa) == 1.0 else f"{float(mantissa):g}·"
    return f"{factor}10{str(int(power)).translate(_SUPERSCRIPTS)}"


def _power_of_ten(power: int) -> str:
    return f"{10.0**power:g}" if -4 < power < 5 else f"10{str(power).translate(_SUPERSCRIPTS)}"
