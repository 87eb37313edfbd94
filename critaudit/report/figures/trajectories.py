"""Quantities along a training: a line per layer, or where there are many, their middle, their spread and the movers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any, cast

from critaudit.measurement import Measurement
from critaudit.report import measures, wording
from critaudit.report.figures import axes
from critaudit.report.figures.points import rounded, safe
from critaudit.report.figures.regions import border
from critaudit.report.figures.style import GUIDE, Spec, figure, level, series_colour
from critaudit.report.record import Layer, Report

LINES = 10  # layers that are drawn one by one
_MOVERS = 5
_MARKS = 60  # points up to which each has a mark
Series = list[tuple[float, float]]


def along(identifier: str, title: str, caption: str, **guide: Any) -> Callable[[Report], Spec]:
    """The drawing of one followed quantity; `guide` is the layout of a reference line."""

    def draw(report: Report) -> Spec:
        held = {layer.name: series(layer, identifier) for layer in report.layer_records}
        drawn = {name: points for name, points in held.items() if points}
        gone = len(held) - len(drawn)
        values = [value for points in drawn.values() for _, value in points]
        many = len(drawn) > LINES
        scale = {} if guide or not values else axes.scale(values)
        return figure(
            _band(drawn) + _lines(_movers(drawn)) if many else _lines(drawn),
            title=title,
            caption=f"{caption} {_WHAT_MANY if many else ''}".strip(),
            n=len(drawn),
            left_out=f"{wording.plural(gone, 'layer has', 'layers have')} no number." if gone else "",
            xaxis=axes.axis(unit(report)),
            yaxis=axes.axis(_axis_title(identifier), **scale),
            **guide,
        )

    return draw


_WHAT_MANY = (
    "Many layers: the line is their median, the band holds the middle half of them, and the layers that moved most are "
    "drawn one by one."
)


def series(layer: Layer, identifier: str) -> Series:
    """(step, value) pairs of a followed quantity of a layer, empty where it was not measured."""
    return series_of(layer.measurements, identifier)


def series_of(measurements: Mapping[str, Measurement], identifier: str) -> Series:
    """(step, value) pairs of a followed quantity, empty where it was not measured."""
    values = measurements.get(f"trajectory.{identifier}")
    places = measurements.get(f"trajectory.{identifier}.at")
    if values is None or places is None or not isinstance(values.value, tuple) or not isinstance(places.value, tuple):
        return []
    steps, numbers = cast("tuple[float, ...]", places.value), cast("tuple[float, ...]", values.value)
    return [(rounded(float(step)), rounded(float(value))) for step, value in zip(steps, numbers, strict=True)]


def unit(report: Report) -> str:
    """What the steps count."""
    held = report.model.get("trajectory.unit")
    return str(held.value) if held is not None and held.value is not None else "step"


def _axis_title(identifier: str) -> str:
    measure = measures.describe(identifier)
    return measure.heading


def _lines(drawn: dict[str, Series]) -> list[dict[str, Any]]:
    return [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(points) <= _MARKS else "lines",
            "name": safe(name),
            "x": [step for step, _ in points],
            "y": [value for _, value in points],
            "line": {"width": 1.5},
            "marker": {"size": 5},
            "hovertemplate": f"{safe(name)}<br>%{{x}}: %{{y:.4g}}<extra></extra>",
        }
        for name, points in drawn.items()
    ]


def _band(drawn: dict[str, Series]) -> list[dict[str, Any]]:
    """Median and quartiles over the layers, step by step."""
    by_step: dict[float, list[float]] = {}
    for points in drawn.values():
        for step, value in points:
            by_step.setdefault(step, []).append(value)
    steps = [step for step in sorted(by_step) if len(by_step[step]) > 1]
    quartiles = [statistics.quantiles(by_step[step], n=4, method="inclusive") for step in steps]
    common = {"type": "scatter", "mode": "lines", "x": steps, "hoverinfo": "skip"}
    return [
        {**common, "y": [q[0] for q in quartiles], "line": {"width": 0}, "showlegend": False},
        {
            **common,
            "y": [q[2] for q in quartiles],
            "line": {"width": 0},
            "fill": "tonexty",
            "fillcolor": "rgba(128,128,128,0.25)",
            "name": "middle half of the layers",
        },
        {
            **common,
            "y": [q[1] for q in quartiles],
            "line": {"color": GUIDE, "width": 2.5},
            "name": "median",
            "hoverinfo": "x+y",
        },
    ]


def _movers(drawn: dict[str, Series]) -> dict[str, Series]:
    order = sorted(drawn, key=lambda name: -abs(drawn[name][-1][1] - drawn[name][0][1]))
    return {name: drawn[name] for name in drawn if name in order[:_MOVERS]}


def path_in_plane(report: Report) -> Spec:
    """Every layer's way through the plane of mean coupling J₀ and coupling spread J (Zhang21, Fig. 2)."""
    from critaudit.theory.spin_glass_table import BOUNDARY

    paths = {}
    for layer in report.layer_records:
        x, y = dict(series(layer, "edge.j0")), dict(series(layer, "edge.j"))
        steps = [step for step in x if step in y]
        if len(steps) > 1:
            paths[layer.name] = [(x[step], y[step]) for step in steps]
    shown = paths if len(paths) <= LINES else {name: paths[name] for name in list(paths)[:LINES]}
    reach = max([2.0, *(abs(x) for points in shown.values() for x, _ in points)])
    both = sorted({(sign * j0, j) for j0, j in BOUNDARY for sign in (-1, 1) if j0 <= 1.2 * reach})
    hover = "J₀ = %{x:.4g}, J = %{y:.4g}"
    lines = [way(name, points, hover, place) for place, (name, points) in enumerate(shown.items())]
    guide = border(both, "edge of chaos (square tanh layers)")
    rest = len(paths) - len(shown)
    return figure(
        [*lines, guide],
        title=f"The way of {wording.plural(len(shown), 'layer')} through the plane of couplings",
        caption="J₀ = N · mean(W), J = √(N · var(W)); the diamond is the last point. Below the dashed "
        "line a network of such layers is ordered, above it chaotic; the line holds for square tanh layers with "
        "independent weights, and trained weights are not independent. It is drawn without biases: they move a layer's "
        "own edge, which is its “spread at the edge”.",
        n=len(shown),
        left_out=f"{wording.plural(rest, 'layer')} beyond the first {LINES} not drawn." if rest else "",
        height=440,
        xaxis=axes.axis("mean coupling J₀ (no unit)"),
        yaxis=axes.axis("coupling spread J (no unit)", rangemode="tozero"),
    )


