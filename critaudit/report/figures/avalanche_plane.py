"""The plane of avalanche exponents: the data, universality classes and null models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from critaudit.report import wording
from critaudit.report.figures import axes
from critaudit.report.figures.model_series import number, numbers, texts, with_corrected
from critaudit.report.figures.points import rounded, safe
from critaudit.report.figures.style import GUIDE, Spec, figure
from critaudit.report.record import Report

EXPONENTS = tuple(f"avalanche.{kind}_{name}" for kind in ("cloud", "class") for name in ("tau", "alpha", "slope"))

_DATA, _CLASS = "#d55e00", "#1f7fc4"
# Sets a mark off from the cloud that it lies in.
_RING = {"color": "#ffffff", "width": 2}
_NULLS = ("#7f70d0", "#b07d00", "#c0609a", "#a0693a", "#808080")
# Of two Gaussian variables, 95 % lie within this many standard deviations; of three, a class within this distance.
_ELLIPSE, _NOT_EXCLUDED = math.sqrt(5.991), math.sqrt(7.815)
# Where the numbers of neighbouring classes stand, so that they do not hide each other.
_AROUND = ("top right", "bottom right", "bottom left", "top left")


def avalanche_exponents(report: Report) -> Spec:
    """Two cuts through the space of exponents: the data's ellipse, the universality classes and the null models."""
    cloud = [numbers(report, f"avalanche.cloud_{name}") for name in ("tau", "alpha", "slope")]
    names = ("tau_excess", "alpha", "slope_excess")
    plain = [number(report, f"avalanche.{name}") for name in names]
    centre = [number(report, f"avalanche.{name}_corrected") for name in names]
    if not all(map(math.isfinite, centre)):  # a report of an earlier version
        centre = [_mean(column) for column in cloud]
    classes = [numbers(report, f"avalanche.class_{name}") for name in ("tau", "alpha", "slope", "distances")]
    nulls = [numbers(report, f"avalanche.null_{name}") for name in ("tau", "alpha", "slope")]
    sight = [_padded([*cloud[axis], *classes[axis], *nulls[axis], *_finite(plain[axis])]) for axis in range(3)]
    traces: list[dict[str, Any]] = []
    for panel, (across, up) in (("", (0, 1)), ("2", (1, 2))):
        traces += [
            _relation(centre, panel),
            _cloud(cloud[across], cloud[up], panel),
            _ellipse(cloud[across], cloud[up], (centre[across], centre[up]), panel),
            _classes(report, classes[across], classes[up], classes[3], panel),
            *_null_marks(report, nulls[across], nulls[up], panel),
            *_own_marks((centre[across], centre[up]), (plain[across], plain[up]), panel),
        ]
    return figure(
        traces,
        title=f"Exponents among classes and null models; crackling mismatch {with_corrected(report, 'avalanche.dcc')}",
        caption="Excess sizes. The large dot: exponents corrected for scaling, from which distances are measured. "
        "Small dots: their bootstrap resamples over clusters; the ellipse is the 95 % region with their covariances. "
        "The hollow square: exponents of the plain fits. "
        "Diamonds: universality classes, by number, nearest first; filled where the data do not exclude them at 5 % "
        f"(a small systematic error is allowed for as well): {_listed(report)}. Crosses: null models run beside; where "
        "the data agree with one of them, agreement with a class says nothing. Dashed: the crackling relation with the "
        "corrected third exponent. Random walks have τ = 4/3, α = 3/2, 1/σνz = 3/2, without any critical point.",
        n=len(cloud[0]),
        height=860,
        xaxis=axes.axis("size exponent τ", range=sight[0]),
        yaxis=axes.axis("duration exponent α", domain=[0.57, 1.0], range=sight[1]),
        xaxis2=axes.axis("duration exponent α", anchor="y2", range=sight[1]),
        yaxis2=axes.axis("slope 1/σνz", domain=[0.0, 0.43], anchor="x2", range=sight[2]),
    )


def _padded(values: list[float]) -> list[float]:
    """A range around all values, with room for their names."""
    low, high = min(values), max(values)
    margin = max(0.1 * (high - low), 0.05)
    return [low - margin, high + margin]


def _relation(centre: Sequence[float], panel: str) -> dict[str, Any]:
    """(α − 1)/(τ − 1) = 1/σνz with the exponent that the panel does not show at its corrected value."""
    tau, _, slope = centre
    if panel == "":
        x = [1.0, max(2.0, tau)]
        y = [1.0 + slope * (end - 1.0) for end in x]
    else:
        x = [1.0, 2.2]
        y = [(end - 1.0) / max(tau - 1.0, 1e-3) for end in x]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "crackling relation",
        "x": [rounded(value) for value in x],
        "y": [rounded(value) for value in y],
        "line": {"color": GUIDE, "dash": "dash", "width": 1},
        "xaxis": f"x{panel}",
        "yaxis": f"y{panel}",
        "hoverinfo": "skip",
        "legendgroup": "relation",
        "showlegend": panel == "",
    }


