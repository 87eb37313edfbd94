"""The phases of heavy-tailed random networks in the (α, g) plane: ordered, extended critical, chaotic (Qu22).

Above the ordered line a point is in the extended critical regime while the average of f₁ over its Jacobian's spectrum
exceeds that on the ordered line at the same α, J > J̄, and chaotic beyond. (The ratio J/J̄ > 1 that Qu22 prints means the
opposite, because J is negative everywhere of interest.) Since the average diverges for α < 2, radii are cut below at
r₀; the upper edge of the regime moves with r₀, so that both are shown with every diagram. The regime closes on (2, 1).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import simpson
from scipy.interpolate import CubicSpline, make_interp_spline
from scipy.optimize import brentq

from critaudit.errors import CritauditError
from critaudit.theory.activations import Activation, Function, as_activation
from critaudit.theory.jacobian_law import check_average
from critaudit.theory.levy_fixed_point import check_bounded, check_point, fixed_point, log_scale, weight_for
from critaudit.theory.ordered_line import Definition, ordered_line
from critaudit.theory.quadrature import Array
from critaudit.theory.slope_law import SlopeLaw, slope_law
from critaudit.theory.universal_functions import universal_functions

AnyActivation: TypeAlias = str | Activation | Function
Phase: TypeAlias = Literal["ordered", "extended critical", "chaotic"]

PHASES: tuple[Phase, Phase, Phase] = ("ordered", "extended critical", "chaotic")
# Signals shorter than this leave every slope at φ′(0) to rounding.
_SHORTEST = -60.0
_LOG_Q_STEP = 0.5
_LARGEST_G = 1e4
# Steps in t = ln w and in ln|φ′|^α, from the parameter where P(|λ| ≥ r) ~ e^t is 1e-11 and over 40 units of slopes.
_STEP, _OUTERMOST = 0.08, -25.6
_SLOPE_STEPS = 500


@dataclass(frozen=True, slots=True, eq=False)
class PhaseDiagram:
    """Phases on a grid, with what decides them.

    `phases` are indices into `PHASES` and `averages` J = E f₁(max(|λ|, r₀)), both of shape (alphas, gs);
    `ordered_averages` J̄ and `ordered_line`, `chaotic_line` the g of the two borders, of shape (alphas,). Where the
    regime is empty the lines coincide; where it never ends the latter is infinite. Averages are good to 1e-4.
    """

    alphas: Array
    gs: Array
    phases: NDArray[np.int8]
    averages: Array
    ordered_averages: Array
    ordered_line: Array
    chaotic_line: Array
    power: int
    r0: float
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
    r0: float = 0.01,
    definition: Definition = "cutoff",
    activation: AnyActivation = "tanh",
) -> PhaseDiagram:
    """The phases at every pair of `alphas` (in [0.5, 2]) and `gs` (positive, up to 1e4), each in any order.

    f₁(r) = sgn(ln r)|ln r|^power, radii cut at `r0`; `definition` is that of the ordered line. D_b = 0. About 3 ms per
    point. Raises CritauditError for numbers outside their range, an empty grid and unbounded activations.
    """
    phi = as_activation(activation)
    check_average(power, r0)
    rows, columns = (np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in (alphas, gs))
    if rows.ndim != 1 or columns.ndim != 1 or not rows.size or not columns.size:
        raise CritauditError("a phase diagram needs a list of alphas and a list of gs, neither of them empty")
    if not np.all((columns > 0.0) & (columns <= _LARGEST_G)):  # NaN fails as well
        raise CritauditError(f"a weight scale g of the grid is not in (0, {_LARGEST_G:g}]; give positive numbers")
    columns_of = [_column(float(alpha), columns, phi, power, r0, definition) for alpha in rows]
    averages, at_line, lines, ends = (np.array(part) for part in zip(*columns_of, strict=True))
    phases = np.where(columns <= lines[:, np.newaxis], 0, np.where(columns < ends[:, np.newaxis], 1, 2))
    return PhaseDiagram(
        rows, columns, phases.astype(np.int8), averages, at_line, lines, ends, power, r0, definition, phi.name
    )


def phase(
    alpha: float,
    g: float,
    *,
    power: int = 1,
    r0: float = 0.01,
    definition: Definition = "cutoff",
    activation: AnyActivation = "tanh",
) -> Phase:
    """The phase of one point; see `phase_diagram`."""
    found = phase_diagram([alpha], [g], power=power, r0=r0, definition=definition, activation=activation)
    return PHASES[int(found.phases[0, 0])]


def _column(
    alpha: float, gs: Array, phi: Activation, power: int, r0: float, definition: Definition
) -> tuple[Array, float, float, float]:
    """J over `gs`, J̄, and the ordered and the chaotic line at one α."""
    check_point(alpha, 1.0, 0.0)
    check_bounded(alpha, phi)
    line = ordered_line(alpha, definition=definition, activation=phi)
    at_line = _log_average(alpha, line, fixed_point(alpha, line, activation=phi).log_q, phi, power, r0)
    log_qs = _log_q_by_g(alpha, gs, phi)
    averages = [_log_average(alpha, float(g), float(q), phi, power, r0) for g, q in zip(gs, log_qs, strict=True)]
    return np.array(averages), at_line, line, _chaotic_line(alpha, line, at_line, phi, power, r0)


def _chaotic_line(alpha: float, line: float, at_line: float, phi: Activation, power: int, r0: float) -> float:
    """The g above the ordered line where J has come down to J̄ again."""

    def excess(log_g: float) -> float:
        g = math.exp(log_g)
        log_q = fixed_point(alpha, g, activation=phi).log_q
        return _log_average(alpha, g, log_q, phi, power, r0) - at_line

    # J leaves J̄ with a finite slope: one per cent above the line decides whether it rises at all.
    here = math.log(line) + 0.01
    if excess(here) <= 0.0:
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
    if gs.size < 8 or alpha == 2.0:
        return np.array([max(_SHORTEST, fixed_point(alpha, float(g), activation=phi).log_q) for g in gs])
    low, high = max(low, _SHORTEST), max(high, _SHORTEST + 1.0)
    grid = np.linspace(low - 0.1, high + 0.1, 8 + math.ceil((high - low) / _LOG_Q_STEP))
    log_gs = np.log([weight_for(float(log_q), alpha, phi) for log_q in grid])
    inverse = make_interp_spline(log_gs, grid, k=5)
    return np.asarray(inverse(np.clip(np.log(gs), log_gs[0], log_gs[-1])))


def _log_average(alpha: float, g: float, log_q: float, phi: Activation, power: int, r0: float) -> float:
    """E f₁(max(|λ|, r₀)) as `JacobianLaw.log_average`, from a table of the spectrum that ends at r₀."""
    log_r0, log_g = math.log(r0), math.log(g)
    slopes = slope_law(alpha, log_scale(log_q, alpha), phi, resolve=max(0.0, log_g - log_r0), nodes=4)
    t, log_r, above = _spectrum(alpha, slopes, log_r0 - log_g)
    curve = CubicSpline(t, np.column_stack([log_r + log_g, above]))
    ends = np.unique([t[0], *(_crossing(curve, log_r + log_g, level) for level in (log_r0, max(0.0, log_r0)))])
    total = math.copysign(abs(log_r0) ** power, log_r0)
    # The integrand has a kink at r = 1.
    for low, high in itertools.pairwise(ends):
        nodes = np.linspace(low, high, 1 + 2 * math.ceil((high - low) / _STEP))
        (radius, survival), slope = curve(nodes).T, curve(nodes, 1)[:, 0]
        total += float(simpson(power * np.abs(radius) ** (power - 1) * survival * -slope, x=nodes))
    return total


def _spectrum(alpha: float, slopes: SlopeLaw, log_smallest: float) -> tuple[Array, Array, Array]:
    """t, ln r at g = 1 and P(|λ| ≥ r) on even steps of t, from the edge to the radius e^`log_smallest`.

    The averages over the slopes are correlations with Φ and 1 − H once the slopes' weights are spread over the steps.
    """
    # r^α ≤ 2/Γ(1+α)·e^−t bounds the parameter of the smallest radius.
    highest = max(0.0, -alpha * log_smallest + math.log(2.0) - math.lgamma(1.0 + alpha)) + 1.0
    count = math.ceil((highest - _OUTERMOST) / _STEP)
    weights, weighted = _spread(slopes.log_psi, slopes.weights), _spread(slopes.log_psi, slopes.weights * slopes.psi)
    phi, rest = _steps(alpha)
    # The last of the weights belongs to ln ψ = 0 plus the margin of the spreading.
    needed = slice(0, weights.size + count)
    with np.errstate(divide="ignore"):
        log_r = np.log(np.correlate(phi[needed], weighted)) / alpha
    t = np.asarray(_OUTERMOST + _STEP * np.arange(count + 1), dtype=np.float64)
    return t, log_r, np.correlate(rest[needed], weights)


@lru_cache(maxsize=4)
def _steps(alpha: float) -> tuple[Array, Array]:
    """Φ and 1 − H at even steps of ln x, from the smallest slope at the spectrum's edge on."""
    log_x = _OUTERMOST + _STEP * np.arange(-_SLOPE_STEPS - 2, math.ceil(1000.0 / _STEP))
    values = universal_functions(alpha)(np.asarray(log_x, dtype=np.float64))
    return values.phi, values.rest


