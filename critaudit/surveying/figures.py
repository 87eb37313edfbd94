"""The figures of a survey's page, from its summary: distributions over all matrices, and models on the phase plane."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from critaudit.report import measures, wording
from critaudit.report.figures import axes
from critaudit.report.figures.points import rounded, safe
from critaudit.report.figures.regions import border
from critaudit.report.figures.style import GUIDE, Spec, figure, level, template
from critaudit.surveying.summary import Summary
from critaudit.theory.phase_lines_table import ORDERED_LINE

_FAMILIES = 7  # as many as there are colours
_RANKED = 40
_BINS = 60
_DEPTHS = 10
_LAYERS = "Every weight matrix of every model counts once, so that large models weigh more than small ones."


def figures(summary: Summary) -> list[dict[str, Any]]:
    """The figures that the summary allows, each without a template, as the page wants them."""
    drawn: list[tuple[str, Spec]] = []
    if _has(summary, "entries.alpha"):
        drawn.append(("alpha_by_family", _histogram(summary, "entries.alpha", log=False)))
    if _has(summary, "entries.g_forward"):
        drawn.append(("g_by_family", _histogram(summary, "entries.g_forward", log=True)))
    if _has(summary, "entries.alpha") and _has(summary, "entries.g_forward"):
        drawn.append(("models_in_plane", _plane(summary)))
    if _has(summary, "entries.alpha"):
        drawn.append(("models_by_alpha", _ranking(summary, "entries.alpha")))
        drawn.append(("alpha_by_depth", _by_depth(summary, "entries.alpha")))
        drawn.append(("alpha_by_kind", _by_kind(summary, "entries.alpha")))
    if _has(summary, "edge.chi1"):
        drawn.append(("chi1_by_family", _histogram(summary, "edge.chi1", log=True)))
    if _has(summary, "spectrum.stable_rank"):
        drawn.append(("stable_rank_by_depth", _by_depth(summary, "spectrum.stable_rank")))
    return [
        {
            "name": name,
            "data": spec["data"],
            "layout": {key: part for key, part in spec["layout"].items() if key not in ("title", "meta")},
            **spec["layout"]["meta"],
        }
        for name, spec in drawn
    ]


def _has(summary: Summary, name: str) -> bool:
    return name in summary.values and bool(np.isfinite(summary.values[name]).any())


def _families(summary: Summary) -> list[str]:
    """The families with most layers; the rest is drawn as "other"."""
    counts = Counter(summary.family.tolist())
    named = [name for name, _ in counts.most_common() if name != "other"]
    return named[:_FAMILIES]


def _colour(family: str | None, kept: list[str]) -> str:
    """One colour per family in all figures, grey for the rest."""
    colours: list[str] = template(dark=False)["layout"]["colorway"]
    return colours[kept.index(family)] if family in kept else GUIDE


def _histogram(summary: Summary, name: str, *, log: bool) -> Spec:
    """Stacked counts per bin, a colour per family, over the middle 99.8 % of the values."""
    values = summary.values[name]
    present = values[np.isfinite(values) & ((values > 0) | (not log))]
    low, high = np.quantile(present, [0.001, 0.999])
    if not high > low:
        low, high = low - 0.5 * abs(low) - 1e-9, high + 0.5 * abs(high) + 1e-9
    scaled = np.log10(np.where(values > 0, values, np.nan)) if log else values
    ends = (np.log10(low), np.log10(high)) if log else (low, high)
    edges = np.linspace(*ends, _BINS + 1)
    middles = 0.5 * (edges[1:] + edges[:-1])
    kept = _families(summary)
    traces = []
    for family in [*kept, "other"]:
        mask = summary.family == family if family != "other" else ~np.isin(summary.family.astype(str), kept)
        counts = np.histogram(scaled[mask & np.isfinite(scaled)], edges)[0]
        if not counts.any():
            continue
        traces.append(
            {
                "type": "bar",
                "name": safe(family),
                "marker": {"color": _colour(family, kept)},
                "x": [rounded(float(10**x) if log else float(x)) for x in middles],
                "y": counts.tolist(),
                "width": [rounded(float(w)) for w in (np.diff(10**edges) if log else np.diff(edges))],
                "hovertemplate": f"{safe(family)}<br>%{{x:.3g}}: %{{y}} layers<extra></extra>",
            }
        )
    measure = measures.describe(name)
    outside = int(present.size - np.count_nonzero((present >= low) & (present <= high)))
    quartiles = np.quantile(present, [0.25, 0.5, 0.75])
    below = f" {outside} layers beyond the ends are not drawn." if outside else ""
    return figure(
        traces,
        title=f"Half of the layers have {measure.label} {measure.symbol or ''} between "
        f"{wording.number(float(quartiles[0]))} and {wording.number(float(quartiles[2]))}",
        caption=f"Counts of weight matrices, stacked by family of architecture. {_LAYERS}{_caveat(name)}{below}",
        n=int(present.size),
        left_out=_missing(summary, name),
        barmode="stack",
        bargap=0,
        xaxis=axes.axis(measure.heading, **(axes.logarithmic([float(low), float(high)]) if log else {})),
        yaxis=axes.axis("layers"),
    )


def _plane(summary: Summary) -> Spec:
    """A mark per model at the medians of α and g, with bars over the middle half of its layers."""
    rows = [row for row in summary.rows if {"entries.alpha", "entries.g_forward"} <= row.spreads.keys()]
    kept = _families(summary)
    places = {row.source: place for place, row in enumerate(summary.rows, start=1)}
    traces = []
    for family in [*kept, None]:
        members = [row for row in rows if (row.family if row.family in kept else None) == family]
        if not members:
            continue
        alphas = [row.spreads["entries.alpha"] for row in members]
        gs = [row.spreads["entries.g_forward"] for row in members]
        bars = len(rows) <= 60
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": safe(family or "other"),
                "x": [rounded(a.median) for a in alphas],
                "y": [rounded(g.median) for g in gs],
                "marker": {"size": 9 if bars else 6, "color": _colour(family, kept)},
                "customdata": [places[row.source] for row in members],
                "text": [safe(row.architecture or row.source) for row in members],
                "hovertemplate": "%{text}<br>α = %{x:.3g}, g = %{y:.3g}<extra></extra>",
                **({"error_x": _bars(alphas), "error_y": _bars(gs)} if bars else {}),
            }
        )
    line = border(ORDERED_LINE, "ordered line (cutoff), tanh, i.i.d.")
    spreads = [row.spreads["entries.g_forward"].median for row in rows]
    alphas_all = [row.spreads["entries.alpha"].low for row in rows]
    return figure(
        [*traces, line],
        title=f"{wording.plural(len(rows), 'model')} by the weight of their tails (α) and their scale (g)",
        caption="A mark per model at the medians over its layers"
        + (", bars span the middle half of them" if len(rows) <= 60 else "")
        + ". Left is heavier-tailed, up is stronger. The line is theory for tanh and independent weights; a model with "
        "normalisation layers is not bound by it. Click a mark to find the model in the table.",
        n=len(rows),
        height=460,
        xaxis=axes.axis("median stable exponent α", range=[max(0.4, min(0.95, *alphas_all, 2.0) - 0.05), 2.06]),
        yaxis=axes.axis("median weight scale g", **(axes.scale(spreads) if spreads else {})),
    )


def _ranking(summary: Summary, name: str) -> Spec:
    """The models in the order of their medians, with the medians' intervals; of many, both ends of the order."""
    rows = sorted((row for row in summary.rows if name in row.spreads), key=lambda row: row.spreads[name].median)
    half = _RANKED // 2
    shown = rows if len(rows) <= _RANKED else [*rows[:half], *rows[-half:]]
    ranks = {row.source: rank for rank, row in enumerate(rows, start=1)}
    places = {row.source: place for place, row in enumerate(summary.rows, start=1)}
    spreads = [row.spreads[name] for row in shown]
    ends = [(one.median, one.median) if one.interval is None else one.interval for one in spreads]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [rounded(one.median) for one in spreads],
        "y": [f"{ranks[row.source]}. {safe(_short(row.architecture or row.source))}" for row in shown],
        "customdata": [places[row.source] for row in shown],
        "text": [f"{safe(row.source)}, {one.n} layers" for row, one in zip(shown, spreads, strict=True)],
        "hovertemplate": "%{text}<br>median %{x:.4g}<extra></extra>",
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [rounded(high - one.median) for one, (_, high) in zip(spreads, ends, strict=True)],
            "arrayminus": [rounded(one.median - low) for one, (low, _) in zip(spreads, ends, strict=True)],
            "thickness": 1.5,
            "width": 0,
        },
        "showlegend": False,
    }
    measure = measures.describe(name)
    some = f" The first and last {half} of {len(rows)} are shown." if len(rows) > _RANKED else ""
    return figure(
        [trace],
        title=f"Models in the order of their median {measure.label} {measure.symbol or ''}",
        caption="Bars are 95 % intervals of the median over a model's layers (from order statistics, as if the layers "
        "were independent); where there are fewer than six layers there is none. Where bars overlap, the data do not "
        f"decide the order, and it is none of quality.{_caveat(name)}{some}",
        n=len(rows),
        height=120 + 22 * len(shown),
        xaxis=axes.axis(f"median {measure.heading}"),
        yaxis=axes.axis("", type="category", autorange="reversed", dtick=1),
    )


