"""Avalanches: distributions with their fitted ranges, mean size by duration, and the collapse of their profiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from critaudit.report import wording
from critaudit.report.figures import axes
from critaudit.report.figures.model_series import number, numbers, shown, with_corrected
from critaudit.report.figures.points import rounded, safe
from critaudit.report.figures.style import GUIDE, Spec, figure
from critaudit.report.record import Report

DISTRIBUTIONS = ("avalanche.durations", "avalanche.duration_density")
MEAN_SIZE = ("avalanche.mean_durations", "avalanche.mean_size")
COLLAPSE = tuple(f"avalanche.collapse_{name}" for name in ("durations", "places", "before", "after"))

_TOTAL, _EXCESS, _DURATION = ("#1f7fc4", "square"), ("#d55e00", "circle"), ("#009e73", "diamond")
# Sizes this many times smaller than where a power law begins, or than the largest, are not worth the room.
_BEFORE_FIT, _BELOW_LARGEST = 100.0, 1e6
# From short to long durations: hues that hold on white and on black.
_SHORT, _LONG = (230, 159, 0), (74, 82, 190)


def avalanche_distributions(report: Report) -> Spec:
    """P(S), total and excess, above P(D); lines where a power law was fitted, over the fitted range."""
    rows = (
        ("sizes", "size", "total sizes, Σ s", _TOTAL, ""),
        ("excess_sizes", "excess", "excess sizes, Σ (s − θ)", _EXCESS, ""),
        ("durations", "duration", "durations", _DURATION, "2"),
    )
    traces: list[dict[str, Any]] = []
    drawn: dict[str, list[tuple[float, float]]] = {"": [], "2": []}
    for places, stem, label, style, panel in rows:
        points = _positive(numbers(report, f"avalanche.{places}"), numbers(report, f"avalanche.{stem}_density"))
        if not points:
            continue
        traces.append(_marks(points, label, style, panel))
        traces += _fit(report, f"{stem}_fit", f"{label}: {_law(report, stem)}", style[0], panel)
        drawn[panel] += points
    lasting, sizes = drawn["2"], _worth_seeing(report, drawn[""])
    verdict = report.model.get("avalanche.verdict")
    said = wording.value(verdict) if verdict is not None else "undetermined"
    count = number(report, "avalanche.number")
    return figure(
        traces,
        title=f"Sizes and durations of avalanches: {safe(said)}",
        caption="An avalanche lasts for as many layers as the signal stays above threshold; its size is the sum of the "
        "strengths (total), or of what is above threshold (excess). Points are densities in logarithmic bins of "
        "uncensored avalanches, lines the power laws fitted by maximum likelihood, drawn over the fitted range and no "
        "further; the legend has their exponents, and those corrected for scaling with their intervals. "
        "A straight piece is not criticality: a random walk that returns to its start has durations with "
        "exponent 3/2, and a linear network has straight lines as well. The verdict compares with such null models.",
        n=len(traces) if math.isnan(count) else int(count),
        height=760,
        xaxis=axes.axis("size S (units of strength)", **_in_sight([x for x, _ in sizes])),
        yaxis=axes.axis("density P(S)", domain=[0.57, 1.0], **_in_sight([y for _, y in sizes])),
        xaxis2=axes.axis("duration D (layers)", anchor="y2", **_in_sight([x for x, _ in lasting])),
        yaxis2=axes.axis("density P(D)", domain=[0.0, 0.43], anchor="x2", **_in_sight([y for _, y in lasting])),
    )


def avalanche_mean_size(report: Report) -> Spec:
    """⟨S⟩(D) of excess sizes with its fitted slope."""
    durations, sizes = numbers(report, "avalanche.mean_durations"), numbers(report, "avalanche.mean_size")
    lows, highs = numbers(report, "avalanche.mean_size_low"), numbers(report, "avalanche.mean_size_high")
    points = _positive(durations, sizes)
    marks = _marks(points, "mean excess size, 95 % intervals", _EXCESS, "")
    if len(lows) == len(highs) == len(points):
        marks["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": [rounded(high - y) for high, (_, y) in zip(highs, points, strict=True)],
            "arrayminus": [rounded(y - low) for low, (_, y) in zip(lows, points, strict=True)],
            "thickness": 1,
            "width": 0,
        }
    slope, predicted, mismatch = (
        with_corrected(report, f"avalanche.{name}") for name in ("slope_excess", "predicted_slope", "dcc")
    )
    return figure(
        [marks, *_fit(report, "mean_size_fit", f"slope 1/σνz = {slope}", GUIDE, "")],
        title=f"Mean size grows with duration as D to the power {slope}",
        caption="Weighted least squares of ln⟨S⟩ on ln D, over the range of the line, and the same corrected for "
        "scaling, with its interval. The crackling relation "
        f"(α − 1)/(τ − 1) predicts {predicted}; the mismatch (DCC) is {mismatch}. That they agree is "
        "necessary near a critical point and not sufficient: a walk with independent steps obeys the relation as well.",
        n=len(points),
        height=440,
        xaxis=axes.axis("duration D (layers)", **_in_sight([x for x, _ in points])),
        yaxis=axes.axis("mean excess size ⟨S⟩", **_in_sight([y for _, y in points])),
    )


def avalanche_collapse(report: Report) -> Spec:
    """Profiles of avalanches of several durations, as they are and rescaled."""
    durations, places, before, after = (numbers(report, name) for name in COLLAPSE)
    traces = []
    for panel, heights in (("", before), ("2", after)):
        for row, duration in enumerate(durations):
            curve = heights[row * len(places) : (row + 1) * len(places)]
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": f"D = {wording.number(duration, 2)}",
                    "x": places,
                    "y": curve,
                    "line": {"color": _shade(row, len(durations)), "width": 1.8},
                    "xaxis": f"x{panel}",
                    "yaxis": f"y{panel}",
                    "legendgroup": str(row),
                    "showlegend": panel == "",
                    "hovertemplate": "l/D = %{x:.2f}, %{y:.3g}",
                }
            )
    exponent, error = with_corrected(report, "avalanche.collapse_exponent"), shown(report, "avalanche.collapse_error")
    return figure(
        traces,
        title=f"Profiles collapse best for 1/σνz = {exponent}, with an error of {error}",
        caption="Above: the mean excess strength ⟨s⟩ at each stage l/D of avalanches of duration D. Below: the same "
        "times D to the power 1 − 1/σνz, with the exponent for which the curves come closest. Near a critical point "
        "they fall on one curve; its shape belongs to the class. The error is the mean squared departure from the mean "
        "curve, in units of that curve’s mean square. Curves that are parabolas or semicircles are those of a random "
        "walk between two returns.",
        n=len(durations),
        height=700,
        xaxis=axes.axis("stage of the avalanche l/D", range=[0.0, 1.0]),
        yaxis=axes.axis("profile ⟨s⟩", domain=[0.57, 1.0], rangemode="tozero"),
        xaxis2=axes.axis("stage of the avalanche l/D", range=[0.0, 1.0], anchor="y2"),
        yaxis2=axes.axis("rescaled profile", domain=[0.0, 0.43], anchor="x2", rangemode="tozero"),
    )


def _worth_seeing(report: Report, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The sizes among `points` that the axes are made for: some decades before the fitted range, and all beyond."""
    if not points:
        return []
    starts = [ends[0] for name in ("size_fit", "excess_fit") if len(ends := numbers(report, f"avalanche.{name}")) == 4]
    lowest = max(x for x, _ in points) / _BELOW_LARGEST
    lowest = max(lowest, min(starts) / _BEFORE_FIT) if starts else lowest
    return [(x, y) for x, y in points if x >= lowest]


