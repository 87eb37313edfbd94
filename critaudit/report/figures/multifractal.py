"""How localised the modes of the layers are: D_q curves, and D₂ over depth."""

from __future__ import annotations

from typing import Any

from critaudit.report import wording
from critaudit.report.figures import axes
from critaudit.report.figures.panels import Panel, grid, heading, panels, series, suffix
from critaudit.report.figures.panels import left_out as not_drawn
from critaudit.report.figures.points import Point, left_out, points, rounded, scatter
from critaudit.report.figures.style import GUIDE, Spec, figure
from critaudit.report.record import Report

# Series, name in the legend, colour, dash.
_CURVES = (
    ("multifractal.dq_left", "left vectors", "#1f7fc4", "solid"),
    ("multifractal.dq_left_shuffled", "left, entries shuffled", "#1f7fc4", "dot"),
    ("multifractal.dq_right", "right vectors", "#d55e00", "solid"),
    ("multifractal.dq_right_shuffled", "right, entries shuffled", "#d55e00", "dot"),
    ("multifractal.dq_left_reference", "Gaussian vectors", GUIDE, "dash"),
)
# Below this a distance in D₂ is what one network differs from the next by.
_NOTICEABLE = 0.01


def multifractal_curves(report: Report) -> Spec:
    """D_q of the left and right vectors of up to six layers, with Gaussian vectors of the same length."""
    drawn, total = panels(report, "multifractal.orders", "multifractal.dq_left", "multifractal.dq_left_reference")
    domains, rows = grid(drawn)
    named: set[str] = set()
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    for index, (panel, domain) in enumerate(zip(drawn, domains, strict=True)):
        number = suffix(index)
        data += _curves(panel, number, named)
        layout[f"xaxis{number}"] = axes.axis("order q" if index >= len(drawn) - 2 else "") | {
            "domain": domain[0],
            "anchor": f"y{number}",
            "range": [0.0, 10.2],
        }
        layout[f"yaxis{number}"] = axes.axis("dimension D_q" if index % 2 == 0 else "") | {
            "domain": domain[1],
            "anchor": f"x{number}",
            "range": [0.0, 1.04],
        }
    return figure(
        data,
        title=f"Generalised dimensions of the modes of {wording.plural(len(drawn), 'layer')}",
        caption="D_q is 1 for a mode spread evenly over all neurons, 0 for one on a single neuron. Compare with "
        "Gaussian vectors of the same length (grey), which are never quite even: a steeper fall means modes that are "
        "strong on few neurons and weak on many (multifractal). Dotted: the same weights in random places. Square "
        "layers: eigenvectors, judge on the left ones; others: singular vectors, left on the outputs (grey belongs to "
        "them), right on the inputs. It may mislead: neurons that are off or saturated localise modes, too.",
        n=len(drawn),
        left_out=not_drawn(len(drawn), total, "D_q curves"),
        height=110 + 250 * rows,
        annotations=[heading(panel, domain) for panel, domain in zip(drawn, domains, strict=True)],
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
        **layout,
    )


def d2_by_depth(report: Report) -> Spec:
    """D₂ of every layer's left vectors against Gaussian vectors of the same length and the shuffled layer."""
    identifiers = ("multifractal.d2_left", "multifractal.d2_left_reference")
    drawn = points(report, *identifiers)
    lowest = min(drawn, key=lambda point: point.number(0) - point.number(1))
    reference = _marks("Gaussian vectors", "line-ew-open", GUIDE, [(point.place, point.number(1)) for point in drawn])
    others = points(report, "multifractal.d2_left_shuffled")
    shuffled = _marks("entries shuffled", "x-thin-open", GUIDE, [(point.place, point.number()) for point in others])
    values = [point.number(0) - point.span(0)[1] for point in drawn]
    gap = lowest.number(1) - lowest.number(0)
    return figure(
        [*scatter(drawn, identifiers, _place, Point.number, bars_y=0), reference, shuffled],
        title="In no layer do modes sit on fewer neurons than Gaussian vectors (D₂ no more than 0.01 below)"
        if gap < _NOTICEABLE
        else f"Modes sit on the fewest neurons in layer {lowest.place}: "
        f"D₂ is {wording.number(gap)} below Gaussian vectors",
        caption="Left vectors of each dense layer; bars are 95 % intervals over inputs. Dashes are Gaussian vectors of "
        "the same length: only the distance to them can be compared between widths. Crosses are the same weights in "
        "random places with the same slopes, in one draw: from the dash to the cross it is heavy tails and neurons "
        "that are off or saturated; from the cross to the mark, where that is more than a few hundredths, the "
        "arrangement of the weights.",
        n=len(drawn),
        left_out=left_out(report, *identifiers),
        xaxis=axes.depth(drawn),
        yaxis=axes.axis("dimension D₂ of the left vectors", range=[max(0.0, min([0.5, *values]) - 0.05), 1.02]),
    )


def _curves(panel: Panel, number: str, named: set[str]) -> list[dict[str, Any]]:
    """The panel's curves; each name is in the legend once."""
    traces = []
    for identifier, name, colour, dash in _CURVES:
        held = series(panel.layer, identifier)
        if held is None or len(held) != len(panel.series[0]):
            continue
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "legendgroup": name,
                "showlegend": name not in named,
                "x": list(panel.series[0]),
                "y": [rounded(value) for value in held],
                "line": {"color": colour, "dash": dash, "width": 2},
                "xaxis": f"x{number}",
                "yaxis": f"y{number}",
                "customdata": [panel.place] * len(held),
                "hovertemplate": f"{name}: D = %{{y:.3f}} at q = %{{x}}<extra></extra>",
            }
        )
        named.add(name)
    return traces


def _marks(name: str, symbol: str, colour: str, places: list[tuple[int, float]]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [place for place, _ in places],
        "y": [value for _, value in places],
        "marker": {"symbol": symbol, "color": colour, "size": 11, "line": {"width": 2, "color": colour}},
        "customdata": [place for place, _ in places],
        "hovertemplate": f"{name}: %{{y:.3f}}<extra></extra>",
    }


def _place(point: Point) -> float:
    return point.place
