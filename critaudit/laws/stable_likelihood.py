"""The likelihood of weighted points under a stable law, its maximum, and profiles over α.

Parameters are θ = (η, β, ν, s) with α = 2 − e^η, location ν in the centred form of stable_table, scale e^s. The log of
2 − α resolves the neighbourhood of the Gaussian, where the likelihood varies on the scale 1/n. Derivatives by location
are in units of the scale. Maximisation is Newton's method with the absolute eigenvalues of the observed information.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from critaudit.laws.stable_table import away_from_gaussian, jet

Array = NDArray[np.float64]

LOWEST = np.array([math.log(1e-9), -1.0, -1e6, -25.0])
HIGHEST = np.array([math.log(1.5), 1.0, 1e6, 60.0])
_LONGEST_STEP = np.array([1.5, 0.5, 1.0, 0.7])
_NEAR_GAUSSIAN = -5.0  # η below which the Gaussian itself is asked
_CLOSE = 0.1  # a signed root from which one more secant step is exact enough: to about 0.003
CHI_SQUARE_95 = 3.841458820694124


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Points near unit scale with weights; `total` is the sum of the weights."""

    points: Array
    weights: Array
    total: float


@dataclass(frozen=True, slots=True, eq=False)
class Slope:
    """Log-likelihood, gradient, observed information (−Hessian) and scoring matrix (sum of squared scores) at θ."""

    value: float
    gradient: Array
    information: Array
    scoring: Array


def alpha_of(theta: Array) -> float:
    """α = 2 − e^η."""
    return 2.0 - math.exp(float(theta[0]))


def log_likelihood(sample: Sample, theta: Array) -> float:
    """Sum of the weighted log-densities."""
    y = (sample.points - theta[2]) * math.exp(-theta[3])
    return float(sample.weights @ jet(y, alpha_of(theta), float(theta[1])).value - sample.total * theta[3])


def score(sample: Sample, theta: Array) -> tuple[float, Array]:
    """Log-likelihood and its gradient."""
    y = (sample.points - theta[2]) * math.exp(-theta[3])
    found = jet(y, alpha_of(theta), float(theta[1]), order=1)
    assert found.gradient is not None
    sums = np.array([sample.weights @ part for part in found.gradient])
    stretch = sample.weights @ (y * found.gradient[2])
    gradient = np.array([-math.exp(theta[0]) * sums[0], sums[1], -sums[2], -stretch - sample.total])
    return float(sample.weights @ found.value - sample.total * theta[3]), gradient


def slope(sample: Sample, theta: Array) -> Slope:
    """Log-likelihood with first and second derivatives."""
    y = (sample.points - theta[2]) * math.exp(-theta[3])
    found = jet(y, alpha_of(theta), float(theta[1]), order=2)
    assert found.gradient is not None
    assert found.hessian is not None
    distance, h = math.exp(theta[0]), found.hessian
    by_alpha, by_beta, by_y = found.gradient
    scores = np.stack([-distance * by_alpha, by_beta, -by_y, -y * by_y - 1])
    weighted = scores * sample.weights
    # Second derivatives by y times y, and by η, in one product with the weights.
    bend = y * h["yy"]
    parts = [h["aa"], by_alpha, h["ab"], h["ay"], y * h["ay"], h["bb"], h["by"], y * h["by"], h["yy"], bend + by_y]
    aa, a, ab, ay, yay, bb, by, yby, yy, pull = (np.stack(parts) @ sample.weights).tolist()
    stretch = float(sample.weights @ (y * (bend + by_y)))
    rows = (
        (distance * (distance * aa - a), -distance * ab, distance * ay, distance * yay),
        (-distance * ab, bb, -by, -yby),
        (distance * ay, -by, yy, pull),
        (distance * yay, -yby, pull, stretch),
    )
    information = -np.array(rows)
    value = float(sample.weights @ found.value - sample.total * theta[3])
    return Slope(value, weighted.sum(axis=1), information, weighted @ scores.T)


