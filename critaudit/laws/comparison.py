"""What α̂ < 2 means: is a stable law really the law of these entries, or only the best stable law for another one?

A stable fit alone cannot tell: Student-t, Laplace and mixtures of Gaussians all give α̂ < 2 with tiny standard errors.
So the fit is set beside rivals, and its tails are counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, ndtr, ndtri

from critaudit.laws.binning import Bins, bin_values
from critaudit.laws.rival_laws import Rival, gaussian, generalised_normal, student_t, two_gaussians
from critaudit.laws.stable_distribution import lower_tail
from critaudit.laws.stable_fit import StableFit, coarser, fit_standardised, gaussian_likelihood_ratio, standardised
from critaudit.laws.stable_likelihood import Sample
from critaudit.laws.stable_table import centre, jet

Array = NDArray[np.float64]
Verdict: TypeAlias = Literal[
    "gaussian_not_rejected",
    "lighter_than_gaussian",
    "stable_compatible",
    "heavier_not_stable",
    "scale_mixture",
    "undetermined",
]

LEVELS = (1e-2, 1e-3, 1e-4, 1e-5)
_HILL_SHARES = (1e-2, 1e-3, 1e-4)
_ENOUGH = 1000  # below, the tail beyond the 1 % level has fewer than ten entries
_TAIL_FACTOR = 1.4  # tails are called different where their ratio is surely outside [1/1.4, 1.4]
_ROUGH = 24  # points per unit that suffice for the rivals' parameters; their likelihoods are taken on more
_LONG = 64  # entries that a row needs for its own scale
_DECISIVE = 3.0  # |z| of a Vuong test that decides
_CLEARLY = 1e-4  # gain per entry below which two laws are the same for every purpose
# Twice the log-likelihood gain over the Gaussian that rejects it: χ² at 0.1 % with one degree of freedom (a model has
# many layers), more for the mixture, whose null distribution is not χ².
_REJECTS = {"stable": 10.8, "Student-t": 10.8, "generalised normal": 10.8, "two Gaussians": 16.3}


@dataclass(frozen=True, slots=True)
class RivalLaw:
    """A rival fitted to the same entries.

    `gain` is its log-likelihood per entry above the Gaussian's. `vuong_z` compares the stable law with it (positive:
    stable is closer to the truth), with Schwarz's correction for the number of parameters; None where the two fitted
    densities coincide (their logarithms differ by less than 0.003), as stable α = 1 and Student-t with one degree do.
    `parameters` are in the units of the entries.
    """

    name: str
    parameters: tuple[tuple[str, float], ...]
    gain: float
    vuong_z: float | None


@dataclass(frozen=True, slots=True)
class Exceedance:
    """Entries beyond the fitted law's two-sided quantiles: observed over expected, with a 95 % Poisson interval."""

    level: float
    observed: int
    expected: float
    ratio: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class HillIndex:
    """Hill's tail index of |x − median| from the `k` largest, α of P(|X| > x) ∝ x^−α, with a 95 % interval."""

    share: float
    k: int
    alpha: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class EntryLaws:
    """The stable fit of a matrix's entries beside its rivals, its tails, and a verdict with the reason in plain words.

    `stable_gain` is the stable law's log-likelihood per entry above the Gaussian's; `distance` is the
    Kolmogorov–Smirnov distance from the fitted stable law, an effect size, not a test.
    """

    fit: StableFit
    stable_gain: float
    rivals: tuple[RivalLaw, ...]
    exceedances: tuple[Exceedance, ...]
    hill: tuple[HillIndex, ...]
    distance: float
    verdict: Verdict
    reason: str


