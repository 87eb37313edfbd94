"""Figures of advice on initialisation: depth, trials, learning rates, candidates."""

from __future__ import annotations

import math
from typing import Any

from critaudit.report import wording
from critaudit.report.figures import axes
from critaudit.report.figures.model_series import number, numbers, texts
from critaudit.report.figures.points import rounded, safe
from critaudit.report.figures.style import GUIDE, Spec, figure
from critaudit.report.record import Report

_CHOSEN, _PRESENT = "#1f7fc4", "#d55e00"
_FAINT = "rgba(128,128,128,0.45)"
# By family, for figures that tell candidates apart: colour and symbol.
_FAMILIES = {
    "orthogonal": ("#1f7fc4", "circle"),
    "gaussian": ("#009e73", "square"),
    "stable": ("#c0609a", "triangle-up"),
}
_PRESENT_STYLE = (_PRESENT, "diamond")
_BAND = {"fillcolor": "#1f7fc4", "opacity": 0.12, "line": {"width": 0}, "layer": "below"}


def initialisation_by_depth(report: Report) -> Spec:
    """Above the signal, below the gradient, at every weight and for every candidate."""
    names, chosen = texts(report, "init.candidates"), _chosen(report)
    layers = texts(report, "init.layers")
    traces, values = [], {"signal": [1.0], "gradient": []}
    for what, second in (("signal", ""), ("gradient", "2")):
        for place in _order(len(names), chosen):
            x, y = numbers(report, f"init.{what}_places.{place}"), numbers(report, f"init.{what}s.{place}")
            if not x:
                continue
            values[what] += y
            text = [f"{safe(_at(layers, k))}<br>{safe(names[place - 1])}" for k in x]
            line = _line(x, y, place, chosen, text=text, shown=what == "signal")
            traces.append(line | ({"yaxis": "y2"} if second else {}))
    return figure(
        traces,
        title=_depth_title(report),
        caption="From the first weight to the last: above the signal’s strength ‖h‖/√n behind each weight, below the "
        "norm of the loss’s gradient there, both from one batch. A straight slope is the same factor per layer; flat "
        "is what deep networks need. Recommended are "
        f"{_recommended(report)}. The last weight is the readout, whose size is another matter.",
        n=len(layers),
        height=560,
        xaxis=_places(len(layers)) | {"anchor": "y2"},
        yaxis=axes.axis("signal ‖h‖/√n", domain=[0.56, 1.0], **axes.logarithmic(values["signal"])),
        yaxis2=axes.axis("gradient ‖∂ℓ/∂h‖", domain=[0.0, 0.46], **axes.logarithmic(values["gradient"])),
    )


def initialisation_trials(report: Report) -> Spec:
    """The loss of every candidate's trial training by step."""
    names, chosen = texts(report, "init.candidates"), _chosen(report)
    steps = number(report, "init.steps")
    traces, values = [], []
    for place in _order(len(names), chosen):
        y = numbers(report, f"init.losses.{place}")
        if not y:
            continue
        values += y
        x = [float(step) for step in range(1, len(y) + 1)]
        line = _line(x, y, place, chosen, text=[safe(names[place - 1])] * len(x), shown=True)
        if not math.isnan(steps) and len(y) < steps:
            line |= {"mode": "lines+markers", "marker": _cross(len(y), line["line"]["color"])}
        traces.append(line)
    lost = texts(report, "init.diverged")
    return figure(
        traces,
        title=f"Trials of {wording.plural(len(traces), 'initialisation')} at learning rate "
        f"{wording.number(number(report, 'init.lr'))}",
        caption=f"The same batches for all. Recommended are {_recommended(report)}; how they were chosen "
        "stands in the table above. Trials are short: what is ahead here need not end ahead.",
        n=len(traces),
        left_out=f"A cross is where the loss diverged: {', '.join(lost)}." if lost else "",
        height=440,
        xaxis=axes.axis("optimizer step"),
        yaxis=axes.axis("loss of the batch", **axes.scale(values)),
    )


