"""Figure of layers applied to their own output."""

from __future__ import annotations

from critaudit.report import wording
from critaudit.report.figures import axes
from critaudit.report.figures.guides import guides
from critaudit.report.figures.points import Point, left_out, points, scatter
from critaudit.report.figures.style import Spec, figure
from critaudit.report.record import Report


def asymptotic_by_depth(report: Report) -> Spec:
    """Lyapunov exponent and asymptotic Jacobian norm of every square layer against the edge of chaos."""
    identifiers = ("asymptotic.exponent", "asymptotic.jacobian")
    drawn = points(report, *identifiers)
    above = scatter(drawn, identifiers, _place, Point.number, bars_y=0)
    below = scatter(drawn, identifiers, _place, lambda point: point.number(1), bars_y=1)
    chaotic = sum(point.number() - point.span()[1] > 0.0 for point in drawn)
    lines, labels = guides(("y", 0.0, "edge of<br>chaos: 0", False), ("y2", 1.0, "edge of<br>chaos: 1", False))
    exponents = [end for point in drawn for end in (point.number() + point.span()[0], point.number() - point.span()[1])]
    norms = [point.number(1) for point in drawn]
    return figure(
        above + [trace | {"yaxis": "y2", "showlegend": False} for trace in below],
        title=f"Chaotic on their own: {chaotic} of {wording.plural(len(drawn), 'square layer')}",
        caption="Each square layer is applied to its own output until it settles. Above: growth per step of a small "
        "difference between two inputs (ln); above 0 nearby inputs separate for ever, below 0 they meet. Below: the "
        "Jacobian’s Frobenius norm per √unit on the attractor, about 1 at the edge for independent weights. Bars are "
        "95 % intervals over inputs. The network itself applies a layer once.",
        n=len(drawn),
        left_out=left_out(report, *identifiers),
        height=540,
        xaxis=axes.depth(drawn) | {"anchor": "y2"},
        yaxis=axes.axis("Lyapunov exponent λ", domain=[0.55, 1.0], range=_around(exponents, 0.0)),
        yaxis2=axes.axis("‖J*‖ per √unit", domain=[0.0, 0.45], range=_around(norms, 1.0)),
        shapes=lines,
        annotations=labels,
        margin={"r": 72},
    )


def _around(values: list[float], guide: float) -> list[float]:
    """A range that holds the values and the guide, with a margin."""
    low, high = min([*values, guide]), max([*values, guide])
    margin = max(0.08 * (high - low), 0.02)
    return [low - margin, high + margin]


def _place(point: Point) -> float:
    return point.place