def _in_sight(values: list[float]) -> dict[str, Any]:
    """A logarithmic axis for just these values."""
    if not values:
        return {"type": "log"}
    low, high = math.log10(min(values)), math.log10(max(values))
    margin = max(0.05 * (high - low), 0.05)
    return axes.logarithmic(values) | {"range": [round(low - margin, 4), round(high + margin, 4)]}


def _marks(points: Sequence[tuple[float, float]], name: str, style: tuple[str, str], panel: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [rounded(x) for x, _ in points],
        "y": [rounded(y) for _, y in points],
        "marker": {"color": style[0], "symbol": style[1], "size": 6},
        "xaxis": f"x{panel}",
        "yaxis": f"y{panel}",
        "hovertemplate": "%{x:.4g}, %{y:.3g}<extra></extra>",
    }


def _fit(report: Report, name: str, label: str, colour: str, panel: str) -> list[dict[str, Any]]:
    """The fitted line between the ends of its range; nothing where none was fitted."""
    ends = numbers(report, f"avalanche.{name}")
    if len(ends) != 4 or min(ends) <= 0.0:
        return []
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": label,
            "x": [ends[0], ends[2]],
            "y": [ends[1], ends[3]],
            "line": {"color": colour, "width": 2},
            "xaxis": f"x{panel}",
            "yaxis": f"y{panel}",
            "hoverinfo": "skip",
        }
    ]


def _law(report: Report, stem: str) -> str:
    """What was fitted: "τ = 1.45, corrected 1.49 (1.46 – 1.52), 1.80 decades"."""
    identifier, sign = {"size": ("tau", "τ"), "excess": ("tau_excess", "τ"), "duration": ("alpha", "α")}[stem]
    exponent = with_corrected(report, f"avalanche.{identifier}")
    return f"{sign} = {exponent}, {shown(report, f'avalanche.{stem}_decades')} decades"


def _shade(row: int, rows: int) -> str:
    share = row / max(rows - 1, 1)
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(_SHORT, _LONG, strict=True))


def _positive(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float]]:
    """The points that a logarithmic plane can show."""
    return [(a, b) for a, b in zip(x, y, strict=False) if a > 0.0 and b > 0.0]
