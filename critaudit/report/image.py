"""Figures as an image file (PNG, SVG or PDF), drawn by matplotlib: plotly's own export needs a browser."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critaudit.errors import CritauditError, UsageError
from critaudit.report.figures.maps import ticks
from critaudit.report.figures.style import GUIDE, Spec
from critaudit.report.record import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
_DASHES = {"solid": "-", "dash": (0, (6, 4)), "dot": (0, (1, 2)), "dashdot": (0, (6, 3, 1, 3))}
_MARKERS = {"circle": "o", "square": "s", "diamond": "D", "cross": "P", "x": "x", "star": "*", "triangle-up": "^"}
# Inches; a panel is the plot with its title above, its legend and its caption below.
_PANEL, _HEIGHT, _RESOLUTION = 6.4, 7.0, 150
_INK, _MUTED, _GRID = "#24292f", "#59636e", "#e3e6ea"


def check_image_path(path: Path) -> None:
    """Raise UsageError where the ending names no format that can be drawn."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: an image ends in {', '.join(FORMATS)}; rename it")


def save_image(report: Report, path: str | Path, names: Sequence[str]) -> Path:
    """Draw the named figures of `report` side by side, with titles, legends and captions, and write them to `path`.

    The ending decides the format; equal reports give equal bytes. Knows lines, marks, areas and maps: raises
    CritauditError for a figure of other kinds, KeyError for one that the report does not have, UsageError where the
    ending is unknown or the file cannot be written.
    """
    target = Path(path)
    check_image_path(target)
    import matplotlib
    from matplotlib.figure import Figure

    specs = [report.figures.spec(name) for name in names]
    settings: dict[Any, Any] = {
        "font.size": 10,
        "svg.hashsalt": "critaudit",
        "text.color": _INK,
        "axes.edgecolor": _GRID,
    }
    with matplotlib.rc_context(settings):
        canvas = Figure(figsize=(_PANEL * len(specs), _HEIGHT), facecolor="white")
        for place, spec in enumerate(specs):
            _panel(canvas, spec, place / len(specs), 1.0 / len(specs))
        dates = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[target.suffix.lower()]
        try:
            canvas.savefig(target, dpi=_RESOLUTION, metadata=dates)
        except OSError as error:
            raise UsageError(
                f"{target}: the image could not be written ({error.strerror or error}); choose another place"
            ) from error
    return target


def _panel(canvas: Figure, spec: Spec, left: float, width: float) -> None:
    """One figure in the part of the canvas from `left`, both in shares of its width."""
    layout = spec["layout"]
    has_map = any(trace["type"] == "heatmap" for trace in spec["data"])
    start, extent = left + 0.115 * width, (0.74 if has_map else 0.83) * width
    axes = canvas.add_axes((start, 0.405, extent, 0.48))
    for trace in spec["data"]:
        if trace["type"] == "scatter":
            _scatter(axes, trace)
        elif trace["type"] == "heatmap":
            bar = canvas.add_axes((start + 1.03 * extent, 0.46, 0.02 * width, 0.36))
            _map(canvas, axes, bar, trace)
        else:
            raise CritauditError(f"a figure with a trace of type {trace['type']} cannot be drawn as an image; use HTML")
    for kind in ("x", "y"):
        _axis(axes, kind, layout[f"{kind}axis"])
    for note in layout.get("annotations", ()):
        if "text" in note and note.get("xref") != "paper":
            axes.annotate(_plain(note["text"]), (note["x"], note["y"]), ha="center", va="center", fontsize=9.5)
    title = textwrap.fill(_plain(layout["meta"]["title"]), 62)
    canvas.text(start, 0.975, title, ha="left", va="top", fontsize=11.5, fontweight="bold")
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            loc="upper left", bbox_to_anchor=(-0.02, -0.15), ncols=2, frameon=False, fontsize=9, borderaxespad=0
        )
    caption = textwrap.fill(_plain(layout["meta"]["caption"]), 88)
    canvas.text(
        start,
        0.305 - 0.026 * math.ceil(len(handles) / 2),
        caption,
        ha="left",
        va="top",
        fontsize=8.5,
        color=_MUTED,
        linespacing=1.35,
    )


