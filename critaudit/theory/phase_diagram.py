"""The phases of heavy-tailed random networks in the (α, g) plane: ordered, extended critical, chaotic (Qu22).

Above the ordered line a point is in the extended critical regime while the average of f₁ over its Jacobian's spectrum
exceeds that on the ordered line at the same α, J > J̄, and chaotic beyond. (The ratio J/J̄ > 1 that Qu22 prints means the
opposite, because J is negative everywhere of interest.) Without a cut the average diverges for α < 2 and powers from 2
on, so that radii are cut below at r₀; the upper edge of the regime moves with r₀, so that both are shown with every
diagram. The regime closes on (2, 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from scipy.optimize import brentq

from critaudit.errors import CritauditError
from critaudit.theory.activations import Activation, Function, as_activation
from critaudit.theory.jacobian_averages import JacobianAverage, log_averages
from critaudit.theory.levy_fixed_point import check_bounded, check_point, fixed_point, weight_for
from critaudit.theory.ordered_line import Definition, ordered_line
from critaudit.theory.quadrature import Array

AnyActivation: TypeAlias = str | Activation | Function
Phase: TypeAlias = Literal["ordered", "extended critical", "chaotic"]

PHASES: tuple[Phase, Phase, Phase] = ("ordered", "extended critical", "chaotic")
# Signals shorter than this leave every slope at φ′(0) to rounding.
_SHORTEST = -60.0
_LOG_Q_STEP = 0.5
_LARGEST_G = 1e4


@dataclass(frozen=True, slots=True, eq=False)
class PhaseDiagram:
    """Phases on a grid, with what decides them.

    `phases` are indices into `PHASES` and `averages` J = E f₁(max(|λ|, r₀)), both of shape (alphas, gs);
    `ordered_averages` J̄ and `ordered_line`, `chaotic_line` the g of the two borders, of shape (alphas,). Where the
    regime is empty the lines coincide; where it never ends the latter is infinite. Averages are good to 3e-4. With
    r₀ = None averages are −inf where they do not exist (tanh at α ≤ 1), and the regime is empty there: its limit as
    r₀ → 0.
    """

    alphas: Array
    gs: Array
    phases: NDArray[np.int8]
    averages: Array
    ordered_averages: Array
    ordered_line: Array
    chaotic_line: Array
    power: int
    r0: float | None
    definition: Definition
    activation: str

    @property
    def names(self) -> NDArray[np.str_]:
        """The phases by name, of shape (alphas, gs)."""
        return np.array(PHASES)[self.phases]


def phase_diagram(
    alphas: Sequence[float] | Array,
    gs: Sequence[float] | Array,
    *,
    power: int = 1,
    r0: float | None = 0.01,
    definition: Definition = "cutoff",
    activation: AnyActivation = "tanh",
) -> PhaseDiagram:
    """The phases at every pair of `alphas` (in [0.5, 2]) and `gs` (positive, up to 1e4), each in any order.

    f₁(r) = sgn(ln r)|ln r|^power, radii cut at `r0` (None: the exact average without a cut, power 1 only);
    `definition` is that of the ordered line. D_b = 0. About 3 ms per point. Raises CritauditError for numbers outside
    their range, an empty grid and unbounded activations.
    """
    average = JacobianAverage(power, r0)
    return phase_diagrams(alphas, gs, [average], definition=definition, activation=activation)[0]


def phase_diagrams(
    alphas: Sequence[float] | Array,
    gs: Sequence[float] | Array,
    averages: Sequence[JacobianAverage],
    *,
    definition: Definition = "cutoff",
    activation: AnyActivation = "tanh",
) -> tuple[PhaseDiagram, ...]:
    """One phase diagram for each of the `averages`, from the same spectra; see `phase_diagram`."""
    phi = as_activation(activation)
    rows, columns = (np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in (alphas, gs))
    if rows.ndim != 1 or columns.ndim != 1 or not rows.size or not columns.size:
        raise CritauditError("a phase diagram needs a list of alphas and a list of gs, neither of them empty")
    if not np.all((columns > 0.0) & (columns <= _LARGEST_G)):  # NaN fails as well
        raise CritauditError(f"a weight scale g of the grid is not in (0, {_LARGEST_G:g}]; give positive numbers")
    if not averages:
        raise CritauditError("a phase diagram needs an average of the Jacobian; give at least one JacobianAverage")
    found = [_column(float(alpha), columns, phi, averages, definition) for alpha in rows]
    lines = np.array([line for line, _, _, _ in found])
    # Averages first: (averages, alphas, gs), (averages, alphas), (averages, alphas).
    values, at_line, ends = (np.stack([part[index] for part in found], axis=1) for index in (1, 2, 3))
    return tuple(
        PhaseDiagram(
            rows,
            columns,
            _phases(columns, lines, ends[place]),
            values[place],
            at_line[place],
            lines,
            ends[place],
            average.power,
            average.r0,
            definition,
            phi.name,
        )
        for place, average in enumerate(averages)
    )


def phase(
    alpha: float,
    g: float,
    *,
    power: int = 1,
    r0: float | None = 0.01,
    definition: Definition = "cutoff",
    activation: AnyActivation = "tanh",
) -> Phase:
    """The phase of one point; see `phase_diagram`."""
    found = phase_diagram([alpha], [g], power=power, r0=r0, definition=definition, activation=activation)
    return PHASES[int(found.phases[0, 0])]


def _phases(gs: Array, lines: Array, ends: Array) -> NDArray[np.int8]:
    found = np.where(gs <= lines[:, np.newaxis], 0, np.where(gs < ends[:, np.newaxis], 1, 2))
    return found.astype(np.int8)


def _column(
    alpha: float, gs: Array, phi: Activation, averages: Sequence[JacobianAverage], definition: Definition
) -> tuple[float, Array, Array, Array]:
    """The ordered line at one α, J of shape (averages, gs), J̄ and the chaotic line, of shape (averages,)."""
    check_point(alpha, 1.0, 0.0)
    check_bounded(alpha, phi)
    line = ordered_line(alpha, definition=definition, activation=phi)
    known: dict[float, Array] = {}

    def at(log_g: float) -> Array:
        if log_g not in known:
            g = math.exp(log_g)
            known[log_g] = log_averages(alpha, g, fixed_point(alpha, g, activation=phi).log_q, phi, averages)
        return known[log_g]

    at_line = log_averages(alpha, line, fixed_point(alpha, line, activation=phi).log_q, phi, averages)
    ends = np.array([_chaotic_line(line, at, at_line, place) for place in range(len(averages))])
    log_qs = _log_q_by_g(alpha, gs, phi)
    values = [log_averages(alpha, float(g), float(q), phi, averages) for g, q in zip(gs, log_qs, strict=True)]
    return line, np.stack(values, axis=1), at_line, ends


def _chaotic_line(line: float, at: Callable[[float], Array], at_line: Array, place: int) -> float:
    """The g above the ordered line where J (the average at `place`) has come down to J̄ again."""

    def excess(log_g: float) -> float:
        return float(at(log_g)[place] - at_line[place])

    # J leaves J̄ with a finite slope: one per cent above the line decides whether it rises at all.
    here = math.log(line) + 0.01
    if at_line[place] == -math.inf or excess(here) <= 0.0:
        return line
    while math.exp(here) < _LARGEST_G:
        after = here + 0.25
        if excess(after) <= 0.0:
            return math.exp(brentq(excess, here, after, xtol=1e-6))
        here = after
    return math.inf


def _log_q_by_g(alpha: float, gs: Array, phi: Activation) -> Array:
    """ln q* at every g, at least −60, by inverting the explicit g(q*) on a grid in ln q."""
    low, high = (fixed_point(alpha, float(g), activation=phi).log_q for g in (gs.min(), gs.max()))
    low, high = max(low, _SHORTEST), max(high, _SHORTEST + 1.0)
    grid = np.linspace(low - 0.1, high + 0.1, 8 + math.ceil((high - low) / _LOG_Q_STEP))
    log_gs = np.zeros(0)
    if gs.size >= 8 and alpha < 2.0:
        log_gs = np.log([weight_for(float(log_q), alpha, phi) for log_q in grid])
    if log_gs.size == 0 or np.any(np.diff(log_gs) <= 0.0):  # a φ with several fixed points at one g has no inverse
        return np.array([max(_SHORTEST, fixed_point(alpha, float(g), activation=phi).log_q) for g in gs])
    inverse = make_interp_spline(log_gs, grid, k=5)
    return np.asarray(inverse(np.clip(np.log(gs), log_gs[0], log_gs[-1])))