def compare_entry_laws(values: NDArray[np.generic]) -> EntryLaws:
    """Fit the stable law and its rivals to all non-zero finite entries, count the tails, and judge.

    Where a matrix (2-D) is heavier than a Gaussian but not stable, its rows and columns are brought to one scale each
    and fitted again: if the heavy tail is gone, it came from rows or columns of different scale (`scale_mixture`).
    Takes about 0.01 s of any size, beside the binning. Raises CritauditError where `fit_stable` does.
    Source: Vuong 1989 (tests), Hill 1975, Garwood 1936 (Poisson intervals).
    """
    array = np.asarray(values)
    bins = bin_values(array)
    laws = _compare(bins)
    if laws.verdict in ("heavier_not_stable", "scale_mixture") and array.ndim == 2:
        return _with_scales(laws, array)
    return laws


def _compare(bins: Bins) -> EntryLaws:
    """The fit, rivals, tails and verdict of the entries as a bag."""
    sample = standardised(bins)
    fit = fit_standardised(bins, sample)
    normal = gaussian(sample)
    base = normal.logpdf(sample.points)
    stable = _stable_logpdf(fit, bins, sample)
    rough = coarser(sample, _ROUGH)
    fitted = [student_t(rough), generalised_normal(rough), two_gaussians(rough)]
    rivals = tuple(_rival_law(rival, bins, sample, stable, base) for rival in (normal, *fitted))
    exceedances = _exceedances(fit, bins)
    gain = float(sample.weights @ (stable - base)) / sample.total
    verdict, reason = _judge(fit, gain, rivals, exceedances, fitted)
    return EntryLaws(fit, gain, rivals, exceedances, _hill(bins), _distance(fit, bins), verdict, reason)


def _stable_logpdf(fit: StableFit, bins: Bins, sample: Sample) -> Array:
    """log-density of the fitted law at the standardised points."""
    sigma = fit.sigma / bins.scale
    y = (sample.points - (fit.mu_s0 - bins.middle) / bins.scale) / sigma
    if fit.alpha == 2.0:
        gauss: Array = -(y**2) / 4 - math.log(4 * math.pi) / 2 - math.log(sigma)
        return gauss
    beta = fit.beta or 0.0
    return jet(y + centre(fit.alpha)[0] * beta, fit.alpha, beta).value - math.log(sigma)


def _rival_law(rival: Rival, bins: Bins, sample: Sample, stable: Array, base: Array) -> RivalLaw:
    logpdf = rival.logpdf(sample.points)
    difference = stable - logpdf
    mean = float(sample.weights @ difference) / sample.total
    variance = float(sample.weights @ (difference - mean) ** 2) / sample.total
    corrected = sample.total * mean - (4 - rival.free) / 2 * math.log(sample.total)
    z = corrected / math.sqrt(sample.total * variance) if variance > 1e-5 else None
    gain = float(sample.weights @ (logpdf - base)) / sample.total
    parameters = []
    for name, value in rival.parameters.items():
        if name in ("mean", "location"):
            value = bins.middle + bins.scale * value
        elif name in ("std", "wide_std", "scale"):
            value = bins.scale * value
        parameters.append((name, value))
    return RivalLaw(rival.name, tuple(parameters), gain, z)


def _tail_probability(fit: StableFit, x: Array) -> Array:
    """P(X ≤ x) of the fitted law."""
    standard = (x - fit.mu_s0) / fit.sigma
    if fit.alpha == 2.0:
        below: Array = ndtr(standard / math.sqrt(2))
        return below
    return lower_tail(standard, fit.alpha, fit.beta or 0.0)


def _quantiles(fit: StableFit, probabilities: Array) -> tuple[Array, Array]:
    """The fitted law's quantiles at `probabilities` and at their complements, the latter from the mirrored law."""
    if fit.alpha == 2.0:
        distance = -math.sqrt(2) * fit.sigma * ndtri(probabilities)
        return fit.mu_s0 - distance, fit.mu_s0 + distance
    grid = np.linspace(-20.0, 5.0, 2001)  # asinh(x / 0.3)
    ends = []
    for sign in (-1, 1):
        # Lower tail of the law, or of its mirror image; ascending in x.
        tail = lower_tail(np.sinh(grid) * 0.3, fit.alpha, -sign * (fit.beta or 0.0))
        at = np.interp(np.log(probabilities), np.log(np.maximum(tail, 1e-300)), grid)
        ends.append(fit.mu_s0 - sign * fit.sigma * 0.3 * np.sinh(at))
    return ends[0], ends[1]


