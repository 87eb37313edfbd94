"""Surrogate paths: signals with the linear statistics of the measured ones, and none of their dynamics.

What a threshold makes of such paths is what *any* correlated noise would show. Avalanche exponents that surrogates
share are no evidence of criticality.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter
from scipy.special import ndtri

from critaudit.errors import CritauditError, UsageError

Array = NDArray[np.float64]
SurrogateKind: TypeAlias = Literal["phase", "autoregressive", "gaussian"]

_LONGEST_ORDER = 32
_BURN_IN = 20  # in units of the order and of the correlation length, whichever is longer


def surrogate_paths(
    strengths: ArrayLike,
    rng: np.random.Generator,
    *,
    kind: SurrogateKind = "phase",
    order: int | None = None,
) -> Array:
    """As many paths as there are in `strengths` (paths × layers), random but with the same linear statistics.

    Every layer keeps its own values exactly, only dealt to other paths (amplitude adjustment: Theiler et al., Physica D
    58, 77 (1992)), so that mean, variance and the share above any threshold stay, and a strength stays positive. What
    is randomised are the layers' normal scores:

    - `phase`: the Fourier phases of each path along the layers. Keeps each path's mean and periodogram, and so the
      circular autocorrelation.
    - `autoregressive`: an AR(p) process with the autocorrelation of the paths up to lag p (Yule–Walker); p is `order`,
      or the one that Akaike's criterion prefers. Assumes that correlations depend on the distance of layers only.
    - `gaussian`: Gaussian paths with the full covariance of layers, whatever its form.

    Raises CritauditError for fewer than two paths or three layers, or values that are not finite; UsageError for an
    unknown kind or an order that is not 1 … layers − 1.
    """
    paths = np.asarray(strengths, dtype=np.float64)
    if paths.ndim != 2 or paths.shape[0] < 2 or paths.shape[1] < 3:
        raise CritauditError(
            f"surrogates of strengths of shape {paths.shape} were asked for; pass paths × layers, 2 × 3 or more"
        )
    if not np.all(np.isfinite(paths)):
        raise CritauditError("surrogates of strengths that are not finite were asked for; leave such paths out")
    if kind not in get_args(SurrogateKind):
        raise UsageError(f"unknown kind of surrogate {kind!r}; use one of: {', '.join(get_args(SurrogateKind))}")
    if order is not None and not 1 <= order < paths.shape[1]:
        raise UsageError(f"an autoregressive order of {order} for {paths.shape[1]} layers; use 1 … layers − 1")
    scores = _normal_scores(paths, rng)
    if kind == "phase":
        noise = _phase_randomised(scores, rng)
    elif kind == "gaussian":
        noise = _gaussian(scores, rng)
    else:
        noise = _autoregressive(scores, rng, order)
    # The k-th smallest of a layer's noise gets the k-th smallest of the layer's values.
    ranks = np.argsort(np.argsort(noise, axis=0), axis=0)
    return np.take_along_axis(np.sort(paths, axis=0), ranks, axis=0)


def _normal_scores(paths: Array, rng: np.random.Generator) -> Array:
    """Each layer's values replaced by normal quantiles of their ranks over the paths; equal values in random order."""
    shuffled = rng.permuted(np.broadcast_to(np.arange(paths.shape[0])[:, np.newaxis], paths.shape), axis=0)
    ranks = np.empty(paths.shape, dtype=np.intp)
    places = np.lexsort((shuffled, paths), axis=0)
    np.put_along_axis(ranks, places, np.arange(paths.shape[0])[:, np.newaxis], axis=0)
    scores: Array = ndtri((ranks + 0.5) / paths.shape[0])
    # A layer that is the same on every path (an input of fixed strength) has no fluctuations to hand on.
    scores[:, paths.min(axis=0) == paths.max(axis=0)] = 0.0
    return scores


def _phase_randomised(scores: Array, rng: np.random.Generator) -> Array:
    layers = scores.shape[1]
    spectrum = np.fft.rfft(scores, axis=1)
    turns = np.exp(2j * np.pi * rng.random(spectrum.shape))
    turns[:, 0] = 1.0
    if layers % 2 == 0:
        # The highest frequency of an even length is real: only its sign is free.
        turns[:, -1] = rng.choice((-1.0, 1.0), scores.shape[0])
    return np.fft.irfft(spectrum * turns, n=layers, axis=1)


def _gaussian(scores: Array, rng: np.random.Generator) -> Array:
    values, vectors = np.linalg.eigh(scores.T @ scores / scores.shape[0])
    noise = rng.standard_normal(scores.shape)
    mixed: Array = noise @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    return mixed


def _autoregressive(scores: Array, rng: np.random.Generator, order: int | None) -> Array:
    layers = scores.shape[1]
    longest = order if order is not None else max(1, min(_LONGEST_ORDER, layers // 3))
    # Divided by all layers at every lag (biased): positive definite, so the process is stationary.
    lags = np.array(
        [np.mean(np.sum(scores[:, lag:] * scores[:, : layers - lag], axis=1)) for lag in range(longest + 1)]
    )
    if lags[0] <= 0.0:
        return rng.standard_normal(scores.shape)
    lags /= lags[0]
    lags[0] += 1e-10
    coefficients, innovation = _yule_walker(lags, longest, order, scores.size)
    memory = 1.0 / max(1.0 - float(np.abs(np.roots([1.0, *(-coefficients)])).max()), 1e-3)
    start = int(_BURN_IN * max(coefficients.size, min(memory, 10.0 * layers)))
    start = min(start, 20_000)
    noise = rng.standard_normal((scores.shape[0], start + layers)) * np.sqrt(innovation)
    filtered: Array = lfilter([1.0], [1.0, *(-coefficients)], noise, axis=1)[:, start:]
    return filtered


def _yule_walker(lags: Array, longest: int, order: int | None, n: int) -> tuple[Array, float]:
    """Coefficients and innovation variance of the AR process of the given order, or of the one that AIC prefers."""
    best: tuple[float, Array, float] | None = None
    for p in [order] if order is not None else range(1, longest + 1):
        coefficients = solve_toeplitz(lags[:p], lags[1 : p + 1])
        innovation = max(float(lags[0] - coefficients @ lags[1 : p + 1]), 1e-12)
        criterion = n * np.log(innovation) + 2.0 * p
        if best is None or criterion < best[0]:
            best = (float(criterion), coefficients, innovation)
    if best is None:
        raise CritauditError("an autoregressive order below one was asked for; use 1 or more")
    return best[1], best[2]
