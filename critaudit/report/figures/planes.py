"""Figures in the plane of two quantities, with the theory's line as a guide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from critaudit.report import wording
from critaudit.report.figures import axes
from critaudit.report.figures.points import Point, left_out, points, scatter
from critaudit.report.figures.style import GUIDE, Spec, figure
from critaudit.report.record import Report
from critaudit.theory.ordered_line_table import ORDERED_LINE
from critaudit.theory.spin_glass_table import BOUNDARY


def alpha_g_plane(report: Report) -> Spec:
    """Every layer in the plane of stable exponent α and weight scale g, with the ordered line of theory."""
    identifiers = ("entries.alpha", "entries.g_forward")
    drawn = points(report, *identifiers)
    marks = scatter(
        drawn, identifiers, lambda point: point.number(0), lambda point: point.number(1), bars_x=0, bars_y=1
    )
    alphas, gs = zip(*ORDERED_LINE, strict=True)
    scale = axes.scale([point.number(1) for point in drawn])
    lowest = min(point.number() - point.span()[1] for point in drawn)
    return figure(
        [*marks, _guide(alphas, gs, "ordered line (cutoff), tanh, i.i.d.")],
        title=f"{wording.plural(len(drawn), 'layer')} by the weight of their tails (α) and their scale (g)",
        caption="Left is heavier-tailed, up is stronger (N = fan-in). The ordered line is theory for tanh and "
        "independent weights: below it signals all but die out in a network of such layers. Trained weights are not "
        "independent and your activation may not be tanh: read each mark as an i.i.d. surrogate of its layer. "
        "Bars are 95 % intervals.",
        n=len(drawn),
        left_out=left_out(report, *identifiers),
        height=440,
        xaxis=axes.axis("stable exponent α (no unit)", range=[max(0.0, min(0.95, lowest - 0.05)), 2.06]),
        yaxis=axes.axis("weight scale g (no unit)", **(scale or {"rangemode": "tozero"})),
    )


def j0_j_plane(report: Report) -> Spec:
    """Every layer in the plane of mean coupling J₀ and coupling spread J, with the edge of chaos of tanh layers."""
    identifiers = ("edge.j0", "edge.j")
    drawn = points(report, *identifiers)
    marks = scatter(
        drawn,
        identifiers,
        lambda point: point.number(0),
        lambda point: point.number(1),
        bars_x=0,
        bars_y=1,
        is_open=lambda point: not _theory_applies(point),
    )
    j0s, js = zip(*_boundary(drawn), strict=True)
    applies = sum(_theory_applies(point) for point in drawn)
    return figure(
        [*marks, _guide(j0s, js, "edge of chaos (square tanh layers)")],
        title=f"{wording.plural(len(drawn), 'layer')} by mean (J₀) and spread (J) of their couplings",
        caption="J₀ = N · mean(W), J = √(N · var(W)), N = fan-in. Below the line a network of such layers is ordered, "
        "above it chaotic. The line holds for square tanh layers with independent weights; it applies to "
        f"{applies} of these layers (filled marks), the others (open) are shown for comparison.",
        n=len(drawn),
        left_out=left_out(report, *identifiers),
        height=440,
        xaxis=axes.axis("mean coupling J₀ (no unit)"),
        yaxis=axes.axis("coupling spread J (no unit)", rangemode="tozero"),
    )


def _guide(x: Sequence[float], y: Sequence[float], name: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(x) < 10 else "lines",
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": {"color": GUIDE, "dash": "dash", "width": 1.5},
        "marker": {"size": 4, "color": GUIDE},
        "hoverinfo": "skip",
    }


def _theory_applies(point: Point) -> bool:
    phase = point.layer.measurements.get("edge.phase")
    return phase is not None and phase.status == "measured"


def _boundary(drawn: list[Point]) -> list[tuple[float, float]]:
    """The tabulated tanh boundary J(J₀), as far as the layers' intervals reach, at most from −10 to 10."""
    low = min(-1.5, *(point.number() - point.span()[1] for point in drawn))
    high = max(1.5, *(point.number() + point.span()[0] for point in drawn))
    both_sides = sorted({(sign * j0, j) for j0, j in BOUNDARY for sign in (-1, 1)})
    within = [index for index, (j0, _) in enumerate(both_sides) if low <= j0 <= high]
    return both_sides[max(within[0] - 1, 0) : within[-1] + 2]
