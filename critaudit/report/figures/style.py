"""How the figures look: one template per theme, and colours that hold on white and on black for all kinds of sight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

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


def finish(
    figure: Figure, *, title: str, caption: str, n: int, left_out: str = "", height: int = 380, **layout: Any
) -> Figure:
    """Set the template, the title, and what the caption needs (`layout.meta`). Returns the figure."""
    figure.update_layout(
        template=template(dark=False),
        title={"text": title, "font": {"size": 16}},
        meta={"title": title, "caption": caption, "n": n, "left_out": left_out},
        height=height,
        **layout,
    )
    return figure
