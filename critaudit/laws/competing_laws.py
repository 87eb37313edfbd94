"""Other laws that could have made a tail, and likelihood-ratio tests between them and a power law."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import erfc, erfcx

Array = NDArray[np.float64]
# Value, gradient and second derivatives (11, 12, 22) of a function of two variables.
_Convex: TypeAlias = Callable[[float, float], tuple[float, tuple[float, float], tuple[float, float, float]]]

LEVEL = 0.1
_PIECES = 8
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(32)
# Nodes and weights of a composite rule on [0, 1].
_NODES = ((np.arange(_PIECES)[:, np.newaxis] + 0.5 * (1.0 + _POINTS)) / _PIECES).ravel()
_NODE_WEIGHTS = np.tile(0.5 * _WEIGHTS / _PIECES, _PIECES)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A power law against `law` on the same tail (Vuong 1989; Clauset 2009, Appendix C).

    `log_ratio` is the sum of log-likelihood differences, positive where the power law is the better; `z` the same in
    units of its standard deviation; `p` the probability of so large a |log_ratio| if both were equally far from the
    truth. A truncated power law contains the power law, so there `p` is that of a χ² test and `log_ratio` is never
    positive.
    """

    law: str
    log_ratio: float
    z: float
    p: float

    @property
    def verdict(self) -> str:
        """`power_law`, the name of the other law, or `undecided` where p exceeds 0.1."""
        if self.p > LEVEL:
            return "undecided"
        return "power_law" if self.log_ratio > 0.0 else self.law


def compare_laws(tail: Array, xmin: float, exponent: float) -> tuple[Comparison, ...]:
    """Tests of a power law from `xmin` against four laws fitted to the same values, all ≥ xmin, by maximum likelihood.

    Exponential, stretched exponential and lognormal are cut off below xmin, as in the `powerlaw` package; so is the
    power law with an exponential cut-off, whose p is that of χ² with one degree of freedom, which is cautious at the
    boundary of no cut-off. A law that does not fit at all is left out. Oracle: `powerlaw.Fit.distribution_compare`,
    equal to four digits on the spectra of published weights where its exponent is not held below 3, as it is by
    default. That package takes tens of milliseconds for what takes less than one here (seconds for the cut-off), and
    its searches stop short of maxima: which is why it is the oracle and not the engine.
    """
    logs = np.log(np.maximum(tail / xmin, 1.0))
    ours = math.log(exponent - 1.0) - exponent * logs
    found = []
    for law, fit in _LAWS.items():
        theirs = fit(logs)
        if theirs is not None and np.all(np.isfinite(theirs)):
            found.append(_vuong(law, ours - theirs))
    gain = cutoff_gain(logs, exponent)
    found.append(Comparison("truncated_power_law", -gain, -math.sqrt(2.0 * gain), float(erfc(math.sqrt(gain)))))
    return tuple(found)


def preferred_law(comparisons: Sequence[Comparison]) -> str:
    """The law that the tests leave standing: what beats the power law most, the power law if it beats all, or none."""
    if not comparisons:
        return "undetermined"
    better = [test for test in comparisons if test.verdict == test.law]
    if better:
        # One parameter more must gain one unit of log-likelihood (Akaike 1974); only the exponential has fewer.
        return min(better, key=lambda test: test.log_ratio - (test.law == "exponential")).law
    rivals = [test for test in comparisons if test.law != "truncated_power_law"]
    return "power_law" if rivals and all(test.verdict == "power_law" for test in rivals) else "undetermined"


