"""Tail probabilities of stable laws at many points: the table's density, integrated once per law."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from critaudit.laws.stable_table import KNOTS, STEP, WIDTH, centre, jet

Array = NDArray[np.float64]

_NODES, _WEIGHTS = (np.asarray(part) for part in np.polynomial.legendre.leggauss(5))


_EDGES = np.arange(4 - KNOTS, KNOTS - 3) * STEP  # symmetric: a law and its mirror image share their integrals
_END = float(np.sinh(_EDGES[0])) * WIDTH
_INNER = (_EDGES[:-1, None] + STEP * (_NODES + 1) / 2).ravel()
# Where the density is taken, and its factor for an integral over u: the cells' nodes, then the knots.
_Y = np.sinh(np.concatenate([_INNER, _EDGES])) * WIDTH
_FACTOR = np.cosh(np.concatenate([_INNER, _EDGES])) * WIDTH


def lower_tail(x: Array, alpha: float, beta: float) -> Array:
    """P(X ≤ x) in Nolan's S0 form, α < 2, relatively accurate (1e-6) in heavy lower tails.

    The density is integrated over u = asinh(y/0.3) from its power-law end upwards, and interpolated by cubics that know
    the density at the knots. `lower_tail(-x, alpha, -beta)` is P(X > x). Oracle: `stable_density.exact_cdf`.
    """
    cells, slopes = _integrals(alpha, abs(beta))
    if beta < 0:
        cells, slopes = cells[::-1], slopes[::-1]
    # Beyond the table the tail is a power law: ∫ f = |y| f / α.
    first = float(slopes[0]) / _FACTOR[-1] * -_END / alpha
    cumulative = first + np.concatenate([[0.0], np.cumsum(cells)])
    y = np.asarray(x, dtype=np.float64) + centre(alpha)[0] * beta
    u = np.arcsinh(y / WIDTH)
    index = np.clip(((u - _EDGES[0]) / STEP).astype(np.intp), 0, _EDGES.size - 2)
    t = np.clip((u - _EDGES[index]) / STEP, 0.0, 1.0)
    rest = 1 - t
    value = (
        cumulative[index] * (1 + 2 * t) * rest**2
        + cumulative[index + 1] * t**2 * (3 - 2 * t)
        + STEP * t * rest * (slopes[index] * rest - slopes[index + 1] * t)
    )
    below, above = y < _END, y > -_END
    value[below] = first * (np.abs(y[below]) / -_END) ** -alpha
    upper_end = max(0.0, 1.0 - float(cumulative[-1]))
    value[above] = 1.0 - upper_end * (y[above] / -_END) ** -alpha
    probability: Array = np.clip(value, 0.0, 1.0)
    return probability


@lru_cache(maxsize=8)
def _integrals(alpha: float, beta: float) -> tuple[Array, Array]:
    """The probability of each cell between the knots in u, and the density over u at the knots."""
    density = np.exp(jet(_Y, alpha, beta).value) * _FACTOR
    cells = density[: _INNER.size].reshape(-1, _NODES.size) @ _WEIGHTS * (STEP / 2)
    return cells, density[_INNER.size :]