def initialisation_rates(report: Report) -> Spec:
    """The trial loss of the recommended weights against the learning rate, with the good range shaded."""
    rates, losses = numbers(report, "init.rate_lrs"), numbers(report, "init.rate_losses")
    errors, lost = numbers(report, "init.rate_errors"), numbers(report, "init.rates_diverged")
    unheld = numbers(report, "init.rates_lost")
    good, lr = numbers(report, "init.good_lrs"), number(report, "init.lr")
    shapes: list[dict[str, Any]] = []
    if good:
        place = {"xref": "x", "yref": "paper", "x0": good[0], "x1": good[-1], "y0": 0, "y1": 1}
        shapes.append({"type": "rect"} | place | _BAND)
    shapes += [_vertical(one, "dot") for one in lost]
    shapes.append(_vertical(lr, "dash"))
    words = f"{wording.number(good[0])} to {wording.number(good[-1])}" if good else "none that was tried"
    return figure(
        [
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "trial loss",
                "x": [rounded(one) for one in rates],
                "y": [rounded(one) for one in losses],
                "error_y": _bars(errors),
                "line": {"color": _CHOSEN, "width": 1.5},
                "marker": {"color": _CHOSEN, "size": 8},
                "hovertemplate": "learning rate %{x:.4g}<br>loss %{y:.4g}<extra></extra>",
            }
        ],
        title=f"Learning rates at which the recommended weights train well: {words}",
        caption="Mean loss over the second half of a trial of the same number of steps, with its 95 % interval from "
        "batch to batch. Shaded: rates that bring the loss at least half as far down as the best, the largest "
        "confirmed by a longer trial. Dashed: the rate asked for. Small rates need more steps than a trial has.",
        n=len(rates) + len(lost),
        left_out=" ".join(
            f"{what} at {', '.join(wording.number(one) for one in those)}."
            for what, those in (("Dotted: the loss diverged", lost), ("In more steps the loss was lost again", unheld))
            if those
        ),
        xaxis=axes.axis("learning rate", **axes.logarithmic([*rates, *lost, lr])),
        yaxis=axes.axis("trial loss", **axes.scale(losses)),
        shapes=shapes,
        showlegend=False,
    )


def initialisation_candidates(report: Report) -> Spec:
    """The trial loss of every candidate against the largest learning rate that its sharpness allows."""
    scores = dict(zip(texts(report, "init.score_names"), numbers(report, "init.scores"), strict=False))
    errors = dict(zip(texts(report, "init.score_names"), numbers(report, "init.score_errors"), strict=False))
    limits = dict(zip(texts(report, "init.largest_lr_names"), numbers(report, "init.largest_lrs"), strict=False))
    names, chosen, lr = texts(report, "init.candidates"), _chosen(report), number(report, "init.lr")
    drawn = [name for name in names if name in scores and name in limits]
    traces = []
    middle = math.sqrt(min(limits.values(), default=1.0) * max(limits.values(), default=1.0))
    for name in drawn:
        colour, symbol = _PRESENT_STYLE if names.index(name) == 0 else _family(name)
        best = names.index(name) + 1 == chosen
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": safe(name),
                "text": [safe(_short(name, names.index(name)))],
                "textposition": "top left" if limits[name] > middle else "top right",
                "textfont": {"size": 11},
                "cliponaxis": False,
                "x": [rounded(limits[name])],
                "y": [rounded(scores[name])],
                "error_y": _bars([errors[name]]),
                "marker": {"color": colour, "symbol": symbol if best else f"{symbol}-open", "size": 13 if best else 9},
                "hovertemplate": f"{safe(name)}<br>2/λ = %{{x:.4g}}<br>loss %{{y:.4g}}<extra></extra>",
            }
        )
    gone = [name for name in names if name not in drawn]
    spread = axes.logarithmic([*(limits[name] for name in drawn), lr])
    return figure(
        traces,
        title="Trial loss against the largest stable learning rate",
        caption="To the right of the dashed line (the learning rate asked for) plain gradient descent is stable along "
        "the sharpest direction, 2/λ of the first batch; to the left it oscillates at first, which training often "
        "survives: sharpness falls. Lower is better; bars are 95 % intervals from batch to batch. The filled mark is "
        "recommended.",
        n=len(drawn),
        left_out=f"Not drawn (diverged, not made, or no sharpness): {safe(', '.join(gone))}." if gone else "",
        height=440,
        xaxis=axes.axis("2/λ, largest stable learning rate", **spread),
        yaxis=axes.axis("trial loss", **axes.scale([scores[name] for name in drawn])),
        shapes=[_vertical(lr, "dash")],
    )


