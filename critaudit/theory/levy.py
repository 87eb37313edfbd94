"""Mean field of wide random networks with heavy-tailed weights (Qu22): fixed point, ordered lines, spectra, phases.

The one door to the Lévy theory: `fixed_point`, `ordered_line`, `JacobianLaw`, `log_determinant_constant`,
`JacobianAverage`, `phase_diagram`, `phase_diagrams` and `phase`. Weights are W_ij ~ S_α(σ = g(2N)^{−1/α}) with N the
fan-in; at α = 2 that is a Gaussian of variance g²/N, so that g = σ_w of `critaudit.theory.gaussian`. Averages are
quadratures; nothing is sampled.
"""

from __future__ import annotations

from critaudit.theory.jacobian_averages import JacobianAverage
from critaudit.theory.jacobian_law import JacobianLaw, log_determinant_constant
from critaudit.theory.levy_fixed_point import LevyFixedPoint, fixed_point
from critaudit.theory.ordered_line import ordered_line
from critaudit.theory.phase_diagram import PhaseDiagram, phase, phase_diagram, phase_diagrams

__all__ = [
    "JacobianAverage",
    "JacobianLaw",
    "LevyFixedPoint",
    "PhaseDiagram",
    "fixed_point",
    "log_determinant_constant",
    "ordered_line",
    "phase",
    "phase_diagram",
    "phase_diagrams",
]
