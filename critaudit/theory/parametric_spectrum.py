"""Radii and probabilities of a heavy-tailed spectrum as functions of one parameter t = ln w, and their inverses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from critaudit.theory.quadrature import Array
from critaudit.theory.slope_law import SlopeLaw
from critaudit.theory.universal_functions import universal_functions

_CHUNK = 100_000
# The table's knots are t = 6·sinh(s): dense where the spectrum has its bulk, sparse along its tails.
_SCALE, _KNOT = 6.0, 0.05
# From radii e^−345 = 1e-150, where r falls like e^{−t/α}, to where P(|λ| ≥ r) ~ e^t leaves the doubles.
_LOWEST_T, _LOWEST_T_GAUSS, _LOG_RADII = -690.0, -40.0, 345.0
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_PANEL = 0.15


class SpectrumPoint(NamedTuple):
    """At t: m = r^α, P(|λ| < r), P(|λ| ≥ r), and the derivatives of m and P by t. Arrays of one shape."""

    m: Array
    below: Array
    above: Array
    m_slope: Array
    below_slope: Array


@dataclass(frozen=True, slots=True, eq=False)
class ParametricSpectrum:
    """|λ| for matrices W·diag(s) of g = 1 with slopes s from a given law: r(t) falls from the edge to zero as t rises.

    `log_psi`, `weights`, `psi` are the non-zero slopes' nodes; `atom` is the probability of slope zero, which is also
    that of λ = 0. `knots` and `table` hold points of the curve. Oracles: the circular law (α = 2, all slopes one),
    eigenvalues of sampled matrices.
    """

    alpha: float
    log_psi: Array
    weights: Array
    psi: Array
    atom: float
    knots: Array
    table: SpectrumPoint

    @property
    def edge(self) -> float:
        """Radius beyond which there are no eigenvalues: √E|s|² at α = 2, infinite below."""
        return math.sqrt(float(self.weights @ self.psi)) if self.alpha == 2.0 else math.inf

    @property
    def outermost(self) -> float:
        """The largest radius of the table: beyond it, P(|λ| ≥ r) is zero or below 1e-299."""
        return self.edge if self.alpha == 2.0 else math.exp(math.log(self.table.m[0]) / self.alpha)

    @property
    def typical_radius(self) -> float:
        """(E|s|^α)^{1/α}, a scale for the bulk."""
        return math.exp(math.log(self.weights @ self.psi) / self.alpha)

    def at(self, t: Array) -> SpectrumPoint:
        """The curve at a flat array of parameters t."""
        return _evaluate(self.alpha, self.log_psi, self.weights, self.psi, self.atom, t)

    def parameter_of_radius(self, radius: Array) -> Array:
        """t at a flat array of radii inside the table's range (clipped to it)."""
        with np.errstate(divide="ignore"):
            target = self.alpha * np.log(radius)

        def residual(point: SpectrumPoint, wanted: Array) -> tuple[Array, Array]:
            return np.log(point.m) - wanted, point.m_slope / point.m

        return self._invert(np.log(self.table.m), target, residual)

    def parameter_of_probability(self, below: Array) -> Array:
        """t where P(|λ| < r) is `below`, a flat array: solved in the smaller of P and 1 − P."""
        result = np.empty_like(below)
        low = below < 0.5
        if low.any():
            result[low] = self._invert(
                self.table.below,
                below[low],
                lambda point, wanted: (np.log(point.below / wanted), point.below_slope / point.below),
            )
        if not low.all():
            result[~low] = self._invert(
                -self.table.above,
                below[~low] - 1.0,
                lambda point, wanted: (np.log(-wanted / point.above), point.below_slope / point.above),
            )
        return result

    def cutoff_radius(self, share: float) -> float:
        """r where y = share·y₀ (Qu22): w·r^α = share^α·2/Γ(1+α); beyond, the density is exponentially small."""
        target = self.alpha * math.log(share) + math.log(2.0) - math.lgamma(1.0 + self.alpha)
        t = self._invert(
            -(self.knots + np.log(self.table.m)),
            np.array([-target]),
            lambda point, _: (np.log(point.m) - target, point.m_slope / point.m),
            of_sum=True,
        )
        return float(self.at(t).m[0] ** (1.0 / self.alpha))

    def integral(self, function: Callable[[Array, Array], Array], low: float, high: float) -> float:
        """∫ function(ln r, P(|λ| ≥ r)) d ln r over the radii between t = `low` (outer) and t = `high` (inner)."""
        start, stop = math.asinh(low / _SCALE), math.asinh(high / _SCALE)
        ends = np.linspace(start, stop, 2 + int((stop - start) / _PANEL))
        half = 0.5 * np.diff(ends)
        s = ((ends[:-1] + half)[:, np.newaxis] + half[:, np.newaxis] * _POINTS).ravel()
        steps = (half[:, np.newaxis] * _WEIGHTS).ravel() * _SCALE * np.cosh(s)
        point = self.at(_SCALE * np.sinh(s))
        log_r = np.log(point.m) / self.alpha
        return float((steps * -point.m_slope / (self.alpha * point.m)) @ function(log_r, point.above))

    def _invert(
        self,
        falling: Array,
        target: Array,
        residual: Callable[[SpectrumPoint, Array], tuple[Array, Array]],
        *,
        of_sum: bool = False,
    ) -> Array:
        """Newton's method for t inside the cell of the table where `falling` passes `target`.

        `residual` gives the distance from the target in a smooth scale and its derivative by t; with `of_sum`, t itself
        is added to it.
        """
        cell = np.clip(np.searchsorted(-falling, -target), 1, falling.size - 1)
        low, high = self.knots[cell - 1].copy(), self.knots[cell].copy()
        span = falling[cell - 1] - falling[cell]
        share = np.divide(falling[cell - 1] - target, span, out=np.full_like(span, 0.5), where=span > 0.0)
        t = low + np.clip(share, 0.0, 1.0) * (high - low)
        for _ in range(60):
            with np.errstate(divide="ignore", invalid="ignore"):
                value, slope = residual(self.at(t), target)
                if of_sum:
                    value, slope = value + t, slope + 1.0
                step = np.where(value == 0.0, 0.0, value / slope)
            # The side of the root: `residual` falls with t, its sum with t rises.
            before = (value > 0.0) != of_sum
            low, high = np.where(before, t, low), np.where(before, high, t)
            after = t - step
            inside = (after >= low) & (after <= high)
            after = np.where(inside, after, 0.5 * (low + high))
            done = np.abs(after - t) <= 1e-12 * np.maximum(1.0, np.abs(t))
            t = after
            if done.all():
                break
        return t


