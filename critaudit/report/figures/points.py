"""Layers as points: their place in the model, their values and intervals, and who is left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from critaudit.measurement import Measurement
from critaudit.report import measures, wording
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


def count_with(report: Report, *identifiers: str) -> int:
    """How many layers have them all."""
    return sum(1 for _ in _points(report, identifiers))


def left_out(report: Report, *identifiers: str) -> str:
    """Why the other layers are not drawn: "3 layers are not drawn: 2 not applicable, 1 failed". Empty if none."""
    reasons: Counter[str] = Counter()
    for layer in report.layer_records:
        held = [layer.measurements.get(identifier) for identifier in identifiers]
        if any(item is None for item in held):
            reasons["not asked for"] += 1
        elif any(item is not None and item.number is None for item in held):
            gap = next(item for item in held if item is not None and item.number is None)
            reasons["no number" if gap.status == "measured" else wording.status(gap.status)] += 1
    if not reasons:
        return ""
    total = sum(reasons.values())
    listed = ", ".join(f"{wording.count(number)} {reason}" for reason, number in reasons.most_common())
    return f"{wording.plural(total, 'layer is', 'layers are')} not drawn: {listed}."


def hover(point: Point, identifiers: tuple[str, ...]) -> str:
    """What appears beside the pointer. Names are escaped: plotly reads a subset of HTML.

    No <b> or <sup>: plotly makes style attributes of them, which the page's policy does not let in.
    """
    lines = [safe(point.layer.name), f"{safe(point.layer.kind)}, {wording.shape(point.layer.shape)}"]
    for identifier, measurement in zip(identifiers, point.measurements, strict=True):
        measure = measures.describe(identifier)
        lines.append(f"{safe(measure.symbol or measure.label)} = {safe(wording.with_interval(measurement))}")
    return "<br>".join(lines)


def safe(text: str) -> str:
    """`text` as plotly shows it literally."""
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
