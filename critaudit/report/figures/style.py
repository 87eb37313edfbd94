"""How the figures look: one template per theme, and colours that hold on white and on black for all kinds of sight."""

from __future__ import annotations

from typing import Any, TypeAlias

# A figure as plotly's JSON: {"data": [...], "layout": {...}}. Six times cheaper to make than a checked `Figure`.
Spec: TypeAlias = dict[str, Any]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif"
GUIDE = "#808080"

# At least 3:1 on both backgrounds; the symbol tells kinds apart where colour does not.
_KINDS = {
    "linear": ("#1f7fc4", "circle"),
    "conv": ("#d55e00", "square"),
    "attention": ("#009e73", "triangle-up"),
    "depthwise_conv": ("#b07d00", "diamond"),
    "transposed_conv": ("#a0693a", "triangle-down"),
    "embedding": ("#c0609a", "star"),
    "recurrent": ("#7f70d0", "cross"),
}
_OTHER = ("#808080", "x")


def kind_style(kind: str) -> tuple[str, str]:
    """The colour and marker symbol of a kind of layer."""
    return _KINDS.get(kind, _OTHER)


def series_colour(place: int) -> str:
    """The colour of the series at this place, as plotly takes them in turn where a figure names none."""
    colours = [colour for colour, _ in _KINDS.values()]
    return colours[place % len(colours)]


def template(*, dark: bool) -> dict[str, Any]:
    """The plotly template of a theme: transparent, quiet grid, system fonts."""
    ink, grid, panel = ("#d9dde3", "#30363d", "#1b1f24") if dark else ("#24292f", "#e3e6ea", "#ffffff")
    axis = {
        "gridcolor": grid,
        "linecolor": grid,
        "zerolinecolor": grid,
        "showline": True,
        "ticks": "outside",
        "tickcolor": grid,
        "ticklen": 4,
        "automargin": True,
        "title": {"standoff": 10},
    }
    return {
        "layout": {
            "font": {"family": FONT, "size": 13, "color": ink},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": [colour for colour, _ in _KINDS.values()],
            "xaxis": axis,
            "yaxis": axis,
            "margin": {"l": 60, "r": 16, "t": 40, "b": 48},
            "hoverlabel": {"bgcolor": panel, "bordercolor": grid, "font": {"color": ink}, "align": "left"},
            "hovermode": "closest",
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": GUIDE, "activecolor": ink},
            "annotationdefaults": {
                "font": {"size": 12, "color": ink},
                "showarrow": False,
                "bgcolor": panel,
                "borderpad": 1,
            },
        }
    }


def figure(
    data: list[dict[str, Any]],
    *,
    title: str,
    caption: str,
    n: int,
    left_out: str = "",
    height: int = 380,
    **layout: Any,
) -> Spec:
    """The figure of these traces, with its title and what the caption needs (`layout.meta`)."""
    meta = {"title": title, "caption": caption, "n": n, "left_out": left_out}
    return {
        "data": data,
        "layout": {"title": {"text": title, "font": {"size": 16}}, "meta": meta, "height": height} | layout,
    }


def level(height: float, label: str, *, at: float | None = None) -> dict[str, Any]:
    """Layout of a horizontal guide with its meaning in the right margin, where it hides no mark.

    `at` is the label's height where it differs (log axes).
    """
    line = {"color": GUIDE, "dash": "dash", "width": 1}
    place = {
        "xref": "paper",
        "x": 1,
        "xanchor": "left",
        "xshift": 4,
        "align": "left",
        "y": height if at is None else at,
        "yanchor": "middle",
    }
    return {
        "shapes": [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": height, "y1": height, "line": line}],
        "annotations": [{"text": label, **place}],
        "margin": {"r": 64},
    }
