"""Stable densities and tail probabilities by quadrature: the slow, exact reference behind the packaged table.

Everything is in Nolan's S0 form with scale 1 and location 0, which is continuous in all parameters. Two formulas share
the work, each free of cancellation where it is used, so that the *relative* accuracy is about 1e-9 from the centre to
|x| ~ 1e8 and down to densities of 1e-300:

- α > 0.95: the Fourier integral along −is (where only the tail part, proportional to (1+β) sin(πα/2), contributes) and
  then parallel to the real axis through the saddle point (where the Gaussian or one-sided part contributes).
- α ≤ 0.95: Zolotarev's integral of a positive function (Nolan 1997, Theorem 1), in the log-odds of the angle.

Valid for 0.5 ≤ α ≤ 2 and −1 ≤ β ≤ 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from critaudit.errors import UsageError

Array = NDArray[np.float64]

_CONTOUR_ABOVE = 0.95
_CHUNK = 256
_NODES, _WEIGHTS = (np.asarray(part) for part in np.polynomial.legendre.leggauss(16))


def exact_logpdf(x: ArrayLike, alpha: float, beta: float = 0.0) -> Array:
    """Log-density of S0(α, β, 1, 0) at `x` (any shape), −inf outside the support.

    Oracle: the convergent and asymptotic series, the closed Gauss, Cauchy and Lévy laws.
    Raises UsageError where α is outside [0.5, 2] or β outside [−1, 1].
    """
    check_parameters(alpha, beta)
    return _by_side(x, alpha, beta, density=True)


def exact_cdf(x: ArrayLike, alpha: float, beta: float = 0.0) -> Array:
    """P(X ≤ x) of S0(α, β, 1, 0), relatively accurate in the lower tail; `exact_cdf(-x, alpha, -beta)` is P(X > x).

    Raises UsageError where α is outside [0.5, 2] or β outside [−1, 1].
    """
    check_parameters(alpha, beta)
    flat = np.asarray(x, dtype=np.float64)
    return _by_side(-flat, alpha, -beta, density=False)


def check_parameters(alpha: float, beta: float) -> None:
    """Raise UsageError where no law with these parameters is covered."""
    if not 0.5 <= alpha <= 2.0:
        raise UsageError(f"alpha = {alpha} is outside [0.5, 2]; give a stability index in this range")
    if not -1.0 <= beta <= 1.0:
        raise UsageError(f"beta = {beta} is outside [-1, 1]; give a skewness in this range")


def s1_shift(alpha: float, beta: float) -> float:
    """x₁ − x₀ for scale 1: β tan(πα/2), and 0 at α = 1 where the two forms agree (Nolan 1997)."""
    if alpha == 1.0 or beta == 0.0:
        return 0.0
    return beta * math.tan(math.pi * alpha / 2)


def _by_side(x: ArrayLike, alpha: float, beta: float, *, density: bool) -> Array:
    """Evaluate on the side of the axis where the integrals are tame; f(x; β) = f(−x; −β)."""
    flat = np.asarray(x, dtype=np.float64)
    points = flat.ravel()
    zolotarev = alpha <= _CONTOUR_ABOVE
    # Zolotarev's integral has its own origin; the contour wants x ≥ 0 as it is.
    measured_from = points + s1_shift(alpha, beta) if zolotarev else points
    method = _zolotarev if zolotarev else _contour
    result = np.full(points.shape, np.nan)
    for sign in (1.0, -1.0):
        side = measured_from >= 0 if sign > 0 else measured_from < 0
        if side.any():
            values = _in_chunks(method, sign * measured_from[side], alpha, sign * beta, density)
            # Where the axis was reflected, the tail probability that came back is the lower one.
            result[side] = values if density or sign > 0 else 1.0 - values
    return result.reshape(flat.shape)


def _in_chunks(
    method: Callable[[Array, float, float, bool], Array], x: Array, alpha: float, beta: float, density: bool
) -> Array:
    """Apply `method` to sorted chunks, so that points of one chunk need similar quadratures."""
    order = np.argsort(x)
    result = np.empty_like(x)
    for start in range(0, x.size, _CHUNK):
        part = order[start : start + _CHUNK]
        with np.errstate(over="ignore", under="ignore", divide="ignore"):
            result[part] = method(x[part], alpha, beta, density)
    return result


# --- the contour: down the imaginary axis, then parallel to the real one ---------------------------------------------


def _exponent(z: NDArray[np.complex128], x: Array, alpha: float, beta: float) -> NDArray[np.complex128]:
    """log of the characteristic function's conjugate times exp(−ixz), continued to complex z (S0)."""
    log_z = np.log(z)
    return -np.exp(alpha * log_z) - 1j * (beta * z * _skew(log_z, alpha) + x * z)


