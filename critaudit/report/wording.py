"""Numbers, sizes and statuses as a reader sees them: three significant figures, or as many as the interval has."""

from __future__ import annotations

import math

from critaudit.measurement import Measurement

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_THIN_SPACE = "\u202f"  # does not break, and copies as a space
_STATUS_WORDS = {"not_applicable": "not applicable", "undetermined": "undetermined", "failed": "failed"}


def number(value: float, figures: int = 3) -> str:
    """`value` with `figures` significant figures; powers of ten outside 10⁻³ … 10⁵; integers in full.

    >>> number(0.0123456), number(1.5e-7), number(256)
    ('0.0123', '1.50·10⁻⁷', '256')
    """
    if isinstance(value, int):
        return count(value) if abs(value) < 10**15 else number(float(value), figures)
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    mantissa, exponent = f"{value:.{figures - 1}e}".split("e")
    power = int(exponent)
    if -4 < power < 5:
        decimals = max(figures - 1 - power, 0)
        shown = f"{round(value, figures - 1 - power):,.{decimals}f}".replace(",", _THIN_SPACE)
    else:
        shown = f"{mantissa}·10{str(power).translate(_SUPERSCRIPTS)}"
    return shown.replace("-", "−")


def count(value: int) -> str:
    """An integer with narrow spaces between its thousands."""
    return f"{value:,}".replace(",", _THIN_SPACE).replace("-", "−")


def interval(ends: tuple[float, float], figures: int = 3) -> str:
    """Both ends, with as many figures as it takes to tell them apart; as usual where six do not."""
    low, high = (within(float(end), ends, figures) for end in ends)
    return f"{low} – {high}"


def within(value: float, ends: tuple[float, float] | None, figures: int = 3) -> str:
    """`value` with as many figures as its interval has: rounded alike, it stays inside wherever it is inside.

    >>> within(0.99367, (0.99351, 0.99379)), within(0.99367, (0.98, 1.1)), within(0.99367, None)
    ('0.9937', '0.994', '0.994')
    """
    if ends is None:
        return number(value, figures)
    low, high = (float(end) for end in ends)
    telling = (more for more in range(figures, 7) if number(low, more) != number(high, more))
    return number(float(value), next(telling, figures))


def value(measurement: Measurement) -> str:
    """A measurement's value in words: its number, text or list, or its status where it has no value.

    A number has the figures of its interval, whether that is shown beside it or not.
    """
    held = measurement.value
    if measurement.status != "measured" or held is None:
        return status(measurement.status)
    if isinstance(held, bool):
        return "yes" if held else "no"
    if isinstance(held, (int, float)):
        return within(held, measurement.interval)
    if isinstance(held, str):
        return held
    shown = ", ".join(item if isinstance(item, str) else number(item) for item in held[:8])
    return f"{shown}, … ({len(held)} values)" if len(held) > 8 else shown or "none"


def with_interval(measurement: Measurement) -> str:
    """The value, and its interval in brackets where there is one."""
    shown = value(measurement)
    if measurement.status == "measured" and measurement.interval is not None:
        return f"{shown} ({interval(measurement.interval)})"
    return shown


def status(word: str) -> str:
    """A status as people say it."""
    return _STATUS_WORDS.get(word, word)


def share(part: float) -> str:
    """A share in [0, 1] as per cent; "100 %" and "0 %" only where they are exact.

    >>> share(0.99999), share(1.0), share(0.5)
    ('> 99.9 %', '100 %', '50.0 %')
    """
    if part in (0.0, 1.0):
        return f"{part:.0%}".replace("%", " %")
    if part > 0.9995:
        return "> 99.9 %"
    return "< 0.1 %" if part < 0.0005 else f"{100 * part:.1f} %"


def amount(value: int) -> str:
    """A number of parameters: 784, 23.5 thousand, 11.7 million, 1.20 billion."""
    for size, word in ((10**9, "billion"), (10**6, "million"), (10**4, "thousand")):
        if value >= size:
            return f"{value / (size if size > 10**4 else 10**3):.3g} {word}"
    return count(value)


def size(octets: int) -> str:
    """A number of bytes in decimal units."""
    for power, unit in ((9, "GB"), (6, "MB"), (3, "kB")):
        if octets >= 10**power:
            return f"{octets / 10**power:.3g} {unit}"
    return f"{octets} bytes"


def shape(dimensions: tuple[int, ...]) -> str:
    """64 × 3 × 7 × 7."""
    return " × ".join(str(dimension) for dimension in dimensions) or "scalar"


def plural(number_of: int, singular: str, several: str | None = None) -> str:
    """1 layer, 2 layers, 1 matrix, 2 matrices."""
    word = singular if number_of == 1 else several or f"{singular}s"
    return f"{count(number_of)} {word}"
