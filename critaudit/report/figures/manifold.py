"""Figures of a circle of inputs on its way through the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from critaudit.report import wording
from critaudit.report.figures import axes
from critaudit.report.figures.guides import guides
from critaudit.report.figures.points import Point, left_out, points, rounded, safe, scatter
from critaudit.report.figures.style import GUIDE, Spec, figure
from critaudit.report.record import Layer, Report

_CV_OF_A_LINE = math.sqrt(math.pi**2 / 8.0 - 1.0)
_CV_OF_TANH_CIRCLE = 0.16
_OVER_CIRCLES = " Bars are 95 % intervals over circles, not over networks."
_HOLLOW = " Hollow marks show what leaves a block, beside its last layer: there a residual path has joined."
# Once around the colour circle in signs that hold on white and on black; first and last agree, as θ = 0 and 2π do.
_AROUND = ["#1f7fc4", "#009e73", "#b07d00", "#d55e00", "#c0609a", "#7f70d0", "#1f7fc4"]


def manifold_shape(report: Report) -> Spec:
    """Unevenness and dimension of the circle's image behind every layer, with the values of known shapes."""
    identifiers = ("manifold.cv", "manifold.participation")
    drawn = points(report, *identifiers)
    behind = ("manifold.block_cv", "manifold.block_participation")
    blocks = points(report, *behind)
    above = scatter(drawn, identifiers, _place, Point.number, bars_y=0) + _of_blocks(blocks, behind, 0)
    below = scatter(drawn, identifiers, _place, lambda point: point.number(1), bars_y=1)
    below += _of_blocks(blocks, behind, 1)
    last = drawn[-1]
    everything = [*drawn, *blocks]
    wide = axes.scale([*(point.number(1) for point in everything), 1.0])
    lines, labels = guides(
        ("y", _CV_OF_A_LINE, "on a line:<br>0.48", False),
        ("y", _CV_OF_TANH_CIRCLE, "2-unit circle<br>behind tanh:<br>0.16", False),
        ("y2", 2.0, "circle: 2", bool(wide)),
        ("y2", 1.0, "line: 1", bool(wide)),
    )
    labels[0]["yanchor"], labels[1]["yanchor"] = "bottom", "top"  # where the axis is long, their lines are close
    return figure(
        above + [trace | {"yaxis": "y2", "showlegend": False} for trace in below],
        title=f"In the last layer a circle of inputs has {wording.number(last.number(1))} dimensions (2 at the start)",
        caption="A circle of inputs passes through the network. Above: spread over mean of the distances between "
        "neighbouring points behind each layer; a circle has 0, a circle pressed onto a line 0.48, and a unit circle "
        "in the plane of two input units has 0.16 behind the first tanh already. Below: over how many principal "
        "components the curve is spread (participation ratio)."
        f"{_OVER_CIRCLES if any(point.measurements[0].interval for point in drawn) else ''}{_how_many(report)}"
        f"{_HOLLOW if blocks else ''}",
        n=len(drawn),
        left_out=left_out(report, *identifiers),
        height=540,
        xaxis=axes.depth(drawn) | {"anchor": "y2"},
        yaxis=axes.axis("unevenness CV", domain=[0.55, 1.0], range=[-0.02, max(0.55, *_ends(everything, 0))]),
        yaxis2=axes.axis("dimension PR", domain=[0.0, 0.45], **(wide or {"range": [0.8, _top(everything)]})),
        shapes=lines,
        annotations=labels,
        margin={"r": 92},
    )


