"""Figures over depth: what changes from the first layer to the last; and how much of the model was looked at."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from critaudit.report import wording
from critaudit.report.figures import style
from critaudit.report.figures.points import Point, hover, left_out, points, rounded, safe
from critaudit.report.record import Report

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Scatter

_DEPTH = "layer, in the order of the model"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_INTERVALS = "Bars are 95 % intervals."


def alpha_by_depth(report: Report) -> Figure:
    """The stable exponent α of every layer, with its interval and the Gaussian value 2."""
    identifiers = ("entries.alpha",)
    drawn = points(report, *identifiers)
    heavy = sum(point.number() + point.span()[0] < 2.0 for point in drawn)
    figure = _profile(drawn, identifiers)
    _level(figure, 2.0, "α = 2: Gaussian")
    lowest = min(point.number() - point.span()[1] for point in drawn)
    return style.finish(
        figure,
        title=f"{heavy} of {len(drawn)} layers have weights with heavier than Gaussian tails",
        caption=f"Lower is heavier-tailed. {_INTERVALS} A fitted α below 2 does not prove a stable law: Student-t, "
        "Laplace and mixtures of Gaussians give 1.6 to 1.9 as well.",
        n=len(drawn),
        left_out=left_out(report, *identifiers),
        xaxis=_depth_axis(drawn),
        yaxis={"title": "stable exponent α (no unit)", "range": [max(min(lowest - 0.05, 1.85), 0.0), 2.06]},
    )


def spectrum_by_depth(report: Report) -> Figure:
    """The spectral norm, and the share of directions that carry weight, of every layer."""
    from plotly.subplots import make_subplots

    identifiers = ("spectrum.norm", "spectrum.stable_rank")
    drawn = points(report, *identifiers)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07)
    for trace in _traces(drawn, identifiers, [point.number() for point in drawn]):
        figure.add_trace(trace, row=1, col=1)
    shares = [rounded(point.number(1) / _directions(point)) for point in drawn]
    for trace in _traces(drawn, identifiers, shares):
        figure.add_trace(trace.update(showlegend=False), row=2, col=1)
    strongest = max(drawn, key=lambda point: point.number())
    figure.update_xaxes(**_depth_axis(drawn), row=2, col=1)
    scale = _scale([point.number() for point in drawn])
    figure.update_yaxes(title="spectral norm", type=scale, **(_decades(drawn) if scale == "log" else {}), row=1, col=1)
    figure.update_yaxes(title="stable rank share", rangemode="tozero", row=2, col=1)
    return style.finish(
        figure,
        title=f"The strongest amplification is {wording.number(strongest.number())}, in layer {strongest.place}",
        caption="Above: the largest singular value, the most that a layer can amplify an input. Below: the stable rank "
        "(squared Frobenius over squared spectral norm) as a share of the largest possible; a small share means that "
        "few directions carry the weight. Convolutions are seen as matrices of unrolled kernels, whose norm is not "
        "that of the operator.",
        n=len(drawn),
        left_out=left_out(report, *identifiers),
        height=520,
    )


def chi1_by_depth(report: Report) -> Figure:
    """The susceptibility χ₁ of every layer against the edge of chaos at 1."""
    identifiers = ("edge.chi1",)
    drawn = points(report, *identifiers)
    scale = _scale([point.number() for point in drawn])
    above = sum(point.number() > 1.0 for point in drawn)
    figure = _profile(drawn, identifiers)
    _level(figure, 1.0, "χ₁ = 1: edge of chaos", log=scale == "log")
    return style.finish(
        figure,
        title=f"{above} of {len(drawn)} layers are on the chaotic side",
        caption="Above 1 small differences between inputs grow in the layer, below 1 they fade. "
        f"{_INTERVALS if any(point.measurements[0].interval for point in drawn) else ''} "
        "Computed as if weights were independent and without residual branches and normalisation, which move the edge.",
        n=len(drawn),
        left_out=left_out(report, *identifiers),
        xaxis=_depth_axis(drawn),
        yaxis={"title": "susceptibility χ₁ (no unit)", "type": scale} | (_decades(drawn) if scale == "log" else {}),
    )


def strength_by_depth(report: Report) -> Figure:
    """The signal's strength after every layer, on a logarithmic axis, with its spread over inputs."""
    identifiers = ("signal.strength",)
    drawn = points(report, *identifiers)
    positive = [point for point in drawn if point.number() > 0]
    figure = _profile(positive, identifiers)
    reference = report.model.get("signal.input_strength")
    if reference is not None and reference.number is not None and reference.number > 0:
        _level(figure, reference.number, f"input: {wording.number(reference.number)}", log=True)
    dead = len(drawn) - len(positive)
    growth = positive[-1].number() / positive[0].number() if positive else math.nan
    changed = f"changes by a factor of {wording.number(growth)}" if positive else "is zero throughout"
    note = f" {wording.plural(dead, 'layer')} with strength 0 cannot be drawn on this axis." if dead else ""
    return style.finish(
        figure,
        title=f"From the first layer to the last the signal's strength {changed}",
        caption="Root mean square of each layer's output; bars are the spread over inputs. A steady fall means that "
        "signals die out, a steady rise that they explode. With synthetic inputs this shows the network, not its use "
        "on your data.",
        n=len(positive),
        left_out=left_out(report, *identifiers) + note,
        xaxis=_depth_axis(drawn),
        yaxis={"title": "signal strength s (activation units)", "type": "log"} | _decades(positive),
    )


