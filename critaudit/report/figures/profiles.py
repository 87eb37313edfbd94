"""Figures over depth: what changes from the first layer to the last."""

from __future__ import annotations

import math

from critaudit.report import wording
from critaudit.report.figures import axes
from critaudit.report.figures.points import Point, left_out, points, rounded, scatter
from critaudit.report.figures.style import Spec, figure, level
from critaudit.report.record import Report

_INTERVALS = "Bars are 95 % intervals."
# The verdicts on the entries that mean tails heavier than a Gaussian's, as the model's measurements count them.
_HEAVY = ("stable_compatible", "heavier_not_stable", "scale_mixture")


def alpha_by_depth(report: Report) -> Spec:
    """The stable exponent α of every layer, with its interval and the Gaussian value 2."""
    identifiers = ("entries.alpha",)
    drawn = points(report, *identifiers)
    below = sum(point.number() + point.span()[0] < 2.0 for point in drawn)
    lowest = min(point.number() - point.span()[1] for point in drawn)
    return figure(
        scatter(drawn, identifiers, _place, Point.number, bars_y=0),
        title=f"Fitted α below 2 in {below} of {wording.plural(len(drawn), 'layer')}",
        caption=f"Lower is heavier-tailed. {_INTERVALS} A fitted α below 2 does not prove a stable law: Student-t, "
        f"Laplace and mixtures of Gaussians give 1.6 to 1.9 as well.{_heavy_verdicts(report)}",
        n=len(drawn),
        left_out=left_out(report, *identifiers),
        xaxis=axes.depth(drawn),
        yaxis=axes.axis("stable exponent α (no unit)", range=[max(min(lowest - 0.05, 1.85), 0.0), 2.06]),
        **level(2.0, "α = 2:<br>Gaussian"),
    )


def spectrum_by_depth(report: Report) -> Spec:
    """The spectral norm, and the share of directions that carry weight, of every layer."""
    identifiers = ("spectrum.norm", "spectrum.stable_rank")
    drawn = points(report, *identifiers)
    above = scatter(drawn, identifiers, _place, Point.number)
    below = scatter(drawn, identifiers, _place, lambda point: rounded(point.number(1) / _directions(point)))
    strongest = max(drawn, key=Point.number)
    return figure(
        above + [trace | {"yaxis": "y2", "showlegend": False} for trace in below],
        title=f"The strongest amplification is {wording.number(strongest.number())}, in layer {strongest.place}",
        caption="Above: the largest singular value, the most that a layer can amplify an input. Below: the stable rank "
        "(squared Frobenius over squared spectral norm) as a share of the largest possible; a small share means that "
        "few directions carry the weight. Convolutions are seen as matrices of unrolled kernels, whose norm is not "
        "that of the operator.",
        n=len(drawn),
        left_out=left_out(report, *identifiers),
        height=520,
        xaxis=axes.depth(drawn) | {"anchor": "y2"},
        yaxis=axes.axis("spectral norm", domain=[0.54, 1.0], **axes.scale([point.number() for point in drawn])),
        yaxis2=axes.axis("stable rank share", domain=[0.0, 0.46], rangemode="tozero"),
    )


def chi1_by_depth(report: Report) -> Spec:
    """The susceptibility χ₁ of every layer against the edge of chaos at 1."""
    identifiers = ("edge.chi1",)
    drawn = points(report, *identifiers)
    above = sum(point.number() > 1.0 for point in drawn)
    scale = axes.scale([point.number() for point in drawn])
    has_bars = any(point.measurements[0].interval for point in drawn)
    doubtful = sum(point.measurements[0].reason is not None for point in drawn)
    whose = wording.plural(doubtful, "layer has", "layers have")
    doubt = f" {whose} a caveat that may overrule this number: see the tables of the layers."
    return figure(
        scatter(drawn, identifiers, _place, Point.number, bars_y=0),
        title=f"On the chaotic side of the edge: {above} of {wording.plural(len(drawn), 'layer')}",
        caption=f"Above 1 small differences between inputs grow in the layer, below 1 they fade. "
        f"{_INTERVALS + ' ' if has_bars else ''}Computed as if weights were independent and without residual branches "
        f"and normalisation, which move the edge.{doubt if doubtful else ''}",
        n=len(drawn),
        left_out=left_out(report, *identifiers),
        xaxis=axes.depth(drawn),
        yaxis=axes.axis("susceptibility χ₁ (no unit)", **scale),
        **level(1.0, "χ₁ = 1:<br>edge of<br>chaos", at=0.0 if scale else 1.0),
    )