def manifold_growth(report: Report) -> Spec:
    """How much longer the circle's image has become behind every layer, and how often it turns."""
    drawn = [point for point in points(report, "manifold.stretch") if point.number() > 0]
    turning = [point for point in points(report, "manifold.turns") if point.number() > 0]
    turning = turning if len(turning) > 1 else []  # the first layer's circle alone says nothing
    blocks = [point for point in points(report, "manifold.block_stretch") if point.number() > 0]
    above = scatter(drawn, ("manifold.stretch",), _place, Point.number, bars_y=0)
    above += _of_blocks(blocks, ("manifold.block_stretch",), 0)
    below = scatter(turning, ("manifold.turns",), _place, Point.number, bars_y=0)
    named = {trace["name"] for trace in above}
    lines, labels = guides(("y", 1.0, "input<br>circle: 1", True), ("y2", 1.0, "circle: 1", True))
    panels = 2 if turning else 1
    unresolved = left_out(report, "manifold.turns")
    layout: dict[str, Any] = {
        "yaxis": axes.axis("stretch L/L₀", domain=[0.55, 1.0], **axes.logarithmic([*_ends([*drawn, *blocks]), 1.0])),
        "yaxis2": axes.axis("turns", domain=[0.0, 0.45], **axes.logarithmic([*_ends(turning), 1.0])),
    }
    if not turning:
        layout = {"yaxis": layout["yaxis"] | {"domain": [0.0, 1.0]}}
    return figure(
        above + [trace | {"yaxis": "y2", "showlegend": trace["name"] not in named} for trace in below],
        title=f"Behind the last layer the circle is {_times(drawn)} as long{_turning(drawn, turning)}",
        caption="Length of the curve (per √unit) over that of the input circle. It grows by √χ₁ per layer in a random "
        "network: above the edge of chaos without end, below it the circle shrinks. The second panel, where there is "
        "one, shows how often the curve turns in all (the sum of the angles between successive steps); a circle turns "
        "once, a crumpled one often. Kinks (ReLU) and folds finer than the points leave the turns undetermined. Bars "
        f"are 95 % intervals over circles, and what finitely many points leave open.{_HOLLOW if blocks else ''}",
        n=len(drawn),
        left_out=" ".join(filter(None, (left_out(report, "manifold.stretch"), unresolved and f"Turns: {unresolved}"))),
        height=540 if turning else 380,
        xaxis=axes.depth(drawn or turning) | ({"anchor": "y2"} if turning else {}),
        shapes=lines[:panels],
        annotations=labels[:panels],
        margin={"r": 72},
        **layout,
    )


def manifold_projections(report: Report) -> Spec:
    """The circle's image in its first two principal components behind a few layers, side by side."""
    shown = _pictured(report)
    reach = max([1.6, *(1.1 * abs(value) for _, _, values in shown for value in values)])
    columns = 3 if len(shown) > 2 else max(len(shown), 1)
    rows = -(-len(shown) // columns)
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"annotations": [], "showlegend": False}
    for index, (place, layer, values) in enumerate(shown):
        number = "" if index == 0 else str(index + 1)
        x, y, z = (values[offset::3] for offset in range(3))
        data.append(_closed_curve(x, y, z, number, f"{safe(layer.name)}<br>layer {place}"))
        row, column = divmod(index, columns)
        left, right = (column + 0.04) / columns, (column + 0.96) / columns
        top, bottom = 1.0 - (row + 0.16) / rows, 1.0 - (row + 0.98) / rows
        bare = {"range": [-reach, reach], "showgrid": False, "showticklabels": False, "ticks": "", "zeroline": True}
        layout[f"xaxis{number}"] = bare | {"domain": [left, right], "anchor": f"y{number}", "constrain": "domain"}
        layout[f"yaxis{number}"] = bare | {
            "domain": [max(bottom, 0.0), top],
            "anchor": f"x{number}",
            "scaleanchor": f"x{number}",
            "constrain": "domain",
        }
        layout["annotations"].append(_heading(place, layer.measurements, (left + right) / 2.0, top))
    return figure(
        data,
        title=f"A circle of inputs behind {wording.plural(len(shown), 'layer')}, seen in two dimensions",
        caption="The image of the circle in its two strongest principal components, drawn to the same size (root mean "
        "square radius 1), so that only its shape is seen; colours go once around the circle. The percentage is the "
        "share of the variance in these two directions: where it is low, the curve goes through many more dimensions "
        "and the picture is its shadow.",
        n=len(shown),
        height=90 + 230 * rows,
        **layout,
    )


