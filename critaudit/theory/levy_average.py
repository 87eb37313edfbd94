"""The average E|φ(h)|^α over heavy-tailed pre-activations h = (q/2)^{1/α}X, X ~ S_α, for q from e^−1e16 up."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from critaudit.errors import CritauditError
from critaudit.theory.activations import Activation
from critaudit.theory.quadrature import Array
from critaudit.theory.symmetric_stable import STEP, SymmetricStable, symmetric_stable

# Below |h| = e^−37 a function that vanishes at zero is its slope times h to rounding, a kink at zero included.
_STRAIGHT_BELOW = -37.0
# Averages lose a share e^−34 to e^−40 of themselves beyond these ends of u = ln x.
_LOWEST = -34.0
_FALL = 40.0
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_PANEL = 0.5


class _Terms(NamedTuple):
    """Nodes v = ln|h| and the logarithm of weight·x^α, x = |h|/scale; over both signs of h."""

    v: Array
    log_weight: Array


def log_growth(log_q: float, alpha: float, activation: Activation) -> float:
    """ln(E|φ(h)|^α / q) for h ~ S_α((q/2)^{1/α}): by how much a layer of g = 1 changes ln q. For α < 2.

    Summed as E[(|φ(h)|/|h|)^α·x^α]/2, whose terms neither underflow nor cancel however small q is. To 1e-12 for smooth
    φ (trapezoidal rule in ln x), to 1e-8 where φ has kinks away from zero (panels that end there). −inf where φ is
    zero. Raises CritauditError where φ gives NaN.
    """
    law = symmetric_stable(alpha)
    log_scale = (log_q - math.log(2.0)) / alpha
    kinks = [math.log(abs(kink)) for kink in activation.kinks if kink != 0.0]
    table_end = _FALL / alpha
    plateau = _STRAIGHT_BELOW - log_scale - table_end
    if plateau <= 0.0:
        parts = [_terms(law, log_scale, _LOWEST, table_end - min(log_scale, 0.0), kinks)]
        total = 0.0
    else:
        # Between the table's end and where φ turns lies a long stretch of equal terms: x^α·f(x)dx = C·d(ln x).
        parts = [
            _terms(law, log_scale, _LOWEST, table_end, []),
            _far_terms(law, _STRAIGHT_BELOW, table_end, kinks),
        ]
        at_zero = float(_ratios(np.array([_STRAIGHT_BELOW]), alpha, activation)[0])
        total = 2.0 * law.tail_constant * plateau * at_zero
    for part in parts:
        total += float(np.exp(part.log_weight) @ _ratios(part.v, alpha, activation))
    if math.isnan(total):
        raise CritauditError(f"{activation.name} gives NaN for some input, so that E|phi(h)|^alpha is undefined")
    return math.log(0.5 * total) if total > 0.0 else -math.inf


def _ratios(v: Array, alpha: float, activation: Activation) -> Array:
    """Mean over both signs of (|φ(h)|/|h|)^α at |h| = e^v."""
    h = np.exp(np.clip(v, -300.0, 300.0))
    with np.errstate(over="ignore", under="ignore"):
        up, down = np.abs(activation.value(h)) / h, np.abs(activation.value(-h)) / h
        return np.asarray(0.5 * (up**alpha + down**alpha))


def _terms(law: SymmetricStable, log_scale: float, low: float, high: float, kinks: list[float]) -> _Terms:
    """Terms from u = low = −34 to u = high; the trapezoidal rule's last node counts in full."""
    if not kinks:
        u, log_density = law.on_grid(1 + round((high - low) / STEP))
        return _Terms(u + log_scale, math.log(2.0 * STEP) + log_density + (1.0 + law.alpha) * u)
    u, weights = _panels(low, high, [kink - log_scale for kink in kinks])
    return _Terms(u + log_scale, np.log(2.0 * weights) + law.log_density(u) + (1.0 + law.alpha) * u)


def _far_terms(law: SymmetricStable, low: float, high: float, kinks: list[float]) -> _Terms:
    """Terms from v = low to v = high, where the density is its power-law tail."""
    constant = math.log(2.0 * law.tail_constant)
    if not kinks:
        v = np.arange(low + STEP, high, STEP)
        return _Terms(v, np.full(v.shape, constant + math.log(STEP)))
    v, weights = _panels(low, high, kinks)
    return _Terms(v, constant + np.log(weights))


def _panels(low: float, high: float, kinks: list[float]) -> tuple[Array, Array]:
    """Composite Gauss–Legendre rule with panels at most half a unit wide that end at the kinks."""
    inside = [kink for kink in kinks if low < kink < high]
    ends = np.unique(np.concatenate([np.linspace(low, high, 1 + math.ceil((high - low) / _PANEL)), inside]))
    half = 0.5 * np.diff(ends)
    nodes = ((ends[:-1] + half)[:, np.newaxis] + half[:, np.newaxis] * _POINTS).ravel()
    return nodes, (half[:, np.newaxis] * _WEIGHTS).ravel()
