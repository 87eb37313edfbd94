"""Symmetric stable densities to 1e-12 in microseconds, in the logarithm of their argument, for averages over them.

The packaged table holds the smooth part Q of f(x) = f_Gauss(x) + (2−α)(1+x²)^{−(1+α)/2}·Q(ln x; α) as a Chebyshev
series in α at points u = ln x a tenth apart. It is made by `python -m critaudit.theory.build_symmetric_stable` from
the exact densities. Beyond the table the power series of the tail takes over.

In u the densities times e^u are analytic in a strip of half-width π/4 and fall off exponentially at both ends, so that
the trapezoidal rule with the table's step is exact to 1e-13 for averages of smooth functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.special import gamma

from critaudit.errors import UsageError
from critaudit.theory.quadrature import Array

TABLE_NAME = "symmetric_stable.npz"
STEP = 0.1
LOWEST, HIGHEST = -12.0, 20.0
TILES = ((0.5, 1.0), (1.0, 2.0))
NODES = 24
_SPLINE_DEGREE = 7
_TAIL_TERMS = 8
_GRID = 1500


@dataclass(frozen=True, slots=True, eq=False)
class SymmetricStable:
    """S_α(β=0, σ=1, μ=0): characteristic function exp(−|u|^α); at α = 2 a Gaussian of variance 2.

    `smooth_part` are the values of Q at the table's points.
    """

    alpha: float
    smooth_part: Array
    spline: Callable[[Array], Array]

    @property
    def tail_constant(self) -> float:
        """C in f(x) → C·x^{−1−α}: Γ(1+α) sin(πα/2)/π, zero at α = 2."""
        return math.gamma(1.0 + self.alpha) * math.sin(math.pi * (2.0 - self.alpha) / 2.0) / math.pi

    def log_density(self, u: Array) -> Array:
        """ln f(e^u) at any u (a flat array); −inf where a Gaussian is below the smallest number.

        Oracle: critaudit.laws.stable_density.exact_logpdf; to 1e-11 at the table's points, to 5e-7 between them (where
        the mass per unit of u is off by 3e-9).
        """
        inside = np.clip(u, LOWEST, HIGHEST)
        result = self._combine(inside, self.spline(inside))
        far = u > HIGHEST
        if far.any():
            result[far] = self._log_tail(u[far])
        return result

    def on_grid(self, count: int) -> tuple[Array, Array]:
        """u and ln f(e^u) at `count` points a step of 0.1 apart from u = −34, below which is 1e-15 of the mass."""
        u, log_density = _grid(self, max(_GRID, count))
        return u[:count], log_density[:count]

    def _combine(self, u: Array, smooth_part: Array) -> Array:
        square = np.exp(2.0 * u)
        tail = (2.0 - self.alpha) * smooth_part * np.exp(-0.5 * (1.0 + self.alpha) * np.log1p(square))
        with np.errstate(divide="ignore", under="ignore"):
            return np.asarray(np.log(np.exp(-0.25 * square) / math.sqrt(4.0 * math.pi) + tail))

    def _log_tail(self, u: Array) -> Array:
        if self.alpha == 2.0:
            return np.full(u.shape, -np.inf)
        # Γ(1+kα)/k!·sin(kπ(2−α)/2), k = 1, 2, …: written in 2 − α, so that all vanish with it exactly.
        orders = np.arange(1.0, _TAIL_TERMS + 1.0)
        factors = gamma(self.alpha * orders + 1.0) / gamma(orders + 1.0)
        factors *= np.sin(orders * (math.pi * (2.0 - self.alpha) / 2.0))
        with np.errstate(under="ignore"):
            corrections = np.exp(-self.alpha * np.outer(u, orders[1:] - 1.0)) @ (factors[1:] / factors[0])
        return np.asarray(math.log(self.tail_constant) - (1.0 + self.alpha) * u + np.log1p(corrections))


@lru_cache(maxsize=64)
def _grid(law: SymmetricStable, count: int) -> tuple[Array, Array]:
    u = np.asarray(-34.0 + STEP * np.arange(count), dtype=np.float64)
    place = np.rint((u - LOWEST) / STEP).astype(np.intp)
    inside = np.clip(place, 0, law.smooth_part.size - 1)
    log_density = law._combine(np.asarray(LOWEST + STEP * inside, dtype=np.float64), law.smooth_part[inside])
    far = place >= law.smooth_part.size
    log_density[far] = law._log_tail(u[far])
    u.flags.writeable = log_density.flags.writeable = False
    return u, log_density


@lru_cache(maxsize=64)
def symmetric_stable(alpha: float) -> SymmetricStable:
    """The law with stability index `alpha`. Raises UsageError outside [0.5, 2]."""
    if not TILES[0][0] <= alpha <= TILES[-1][1]:  # NaN fails as well
        raise UsageError(f"alpha = {alpha} is outside [0.5, 2]; give a stability index in this range")
    tile = next(index for index, (_, high) in enumerate(TILES) if alpha <= high)
    low, high = TILES[tile]
    place = (2.0 * alpha - low - high) / (high - low)
    smooth_part = np.asarray(np.polynomial.chebyshev.chebval(place, _coefficients()[tile]), dtype=np.float64)
    points = LOWEST + STEP * np.arange(smooth_part.size)
    return SymmetricStable(float(alpha), smooth_part, make_interp_spline(points, smooth_part, k=_SPLINE_DEGREE))


@lru_cache(maxsize=1)
def _coefficients() -> tuple[Array, ...]:
    with resources.files("critaudit.theory").joinpath(TABLE_NAME).open("rb") as stream, np.load(stream) as stored:
        return tuple(np.asarray(stored[f"tile_{index}"]) for index in range(len(TILES)))
