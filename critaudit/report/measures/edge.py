"""Names of the measurements on the edge of chaos."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

MEASURES = {
    "edge.j0": Measure("mean coupling", "J₀", "N · mean(W), Zhang et al. 2021."),
    "edge.j": Measure("coupling spread", "J", "√(N · var(W)), Zhang et al. 2021."),
    "edge.chi1": Measure(
        "susceptibility", "χ₁", "Mean squared slope of one layer: below 1 differences shrink, above 1 they grow."
    ),
    "edge.distance": Measure("distance from the edge", "ln χ₁", "Negative on the ordered side, else positive."),
    "edge.boundary": Measure("spread at the edge", "J at J₀", "J at which square tanh layers are at the edge."),
    "edge.margin": Measure(
        "margin to the edge",
        "J − J at J₀",
        "Below 0 ordered, above 0 chaotic: Zhang et al. 2021, square tanh layers.",
    ),
    "edge.phase": Measure("phase", None, "Ordered, ferromagnetic or chaotic, by the margin of square tanh layers."),
    "edge.distance_mean": Measure("mean distance from the edge", "ln χ₁"),
}