def parametric_spectrum(
    alpha: float, slopes: SlopeLaw, *, lowest: float = -math.inf, highest: float = math.inf
) -> ParametricSpectrum:
    """The spectrum for this α and law of slopes, tabulated over all t where there are doubles, or less of it."""
    kept = np.isfinite(slopes.log_psi) & (slopes.weights > 0.0)
    log_psi, weights, psi = slopes.log_psi[kept], slopes.weights[kept], slopes.psi[kept]
    atom = max(0.0, 1.0 - float(weights.sum())) if not kept.all() else 0.0
    lowest = max(lowest, _LOWEST_T_GAUSS if alpha == 2.0 else _LOWEST_T)
    highest = min(highest, alpha * _LOG_RADII)
    start, stop = math.asinh(lowest / _SCALE), math.asinh(highest / _SCALE)
    knots = _SCALE * np.sinh(np.linspace(start, stop, 1 + math.ceil((stop - start) / _KNOT)))
    return ParametricSpectrum(
        alpha, log_psi, weights, psi, atom, knots, _evaluate(alpha, log_psi, weights, psi, atom, knots)
    )


def _evaluate(alpha: float, log_psi: Array, weights: Array, psi: Array, atom: float, t: Array) -> SpectrumPoint:
    functions = universal_functions(alpha)
    rows = max(1, _CHUNK // log_psi.size)
    point = SpectrumPoint(*(np.empty_like(t) for _ in range(5)))
    weighted = weights * psi
    for start in range(0, t.size, rows):
        part = slice(start, start + rows)
        values = functions(t[part, np.newaxis] + log_psi)
        point.m[part] = values.phi @ weighted
        point.below[part] = values.h @ weights + atom
        point.above[part] = values.rest @ weights
        point.m_slope[part] = values.phi_slope @ weighted
        point.below_slope[part] = values.h_slope @ weights
    return point
