"""The law of the slopes φ′(h) over heavy-tailed pre-activations, as nodes and weights for averages over it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq

from critaudit.theory.activations import Activation, named_activation
from critaudit.theory.quadrature import Array
from critaudit.theory.symmetric_stable import symmetric_stable

# Below this |h| all slopes are φ′(0±).
_NEAR = 1e-5
_LOG_PANEL = 0.6
# From |h| = 1 a slope such as e^{−2|h|} changes on the scale of one until it is below the smallest double.
_UNIT_PANELS_TO = 12.0
_TINIEST = 1e-290
# Slopes are searched for zeros up to here; panels beside a zero shrink by four this often, to a step of 1e-5.
_ZEROS_TO, _GRADES = 40.0, 8
# Nodes per panel where slopes turn, and beyond; half of them give 1e-5 instead of 1e-8.
_FINE, _BEYOND = 8, 3


@dataclass(frozen=True, slots=True, eq=False)
class SlopeLaw:
    """Slopes φ′(h) with h ~ S_α(scale): `log_psi` = α·ln|φ′| (−inf for φ′ = 0) at the nodes, `weights` sum to one.

    `mean_log` = E ln|φ′(h)|, −inf where it does not exist: for tanh at α ≤ 1, or where φ′ = 0 has a probability.
    """

    log_psi: Array
    weights: Array
    mean_log: float

    @property
    def psi(self) -> Array:
        """|φ′|^α."""
        with np.errstate(under="ignore"):
            return np.exp(self.log_psi)


def slope_law(
    alpha: float, log_scale: float, activation: Activation, *, resolve: float = 180.0, nodes: int = _FINE
) -> SlopeLaw:
    """The law of φ′(h) for h = e^log_scale·X, X ~ S_α, with one unit of |h| per panel up to |h| = `resolve`.

    180 is where e^{−2|h|} is below 1e-156. Averages of functions that are smooth in ln|φ′| come out to about 1e-8, with
    4 instead of 8 nodes per panel to 1e-5.
    """
    law = symmetric_stable(alpha)
    if log_scale == -math.inf:
        return _point_mass(alpha, activation)
    # At α = 2 the density is gone at x = 50; below, a share e^−30 of the tail is left out.
    end = log_scale + (4.0 if alpha == 2.0 else 30.0 / alpha)
    h, h_weights = _rule(end, resolve, activation, nodes)
    u = np.log(h) - log_scale
    with np.errstate(under="ignore"):
        weights = 2.0 * h_weights * np.exp(law.log_density(u) - log_scale)
    kept = weights > 1e-300
    h, weights = h[kept], weights[kept]
    h, weights = np.append(h, 0.5 * _NEAR), np.append(weights, max(0.0, 1.0 - float(weights.sum())))
    sides = [_log_slopes(activation, h), _log_slopes(activation, -h)]
    powers = [_far_power(activation, sign) if alpha < 2.0 else 0.0 for sign in (1.0, -1.0)]
    if np.array_equal(sides[0], sides[1]):
        sides, powers = sides[:1], powers[:1]
    # The tail beyond the last panel, where the density is C·x^{−1−α}: 2C·∫ e^{−αu} du.
    tail = 2.0 * law.tail_constant * math.exp(-alpha * (end - log_scale))
    means = [_mean_log(side, h, weights, alpha, end, tail, power) for side, power in zip(sides, powers, strict=True)]
    log_slopes, weights = np.concatenate(sides), np.tile(weights / len(sides), len(sides))
    return SlopeLaw(alpha * log_slopes, weights / weights.sum(), sum(means) / len(means))


def _point_mass(alpha: float, activation: Activation) -> SlopeLaw:
    """The law at q = 0: φ′(0−) and φ′(0+)."""
    slopes = np.concatenate([_log_slopes(activation, np.array([side * 1e-150])) for side in (-1.0, 1.0)])
    return SlopeLaw(alpha * slopes, np.array([0.5, 0.5]), float(slopes.mean()))


def _rule(end: float, resolve: float, activation: Activation, nodes: int) -> tuple[Array, Array]:
    """Gauss–Legendre nodes h > 0 and weights: panels in ln h up to 1, in h up to `resolve`, in ln h up to e^end."""
    top = math.exp(min(end, 300.0))
    kinks = np.log([turn for turn in (*map(abs, activation.kinks), *_around_zeros(activation)) if _NEAR < turn < top])
    parts = []
    far = max(resolve, _UNIT_PANELS_TO)
    turns = [(_NEAR, 1.0, True, nodes), (1.0, _UNIT_PANELS_TO, False, nodes)]
    turns += [(_UNIT_PANELS_TO, far, False, _BEYOND), (far, top, True, nodes)]
    for low, high, logarithmic, count in turns:
        high = min(high, top)
        if high <= low:
            continue
        start, stop = (math.log(low), math.log(high)) if logarithmic else (low, high)
        inner = kinks if logarithmic else np.exp(kinks)
        panels = math.ceil((stop - start) / (_LOG_PANEL if logarithmic else 1.0))
        ends = np.concatenate([np.linspace(start, stop, 1 + panels), inner[(inner > start) & (inner < stop)]])
        places, weights = _composite(np.unique(ends), count)
        parts.append((np.exp(places), weights * np.exp(places)) if logarithmic else (places, weights))
    if not parts:
        return np.zeros(0), np.zeros(0)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


@lru_cache(maxsize=64)
def _around_zeros(activation: Activation) -> tuple[float, ...]:
    """|h| where φ′ passes zero, as in GELU, and places ever nearer to it on both sides: ends of panels.

    ln|φ′| is singular there, and probabilities P(|λ| ≥ r) follow it on a scale that shrinks with r.
    """
    grid = np.concatenate([np.geomspace(_NEAR, 1.0, 200), np.linspace(1.0, _ZEROS_TO, 800)[1:]])
    places: set[float] = set()
    for side in (-1.0, 1.0):

        def slope(h: float, side: float = side) -> float:
            return float(activation.derivative(np.array([side * h]))[0])

        values = activation.derivative(side * grid)
        # The derivative of a Python function is a difference with noise of 1e-13.
        noise = 1e-18 * float(np.square(values).max())
        for place in np.flatnonzero(values[:-1] * values[1:] < -noise):
            zero = float(brentq(slope, grid[place], grid[place + 1], xtol=1e-12))
            steps = 0.5 * min(zero, 1.0) * 4.0 ** -np.arange(_GRADES)
            places |= {zero, *(zero + steps).tolist(), *(zero - steps).tolist()}
    return tuple(sorted(places))


def _composite(ends: Array, count: int) -> tuple[Array, Array]:
    points, weights = _gauss_legendre(count)
    half = 0.5 * np.diff(ends)
    places = ((ends[:-1] + half)[:, np.newaxis] + half[:, np.newaxis] * points).ravel()
    return places, (half[:, np.newaxis] * weights).ravel()


@lru_cache(maxsize=8)
def _gauss_legendre(count: int) -> tuple[Array, Array]:
    return np.polynomial.legendre.leggauss(count)


def _log_slopes(activation: Activation, h: Array) -> Array:
    """ln|φ′(h)|, also where φ′ is below the smallest double; h of one sign."""
    is_tanh = activation is named_activation("tanh")
    if is_tanh or activation is named_activation("sigmoid"):
        # sech²(h) and a quarter of sech²(h/2).
        size, offset = (np.abs(h), 0.0) if is_tanh else (0.5 * np.abs(h), -math.log(4.0))
        return np.asarray(2.0 * (math.log(2.0) - size - np.log1p(np.exp(-2.0 * np.minimum(size, 300.0)))) + offset)
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        slopes = np.abs(activation.derivative(h))
        result = np.log(slopes)
    return _continued(np.abs(h), np.nan_to_num(slopes), result)


def _continued(size: Array, slopes: Array, log_slopes: Array) -> Array:
    """ln φ′ beyond the smallest double, by the power of |h| that it last followed; −inf where φ′ is zero at once."""
    order = np.argsort(size)
    known = order[slopes[order] > _TINIEST]
    log_slopes = np.where(slopes > _TINIEST, log_slopes, -np.inf)
    if known.size < 2 or slopes[known[-1]] > 1e-200:
        return log_slopes
    last, before = known[-1], known[-2]
    power = math.log(log_slopes[last] / log_slopes[before]) / math.log(size[last] / size[before])
    lost = size > size[last]
    log_slopes[lost] = log_slopes[last] * (size[lost] / size[last]) ** power
    return log_slopes


def _far_power(activation: Activation, sign: float) -> float:
    """The power of |h| that ln|φ′| follows far out: 1 for tanh, 2 for erf; infinite where φ′ is zero there."""
    sizes = np.concatenate([np.geomspace(0.1, 400.0, 60), [1e50, 1e100]])
    before, last = _log_slopes(activation, sign * sizes)[-2:]
    if np.isneginf(last):
        return math.inf
    return math.log(last / before) / math.log(1e50) if max(last, before) < 0.0 else 0.0


def _mean_log(
    log_slopes: Array, h: Array, weights: Array, alpha: float, end: float, tail: float, power: float
) -> float:
    """E ln|φ′| over one side of h; beyond e^`end` ln|φ′| is a `power` of |h|, and the density's tail is `tail`."""
    if power >= alpha - 1e-9 or np.isneginf(log_slopes[weights > 0.0]).any():
        return -math.inf
    total = float(weights @ log_slopes)
    if alpha == 2.0 or end < math.log(_UNIT_PANELS_TO):
        # Beyond an end so near to zero there is e^−30 of E|h|^α, which is as small.
        return total
    # The last node is the one at zero.
    at_end = float(log_slopes[-2]) * math.exp(power * (end - math.log(h[-2])))
    return total + tail * at_end / (alpha - power)
