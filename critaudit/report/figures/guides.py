"""Horizontal guides in figures with several panels, named in the right margin."""

from __future__ import annotations

import math
from typing import Any

from critaudit.report.figures.style import GUIDE


def guides(*levels: tuple[str, float, str, bool]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Shapes and annotations; per line its axis ("y2"), height and meaning, and whether the axis is logarithmic."""
    lines, labels = [], []
    for axis, height, label, logarithmic in levels:
        line = {"color": GUIDE, "dash": "dash", "width": 1}
        lines.append(
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": axis, "y0": height, "y1": height, "line": line}
        )
        labels.append(
            {
                "text": label,
                "xref": "paper",
                "x": 1,
                "xanchor": "left",
                "xshift": 4,
                "align": "left",
                "yref": axis,
                "y": math.log10(height) if logarithmic else height,
                "yanchor": "middle",
            }
        )
    return lines, labels
