"""Phase diagrams of theory, drawn from a report without a model (`critaudit phase`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from critaudit.report import wording
from critaudit.report.figures import axes
from critaudit.report.figures.maps import EDGE, WIDOM, WIDOM_BY_SQUARE, colour_bar, colour_map
from critaudit.report.figures.model_series import number, numbers
from critaudit.report.figures.regions import CHAOTIC, CRITICAL, ORDERED, Window, border, labels, polygon, regions
from critaudit.report.figures.style import Spec, figure
from critaudit.report.record import Report
from critaudit.text import printable

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_SECOND = "#7f70d0"
# The map's darkest colour stands for this share of the largest susceptibility, and less.
_FAINTEST = 0.02


def phase_alpha_g(report: Report) -> Spec:
    """Order, extended criticality and chaos for heavy-tailed weights, with both definitions of the ordered line."""
    alphas = numbers(report, "phase.alphas")
    definition = _definition(report)
    power, r0 = f"{number(report, 'phase.power'):g}", number(report, "phase.r0")
    ordered = _line(alphas, numbers(report, f"phase.ordered_{definition}"))
    other = "fixed_point" if definition == "cutoff" else "cutoff"
    second = _line(alphas, numbers(report, f"phase.ordered_{other}"))
    chaotic = _chaotic(report, "")
    highest = 1.1 * max(g for _, g in (*ordered, *second, *chaotic))
    window = Window(alphas[0], 0.0, highest)
    moved = [
        border(_chaotic(report, suffix), f"chaotic line, {words}", dash=dash, width=1)
        for suffix, words, dash in (
            ("_smaller_r0", f"r₀ = {0.1 * r0:g}", "dot"),
            ("_no_cut", "no cut", "dashdot"),
        )
        if _chaotic(report, suffix)
    ]
    return figure(
        [
            *regions(ordered, chaotic, window),
            border(ordered, f"ordered line ({definition.replace('_', ' ')})", dash="dash", width=2),
            border(second, f"ordered line ({other.replace('_', ' ')})", dash="dot", width=1.2, colour=_SECOND),
            *([border(chaotic, f"chaotic line, r₀ = {r0:g}", dash="solid", width=2)] if chaotic else []),
            *moved,
        ],
        title=f"Heavy-tailed weights: phases by tail (α) and scale (g), f₁ with L = {power}, r₀ = {r0:g}",
        caption="Wide networks with independent stable weights, no biases. Order below the dashed line: by the "
        "cutoff definition the Jacobian’s characteristic radius passes 1 there (as Qu et al. draw it), "
        "by the other q* = 0.01 (as they write it); for α < 2 either is a crossover, not a transition. "
        f"Extended critical while the Jacobian’s average of f₁(r) = {_f1(power)}, radii cut at "
        f"r₀ = {r0:g}, exceeds its value on the ordered line; chaotic beyond. The region’s "
        "upper edge moves with r₀, as the thin lines show: it is a convention, not a property of "
        "networks.",
        n=len(alphas),
        height=520,
        xaxis=axes.axis("stable exponent α (no unit)", range=[alphas[0], 2.02]),
        yaxis=axes.axis("weight scale g (no unit)", range=window.range),
        annotations=labels(ordered, chaotic, window),
    )


def phase_sigma(report: Report) -> Spec:
    """Edge of chaos, Widom lines and susceptibility for Gaussian weights and biases."""
    biases, weights, values = (numbers(report, f"phase.map_{name}") for name in ("sigma_b", "sigma_w", "chi"))
    drawn = numbers(report, "phase.window")
    window = drawn if len(drawn) == 3 else [min(weights), max(weights), max(biases)]
    floor = min(_FAINTEST * max(values, default=0.0), 0.05)
    traces = []
    if floor > 0.0:
        hover = "σ_w = %{x:.3g}, σ_b = %{y:.3g}<br>χ_s = %{text}"
        texts = [wording.number(value) for value in values]
        traces = [
            colour_map(
                weights, biases, values, floor=floor, name="susceptibility", sign="χ_s", hover=hover, texts=texts
            )
        ]
    for name, words, colour, dash, width in (
        ("edge_stable", "edge of chaos, χ₁ = 1", EDGE, "solid", 2.5),
        ("edge_unstable", "χ₁ = 1, length unstable", EDGE, "dot", 1.5),
        ("widom", "Widom line, ∂s/∂σ_w largest", WIDOM, "dash", 2.5),
        ("widom_by_sigma_w2", "∂s/∂σ_w² largest", WIDOM_BY_SQUARE, "dashdot", 1.5),
    ):
        line = list(
            zip(numbers(report, f"phase.{name}_sigma_w"), numbers(report, f"phase.{name}_sigma_b"), strict=False)
        )
        if line:
            shape = {"mode": "lines+markers", "marker": {"color": colour, "size": 7}} if len(line) == 1 else {}
            traces.append(border(line, words, dash=dash, width=width, colour=colour) | shape)
    crossing = [number(report, f"phase.crossing_{axis}") for axis in ("sigma_w", "sigma_b")]
    if not math.isnan(crossing[0]):
        traces.append(_crossing(*crossing))
    return figure(
        traces,
        title=f"Gaussian weights: susceptibility of {printable(_activation(report), limit=40)} networks",
        caption="Wide networks with Gaussian weights (σ_w² = fan-in · variance) and biases (σ_b²). Colour: χ_s = "
        "∂s*/∂σ_w, how much the signal’s strength responds to the weights’ scale; empty where the signal "
        "grows without end. On the edge of chaos (χ₁ = 1) small differences neither fade nor grow: order "
        "to its left, chaos to its right. The Widom line is where χ_s is largest; taken by σ_w² it is "
        "another line. Theory for infinite width and independent weights, without normalisation and "
        "residual branches.",
        n=len(values),
        height=520,
        xaxis=axes.axis("weight scale σ_w (no unit)", range=window[:2]),
        yaxis=axes.axis("bias scale σ_b (no unit)", range=[0.0, window[2]]),
        **(colour_bar(traces[0]) if floor > 0.0 else {}),
    )


def phase_j0_j(report: Report) -> Spec:
    """The Sherrington–Kirkpatrick phases of square tanh layers by mean and spread of their couplings."""
    j0s, js = numbers(report, "phase.boundary_j0"), numbers(report, "phase.boundary_j")
    line = _line(j0s, js)
    top = 1.2 * max(js)
    inner = [(j0, j) for j0, j in line if abs(j0) <= 1.0]
    sides = [[(j0, j) for j0, j in line if sign * j0 >= 1.0] for sign in (-1, 1)]
    traces = [
        _area(line, top, "chaotic", CHAOTIC),
        _area(inner, 0.0, "ordered", ORDERED),
        *(_area(side, 0.0, "ferromagnetic", CRITICAL) for side in sides if side),
        border(line, "edge of chaos", dash="solid", width=2),
        border([(1.0, 0.0), (1.0, 1.0)], "onset of a common activity, |J₀| = 1", dash="dot", width=1.2),
        border([(-1.0, 0.0), (-1.0, 1.0)], "onset on the other side", dash="dot", width=1.2) | {"showlegend": False},
    ]
    middle = 0.5 * (1.0 + j0s[-1])
    texts = [(0.0, 0.5, "ordered"), (0.0, 0.5 * (1.0 + top), "chaotic (spin glass)")]
    texts += [(sign * middle, 0.5, "ferro-<br>magnetic") for sign in (-1, 1)]
    return figure(
        traces,
        title="Square tanh layers: phases by mean (J₀) and spread (J) of their couplings",
        caption="J₀ = N · mean(W), J = √(N · var(W)). Ordered: any signal dies out. Ferromagnetic: all units "
        "settle at a common activity (for J₀ < 0 it flips sign from layer to layer). Chaotic: above the "
        "line small differences grow (Zhang et al. 2021; the line of de Almeida and Thouless). For wide "
        "square tanh layers with independent weights and no biases, iterated on themselves; other "
        "activations have other lines.",
        n=len(line),
        height=480,
        xaxis=axes.axis("mean coupling J₀ (no unit)", range=[j0s[0], j0s[-1]]),
        yaxis=axes.axis("coupling spread J (no unit)", range=[0.0, top]),
        annotations=[{"x": x, "y": y, "text": text, "bgcolor": "rgba(0,0,0,0)"} for x, y, text in texts],
    )


def _crossing(sigma_w: float, sigma_b: float) -> dict[str, Any]:
    words = f"they meet again: {wording.number(sigma_w)}, {wording.number(sigma_b)}"
    return {
        "type": "scatter",
        "mode": "markers",
        "name": words,
        "x": [sigma_w],
        "y": [sigma_b],
        "marker": {"symbol": "circle-open", "size": 11, "color": EDGE, "line": {"width": 2}},
        "text": [words],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _f1(power: str) -> str:
    return "ln r" if power == "1" else f"sgn(ln r)·|ln r|{power.translate(_SUPERSCRIPTS)}"


def _area(line: Sequence[tuple[float, float]], level: float, name: str, colour: str) -> dict[str, Any]:
    """What lies between a line and a level."""
    x, y = [point[0] for point in line], [point[1] for point in line]
    return polygon(x, y, [level] * len(y), name, colour)


def _definition(report: Report) -> str:
    """The definition of the ordered line by which the regions are drawn."""
    held = report.model.get("phase.definition")
    return "fixed_point" if held is not None and held.value == "fixed_point" else "cutoff"


def _activation(report: Report) -> str:
    return str(report.provenance.settings.get("activation", "random"))


def _line(alphas: list[float], gs: list[float]) -> list[tuple[float, float]]:
    return list(zip(alphas, gs, strict=False))


def _chaotic(report: Report, suffix: str) -> list[tuple[float, float]]:
    return _line(numbers(report, f"phase.chaotic_alphas{suffix}"), numbers(report, f"phase.chaotic{suffix}"))
