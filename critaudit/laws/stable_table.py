"""Stable log-densities and their derivatives from the packaged table: exact to 2e-6 in microseconds per point.

The table holds the smooth part Q of f = f_Gauss + (2−α)(1+y²)^{−(1+α)/2} Q(u; α, β), u = asinh(y/0.3), as
Chebyshev(α) × Chebyshev(β) × quintic B-spline(u). Q stays smooth through α = 1, α → 2 and in the tails, where f alone
is singular or spans thirty decades. It is made by `python -m critaudit.laws.build_stable_table`.

The coordinate y is "centred": y = x₀ + c(α)β with x₀ in Nolan's S0 form. The shift c keeps the peak in place when β
changes, so that a few terms in β suffice, and it decorrelates location and skewness in a fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TABLE_NAME = "stable_table.npz"
WIDTH = 0.3  # u = asinh(y / WIDTH)
STEP = 0.05  # knots in u
KNOTS = 440  # knots at u = 0, STEP, …; the other half follows from f(y; β) = f(−y; −β)
LEADING = (8, 6)  # low-order terms are stored twice as precisely

# Derivatives by (α, β) that a jet of order 0, 1 or 2 needs.
_MIXED = (((0, 0),), ((0, 0), (1, 0), (0, 1)), ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)))
# Rows: powers of the position in an interval; columns: the six cardinal B-splines that reach it, times 1/120.
_QUINTIC = (
    np.array(
        [
            [1, 26, 66, 26, 1, 0],
            [-5, -50, 0, 50, 5, 0],
            [10, 20, -60, 20, 10, 0],
            [-10, 20, 0, -20, 10, 0],
            [5, -20, 30, -20, 5, 0],
            [-1, 5, -10, 10, -5, 1],
        ],
        dtype=np.float64,
    )
    / 120
)


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """Coefficients for low ≤ α ≤ high, shape (order in α, KNOTS, order in β)."""

    low: float
    high: float
    coefficients: Array


@dataclass(frozen=True, slots=True, eq=False)
class Starts:
    """Quantile statistics per α that start a fit (McCulloch 1986): at β = 0 the ratio (q95−q05)/(q75−q25) and the
    quartile distance; at β = 1 the asymmetry (q95+q05−2·q50)/(q95−q05) and the median in the centred coordinate."""

    alpha: Array
    ratio: Array
    quartiles: Array
    asymmetry: Array
    median: Array


@dataclass(frozen=True, slots=True, eq=False)
class Jet:
    """log f and its derivatives at the points y; `gradient` by (α, β, y), `hessian` by the same, where asked for."""

    value: Array
    gradient: tuple[Array, Array, Array] | None = None
    hessian: dict[str, Array] | None = None


def centre(alpha: float) -> tuple[float, float]:
    """The shift c(α) of the centred coordinate y = x₀ + c(α)β, and its derivative.

    c = cot(π(α−1)/2)(e^{(α−1)L/α} − 1) cancels the skewness phase of the characteristic function where its modulus has
    fallen to e^{−M}, M = e^L; L was chosen so that the Chebyshev series in β converges fastest.
    """
    step = 1e-5
    return _shift(alpha), (_shift(alpha + step) - _shift(alpha - step)) / (2 * step)


def _shift(alpha: float) -> float:
    distance = alpha - 1.0
    reach = 1.4 + 0.27 / alpha**2
    if abs(distance) < 1e-10:
        return 2 / math.pi * reach
    return math.expm1(distance / alpha * reach) / math.tan(math.pi * distance / 2)


@lru_cache(maxsize=1)
def _load() -> tuple[tuple[Tile, ...], Starts]:
    with resources.files("critaudit.laws").joinpath(TABLE_NAME).open("rb") as stream, np.load(stream) as stored:
        tiles = []
        for index, (low, high) in enumerate(stored["ranges"]):
            coefficients = stored[f"coefficients_{index}"].astype(np.float64)
            coefficients[: LEADING[0], : LEADING[1]] += stored[f"corrections_{index}"]
            tiles.append(Tile(float(low), float(high), np.ascontiguousarray(coefficients.transpose(0, 2, 1))))
        return tuple(tiles), Starts(*stored["starts"])


def tiles() -> tuple[Tile, ...]:
    """The tiles in ascending order of α."""
    return _load()[0]


def starts() -> Starts:
    """The quantile statistics."""
    return _load()[1]


def jet(y: Array, alpha: float, beta: float, order: int = 0) -> Jet:
    """log f at the centred, standardised points `y` (1-D), with derivatives up to `order` (0, 1 or 2).

    Valid for 0.5 ≤ α < 2, −1 ≤ β ≤ 1. The error of log f is below 2e-6 for α ≥ 0.9 and |β| ≤ 0.9, 1e-4 otherwise, and
    larger in the light tail of |β| → 1, where f is floored at 1e-6 of its envelope.
    Oracle: critaudit.laws.stable_density; derivatives: finite differences.
    """
    u = np.arcsinh(y / WIDTH) / STEP
    limit = KNOTS - 4.0
    np.clip(u, -limit, limit - 1e-9, out=u)
    # Only the knots that the points reach: a tenth of them where tails are light.
    reached = min(KNOTS, int(max(u.max(initial=0.0), -u.min(initial=0.0))) + 6)
    pieces = _pieces(alpha, beta, order, reached)
    u += reached - 1
    index = u.astype(np.intp)
    u -= index
    return _assemble(y, alpha, np.take(pieces, index, axis=2), u, order)


def away_from_gaussian(y: Array) -> tuple[Array, Array]:
    """d ln f/d(2 − α) at α = 2 and β = 0, and its derivative by β, in which it is linear, at the points `y`.

    Grows as e^{y²/4}; infinite where that is beyond float64.
    """
    limit = KNOTS - 4.0
    u = np.clip(np.arcsinh(y / WIDTH) / STEP, -limit, limit - 1e-9) + (KNOTS - 1)
    index = u.astype(np.intp)
    values = _horner(np.take(_gaussian_pieces(), index, axis=2), u - index)
    with np.errstate(over="ignore"):
        weight = math.sqrt(4 * math.pi) * np.exp(np.square(y) / 4 - 1.5 * np.log1p(np.square(y)))
        return weight * values[0], weight * values[2]


@lru_cache(maxsize=1)
def _gaussian_pieces() -> Array:
    return _pieces(2.0, 0.0, 1, KNOTS)


def _pieces(alpha: float, beta: float, order: int, knots: int) -> Array:
    """Polynomial coefficients per interval between ±`knots`, shape (6 powers, derivatives, intervals)."""
    # The last tile that starts at or below α; its lower end has a margin against the ends of the Chebyshev interval.
    tile = next(
        (tile for tile in reversed(tiles()) if alpha >= tile.low + (0.02 if tile.low > 0.5 else 0.0)), tiles()[0]
    )
    scale = 2 / (tile.high - tile.low)
    count_alpha, _, count_beta = tile.coefficients.shape
    in_alpha = _chebyshev((alpha - tile.low) * scale - 1, count_alpha, order, scale)
    in_beta = _chebyshev(beta, count_beta, order, 1.0)
    flat = tile.coefficients.reshape(count_alpha, -1)[:, : knots * count_beta]
    # For β and for −β at once, whose odd terms have the other sign: the law and its mirror image.
    both = np.concatenate([in_beta, in_beta])
    both[order + 1 :, 1::2] *= -1.0
    found = ((in_alpha @ flat).reshape(-1, count_beta) @ both.T).reshape(order + 1, knots, 2 * order + 2)
    above, below = found[:, :, : order + 1], found[:, :, order + 1 :]
    # Knots from −knots−1 to knots+2 (ends repeated): interval k is reached by the splines centred at k−2 … k+3.
    padded = np.empty((len(_MIXED[order]), 2 * knots + 4))
    for row, (by_alpha, by_beta) in zip(padded, _MIXED[order], strict=True):
        row[knots + 1 : -3] = above[by_alpha, :, by_beta]
        row[2 : knots + 1] = below[by_alpha, :0:-1, by_beta]
        row[:2], row[-3:] = row[2], row[-4]
    reached = np.empty((6, len(padded), padded.shape[1] - 5))
    for shift in range(6):
        reached[shift] = padded[:, shift : shift + reached.shape[2]]
    pieces: Array = (_QUINTIC @ reached.reshape(6, -1)).reshape(reached.shape)
    return pieces


def _chebyshev(x: float, count: int, order: int, scale: float) -> Array:
    """T_k and its derivatives up to `order`, shape (order + 1, count); `scale` is dx by the variable."""
    angle = math.acos(min(1.0, max(-1.0, x)))
    table = np.empty((order + 1, count))
    np.cos(angle * np.arange(count), out=table[0])
    for level in range(1, order + 1):
        table[level] = scale * (_derivative(count) @ table[level - 1])
    return table


@lru_cache(maxsize=8)
def _derivative(count: int) -> Array:
    """T_k′ = Σ_j D_kj T_j: 2k for all smaller j of the other parity, and k for j = 0."""
    k, j = np.indices((count, count))
    matrix: Array = np.where((j < k) & ((k - j) % 2 == 1), 2.0 * k, 0.0)
    matrix[:, 0] /= 2.0
    return matrix


def _assemble(y: Array, alpha: float, pieces: Array, t: Array, order: int) -> Jet:
    """f and its derivatives out of the spline pieces (6, derivatives, points) at the positions t in [0, 1)."""
    distance = 2.0 - alpha
    square = y * y
    log_envelope = np.log1p(square)
    envelope = np.exp(-(1 + alpha) / 2 * log_envelope)
    gauss = np.exp(-square / 4) / math.sqrt(4 * math.pi)
    values = _horner(pieces, t)
    q = values[0]
    f = np.maximum(gauss + distance * envelope * q, 1e-6 * distance * envelope + 1e-300)
    if order == 0:
        return Jet(np.log(f))
    # Derivatives of R = envelope · Q; every one carries the factor `weight` = envelope / f.
    weight = envelope / f
    u_y = 1 / np.sqrt(square + WIDTH**2)
    fall = (1 + alpha) * y / (1 + square)
    slopes = _horner_slope(pieces[:, : 3 if order == 2 else 1], t) / STEP * u_y
    half_log = log_envelope / 2
    r, r_alpha, r_beta = q, values[1] - half_log * q, values[2]
    r_y = slopes[0] - fall * q
    gauss_y = -y / 2 * gauss / f
    by_alpha = weight * (distance * r_alpha - r)
    by_beta = weight * distance * r_beta
    by_y = gauss_y + weight * distance * r_y
    if order == 1:
        return Jet(np.log(f), (by_alpha, by_beta, by_y))
    r_beta_alpha = values[4] - half_log * values[2]
    r_alpha_alpha = values[3] - log_envelope * values[1] + half_log**2 * q
    r_alpha_y = slopes[1] - fall * values[1] - half_log * r_y - y / (1 + square) * q
    r_beta_y = slopes[2] - fall * values[2]
    bend = _horner_bend(pieces[:, 0], t) / STEP**2 * u_y**2 - slopes[0] * y * u_y**2
    fall_slope = (1 + alpha) * (1 - square) / (1 + square) ** 2
    r_y_y = (fall**2 - fall_slope) * q - 2 * fall * slopes[0] + bend
    hessian = {
        "aa": weight * (distance * r_alpha_alpha - 2 * r_alpha) - by_alpha**2,
        "ab": weight * (distance * r_beta_alpha - r_beta) - by_alpha * by_beta,
        "bb": weight * distance * values[5] - by_beta**2,
        "ay": weight * (distance * r_alpha_y - r_y) - by_alpha * by_y,
        "by": weight * distance * r_beta_y - by_beta * by_y,
        "yy": (square / 4 - 0.5) * gauss / f + weight * distance * r_y_y - by_y**2,
    }
    return Jet(np.log(f), (by_alpha, by_beta, by_y), hessian)


def _horner(pieces: Array, t: Array) -> Array:
    total: Array = pieces[5] * t
    for power in (4, 3, 2, 1):
        total += pieces[power]
        total *= t
    total += pieces[0]
    return total


def _horner_slope(pieces: Array, t: Array) -> Array:
    total: Array = 5 * pieces[5] * t
    for power in (4, 3, 2):
        total += power * pieces[power]
        total *= t
    total += pieces[1]
    return total


def _horner_bend(pieces: Array, t: Array) -> Array:
    bend: Array = 2 * pieces[2] + t * (6 * pieces[3] + t * (12 * pieces[4] + t * 20 * pieces[5]))
    return bend