def maximise(
    sample: Sample, theta: Array, *, fixed_alpha: bool = False, tolerance: float = 1e-5, limit: int = 50
) -> tuple[Array, Slope]:
    """Climb from θ to the maximum within the bounds; α stays where `fixed_alpha`.

    Ends when the next step promises less than `tolerance` in log-likelihood.
    """
    here = slope(sample, theta)
    damping, asked = 0.0, False
    for _ in range(limit):
        free = _free(theta, here.gradient, fixed_alpha)
        step, gain = newton_step(here, free, damping)
        if gain < tolerance:
            break
        if not fixed_alpha and not asked and theta[0] < _NEAR_GAUSSIAN and step[0] < 0:
            asked = True
            ended = gaussian_end(sample, theta)
            if ended is not None:
                return ended, slope(sample, ended)
        trial = move(theta, step)
        there = slope(sample, trial)
        if there.value >= here.value - 1e-9 * abs(here.value) * (gain < 1e-3) and np.isfinite(there.value):
            theta, here = trial, there
            damping *= 0.1 if damping > 1e-3 else 0.0
        else:
            damping = max(4 * damping, 0.1)
            if damping > 1e8:
                break
    return theta, here


def gaussian_end(sample: Sample, theta: Array) -> Array | None:
    """The maximum at α = 2 (θ at the lowest η), or None where some law with α < 2 near the Gaussian is likelier.

    For given location and scale the likelihood is concave in 2 − α, and its slope at α = 2 is linear in β: so it is
    enough to ask at β = ±1.
    """
    mean = float(sample.weights @ sample.points) / sample.total
    variance = float(sample.weights @ (sample.points - mean) ** 2) / sample.total
    end = np.array([LOWEST[0], 0.0, mean, math.log(variance / 2) / 2])
    even, odd = away_from_gaussian((sample.points - mean) * math.exp(-end[3]))
    if float(sample.weights @ even) + abs(float(sample.weights @ odd)) > 0:
        return None
    return end if gaussian_likelihood(sample.total, variance) >= log_likelihood(sample, theta) else None


def gaussian_likelihood(total: float, variance: float) -> float:
    """Log-likelihood of `total` entries under the Gaussian that has their own mean and variance."""
    return -total / 2 * (math.log(2 * math.pi * variance) + 1)


def newton_step(here: Slope, free: NDArray[np.bool_], damping: float = 0.0) -> tuple[Array, float]:
    """A step over the free parameters and the gain in log-likelihood that it promises.

    In the units of the scoring matrix's diagonal, eigenvalues of the information enter by their size, so that saddles
    and wrong curvature far from the maximum are climbed out of.
    """
    step = np.zeros(free.size)
    if not free.any():
        return step, 0.0
    information, scoring, gradient = here.information, here.scoring.diagonal(), here.gradient
    if not free.all():
        information, scoring, gradient = information[free][:, free], scoring[free], gradient[free]
    units = 1 / np.sqrt(np.maximum(scoring, 1e-30))
    scaled = information * (units[:, None] * units)
    if not math.isfinite(scaled.sum()):
        scaled = np.nan_to_num(scaled)
    # LAPACK's own routine: NumPy's way to it takes longer than so small a matrix.
    eigenvalues, vectors, _ = lapack.dsyev(scaled)
    along = (units * gradient) @ vectors
    sizes = np.maximum(np.abs(eigenvalues), 1e-4) + damping
    step[free] = units * (vectors @ (along / sizes))
    return step, float(along @ (along / sizes)) / 2


def move(theta: Array, step: Array) -> Array:
    """θ after a step, shortened where it is too bold, within the bounds."""
    longest = _LONGEST_STEP.copy()
    if step[0] < 0:
        # Towards the Gaussian the likelihood is linear in 2 − α = e^η, and overshooting in η is harmless.
        longest[0] += max(0.0, -3.0 - float(theta[0]))
    share = min(1.0, float(np.min(longest / np.maximum(np.abs(step), 1e-300))))
    moved: Array = theta + share * step * np.array([1.0, 1.0, math.exp(theta[3]), 1.0])
    bounded: Array = np.minimum(np.maximum(moved, LOWEST), HIGHEST)
    return bounded


