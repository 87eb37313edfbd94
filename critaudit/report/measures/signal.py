"""Names of the measurements on signals in the running network."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

MEASURES = {
    "signal.strength": Measure("signal strength", "s", "Root mean square of the layer's output in a forward pass."),
    "signal.gradient": Measure(
        "gradient strength", "‖∂L/∂h‖", "Norm of the loss's gradient with respect to the layer's output, over a batch."
    ),
    "signal.dead": Measure("dead units", None, "Share of units that no sample of a batch activates."),
    "signal.ratio": Measure("signal ratio", None, "Strength after this layer over strength before it."),
    "signal.non_finite": Measure("non-finite outputs", None, "Samples for which the layer gave NaN or infinity."),
    "signal.output_strength": Measure("output strength", None, "Root mean square of the network's output."),
    "signal.top_classes": Measure(
        "class of the largest output", None, "Index of the largest output, sample by sample."
    ),
    "signal.first_non_finite": Measure("first non-finite layer"),
    "signal.input_strength": Measure("input strength", "s₀", "Root mean square of the input."),
}
