"""What random tanh networks do to a circle, over tail exponent and scale: `python reports/manifold.py`, two minutes.

Qu22's Figs 4, 5 and S1 in small: the unit circle in the plane of two input units goes through networks of independent
stable weights; and at α = 2 a circle in a random plane, beside Poole 2016's mean field. Writes `manifold.md` and
`manifold.png` beside this file.
"""

from __future__ import annotations

import datetime
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from critaudit import __version__
from critaudit.dynamics.manifold import CV_OF_A_LINE, CV_OF_TANH_CIRCLE, Curve, Geometry, curve_geometry
from critaudit.laws.nulls import stable_sample
from critaudit.theory.circle import circle_through_layers

Array = NDArray[np.float64]

WIDTH, DEPTH, POINTS, NETWORKS = 400, 30, 192, 4
ALPHAS, SCALES = (2.0, 1.8, 1.5, 1.2, 1.0), (0.5, 1.0, 3.0)
LAYERS, PICTURED = (1, 2, 5, 10, 20, 30), (1, 5, 10, 20, 30)
# A network in which a circle is drawn, per row of the picture.
DRAWN = ((2.0, 1.0), (1.2, 1.0), (2.0, 3.0), (1.2, 3.0))
# One number of a circle per network and layer.
Table = dict[tuple[float, float, int], list[Geometry]]


def main() -> None:
    """Measure, and write the page and its picture."""
    angles = 2.0 * np.pi * np.arange(POINTS) / POINTS
    found: Table = {}
    with threadpool_limits(1):
        for alpha in ALPHAS:
            for g in SCALES:
                for network in range(NETWORKS):
                    start = np.zeros((WIDTH, POINTS))
                    start[:2] = np.cos(angles), np.sin(angles)
                    for layer, h in _through(np.tanh(start), alpha, g, seed=network):
                        found.setdefault((alpha, g, layer), []).append(_measured(h))
                print(
                    f"α = {alpha:g}, g = {g:g}: CV behind layer {DEPTH} {_cell(found, alpha, g, DEPTH, _cv)}",
                    flush=True,
                )
        parts = [_head(), *_tables(found), *_mean_field(angles)]
    here = Path(__file__)
    here.with_suffix(".md").write_text("\n".join(parts) + "\n", encoding="utf-8")
    _draw(found, here.with_suffix(".png"))


def _through(signal: Array, alpha: float, g: float, *, seed: int) -> Iterator[tuple[int, Array]]:
    """Pre-activations (units × points) behind the LAYERS of one network with weights from S_α(σ = g(2N)^(−1/α))."""
    rng = np.random.default_rng([seed, round(100 * alpha), round(100 * g)])
    for layer in range(1, DEPTH + 1):
        weights = g * (2 * WIDTH) ** (-1.0 / alpha) * stable_sample(alpha, 0.0, (WIDTH, WIDTH), rng)
        h = weights @ signal
        if layer in LAYERS:
            yield layer, h
        signal = np.tanh(h)


def _measured(h: Array) -> Geometry:
    centred = h - h.mean(axis=1, keepdims=True)
    return curve_geometry(Curve(centred.T @ centred, float(np.square(h).mean()), WIDTH, float(np.finfo(float).eps)))


def _head() -> str:
    return f"""# A circle through random tanh networks

Written by `python reports/manifold.py`, critaudit {__version__}, {datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}.

Width {WIDTH}, {POINTS} points on the circle, {NETWORKS} networks of independent stable weights for each α and g
(σ = g(2N)^(−1/α), no biases); ± is the standard deviation over networks. The input is the unit circle in the plane of
the first two units, as in Qu et al. 2022. Behind the first tanh, before any weight, it has
CV = {CV_OF_TANH_CIRCLE:.3f}; on a line every circle has {CV_OF_A_LINE:.4f}. Neither is an effect of depth.

![Circles in their two strongest principal components](manifold.png)

The circle in its two strongest principal components, each to its own size, with their share of the variance. At g = 1
Gaussian weights keep it smooth, heavy-tailed ones press it flat and crease it; at g = 3 it is torn."""