def cutoff_gain(tail: Array, exponent: float) -> float:
    """Log-likelihood that p ∝ x^−a e^{−x/c} gains over the pure power law on t = ln(x/xmin) ≥ 0; at least 0.

    An exponential family in (t, e^t): the likelihood is concave, and its gradient a difference of means.
    """
    mean = float(tail.mean())
    mean_grown = float(np.exp(np.minimum(tail, 700.0)).mean())

    def negative(rate: float, scaled: float) -> tuple[float, tuple[float, float], tuple[float, float, float]]:
        strength = scaled / mean_grown
        log_norm, t, grown, weights = _cutoff_nodes(rate, strength)
        grown /= mean_grown
        weighted = weights * grown
        first, second = float(weights @ t), float(weighted.sum())
        bends = float(weights @ (t * t)) - first**2, float(weighted @ t) - first * second
        slope = mean - first, 1.0 - second
        value = rate * mean + scaled + log_norm
        return value, slope, (*bends, float(weighted @ grown) - second**2)

    base = (exponent - 1.0) * mean - math.log(exponent - 1.0)
    _, lowest = _descend(negative, (exponent - 1.0, 0.1), (-50.0, 1e-9), (math.inf, math.inf))
    return max(0.0, tail.size * (base - lowest))


def _descend(
    convex: _Convex, start: tuple[float, float], low: tuple[float, float], high: tuple[float, float]
) -> tuple[tuple[float, float], float]:
    """Minimum of a convex function of two variables within bounds: Newton's method, steps halved while they climb.

    `convex` gives its value, gradient, and second derivatives (11, 12, 22).
    """
    place = start
    value, slope, bends = convex(*place)
    for _ in range(100):
        held = [
            (x <= a and g > 0.0) or (x >= b and g < 0.0) for x, g, a, b in zip(place, slope, low, high, strict=True)
        ]
        step = _newton(slope, bends, held)
        if step[0] * slope[0] + step[1] * slope[1] < 1e-13:
            break
        # Where the function is far from a parabola, steps stay in proportion.
        share = min(1.0, *(2.0 * (abs(p) + 0.3) / max(abs(s), 1e-300) for p, s in zip(place, step, strict=True)))
        step = share * step[0], share * step[1]
        for _ in range(30):
            x, y = (min(max(p - s, a), b) for p, s, a, b in zip(place, step, low, high, strict=True))
            there = convex(x, y)
            if there[0] < value:
                break
            step = 0.5 * step[0], 0.5 * step[1]
        else:
            break
        place, (value, slope, bends) = (x, y), there
    return place, value


def _newton(slope: tuple[float, float], bends: tuple[float, float, float], held: list[bool]) -> tuple[float, float]:
    """The step from which the quadratic would be at its minimum, along each axis alone where the two are degenerate."""
    alone = [0.0 if stay else g / max(h, 1e-300) for stay, g, h in zip(held, slope, (bends[0], bends[2]), strict=True)]
    determinant = bends[0] * bends[2] - bends[1] ** 2
    if any(held) or determinant <= 1e-12 * bends[0] * bends[2]:
        return alone[0], alone[1]
    return (
        (bends[2] * slope[0] - bends[1] * slope[1]) / determinant,
        (bends[0] * slope[1] - bends[1] * slope[0]) / determinant,
    )


def _cutoff_law(rate: float, strength: float) -> tuple[float, float, float]:
    """ln Z, E t and E e^t of the density exp(−rate·t − strength·e^t)/Z on t ≥ 0, for any rate and strength > 0."""
    log_norm, t, grown, weights = _cutoff_nodes(rate, strength)
    return log_norm, float(weights @ t), float(weights @ grown)


def _cutoff_nodes(rate: float, strength: float) -> tuple[float, Array, Array, Array]:
    """ln Z of that density, and nodes t, e^t and weights (of sum one) that integrate it."""
    # Integrate to where the integrand is below e^{−40} of its maximum. From a maximum at 0 it falls at least as
    # e^{−(rate + strength)t}; past a maximum inside it falls doubly exponentially.
    peak = max(0.0, math.log(-rate / strength)) if rate < 0.0 else 0.0
    end = peak + 1.0 + math.log1p((40.0 + 60.0 * abs(rate)) / (strength * math.exp(peak)))
    if rate > 0.0:
        end = min(end, 40.0 / max(rate, 1e-3))
    if rate + strength > 0.0 and peak == 0.0:
        end = min(end, 60.0 / (rate + strength))
    t = end * _NODES
    grown = np.exp(t)
    weights = -rate * t
    weights -= strength * grown
    highest = float(weights.max())
    weights -= highest
    np.exp(weights, out=weights)
    weights *= _NODE_WEIGHTS
    total = float(weights.sum())
    weights /= total
    return highest + math.log(end * total), t, grown, weights