def _short(name: str) -> str:
    """The end of a long path, which tells models apart."""
    return name if len(name) <= 32 else f"…{name[-31:]}"


def _bars(spreads: list[Any]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [rounded(one.high - one.median) for one in spreads],
        "arrayminus": [rounded(one.median - one.low) for one in spreads],
        "thickness": 1,
        "width": 0,
    }


def _by_depth(summary: Summary, name: str) -> Spec:
    """Median over layers of each tenth of the depth, a line per family, and the middle half of all."""
    values, bins = summary.values[name], np.minimum((_DEPTHS * summary.depth).astype(int), _DEPTHS - 1)
    middles = [(place + 0.5) / _DEPTHS for place in range(_DEPTHS)]
    everyone = _quartiles(values, bins)
    band = {"type": "scatter", "mode": "lines", "x": middles, "line": {"width": 0}, "hoverinfo": "skip"}
    traces: list[dict[str, Any]] = [
        {**band, "y": [q[0] for q in everyone], "showlegend": False},
        {
            **band,
            "y": [q[2] for q in everyone],
            "fill": "tonexty",
            "fillcolor": "rgba(128,128,128,0.22)",
            "name": "middle half of all layers",
        },
    ]
    families = _families(summary)
    for family in families:
        mask = summary.family == family
        if np.isfinite(values[mask]).sum() < _DEPTHS:
            continue
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": safe(family),
                "line": {"color": _colour(family, families)},
                "x": middles,
                "y": [q[1] for q in _quartiles(values[mask], bins[mask])],
                "hovertemplate": f"{safe(family)}<br>%{{y:.4g}}<extra></extra>",
            }
        )
    measure = measures.describe(name)
    guide = level(2.0, "α = 2:<br>Gaussian") if name == "entries.alpha" else {}
    present = values[np.isfinite(values)]
    scale = {} if guide else axes.scale([float(v) for v in present if v > 0] or [1.0])
    return figure(
        traces,
        title=f"{measure.label[0].upper()}{measure.label[1:]} from the first layers to the last",
        caption="Medians over the layers in each tenth of the depth (first layer 0, last layer 1), by family."
        f"{_caveat(name)}",
        n=int(present.size),
        left_out=_missing(summary, name),
        xaxis=axes.axis("depth in the model", range=[0, 1]),
        yaxis=axes.axis(measure.heading, **scale),
        **guide,
    )