def _spread(log_psi: Array, weights: Array) -> Array:
    """Weights at ln ψ = −40 − 2 steps … 3 steps that give all smooth averages as the weights at `log_psi` do.

    Lagrange's interpolation through six points; slopes ψ < e^−40 add nothing to radii or probabilities above them.
    """
    kept = log_psi > -_SLOPE_STEPS * _STEP
    place = log_psi[kept] / _STEP
    base = np.floor(place)
    fraction = place - base
    result = np.zeros(_SLOPE_STEPS + 6)
    offsets = np.arange(-2.0, 4.0)
    for offset in offsets:
        others = offsets[offsets != offset]
        share = np.prod((fraction[:, np.newaxis] - others) / (offset - others), axis=1)
        index = (base + offset).astype(np.intp) + _SLOPE_STEPS + 2
        result += np.bincount(index, weights[kept] * share, minlength=result.size)
    return result


def _crossing(curve: CubicSpline, falling: Array, level: float) -> float:
    """t where the first column of `curve`, `falling` at its knots, reaches `level`; an end if it never does."""
    t = curve.x
    if level >= falling[0] or level <= falling[-1]:
        return float(t[0] if level >= falling[0] else t[-1])
    cell = int(np.searchsorted(-falling, -level))
    return float(brentq(lambda place: float(curve(place)[0]) - level, t[cell - 1], t[cell], xtol=1e-12))
