"""The figure of advice on weight decay: J² along the training, its growth, and the edge that it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from critaudit.report.figures import axes
from critaudit.report.figures.panels import Panel, grid, heading, left_out, panels, suffix
from critaudit.report.figures.points import rounded
from critaudit.report.figures.style import GUIDE, Spec, figure
from critaudit.report.record import Report
from critaudit.report.wording import number

_COURSE, _GROWTH = "#1f7fc4", "#d55e00"
_BAND = "rgba(213,94,0,0.18)"
# How far growth is drawn beyond the records, in lengths of the record.
_AHEAD, _FARTHEST = 1.5, 40.0


@dataclass(frozen=True, slots=True)
class _Growth:
    """J² = value + slope·(t − at), and the ends of the slope's interval."""

    at: float
    value: float
    slope: float
    ends: tuple[float, float]

    def line(self, slope: float, times: Sequence[float]) -> list[float]:
        return [rounded(self.value + slope * (time - self.at)) for time in times]


def decay_course(report: Report) -> Spec:
    """J² of some layers at their records, the fitted growth without decay with its interval, and each layer's edge."""
    shown, total = panels(report, "decay.course_at", "decay.course")
    domains, rows = grid(shown)
    unit = _unit(report)
    traces: list[dict[str, Any]] = []
    named: set[str] = set()
    ticks = {"nticks": 5, "tickangle": 0}
    layout: dict[str, Any] = {"annotations": [], "shapes": []}
    for index, (panel, domain) in enumerate(zip(shown, domains, strict=True)):
        end = suffix(index)
        drawn = [_course(panel, unit), *_growth(panel, unit), *_crossing(panel, unit)]
        for one in drawn:
            where = {"xaxis": f"x{end}", "yaxis": f"y{end}"}
            shown_here = one.get("showlegend", True) and one["legendgroup"] not in named
            traces.append(one | where | {"showlegend": shown_here})
            named |= {one["legendgroup"]} if shown_here else set()
        layout[f"xaxis{end}"] = axes.axis(
            unit if index >= len(shown) - 2 else "", domain=domain[0], anchor=f"y{end}", rangemode="tozero", **ticks
        )
        layout[f"yaxis{end}"] = axes.axis(
            "J²" if index % 2 == 0 else "", domain=domain[1], anchor=f"x{end}", range=[0, 1.12 * _highest(drawn, panel)]
        )
        layout["annotations"].append(heading(panel, domain, _below(panel)))
        edge = panel.number("decay.target")
        if edge is not None:
            layout["shapes"].append(_level(edge, domain[0], end))
    return figure(
        traces,
        title="The coupling spread along the training, and the edge of chaos",
        caption="J² = N · var(W). Orange: growth without weight decay, as fitted, through the last record, with its "
        "95 % interval; where it meets the dashed line, the layer’s own edge of chaos J*², a network of such layers "
        "with independent weights becomes chaotic. The advised decay balances this growth at the edge. Growth is taken "
        "to go on as it is, which a change of learning rate or of the task would end.",
        n=len(shown),
        left_out=left_out(len(shown), total, "a course of J²"),
        height=110 + 270 * max(rows, 1),
        **layout,
    )


def _unit(report: Report) -> str:
    held = report.model.get("decay.unit")
    return "epoch" if held is not None and held.value == "epoch" else "optimizer step"


def _course(panel: Panel, unit: str) -> dict[str, Any]:
    x, y = panel.series
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(x) <= 60 else "lines",
        "name": "J² as recorded",
        "legendgroup": "course",
        "x": [rounded(one) for one in x],
        "y": [rounded(one) for one in y],
        "line": {"color": _COURSE, "width": 1.5},
        "marker": {"color": _COURSE, "size": 5},
        "hovertemplate": f"{unit} %{{x:.4g}}<br>J² = %{{y:.4g}}<extra></extra>",
    }


