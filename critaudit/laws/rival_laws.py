"""Laws that compete with the stable one for the entries: Gaussian, Student-t, generalised normal, two Gaussians.

All have a location and a scale, are symmetric, and are fitted by maximum likelihood on weighted points near unit scale:
Newton's method with exact derivatives, a millisecond or less per law on a few hundred points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, gammaln, polygamma, psi

from critaudit.laws.stable_likelihood import Sample, Slope, newton_step

Array = NDArray[np.float64]
# A law of z = (x − location)/scale with shape parameters: at all points ln f and its first and second derivatives by
# (z, *shapes), shapes (points,), (1 + shapes, points) and (1 + shapes, 1 + shapes, points).
Standard: TypeAlias = Callable[[Array, Array], tuple[Array, Array, Array]]

# A climb ends where the next step promises less log-likelihood than this, far below what any test notices.
_ENOUGH = 1e-2
_STEPS = 60
_ROUNDS = 20
_SMOOTH = (1.2, 8.0)  # shapes whose likelihood is smooth enough in the location for steps along its slope
_OFFSETS = np.linspace(-1.0, 1.0, 15)
# 1/degrees of freedom, and the half quartile distance of each law, from which a fit of Student's t starts.
_FREEDOMS = np.array([[1e-3], [0.02], [0.06], [0.15], [0.3], [0.6], [1.0], [2.0], [4.0]])
_QUARTILES = np.array([[0.67474], [0.67943], [0.68949], [0.71306], [0.75509], [0.84959], [1.0], [1.55377], [4.3481]])
_SHAPES = np.geomspace(0.2, 50.0, 14)[:, np.newaxis]
# Scales and share of the wide part from which mixtures start, and how long they are iterated side by side.
_MIXTURES = ((1.3, 3.0, 0.1), (1.2, 1.6, 0.5), (1.4, 30.0, 0.01))
_ITERATIONS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Rival:
    """A fitted law: `logpdf` at any points; `parameters` by name, scales in units of the sample's points."""

    name: str
    parameters: dict[str, float]
    free: int
    logpdf: Callable[[Array], Array]


def gaussian(sample: Sample) -> Rival:
    """Mean and standard deviation."""
    mean = float(sample.weights @ sample.points) / sample.total
    deviation = math.sqrt(float(sample.weights @ (sample.points - mean) ** 2) / sample.total)

    def logpdf(x: Array) -> Array:
        return _gauss(x - mean, math.log(deviation))

    return Rival("Gaussian", {"mean": mean, "std": deviation}, 2, logpdf)


def student_t(sample: Sample) -> Rival:
    """Student's t with location, scale and 0.2 ≤ degrees of freedom ≤ 1000. Oracle: `scipy.stats.t.fit`."""
    # In 1/ν the Gaussian lies at 0 and the likelihood is smooth there.
    squares = np.square(sample.points * _QUARTILES)
    constants = np.array([[_t_constant(1.0 / inverse)] for inverse in _FREEDOMS[:, 0]]) + np.log(_QUARTILES)
    values = constants - 0.5 * (1.0 / _FREEDOMS + 1.0) * np.log1p(_FREEDOMS * squares)
    near = int(np.argmax(values @ sample.weights))
    start = np.array([0.0, -math.log(_QUARTILES[near, 0]), _FREEDOMS[near, 0]])
    best = _climb(sample, _standard_t, start, np.array([-5.0, -8.0, 1e-3]), np.array([5.0, 8.0, 5.0]))
    named = {"location": best[0], "scale": math.exp(best[1]), "degrees_of_freedom": 1.0 / best[2]}

    def logpdf(x: Array) -> Array:
        square = np.square((x - best[0]) * math.exp(-best[1]))
        value: Array = _t_constant(1.0 / best[2]) - best[1] - 0.5 * (1.0 / best[2] + 1.0) * np.log1p(best[2] * square)
        return value

    return Rival("Student-t", {key: float(value) for key, value in named.items()}, 3, logpdf)


