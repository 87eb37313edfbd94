"""Names of the measurements on the propagation of manifolds."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

MEASURES = {
    "manifold.cv": Measure(
        "unevenness", "CV", "Spread over mean of the steps along the circle; 0 for a circle, 0.483 for one on a line."
    ),
    "manifold.participation": Measure(
        "manifold dimension", "PR", "Participation ratio of the principal components; 2 for a circle, 1 for a line."
    ),
    "manifold.plane_share": Measure(
        "share in a plane", None, "Share of the variance in the first two principal components; 1 for a circle."
    ),
    "manifold.spread": Measure(
        "spread", None, "Variance along the circle over the mean square of the output; 0 for a point."
    ),
    "manifold.stretch": Measure(
        "stretch", "L/L₀", "Length of the curve per √unit over that of the input circle, Poole et al. 2016."
    ),
    "manifold.turns": Measure("turns", None, "How often the curve turns around in all; 1 for a circle."),
    "manifold.curvature": Measure(
        "curvature", "κR", "Mean curvature times the curve’s radius; 1 for a circle, Poole et al. 2016."
    ),
    "manifold.correlation_width": Measure(
        "correlation width", "Δθ", "Angle at which outputs are half correlated; π/3 = 1.05 for a circle."
    ),
    "manifold.neighbour_correlation": Measure(
        "neighbours’ correlation", None, "Autocorrelation of neighbouring points; below 0.5 they have lost each other."
    ),
    "manifold.block_cv": Measure("unevenness behind the block", "CV", "As above, for the block that ends here."),
    "manifold.block_participation": Measure("manifold dimension behind the block", "PR"),
    "manifold.block_spread": Measure("spread behind the block"),
    "manifold.block_stretch": Measure("stretch behind the block", "L/L₀"),
    "manifold.variance_shares": Measure("principal components, s²/Σs²", plotted=True),
    "manifold.singular_shares": Measure("principal components, s/Σs (Qu et al. 2022)", plotted=True),
    "manifold.projection": Measure("circle in its principal components", plotted=True),
    "manifold.pictures": Measure("circles drawn", plotted=True),
    "manifold.points": Measure("points per circle", "M"),
    "manifold.circles": Measure("circles"),
    "manifold.input_strength": Measure("strength of the circle", None, "Root mean square of the inputs on it."),
}
