"""Names of the measurements on phase diagrams."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

_QUOTED = ("1.0", "1.2", "1.5", "1.8")
_SERIES = (
    "alphas",
    "ordered_cutoff",
    "ordered_fixed_point",
    "chaotic_alphas",
    "chaotic",
    "chaotic_alphas_smaller_r0",
    "chaotic_smaller_r0",
    "chaotic_alphas_no_cut",
    "chaotic_no_cut",
    "edge_stable_sigma_b",
    "edge_stable_sigma_w",
    "edge_unstable_sigma_b",
    "edge_unstable_sigma_w",
    "widom_sigma_b",
    "widom_sigma_w",
    "widom_by_sigma_w2_sigma_b",
    "widom_by_sigma_w2_sigma_w",
    "window",
    "map_sigma_b",
    "map_sigma_w",
    "map_chi",
    "boundary_j0",
    "boundary_j",
)
# Series that may be missing for a reason, which is then told under this name.
_NAMED = {
    "ordered_cutoff": "ordered and chaotic lines",
    "edge_stable_sigma_w": "edge of chaos",
    "widom_sigma_w": "Widom line",
    "map_chi": "susceptibility map",
    "boundary_j": "boundary in the plane of J₀ and J",
}

MEASURES = (
    {
        "phase.definition": Measure(
            "ordered line by", None, "cutoff: the Jacobian’s characteristic radius is 1; fixed_point: q* = 0.01."
        ),
        "phase.power": Measure("power of the average", "L", "Of f₁(r) = sgn(ln r)|ln r|^L, Qu et al. 2022."),
        "phase.r0": Measure("cut of the average", "r₀", "Radii below it count as r₀; region edges move with it."),
    }
    | {f"phase.ordered_at_{alpha}": Measure(f"ordered line at α = {alpha}", "g") for alpha in _QUOTED}
    | {f"phase.chaotic_at_{alpha}": Measure(f"chaotic line at α = {alpha}", "g") for alpha in _QUOTED}
    | {
        "phase.crossing_sigma_b": Measure("Widom line meets the edge again at", "σ_b"),
        "phase.crossing_sigma_w": Measure("Widom line meets the edge again at", "σ_w"),
        "phase.boundary_at_0": Measure("edge of chaos at J₀ = 0", "J"),
        "phase.boundary_at_2": Measure("edge of chaos at J₀ = 2", "J"),
    }
    | {f"phase.{name}": Measure(_NAMED.get(name, name.replace("_", " ")), None, None, plotted=True) for name in _SERIES}
)
