"""Layers as points: their place in the model, their values and intervals, and who is left out and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from critaudit.measurement import Measurement
from critaudit.report import measures, wording
from critaudit.report.figures.style import kind_style
from critaudit.report.record import Layer, Report
from critaudit.text import printable


@dataclass(frozen=True, slots=True)
class Point:
    """A layer with the numbers that a figure asked for; `place` counts from 1 in the order of the model."""

    place: int
    layer: Layer
    measurements: tuple[Measurement, ...]

    def number(self, index: int = 0) -> float:
        """The value of the measurement at `index`, rounded to what a screen can show (six figures)."""
        number = self.measurements[index].number
        assert number is not None
        return rounded(number)

    def span(self, index: int = 0) -> tuple[float, float]:
        """How far the interval reaches above and below the value; (0, 0) without one."""
        ends = self.measurements[index].interval
        if ends is None:
            return 0.0, 0.0
        return max(rounded(ends[1] - self.number(index)), 0.0), max(rounded(self.number(index) - ends[0]), 0.0)


def points(report: Report, *identifiers: str) -> list[Point]:
    """The layers in which every one of `identifiers` was measured as a number."""
    return list(_points(report, identifiers))


def can_draw(report: Report, *identifiers: str) -> bool:
    """Whether any layer has them all."""
    return next(_points(report, identifiers), None) is not None


def left_out(report: Report, *identifiers: str) -> str:
    """Why the other layers are not drawn: "3 layers are not drawn: 2 not applicable, 1 failed." Empty if none."""
    reasons: Counter[str] = Counter()
    for layer in report.layer_records:
        held = [layer.measurements.get(identifier) for identifier in identifiers]
        gap = next((item for item in held if item is not None and item.number is None), None)
        if gap is not None:
            reasons["no number" if gap.status == "measured" else wording.status(gap.status)] += 1
        elif any(item is None for item in held):
            reasons["not asked for"] += 1
    if not reasons:
        return ""
    total = sum(reasons.values())
    listed = ", ".join(f"{wording.count(number)} {reason}" for reason, number in reasons.most_common())
    return f"{wording.plural(total, 'layer is', 'layers are')} not drawn: {listed}."


def scatter(
    drawn: list[Point],
    identifiers: tuple[str, ...],
    x: Callable[[Point], float],
    y: Callable[[Point], float],
    *,
    bars_x: int | None = None,
    bars_y: int | None = None,
    is_open: Callable[[Point], bool] = lambda _: False,
) -> list[dict[str, Any]]:
    """One trace of marks per kind of layer; `bars_x` and `bars_y` are the measurements whose intervals are drawn.

    `customdata` is the layer's place, by which the page finds it. Marks are open where `is_open` says so.
    """
    by_kind: dict[str, list[Point]] = defaultdict(list)
    for point in drawn:
        by_kind[point.layer.kind].append(point)
    traces = []
    for kind, members in by_kind.items():
        colour, symbol = kind_style(kind)
        trace: dict[str, Any] = {
            "type": "scatter",
            "mode": "markers",
            "name": safe(kind.replace("_", " ")),
            "x": [x(point) for point in members],
            "y": [y(point) for point in members],
            "marker": {
                "color": colour,
                "symbol": [f"{symbol}-open" if is_open(point) else symbol for point in members],
                "size": 8 if len(drawn) <= 200 else 5,
            },
            "text": [_hover(point, identifiers) for point in members],
            "customdata": [point.place for point in members],
            "hovertemplate": "%{text}<extra></extra>",
        }
        for name, index in (("error_x", bars_x), ("error_y", bars_y)):
            bars = _bars(members, index) if index is not None else None
            trace |= {name: bars} if bars else {}
        traces.append(trace)
    return traces


def safe(text: str) -> str:
    """`text` as plotly shows it literally: it reads a subset of HTML."""
    return escape(printable(text, limit=80))


def rounded(value: float) -> float:
    """Six significant figures: less than a pixel, and half the size in the page."""
    return float(f"{value:.6g}")


def _points(report: Report, identifiers: tuple[str, ...]) -> Iterator[Point]:
    for place, layer in enumerate(report.layer_records, start=1):
        held = [layer.measurements.get(identifier) for identifier in identifiers]
        found = tuple(item for item in held if item is not None and item.number is not None)
        if len(found) == len(identifiers):
            yield Point(place, layer, found)


def _hover(point: Point, identifiers: tuple[str, ...]) -> str:
    """What appears beside the pointer.

    No <b> or <sup>: plotly makes style attributes of them, which the page's policy does not let in.
    """
    lines = [safe(point.layer.name), f"{safe(point.layer.kind)}, {wording.shape(point.layer.shape)}"]
    for identifier, measurement in zip(identifiers, point.measurements, strict=True):
        measure = measures.describe(identifier)
        lines.append(f"{safe(measure.symbol or measure.label)} = {safe(wording.with_interval(measurement))}")
    return "<br>".join(lines)


def _bars(members: list[Point], index: int) -> dict[str, Any] | None:
    """The intervals of the measurement at `index` as thin bars; None where there are none."""
    spans = [point.span(index) for point in members]
    if not any(up or down for up, down in spans):
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": [up for up, _ in spans],
        "arrayminus": [down for _, down in spans],
        "thickness": 1,
        "width": 0,
    }