def generalised_normal(sample: Sample) -> Rival:
    """exp(−|x/s|^p) with location, scale and shape 0.2 ≤ p ≤ 50: Laplace at 1, Gauss at 2, towards uniform beyond.

    For given location and shape the best scale is known, and the shape is sought alone; the location, which hardly
    matters to it, follows by steps of Fisher's scoring, or by a search where the law has a spike or sharp ends.
    Oracle: `scipy.stats.gennorm.fit`.
    """
    location, width = 0.0, 0.3
    shape, scale, value = _best_shape(sample, location, None)
    for _ in range(_ROUNDS):
        smooth = _SMOOTH[0] < shape < _SMOOTH[1]
        trial = _scored(sample, location, scale, shape) if smooth else _searched(sample, location, width, shape)
        found = _best_shape(sample, trial, shape) if trial != location else (shape, scale, value)
        if found[2] < value + _ENOUGH and (smooth or width < 1e-3):
            break
        if not smooth and abs(trial - location) < 0.8 * width:
            width *= 0.2
        if found[2] > value:
            location, (shape, scale, value) = trial, found
    named = {"location": location, "scale": scale, "shape": shape}
    constant = math.log(shape / 2) - float(gammaln(1 / shape)) - math.log(scale)

    def logpdf(x: Array) -> Array:
        with np.errstate(over="ignore"):
            value: Array = constant - np.minimum(np.abs((x - location) / scale) ** shape, 1e6)
        return value

    return Rival("generalised normal", named, 3, logpdf)


def two_gaussians(sample: Sample) -> Rival:
    """A mixture of two Gaussians with one mean: the simplest scale mixture. `share` is that of the wider one.

    A few steps of expectation and maximisation from several starts, side by side, then Newton's method from the best.
    """
    mean = float(sample.weights @ sample.points) / sample.total
    starts = _iterated(sample, mean if abs(mean) < 0.1 else 0.0)
    low, high = np.array([-5.0, -8.0, 0.0, -14.0]), np.array([5.0, 8.0, 16.0, 14.0])
    best = _climb(sample, _standard_mixture, np.clip(starts, low, high), low, high)
    share = 1 / (1 + math.exp(-best[3]))
    named = {"mean": best[0], "std": math.exp(best[1]), "wide_std": math.exp(best[1] + best[2]), "share": share}

    def logpdf(x: Array) -> Array:
        centred = x - best[0]
        wide = -math.log1p(math.exp(-best[3])) + _gauss(centred, best[1] + best[2])
        narrow = -math.log1p(math.exp(best[3])) + _gauss(centred, best[1])
        both: Array = np.logaddexp(wide, narrow)
        return both

    return Rival("two Gaussians", {key: float(value) for key, value in named.items()}, 4, logpdf)


def _gauss(x: Array, log_deviation: float) -> Array:
    value: Array = -0.5 * (x * math.exp(-log_deviation)) ** 2 - log_deviation - 0.5 * math.log(2 * math.pi)
    return value


def _t_constant(freedom: float) -> float:
    return float(gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - math.log(freedom * math.pi) / 2)


def _standard_t(z: Array, shapes: Array) -> tuple[Array, Array, Array]:
    """Student's t in z and u = 1/ν."""
    u = float(shapes[0])
    nu = 1.0 / u
    square = z * z
    inverse = 1.0 / (1.0 + u * square)
    logs, part = np.log1p(u * square), square * inverse
    by_nu = 0.5 * float(psi((nu + 1) / 2) - psi(nu / 2) - u)
    by_nu_twice = 0.25 * float(polygamma(1, (nu + 1) / 2) - polygamma(1, nu / 2)) + 0.5 * u * u
    value = _t_constant(nu) - 0.5 * (nu + 1.0) * logs
    slopes = np.stack([-(1.0 + u) * z * inverse, -nu * nu * by_nu + 0.5 * nu * nu * logs - 0.5 * (nu + 1.0) * part])
    bends = np.empty((2, 2, z.size))
    bends[0, 0] = -(1.0 + u) * (1.0 - u * square) * inverse**2
    bends[0, 1] = bends[1, 0] = z * (square - 1.0) * inverse**2
    bends[1, 1] = nu**4 * by_nu_twice + 2.0 * nu**3 * by_nu
    bends[1, 1] += nu * nu * part - nu**3 * logs + 0.5 * (nu + 1.0) * part**2
    return value, slopes, bends


