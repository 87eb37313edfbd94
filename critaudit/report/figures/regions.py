"""The three phases in the plane of α and g as shaded regions with their names, and the lines between them."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from critaudit.report.figures.style import GUIDE

Line = Sequence[tuple[float, float]]

# Faint enough for marks and dark mode, far enough apart in hue and lightness to be told from each other.
ORDERED, CRITICAL, CHAOTIC = "rgba(31,127,196,0.13)", "rgba(0,158,115,0.24)", "rgba(213,94,0,0.15)"

# Where along α a region's name is tried, as shares of the width, and the share of the height that it needs.
_LABELS_AT = (0.17, 0.4, 0.6, 0.8)
_ROOM = 0.08


@dataclass(frozen=True, slots=True)
class Window:
    """What the plane shows: α from `left`, g from `bottom` to `top`, on a logarithmic axis or a straight one."""

    left: float
    bottom: float
    top: float
    logarithmic: bool = False

    @property
    def range(self) -> list[float]:
        """The axis' range in plotly's units."""
        ends = (self.bottom, self.top)
        return [math.log10(end) for end in ends] if self.logarithmic else list(ends)

    def clip(self, g: float) -> float:
        """`g` inside the window, in four decimals."""
        return round(min(max(g, self.bottom), self.top), 4)

    def room(self, low: float, high: float) -> float:
        """The share of the axis between two heights."""
        bottom, top = self.range
        ends = (self.clip(low), self.clip(high))
        if self.logarithmic:
            ends = (math.log10(max(ends[0], self.bottom)), math.log10(max(ends[1], self.bottom)))
        return (ends[1] - ends[0]) / (top - bottom)

    def middle(self, low: float, high: float) -> float:
        """The height of a label between two heights, in plotly's units."""
        low, high = max(low, self.bottom), min(high, self.top)
        return 0.5 * (math.log10(low * high) if self.logarithmic else low + high)


def regions(ordered: Line, chaotic: Line, window: Window) -> list[dict[str, Any]]:
    """Shaded polygons for below `ordered`, between the lines and above `chaotic`; where that ends, it has no top."""
    inside = [(alpha, g) for alpha, g in ordered if alpha >= window.left - 1e-9]
    alphas = [alpha for alpha, _ in inside]
    lower = [window.clip(g) for _, g in inside]
    upper = [window.clip(max(g, _height(chaotic, alpha))) for alpha, g in inside]
    floor, ceiling = [window.bottom] * len(alphas), [window.top] * len(alphas)
    return [
        polygon(alphas, low, high, name, colour)
        for low, high, name, colour in (
            (floor, lower, "ordered", ORDERED),
            (lower, upper, "extended critical", CRITICAL),
            (upper, ceiling, "chaotic", CHAOTIC),
        )
    ]


def labels(ordered: Line, chaotic: Line, window: Window) -> list[dict[str, Any]]:
    """The regions' names, each at the first place from the left where there is room for it."""
    placed = []
    for place, name in enumerate(("ordered", "extended critical", "chaotic")):
        for share in _LABELS_AT:
            alpha = max(window.left + share * (2.0 - window.left), ordered[0][0])
            line = _height(ordered, alpha)
            end = max(line, _height(chaotic, alpha))
            low, high = ((window.bottom, line), (line, end), (end, window.top))[place]
            if window.room(low, high) > _ROOM:
                where = {"x": alpha, "y": window.middle(low, high), "xanchor": "center"}
                placed.append({"text": name, "bgcolor": "rgba(0,0,0,0)", **where})
                break
    return placed


def border(line: Line, name: str, *, dash: str = "dash", width: float = 1.5, colour: str = GUIDE) -> dict[str, Any]:
    """A line between phases."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [alpha for alpha, _ in line],
        "y": [g for _, g in line],
        "line": {"color": colour, "dash": dash, "width": width},
        "hoverinfo": "skip",
    }


def polygon(x: Sequence[float], low: Sequence[float], high: Sequence[float], name: str, colour: str) -> dict[str, Any]:
    """What lies between two curves over `x`."""
    return {
        "type": "scatter",
        "mode": "lines",
        "fill": "toself",
        "fillcolor": colour,
        "line": {"width": 0, "color": colour},
        "name": name,
        "x": [*x, *reversed(x)],
        "y": [*low, *reversed(high)],
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _height(line: Line, alpha: float) -> float:
    """g on the line at α, straight between its points; infinite beyond its ends: there it does not come down."""
    if not line or not line[0][0] - 1e-9 <= alpha <= line[-1][0] + 1e-9:
        return math.inf
    place = min(max(bisect.bisect_left([point[0] for point in line], alpha), 1), len(line) - 1)
    (left, low), (right, high) = line[place - 1], line[place]
    return low + (high - low) * (alpha - left) / (right - left)