def _quartiles(values: NDArray[np.float64], bins: NDArray[np.int_]) -> list[tuple[float | None, ...]]:
    found: list[tuple[float | None, ...]] = []
    for place in range(_DEPTHS):
        here = values[(bins == place) & np.isfinite(values)]
        found.append(
            tuple(rounded(float(q)) for q in np.quantile(here, [0.25, 0.5, 0.75])) if here.size else (None, None, None)
        )
    return found


def _by_kind(summary: Summary, name: str) -> Spec:
    """A box per kind of layer, from its quantiles."""
    values = summary.values[name]
    kinds = [kind for kind, _ in Counter(summary.kind.tolist()).most_common()]
    boxes = []
    for kind in kinds:
        here = values[(summary.kind == kind) & np.isfinite(values)]
        if here.size:
            boxes.append((kind, here.size, np.quantile(here, [0.05, 0.25, 0.5, 0.75, 0.95])))
    measure = measures.describe(name)
    trace = {
        "type": "box",
        "x": [f"{safe(kind.replace('_', ' '))} ({size})" for kind, size, _ in boxes],
        "lowerfence": [rounded(float(q[0])) for _, _, q in boxes],
        "q1": [rounded(float(q[1])) for _, _, q in boxes],
        "median": [rounded(float(q[2])) for _, _, q in boxes],
        "q3": [rounded(float(q[3])) for _, _, q in boxes],
        "upperfence": [rounded(float(q[4])) for _, _, q in boxes],
        "showlegend": False,
    }
    return figure(
        [trace],
        title=f"{measure.label[0].upper()}{measure.label[1:]} by kind of layer",
        caption="Boxes hold the middle half of the layers, whiskers 90 %; how many there are is in brackets."
        f"{_caveat(name)}",
        n=int(np.isfinite(values).sum()),
        left_out=_missing(summary, name),
        xaxis=axes.axis("kind of layer"),
        yaxis=axes.axis(measure.heading),
    )


def _caveat(name: str) -> str:
    if name == "entries.alpha":
        return " A fitted α below 2 does not prove a stable law: see the verdicts in the models' reports."
    if name == "edge.chi1":
        return " Computed as if weights were independent, without normalisation and residual paths."
    return ""


def _missing(summary: Summary, name: str) -> str:
    gone = int(np.count_nonzero(~np.isfinite(summary.values[name])))
    return f"{wording.plural(gone, 'layer')} without this number." if gone else ""
