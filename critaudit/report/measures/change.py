"""Names of the measurements on what changed between two models."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

MEASURES = {
    "change.relative": Measure("relative change", "‖ΔW‖/‖W‖", "Frobenius norm of the change over that of A."),
    "change.cosine": Measure("cosine of the angle", None, "1: the same direction; 0: at right angles."),
    "change.changed_share": Measure("changed entries", None, "Share of entries that differ at all."),
    "change.largest": Measure("largest change", "max |ΔW|"),
    "change.norm_ratio": Measure("norm ratio", "‖B‖/‖A‖"),
    "change.step_stable_rank": Measure(
        "stable rank of the change", None, "About how many directions the change has; a LoRA's is at most its rank."
    ),
    "change.relative_typical": Measure("typical relative change", "‖ΔW‖/‖W‖"),
    "change.layers_compared": Measure("layers compared"),
    "change.layers_removed": Measure("layers only in A"),
    "change.layers_added": Measure("layers only in B"),
    "change.layers_reshaped": Measure("layers of another shape"),
    "change.layers_unchanged": Measure("unchanged layers"),
    "change.summary": Measure("summary", plotted=True),
}
