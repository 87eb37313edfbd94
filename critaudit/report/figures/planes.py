"""Figures in the plane of two quantities, with the theory's line as a guide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from critaudit.report import wording
from critaudit.report.figures import axes
from critaudit.report.figures.points import Point, left_out, points, rounded, safe, scatter
from critaudit.report.figures.regions import Window, border, labels, regions
from critaudit.report.figures.style import GUIDE, Spec, figure
from critaudit.report.record import Report
from critaudit.theory.phase_lines_table import CHAOTIC_LINE, FIXED_POINT_LINE, ORDERED_LINE
from critaudit.theory.spin_glass_table import BOUNDARY

_MOVED = (
    " A ring joined to a mark is the layer as it is, where an i.i.d. layer would have the Jacobian’s mean ln|λ| (of "
    "singular values where it is not square) that was measured relative to the layer with its entries shuffled: their "
    "distance is what the arrangement of the weights adds. It may mislead: it folds all structure into one number, at "
    "one operating point, and a mean of logarithms says nothing of the strongest directions."
)

# Of eigenvalues where a layer has some, else of singular values: both move with ln g alike.
_MEAN_LOGS = ("jacobian.mean_log", "jacobian.mean_log_singular")


def alpha_g_plane(report: Report) -> Spec:
    """Every layer on the phase diagram of heavy-tailed networks: as an i.i.d. surrogate, and as it is where known."""
    identifiers = ("entries.alpha", "entries.g_forward")
    drawn = points(report, *identifiers)
    marks = scatter(
        drawn, identifiers, lambda point: point.number(0), lambda point: point.number(1), bars_x=0, bars_y=1
    )
    moved = _as_they_are(drawn)
    left = min(point.number() - point.span()[1] for point in drawn)
    window = window_of(left, [*(point.number(1) for point in drawn), *(g for _, g in moved)])
    caption = (
        "Left is heavier-tailed, up is stronger (N = fan-in). Each mark is an i.i.d. surrogate: its layer’s tail and "
        "scale, as if the weights were independent, which trained ones are not. Regions are theory for wide tanh "
        "networks: below, signals all but die out; above, small differences grow. The chaotic line is where the "
        "Jacobian’s average of f₁ (L = 1, radii cut at r₀ = 0.01) falls back to its value on the ordered line. It "
        "moves with r₀: at α = 1.5 from g = 2.01 to 1.50 without a cut. Bars are 95 % intervals."
    )
    return figure(
        [
            *regions(ORDERED_LINE, CHAOTIC_LINE, window),
            *_movements(moved),
            *marks,
            border(ORDERED_LINE, "ordered line (cutoff), tanh, i.i.d."),
            border(FIXED_POINT_LINE, "ordered line (fixed point)", dash="dot", width=1),
            border(CHAOTIC_LINE, "chaotic line (L = 1, r₀ = 0.01)", dash="solid"),
        ],
        title=f"{wording.plural(len(drawn), 'layer')} by the weight of their tails (α) and their scale (g)",
        caption=caption + (_MOVED if moved else ""),
        n=len(drawn),
        left_out=left_out(report, *identifiers),
        height=500,
        xaxis=axes.axis("stable exponent α (no unit)", range=[window.left, 2.06]),
        yaxis=axes.axis("weight scale g (no unit)", **g_axis(window)),
        annotations=labels(ORDERED_LINE, CHAOTIC_LINE, window),
    )


def window_of(least_alpha: float, scales: Sequence[float]) -> Window:
    """The part of the (α, g) plane that holds all marks and the three regions."""
    gs = [g for g in scales if g > 0.0]
    left = max(0.0, min(0.95, least_alpha - 0.05))
    if gs and axes.scale(gs):
        return Window(left, 0.6 * min(*gs, 0.5), 1.6 * max(*gs, 2.0), logarithmic=True)
    return Window(left, 0.0, 1.08 * max([*gs, 2.2]))


def g_axis(window: Window) -> dict[str, Any]:
    """The window's vertical axis."""
    if not window.logarithmic:
        return {"range": window.range}
    return axes.logarithmic([window.bottom, window.top]) | {"range": window.range}


def _as_they_are(drawn: list[Point]) -> list[tuple[Point, float]]:
    """The layers whose Jacobian was measured beside that of their shuffled entries, at the g that makes up for it.

    Shuffling keeps (α, g). The Jacobian's mean logarithm is ln g + …, so that the difference between the layer as it is
    and its shuffled copy is a shift of ln g.
    """
    found = []
    for point in drawn:
        for name in _MEAN_LOGS:
            held = [point.layer.measurements.get(f"{name}{end}") for end in ("", "_shuffled")]
            numbers = [item.number for item in held if item is not None and item.number is not None]
            if len(numbers) == 2 and abs(numbers[0] - numbers[1]) < 50.0:
                found.append((point, rounded(point.number(1) * math.exp(numbers[0] - numbers[1]))))
                break
    return found


def _movements(moved: list[tuple[Point, float]]) -> list[dict[str, Any]]:
    """A thin line from each surrogate to the layer as it is, and an open ring there."""
    if not moved:
        return []
    segments_x = [x for point, _ in moved for x in (point.number(0), point.number(0), None)]
    segments_y = [y for point, g in moved for y in (point.number(1), g, None)]
    common = {"type": "scatter", "showlegend": False, "hoverinfo": "skip"}
    return [
        common
        | {
            "mode": "lines",
            "name": "from the surrogate to the layer as it is",
            "x": segments_x,
            "y": segments_y,
            "line": {"color": GUIDE, "width": 1},
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "the layer as it is",
            "x": [point.number(0) for point, _ in moved],
            "y": [g for _, g in moved],
            "marker": {"symbol": "circle-open", "size": 8 if len(moved) <= 200 else 5, "color": GUIDE},
            "text": [
                f"{safe(point.layer.name)}, as it is<br>g·exp(Δ mean ln|λ|) = {wording.number(g)}" for point, g in moved
            ],
            "customdata": [point.place for point, _ in moved],
            "hovertemplate": "%{text}<extra></extra>",
        },
    ]


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
        "above it chaotic. The line holds for square tanh layers with independent weights and no bias (a bias moves a "
        f"layer's own edge, which is its “spread at the edge”); it applies to {applies} of these layers (filled "
        "marks), the others (open) are shown for comparison.",
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