def _standard_mixture(z: Array, shapes: Array) -> tuple[Array, Array, Array]:
    """Gaussians of deviations 1 and e^r, the share of the wide one expit(l), in z, r and l."""
    ratio, odds = float(shapes[0]), float(shapes[1])
    share, flat = float(expit(odds)), math.exp(-2.0 * ratio)
    square = z * z
    narrow = -0.5 * square - math.log1p(math.exp(odds)) - 0.5 * math.log(2.0 * math.pi)
    log_odds = odds - ratio + 0.5 * (1.0 - flat) * square
    wide = expit(log_odds)  # the probability that a point belongs to the wide part
    value = narrow + np.logaddexp(0.0, log_odds)
    # Derivatives of ln f are means over the two parts; second ones add what the parts differ by.
    apart = wide * (1.0 - wide)
    by_ratio, by_z = flat * square - 1.0, (1.0 - flat) * z
    curvature = 1.0 - (1.0 - flat) * wide
    slopes = np.stack([-z * curvature, wide * by_ratio, wide - share])
    bends = np.empty((3, 3, z.size))
    bends[0, 0] = apart * by_z**2 - curvature
    bends[0, 1] = bends[1, 0] = 2.0 * flat * wide * z + apart * by_z * by_ratio
    bends[0, 2] = bends[2, 0] = apart * by_z
    bends[1, 1] = apart * by_ratio**2 - 2.0 * flat * wide * square
    bends[1, 2] = bends[2, 1] = apart * by_ratio
    bends[2, 2] = apart - share * (1.0 - share)
    return value, slopes, bends


def _slope(sample: Sample, law: Standard, p: Array) -> Slope:
    """Log-likelihood with first and second derivatives by (location, ln scale, *shapes)."""
    unit = math.exp(-p[1])
    z = (sample.points - p[0]) * unit
    value, slopes, bends = law(z, p[2:])
    first = np.empty((p.size, z.size))
    np.multiply(-unit, slopes[0], out=first[0])
    np.multiply(-z, slopes[0], out=first[1])
    first[1] -= 1.0
    first[2:] = slopes[1:]
    stretched = z * bends[0, 0]
    second = np.empty((p.size, p.size, z.size))
    second[0, 0] = unit * unit * bends[0, 0]
    second[0, 1] = second[1, 0] = unit * (slopes[0] + stretched)
    second[1, 1] = z * (slopes[0] + stretched)
    second[0, 2:] = second[2:, 0] = -unit * bends[0, 1:]
    second[1, 2:] = second[2:, 1] = -z * bends[0, 1:]
    second[2:, 2:] = bends[1:, 1:]
    weighted = first * sample.weights
    total = float(sample.weights @ value) - sample.total * float(p[1])
    return Slope(total, first @ sample.weights, -(second @ sample.weights), weighted @ first.T)


def _climb(sample: Sample, law: Standard, start: Array, low: Array, high: Array) -> Array:
    """The maximum within bounds that a Newton climb from `start` reaches."""
    p, here, damping = start, _slope(sample, law, start), 0.0
    for _ in range(_STEPS):
        free = ~(((p <= low) & (here.gradient < 0)) | ((p >= high) & (here.gradient > 0)))
        step, gain = newton_step(here, free, damping)
        if gain < _ENOUGH:
            break
        trial = np.clip(p + step * min(1.0, 2.0 / float(np.abs(step).max())), low, high)
        there = _slope(sample, law, trial)
        if there.value >= here.value:
            p, here = trial, there
            damping = 0.1 * damping if damping > 1e-3 else 0.0
        else:
            damping = max(4.0 * damping, 0.1)
            if damping > 1e8:
                break
    return p


def _best_shape(sample: Sample, location: float, shape: float | None) -> tuple[float, float, float]:
    """Shape and scale of the likeliest generalised normal law around `location`, and its log-likelihood.

    Starts from `shape` where it is given, from the best of a few otherwise.
    """
    sizes = np.abs(sample.points - location)
    longest = float(sizes.max())
    logs = np.log(np.maximum(sizes / longest, 1e-300))
    if shape is None:
        means = np.exp(_SHAPES * logs) @ (sample.weights / sample.total)
        shape = float(_SHAPES[np.argmax(_profile(_SHAPES[:, 0], means)), 0])
    low, high = math.log(0.2), math.log(50.0)
    place, best = math.log(shape), -math.inf
    reach = 1.0
    trial = place
    for _ in range(_STEPS):
        p = math.exp(trial)
        grown = np.exp(p * logs) * (sample.weights / sample.total)
        mean, first = float(grown.sum()), float(grown @ logs)
        value = sample.total * float(_profile(p, mean))
        if value < best:
            reach *= 0.25
        else:
            place, best = trial, value
            slope, bend = _profile_slopes(p, mean, first, float(grown @ logs**2))
            step = slope / max(abs(bend), 1e-9)
            if (place <= low and slope < 0.0) or (place >= high and slope > 0.0):
                break
        if abs(step * slope) * sample.total < 2.0 * _ENOUGH or reach < 1e-6:
            break
        trial = min(max(place + math.copysign(min(abs(step), reach), step), low), high)
    p = math.exp(place)
    scale = longest * (p * float(np.exp(p * logs) @ sample.weights) / sample.total) ** (1.0 / p)
    return p, scale, best - sample.total * math.log(longest)


