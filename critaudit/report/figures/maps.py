"""Maps of a quantity over a plane, by the colour of its value or its logarithm, with a scale in the right margin."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from critaudit.report.figures.points import rounded

# The same colours in both themes, for all kinds of sight: lines of _ON_MAP are seen on it, on white and on black.
_SCALE = ((0.0, "#22304a"), (0.35, "#4a6285"), (0.7, "#86a5c4"), (1.0, "#d3e4f3"))
EDGE, WIDOM, WIDOM_BY_SQUARE = "#e8590c", "#d6409f", "#2f9e44"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_BOTTOM, _HEIGHT = 0.1, 0.75


def colour_map(
    x: Sequence[float],
    y: Sequence[float],
    values: Sequence[float],
    *,
    name: str,
    sign: str,
    hover: str,
    texts: Sequence[str],
    floor: float | None = None,
) -> dict[str, Any]:
    """The trace of a map whose cells are (x, y) with a value and a text each, all of one length.

    With a positive `floor`, logarithms are shown, and cells below it have its colour; without one, values. Places
    without a cell, or whose value is NaN, stay empty. `sign` stands above the scale; `hover` is the hover template,
    in which %{text} is the cell's own.
    """
    columns, rows = sorted(set(x)), sorted(set(y))
    cells = {
        (across, up): value if floor is None else math.log10(max(value, floor))
        for across, up, value in zip(x, y, values, strict=False)
        if not math.isnan(value)
    }
    told = dict(zip(zip(x, y, strict=False), texts, strict=False))
    low = math.log10(floor) if floor is not None else min(cells.values(), default=0.0)
    high = max(cells.values(), default=low)
    return {
        "type": "heatmap",
        "name": name,
        "x": columns,
        "y": rows,
        "z": [[rounded(cells[across, up]) if (across, up) in cells else None for across in columns] for up in rows],
        "zmin": rounded(low),
        "zmax": rounded(max(high, low + 1e-3 * max(abs(low), 1e-9))),
        "meta": {"logarithmic": floor is not None, "sign": sign},
        "colorscale": [list(step) for step in _SCALE],
        # plotly's own colour bar, and its sharp cells, set style attributes, which the page forbids.
        "showscale": False,
        "zsmooth": "fast",
        "text": [[told.get((across, up)) for across in columns] for up in rows],
        "hovertemplate": f"{hover}<extra></extra>",
        "hoverongaps": False,
        "showlegend": False,
    }


def colour_bar(trace: dict[str, Any]) -> dict[str, Any]:
    """Layout (shapes, annotations, margin) of the scale of a `colour_map`, with the quantity's sign above it."""
    low, high, steps = trace["zmin"], trace["zmax"], 48
    bar = [
        {
            "type": "rect",
            "xref": "paper",
            "yref": "paper",
            "x0": 1.02,
            "x1": 1.04,
            "y0": round(_BOTTOM + _HEIGHT * step / steps, 4),
            "y1": round(_BOTTOM + _HEIGHT * min(step + 1.5, steps) / steps, 4),  # a little over, or seams would show
            "fillcolor": _colour((step + 0.5) / steps),
            "line": {"width": 0},
        }
        for step in range(steps)
    ]
    place = {"xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "middle", "bgcolor": "rgba(0,0,0,0)"}
    texts = [
        place | {"x": 1.045, "y": _BOTTOM + _HEIGHT * (tick - low) / (high - low), "text": text}
        for tick, text in ticks(trace)
    ]
    texts.append(place | {"x": 1.02, "y": 0.93, "text": trace["meta"]["sign"]})
    return {"shapes": bar, "annotations": texts, "margin": {"r": 72}}


def ticks(trace: dict[str, Any]) -> list[tuple[float, str]]:
    """Places on the scale of a map and their numbers: powers of ten and three times those, or even steps."""
    low, high = trace["zmin"], trace["zmax"]
    if not trace["meta"]["logarithmic"]:
        step = 10.0 ** math.floor(math.log10((high - low) / 2.0))
        step *= 5.0 if (high - low) / step > 10.0 else 2.0 if (high - low) / step > 5.0 else 1.0
        places = [place * step for place in range(math.ceil(low / step), math.floor(high / step) + 1)]
        return [(place, f"{float(f'{place:.6g}'):g}") for place in places]
    powers = range(math.floor(low), math.ceil(high) + 1)
    digits = (1, 3) if high - low <= 4.0 else (1,)
    every = [power + math.log10(digit) for power in powers for digit in digits]
    return [(tick, _label(tick)) for tick in every if low <= tick <= high]


def _label(tick: float) -> str:
    """10^tick in short: 0.03, 3000, 10⁴, 3·10⁵."""
    if -4.0 < tick < 3.9:
        return f"{float(f'{10**tick:.1g}'):g}"
    digit, power = f"{10**tick:.0e}".split("e")
    return f"{'' if digit == '1' else f'{digit}·'}10{str(int(power)).translate(_SUPERSCRIPTS)}"


def _colour(share: float) -> str:
    """The scale's colour at a share of its length."""
    for (low, before), (high, after) in itertools.pairwise(_SCALE):
        if share <= high:
            mix = (share - low) / (high - low)
            pairs = [[int(text[place : place + 2], 16) for text in (before, after)] for place in (1, 3, 5)]
            return "#" + "".join(f"{round(a + mix * (b - a)):02x}" for a, b in pairs)
    return _SCALE[-1][1]
