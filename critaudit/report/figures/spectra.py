"""Spectra of layers' Jacobians in the complex plane, with the circles that theory draws."""

from __future__ import annotations

import math
from typing import Any

from critaudit.report import wording
from critaudit.report.figures.panels import Panel, grid, heading, left_out, panels, suffix
from critaudit.report.figures.points import rounded
from critaudit.report.figures.style import GUIDE, Spec, figure, kind_style
from critaudit.report.record import Report

_CUTOFF = "#d55e00"
_DOTS, _CIRCLE = "eigenvalues", "cut-off radius in theory"
_DASHED = (
    "Dashed: where the eigenvalues of independent weights with the layer’s α and g thin out in a deep network of such "
    "layers (theory); with heavy tails a few lie beyond. "
)


def jacobian_spectrum(report: Report) -> Spec:
    """Eigenvalues of up to six square layers' Jacobians, the unit circle, and the theoretical cut-off circle."""
    drawn, total = panels(report, "jacobian.eigenvalues_re", "jacobian.eigenvalues_im")
    domains, rows = grid(drawn)
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    named: set[str] = set()
    for index, (panel, domain) in enumerate(zip(drawn, domains, strict=True)):
        traces = _traces(panel, suffix(index))
        data += [trace | {"showlegend": trace["name"] not in named} for trace in traces]
        named |= {trace["name"] for trace in traces}
        edges = {"is_lowest": index >= len(drawn) - 2, "is_left": index % 2 == 0}
        layout |= _axes(suffix(index), domain, _reach(panel), **edges)
    outside = sum(_radius(panel) >= 1.0 for panel in drawn)
    return figure(
        data,
        title=f"Eigenvalues of the Jacobian: {_where(outside, len(drawn))}",
        caption="Each dot is an eigenvalue of the layer’s Jacobian at one input: outside the unit circle a small "
        f"change grows when the layer acts again, inside it fades. {_DASHED if _CIRCLE in named else ''}"
        "It may mislead: one step can grow by more than ρ (the largest, which may lie beyond the picture; see the norm "
        "of the Jacobian), and trained weights are not independent.",
        n=sum(len(trace["x"]) for trace in data if trace["name"] == _DOTS),
        left_out=left_out(len(drawn), total, "eigenvalues"),
        height=90 + 330 * rows,
        annotations=[heading(panel, domain, _below(panel)) for panel, domain in zip(drawn, domains, strict=True)],
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "itemsizing": "constant"},
        **layout,
    )


def _traces(panel: Panel, number: str) -> list[dict[str, Any]]:
    real, imaginary = panel.series
    upper = [(x, y) for x, y in zip(real, imaginary, strict=True)]
    mirrored = upper + [(x, -y) for x, y in upper if y > 0.0]
    place = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
    marks = {
        "type": "scatter",
        "mode": "markers",
        "name": _DOTS,
        "x": [rounded(x) for x, _ in mirrored],
        "y": [rounded(y) for _, y in mirrored],
        "marker": {"color": kind_style(panel.layer.kind)[0], "size": 4, "opacity": 0.7},
        "customdata": [panel.place] * len(mirrored),
        "hovertemplate": "%{x:.3g} + %{y:.3g} i<extra></extra>",
    }
    traces = [marks | place, _circle(1.0, "unit circle", GUIDE, "solid") | place]
    cutoff = panel.number("jacobian.cutoff_radius_theory")
    if cutoff is not None:
        traces.append(_circle(cutoff, _CIRCLE, _CUTOFF, "dash") | place)
    return traces


def _circle(radius: float, name: str, colour: str, dash: str) -> dict[str, Any]:
    turns = [2.0 * math.pi * step / 90 for step in range(91)]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [rounded(radius * math.cos(turn)) for turn in turns],
        "y": [rounded(radius * math.sin(turn)) for turn in turns],
        "line": {"color": colour, "dash": dash, "width": 1.5},
        "hoverinfo": "skip",
    }


def _axes(
    number: str, domain: tuple[list[float], list[float]], reach: float, *, is_lowest: bool, is_left: bool
) -> dict[str, Any]:
    """Axes of equal scale; titles only at the edge of the grid."""
    common = {"range": [-reach, reach], "constrain": "domain", "zeroline": True}
    return {
        f"xaxis{number}": common
        | {"domain": domain[0], "anchor": f"y{number}", "title": {"text": "Re λ" if is_lowest else ""}},
        f"yaxis{number}": common
        | {
            "domain": domain[1],
            "anchor": f"x{number}",
            "scaleanchor": f"x{number}",
            "title": {"text": "Im λ" if is_left else ""},
        },
    }


def _radius(panel: Panel) -> float:
    return max(math.hypot(x, y) for x, y in zip(*panel.series, strict=True))


def _reach(panel: Panel) -> float:
    """How far the axes go: a few eigenvalues far out must not shrink the rest to a dot."""
    radii = sorted(math.hypot(x, y) for x, y in zip(*panel.series, strict=True))
    most = max(1.0, panel.number("jacobian.cutoff_radius_theory") or 0.0, radii[int(0.97 * (len(radii) - 1))])
    return rounded(1.08 * max(most, min(radii[-1], 1.5 * most)))


def _where(outside: int, drawn: int) -> str:
    whole = wording.plural(drawn, "layer")
    return (
        f"some lie beyond the unit circle in {outside} of {whole}" if outside else f"within the unit circle in {whole}"
    )


def _below(panel: Panel) -> str:
    share = panel.number("jacobian.expanding_share")
    radius = panel.number("jacobian.spectral_radius")
    parts = [] if share is None else [f"{wording.share(share)} expand"]
    parts += [] if radius is None else [f"ρ = {wording.number(radius)}"]
    return ", ".join(parts)
