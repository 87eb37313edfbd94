"""Figures of a training that was followed step by step: its way over the phase diagram, growth with depth, loss."""

from __future__ import annotations

from typing import Any

from critaudit.report import wording
from critaudit.report.figures import axes
from critaudit.report.figures.planes import g_axis, window_of
from critaudit.report.figures.regions import border, labels, regions
from critaudit.report.figures.style import GUIDE, Spec, figure
from critaudit.report.figures.trajectories import LINES, Series, series, series_of, unit, way
from critaudit.report.record import Report
from critaudit.theory.phase_lines_table import CHAOTIC_LINE, ORDERED_LINE

_SIGNAL, _GRADIENT, _LOSS = "#d55e00", "#009e73", "#1f7fc4"


def alpha_g_path(report: Report) -> Spec:
    """Every layer's way over the phase diagram of heavy-tailed networks, by its tail and its scale."""
    paths: dict[str, Series] = {}
    for layer in report.layer_records:
        alphas, gs = dict(series(layer, "entries.alpha")), dict(series(layer, "entries.g_forward"))
        points = [(alphas[step], gs[step]) for step in alphas if step in gs]
        if len(points) > 1:
            paths[layer.name] = points
    shown = dict(list(paths.items())[:LINES])
    points_shown = [point for points in shown.values() for point in points]
    window = window_of(min([2.0, *(alpha for alpha, _ in points_shown)]), [g for _, g in points_shown])
    rest = len(paths) - len(shown)
    return figure(
        [
            *regions(ORDERED_LINE, CHAOTIC_LINE, window),
            *(
                way(name, points, "α = %{x:.4g}, g = %{y:.4g}", place)
                for place, (name, points) in enumerate(shown.items())
            ),
            border(ORDERED_LINE, "ordered line (cutoff), tanh, i.i.d."),
            border(CHAOTIC_LINE, "chaotic line (L = 1, r₀ = 0.01)", dash="solid"),
        ],
        title=f"The way of {wording.plural(len(shown), 'layer')} over the phase diagram",
        caption="Left is heavier-tailed, up is stronger (N = fan-in); the diamond is the last fit. Each point is an "
        "i.i.d. surrogate: the layer’s tail and scale, as if its weights were independent, which trained ones are not. "
        "Regions are theory for wide tanh networks (Qu et al. 2022); the chaotic line moves with r₀.",
        n=len(shown),
        left_out=f"{wording.plural(rest, 'layer')} beyond the first {LINES} not drawn." if rest else "",
        height=500,
        xaxis=axes.axis("stable exponent α (no unit)", range=[window.left, 2.06]),
        yaxis=axes.axis("weight scale g (no unit)", **g_axis(window)),
        annotations=labels(ORDERED_LINE, CHAOTIC_LINE, window),
    )


def growth_along(report: Report) -> Spec:
    """Growth per layer of the signal on its way forward and of the gradient on its way back, along the training."""
    signal, gradient = (
        series_of(report.model, "training.signal_growth"),
        series_of(report.model, "training.gradient_growth"),
    )
    values = [value for points in (signal, gradient) for _, value in points]
    line = {"color": GUIDE, "dash": "dash", "width": 1}
    return figure(
        [
            _line(name, points, colour)
            for name, points, colour in (
                ("signal, forwards", signal, _SIGNAL),
                ("gradient, backwards", gradient, _GRADIENT),
            )
            if points
        ],
        title="Growth of signal and gradient from layer to layer",
        caption="The factor by which the root mean square of the signal changes per layer from the first to the last, "
        "and the norm of the gradient from the last to the first, fitted over all layers at once. At 1 (dashed) both "
        "travel any depth; a factor of 0.8 leaves a tenth after ten layers. Layers in parallel branches stand one "
        "after the other here; residual branches and normalisation reset the signal in between.",
        n=len(values),
        xaxis=axes.axis(unit(report)),
        yaxis=axes.axis("factor per layer (no unit)", **(axes.scale([*values, 1.0]) if values else {})),
        shapes=[{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1.0, "y1": 1.0, "line": line}],
    )


def loss_along(report: Report) -> Spec:
    """The loss along the training, as the loop told it."""
    points = series_of(report.model, "training.loss")
    return figure(
        [_line("loss", points, _LOSS)],
        title="Loss of the recorded batches",
        caption="Single batches, as the training loop told them: their scatter is that of batches.",
        n=len(points),
        xaxis=axes.axis(unit(report)),
        yaxis=axes.axis("loss", **axes.scale([value for _, value in points])),
        showlegend=False,
    )


def _line(name: str, points: Series, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines" if len(points) > 60 else "lines+markers",
        "name": name,
        "x": [step for step, _ in points],
        "y": [value for _, value in points],
        "line": {"color": colour, "width": 1.5},
        "marker": {"size": 5, "color": colour},
        "hovertemplate": f"{name}<br>%{{x}}: %{{y:.4g}}<extra></extra>",
    }