def _profile(p: Array | float, mean: Array | float) -> Array:
    """Mean log-density of a generalised normal law of shape p at its best scale, from the mean of |x|^p."""
    value: Array = np.log(p / 2.0) - gammaln(1.0 / p) - np.log(p * mean) / p - 1.0 / p
    return value


def _profile_slopes(p: float, mean: float, first: float, second: float) -> tuple[float, float]:
    """First and second derivative of `_profile` by ln p; `first` and `second` are those of the mean by p."""
    known = (float(psi(1.0 / p)) + math.log(p * mean)) / p
    ratio = first / mean
    by_p = (1.0 + known) / p - ratio / p
    twice = -float(polygamma(1, 1.0 / p)) / p**4 - 2.0 * known / p**2 + (1.0 / p + 2.0 * ratio) / p**2 - 1.0 / p**2
    twice -= (second / mean - ratio**2) / p
    return p * by_p, p * p * twice + p * by_p


def _scored(sample: Sample, location: float, scale: float, shape: float) -> float:
    """The location after a step of Fisher's scoring; the same where the step promises nothing."""
    z = (sample.points - location) / scale
    slopes = shape * np.sign(z) * np.abs(z) ** (shape - 1.0)
    slope, information = float(sample.weights @ slopes), float(sample.weights @ np.square(slopes))
    return location + scale * slope / information if slope**2 > 2.0 * _ENOUGH * information else location


def _searched(sample: Sample, location: float, width: float, shape: float) -> float:
    """The best of a few locations within `width`, for laws with a spike in the middle or sharp ends."""
    trials = location + width * _OFFSETS
    sizes = np.abs(sample.points - trials[:, np.newaxis])
    longest = sizes.max(axis=1)
    means = np.exp(shape * np.log(np.maximum(sizes / longest[:, np.newaxis], 1e-300))) @ (sample.weights / sample.total)
    return float(trials[np.argmax(_profile(shape, means) - np.log(longest))])


def _iterated(sample: Sample, mean: float) -> Array:
    """Parameters of the likeliest of several mixtures around `mean` after a few steps of EM."""
    squares = np.square(sample.points - mean)
    narrow, ratio, share = (np.array(column)[:, np.newaxis] for column in zip(*_MIXTURES, strict=True))
    narrow, wide = narrow**2, (narrow * ratio) ** 2
    for _ in range(_ITERATIONS):
        log_odds = np.log(share / (1.0 - share)) + 0.5 * (np.log(narrow / wide) + squares * (1.0 / narrow - 1.0 / wide))
        ours = expit(log_odds) * sample.weights
        number = ours.sum(axis=1, keepdims=True)
        strength = (ours @ squares)[:, np.newaxis]
        share = np.clip(number / sample.total, 1e-6, 1.0 - 1e-6)
        wide = strength / np.maximum(number, 1e-300)
        narrow = (float(sample.weights @ squares) - strength) / np.maximum(sample.total - number, 1e-300)
        narrow, wide = np.maximum(narrow, 1e-6), np.maximum(wide, 1.0001 * narrow)
    log_odds = np.log(share / (1.0 - share)) + 0.5 * (np.log(narrow / wide) + squares * (1.0 / narrow - 1.0 / wide))
    values = np.log(1.0 - share) - 0.5 * np.log(narrow) - 0.5 * squares / narrow + np.logaddexp(0.0, log_odds)
    best = int(np.argmax(values @ sample.weights))
    scale, growth, part = float(narrow[best, 0]), float(wide[best, 0] / narrow[best, 0]), float(share[best, 0])
    return np.array([mean, 0.5 * math.log(scale), 0.5 * math.log(growth), math.log(part / (1.0 - part))])