def _expm1(z: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """NumPy types it for reals only."""
    result: NDArray[np.complex128] = np.asarray(np.expm1(z), dtype=np.complex128)
    return result


def _skew(log_z: NDArray[np.complex128], alpha: float) -> NDArray[np.complex128]:
    """tan(πα/2)(1 − z^{α−1}), smooth through α = 1 where it is (2/π) log z."""
    distance = alpha - 1.0
    if abs(distance) < 1e-12:
        return 2 / math.pi * log_z
    return _expm1(distance * log_z) / math.tan(math.pi * distance / 2)


def _contour(x: Array, alpha: float, beta: float, density: bool) -> Array:
    """Log-density or upper tail probability for x ≥ 0 and α > 0.95."""
    if alpha == 2.0:
        return -(x**2) / 4 - math.log(4 * math.pi) / 2 if density else ndtr(-x / math.sqrt(2))
    depth, level = _turning_point(x, alpha, beta)
    tail = _down_the_axis(x, depth, alpha, beta, density)
    needed = (tail <= 0) | (level + 12 > np.log(np.maximum(tail, 1e-320)) - 40)
    hopeless = (tail <= 0) & (level < -700)
    needed &= ~hopeless
    rest = np.zeros_like(x)
    if needed.any():
        rest[needed] = _parallel(x[needed], depth[needed], level[needed], alpha, beta, density)
    total = tail + rest * np.exp(level)
    if not density:
        return np.clip(total, 0.0, 1.0)
    with np.errstate(invalid="ignore"):
        result = np.where(total > 1e-290, np.log(np.maximum(total, 1e-300)), level + np.log(rest))
    if hopeless.any():
        result[hopeless] = _saddle_level(x[hopeless], alpha, beta)
    return result


def _imaginary_axis(s: Array, x: Array, alpha: float, beta: float) -> tuple[Array, Array]:
    """Real and imaginary part of the exponent at z = −is, each without cancellation."""
    half = math.pi * alpha / 2
    distance = alpha - 1.0
    power = s**alpha
    if abs(distance) < 1e-12:
        skew = 2 / math.pi * s * np.log(s)
    else:
        # tan(πα/2)(s − s^α sin(πα/2)) = −cot(πε/2) s (1 − e^{ε log s} cos(πε/2)),  ε = α − 1
        inner = (
            np.expm1(distance * np.log(s)) - 2 * np.exp(distance * np.log(s)) * math.sin(math.pi * distance / 4) ** 2
        )
        skew = s * inner / math.tan(math.pi * distance / 2)
    # sin(πα/2) as sin(π(2−α)/2), so that it vanishes with 2 − α exactly.
    return -x * s - power * math.cos(half) - beta * skew, (1 + beta) * math.sin(math.pi * (2 - alpha) / 2) * power


def _turning_point(x: Array, alpha: float, beta: float) -> tuple[Array, Array]:
    """Depth S where the contour leaves the axis (near the saddle, before the tail oscillates), and Re E(−iS)."""
    growth = (1 + beta) * math.sin(math.pi * (2 - alpha) / 2)
    deepest = min(2500.0, (3 * math.pi / growth) ** (1 / alpha)) if growth > 1e-12 else 2500.0
    grid = np.geomspace(0.02, deepest, 500)
    real, _ = _imaginary_axis(grid[None, :], x[:, None], alpha, beta)
    best = np.argmin(real, axis=1)
    return grid[best], real[np.arange(x.size), best]


def _saddle_level(x: Array, alpha: float, beta: float) -> Array:
    """Leading term of the log-density in a light tail (β = −1) below e^−700; −inf beyond the end of the support."""
    low, high = np.full(x.shape, math.log(0.02)), np.full(x.shape, 340.0)
    for _ in range(4):
        steps = np.linspace(low, high, 400)
        real, _ = _imaginary_axis(np.exp(steps), x[None, :], alpha, beta)
        best = np.argmin(real, axis=0)
        low, high = (steps[np.clip(best + shift, 0, 399), np.arange(x.size)] for shift in (-1, 1))
    outside = (alpha < 1) & (x >= -s1_shift(alpha, beta))
    return np.where(outside, -np.inf, real[best, np.arange(x.size)])


def _down_the_axis(x: Array, depth: Array, alpha: float, beta: float, density: bool) -> Array:
    """(1/π) ∫₀^S e^{Re E} sin(Im E) ds, over s for the tail probability; graded towards 0."""
    end = np.minimum(depth, 100 / np.maximum(x, 1e-300))
    power = 1 + alpha if density else alpha
    panels = math.ceil(42 / power / 0.4)
    grid, weights = _panels(panels, 0.4 * panels)
    s = end[:, None] * np.exp(-grid)[None, :]
    real, imaginary = _imaginary_axis(s, x[:, None], alpha, beta)
    integrand = np.exp(real) * np.sin(imaginary)
    if density:
        integrand = integrand * s
    return integrand @ weights / math.pi


def _parallel(x: Array, depth: Array, level: Array, alpha: float, beta: float, density: bool) -> Array:
    """(1/π) Re ∫₀^∞ exp(E(t − iS) − Re E(−iS)) dt, divided by iz for the tail probability."""
    reach_grid = np.geomspace(1e-3, 4000.0, 400)
    z = reach_grid[None, :] - 1j * depth[:, None]
    exponent = _exponent(z, x[:, None], alpha, beta)
    alive = exponent.real - level[:, None] > -42
    last = np.minimum(alive.shape[1] - 1, alive.shape[1] - np.argmax(alive[:, ::-1], axis=1))
    reach = reach_grid[last]
    # A graded map keeps resolution near t = 0, where the branch point is only S away.
    stretch = np.log1p(reach / np.minimum(depth, reach))
    phase = np.abs(exponent.imag[np.arange(x.size), last]) + x * reach
    panels = 24 + math.ceil(float(np.max(stretch * phase)) / 6)
    grid, weights = _panels(panels, 1.0)
    scale = reach / np.expm1(stretch)
    t = scale[:, None] * np.expm1(stretch[:, None] * grid[None, :])
    slope = scale[:, None] * stretch[:, None] * np.exp(stretch[:, None] * grid[None, :])
    z = t - 1j * depth[:, None]
    integrand = np.exp(_exponent(z, x[:, None], alpha, beta) - level[:, None]) * slope
    if not density:
        integrand = integrand / (1j * z)
    integral: Array = integrand.real @ weights / math.pi
    return integral


def _panels(count: int, length: float) -> tuple[Array, Array]:
    """Composite Gauss–Legendre nodes and weights on [0, length]."""
    width = length / count
    starts = np.arange(count) * width
    nodes = (starts[:, None] + width * (_NODES[None, :] + 1) / 2).ravel()
    return nodes, np.tile(_WEIGHTS * width / 2, count)


# --- Zolotarev's integral ---------------------------------------------------------------------------------------------


def _zolotarev(x: Array, alpha: float, beta: float, density: bool) -> Array:
    """Log-density or upper tail probability for x ≥ 0 in S1 coordinates and α < 1 (Nolan 1997, Theorem 1)."""
    theta = math.atan(beta * math.tan(math.pi * alpha / 2)) / alpha
    width = math.pi / 2 + theta
    result = np.full(x.shape, -np.inf if density else 0.0)
    at_origin = x <= 1e-200
    if density:
        peak = math.lgamma(1 + 1 / alpha) - math.log(math.pi) + math.log(max(math.cos(theta), 1e-300))
        peak += math.log(math.cos(alpha * theta)) / alpha
        result[at_origin] = peak if abs(beta) < 1 else -np.inf
    else:
        result[at_origin] = width / math.pi
    inside = ~at_origin
    if width < 1e-14 or not inside.any():
        return result
    log_x = np.log(x[inside])[:, None]

    def log_g(odds: Array) -> Array:
        return alpha / (alpha - 1) * log_x + _log_v(odds, alpha, theta, width)

    middle = _solve(log_g, 0.0, log_x.shape)
    # Beyond g = e⁵ the integrand is gone; below, it falls like g times the width of the angle that is left.
    upper = _solve(log_g, 5.0, log_x.shape)
    lower = np.maximum(_solve(log_g, -40.0, log_x.shape), np.minimum(middle, 0.0) - 42.0)
    if not density:
        upper = np.full_like(upper, 42.0) + np.maximum(middle, 0.0)
    grid, weights = _panels(64 if density else 400, 1.0)
    odds = lower + (upper - lower) * grid[None, :]
    log_g_values = log_g(odds)
    # dθ = width · p(1 − p) d(odds), with the logistic p and its complement both kept.
    log_slope = math.log(width) - np.logaddexp(0, odds) - np.logaddexp(0, -odds)
    if density:
        # Scaled by the largest term: one-sided laws fall below the smallest double.
        log_integrand = log_g_values - np.exp(np.minimum(log_g_values, 700.0)) + log_slope
        largest = log_integrand.max(axis=1, keepdims=True)
        total = np.exp(log_integrand - largest) @ weights * (upper - lower)[:, 0]
        factor = math.log(alpha / (math.pi * (1 - alpha)))
        result[inside] = np.log(total) + largest[:, 0] + factor - log_x[:, 0]
    else:
        integrand = -np.expm1(-np.exp(np.minimum(log_g_values, 700.0))) * np.exp(log_slope)
        result[inside] = integrand @ weights * (upper - lower)[:, 0] / math.pi
    return result


def _log_v(odds: Array, alpha: float, theta: float, width: float) -> Array:
    """log V(θ) at θ = −θ₀ + width · logistic(odds); increasing in `odds` for α < 1."""
    share = np.exp(-np.logaddexp(0, -odds))
    from_end = np.exp(-np.logaddexp(0, odds)) * width
    from_start = share * width
    log_cos = np.log(np.sin(from_end))
    log_sin = np.log(np.sin(alpha * from_start))
    # cos(αθ₀ + (α−1)θ) as the sine of two terms of one sign
    log_last = np.log(np.sin((math.pi - width) + (1 - alpha) * from_start))
    constant = math.log(math.cos(alpha * theta)) / (alpha - 1)
    return constant + alpha / (alpha - 1) * (log_cos - log_sin) + log_last - log_cos


def _solve(function: Callable[[Array], Array], target: float, shape: tuple[int, ...]) -> Array:
    """Bisection for an increasing function of the log-odds."""
    low, high = np.full(shape, -700.0), np.full(shape, 700.0)
    for _ in range(60):
        middle = (low + high) / 2
        above = function(middle) > target
        high = np.where(above, middle, high)
        low = np.where(above, low, middle)
    root: Array = (low + high) / 2
    return root
