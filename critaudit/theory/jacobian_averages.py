"""Averages of f₁ over the Jacobian's spectrum at one point of the (α, g) plane, several of them from one spectrum.

What `JacobianLaw.log_average` gives to 1e-7, here to 3e-4 in 2 ms: a phase diagram needs thousands of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.integrate import simpson
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from critaudit.theory.activations import Activation
from critaudit.theory.jacobian_law import check_average, log_determinant_constant
from critaudit.theory.levy_fixed_point import log_scale
from critaudit.theory.quadrature import Array
from critaudit.theory.slope_law import SlopeLaw, slope_law
from critaudit.theory.universal_functions import universal_functions

# Steps in t = ln w and in ln|φ′|^α, from the parameter where P(|λ| ≥ r) ~ e^t is 1e-11 and over 40 units of slopes.
_STEP, _OUTERMOST = 0.08, -25.6
_SLOPE_STEPS = 500


@dataclass(frozen=True, slots=True)
class JacobianAverage:
    """Which average tells the phases apart: E f₁(max(|λ|, r₀)) with f₁(r) = sgn(ln r)|ln r|^power (Qu22, Eq. 10).

    r₀ = None is the exact average without a cut, which exists for power 1 only (and −inf for tanh at α ≤ 1). Raises
    CritauditError for a power that is not in 1 … 20, r₀ outside [1e-100, 1e100], and None with a higher power.
    """

    power: int = 1
    r0: float | None = 0.01

    def __post_init__(self) -> None:
        check_average(self.power, self.r0)

    @property
    def name(self) -> str:
        """As it stands in captions: "f₁ with L = 2, r₀ = 0.01"."""
        cut = "no cut" if self.r0 is None else f"r₀ = {self.r0:g}"
        return f"f₁ with L = {self.power}, {cut}"


def log_averages(alpha: float, g: float, log_q: float, phi: Activation, averages: Sequence[JacobianAverage]) -> Array:
    """The `averages` at (α, g), ln q* = `log_q`, of shape (averages,): to a relative 3e-4."""
    log_g = math.log(g)
    cuts = {average.r0 for average in averages}
    log_cuts = sorted(math.log(r0) for r0 in cuts if r0 is not None)
    resolve = max([0.0, *(log_g - log_r0 for log_r0 in log_cuts)])
    slopes = slope_law(alpha, log_scale(log_q, alpha), phi, resolve=resolve, nodes=4)
    found: dict[JacobianAverage, float] = {}
    if None in cuts:
        found[JacobianAverage(1, None)] = log_g + slopes.mean_log + log_determinant_constant(alpha)
    if log_cuts:
        t, log_r, above = _spectrum(alpha, slopes, log_cuts[0] - log_g)
        curve = CubicSpline(t, np.column_stack([log_r + log_g, above]))
        for r0 in cuts - {None}:
            members = [average for average in averages if average.r0 == r0]
            found |= dict(zip(members, _clipped(curve, log_r + log_g, members), strict=True))
    return np.array([found[average] for average in averages])


def _clipped(curve: CubicSpline, log_r: Array, averages: Sequence[JacobianAverage]) -> list[float]:
    """f₁(r₀) + ∫ P(|λ| ≥ r) df₁(r) from the one r₀ of all `averages` on, along the curve of radii and probabilities."""
    assert averages[0].r0 is not None
    log_r0 = math.log(averages[0].r0)
    totals = [math.copysign(abs(log_r0) ** average.power, log_r0) for average in averages]
    # The integrand has a kink at r = 1.
    ends = np.unique([curve.x[0], *(_crossing(curve, log_r, level) for level in (log_r0, max(0.0, log_r0)))])
    for low, high in itertools.pairwise(ends):
        nodes = np.linspace(low, high, 1 + 2 * math.ceil((high - low) / _STEP))
        (radius, survival), slope = curve(nodes).T, curve(nodes, 1)[:, 0]
        for place, average in enumerate(averages):
            power = average.power
            totals[place] += float(simpson(power * np.abs(radius) ** (power - 1) * survival * -slope, x=nodes))
    return totals


def _spectrum(alpha: float, slopes: SlopeLaw, log_smallest: float) -> tuple[Array, Array, Array]:
    """t, ln r at g = 1 and P(|λ| ≥ r) on even steps of t, from the edge to the radius e^`log_smallest`.

    The averages over the slopes are correlations with Φ and 1 − H once the slopes' weights are spread over the steps.
    """
    # r^α ≤ 2/Γ(1+α)·e^−t bounds the parameter of the smallest radius.
    highest = max(0.0, -alpha * log_smallest + math.log(2.0) - math.lgamma(1.0 + alpha)) + 1.0
    count = math.ceil((highest - _OUTERMOST) / _STEP)
    weights, weighted = _spread(slopes.log_psi, slopes.weights), _spread(slopes.log_psi, slopes.weights * slopes.psi)
    phi, rest = _steps(alpha)
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
    """Weights at ln ψ = −40 − 2 steps, one step on, … that give all smooth averages as the weights at `log_psi` do.

    Lagrange's interpolation through six points; slopes ψ < e^−40 add nothing to radii or probabilities above them. The
    last point is three steps beyond the largest slope, or beyond ψ = 1 where none is larger.
    """
    kept = log_psi > -_SLOPE_STEPS * _STEP
    place = log_psi[kept] / _STEP
    base = np.floor(place)
    fraction = place - base
    result = np.zeros(_SLOPE_STEPS + 6 + max(0, int(base.max(initial=0.0))))
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
