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
_HIGHEST = math.log(0.5)  # η beyond which nothing is of first order
_LEAST = 0.05  # of the Gaussian's density, below which the first order says nothing
_STEP = 1e-3
_FARTHEST = 30.0  # beyond, the Gaussian is less than 1e-98 of any stable law


@dataclass(frozen=True, slots=True, eq=False)
class NearGaussian:
    """The first-order log-likelihood of a sample around the Gaussian that has its mean and variance.

    `growth` is h₀ + β·h₁ at the points `y` (in units of the scale σ = √(variance/2)) for three β, `slopes` its
    derivative by y.
    """

    y: Array
    weights: Array
    growth: Array
    slopes: Array
    total: float
    mean: float
    log_scale: float

    def gains(self, etas: Array | float) -> Array:
        """Log-likelihood above the Gaussian's for each η and β; location and scale follow by one step of scoring.

        −∞ where the first order is no density any more.
        """
        distance = np.exp(np.asarray(etas))[..., np.newaxis, np.newaxis]
        density = 1 + distance * self.growth
        valid = density.min(axis=-1) > _LEAST
        density = np.where(valid[..., np.newaxis], density, 1.0)
        pulls = distance * self.slopes / density
        followed = np.square(pulls @ self.weights) + np.square(pulls @ (self.weights * self.y)) / 4
        gained: Array = np.where(valid, np.log(density) @ self.weights + followed / self.total, -math.inf)
        return gained

    def peak(self) -> Array:
        """θ = (η, β, location, ln scale) about where the likelihood is largest; at the lowest η for the Gaussian."""
        etas = np.linspace(LOWEST[0] + 2, _HIGHEST, 24)
        gains = self.gains(etas)
        best, beta = np.unravel_index(np.argmax(gains), gains.shape)
        return self._theta(float(etas[best]), float(_BETAS[beta]))

    def bound(self) -> Array:
        """θ about where twice the profile has fallen by 3.84 below the Gaussian's."""

        def excess(eta: float) -> float:
            return max(float(self.gains(eta).max()), -1e3) + CHI_SQUARE_95 / 2

        low = float(LOWEST[0])
        if not excess(low) > 0 > excess(_HIGHEST):
            return self._theta(_HIGHEST, 0.0)
        eta = float(brentq(excess, low, _HIGHEST, xtol=0.01))
        return self._theta(eta, float(_BETAS[np.argmax(self.gains(eta))]))

    def _theta(self, eta: float, beta: float) -> Array:
        return np.array([eta, beta, self.mean, self.log_scale])


def near_gaussian(sample: Sample, mean: float, variance: float) -> NearGaussian:
    """The first order around the Gaussian that has the sample's mean and variance."""
    log_scale = math.log(variance / 2) / 2
    y = (sample.points - mean) * math.exp(-log_scale)
    left, growth, right = (_growths(y + shift) for shift in (-_STEP, 0.0, _STEP))
    slopes = (right - left) / (2 * _STEP)
    return NearGaussian(y, sample.weights, growth, slopes, sample.total, mean, log_scale)


def _growths(y: Array) -> Array:
    """h₀ + β·h₁ for each β."""
    even, odd = away_from_gaussian(np.clip(y, -_FARTHEST, _FARTHEST))
    growths: Array = even + _BETAS[:, np.newaxis] * odd
    return growths
