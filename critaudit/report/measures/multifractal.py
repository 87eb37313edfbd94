"""Names of the measurements on multifractality."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

MEASURES = {
    "multifractal.d2_left": Measure(
        "mode dimension, left",
        "D₂",
        "1 where a mode is spread over all neurons, 0 where it sits on one; judge beside the reference.",
    ),
    "multifractal.d2_left_reference": Measure(
        "dimension, Gaussian vectors",
        None,
        "What vectors of this length show that are spread as evenly as chance has it.",
    ),
    "multifractal.d2_left_shuffled": Measure(
        "dimension, entries shuffled", None, "The same entries in random places, with the same slopes."
    ),
    "multifractal.d2_left_quantiles": Measure("dimension of the left vectors: 5, 50, 95 %"),
    "multifractal.d2_right": Measure("mode dimension, right", "D₂"),
    "multifractal.d2_right_reference": Measure("dimension, Gaussian vectors (right)"),
    "multifractal.d2_right_shuffled": Measure("dimension, entries shuffled (right)"),
    "multifractal.d2_right_quantiles": Measure("dimension of the right vectors: 5, 50, 95 %"),
    "multifractal.residual": Measure(
        "residual of the vectors", None, "Largest relative error of their equation; beyond 1e-6 they are not used."
    ),
    "multifractal.orders": Measure("orders q", plotted=True),
    "multifractal.dq_left": Measure("D_q, left", plotted=True),
    "multifractal.dq_left_reference": Measure("D_q, Gaussian vectors (left)", plotted=True),
    "multifractal.dq_left_shuffled": Measure("D_q, entries shuffled (left)", plotted=True),
    "multifractal.dq_right": Measure("D_q, right", plotted=True),
    "multifractal.dq_right_reference": Measure("D_q, Gaussian vectors (right)", plotted=True),
    "multifractal.dq_right_shuffled": Measure("D_q, entries shuffled (right)", plotted=True),
    "multifractal.gap_mean": Measure(
        "mean distance from Gaussian vectors", "ΔD₂", "How much lower D₂ of the left vectors is, over the layers."
    ),
}
