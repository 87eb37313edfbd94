"""Small multiples: the same picture of a few layers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from critaudit.report import wording
from critaudit.report.figures.points import safe
from critaudit.report.record import Layer, Report

MOST = 6


@dataclass(frozen=True, slots=True)
class Panel:
    """A layer with the series that its panel shows; `place` counts from 1 in the order of the model."""

    place: int
    layer: Layer
    series: tuple[tuple[float, ...], ...]

    def number(self, identifier: str) -> float | None:
        """The layer's measurement as a number, where it is one."""
        held = self.layer.measurements.get(identifier)
        return None if held is None else held.number


def series(layer: Layer, identifier: str) -> tuple[float, ...] | None:
    """The numbers of a plotted measurement, None where it was not measured."""
    held = layer.measurements.get(identifier)
    if held is None or held.status != "measured" or not isinstance(held.value, tuple) or not held.value:
        return None
    numbers = tuple(value for value in held.value if isinstance(value, (int, float)))
    return numbers if len(numbers) == len(held.value) else None


def panels(report: Report, *identifiers: str) -> tuple[list[Panel], int]:
    """At most six layers that have all series of `identifiers`, evenly over the depth; and how many have them."""
    found = []
    for place, layer in enumerate(report.layer_records, start=1):
        held = [series(layer, identifier) for identifier in identifiers]
        values = tuple(one for one in held if one is not None)
        if len(values) == len(identifiers) and len({len(one) for one in values}) == 1:
            found.append(Panel(place, layer, values))
    if len(found) <= MOST:
        return found, len(found)
    step = (len(found) - 1) / (MOST - 1)
    return [found[round(index * step)] for index in range(MOST)], len(found)


def left_out(shown: int, total: int, what: str) -> str:
    """That some are not drawn, with what they have."""
    if shown == total:
        return ""
    return (
        f"{shown} of {wording.plural(total, 'layer')} with {what} are drawn, evenly over the depth; the JSON has all."
    )


def suffix(index: int) -> str:
    """What plotly appends to x and y for the panel at `index`."""
    return "" if index == 0 else str(index + 1)


def grid(drawn: Sequence[Panel]) -> tuple[list[tuple[list[float], list[float]]], int]:
    """The domains (x, y) of the panels from the upper left, and the number of rows; two panels stand in a row."""
    columns = min(2, max(len(drawn), 1))
    rows = -(-len(drawn) // columns)
    domains = []
    for index in range(len(drawn)):
        row, column = divmod(index, columns)
        left = (column + (0.08 if column else 0.0)) / columns
        right = (column + (1.0 if column else 0.94)) / columns
        top, bottom = 1.0 - (row + 0.17) / rows, 1.0 - (row + 0.9) / rows
        domains.append(([left, min(right, 1.0)], [max(bottom, 0.0), top]))
    return domains, rows


def heading(panel: Panel, domain: tuple[list[float], list[float]], below: str = "") -> dict[str, Any]:
    """The panel's name above it, cut to what fits, and a line beneath."""
    name = panel.layer.name
    short = name if len(name) <= 26 else f"…{name[-25:]}"
    return {
        "text": f"{panel.place}: {safe(short)}" + (f"<br>{below}" if below else ""),
        "xref": "paper",
        "yref": "paper",
        "x": sum(domain[0]) / 2.0,
        "y": domain[1][1],
        "xanchor": "center",
        "yanchor": "bottom",
        "font": {"size": 11},
    }
