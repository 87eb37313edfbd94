"""The law of the mean squared activation ⟨φ²⟩ of N Gaussian pre-activations whose strength s is known.

N independent pre-activations of one variance are, at given strength s = √⟨h²⟩, uniform on the sphere of radius s√N,
whatever that variance was. So the pair (s, ⟨φ²⟩), all that a fresh-weight network hands from layer to layer, is s and
then ⟨φ²⟩ from a law that depends on s and N only. With X = φ(s z)²/s² and Y = z² of one standard normal z, it is the
law of the mean of N values X on the condition that the N values Y sum to N: a double Fourier integral of the N-th power
of E[e^{itX + iuY}].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from critaudit.theory.activations import Activation
from critaudit.theory.quadrature import Array, GaussianRule, gaussian_rule

SMALLEST_WIDTH = 33
"""Below, the Fourier integrals converge slowly and drawing every pre-activation costs little."""
STRATA = 256
"""Equiprobable parts into which the law is cut; each is represented by its mean."""
STEP = 0.1
"""Laws are computed at ln s = k·STEP and interpolated by cubic splines between."""
HIGHEST = math.log(1e3)
"""Beyond this ln s an activation is two straight lines, and the law of ⟨φ²⟩/s² no longer changes."""

# The window of the standardised mean in which the Fourier series lives: a period of ±32 standard deviations.
_PERIOD = 64.0
_GRID = 2048
_TERMS_AT_ONCE, _MOST_TERMS = 64, 512
_NEGLIGIBLE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class RatioLaw:
    """Law of the ratio ⟨φ²⟩/s² at given s: its mean, standard deviation and strata, for many s.

    `mean`, `deviation` have shape (points,), `strata` (points, STRATA): the standardised means of the equiprobable
    parts, with mean 0 and variance 1 themselves. `log_strength` are the points, ascending.
    """

    log_strength: Array
    mean: Array
    deviation: Array
    strata: Array


def ratio_law(activation: Activation, width: int, low: float, high: float, step: float) -> RatioLaw:
    """The law for ln s from `low` to `high` in steps of about `step` (both ends included); width ≥ SMALLEST_WIDTH.

    Strata carry mean and variance exactly (to 1e-7 relative) and every quantile to half a stratum. Columns are kept in
    memory for each activation and width.
    """
    from scipy.interpolate import CubicSpline

    # A spline is at its best away from its ends.
    first, last = math.floor(low / STEP) - 3, math.ceil(high / STEP) + 3
    # Of two straight lines φ(s z)²/s² is the same for every s.
    same = activation.slopes is not None
    columns = [_column(activation, width, 0 if same else k) for k in range(first, last + 1)]
    # Where φ(0) ≠ 0 the ratio goes as s^−2: its logarithm is what splines follow.
    table = np.stack(
        [np.concatenate([[math.log(mean), deviation / mean], strata]) for mean, deviation, strata in columns]
    )
    points = np.linspace(low, high, max(2, math.ceil((high - low) / step) + 1))
    fine = CubicSpline(STEP * np.arange(first, last + 1), table)(points)
    mean = np.exp(fine[:, 0])
    return RatioLaw(points, mean, mean * np.maximum(fine[:, 1], 0.0), fine[:, 2:])


@lru_cache(maxsize=4096)
def _column(activation: Activation, width: int, k: int) -> tuple[float, float, Array]:
    """Mean and standard deviation of ⟨φ²⟩/s² at ln s = k·STEP, and its standardised strata."""
    strength = math.exp(STEP * k)
    rule = gaussian_rule(0.0, strength, activation.kinks)
    with np.errstate(under="ignore", over="ignore"):
        x = np.square(np.asarray(activation.value(rule.x), dtype=np.float64) / strength)
    y = np.square(rule.z)
    centre = max(rule.mean(x), 1e-300)
    # Given Y, the part of X that is linear in it is known: only the rest fluctuates.
    slope = rule.mean(x * (y - 1.0)) / 2.0
    rest = x - centre - slope * (y - 1.0)
    spread = math.sqrt(max(rule.mean(np.square(rest)), 0.0))
    if spread <= 1e-9 * centre:
        return centre, 0.0, np.zeros(STRATA)
    fourier, smoothing = _characteristic(rest / spread, rule, width)
    mean, deviation, strata = _strata(fourier, smoothing)
    unit = spread / math.sqrt(width)
    return centre + unit * mean, unit * deviation, strata


def _characteristic(rest: Array, rule: GaussianRule, width: int) -> tuple[NDArray[np.complex128], float]:
    """E[e^{iτT} | ΣY = N] of T = ΣX'/√N at τ = 2π k/_PERIOD, k = 0, 1, …, until it is negligible.

    A law with a jump never fades: it is smoothed over a few hundredths of a standard deviation, the second number.
    """
    along_y, back = _transform(rule.z.tobytes(), rule.weights.tobytes(), width)
    found: list[NDArray[np.complex128]] = []
    norm = 1.0
    for first in range(0, _MOST_TERMS, _TERMS_AT_ONCE):
        frequency = 2.0 * math.pi / _PERIOD * np.arange(first, first + _TERMS_AT_ONCE)
        single = np.asarray(np.exp(1j / math.sqrt(width) * np.outer(frequency, rest)) @ along_y, dtype=np.complex128)
        values = _power(single, width) @ back
        if first == 0:
            norm = float(values[0].real)
        found.append(values / norm)
        if np.abs(found[-1][-8:]).max() < _NEGLIGIBLE:
            return np.concatenate(found), 0.0
    frequency = 2.0 * math.pi / _PERIOD * np.arange(_MOST_TERMS)
    smoothing = 5.0 / float(frequency[-1])
    return np.asarray(np.concatenate(found) * np.exp(-0.5 * np.square(smoothing * frequency))), smoothing


@lru_cache(maxsize=4)
def _transform(z: bytes, weights: bytes, width: int) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """w·e^{iuz²} by node and frequency u, and e^{−iuN}: the transform over Y, equal for most strengths."""
    # |E e^{iuY}|^N = (1 + 4u²)^{−N/4} has fallen to 1e-12 at the end; the sum ΣY is told apart over its whole range.
    end = 1.5 * 0.5 * math.sqrt(10.0 ** (48.0 / width) - 1.0)
    step = 2.0 * math.pi / (width + 12.0 * math.sqrt(2.0 * width) + 60.0)
    u = step * np.arange(-math.ceil(end / step), math.ceil(end / step) + 1)
    waves: NDArray[np.complex128] = np.exp(1j * np.outer(np.square(np.frombuffer(z)), u))
    return np.asarray(np.frombuffer(weights)[:, np.newaxis] * waves), np.asarray(np.exp(-1j * width * u))


def _power(base: NDArray[np.complex128], exponent: int) -> NDArray[np.complex128]:
    """Integer power by squaring; numpy's own takes a logarithm of each number."""
    result = np.ones_like(base)
    with np.errstate(under="ignore"):
        while exponent:
            if exponent & 1:
                result *= base
            exponent >>= 1
            if exponent:
                base = base * base
    return result


