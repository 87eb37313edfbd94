"""Figures of ensembles of random networks: exponents by width, and maps over the scales of weights and biases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from critaudit.report import wording
from critaudit.report.figures import axes
from critaudit.report.figures.maps import EDGE, WIDOM, colour_bar, colour_map
from critaudit.report.figures.regions import border
from critaudit.report.figures.style import GUIDE, Spec, figure
from critaudit.report.record import Report

# Name, sign, colour and symbol of each exponent; told apart without colour by their symbols.
_EXPONENTS = (
    ("tau", "excess sizes, τ", "#1f7fc4", "circle"),
    ("alpha", "durations, α", "#d55e00", "square"),
    ("slope", "size against duration, 1/σνz", "#009e73", "diamond"),
)
_HERE = "#ffffff"


def avalanche_widths(report: Report) -> Spec:
    """Exponents at several widths, and their limits in 1/N."""
    traces: list[dict[str, Any]] = []
    said = []
    for name, label, colour, symbol in _EXPONENTS:
        widths, middle, low, high = (_series(report, f"width_{name}{end}") for end in ("_at", "", "_low", "_high"))
        if not widths:
            continue
        traces.append(_bars(widths, middle, low, high, label, colour, symbol))
        limit = report.model.get(f"avalanche.limit_{name}")
        if limit is not None and limit.number is not None and limit.interval is not None:
            traces.append(_limit(limit.number, limit.interval, label, colour, symbol))
            unchecked = " (from two widths, unchecked)" if limit.n == 2 else ""
            said.append(f"{label.rpartition(', ')[2]} = {wording.within(limit.number, limit.interval)}{unchecked}")
    told = f": {', '.join(said)} for N → ∞" if said else ""
    count = len(_series(report, "width_values"))
    reach = 1.0 / min(_series(report, "width_values"), default=1.0)
    return figure(
        traces,
        title=f"Exponents corrected for scaling at {wording.plural(count, 'width')}{told}",
        caption="Each exponent corrected for scaling, and its 95 % interval over clusters. Open marks at the "
        "left are limits for infinite width, from a weighted straight line in 1/N, which two widths cannot check. "
        "A width without a power law over "
        "a decade is left out. All widths have the same depth and inputs of the same strength; where no weight scale "
        "was given, each has that of its own edge of chaos.",
        n=count,
        height=420,
        xaxis=axes.axis("1/N (N: width)", range=[-0.08 * reach, 1.1 * reach]),
        yaxis=axes.axis("exponent (no unit)"),
    )


def avalanche_map_size(report: Report) -> Spec:
    """Mean avalanche size by width of weights and biases, with the lines of theory and the network's place."""
    weights, biases = _series(report, "map_sigma_w"), _series(report, "map_sigma_b")
    sizes = _series(report, "map_size")
    full = _series(report, "map_censored")
    floor = max(min((value for value in sizes if value > 0.0), default=1.0), 1e-2 * max(sizes, default=1.0) ** 0.5)
    hover = [
        f"⟨S⟩ = {wording.number(size)}, {wording.share(min(share, 1.0))} censored"
        for size, share in zip(sizes, full, strict=False)
    ]
    return _map_figure(
        report,
        _cells(weights, biases, sizes, floor, "⟨S⟩", hover),
        "Measured mean avalanche size over the scales of weights and biases",
        "Colour: mean total size per input, those without avalanche and those that reach the last layer included, of "
        f"fresh-weight networks of this width; threshold and input strength are {_strength(report)}. Sizes rise where "
        "the signal's own strength passes the threshold, which need not be where theory has its lines.",
    )


def avalanche_map_strength(report: Report) -> Spec:
    """Mean measured strength over the same plane."""
    weights, biases = _series(report, "map_sigma_w"), _series(report, "map_sigma_b")
    strengths = _series(report, "map_strength")
    hover = [f"s = {wording.number(strength)}" for strength in strengths]
    return _map_figure(
        report,
        _cells(weights, biases, strengths, None, "s", hover),
        "Measured mean strength over the scales of weights and biases",
        "Colour: root mean square pre-activation in the second half of the layers, whatever the threshold, averaged "
        "over networks of this width. Theory for infinite width has it at s*.",
    )


def avalanche_map_susceptibility(report: Report) -> Spec:
    """The susceptibility of theory over the same plane."""
    weights, biases = _series(report, "map_sigma_w"), _series(report, "map_sigma_b")
    known = {
        (b, w): value
        for b, w, value in zip(
            _series(report, "map_chi_sigma_b"), _series(report, "map_chi_sigma_w"), _series(report, "map_chi"),
            strict=False,
        )
    }  # fmt: skip
    values = [known.get((bias, weight), math.nan) for bias in biases for weight in weights]
    floor = max(min((value for value in known.values() if value > 0.0), default=1.0), 1e-3)
    hover = ["no fixed point" if math.isnan(value) else f"χ_s = {wording.number(value)}" for value in values]
    return _map_figure(
        report,
        _cells(weights, biases, values, floor, "χ_s", hover),
        "Susceptibility by theory over the scales of weights and biases",
        "Colour: χ_s = ∂s*/∂σ_w of the mean field, infinite width. The Widom line is where it is largest at given σ_b, "
        "the edge of chaos where χ₁ = 1: two different lines that meet at σ_b = 0.",
    )