def _free(theta: Array, gradient: Array, fixed_alpha: bool) -> NDArray[np.bool_]:
    """Parameters that are not held by a bound that the gradient presses against."""
    held = ((theta <= LOWEST) & (gradient < 0)) | ((theta >= HIGHEST) & (gradient > 0))
    if fixed_alpha:
        held[0] = True
    free: NDArray[np.bool_] = ~held
    return free


def _profile_direction(peak: Slope) -> Array:
    """How (η, β, ν/scale, s) move along the ridge of the likelihood per unit of η; (1, 0, 0, 0) where it is unclear."""
    direction = np.array([1.0, 0.0, 0.0, 0.0])
    rest = peak.information[1:, 1:]
    if np.all(np.linalg.eigvalsh(rest) > 1e-6 * np.diag(rest).max()):
        direction[1:] = -np.linalg.solve(rest, peak.information[1:, 0])
    return direction


def polish(sample: Sample, theta: Array, near: Slope, rounds: int = 3) -> tuple[Array, float]:
    """Newton steps on a finer sample with the information of a coarser one; returns θ and the log-likelihood."""
    value, gradient = score(sample, theta)
    for _ in range(rounds):
        free = _free(theta, gradient, fixed_alpha=False)
        step, gain = newton_step(Slope(value, gradient, near.information, near.scoring), free)
        if gain < 1e-8:
            break
        trial = move(theta, step)
        there, slope_there = score(sample, trial)
        if there < value:
            break
        theta, value, gradient = trial, there, slope_there
    return theta, value


def profile_bound(sample: Sample, best: Array, peak: Slope, direction: int, first_step: float) -> float:
    """η where twice the profile log-likelihood has fallen by 3.84 below `top`, or the limit of η on that side.

    `direction` is +1 towards small α, −1 towards 2; `peak` is the slope at the maximum `best`. The signed root of the
    fall is nearly linear in η, so a few secant steps inside a bracket do.
    """
    target = math.sqrt(CHI_SQUARE_95)
    along = _profile_direction(peak)
    end = float(HIGHEST[0] if direction > 0 else LOWEST[0])
    inside, root_inside, theta = float(best[0]), 0.0, best
    outside, root_outside = end, math.inf
    eta = inside + direction * first_step
    for _ in range(16):
        eta = min(eta, end) if direction > 0 else max(eta, end)
        ahead = along * (eta - float(theta[0]))
        trial = np.clip(theta + ahead * np.array([1.0, 1.0, math.exp(theta[3]), 1.0]), LOWEST, HIGHEST)
        trial[0] = eta
        trial, there = maximise(sample, trial, fixed_alpha=True, tolerance=0.02, limit=30)
        # The last step is not taken; what it promises is added.
        gain = newton_step(there, _free(trial, there.gradient, fixed_alpha=True))[1]
        root = math.sqrt(max(2 * (peak.value - there.value - (gain if gain < 0.05 else 0.0)), 0.0))
        if root < target:
            if eta == end:
                return end
            inside, root_inside, theta = eta, root, trial
        else:
            outside, root_outside = eta, root
        if math.isinf(root_outside):
            # Not bracketed yet: extrapolate, at least half and at most three times as far again.
            reach = abs(inside - float(best[0]))
            growth = target / max(root, 1e-6) - 1
            if root > target - _CLOSE:
                return float(np.clip(inside + direction * reach * growth, LOWEST[0], HIGHEST[0]))
            eta = inside + direction * reach * min(max(1.05 * growth, 0.02), 3.0)
        else:
            # Near the Gaussian the fall is linear in 2 − α, so the root is in √(2 − α).
            share = min(max((target - root_inside) / (root_outside - root_inside), 0.05), 0.95)
            eta = 2 * math.log((1 - share) * math.exp(inside / 2) + share * math.exp(outside / 2))
        if abs(root - target) < _CLOSE or abs(outside - inside) < 1e-9 * max(1.0, abs(inside)):
            break
    return eta
