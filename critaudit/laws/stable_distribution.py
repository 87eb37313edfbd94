"""Tail probabilities of stable laws at many points: the table's density, integrated once per law."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from critaudit.laws.stable_table import KNOTS, STEP, WIDTH, centre, jet

Array = NDArray[np.float64]

_NODES, _WEIGHTS = (np.asarray(part) for part in np.polynomial.legendre.leggauss(5))


def lower_tail(x: Array, alpha: float, beta: float) -> Array:
    """P(X ≤ x) in Nolan's S0 form, α < 2, relatively accurate (1e-6) in heavy lower tails.

    The density is integrated over u = asinh(y/0.3) from its power-law end upwards, and interpolated by cubics that know
    the density at the knots. `lower_tail(-x, alpha, -beta)` is P(X > x). Oracle: `stable_density.exact_cdf`.
    """
    edges = np.arange(3 - KNOTS, KNOTS - 3) * STEP
    inner = (edges[:-1, None] + STEP * (_NODES + 1) / 2).ravel()
    density = np.exp(jet(np.sinh(inner) * WIDTH, alpha, beta).value) * np.cosh(inner) * WIDTH
    cells = density.reshape(-1, _NODES.size) @ _WEIGHTS * (STEP / 2)
    end = np.sinh(edges[0]) * WIDTH
    # Beyond the table the tail is a power law: ∫ f = |y| f / α.
    first = -end * float(np.exp(jet(np.array([end]), alpha, beta).value[0])) / alpha
    cumulative = first + np.concatenate([[0.0], np.cumsum(cells)])
    slopes = np.exp(jet(np.sinh(edges) * WIDTH, alpha, beta).value) * np.cosh(edges) * WIDTH
    y = np.asarray(x, dtype=np.float64) + centre(alpha)[0] * beta
    u = np.arcsinh(y / WIDTH)
    index = np.clip(((u - edges[0]) / STEP).astype(np.intp), 0, edges.size - 2)
    t = np.clip((u - edges[index]) / STEP, 0.0, 1.0)
    value = (
        cumulative[index] * (1 + 2 * t) * (1 - t) ** 2
        + cumulative[index + 1] * t**2 * (3 - 2 * t)
        + STEP * t * (1 - t) * (slopes[index] * (1 - t) - slopes[index + 1] * t)
    )
    below, above = y < end, y > -end
    value[below] = first * (np.abs(y[below]) / -end) ** -alpha
    upper_end = max(0.0, 1.0 - float(cumulative[-1]))
    value[above] = 1.0 - upper_end * (y[above] / -end) ** -alpha
    probability: Array = np.clip(value, 0.0, 1.0)
    return probability