def strength_by_depth(report: Report) -> Spec:
    """The signal's strength after every layer, on a logarithmic axis, with its spread over inputs."""
    identifiers = ("signal.strength",)
    measured = points(report, *identifiers)
    drawn = [point for point in measured if point.number() > 0]
    input_strength = report.model.get("signal.input_strength")
    s0 = input_strength.number if input_strength is not None else None
    guide = level(s0, f"input:<br>{wording.number(s0)}", at=math.log10(s0)) if s0 is not None and s0 > 0 else {}
    dead = len(measured) - len(drawn)
    has_bars = any(point.measurements[0].interval for point in drawn)
    over_inputs = "; bars are 95 % intervals over inputs" if has_bars else ""
    note = f" {wording.plural(dead, 'layer')} with strength 0 cannot be drawn on this axis." if dead else ""
    return figure(
        scatter(drawn, identifiers, _place, Point.number, bars_y=0),
        title=f"From the first layer to the last the signal’s strength {_change(drawn)}",
        caption=f"Root mean square of each layer’s output{over_inputs}. A steady fall means "
        "that signals die out, a steady rise that they explode. With synthetic inputs this shows the network, "
        "not its use on your data.",
        n=len(drawn),
        left_out=left_out(report, *identifiers) + note,
        xaxis=axes.depth(measured),
        yaxis=axes.axis(
            "signal strength s (activation units)",
            **axes.logarithmic(_extent(drawn) + ([s0] if guide and s0 else [])),
        ),
        **guide,
    )


def change_by_depth(report: Report) -> Spec:
    """How far every layer moved from A to B, relative to its norm in A."""
    identifiers = ("change.relative",)
    measured = points(report, *identifiers)
    drawn = [point for point in measured if point.number() > 0]
    same = len(measured) - len(drawn)
    most = max(measured, key=Point.number)
    note = f" {wording.plural(same, 'layer')} did not change and cannot be drawn on this axis." if same else ""
    return figure(
        scatter(drawn, identifiers, _place, Point.number),
        title="No layer changed"
        if not drawn
        else f"Layer {most.place} changed most, by {wording.number(most.number())} times its norm",
        caption="‖B − A‖/‖A‖ of every layer that both models have, Frobenius norms. About 1.4 is the distance of two "
        "unrelated matrices of one norm. A large change need not change what the network computes, nor a small one "
        "leave it as it was.",
        n=len(drawn),
        left_out=left_out(report, *identifiers) + note,
        xaxis=axes.depth(measured),
        yaxis=axes.axis("relative change (no unit)", **axes.logarithmic([point.number() for point in drawn] or [1.0])),
    )


def _heavy_verdicts(report: Report) -> str:
    """How many layers are judged heavy-tailed, where that was summed up: it need not be those with α below 2."""
    summed = [report.model.get(f"entries.layers_{name}") for name in _HEAVY]
    counts = [int(held.number) for held in summed if held is not None and held.number is not None]
    if len(counts) < len(_HEAVY):
        return ""
    judged = wording.plural(sum(counts), "layer is", "layers are")
    return f" With rival laws and the counts in the tails, {judged} judged heavier-tailed than a Gaussian."


def _extent(drawn: list[Point]) -> list[float]:
    """The values and the ends of their intervals, as far as a logarithmic axis can show them."""
    ends = [end for point in drawn for end in (point.number() + point.span()[0], point.number() - point.span()[1])]
    return [point.number() for point in drawn] + [end for end in ends if end > 0]


def _change(drawn: list[Point]) -> str:
    if not drawn:
        return "is zero throughout"
    decades = math.log10(drawn[-1].number()) - math.log10(drawn[0].number())
    if abs(decades) < 300:
        return f"changes by a factor of {wording.number(10.0**decades)}"
    return f"changes by {decades:.0f} powers of ten".replace("-", "−")


def _place(point: Point) -> float:
    return point.place


def _directions(point: Point) -> int:
    """The largest possible rank: what the analyzer counted, else that of outputs × the rest."""
    if point.measurements[1].n:
        return point.measurements[1].n
    shape = point.layer.shape
    if len(shape) < 2:
        return 1
    return max(1, min(shape[0], math.prod(shape[1:])))
