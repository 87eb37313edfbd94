"""Generalised dimensions D_q of vectors, and what Gaussian vectors of the same length show (Qu22, Eq. 9).

For weights p_i = |v_i|²/Σ|v|² over N sites D_q = ln Σp_i^q / ((1 − q)·ln N), D_1 = −Σ p ln p/ln N: 0 for a vector on
one site, 1 for one that is spread evenly, in between and falling with q where it is multifractal. A vector of finite
length is never quite spread evenly: even Gaussian ones have D_2 = 0.90 at N = 784, so that a D_q means something only
beside that of Gaussian vectors of the same length.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma, entr, gammaln

from critaudit.errors import CritauditError

Array: TypeAlias = NDArray[np.float64]

# The orders that reports show.
ORDERS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_LARGEST_ORDER = 20.0
# e^{−e^u} summed in steps h of u is exact to |Γ(2πi/h)|, 1e-13 here.
_STEP = 0.3
# Weights that are raised to all orders together: 2 MB per order.
_AT_ONCE = 2**18


def dimensions(vectors: ArrayLike, orders: ArrayLike = ORDERS) -> Array:
    """D_q of each column of `vectors` (N, m), real or complex, at `orders` q ≥ 0: shape (len(orders), m).

    Columns need not be normalised. Sites that are exactly zero do not count: D_0 is ln(sites that are not)/ln N.
    Raises CritauditError for fewer than two sites, for zero or non-finite vectors and for orders outside [0, 20].
    """
    values = np.asarray(vectors)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[0] < 2:
        raise CritauditError(f"vectors of shape {values.shape} have no dimensions; give (N, m) with at least two sites")
    values = values.astype(np.complex128 if values.dtype.kind == "c" else np.float64, copy=False)
    size = np.abs(values).max(axis=0, initial=0.0)
    if not (np.isfinite(size).all() and (size > 0.0).all()):
        raise CritauditError("a vector that is zero or not finite was given; it has no dimensions")
    return probability_dimensions(np.abs(values / size) ** 2, orders)


def probability_dimensions(weights: ArrayLike, orders: ArrayLike = ORDERS) -> Array:
    """As `dimensions`, from weights p_i ≥ 0 in columns, normalised or not, with a positive sum."""
    p, q = np.asarray(weights, dtype=np.float64), np.atleast_1d(np.asarray(orders, dtype=np.float64))
    if not np.all((q >= 0.0) & (q <= _LARGEST_ORDER)):  # NaN fails as well
        raise CritauditError(f"an order q outside [0, {_LARGEST_ORDER:g}] was asked for; give q ≥ 0")
    if p.ndim != 2 or p.shape[0] < 2:
        raise CritauditError(f"weights of shape {p.shape} have no dimensions; give (N, m) with at least two sites")
    step = max(1, _AT_ONCE // p.shape[0])
    parts = [_dimensions(p[:, start : start + step], q) for start in range(0, p.shape[1], step)]
    return np.concatenate(parts, axis=1) if parts else np.empty((q.size, 0))


def _dimensions(weights: Array, orders: Array) -> Array:
    p = weights / weights.sum(axis=0)
    log_sites = math.log(p.shape[0])
    top = p.max(axis=0)
    with np.errstate(under="ignore"):
        powers = {1: np.sqrt(np.sqrt(p / top))}
        found = np.empty((orders.size, p.shape[1]))
        for row, order in enumerate(orders):
            if order == 0.0:
                found[row] = np.log(np.count_nonzero(p, axis=0)) / log_sites
            elif abs(order - 1.0) < 1e-9:
                found[row] = entr(p).sum(axis=0) / log_sites
            else:
                total = _power(powers, float(order)).sum(axis=0)
                found[row] = (order * np.log(top) + np.log(total)) / ((1.0 - order) * log_sites)
    return found


def _power(powers: dict[int, Array], order: float) -> Array:
    """(p/max p)^order; for multiples of a quarter by products of `powers` of the fourth root, which are fast."""
    quarters = round(4.0 * order)
    if quarters != 4.0 * order:
        return np.asarray(powers[1] ** (4.0 * order))
    if quarters not in powers:
        half = quarters // 2
        powers[quarters] = _power(powers, half / 4.0) * _power(powers, (quarters - half) / 4.0)
    return powers[quarters]


def gaussian_dimensions(sites: int, orders: ArrayLike = ORDERS, *, is_complex: bool = True) -> Array:
    """Mean D_q of Gaussian vectors of N = `sites`, complex or real: what a delocalised vector of this length shows.

    Exact to about 1e-8, by quadrature: with x_i the squares of Gaussian numbers E ln Σp^q = E ln Σx^q − q·E ln Σx, and
    E ln S = ∫(e^−t − E e^−tS) dt/t. Oracle: sampled vectors; E Σp² = 2/(N + 1) (complex) and 3/(N + 2) (real).
    Raises CritauditError for fewer than two sites or orders outside [0, 20].

    >>> float(gaussian_dimensions(784, 2.0)[0].round(3))
    0.896
    """
    if sites < 2:
        raise CritauditError(f"vectors with {sites} sites have no dimensions; give at least two")
    q = np.atleast_1d(np.asarray(orders, dtype=np.float64))
    if not np.all((q >= 0.0) & (q <= _LARGEST_ORDER)):  # NaN fails as well
        raise CritauditError(f"an order q outside [0, {_LARGEST_ORDER:g}] was asked for; give q ≥ 0")
    return np.array([_gaussian_dimension(sites, float(order), is_complex) for order in q])


def gaussian_participation(sites: int, order: float, *, is_complex: bool = True) -> float:
    """E Σp^q of Gaussian vectors of N = `sites`, in closed form: N·Γ(s + q)Γ(sN)/(Γ(s)Γ(sN + q)), s = 1 or 1/2."""
    shape = 1.0 if is_complex else 0.5
    logarithm = gammaln(shape + order) + gammaln(shape * sites) - gammaln(shape) - gammaln(shape * sites + order)
    return sites * math.exp(float(logarithm))


@lru_cache(maxsize=4096)
def _gaussian_dimension(sites: int, order: float, is_complex: bool) -> float:
    shape = 1.0 if is_complex else 0.5
    log_sites = math.log(sites)
    if order == 0.0:
        return 1.0
    if abs(order - 1.0) < 1e-9:
        return float(digamma(shape * sites + 1.0) - digamma(shape + 1.0)) / log_sites
    log_sum = _mean_log_sum(sites, order, shape) - order * float(digamma(shape * sites))
    return log_sum / ((1.0 - order) * log_sites)


def _mean_log_sum(sites: int, order: float, shape: float) -> float:
    """E ln Σx_i^q for x_i ~ Gamma(shape): trapezoidal rules in ln t and ln x, which converge geometrically here."""
    log_mean = math.log(sites) + float(gammaln(shape + order) - gammaln(shape))
    # t·S/E S from where both exponentials are 1 to where both are 0; for large orders S is mostly far below its mean.
    log_t = np.arange(-32.0, log_mean + order * max(4.0, 35.0 / (sites * shape)) + 4.0, _STEP)
    low = max(-45.0 / shape, -(log_t[-1] - log_mean + 40.0) / order)
    step = _STEP / max(1.0, order)
    log_x = np.arange(low, 5.5, step)
    density = np.exp(shape * log_x - np.exp(log_x) - gammaln(shape)) * step
    beyond = np.empty_like(log_t)  # 1 − E e^{−t·x^q}
    for start in range(0, log_t.size, 100):
        exponent = log_t[start : start + 100, None] - log_mean + order * log_x
        beyond[start : start + 100] = -np.expm1(-np.exp(np.minimum(exponent, 700.0))) @ density
    with np.errstate(under="ignore"):
        transform = np.exp(sites * np.log1p(-np.minimum(beyond, 1.0 - 1e-16)))
        integrand = np.exp(-np.exp(np.minimum(log_t, 700.0))) - transform
    return log_mean + _STEP * float(integrand.sum())