def _tables(found: Table) -> Iterator[str]:
    columns: tuple[tuple[str, Callable[[Geometry], float], str], ...] = (
        ("Unevenness CV (Fig 5)", _cv, "Spread over mean of the distances between neighbouring points."),
        (
            "Participation ratio",
            lambda circle: circle.participation,
            "(Σλ)²/Σλ² of the principal components; 2 for a circle, 1 for a line.",
        ),
        (
            "Share of two components, as the paper plots it",
            lambda circle: sum(circle.singular_shares[:2]),
            "(s₁ + s₂)/Σs; as a share of the variance, Σs², it is larger.",
        ),
    )
    for title, value, meaning in columns:
        yield f"\n## {title}\n\n{meaning}\n"
        yield "| α | g | " + " | ".join(f"layer {layer}" for layer in LAYERS) + " |"
        yield "|---|---|" + "---|" * len(LAYERS)
        for alpha in ALPHAS:
            for g in SCALES:
                cells = " | ".join(_cell(found, alpha, g, layer, value) for layer in LAYERS)
                yield f"| {alpha:g} | {g:g} | {cells} |"


def _cv(circle: Geometry) -> float:
    return circle.cv


def _cell(found: Table, alpha: float, g: float, layer: int, value: Callable[[Geometry], float]) -> str:
    values = [value(circle) for circle in found[alpha, g, layer]]
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def _mean_field(angles: Array) -> Iterator[str]:
    """Length and curvature at α = 2 of a circle of strength 1 in a random plane, beside theory."""
    yield f"""
## Gaussian weights beside mean field (Poole 2016)

α = 2, a circle of strength 1 in a random plane, {NETWORKS} networks. Length is per √unit, curvature in units of the
curve's radius (1 for a circle). Theory is for infinite width. Folds finer than {POINTS} points are not resolved.

| g | layer | length | theory | curvature κR | theory |
|---|---|---|---|---|---|"""
    for g in SCALES:
        circles: dict[int, list[Geometry]] = {}
        for network in range(NETWORKS):
            plane = np.linalg.qr(np.random.default_rng([network, 99]).standard_normal((WIDTH, 2)))[0]
            start = math.sqrt(WIDTH) * plane @ np.stack([np.cos(angles), np.sin(angles)])
            for layer, h in _through(start, 2.0, g, seed=100 + network):
                circles.setdefault(layer, []).append(_measured(h))
        theory = circle_through_layers(g, 0.0, "tanh", layers=DEPTH)
        for layer in LAYERS[:4]:
            expected = theory[layer - 1]
            yield (
                f"| {g:g} | {layer} | {_resolved([(circle.length, circle.length_error) for circle in circles[layer]])} "
                f"| {2 * math.pi * math.sqrt(expected.stretch):.3g} "
                f"| {_resolved([(circle.curvature, circle.curvature_error) for circle in circles[layer]])} "
                f"| {expected.relative_curvature:.3g} |"
            )


def _resolved(found: Sequence[tuple[float, float]]) -> str:
    """Mean and deviation, or a word where every second point alone would change it by a tenth."""
    values = [value for value, _ in found]
    if 3.0 * sum(error for _, error in found) > 0.1 * sum(values):
        return "not resolved"
    return f"{np.mean(values):.3g} ± {np.std(values, ddof=1):.2g}"


def _draw(found: Table, path: Path) -> None:
    """The circles of the first network of each row of DRAWN, behind a few layers."""
    import matplotlib
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.size": 8}):
        canvas = Figure(figsize=(1.7 * len(PICTURED), 1.75 * len(DRAWN)), layout="constrained", facecolor="white")
        grid = canvas.subplots(len(DRAWN), len(PICTURED))
        for row, (alpha, g) in zip(grid, DRAWN, strict=True):
            for axes, layer in zip(row, PICTURED, strict=True):
                circle = found[alpha, g, layer][0]
                closed = np.vstack([circle.projection, circle.projection[:1]])[:, :2]
                around = np.linspace(0.0, 1.0, POINTS)
                segments = np.stack([closed[:-1], closed[1:]], axis=1)
                axes.add_collection(
                    LineCollection(list(segments), array=around, cmap="twilight_shifted", linewidth=1.4)
                )
                reach = 1.08 * float(np.abs(closed).max())
                axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=(), yticks=(), aspect="equal")
                axes.set_title(f"layer {layer}: {sum(circle.variance_shares[:2]):.0%}", fontsize=8)
            row[0].set_ylabel(f"α = {alpha:g}, g = {g:g}")
        canvas.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