def way(name: str, points: Series, hover: str, place: int) -> dict[str, Any]:
    """A layer's way through a plane, in the colour of its place among those drawn; a diamond at its end."""
    before = len(points) - 1
    small = 4 if before < _MARKS else 0
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": safe(name),
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "line": {"width": 1.5, "color": series_colour(place)},
        "marker": {
            "size": [small] * before + [10],
            "symbol": ["circle"] * before + ["diamond"],
            "color": series_colour(place),
            "line": {"width": 0},  # plotly outlines marks of several sizes
        },
        "hovertemplate": f"{safe(name)}<br>{hover}<extra></extra>",
    }


DRAWN: dict[str, Callable[[Report], Spec]] = {
    "entries.alpha": along(
        "entries.alpha",
        "The weight of the tails along the training",
        "Stable exponent α of every layer; 2 is Gaussian, lower is heavier-tailed. A fitted α below 2 does not prove a "
        "stable law.",
        **level(2.0, "α = 2:<br>Gaussian"),
    ),
    "edge.j": along(
        "edge.j",
        "The coupling spread along the training",
        "J = √(N · var(W)). Without weight decay J² grows about linearly (Zhang et al. 2021).",
    ),
    "edge.chi1": along(
        "edge.chi1",
        "Distance to the edge of chaos along the training",
        "χ₁ of every layer as if its weights were independent; the edge is at 1.",
        **level(1.0, "χ₁ = 1:<br>edge of<br>chaos"),
    ),
    "signal.strength": along(
        "signal.strength",
        "Signal strength behind the layers along the training",
        "Root mean square of every layer's output in the training's own passes.",
    ),
    "signal.gradient": along(
        "signal.gradient",
        "Gradient strength at the layers along the training",
        "Norm of the loss's gradient with respect to every layer's output, over the batch. Where it is far smaller at "
        "the first layers than at the last, those barely learn.",
    ),
    "optimizer.weight_decay": along(
        "optimizer.weight_decay",
        "Weight decay along the training",
        "Of every layer's parameter group, as PyTorch takes it.",
    ),
    "spectrum.stable_rank": along(
        "spectrum.stable_rank",
        "Over how many directions the layers act, along the training",
        "Squared Frobenius over squared spectral norm. A fall means that few directions take over.",
    ),
    "jacobian.mean_log": along(
        "jacobian.mean_log",
        "Expansion of the layers along the training",
        "Mean ln|λ| of every dense layer's Jacobian at its operating point; at 0 it neither expands nor contracts.",
        **level(0.0, "0"),
    ),
    "multifractal.d2_left": along(
        "multifractal.d2_left",
        "How far the layers' modes spread, along the training",
        "Correlation dimension D₂ of the left eigenvectors: 0 sits on one unit, 1 on all alike.",
    ),
}
