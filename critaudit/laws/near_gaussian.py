"""Stable laws next to the Gaussian, in first order of 2 − α: where their likelihood has its maximum and how it falls.

There the density is the Gaussian's times 1 + (2 − α)(h₀ + β·h₁), so that a curve over α costs microseconds. It gives
the climb of the exact likelihood its start, and the profile over α its first guess.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from critaudit.laws.stable_likelihood import CHI_SQUARE_95, LOWEST, Sample
from critaudit.laws.stable_table import away_from_gaussian

Array = NDArray[np.float64]

_BETAS = np.array([-1.0, 0.0, 1.0])


@dataclass(frozen=True, slots=True, eq=False)
class NearGaussian:
    """The first-order log-likelihood of a sample around the Gaussian that has its mean and variance.

    `growth` is h₀ + β·h₁ at the points `y` (in units of the scale σ = √(variance/2)) for three β, `slopes` its
    derivative by y. `highest` is the largest η = ln(2 − α) for which the first order is a density.
    """

    y: Array
    weights: Array
    growth: Array
    slopes: Array
    total: float
    highest: float
    mean: float
    log_scale: float

    def gains(self, eta: float) -> Array:
        """Log-likelihood above the Gaussian's for each β; location and scale follow by one step of scoring."""
        distance = math.exp(eta)
        density = 1 + distance * self.growth
        pulls = distance * self.slopes / density
        followed = np.square(pulls @ self.weights) + np.square(pulls @ (self.weights * self.y)) / 4
        gained: Array = np.log(density) @ self.weights + followed / self.total
        return gained

    def peak(self) -> Array:
        """θ = (η, β, location, ln scale) about where the likelihood is largest; at the lowest η for the Gaussian."""
        etas = np.linspace(LOWEST[0] + 2, self.highest, 24)
        gains = np.array([self.gains(eta) for eta in etas])
        best, beta = np.unravel_index(np.argmax(gains), gains.shape)
        return self._theta(float(etas[best]), float(_BETAS[beta]))

    def bound(self) -> Array:
        """θ about where twice the profile has fallen by 3.84 below the Gaussian's."""

        def excess(eta: float) -> float:
            return float(self.gains(eta).max()) + CHI_SQUARE_95 / 2

        low = float(LOWEST[0])
        if not excess(low) > 0 > excess(self.highest):
            return self._theta(self.highest, 0.0)
        eta = float(brentq(excess, low, self.highest, xtol=0.01))
        return self._theta(eta, float(_BETAS[np.argmax(self.gains(eta))]))

    def _theta(self, eta: float, beta: float) -> Array:
        return np.array([eta, beta, self.mean, self.log_scale])


def near_gaussian(sample: Sample, mean: float, variance: float) -> NearGaussian:
    """The first order around the Gaussian that has the sample's mean and variance."""
    log_scale = math.log(variance / 2) / 2
    y = (sample.points - mean) * math.exp(-log_scale)
    even, odd = away_from_gaussian(y)
    # Beyond, the Gaussian is 0 in float64, and no first order of it helps.
    finite = np.isfinite(even)
    y = y[finite]
    growth = even[finite] + _BETAS[:, np.newaxis] * odd[finite]
    highest = math.log(min(0.5, 0.9 / max(-float(growth.min()), 1e-300)))
    slopes = np.gradient(growth, y, axis=1)
    return NearGaussian(y, sample.weights[finite], growth, slopes, sample.total, highest, mean, log_scale)
