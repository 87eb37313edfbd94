"""Laws that compete with the stable one for the entries: Gaussian, Student-t, generalised normal, two Gaussians.

All have a location and a scale, are symmetric, and are fitted by maximum likelihood on weighted points near unit scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import gammaln

from critaudit.laws.stable_likelihood import Sample

Array = NDArray[np.float64]
LogDensity = Callable[[Array, Array], Array]


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
    """Student's t with location, scale and 0.2 ≤ degrees of freedom ≤ 1000."""

    def density(x: Array, p: Array) -> Array:
        freedom = math.exp(p[2])
        constant = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - math.log(freedom * math.pi) / 2 - p[1]
        tail: Array = constant - (freedom + 1) / 2 * np.log1p(((x - p[0]) * math.exp(-p[1])) ** 2 / freedom)
        return tail

    starts = [np.array([0.0, 0.2, math.log(freedom)]) for freedom in (4.0,)]
    best = _fit(sample, density, starts, [(-5, 5), (-8, 8), (math.log(0.2), math.log(1000))])
    named = {"location": best[0], "scale": math.exp(best[1]), "degrees_of_freedom": math.exp(best[2])}
    return Rival("Student-t", named, 3, lambda x: density(x, best))


def generalised_normal(sample: Sample) -> Rival:
    """exp(−|x/s|^p) with location, scale and shape 0.2 ≤ p ≤ 50: Laplace at 1, Gauss at 2, towards uniform beyond."""

    def density(x: Array, p: Array) -> Array:
        shape = math.exp(p[2])
        constant = math.log(shape / 2) - float(gammaln(1 / shape)) - p[1]
        with np.errstate(over="ignore"):
            value: Array = constant - np.minimum(np.abs((x - p[0]) * math.exp(-p[1])) ** shape, 1e6)
        return value

    starts = [np.array([0.0, math.log(width), math.log(shape)]) for width, shape in ((1.4, 1.0), (2.0, 2.5))]
    widest = math.log(max(float(np.abs(sample.points).max()), 10.0))
    best = _fit(sample, density, starts, [(-5, 5), (-8, widest + 1), (math.log(0.2), math.log(50))])
    named = {"location": best[0], "scale": math.exp(best[1]), "shape": math.exp(best[2])}
    return Rival("generalised normal", named, 3, lambda x: density(x, best))


def two_gaussians(sample: Sample) -> Rival:
    """A mixture of two Gaussians with one mean: the simplest scale mixture. `share` is that of the wider one."""

    def density(x: Array, p: Array) -> Array:
        centred = x - p[0]
        wide = -math.log1p(math.exp(-p[3])) + _gauss(centred, p[1] + p[2])
        narrow = -math.log1p(math.exp(p[3])) + _gauss(centred, p[1])
        both: Array = np.logaddexp(wide, narrow)
        return both

    starts = [
        np.array([0.0, math.log(width), math.log(ratio), math.log(share / (1 - share))])
        for width, ratio, share in ((1.3, 3.0, 0.1), (1.2, 1.6, 0.5), (1.4, 30.0, 0.01))
    ]
    best = _fit(sample, density, starts, [(-5, 5), (-8, 8), (0.0, 16.0), (-14.0, 14.0)])
    share = 1 / (1 + math.exp(-best[3]))
    named = {"mean": best[0], "std": math.exp(best[1]), "wide_std": math.exp(best[1] + best[2]), "share": share}
    return Rival("two Gaussians", named, 4, lambda x: density(x, best))


def _gauss(x: Array, log_deviation: float) -> Array:
    value: Array = -0.5 * (x * math.exp(-log_deviation)) ** 2 - log_deviation - 0.5 * math.log(2 * math.pi)
    return value


def _fit(sample: Sample, density: LogDensity, starts: list[Array], bounds: list[tuple[float, float]]) -> Array:
    """The best of quasi-Newton climbs from several starts, within bounds."""

    def loss(parameters: Array) -> float:
        return -float(sample.weights @ density(sample.points, parameters)) / sample.total

    def loss_and_slope(parameters: Array) -> tuple[float, Array]:
        # SciPy's own differences take longer than these few hundred points.
        here, step = loss(parameters), 1e-7
        steps = step * np.eye(parameters.size)
        return here, np.array([(loss(parameters + shift) - here) / step for shift in steps])

    options = {"ftol": 1e-11, "maxiter": 200}
    results = [
        minimize(loss_and_slope, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options) for start in starts
    ]
    best: Array = np.asarray(min(results, key=lambda result: float(result.fun)).x, dtype=np.float64)
    return best
