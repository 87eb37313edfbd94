"""Fresh-weight Gaussian networks as a Markov chain of single numbers: no weights, no pre-activations.

Given ⟨φ²⟩ of one layer, the pre-activations of the next are independent N(0, V) with V = σ_w²⟨φ²⟩ + σ_b². So its
strength is √(V·χ²_N/N), and ⟨φ²⟩ given the strength has the law of `microcanonical`. Both are drawn through tables.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from critaudit.dynamics.avalanches.microcanonical import HIGHEST, STRATA, ratio_law
from critaudit.dynamics.avalanches.quenched import Recipe
from critaudit.dynamics.avalanches.tracking import LARGEST, Floats
from critaudit.theory.quadrature import Array

# 16,384 float32 are 64 KB: a dozen such arrays stay in a core's cache.
SLOTS = 16384
# ln s between neighbouring rows of the table; linear interpolation is then good to 1e-5.
_STEP = 0.01
_SMALLEST, _LARGEST = np.float32(1e-30), np.float32(LARGEST)


class Chain:
    """Steps of the chain; the state is √V of the layer to come (see `conveyor.Steps`)."""

    slots = SLOTS

    def __init__(self, table: Table, rng: np.random.Generator) -> None:
        self._table, self._rng = table, rng

    def start(self, count: int) -> Floats:
        """√(σ_w²s₀² + σ_b²): an input of strength exactly s₀ enters the first layer as it is."""
        return np.full(count, self._table.first, np.float32)

    def strength(self, state: Floats) -> Floats:
        """√V·√(χ²_N/N), the root of the chi-square quantile as a polynomial in a normal number."""
        z = self._rng.standard_normal(state.size, dtype=np.float32)
        root = np.full(state.size, self._table.quantile[0], np.float32)
        for coefficient in self._table.quantile[1:]:
            root *= z
            root += coefficient
        root *= state
        return np.clip(root, _SMALLEST, _LARGEST, out=root)

    def advance(self, strength: Floats) -> Floats:
        """√(σ_w²⟨φ²⟩ + σ_b²), with ⟨φ²⟩ drawn given s: a random stratum, interpolated in ln s."""
        table = self._table
        place = np.log(strength)
        place -= table.low
        place *= table.per_unit
        np.clip(place, 0.0, table.last, out=place)
        row = place.astype(np.intp)
        place -= row
        if table.strata > 1:
            row *= table.strata
            row += self._rng.integers(0, table.strata, row.size, dtype=np.uint8)
        ratio = table.slopes.take(row)
        ratio *= place
        ratio += table.ratios.take(row)
        ratio *= strength
        return ratio


class Table:
    """√V of the next layer over s of this one, by ln s and stratum, for one ensemble; shared by all its chains.

    `ratios` and `slopes` are flat (rows · strata): value at the row and difference to the next row.
    """

    def __init__(self, recipe: Recipe, *, below_threshold: bool = False) -> None:
        sigma_w, sigma_b, width = recipe.sigma_w, recipe.sigma_b, recipe.width
        self.first = np.float32(math.hypot(sigma_w * recipe.strength, sigma_b))
        self.quantile = root_chi_square(width).astype(np.float32)
        low = math.log(min(recipe.strength, _lowest(sigma_b)) if below_threshold else recipe.strength)
        law = ratio_law(recipe.activation, width, low, _top(recipe), _STEP)
        ratios = law.mean[:, np.newaxis] + law.deviation[:, np.newaxis] * law.strata
        if not law.deviation.any():
            ratios = law.mean[:, np.newaxis]
        added = (sigma_b * np.exp(-law.log_strength)[:, np.newaxis]) ** 2
        roots = np.sqrt(np.maximum(sigma_w**2 * ratios + added, 0.0))
        self.strata = roots.shape[1]
        self.low = np.float32(low)
        self.per_unit = np.float32(1.0 / (law.log_strength[1] - law.log_strength[0]))
        # Just below the last row, so that there is always a next one.
        self.last = np.nextafter(np.float32(roots.shape[0] - 1), np.float32(0.0))
        self.ratios = roots[:-1].astype(np.float32).ravel()
        self.slopes = np.diff(roots, axis=0).astype(np.float32).ravel()


@lru_cache(maxsize=64)
def root_chi_square(width: int) -> Array:
    """√(χ²_N/N) at the quantile of a standard normal number z, as a polynomial (highest power first).

    Least squares over |z| ≤ 6.5; for N ≥ 33 the largest error is 4e-7 times the standard deviation 1/√(2N) or less.
    """
    from scipy.special import gammainccinv, gammaincinv, ndtr

    z = 6.5 * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    half = 0.5 * width
    quantile = np.where(z < 0.0, gammaincinv(half, ndtr(z)), gammainccinv(half, ndtr(-z)))
    fitted = np.polynomial.Chebyshev.fit(z, np.sqrt(quantile / half), 9).convert(kind=np.polynomial.Polynomial)
    coefficients = np.asarray(fitted.coef[::-1], dtype=np.float64)
    coefficients.flags.writeable = False
    return coefficients


def _lowest(sigma_b: float) -> float:
    """A strength below which no path comes, biases keeping it up, or below which activations are straight lines."""
    return 0.3 * sigma_b if sigma_b > 0.0 else 1e-4


def _top(recipe: Recipe) -> float:
    """ln s above which no path comes: eight standard deviations over the largest √V, if φ is bounded."""
    activation, strength, sigma_w, sigma_b = recipe.activation, recipe.strength, recipe.sigma_w, recipe.sigma_b
    if activation.far_slopes != (0.0, 0.0):
        return max(HIGHEST, math.log(strength) + 1.0)
    ends = np.abs(activation.value(np.concatenate([-np.geomspace(1e-3, 1e6, 400), np.geomspace(1e-3, 1e6, 400)])))
    largest = max(math.hypot(sigma_w * float(ends.max()), sigma_b), math.hypot(sigma_w * strength, sigma_b))
    top = math.log(max(largest, strength) * (1.0 + 8.0 / math.sqrt(2.0 * recipe.width)))
    return min(max(top, math.log(strength) + 0.1), max(HIGHEST, math.log(strength) + 1.0))


assert STRATA == 256  # advance() draws the stratum as one byte