def _of_blocks(blocks: list[Point], identifiers: tuple[str, ...], index: int) -> list[dict[str, Any]]:
    """Hollow marks for what leaves the blocks, at the place of the layer that ends each."""
    traces = scatter(blocks, identifiers, _place, lambda point: point.number(index), is_open=lambda _: True)
    return [
        trace | {"name": f"blocks ending with {trace['name']}", "marker": trace["marker"] | {"color": GUIDE}}
        for trace in traces
    ]


def _pictured(report: Report) -> list[tuple[int, Layer, list[float]]]:
    """The layers whose circle is in the report: place, layer, and x, y, z point after point."""
    found: list[tuple[int, Layer, list[float]]] = []
    for place, layer in enumerate(report.layer_records, start=1):
        held = layer.measurements.get("manifold.projection")
        values = held.value if held is not None and isinstance(held.value, tuple) else ()
        numbers = [float(value) for value in values if not isinstance(value, str)]
        if not numbers or len(numbers) % 3:
            continue
        if found and found[-1][2] == numbers and _tensor(found[-1][1]) == _tensor(layer):
            continue  # parts of one tensor (queries, keys, values) have one output, and one picture
        found.append((place, layer, numbers))
    return found


def _tensor(layer: Layer) -> str:
    """The name of the tensor that holds the layer: "attn.qkv.weight" of "attn.qkv.weight[q]"."""
    return layer.name.partition("[")[0]


def _closed_curve(x: list[float], y: list[float], z: list[float], axis: str, name: str) -> dict[str, Any]:
    """One small multiple: the points in the order of θ, the first one again at the end."""
    count = max(len(x), 1)
    hover = [
        f"{name}<br>θ = {360 * place / count:.0f}°, third component {wording.number(z[place])}"
        for place in range(len(x))
    ]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name.partition("<br>")[0],
        "x": [*x, *x[:1]],
        "y": [*y, *y[:1]],
        "xaxis": f"x{axis}",
        "yaxis": f"y{axis}",
        "line": {"color": GUIDE, "width": 1},
        "marker": {
            "size": 5,
            "color": [place / count for place in range(len(x) + 1)],
            "cmin": 0,
            "cmax": 1,
            "colorscale": [[place / (len(_AROUND) - 1), colour] for place, colour in enumerate(_AROUND)],
        },
        "text": [*hover, *hover[:1]],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _heading(place: int, held: Any, x: float, y: float) -> dict[str, Any]:
    share = held.get("manifold.plane_share")
    number = share.number if share is not None else None
    text = f"layer {place}" + (f": {wording.share(min(number, 1.0))}" if number is not None else "")
    return {
        "text": text,
        "xref": "paper",
        "yref": "paper",
        "x": x,
        "y": y,
        "xanchor": "center",
        "yanchor": "bottom",
        "showarrow": False,
    }


def _how_many(report: Report) -> str:
    """How many circles of how many points, where the report says so."""
    held = [report.model.get(f"manifold.{name}") for name in ("circles", "points")]
    if any(item is None or item.number is None for item in held):
        return ""
    circles, number = (int(item.number or 0) for item in held if item is not None)
    return f" {wording.plural(circles, 'circle')} of {number} points."


def _ends(drawn: Sequence[Point], index: int = 0) -> list[float]:
    """Values and upper ends of the intervals."""
    return [point.number(index) + point.span(index)[0] for point in drawn] + [point.number(index) for point in drawn]


def _top(drawn: Sequence[Point]) -> float:
    return rounded(max(2.3, 1.05 * max(_ends(drawn, 1))))


def _times(drawn: Sequence[Point]) -> str:
    return f"{wording.number(drawn[-1].number())} times" if drawn else "nowhere near"


def _turning(drawn: Sequence[Point], turning: Sequence[Point]) -> str:
    """How often the curve turns, where that could be told behind the last layer."""
    if not drawn or not turning or drawn[-1].place != turning[-1].place:
        return ""
    return f" and turns {wording.number(turning[-1].number())} times"


def _place(point: Point) -> float:
    return point.place