@lru_cache(maxsize=1)
def _grid() -> Array:
    return np.linspace(-0.5 * _PERIOD, 0.5 * _PERIOD, _GRID + 1)


@lru_cache(maxsize=8)
def _integrals(terms: int) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """From the Fourier coefficients k = 1 … terms − 1 to ∫f and ∫x·f from the window's left end to each grid point."""
    x = _grid()[:, np.newaxis]
    rate = -2j * math.pi / _PERIOD * np.arange(1, terms)
    wave = np.exp(rate * x)
    mass = wave / rate
    first = wave * (x / rate - 1.0 / rate**2)
    return mass - mass[0], first - first[0]


def _strata(fourier: NDArray[np.complex128], smoothing: float) -> tuple[float, float, Array]:
    """Mean, standard deviation and standardised stratum means of the law with these Fourier coefficients.

    The standard deviation is that before smoothing.
    """
    from scipy.interpolate import CubicHermiteSpline

    x = _grid()
    to_mass, to_first = _integrals(fourier.size)
    mass = (x - x[0]) / _PERIOD + 2.0 / _PERIOD * (to_mass @ fourier[1:]).real
    first = (np.square(x) - x[0] ** 2) / (2.0 * _PERIOD) + 2.0 / _PERIOD * (to_first @ fourier[1:]).real
    mass = np.maximum.accumulate(np.clip(mass, 0.0, 1.0))
    # Points between which nothing happens but rounding hold no quantile.
    keep = np.flatnonzero(np.diff(mass, prepend=-1.0) > 1e-9)
    # d(∫x f)/d(∫f) = x: the curve's slopes are known.
    curve = CubicHermiteSpline(mass[keep], first[keep], x[keep])
    ends = np.concatenate([[first[keep[0]]], curve(np.arange(1, STRATA) / STRATA), [first[keep[-1]]]])
    means = np.sort(STRATA * np.diff(ends))
    mean = float(first[-1])
    variance = max(_variance(x, mass) - mean**2 - smoothing**2, 0.0)
    centred = means - means.mean()
    return mean, math.sqrt(variance), np.asarray(centred / math.sqrt(float(np.mean(np.square(centred)))))


def _variance(x: Array, mass: Array) -> float:
    """E[x²] from the distribution function: ∫ 2|x| (tail beyond x) dx over both sides."""
    from scipy.integrate import simpson

    middle = x.size // 2
    right = simpson(2.0 * x[middle:] * (1.0 - mass[middle:]), x=x[middle:])
    left = simpson(-2.0 * x[: middle + 1] * mass[: middle + 1], x=x[: middle + 1])
    return float(right + left)


def direct_ratio(activation: Callable[[Array], Array], sites: Array, strength: float) -> Array:
    """⟨φ²⟩/s² for each row of standard normals, moved to strength s: what the law above is about, by definition."""
    moved = sites * (strength / np.sqrt(np.mean(np.square(sites), axis=-1, keepdims=True)))
    return np.asarray(np.mean(np.square(activation(moved)), axis=-1) / strength**2)