def _exponential(logs: Array) -> Array | None:
    """Log-densities of x = e^t ≥ 1 under r·e^{−r(x−1)}, at the best r."""
    excess = np.expm1(np.minimum(logs, 700.0))
    mean = float(excess.mean())
    return -math.log(mean) - excess / mean if mean > 0.0 else None


def _stretched_exponential(logs: Array) -> Array | None:
    """Log-densities of x = e^t ≥ 1 under βc·x^{β−1}e^{−c(x^β−1)}: c in closed form, β by a search."""
    mean, longest = float(logs.mean()), float(logs.max())
    if longest == 0.0:
        return None

    def negative(log_beta: float) -> float:
        beta = math.exp(log_beta)
        return math.log(float(np.expm1(beta * logs).mean())) - log_beta - (beta - 1.0) * mean

    # At β = 0 lies the power law itself; the upper end keeps x^β within float64.
    bounds = (math.log(1e-3 / longest), math.log(600.0 / longest))
    log_beta = float(minimize_scalar(negative, bounds=bounds, method="bounded", options={"xatol": 1e-9}).x)
    beta = math.exp(log_beta)
    grown = np.expm1(beta * logs)
    scale = float(grown.mean())
    return log_beta - math.log(scale) + (beta - 1.0) * logs - grown / scale


def _lognormal(logs: Array) -> Array | None:
    """Log-densities of x = e^t ≥ 1 where t is normal, cut off below 0.

    An exponential family in (t, t²): p(t) ∝ exp(−at − bt²), so that the likelihood is concave; t in units of its mean.
    """
    unit = float(logs.mean())
    if unit <= 0.0:
        return None
    t = logs / unit
    square = float(np.square(t).mean())

    def law(a: float, b: float) -> tuple[float, float, float]:
        """ln of the norm, and the means of t and t²; with z = a/√(2b) they are those of a normal law beyond z."""
        root = math.sqrt(2.0 * b)
        z = a / root
        # Below, e^{z²/2} overflows, and no normal law is left to speak of on the other side.
        tail = float(erfcx(z / math.sqrt(2.0))) if z > -30.0 else 2.0 * math.exp(450.0)
        hazard = math.sqrt(2.0 / math.pi) / tail
        first = (hazard - z) / root
        return math.log(math.sqrt(0.5 * math.pi) * tail / root), first, (1.0 - a * first) / (2.0 * b)

    def negative(a: float, b: float) -> tuple[float, tuple[float, float], tuple[float, float, float]]:
        log_norm, first, second = law(a, b)
        # Covariances of t and t², as differences of their means.
        step = 1e-5 * (1.0 + abs(a)), 1e-5 * b
        by_a, by_b = law(a + step[0], b), law(a, b + step[1])
        bends = (first - by_a[1]) / step[0], (first - by_b[1]) / step[1], (second - by_b[2]) / step[1]
        return a + b * square + log_norm, (1.0 - first, square - second), bends

    (a, b), _ = _descend(negative, (0.5, 0.3), (-40.0, 1e-5), (40.0, 1e4))
    return -a * t - b * np.square(t) - law(a, b)[0] - logs - math.log(unit)


_LAWS: Mapping[str, Callable[[Array], Array | None]] = MappingProxyType(
    {"exponential": _exponential, "lognormal": _lognormal, "stretched_exponential": _stretched_exponential}
)


def _vuong(law: str, differences: Array) -> Comparison:
    total = float(differences.sum())
    spread = float(differences.std()) * math.sqrt(differences.size)
    if spread == 0.0:
        return Comparison(law, total, 0.0, 1.0)
    z = total / spread
    return Comparison(law, total, z, float(erfc(abs(z) / math.sqrt(2.0))))