def _scatter(axes: Axes, trace: dict[str, Any]) -> None:
    """Lines, marks, or the area that they go around."""
    import numpy as np

    x, y = (np.array([math.nan if v is None else v for v in trace[key]], dtype=float) for key in ("x", "y"))
    label = _plain(trace["name"]) if trace.get("showlegend", True) else None
    if trace.get("fill") == "toself":
        colour, opacity = _colour(trace["fillcolor"])
        axes.fill(x, y, color=colour, alpha=opacity, linewidth=0, zorder=0.5, label=label)
        return
    line, marker = trace.get("line", {}), trace.get("marker", {})
    style: dict[str, Any] = {"linestyle": "none"}
    if "lines" in trace["mode"]:
        style = {"linestyle": _DASHES[line.get("dash", "solid")], "linewidth": line.get("width", 1.5)}
        style["color"] = line.get("color", GUIDE)
    if "markers" in trace["mode"]:
        symbol = marker.get("symbol", "circle")
        name = symbol if isinstance(symbol, str) else symbol[0]
        colour = marker.get("color", GUIDE)
        style |= {
            "marker": _MARKERS.get(name.removesuffix("-open"), "o"),
            "markersize": 0.8 * marker.get("size", 8),
            "markeredgecolor": colour,
            "markerfacecolor": "none" if name.endswith("-open") else colour,
            "markeredgewidth": marker.get("line", {}).get("width", 1),
        }
    axes.plot(x, y, label=label, **style)


def _map(canvas: Figure, axes: Axes, bar: Axes, trace: dict[str, Any]) -> None:
    """A map with its scale in plain numbers; cells without a number stay white."""
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap

    z = np.array([[math.nan if value is None else value for value in row] for row in trace["z"]], dtype=float)
    colours = LinearSegmentedColormap.from_list("map", [tuple(step) for step in trace["colorscale"]])
    low, high = trace["zmin"], trace["zmax"]
    mesh = axes.pcolormesh(
        trace["x"],
        trace["y"],
        np.ma.masked_invalid(z),
        cmap=colours,
        vmin=low,
        vmax=high,
        shading="gouraud" if np.isfinite(z).all() else "nearest",
        rasterized=True,
    )
    scale = canvas.colorbar(mesh, cax=bar)
    seen = ticks(trace)
    scale.set_ticks([tick for tick, _ in seen], labels=[text for _, text in seen])
    scale.outline.set_visible(False)
    bar.set_title(_plain(trace["meta"]["sign"]), fontsize=10)


def _axis(axes: Axes, kind: str, spec: dict[str, Any]) -> None:
    """Title, range and ticks; the axis' own units are the figure's: powers of ten on a logarithmic one."""
    logarithmic = spec.get("type") == "log"
    getattr(axes, f"set_{kind}label")(_plain(spec["title"]["text"]))
    if logarithmic:
        getattr(axes, f"set_{kind}scale")("log")
    if "tickvals" in spec:
        getattr(axes, f"set_{kind}ticks")(spec["tickvals"], labels=spec["ticktext"], minor=False)
    if "range" in spec:
        getattr(axes, f"set_{kind}lim")([10.0**end for end in spec["range"]] if logarithmic else spec["range"])
    axes.tick_params(colors=_MUTED, labelcolor=_INK)
    axes.grid(visible=True, color=_GRID, linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)


def _colour(text: str) -> tuple[str | tuple[float, ...], float]:
    """A CSS colour as matplotlib's, and its opacity."""
    if not text.startswith("rgba("):
        return text, 1.0
    red, green, blue, opacity = (float(part) for part in text[5:-1].split(","))
    return (red / 255.0, green / 255.0, blue / 255.0), opacity


def _plain(text: str) -> str:
    """A figure's text without its few tags; no dollar sign begins a formula."""
    return unescape(text.replace("<br>", "\n")).replace("$", r"\$")