def _exceedances(fit: StableFit, bins: Bins) -> tuple[Exceedance, ...]:
    """Entries beyond the two-sided quantiles of the levels at which at least one is expected."""
    levels = [level for level in LEVELS if level * bins.n >= 1]
    found = []
    for level, low, high in zip(levels, *_quantiles(fit, np.array(levels) / 2), strict=True):
        below, above = np.searchsorted(bins.points, low), np.searchsorted(bins.points, high, side="right")
        observed = int(bins.counts[:below].sum() + bins.counts[above:].sum())
        expected = level * bins.n
        interval = (
            float(chdtri(2 * observed, 0.975)) / 2 / expected if observed else 0.0,
            float(chdtri(2 * observed + 2, 0.025)) / 2 / expected,
        )
        found.append(Exceedance(level, observed, expected, observed / expected, interval))
    return tuple(found)


def _hill(bins: Bins) -> tuple[HillIndex, ...]:
    """Hill's estimator on the bins, at each share that has ten entries."""
    # The largest 1 % lie beyond the nearer one of the outer percentiles.
    low, high = bins.quantiles((_HILL_SHARES[0], 1 - _HILL_SHARES[0]))
    reach = 0.99 * min(bins.middle - low, high - bins.middle)
    below, above = np.searchsorted(bins.points, (bins.middle - reach, bins.middle + reach))
    size = np.abs(np.concatenate([bins.points[:below], bins.points[above:]]) - bins.middle)
    order = np.argsort(size, kind="stable")[::-1]  # two runs in order, which this kind only merges
    size, counts = size[order], np.concatenate([bins.counts[:below], bins.counts[above:]])[order]
    found = (_hill_index(size, counts, share, int(share * bins.n)) for share in _HILL_SHARES if share * bins.n >= 10)
    return tuple(index for index in found if index is not None)


def _hill_index(size: Array, counts: Array, share: float, k: int) -> HillIndex | None:
    """The mean log excess of the `k` largest over the next one; sizes descend."""
    before = np.cumsum(counts) - counts
    last = int(np.searchsorted(before, k, side="right")) - 1
    taken = np.minimum(counts[: last + 1], k - before[: last + 1])
    excess = float(taken @ np.log(size[: last + 1] / size[last])) / k
    if excess < 1e-6:  # the largest entries are all equal: clipped, not a tail
        return None
    alpha = 1 / excess
    error = 1.96 * alpha / math.sqrt(k)
    return HillIndex(share, k, alpha, (max(alpha - error, 0.0), alpha + error))


def _distance(fit: StableFit, bins: Bins) -> float:
    """Largest difference between the empirical and the fitted distribution function, on both sides of each point."""
    expected = _tail_probability(fit, bins.points)
    after = np.cumsum(bins.counts) / bins.n
    before = after - bins.counts / bins.n
    if not bins.lossless:
        # A bin's entries lie around its middle: half of them before, half after.
        return float(np.max(np.abs((after + before) / 2 - expected)))
    return float(max(np.max(np.abs(after - expected)), np.max(np.abs(before - expected))))


