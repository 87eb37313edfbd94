"""Names of the measurements on layers and blocks applied to their own output."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

MEASURES = {
    "asymptotic.exponent": Measure(
        "Lyapunov exponent", "λ", "Growth per step of a small difference, ln: below 0 ordered, above 0 chaotic."
    ),
    "asymptotic.distance": Measure(
        "asymptotic distance", "|Δ|", "Where two nearby inputs end up apart: 0 in the ordered phase, Zhang et al. 2021."
    ),
    "asymptotic.jacobian": Measure(
        "asymptotic Jacobian norm", "‖J*‖", "‖J*‖_F/√N on the attractor; about 1 at the edge, Zhang et al. 2021."
    ),
    "asymptotic.strength": Measure("strength on the attractor", "s*", "Root mean square pre-activation."),
    "asymptotic.attractor": Measure("attractor", None, "What the layer settles into."),
    "asymptotic.phase": Measure("asymptotic phase", None, "Ordered or chaotic, by the sign of λ and its interval."),
    "asymptotic.layers_ordered": Measure("layers: ordered on their own"),
    "asymptotic.layers_chaotic": Measure("layers: chaotic on their own"),
    "asymptotic.blocks": Measure("blocks applied to their own output"),
    "asymptotic.block_phases": Measure("phase of each block"),
    "asymptotic.block_exponents": Measure("Lyapunov exponent of each block", "λ"),
    "asymptotic.block_growth": Measure("growth of the signal in each block", None, "ln strength per application."),
    "asymptotic.block_jacobians": Measure("Jacobian norm of each block", "‖J‖_F/√N"),
}