def _map_figure(report: Report, cells: dict[str, Any], title: str, caption: str) -> Spec:
    weights, biases = _series(report, "map_sigma_w"), _series(report, "map_sigma_b")
    traces = [cells]
    for name, words, colour, dash in (
        ("edge", "edge of chaos, χ₁ = 1", EDGE, "solid"),
        ("widom", "Widom line, χ_s largest", WIDOM, "dash"),
    ):
        line = list(zip(_series(report, f"map_{name}_sigma_w"), _series(report, f"map_{name}_sigma_b"), strict=False))
        if line:
            traces.append(border(line, words, dash=dash, width=2.5, colour=colour))
    settings = [report.provenance.settings.get(name) for name in ("sigma_w", "sigma_b")]
    here = [float(value) if isinstance(value, (int, float)) else math.nan for value in settings]
    if weights[0] <= here[0] <= weights[-1] and biases[0] <= here[1] <= biases[-1]:
        traces.append(_here(here))
    return figure(
        traces,
        title=title,
        caption=f"{caption} The cross is the ensemble of this report.",
        n=len(weights) * len(biases),
        height=440,
        xaxis=axes.axis("weight scale σ_w (no unit)", range=[weights[0], weights[-1]]),
        yaxis=axes.axis("bias scale σ_b (no unit)", range=_padded(biases)),
        **colour_bar(cells),
    )


def _cells(
    weights: Sequence[float],
    biases: Sequence[float],
    values: Sequence[float],
    floor: float | None,
    name: str,
    hover: list[str],
) -> dict[str, Any]:
    """A map, values row by row; NaN has no colour. Of logarithms, cut at `floor`, unless that is None."""
    plane = [(bias, weight) for bias in biases for weight in weights]
    template = "σ_w = %{x:.3g}, σ_b = %{y:.3g}<br>%{text}"
    across, up = [weight for _, weight in plane], [bias for bias, _ in plane]
    return colour_map(across, up, values, floor=floor, name=name, sign=name, hover=template, texts=hover)


def _here(place: Sequence[float]) -> dict[str, Any]:
    words = f"this ensemble: σ_w = {wording.number(place[0], 4)}, σ_b = {wording.number(place[1])}"
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "this ensemble",
        "x": [place[0]],
        "y": [place[1]],
        "marker": {"symbol": "x", "size": 12, "color": _HERE, "line": {"width": 1.5, "color": "#000000"}},
        "text": [words],
        "hovertemplate": "%{text}<extra></extra>",
        "cliponaxis": False,
    }


def _bars(
    widths: list[float], middle: list[float], low: list[float], high: list[float], label: str, colour: str, symbol: str
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label,
        "x": [1.0 / width for width in widths],
        "y": middle,
        "error_y": _error([top - value for top, value in zip(high, middle, strict=True)],
                          [value - bottom for value, bottom in zip(middle, low, strict=True)], colour),
        "line": {"color": colour, "width": 1, "dash": "dot"},
        "marker": {"color": colour, "symbol": symbol, "size": 9},
        "text": [f"N = {wording.number(round(width))}" for width in widths],
        "hovertemplate": "%{text}<br>" + label + " = %{y:.3f}<extra></extra>",
    }  # fmt: skip


def _limit(value: float, interval: tuple[float, float], label: str, colour: str, symbol: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{label}, limit",
        "x": [0.0],
        "y": [value],
        "error_y": _error([interval[1] - value], [value - interval[0]], colour),
        "marker": {"color": colour, "symbol": f"{symbol}-open", "size": 11, "line": {"width": 2}},
        "text": [f"N → ∞: {wording.within(value, interval)} ({wording.interval(interval)})"],
        "hovertemplate": "%{text}<extra></extra>",
        "showlegend": False,
    }


def _error(up: list[float], down: list[float], colour: str) -> dict[str, Any]:
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "color": colour or GUIDE, "width": 4}


def _padded(values: Sequence[float]) -> list[float]:
    margin = 0.5 * (values[1] - values[0]) if len(values) > 1 else 0.01
    return [values[0] - margin, values[-1] + margin]


def _strength(report: Report) -> str:
    held = report.provenance.settings.get("strength")
    return wording.number(float(held)) if isinstance(held, (int, float)) else "that of the report"


def _series(report: Report, name: str) -> list[float]:
    """A series; empty where it was not measured."""
    held = report.model.get(f"avalanche.{name}")
    values = held.value if held is not None and held.status == "measured" else ()
    return [float(value) for value in values] if isinstance(values, tuple) else []
