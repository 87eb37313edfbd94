"""Figures in the plane of two quantities, with the theory's line as a guide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from critaudit.report.figures import style
from critaudit.report.figures.points import Point, hover, left_out, points, rounded
from critaudit.report.record import Report

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Scatter

# Qu22 for tanh and independent weights: where the characteristic spectral radius is 1 (the paper's figure).
ORDERED_LINE = ((1.0, 0.47687), (1.2, 0.51428), (1.5, 0.60201), (1.8, 0.76266), (1.9, 0.85636), (2.0, 1.0))


def alpha_g_plane(report: Report) -> Figure:
    """Every layer in the plane of stable exponent α and weight scale g, with the ordered line of theory."""
    import plotly.graph_objects as go

    identifiers = ("entries.alpha", "entries.g_forward")
    drawn = points(report, *identifiers)
    figure = go.Figure(_cloud(drawn, identifiers, open_for=lambda _: False))
    alphas, gs = zip(*ORDERED_LINE, strict=True)
    figure.add_trace(_guide(alphas, gs, "ordered line (cutoff), tanh, i.i.d."))
    return style.finish(
        figure,
        title=f"{len(drawn)} layers by the weight of their tails (α) and the scale of their weights (g)",
        caption="Left is heavier-tailed, up is stronger (N = fan-in). The ordered line joins six points of theory for "
        "tanh and independent weights; below it signals die out in a network of such layers. Trained weights are not "
        "independent and your activation may not be tanh: read each mark as an i.i.d. surrogate of its layer. "
        "Bars are 95 % intervals.",
        n=len(drawn),
        left_out=left_out(report, *identifiers),
        height=440,
        xaxis={"title": "stable exponent α (no unit)", "range": [_low_alpha(drawn), 2.06]},
        yaxis={"title": "weight scale g (no unit)", "rangemode": "tozero"},
    )


def j0_j_plane(report: Report) -> Figure:
    """Every layer in the plane of mean coupling J₀ and coupling spread J, with the edge of chaos of tanh layers."""
    import plotly.graph_objects as go

    identifiers = ("edge.j0", "edge.j")
    drawn = points(report, *identifiers)
    figure = go.Figure(_cloud(drawn, identifiers, open_for=lambda point: not _theory_applies(point)))
    j0s, js = zip(*_boundary([point.number(0) for point in drawn]), strict=True)
    figure.add_trace(_guide(j0s, js, "edge of chaos (square tanh layers)"))
    applies = sum(_theory_applies(point) for point in drawn)
    return style.finish(
        figure,
        title=f"{len(drawn)} layers by mean (J₀) and spread (J) of their couplings",
        caption="J₀ = N · mean(W), J = √(N · var(W)), N = fan-in. Below the line a network of such layers is ordered, "
        "above it chaotic. The line holds for square tanh layers with independent weights; it applies to "
        f"{applies} of these layers (filled markers), the others (open) are shown for comparison.",
        n=len(drawn),
        left_out=left_out(report, *identifiers),
        height=440,
        xaxis={"title": "mean coupling J₀ (no unit)"},
        yaxis={"title": "coupling spread J (no unit)", "rangemode": "tozero"},
    )


def _cloud(drawn: list[Point], identifiers: tuple[str, str], open_for: Callable[[Point], bool]) -> list[Scatter]:
    """One trace per kind; markers are open where `open_for` says so."""
    import plotly.graph_objects as go

    by_kind: dict[str, list[Point]] = defaultdict(list)
    for point in drawn:
        by_kind[point.layer.kind].append(point)
    traces = []
    for kind, members in by_kind.items():
        colour, symbol = style.kind_style(kind)
        traces.append(
            go.Scatter(
                x=[point.number(0) for point in members],
                y=[point.number(1) for point in members],
                error_x=_bars(members, 0),
                error_y=_bars(members, 1),
                mode="markers",
                name=kind.replace("_", " ").replace("<", "&lt;"),
                marker={
                    "color": colour,
                    "symbol": [f"{symbol}-open" if open_for(point) else symbol for point in members],
                    "size": 9 if len(drawn) <= 200 else 6,
                    "opacity": 0.85,
                },
                text=[hover(point, identifiers) for point in members],
                customdata=[point.place for point in members],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    return traces


def _bars(members: list[Point], index: int) -> dict[str, Any] | None:
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


def _guide(x: Sequence[float], y: Sequence[float], name: str) -> Scatter:
    import plotly.graph_objects as go

    return go.Scatter(
        x=x,
        y=y,
        mode="lines+markers" if len(x) < 10 else "lines",
        name=name,
        line={"color": style.GUIDE, "dash": "dash", "width": 1.5},
        marker={"size": 4, "color": style.GUIDE},
        hoverinfo="skip",
    )


def _theory_applies(point: Point) -> bool:
    phase = point.layer.measurements.get("edge.phase")
    return phase is not None and phase.status == "measured"


def _boundary(j0s: list[float]) -> list[tuple[float, float]]:
    """The tanh boundary J(J₀) over the range of the layers, at most from −10 to 10, on 61 points."""
    import numpy as np

    from critaudit.theory.spin_glass import boundary

    low, high = max(min(-1.0, *j0s), -10.0), min(max(1.5, *j0s), 10.0)
    return [(rounded(float(j0)), rounded(boundary(float(j0)))) for j0 in np.linspace(low, high, 61)]


def _low_alpha(drawn: list[Point]) -> float:
    return max(0.0, min(0.95, min(point.number() - point.span()[1] for point in drawn) - 0.05))