def _chosen(report: Report) -> int:
    value = number(report, "init.chosen_number")
    return 0 if math.isnan(value) else int(value)


def _recommended(report: Report) -> str:
    names, chosen = texts(report, "init.candidates"), _chosen(report)
    return safe(names[chosen - 1]) if 1 < chosen <= len(names) else "the weights that are there"


def _order(count: int, chosen: int) -> list[int]:
    """The others first, so that the present and the chosen candidate are drawn over them."""
    last = [place for place in (1, chosen) if 1 <= place <= count]
    return [place for place in range(1, count + 1) if place not in last] + list(dict.fromkeys(last))


def _line(x: list[float], y: list[float], place: int, chosen: int, *, text: list[str], shown: bool) -> dict[str, Any]:
    bold = place in (1, chosen)
    colour = _CHOSEN if place == chosen else _PRESENT if place == 1 else _FAINT
    label = "recommended weights" if place == chosen else "present weights" if bold else "other candidates"
    first_faint = bold or place == (2 if chosen != 2 else 3)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label,
        "legendgroup": label,
        "showlegend": shown and first_faint,
        "x": x,
        "y": [rounded(value) for value in y],
        "line": {"color": colour, "width": 2.5 if bold else 1.2, "dash": "dash" if place == 1 != chosen else "solid"},
        "text": text,
        "hovertemplate": "%{text}<br>%{y:.4g}<extra></extra>",
    }


def _cross(count: int, colour: str) -> dict[str, Any]:
    """A mark at the last point only."""
    return {"symbol": "x", "color": colour, "size": [0] * (count - 1) + [9]}


def _depth_title(report: Report) -> str:
    before, after = number(report, "init.gradient_change_before"), number(report, "init.gradient_change_after")
    if not math.isnan(before) and not math.isnan(after):
        return (
            f"Over the depth a gradient changes by a factor of {wording.number(before)}, with the recommended weights "
            f"of {wording.number(after)}"
        )
    return "Signal and gradient at every weight"


def _at(layers: list[str], place: float) -> str:
    index = int(place) - 1
    return layers[index] if 0 <= index < len(layers) else f"weight {int(place)}"


def _places(count: int) -> dict[str, Any]:
    margin = max(0.6, 0.02 * count)
    ticks = {"dtick": 1} if count <= 12 else {}
    return axes.axis("weight, in the order of signals", range=[1 - margin, count + margin], **ticks)


def _vertical(at: float, dash: str) -> dict[str, Any]:
    line = {"color": GUIDE, "dash": dash, "width": 1.5}
    return {"type": "line", "xref": "x", "yref": "paper", "x0": at, "x1": at, "y0": 0, "y1": 1, "line": line}


def _bars(errors: list[float]) -> dict[str, Any]:
    return {"type": "data", "array": [rounded(1.96 * one) for one in errors], "thickness": 1, "width": 4}


def _short(name: str, place: int) -> str:
    """What tells a candidate from its kin: "readout 0.3", "α = 1.8"."""
    if place == 0:
        return "present"
    parts = name.split(", ")
    return parts[-1] if parts[0] == "orthogonal" or len(parts) < 3 else parts[1]


def _family(name: str) -> tuple[str, str]:
    return next((style for family, style in _FAMILIES.items() if name.startswith(family)), (GUIDE, "x"))
