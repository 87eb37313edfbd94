"""Stable laws: density and distribution function, and the fit of one to data (Qu22, Eq. 1 and Fig. 1)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from critaudit.errors import UsageError
from critaudit.laws.stable_density import check_parameters, exact_cdf, exact_logpdf, s1_shift
from critaudit.laws.stable_distribution import lower_tail
from critaudit.laws.stable_fit import StableFit, fit_stable, gaussian_likelihood_ratio
from critaudit.laws.stable_table import centre, jet

__all__ = ["StableFit", "fit_stable", "gaussian_likelihood_ratio", "stable_cdf", "stable_logpdf"]

Array = NDArray[np.float64]
Law = Callable[[Array, float, float], Array]

_FEW = 64  # points whose distribution function is worth a quadrature each


def stable_logpdf(x: ArrayLike, alpha: ArrayLike, beta: ArrayLike = 0.0, *, parametrization: str = "S1") -> Array:
    """Log-density of the standard stable law (σ = 1, μ = 0), broadcast over x, α and β.

    `parametrization` is Nolan's "S1" or "S0"; they differ by the shift x₁ = x₀ + β tan(πα/2), α ≠ 1. Accurate to 2e-6
    for α ≥ 0.9 and 1e-4 for 0.5 ≤ α < 0.9; one-sided tails, where the table is not, come from quadrature (slower).
    Raises UsageError where α is outside [0.5, 2], β outside [−1, 1], or the parametrization is unknown.
    Oracle: `scipy.stats.levy_stable` in the bulk. Source: Qu22, Eq. 1; Nolan 1997.
    """
    return _pointwise(x, alpha, beta, parametrization, _logpdf)


def stable_cdf(x: ArrayLike, alpha: ArrayLike, beta: ArrayLike = 0.0, *, parametrization: str = "S1") -> Array:
    """P(X ≤ x) of the standard stable law, with relative accuracy in the lower tail; P(X > x) is cdf(−x, α, −β).

    A few points come from quadrature (1e-9), many from the table (2e-6 of the tail, 2e-5 for α < 0.9). Arguments and
    errors as in `stable_logpdf`.
    """
    return _pointwise(x, alpha, beta, parametrization, _cdf)


def _pointwise(x: ArrayLike, alpha: ArrayLike, beta: ArrayLike, parametrization: str, function: Law) -> Array:
    """Apply `function(x₀, α, β)` for every pair of parameters in the broadcast arguments."""
    if parametrization not in ("S0", "S1"):
        raise UsageError(f"parametrization {parametrization!r} is unknown; use 'S0' or 'S1'")
    points, alphas, betas = np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in (x, alpha, beta)))
    result = np.empty(points.shape)
    pairs = np.unique(np.stack([alphas.ravel(), betas.ravel()], axis=1), axis=0)
    for one_alpha, one_beta in pairs.tolist():
        check_parameters(one_alpha, one_beta)
        chosen = (alphas == one_alpha) & (betas == one_beta)
        shift = s1_shift(one_alpha, one_beta) if parametrization == "S1" else 0.0
        result[chosen] = function(points[chosen] - shift, one_alpha, one_beta)
    return result


def _cdf(x: Array, alpha: float, beta: float) -> Array:
    """S0 distribution function; the table does not reach into one-sided tails."""
    if x.size <= _FEW or alpha == 2.0 or abs(beta) > 0.9:
        return exact_cdf(x, alpha, beta)
    return lower_tail(x, alpha, beta)


def _logpdf(x: Array, alpha: float, beta: float) -> Array:
    """S0 log-density from the table where it is exact, else from quadrature."""
    if alpha == 2.0:
        return exact_logpdf(x, alpha, beta)
    y = x + centre(alpha)[0] * beta
    value = jet(y, alpha, beta).value
    # Relative to its envelope f is small only in a one-sided tail, where the table's absolute error shows.
    envelope = math.log(2 - alpha) - (1 + alpha) / 2 * np.log1p(y * y)
    light = value - envelope < math.log(0.02)
    if light.any():
        value[light] = exact_logpdf(x[light], alpha, beta)
    return value
