"""How much of the model was looked at, as a figure."""

from __future__ import annotations

import math
import textwrap
from collections import defaultdict

from critaudit.report import verdict, wording
from critaudit.report.figures.points import safe
from critaudit.report.figures.style import GUIDE, Spec, figure
from critaudit.report.record import Report
from critaudit.text import printable

_SHOWN_REASONS = 8


def coverage_by_kind(report: Report) -> Spec:
    """How many elements of the model's tensors were analysed, by kind of layer, and skipped, by reason."""
    analysed: dict[str, int] = defaultdict(int)
    for layer in report.layer_records:
        analysed[layer.kind] += math.prod(layer.shape)
    skipped: dict[str, int] = defaultdict(int)
    for tensor in report.coverage.tensors:
        if tensor.status != "analysed":
            skipped[f"{tensor.status}: {tensor.reason or 'no reason given'}"] += math.prod(tensor.shape)
    kinds = sorted(analysed.items(), key=lambda item: (-item[1], item[0]))
    gaps = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN_REASONS]
    bars = [
        {
            "type": "bar",
            "name": name,
            "orientation": "h",
            "y": [_short(label) for label, _ in rows],
            "x": [float(number) for _, number in rows],
            "text": [wording.amount(number) for _, number in rows],
            # Ink on hatching cannot be read.
            "textposition": "outside" if pattern else "auto",
            "cliponaxis": False,
            "hovertext": [f"{safe(label)}<br>{wording.count(number)} elements" for label, number in rows],
            "hoverinfo": "text",
            "marker": {"color": colour, "pattern": {"shape": pattern}},
        }
        for name, rows, colour, pattern in (("analysed", kinds, "#1f7fc4", ""), ("not analysed", gaps, GUIDE, "/"))
    ]
    longest = max([*analysed.values(), *(1.3 * number for _, number in gaps), 1.0])
    return figure(
        bars,
        title=f"{wording.share(report.coverage.share)} of the {verdict.parameters_noun(report.coverage)} were analysed",
        caption="Elements by kind of layer, and by the reason for leaving them out. Buffers and the second of two tied "
        "tensors are elements but no parameters, so the bars may add up to more than the model has.",
        n=len(report.coverage.tensors),
        height=130 + 38 * (len(kinds) + len(gaps)),
        xaxis={"title": {"text": "elements"}, "range": [0, 1.04 * longest]},
        yaxis={"autorange": "reversed", "ticks": ""},
        barmode="stack",
        showlegend=False,
        margin={"t": 30},
    )


def _short(label: str) -> str:
    """At most two lines of some 22 signs, so that the names leave room for the bars."""
    lines = textwrap.wrap(printable(label.replace("_", " "), limit=80), 22, max_lines=2, placeholder=" …")
    return "<br>".join(safe(line) for line in lines)