def _cloud(x: list[float], y: list[float], panel: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "bootstrap resamples",
        "x": x,
        "y": y,
        "marker": {"color": _DATA, "size": 3, "opacity": 0.5},
        "xaxis": f"x{panel}",
        "yaxis": f"y{panel}",
        "hoverinfo": "skip",
        "legendgroup": "cloud",
        "showlegend": panel == "",
    }


def _ellipse(x: list[float], y: list[float], centre: tuple[float, float], panel: str) -> dict[str, Any]:
    """The 95 % ellipse of a Gaussian about `centre` with the covariances of the resamples."""
    middle_x, middle_y = _mean(x), _mean(y)
    xx, yy, xy = (
        _mean([(a - m) * (b - n) for a, b in zip(u, v, strict=False)])
        for u, m, v, n in ((x, middle_x, x, middle_x), (y, middle_y, y, middle_y), (x, middle_x, y, middle_y))
    )
    # Cholesky's factor of the covariances.
    first = math.sqrt(max(xx, 0.0))
    across = xy / first if first > 0.0 else 0.0
    rest = math.sqrt(max(yy - across * across, 0.0))
    angles = [2.0 * math.pi * step / 72 for step in range(73)]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "95 % ellipse",
        "x": [rounded(centre[0] + _ELLIPSE * first * math.cos(angle)) for angle in angles],
        "y": [rounded(centre[1] + _ELLIPSE * (across * math.cos(angle) + rest * math.sin(angle))) for angle in angles],
        "line": {"color": _DATA, "width": 2},
        "xaxis": f"x{panel}",
        "yaxis": f"y{panel}",
        "hoverinfo": "skip",
        "legendgroup": "ellipse",
        "showlegend": panel == "",
    }


def _classes(report: Report, x: list[float], y: list[float], distances: list[float], panel: str) -> dict[str, Any]:
    """Universality classes as numbered diamonds."""
    names = texts(report, "avalanche.class_names")
    rows = list(zip(x, y, distances, names, strict=False))
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": "universality classes",
        "x": [row[0] for row in rows],
        "y": [row[1] for row in rows],
        "text": [str(place) for place in range(1, len(rows) + 1)],
        "textposition": [_AROUND[place % len(_AROUND)] for place in range(len(rows))],
        "textfont": {"size": 11},
        "marker": {
            "color": _CLASS,
            "size": 9,
            "symbol": ["diamond" if row[2] <= _NOT_EXCLUDED else "diamond-open" for row in rows],
        },
        "hovertext": [f"{safe(row[3])}<br>distance {wording.number(row[2])}" for row in rows],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "xaxis": f"x{panel}",
        "yaxis": f"y{panel}",
        "legendgroup": "classes",
        "showlegend": panel == "",
    }


def _null_marks(report: Report, x: list[float], y: list[float], panel: str) -> list[dict[str, Any]]:
    """Every null model as a cross of its own colour."""
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": safe(f"null: {name}"),
            "x": [across],
            "y": [up],
            "marker": {"color": _NULLS[place % len(_NULLS)], "size": 11, "symbol": "cross"},
            "text": [safe(name)],
            "hovertemplate": "%{text}<extra></extra>",
            "xaxis": f"x{panel}",
            "yaxis": f"y{panel}",
            "legendgroup": f"null{place}",
            "showlegend": panel == "",
        }
        for place, (name, across, up) in enumerate(zip(texts(report, "avalanche.null_names"), x, y, strict=False))
    ]


def _own_marks(corrected: tuple[float, float], plain: tuple[float, float], panel: str) -> Iterator[dict[str, Any]]:
    """The data's own exponents: the corrected ones, large, and those of the plain fits, small and hollow."""
    for place, name, marker in (
        (corrected, "corrected for scaling", {"color": _DATA, "size": 13, "symbol": "circle", "line": _RING}),
        (plain, "plain fits", {"color": _DATA, "size": 9, "symbol": "square-open", "line": {"width": 2}}),
    ):
        if all(map(math.isfinite, place)):
            yield {
                "type": "scatter",
                "mode": "markers",
                "name": f"exponents, {name}",
                "x": [rounded(place[0])],
                "y": [rounded(place[1])],
                "marker": marker,
                "hovertemplate": f"{name}: %{{x:.3f}}, %{{y:.3f}}<extra></extra>",
                "xaxis": f"x{panel}",
                "yaxis": f"y{panel}",
                "legendgroup": name,
                "showlegend": panel == "",
            }


def _finite(value: float) -> tuple[float, ...]:
    return (value,) if math.isfinite(value) else ()


def _listed(report: Report) -> str:
    """The classes by number, in the order of their distance."""
    names = [name.partition(" (")[0] for name in texts(report, "avalanche.class_names")]
    return ", ".join(f"{place} {safe(name)}" for place, name in enumerate(names, start=1))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
