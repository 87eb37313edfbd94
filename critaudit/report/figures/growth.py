"""Growth through the blocks: how each changes small differences, and what becomes of signal and gradient in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from critaudit.report import wording
from critaudit.report.figures import axes
from critaudit.report.figures.points import rounded, safe
from critaudit.report.figures.style import GUIDE, Spec, figure
from critaudit.report.record import Report

# What has to be measured before anything can be drawn.
GROWTH = ("jacobian.blocks", "jacobian.block_norm", "jacobian.block_norm_places")
_INTERVALS = "Bars are 95 % intervals over inputs. "
_BLOCK, _SIGNAL, _GRADIENT = ("#1f7fc4", "circle"), ("#d55e00", "square"), ("#009e73", "triangle-up")


@dataclass(frozen=True, slots=True)
class _Series:
    """Numbers of blocks (from 1) with values and the ends of their intervals; positive values only."""

    places: tuple[float, ...]
    values: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]


def growth_by_block(report: Report) -> Spec:
    """Above, the partial-Jacobian norm of every block; below, those from the start and to the output."""
    names = _texts(report, "jacobian.blocks")
    block = _series(report, "jacobian.block_norm")
    signal, gradient = _series(report, "jacobian.partial_norm"), _series(report, "jacobian.gradient_norm")
    traces = [_trace("each block alone", block, names, _BLOCK)]
    traces += [
        _trace(label, series, names, style) | {"yaxis": "y2"}
        for label, series, style in (
            ("signal: start → block", signal, _SIGNAL),
            ("gradient: output → block", gradient, _GRADIENT),
        )
        if series.places
    ]
    below = [*signal.values, *gradient.values]
    return figure(
        traces,
        title=_title(report),
        caption="Above: ‖J‖²/n of each block alone, the mean square growth of a small random change; 1 (dashed) keeps "
        "its size. Below: the same from the network’s start to each block’s output (what is left of a change of the "
        "input), and from each block’s input to the network’s output (the squared norm of a gradient that "
        "arrives there); a straight line means the same factor in every block. "
        f"{_INTERVALS if block.lows != block.values else ''}"
        "Levels depend on the units of the signal: where a normalisation rescales it they jump, and that is no fault.",
        n=len(block.places),
        left_out=_left_out(names, block),
        height=560,
        xaxis=_depth(len(names)) | {"anchor": "y2"},
        yaxis=axes.axis("‖J‖²/n, block alone", domain=[0.58, 1.0], **axes.scale([*block.values, 1.0])),
        yaxis2=axes.axis("‖J‖²/n, through the network", domain=[0.0, 0.48], **axes.logarithmic(below)),
        **_critical(len(names)),
    )


def _critical(count: int) -> dict[str, Any]:
    """The dashed line ‖J‖²/n = 1 of the upper panel."""
    line = {"color": GUIDE, "dash": "dash", "width": 1}
    shape = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": 1.0, "y1": 1.0, "line": line}
    return {"shapes": [shape]} if count else {}


def _title(report: Report) -> str:
    ratio = report.model.get("jacobian.gradient_ratio")
    count = report.model.get("jacobian.block_count")
    blocks = wording.plural(int(count.number), "block") if count is not None and count.number else "the blocks"
    if ratio is None or ratio.number is None or ratio.number <= 0:
        return f"Growth of small changes through {blocks}"
    value = ratio.number
    word = "keeps its size" if 0.5 < value < 2 else f"{'grows' if value > 1 else 'shrinks'} by {_factor(value)}"
    return f"On its way back through {blocks} a gradient {word}"


def _factor(value: float) -> str:
    return f"a factor of {wording.number(value if value > 1 else 1 / value)}"


def _trace(label: str, series: _Series, names: Sequence[str], style: tuple[str, str]) -> dict[str, Any]:
    colour, symbol = style
    rows = zip(series.places, series.values, series.lows, series.highs, strict=True)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label,
        "x": [int(place) for place in series.places],
        "y": [rounded(value) for value in series.values],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [rounded(high - value) for value, high in zip(series.values, series.highs, strict=True)],
            "arrayminus": [rounded(value - low) for value, low in zip(series.values, series.lows, strict=True)],
            "thickness": 1,
            "width": 0,
        },
        "line": {"color": colour, "width": 1},
        "marker": {"color": colour, "symbol": symbol, "size": 7 if len(series.places) <= 60 else 4},
        "text": [
            f"{_name(names, place)}<br>{label}<br>‖J‖²/n = {wording.within(value, (low, high))} "
            f"({wording.interval((low, high))})"
            for place, value, low, high in rows
        ],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _name(names: Sequence[str], place: float) -> str:
    index = int(place) - 1
    return f"block {int(place)}: {safe(names[index])}" if 0 <= index < len(names) else f"block {int(place)}"


def _depth(count: int) -> dict[str, Any]:
    margin = max(0.6, 0.02 * count)
    ticks = {"dtick": 1} if count <= 16 else {}
    return axes.axis(
        "block, in the order in which they run", range=[1 - margin, count + margin], tickformat="d", **ticks
    )


def _left_out(names: Sequence[str], series: _Series) -> str:
    missing = len(names) - len(series.places)
    return f"{wording.plural(missing, 'block is', 'blocks are')} not drawn: no gradient passes." if missing > 0 else ""


def _series(report: Report, identifier: str) -> _Series:
    parts = [_numbers(report, identifier + end) for end in ("_places", "", "_low", "_high")]
    rows = [row for row in zip(*parts, strict=False) if row[1] > 0]
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    return _Series(*columns)


def _numbers(report: Report, identifier: str) -> tuple[float, ...]:
    held = report.model.get(identifier)
    if held is None or not isinstance(held.value, tuple):
        return ()
    return tuple(float(value) for value in held.value if not isinstance(value, str))


def _texts(report: Report, identifier: str) -> tuple[str, ...]:
    held = report.model.get(identifier)
    return tuple(str(value) for value in held.value) if held is not None and isinstance(held.value, tuple) else ()