def _growth(panel: Panel, unit: str) -> list[dict[str, Any]]:
    """The line of growth with its band from the last record on, as far as the edge or somewhat further."""
    found = _fitted(panel, unit)
    if found is None:
        return []
    times = _times(panel, found)
    common = {"type": "scatter", "mode": "lines", "x": [rounded(time) for time in times], "legendgroup": "growth"}
    low, high = (found.line(slope, times) for slope in found.ends)
    return [
        {**common, "y": low, "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False},
        {
            **common,
            "y": high,
            "line": {"width": 0},
            "fill": "tonexty",
            "fillcolor": _BAND,
            "hoverinfo": "skip",
            "showlegend": False,
        },
        {
            **common,
            "y": found.line(found.slope, times),
            "name": "growth without decay",
            "line": {"color": _GROWTH, "width": 2},
            "hovertemplate": f"{unit} %{{x:.4g}}<br>J² = %{{y:.4g}} without decay<extra></extra>",
        },
    ]


def _crossing(panel: Panel, unit: str) -> list[dict[str, Any]]:
    """Where growth alone would reach the edge, with the interval of that time."""
    found, edge = _fitted(panel, unit), panel.number("decay.target")
    if found is None or edge is None or found.slope <= 0.0 or edge <= found.value:
        return []
    ahead = (edge - found.value) / found.slope
    if ahead > _FARTHEST * max(panel.series[0][-1] - panel.series[0][0], 1e-12):
        return []
    at, soonest = found.at + ahead, found.at + (edge - found.value) / found.ends[1]
    latest = found.at + (edge - found.value) / found.ends[0] if found.ends[0] > 0.0 else None
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [rounded(max((latest or at) - at, 0.0))],
        "arrayminus": [rounded(max(at - soonest, 0.0))],
        "thickness": 1.5,
        "width": 4,
    }
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "meets the edge",
            "legendgroup": "crossing",
            "x": [rounded(at)],
            "y": [rounded(edge)],
            "error_x": bars,
            "marker": {"color": _GROWTH, "symbol": "diamond", "size": 9},
            "hovertemplate": f"{unit} %{{x:.4g}}: J² at the edge, %{{y:.4g}}, without decay<extra></extra>",
        }
    ]


def _highest(drawn: Sequence[dict[str, Any]], panel: Panel) -> float:
    edge = panel.number("decay.target")
    return max([*(float(value) for one in drawn for value in one["y"]), edge or 0.0, 1e-12])


def _fitted(panel: Panel, unit: str) -> _Growth | None:
    held = panel.layer.measurements.get("decay.growth_per_epoch" if unit == "epoch" else "decay.growth")
    if held is None or held.number is None:
        return None
    return _Growth(panel.series[0][-1], panel.series[1][-1], held.number, held.interval or (held.number, held.number))


def _times(panel: Panel, found: _Growth) -> list[float]:
    x, y = panel.series
    span = max(x[-1] - x[0], 1e-12)
    edge = panel.number("decay.target")
    ahead = _AHEAD * span
    if edge is not None and found.slope > 0.0 and edge > y[-1]:
        ahead = min(max((edge - y[-1]) / found.slope * 1.15, 0.3 * span), _FARTHEST * span)
    # Without decay the line is that of the fit, also backwards over the second half of the record.
    back = 0.5 * span if panel.number("decay.present") == 0.0 else 0.0
    return [x[-1] - back, x[-1], x[-1] + ahead]


def _below(panel: Panel) -> str:
    """The advised decay, under the layer's name."""
    value = panel.number("decay.weight_decay")
    present = panel.number("decay.present")
    now = "" if present is None else f", now {number(present)}"
    return "no decay is determined" if value is None else f"decay {number(value)}{now}"


def _level(edge: float, domain: list[float], end: str) -> dict[str, Any]:
    line = {"color": GUIDE, "dash": "dash", "width": 1.5}
    across = {"xref": "paper", "x0": domain[0], "x1": domain[1]}
    return {"type": "line", **across, "yref": f"y{end}", "y0": edge, "y1": edge, "line": line}