def coverage_by_kind(report: Report) -> Figure:
    """How many elements of the model's tensors were analysed, by kind of layer, and skipped, by reason."""
    import plotly.graph_objects as go

    analysed: dict[str, int] = defaultdict(int)
    for layer in report.layer_records:
        analysed[layer.kind] += math.prod(layer.shape)
    skipped: dict[str, int] = defaultdict(int)
    for tensor in report.coverage.tensors:
        if tensor.status != "analysed":
            skipped[f"{tensor.status}: {tensor.reason or 'no reason given'}"] += math.prod(tensor.shape)
    rows = sorted(analysed.items(), key=lambda item: -item[1])
    gaps = sorted(skipped.items(), key=lambda item: -item[1])[:8]
    figure = go.Figure()
    for name, bars, colour in (("analysed", rows, "#1f7fc4"), ("not analysed", gaps, style.GUIDE)):
        figure.add_trace(
            go.Bar(
                name=name,
                orientation="h",
                y=[_short(label) for label, _ in bars],
                x=[float(number) for _, number in bars],
                text=[wording.amount(number) for _, number in bars],
                textposition="auto",
                hovertext=[f"{safe(label)}<br>{wording.count(number)} elements" for label, number in bars],
                hoverinfo="text",
                marker={"color": colour, "pattern": {"shape": "/" if name != "analysed" else ""}},
            )
        )
    return style.finish(
        figure,
        title=f"{wording.share(report.coverage.share)} of the parameters were analysed",
        caption="Elements by kind of layer, and by the reason for leaving them out. Buffers and the second of two tied "
        "tensors are elements but no parameters, so the bars may add up to more than the model has.",
        n=len(report.coverage.tensors),
        height=150 + 30 * (len(rows) + len(gaps)),
        xaxis={"title": "elements", "rangemode": "tozero"},
        yaxis={"autorange": "reversed", "ticks": ""},
        barmode="stack",
        showlegend=False,
    )


def _profile(drawn: list[Point], identifiers: tuple[str, ...]) -> Figure:
    """One scatter trace per kind of layer, the first identifier over depth, with intervals."""
    import plotly.graph_objects as go

    return go.Figure(_traces(drawn, identifiers, [point.number() for point in drawn], intervals=True))


def _traces(
    drawn: list[Point], identifiers: tuple[str, ...], heights: list[float], *, intervals: bool = False
) -> list[Scatter]:
    import plotly.graph_objects as go

    by_kind: dict[str, list[tuple[Point, float]]] = defaultdict(list)
    for point, height in zip(drawn, heights, strict=True):
        by_kind[point.layer.kind].append((point, height))
    traces = []
    for kind, members in by_kind.items():
        colour, symbol = style.kind_style(kind)
        spans = [point.span() for point, _ in members]
        bars: dict[str, Any] = {}
        if intervals and any(up or down for up, down in spans):
            bars["error_y"] = {
                "type": "data",
                "symmetric": False,
                "array": [up for up, _ in spans],
                "arrayminus": [down for _, down in spans],
                "thickness": 1,
                "width": 0,
            }
        traces.append(
            go.Scatter(
                x=[point.place for point, _ in members],
                y=[height for _, height in members],
                mode="markers",
                name=safe(kind.replace("_", " ")),
                marker={"color": colour, "symbol": symbol, "size": 8 if len(drawn) <= 200 else 5},
                text=[hover(point, identifiers) for point, _ in members],
                customdata=[point.place for point, _ in members],
                hovertemplate="%{text}<extra></extra>",
                **bars,
            )
        )
    return traces


def _level(figure: Figure, height: float, label: str, *, log: bool = False) -> None:
    """A horizontal guide with its meaning written on it."""
    figure.add_shape(
        type="line",
        xref="paper",
        x0=0,
        x1=1,
        y0=height,
        y1=height,
        line={"color": style.GUIDE, "dash": "dash", "width": 1},
    )
    figure.add_annotation(
        text=label, xref="paper", x=1, xanchor="right", y=math.log10(height) if log else height, yanchor="bottom"
    )


def _depth_axis(drawn: list[Point]) -> dict[str, Any]:
    """Whole numbers only; few layers are ticked one by one."""
    last = max((point.place for point in drawn), default=1)
    return {"title": _DEPTH, "range": [0.4, last + 0.6], "tickformat": "d", **({"dtick": 1} if last <= 12 else {})}


def _decades(drawn: list[Point]) -> dict[str, Any]:
    """Ticks at powers of ten, written in plain signs where they get long (plotly's own need style attributes)."""
    if not drawn:
        return {}
    exponents = [math.log10(point.number()) for point in drawn]
    low, high = math.floor(min(exponents)), math.ceil(max(exponents))
    if high - low < 2:
        return {"exponentformat": "none"}
    step = 1 + (high - low) // 10
    powers = range(low - step, high + step + 1, step)
    return {"tickvals": [10.0**power for power in powers], "ticktext": [_power_of_ten(power) for power in powers]}


def _power_of_ten(power: int) -> str:
    return f"{10.0**power:g}" if -4 < power < 5 else f"10{str(power).translate(_SUPERSCRIPTS)}"


def _scale(values: list[float]) -> str:
    """A logarithmic axis where positive values span more than a factor of 30."""
    return "log" if min(values) > 0 and max(values) / min(values) > 30 else "linear"


def _directions(point: Point) -> int:
    """The largest possible rank of the layer seen as a matrix (outputs × the rest)."""
    shape = point.layer.shape
    if len(shape) < 2:
        return 1
    return max(1, min(shape[0], math.prod(shape[1:])))


def _short(label: str) -> str:
    label = label.replace("_", " ")
    return safe(label if len(label) <= 34 else f"{label[:32]}…")
