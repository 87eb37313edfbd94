"""Maximum-likelihood fits of a stable law to all entries of a weight matrix (Qu22, Fig. 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critaudit.errors import CritauditError
from critaudit.laws.binning import Bins, bin_values, merge
from critaudit.laws.device_binning import bin_tensor, is_tensor
from critaudit.laws.near_gaussian import near_gaussian
from critaudit.laws.stable_likelihood import (
    HIGHEST,
    LOWEST,
    Sample,
    Slope,
    alpha_of,
    gaussian_end,
    gaussian_likelihood,
    log_likelihood,
    maximise,
    polish,
    profile_bound,
)
from critaudit.laws.stable_table import centre, starts

Array = NDArray[np.float64]

_SMALLEST = 30
_NEAR_GAUSSIAN = math.log(2 - 1.9)  # a first guess of α beyond 1.9: the Gaussian itself is asked
_COARSE, _FINE = 40, 256  # merged points per unit of asinh((x − median) / width)
# 95 % points of twice the log-likelihood ratio, stable (β free) against Gaussian, under the Gaussian. Simulated by
# `python benchmarks/stable_fit.py --critical --replicates 1500` (seeded) at n = 30, 100, 300, 1e3, 1e4, 1e5, 1e6; α̂ = 2
# came out in .55, .57, .58, .63, .73, .80, .83 of the samples. Beyond 1e6 the last value is on the safe side.
_CRITICAL_N = (30, 100, 300, 1_000, 10_000, 100_000, 1_000_000)
_CRITICAL = (2.52, 2.73, 2.54, 2.22, 1.52, 1.23, 0.91)


@dataclass(frozen=True, slots=True)
class StableFit:
    """A stable law S_α(β, σ, μ) fitted by maximum likelihood, μ in Nolan's S1 form; the fit runs in S0 (`mu_s0`).

    Errors are from the observed information; `alpha_interval` is a 95 % profile-likelihood interval. `boundary` says
    that the Gaussian (α = 2) is not rejected at 5 %: then `alpha_interval` bounds α from below, and there are no
    `alpha_se`, `beta` and `beta_se`. An error is None, too, where its parameter lies on the end of its range.
    `n` entries took part; `zeros` exact zeros and `non_finite` NaN or infinite ones were left out.
    Near α = 1 with β ≠ 0 the S1 location runs away (tan πα/2); `mu_s0` does not.
    """

    alpha: float
    beta: float | None
    sigma: float
    mu: float
    alpha_se: float | None
    beta_se: float | None
    sigma_se: float | None
    mu_se: float | None
    alpha_interval: tuple[float, float]
    loglik: float
    gaussian_loglik: float
    n: int
    zeros: int
    non_finite: int
    method: str
    boundary: bool
    mu_s0: float
    mu_s0_se: float | None


def fit_stable(values: NDArray[np.generic] | Bins) -> StableFit:
    """Fit a stable law to all non-zero finite entries of `values` (any shape, any real dtype) by maximum likelihood.

    0.5 ≤ α ≤ 2. Arrays are binned in one pass (critaudit.laws.binning; its bins are accepted, too, and PyTorch
    tensors, which are binned on their device), so that neither a
    copy in float64 nor sorting is needed; against the unbinned estimate |Δα| ≤ 3e-6. Exact zeros make the likelihood
    unbounded and are left out, NaN and infinities as well; all are counted. Scale, shift and sign of the values act on
    the fit as they should.
    Raises CritauditError in one line where there is nothing to fit: fewer than 30 entries, entries that are all equal,
    that take few levels (quantised), or of which a good part is one and the same value.
    Oracle: unbinned likelihood from quadrature; recovery at the Cramér–Rao bound. Source: Qu22, Fig. 1; Nolan 2001.
    """
    bins = _binned(values)
    return fit_standardised(bins, standardised(bins))


def fit_standardised(bins: Bins, fine: Sample) -> StableFit:
    """`fit_stable` where the bins have been standardised already: `fine` is `standardised(bins)`."""
    _check(bins)
    peak = _climb(bins, fine)
    if peak.ratio < 1e-3:
        return _as_gaussian(bins, peak)
    return _record(bins, peak, boundary=peak.ratio <= _critical(bins.n))


def _binned(values: NDArray[np.generic] | Bins) -> Bins:
    if isinstance(values, Bins):
        return values
    return bin_tensor(values) if is_tensor(values) else bin_values(np.asarray(values))


def gaussian_likelihood_ratio(values: NDArray[np.generic]) -> float:
    """Twice the log-likelihood ratio of the stable fit against the Gaussian fit (0 where α̂ = 2); for calibration.

    Raises CritauditError as `fit_stable` does.
    """
    bins = bin_values(np.asarray(values))
    _check(bins)
    return max(_climb(bins, standardised(bins)).ratio, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Peak:
    """The maximum of the likelihood of the standardised entries, and the Gaussian beside it.

    `start` is the maximum on the coarse points, `slope` is theirs there; θ, `value` and `gaussian` (mean, variance,
    log-likelihood) are on the fine ones. Where the Gaussian was seen to be the maximum, there is no slope.
    """

    coarse: Sample
    start: Array
    slope: Slope | None
    theta: Array
    value: float
    gaussian: tuple[float, float, float]

    @property
    def ratio(self) -> float:
        return 2 * (self.value - self.gaussian[2])


def _climb(bins: Bins, fine: Sample) -> _Peak:
    """Newton on coarse points, then chord steps on fine ones; neither where the Gaussian is seen to be the maximum."""
    coarse = coarser(fine, _COARSE)
    mean, variance, loglik = _gaussian(fine)
    start = _start(bins)
    ended = gaussian_end(fine, start) if start[0] < _NEAR_GAUSSIAN else None
    if ended is not None:
        return _Peak(coarse, ended, None, ended, loglik, (mean, variance, loglik))
    if start[0] < _NEAR_GAUSSIAN:
        nearer = near_gaussian(coarse, mean, variance).peak()
        start = max(start, nearer, key=lambda theta: log_likelihood(coarse, theta))
    start, slope = maximise(coarse, start)
    theta, value = polish(fine, start, slope)
    return _Peak(coarse, start, slope, theta, value, (mean, variance, loglik))


def _check(bins: Bins) -> None:
    """Raise CritauditError where no continuous law can be fitted."""
    if bins.n < _SMALLEST:
        left_out = f" ({bins.zeros} zeros and {bins.non_finite} non-finite ones left out)"
        raise CritauditError(f"{bins.n} entries{left_out} are too few for a stable fit; it needs at least {_SMALLEST}")
    if bins.points.size == 1 or bins.scale == 0:
        raise CritauditError(
            "at least half of the entries have one and the same value; a continuous law does not apply"
        )
    low, high = bins.middle - bins.scale, bins.middle + bins.scale
    levels = int(np.count_nonzero((bins.points >= low) & (bins.points <= high)))
    if levels < 8:
        raise CritauditError(
            f"the central half of the entries takes only {levels} values (quantised?); a continuous law does not apply"
        )
    top = int(np.argmax(bins.counts))
    around = np.delete(bins.counts[max(0, top - 3) : top + 4], min(3, top))
    share = float(bins.counts[top]) / bins.n
    if share > 0.02 and bins.counts[top] > 20 * around.max():
        raise CritauditError(
            f"{share:.0%} of the non-zero entries are about {bins.points[top]:.4g}; a continuous law does not apply"
        )


def standardised(bins: Bins) -> Sample:
    """The entries in units of half their quartile distance around the median, merged to a few thousand points.

    256 points remain per unit of asinh(8 × standardised value). Empty where the scale is zero.
    """
    if bins.scale == 0:
        return Sample(np.zeros(0), np.zeros(0), 0.0)
    with np.errstate(over="ignore"):
        # Beyond 1e50 quartile distances, fourth powers would overflow soon.
        points = np.clip((bins.points - bins.middle) / bins.scale, -1e50, 1e50)
    return coarser(Sample(points, bins.counts, float(bins.n)), _FINE)


def coarser(sample: Sample, per_unit: int) -> Sample:
    """The sample merged to `per_unit` points per unit of asinh(8 x)."""
    points, counts = merge(sample.points, sample.weights, 1 / 8, per_unit)
    return Sample(points, counts, sample.total)


def _start(bins: Bins) -> Array:
    """θ from quantiles of the standardised entries (McCulloch 1986)."""
    table = starts()
    q05, q25, q50, q75, q95 = (bins.quantiles((0.05, 0.25, 0.5, 0.75, 0.95)) - bins.middle) / bins.scale
    ratio = (q95 - q05) / (q75 - q25)
    alpha = float(np.interp(-ratio, -table.ratio, table.alpha))
    alpha = min(max(alpha, 0.55), 1.95)
    asymmetry = (q95 + q05 - 2 * q50) / (q95 - q05)
    beta = float(np.clip(asymmetry / np.interp(alpha, table.alpha, table.asymmetry), -0.8, 0.8))
    sigma = (q75 - q25) / float(np.interp(alpha, table.alpha, table.quartiles))
    location = q50 - sigma * beta * float(np.interp(alpha, table.alpha, table.median))
    return np.array([math.log(2 - alpha), beta, location, math.log(sigma)])


def _gaussian(sample: Sample) -> tuple[float, float, float]:
    """Mean, variance and log-likelihood of the fitted Gaussian."""
    mean = float(sample.weights @ sample.points) / sample.total
    variance = float(sample.weights @ (sample.points - mean) ** 2) / sample.total
    return mean, variance, gaussian_likelihood(sample.total, variance)


def _critical(n: int) -> float:
    """The 95 % point of the likelihood ratio under the Gaussian."""
    return float(np.interp(math.log(n), np.log(_CRITICAL_N), _CRITICAL))


def _errors(theta: Array, slope: Slope, *, boundary: bool) -> NDArray[np.float64]:
    """Covariance of (α, β, ν/scale, s), NaN in the rows of parameters without one."""
    held = (theta <= LOWEST + 1e-12) | (theta >= HIGHEST - 1e-12)
    if boundary:
        held[:2] = True
    free = ~held
    covariance = np.full((4, 4), np.nan)
    information = slope.information[np.ix_(free, free)]
    try:
        np.linalg.cholesky(information)
    except np.linalg.LinAlgError:
        return covariance
    covariance[np.ix_(free, free)] = np.linalg.inv(information)
    by_alpha = -math.exp(theta[0])
    covariance[0, :] *= by_alpha
    covariance[:, 0] *= by_alpha
    return covariance


def _interval(peak: _Peak, *, boundary: bool) -> tuple[float, float]:
    """95 % profile interval of α; its upper end is 2 where the Gaussian is not rejected."""
    assert peak.slope is not None
    information = float(peak.slope.information[0, 0])
    step = min(1.96 / math.sqrt(information), 1.0) if information > 0 else 1.0
    low = profile_bound(peak.coarse, peak.start, peak.slope, +1, max(step, 1e-6))
    high = -math.inf if boundary else profile_bound(peak.coarse, peak.start, peak.slope, -1, max(step, 1e-6))
    upper = 2.0 if high <= LOWEST[0] else 2 - math.exp(high)
    # Coarse and fine points can disagree by more than the interval's width where β = ±1 and the support has an end.
    alpha = alpha_of(peak.theta)
    return min(2 - math.exp(low), alpha), max(upper, alpha)


def _as_gaussian(bins: Bins, peak: _Peak) -> StableFit:
    """The fit on the boundary α = 2, where the variance is 2σ²."""
    mean, variance, loglik = peak.gaussian
    bound = near_gaussian(peak.coarse, mean, variance).bound()
    start = np.array([math.log(1e-6), *bound[1:]])
    near = maximise(peak.coarse, start, limit=0)[1]
    low = profile_bound(peak.coarse, start, near, +1, min(max(float(bound[0] - start[0]), 0.5), 13.0))
    sigma = bins.scale * math.sqrt(variance / 2)
    location, location_se = bins.middle + bins.scale * mean, sigma * math.sqrt(2 / bins.n)
    loglik -= bins.n * math.log(bins.scale)
    return StableFit(
        alpha=2.0,
        beta=None,
        sigma=sigma,
        mu=location,
        alpha_se=None,
        beta_se=None,
        sigma_se=sigma / math.sqrt(2 * bins.n),
        mu_se=location_se,
        alpha_interval=(2 - math.exp(low), 2.0),
        loglik=loglik,
        gaussian_loglik=loglik,
        n=bins.n,
        zeros=bins.zeros,
        non_finite=bins.non_finite,
        method=_method(bins, "Gaussian not rejected (α̂ = 2)"),
        boundary=True,
        mu_s0=location,
        mu_s0_se=location_se,
    )


def _record(bins: Bins, peak: _Peak, *, boundary: bool) -> StableFit:
    """Back to the units of the data, and from the centred location to S0 and S1."""
    alpha, beta, sigma = alpha_of(peak.theta), float(peak.theta[1]), bins.scale * math.exp(peak.theta[3])
    assert peak.slope is not None
    covariance = _errors(peak.theta, peak.slope, boundary=boundary)
    errors = [_root(float(entry)) for entry in np.diag(covariance)]
    (mu_s0, mu_s0_se), (mu, mu_se) = _locations(bins, peak.theta, covariance)
    jacobian = -bins.n * math.log(bins.scale)
    return StableFit(
        alpha=alpha,
        beta=None if boundary else beta,
        sigma=sigma,
        mu=mu,
        alpha_se=errors[0],
        beta_se=errors[1],
        sigma_se=None if errors[3] is None else sigma * errors[3],
        mu_se=mu_se,
        alpha_interval=_interval(peak, boundary=boundary),
        loglik=peak.value + jacobian,
        gaussian_loglik=peak.gaussian[2] + jacobian,
        n=bins.n,
        zeros=bins.zeros,
        non_finite=bins.non_finite,
        method=_method(bins, "; ".join(_notes(peak.theta, boundary=boundary))),
        boundary=boundary,
        mu_s0=mu_s0,
        mu_s0_se=mu_s0_se,
    )


def _locations(bins: Bins, theta: Array, covariance: Array) -> list[tuple[float, float | None]]:
    """Location and its error in the S0 and in the S1 form, by the delta method from (α, β, ν/σ, log σ)."""
    alpha, beta, sigma = alpha_of(theta), float(theta[1]), bins.scale * math.exp(theta[3])
    middle = bins.middle + bins.scale * float(theta[2])
    shift, shift_slope = centre(alpha)
    tangent = math.tan(math.pi * alpha / 2) if alpha != 1 else -2 / math.pi * math.log(sigma)
    tangent_slope = math.pi / 2 * (1 + tangent**2)
    known = ~np.isnan(np.diag(covariance))
    located: list[tuple[float, float | None]] = []
    for offset, by_alpha in ((shift, shift_slope), (shift - tangent, shift_slope - tangent_slope)):
        gradient = sigma * np.array([beta * by_alpha, offset, 1.0, beta * offset])[known]
        error = _root(float(gradient @ covariance[np.ix_(known, known)] @ gradient)) if known[2] else None
        located.append((middle + sigma * beta * offset, error))
    return located


def _notes(theta: Array, *, boundary: bool) -> list[str]:
    notes = ["Gaussian not rejected"] if boundary else []
    if not boundary and abs(theta[1]) == 1:
        notes.append("β is at the end of its range, α approximate")
    if theta[0] >= HIGHEST[0]:
        notes.append("α is at the lower end of its range, 0.5")
    return notes


def _root(variance: float) -> float | None:
    return math.sqrt(variance) if variance >= 0 else None


def _method(bins: Bins, note: str) -> str:
    how = f"on {bins.points.size} distinct values" if bins.lossless else "on log-spaced bins"
    text = f"stable law (fitted as S0, location as S1) by maximum likelihood {how}"
    return f"{text}; {note}" if note else text
