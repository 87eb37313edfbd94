"""Maps of a positive quantity over a plane, by the colour of its logarithm, with a scale in the right margin."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

# The same colours in both themes, for all kinds of sight: lines of _ON_MAP are seen on it, on white and on black.
_SCALE = ((0.0, "#22304a"), (0.35, "#4a6285"), (0.7, "#86a5c4"), (1.0, "#d3e4f3"))
EDGE, WIDOM, WIDOM_BY_SQUARE = "#e8590c", "#d6409f", "#2f9e44"
_BOTTOM, _HEIGHT = 0.1, 0.75


def logarithmic_map(
    x: Sequence[float],
    y: Sequence[float],
    values: Sequence[float],
    floor: float,
    *,
    name: str,
    hover: str,
    texts: Sequence[str],
) -> dict[str, Any]:
    """The trace of a map whose cells are (x, y) with a value and a text each; all of one length, `floor` positive.

    Cells below `floor` have its colour; places without a cell, or whose value is NaN, stay empty. `hover` is the hover
    template, in which %{text} is the cell's own.
    """
    columns, rows = sorted(set(x)), sorted(set(y))
    cells = {
        (across, up): (value, text)
        for across, up, value, text in zip(x, y, values, texts, strict=False)
        if not math.isnan(value)
    }
    highest = max((value for value, _ in cells.values()), default=floor)
    return {
        "type": "heatmap",
        "name": name,
        "x": columns,
        "y": rows,
        "z": [
            [
                round(math.log10(max(cells[across, up][0], floor)), 4) if (across, up) in cells else None
                for across in columns
            ]
            for up in rows
        ],
        "zmin": round(math.log10(floor), 4),
        "zmax": round(math.log10(max(highest, 1.001 * floor)), 4),
        "colorscale": [list(step) for step in _SCALE],
        # plotly's own colour bar, and its sharp cells, set style attributes, which the page forbids.
        "showscale": False,
        "zsmooth": "fast",
        "text": [[cells[across, up][1] if (across, up) in cells else None for across in columns] for up in rows],
        "hovertemplate": f"{hover}<extra></extra>",
        "hoverongaps": False,
        "showlegend": False,
    }


def colour_bar(trace: dict[str, Any], sign: str) -> dict[str, Any]:
    """Layout (shapes, annotations, margin) of the scale of a `logarithmic_map`, with `sign` above it."""
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
    place = {"xref": "paper", "yref": "paper", "xanchor": "left", "bgcolor": "rgba(0,0,0,0)"}
    texts = [
        place | {"x": 1.045, "y": _BOTTOM + _HEIGHT * (tick - low) / (high - low), "text": text}
        for tick, text in ticks(low, high)
    ]
    texts.append(place | {"x": 1.02, "y": 0.93, "text": sign})
    return {"shapes": bar, "annotations": texts, "margin": {"r": 72}}


def ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Logarithms of round numbers from `low` to `high`, with the numbers: powers of ten, and three times those."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    digits = (1, 3) if high - low <= 4.0 else (1,)
    every = [power + math.log10(digit) for power in powers for digit in digits]
    return [(tick, f"{float(f'{10**tick:.1g}'):g}") for tick in every if low <= tick <= high]


def _colour(share: float) -> str:
    """The scale's colour at a share of its length."""
    for (low, before), (high, after) in itertools.pairwise(_SCALE):
        if share <= high:
            mix = (share - low) / (high - low)
            pairs = [[int(text[place : place + 2], 16) for text in (before, after)] for place in (1, 3, 5)]
            return "#" + "".join(f"{round(a + mix * (b - a)):02x}" for a, b in pairs)
    return _SCALE[-1][1]