def _judge(
    fit: StableFit,
    gain: float,
    rivals: tuple[RivalLaw, ...],
    exceedances: tuple[Exceedance, ...],
    fitted: list[Rival],
) -> tuple[Verdict, str]:
    """The verdict and its reason."""
    better = [law for law in rivals[1:] if 2 * fit.n * law.gain > _REJECTS[law.name]]
    shape = fitted[1].parameters["shape"]
    if not better and 2 * fit.n * gain <= _REJECTS["stable"]:
        return "gaussian_not_rejected", f"no law fits better than the Gaussian; α ≥ {fit.alpha_interval[0]:.3g}"
    if shape > 2 and fit.boundary and any(law.name == "generalised normal" for law in better):
        uniform = " (nearly uniform)" if shape > 8 else ""
        return "lighter_than_gaussian", f"the tails are lighter than a Gaussian's{uniform}; no heavy tail to speak of"
    if fit.n < _ENOUGH:
        return "undetermined", f"heavier than a Gaussian, but {fit.n} entries do not decide which law it is"
    return _judge_heavy(fit, gain, rivals, exceedances)


def _judge_heavy(
    fit: StableFit, gain: float, rivals: tuple[RivalLaw, ...], exceedances: tuple[Exceedance, ...]
) -> tuple[Verdict, str]:
    """Among laws heavier than the Gaussian: stable, or something else?"""
    off = [tail for tail in exceedances if tail.interval[1] < 1 / _TAIL_FACTOR or tail.interval[0] > _TAIL_FACTOR]
    beaten = [
        law for law in rivals[1:] if law.vuong_z is not None and law.vuong_z < -_DECISIVE and law.gain > gain + _CLEARLY
    ]
    if not fit.boundary and not off and not beaten:
        depth = exceedances[-1].level
        return (
            "stable_compatible",
            f"a stable law with α = {fit.alpha:.3g} fits the bulk and the tails down to {depth:g}",
        )
    best = max(rivals[1:], key=lambda law: law.gain)
    against = []
    if off:
        deepest = off[-1]
        against.append(
            f"beyond the stable law's {deepest.level:g} level lie {deepest.ratio:.2g} times the entries it predicts"
        )
    if beaten or best.gain > gain:
        against.append(f"{best.name} fits better by {best.gain - gain:.2g} per entry")
    reason = "heavier than a Gaussian, but not stable: " + "; ".join(against)
    if best.name == "two Gaussians":
        return "scale_mixture", reason + " (entries of different scale, for example rows or channels)"
    return "heavier_not_stable", reason


def _with_scales(laws: EntryLaws, matrix: NDArray[np.generic]) -> EntryLaws:
    """The verdict `scale_mixture` where rows or columns of one scale each would be Gaussian."""
    for scale, name in zip(_scales(matrix), ("row", "column"), strict=True):
        if scale is None:
            continue
        left = gaussian_likelihood_ratio(np.divide(matrix, scale, dtype=np.float32, casting="unsafe"))
        if left / (2 * laws.fit.n) < 0.1 * max(law.gain for law in laws.rivals):
            reason = f"heavier than a Gaussian because the {name}s differ in scale; each {name} by itself is not"
            return replace(laws, verdict="scale_mixture", reason=reason)
    return laws


def _scales(matrix: NDArray[np.generic]) -> tuple[Array | None, Array | None]:
    """Standard deviations of rows (n, 1) and columns (1, m); None where they are too short, zero or not finite."""
    rows, columns = matrix.shape
    of_rows, sums, squares = np.zeros(rows), np.zeros(columns), np.zeros(columns)
    step = max(1, (1 << 18) // max(columns, 1))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, rows, step):
            part = matrix[start : start + step].astype(np.float64)
            of_rows[start : start + step] = part.std(axis=1)
            sums += part.sum(axis=0)
            squares += (part**2).sum(axis=0)
        of_columns = np.sqrt(np.maximum(squares / rows - (sums / rows) ** 2, 0))
    usable = [bool(np.all(np.isfinite(scale) & (scale > 0))) for scale in (of_rows, of_columns)]
    return (
        of_rows[:, None] if columns >= _LONG and rows > 1 and usable[0] else None,
        of_columns[None, :] if rows >= _LONG and columns > 1 and usable[1] else None,
    )
