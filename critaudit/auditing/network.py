"""The pass over the running network, where there is one to run."""

from __future__ import annotations

from collections.abc import Sequence

from critaudit.analyzers.base import Analyzer, Progress, Settings
from critaudit.measurement import Measurement, not_applicable
from critaudit.model import ModelView
from critaudit.report import Layer


def measure_network(
    view: ModelView,
    analyzers: Sequence[Analyzer],
    settings: Settings,
    layers: list[Layer],
    progress: Progress | None,
) -> tuple[list[Layer], dict[str, Measurement], dict[str, str]]:
    """The analyzers that run the network; where there is none to run, why, per analyzer."""
    model: dict[str, Measurement] = {}
    skipped: dict[str, str] = {}
    tensors = [matrix.tensor for matrix in view.matrices]
    for analyzer in analyzers:
        if analyzer.network is None:
            continue
        if view.runnable is None:
            skipped[analyzer.id] = f"no network to run: {view.architecture.detail}{_remedy(view)}"
            model[f"{analyzer.id}.status"] = not_applicable(skipped[analyzer.id])
            continue
        if progress is not None:
            progress(analyzer.title.lower(), 0, 1)
        found = analyzer.network(view, settings, layers)
        model |= found.model
        layers = [
            Layer(layer.name, layer.kind, layer.shape, {**layer.measurements, **found.layers.get(tensor, {})})
            for layer, tensor in zip(layers, tensors, strict=True)
        ]
        if progress is not None:
            progress(analyzer.title.lower(), 1, 1)
    return layers, model, skipped


def _remedy(view: ModelView) -> str:
    """What the user can do about a network that was not recognised; the other details say it themselves."""
    if view.architecture.how != "none":
        return ""
    return "; name the architecture with --arch, or give critaudit.audit() the module"
