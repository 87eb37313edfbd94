"""The two functions per α that the spectrum of heavy-tailed random matrices is made of, by Mellin–Barnes integrals.

With S, S′ independent positive a-stable variables, a = α/2, E e^{−sS} = exp(−κs^a), κ = Γ(1+α)/(2Γ(1+a)):

    Φ(x) = E[(S/(1 + x^{1/a}SS′))^a],        H(x) = E[1/(1 + x^{1/a}SS′)].

Their Mellin transforms are products of gamma functions (E S^p = κ^{p/a}Γ(1−p/a)/Γ(1−p)), so that each is one integral
along a line Re σ = c whose integrand falls like e^{−π|t|}; the trapezoidal rule is exact to rounding. Moving the line
past poles gives the behaviour at small and large x, with which *relative* accuracy is kept over e^±40 and beyond:

    Φ → A − B·ln x and 1 − H → x·(A′ − B′·ln x) for x → 0;    Φ → 1/(κΓ(1+a)x) and H ~ x^{−1/a} for x → ∞.

At α = 2, S = 1 and both are 1/(1+x), which ends the spectrum sharply; below, the logarithms give it its tail.
Source: Qu22, Eqs. 7 and 8, with E over S, S′ done.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import digamma, loggamma, rgamma

from critaudit.theory.quadrature import Array

Complex = NDArray[np.complex128]
Transform: TypeAlias = Callable[[Complex, float, float], Complex]

_STEP = 0.04
_REACH = 40.0
_LINE_STEP, _LINE_NODES = 0.08, 300
# Up to here the line between the first poles on both sides is used; beyond it, one past the poles on the right.
_CENTRAL = 4.0


@dataclass(frozen=True, slots=True)
class Values:
    """Φ, H and 1 − H at some points, and the derivatives of the first two by ln x."""

    phi: Array
    h: Array
    rest: Array
    phi_slope: Array
    h_slope: Array


@dataclass(frozen=True, slots=True, eq=False)
class UniversalFunctions:
    """Φ and H at one α, tabulated over ln x in [−40, 40] as cubic pieces (relative error 1e-8), by their limits beyond.

    `pieces` has shape (intervals, 12): four coefficients each, highest power first, of Φ, H and 1 − H. `small_phi` =
    (A, B) of Φ → A − B·ln x, `small_rest` those of 1 − H.
    """

    alpha: float
    pieces: Array
    small_phi: tuple[float, float]
    small_rest: tuple[float, float]

    def __call__(self, log_x: Array) -> Values:
        """Values at ln x, an array of any shape; ln x = −inf is allowed (Φ = ∞ for α < 2)."""
        place = (np.clip(log_x, -_REACH, _REACH) + _REACH) / _STEP
        index = np.minimum(place.astype(np.intp), len(self.pieces) - 1)
        offset = (place - index) * _STEP
        c = np.take(self.pieces, index, axis=0)
        phi, h, rest = (
            ((c[..., k] * offset + c[..., k + 1]) * offset + c[..., k + 2]) * offset + c[..., k + 3] for k in (0, 4, 8)
        )
        phi_slope, h_slope = ((3.0 * c[..., k] * offset + 2.0 * c[..., k + 1]) * offset + c[..., k + 2] for k in (0, 4))
        self._continue(log_x, phi, h, rest, phi_slope, h_slope)
        return Values(phi, h, rest, phi_slope, h_slope)

    def _continue(self, log_x: Array, phi: Array, h: Array, rest: Array, phi_slope: Array, h_slope: Array) -> None:
        """Put the limits where `log_x` is outside the table, in place."""
        far = log_x > _REACH
        if far.any():
            beyond = log_x[far] - _REACH
            with np.errstate(under="ignore"):
                phi[far] *= np.exp(-beyond)
                h[far] *= np.exp(-2.0 / self.alpha * beyond)
            phi_slope[far], h_slope[far], rest[far] = -phi[far], -2.0 / self.alpha * h[far], 1.0
        near = log_x < -_REACH
        if near.any():
            t = log_x[near]
            with np.errstate(under="ignore", invalid="ignore"):
                x = np.exp(t)
                logarithm = np.where(np.isneginf(t), 0.0, t)
                rest[near] = x * (self.small_rest[0] - self.small_rest[1] * logarithm)
                h_slope[near] = -x * (self.small_rest[0] - self.small_rest[1] * (logarithm + 1.0))
            phi[near] = self.small_phi[0] - (self.small_phi[1] * t if self.small_phi[1] > 0.0 else 0.0)
            phi_slope[near] = -self.small_phi[1]
            h[near] = 1.0


@lru_cache(maxsize=128)
def universal_functions(alpha: float) -> UniversalFunctions:
    """Φ and H for 0 < α ≤ 2; the table takes a few milliseconds and is kept."""
    grid = _grid()
    if alpha == 2.0:
        h = 1.0 / (1.0 + np.exp(grid))
        return UniversalFunctions(2.0, _pieces(grid, h, h, h[::-1]), (1.0, 0.0), (1.0, 0.0))
    a = 0.5 * alpha
    log_kappa = math.lgamma(1.0 + alpha) - math.log(2.0) - math.lgamma(1.0 + a)
    small_phi = _small_phi(a, log_kappa)
    small_rest = _small_rest(a, log_kappa)
    left, middle, right = grid < 0.0, (grid >= 0.0) & (grid <= _CENTRAL), grid > _CENTRAL
    phi, h, rest = (np.empty_like(grid) for _ in range(3))
    phi[left] = small_phi[0] - small_phi[1] * grid[left] + _line(_phi_transform, -0.5, a, log_kappa, left)
    phi[middle] = _line(_phi_transform, 0.5, a, log_kappa, middle)
    phi[right] = _line(_phi_transform, 1.0 + 0.5 / a, a, log_kappa, right)
    phi[right] += np.exp(-grid[right] - log_kappa) / math.gamma(1.0 + a)
    rest[left] = np.exp(grid[left]) * (small_rest[0] - small_rest[1] * grid[left])
    rest[left] -= _line(_h_transform, -1.5, a, log_kappa, left)
    h[left] = 1.0 - rest[left]
    h[middle] = _line(_h_transform, 0.5, a, log_kappa, middle)
    h[right] = _line(_h_transform, 1.5 / a, a, log_kappa, right)
    h[right] += math.gamma(1.0 + 1.0 / a) ** 2 * np.exp(-(grid[right] + 2.0 * log_kappa) / a)
    rest[~left] = 1.0 - h[~left]
    return UniversalFunctions(float(alpha), _pieces(grid, phi, h, rest), small_phi, small_rest)


def _grid() -> Array:
    count = round(_REACH / _STEP)
    return np.asarray(_STEP * np.arange(-count, count + 1), dtype=np.float64)


def _pieces(grid: Array, phi: Array, h: Array, rest: Array) -> Array:
    """Cubic pieces of the three functions, those of H and 1 − H from the smaller of the two."""
    pieces_phi, pieces_h, pieces_rest = (CubicSpline(grid, values).c for values in (phi, h, rest))
    one = np.array([[0.0], [0.0], [0.0], [1.0]])
    left = grid[:-1] < -0.5 * _STEP
    pieces_h, pieces_rest = np.where(left, one - pieces_rest, pieces_h), np.where(left, pieces_rest, one - pieces_h)
    return np.ascontiguousarray(np.concatenate([pieces_phi, pieces_h, pieces_rest]).T)


def _small_phi(a: float, log_kappa: float) -> tuple[float, float]:
    """A, B of Φ → A − B·ln x: the residue at the double pole σ = 0."""
    logarithm = float(rgamma(1.0 - a)) * math.exp(log_kappa)
    others = -a * digamma(a) - a * digamma(1.0 - a) - 2.0 * log_kappa + 2.0 * digamma(1.0)
    return float(logarithm * others), logarithm


def _small_rest(a: float, log_kappa: float) -> tuple[float, float]:
    """A′, B′ of 1 − H → x(A′ − B′·ln x): the residue at the double pole σ = −1."""
    logarithm = float(rgamma(1.0 - a)) * math.gamma(1.0 + a) * math.exp(2.0 * log_kappa)
    others = 1.0 - a * digamma(1.0 + a) - a * digamma(1.0 - a) - 2.0 * log_kappa + 2.0 * digamma(1.0)
    return float(logarithm * others), logarithm


def _phi_transform(sigma: Complex, a: float, log_kappa: float) -> Complex:
    gammas = loggamma(a - a * sigma) - math.lgamma(a) + 2.0 * loggamma(1.0 + sigma) - loggamma(1.0 - a + a * sigma)
    return np.asarray(np.exp(gammas + (1.0 - 2.0 * sigma) * log_kappa) / sigma**2)


def _h_transform(sigma: Complex, a: float, log_kappa: float) -> Complex:
    gammas = loggamma(1.0 - a * sigma) + 2.0 * loggamma(1.0 + sigma) - loggamma(1.0 + a * sigma)
    return np.asarray(np.exp(gammas - 2.0 * sigma * log_kappa) / sigma)


def _line(transform: Transform, c: float, a: float, log_kappa: float, where: NDArray[np.bool_]) -> Array:
    """(1/2πi) ∫ transform(σ) x^{−σ} dσ along Re σ = c, at the grid points `where`."""
    heights, cosines, sines = _oscillations()
    values = transform(np.asarray(c + 1j * heights, dtype=np.complex128), a, log_kappa)
    total = cosines[where] @ values.real + sines[where] @ values.imag
    return np.asarray(np.exp(-c * _grid()[where]) * total * (_LINE_STEP / math.pi))


@lru_cache(maxsize=1)
def _oscillations() -> tuple[Array, Array, Array]:
    """Heights t of the nodes (between multiples of the step, off the real axis) and cos, sin of t·ln x on the grid."""
    heights = np.asarray(_LINE_STEP * (np.arange(_LINE_NODES) + 0.5), dtype=np.float64)
    phases = np.outer(_grid(), heights)
    return heights, np.cos(phases), np.sin(phases)
