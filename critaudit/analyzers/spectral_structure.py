"""Noise or structure: the second half of the spectrum analyzer. Tails, spikes, nulls and the verdict of a matrix."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from critaudit.analyzers.base import LayerInput, Measurements, Settings, numbers
from critaudit.errors import CritauditError
from critaudit.laws.marchenko_pastur import fit_marchenko_pastur
from critaudit.laws.power_law import PowerTail, fit_power_tail
from critaudit.laws.spectral_verdict import (
    LEVEL,
    STABLE_DRAWS,
    STABLE_UP_TO,
    arrangement_test,
    compare_noise,
    compare_shuffled,
    judge,
    shuffles_to_noise,
    stable_p_value,
)
from critaudit.laws.spectrum import Spectrum, spectrum
from critaudit.laws.sphericity import NoiseTest, noise_test
from critaudit.measurement import Measurement, measured, not_applicable, undetermined
from critaudit.report.record import Finding, Layer

Array = NDArray[np.float64]

_POWER = ("exponent", "exponent_preferred", "alpha_weighted", "log_alpha_norm")
_BULK = ("mp_spikes", "mp_softrank")
_RANDOM = ("null_p", "stable_p", "shuffled_p", "correlated_directions", "shuffled_distance", "traps", "verdict")
STRUCTURE_IDS = ("log_norm", "log_spectral_norm", *_POWER, *_BULK, *_RANDOM)
_SMALLEST_P = 1e-300
_EQUAL = 1e-4
_RESAMPLES = 100
_REJECTS_GAUSSIAN = 10.8  # χ² with one degree of freedom at 0.1 %
_WATCHER = "WeightWatcher's definition; changes with the scale of the weights"
_RANDOM_VERDICTS = ("indistinguishable from random", "heavy-tailed entries, no correlations")
_TRAINED = "correlated (trained) structure"


def structure(layer: LayerInput, found: Spectrum, settings: Settings) -> Measurements:
    """What the spectrum of a finite matrix says beyond its scalars, by measurement ID."""
    blocks, view = layer.blocks, ""
    groups, rows, columns = blocks.shape
    if groups > 1 and min(rows, columns) == 1:
        # A depthwise layer: each block is a vector and has no spectrum, but the filters together do.
        blocks, view = blocks.reshape(1, groups, rows * columns), "one filter per row; "
        found = spectrum(blocks, dtype=layer.matrix.dtype)
    reason = _unfit(found, blocks)
    if reason is not None:
        return {f"spectrum.{name}": not_applicable(reason) for name in STRUCTURE_IDS}
    # Seeded by signs, not by the name: the same matrix in another container or unit gives the same measurements.
    rng = np.random.default_rng(
        [settings.seed, zlib.crc32(np.packbits(np.asarray(layer.blocks[0, :8], np.float32) > 0).tobytes())]
    )
    n, eigenvalue = found.singular_values.size, 2.0 * math.log10(found.spectral_norm)
    measurements = {
        "log_norm": measured(2.0 * math.log10(found.frobenius_norm), n=n, method=f"log₁₀ ‖W‖_F²; {view}{_WATCHER}"),
        "log_spectral_norm": measured(eigenvalue, n=n, method=f"log₁₀ λ_max of WᵀW; {view}{_WATCHER}"),
    }
    if not found.complete:
        missing = undetermined(f"needs all singular values; {found.method}", n=n)
        measurements |= dict.fromkeys((*_POWER, *_BULK, *_RANDOM), missing)
    else:
        measurements |= _tail(found, eigenvalue, view, rng)
        measurements |= _either(_BULK, n, lambda: _bulk(found, view))
        measurements |= _either(_RANDOM, n, lambda: _randomness(layer, blocks, found, view, settings.seed, rng))
    return {f"spectrum.{name}": measurement for name, measurement in measurements.items()}


def _unfit(found: Spectrum, blocks: NDArray[np.generic]) -> str | None:
    """Why nothing can be said about the structure of a matrix, if so."""
    _, rows, columns = found.shape
    if min(rows, columns) == 1:
        return f"a {rows}×{columns} matrix has one singular value, which has no distribution"
    low = float(blocks.min())
    return f"every entry is {low:g}" if low == float(blocks.max()) else None


def _either(names: Iterable[str], n: int, compute: Callable[[], dict[str, Measurement]]) -> dict[str, Measurement]:
    """The computed measurements, or the reason in each one's place."""
    try:
        return compute()
    except CritauditError as error:
        return dict.fromkeys(names, undetermined(str(error), n=n))


def _tail(found: Spectrum, log_largest: float, view: str, rng: np.random.Generator) -> dict[str, Measurement]:
    """The power law of the upper eigenvalues, the laws beside it, and what WeightWatcher makes of its exponent."""
    values = found.singular_values[found.singular_values > found.rank_tolerance]
    if values[-1] > (1.0 - _EQUAL) * values[0]:
        return dict.fromkeys(_POWER, undetermined("all singular values are equal within rounding", n=values.size))
    try:
        # In units of the largest: nothing then depends on the scale of the weights.
        tail = fit_power_tail(np.square(values / found.spectral_norm), bootstrap=_RESAMPLES, rng=rng)
    except CritauditError as error:
        return dict.fromkeys(_POWER, undetermined(str(error), n=values.size))
    xmin = tail.xmin * found.spectral_norm**2
    method = (
        f"maximum likelihood for the density of eigenvalues of WᵀW above xmin = {xmin:.4g} ({tail.n_tail} of {tail.n}, "
        f"Kolmogorov–Smirnov distance {tail.distance:.3g}); {view}interval from {_RESAMPLES} resamples"
    )
    a = tail.exponent
    logs = 2.0 * a * np.log10(values / found.spectral_norm)
    weighted = (tail.interval[0] * log_largest, tail.interval[1] * log_largest)
    return {
        "exponent": measured(a, interval=tail.interval, n=tail.n_tail, method=method),
        "exponent_preferred": _preferred(tail),
        "alpha_weighted": measured(
            a * log_largest,
            interval=(min(weighted), max(weighted)),
            n=tail.n_tail,
            method=f"exponent · log₁₀ λ_max; {_WATCHER}",
        ),
        "log_alpha_norm": measured(
            a * log_largest + math.log10(math.fsum(10.0**logs)), n=values.size, method=f"log₁₀ Σ λ^exponent; {_WATCHER}"
        ),
    }


def _preferred(tail: PowerTail) -> Measurement:
    tests = ", ".join(f"{test.law.replace('_', ' ')} {test.z:+.2g} (p {test.p:.2g})" for test in tail.comparisons)
    method = f"likelihood ratios of the power law in standard deviations: {tests}"
    if tail.preferred == "undetermined":
        return undetermined("no law is left standing alone on this tail", n=tail.n_tail, method=method)
    return measured(tail.preferred.replace("_", " "), n=tail.n_tail, method=method)


def _bulk(found: Spectrum, view: str) -> dict[str, Measurement]:
    groups, rows, columns = found.shape
    if found.rank is not None and 2 * found.rank <= found.count:
        raise CritauditError(f"the rank is {found.rank} of {found.count}: there is no bulk of noise to fit")
    fit = fit_marchenko_pastur(found.singular_values, rows, columns, groups=groups)
    n = found.singular_values.size
    method = (
        f"{view}Marchenko–Pastur law of the bulk, edge {fit.upper_edge:.4g}; noise exceeds {fit.threshold:.4g} with "
        f"probability {fit.level:.0%} (Tracy–Widom); Kolmogorov–Smirnov distance {fit.distance:.3g}"
    )
    return {
        "mp_spikes": measured(fit.spikes, n=n, method=method),
        "mp_softrank": measured(
            fit.soft_rank, n=n, method=f"squared edge over squared largest singular value; {method}"
        ),
    }


def _randomness(
    layer: LayerInput, blocks: NDArray[np.generic], found: Spectrum, view: str, seed: int, rng: np.random.Generator
) -> dict[str, Measurement]:
    """The comparisons with chance, and the verdict."""
    groups, rows, columns = found.shape
    n, values = found.singular_values.size, found.singular_values
    gaussian = noise_test(values, rows, columns, groups=groups)
    entries = layer.moments()
    ranks, directions = arrangement_test(blocks, entries, values, rng)
    if shuffles_to_noise(entries, rows, columns):
        beside = compare_noise(values, found.frobenius_norm, rows, columns, groups=groups, seed=seed)
        shuffle = f"{view}Gaussian noise of this size and norm, which light-tailed entries like these are when shuffled"
    else:
        beside = compare_shuffled(blocks, values, found.frobenius_norm, rng)
        shuffle = f"{view}one shuffle of the entries, seeded by the signs of its first rows"
    verdict, reason = judge(gaussian, ranks)
    method = f"{view}level {LEVEL:.0%} for each matrix by itself: of 20 random ones, one is no longer called random"
    arrangements = "against all arrangements of the same entries, by their normal scores (Gaussian ones are their own)"
    return {
        "null_p": _p_value(gaussian, n, f"{view}against independent Gaussian entries"),
        "stable_p": _stable_p(layer, values, groups, rows, columns),
        "shuffled_p": _p_value(ranks, n, f"{view}{arrangements}"),
        "correlated_directions": measured(
            directions, n=n, method=f"{view}Marchenko–Pastur spikes of the normal scores"
        ),
        "shuffled_distance": measured(beside.distance, n=n, method=f"√Σ(σ − σ′)²/‖W‖_F; {shuffle}"),
        "traps": measured(beside.traps, n=n, method=f"Marchenko–Pastur spikes of {shuffle}"),
        "verdict": undetermined(reason, n=n, method=method)
        if verdict == "undetermined"
        else measured(verdict, n=n, method=method, reason=reason),
    }


def _p_value(test: NoiseTest, n: int, against: str) -> Measurement:
    method = (
        f"{against}: inequality of σ² {test.inequality:+.3g} and largest σ² {test.top:+.3g} standard deviations from "
        "noise of this size, both together (Bonferroni)"
    )
    return measured(max(test.p, _SMALLEST_P), n=n, method=method)


def _stable_p(layer: LayerInput, values: Array, groups: int, rows: int, columns: int) -> Measurement:
    """Against independent stable entries of the fitted α, where the entries are heavier than Gaussian."""
    try:
        fit = layer.stable_fit()
    except CritauditError as error:
        return undetermined(str(error), n=values.size)
    # At 0.1 %, as in the verdict on the entries: of many Gaussian layers, one in twenty is rejected at 5 %.
    if fit.boundary or 2.0 * (fit.loglik - fit.gaussian_loglik) <= _REJECTS_GAUSSIAN:
        return not_applicable("the entries are not heavier-tailed than Gaussian: the Gaussian null is the stable one")
    size = groups * rows * columns
    if size > STABLE_UP_TO:
        return not_applicable(
            f"{size:,} entries: matrices above {STABLE_UP_TO:,} are not simulated, which would take most of the audit; "
            "the comparison with all arrangements of the same entries asks the same without assuming a law"
        )
    p = stable_p_value(values, rows, columns, fit.alpha, groups=groups)
    return measured(p, n=values.size, method=f"two-sided, among {STABLE_DRAWS} matrices with α = {fit.alpha:.3g}")


def summary(layers: Sequence[Layer]) -> Measurements:
    """How many matrices are trained, with false discoveries controlled, and the mean of alpha_weighted."""
    judged = numbers(layers, "spectrum.shuffled_p")
    weighted = [value for _, value in numbers(layers, "spectrum.alpha_weighted")]
    trained = sum(_verdict(layer) == _TRAINED for layer in _discoveries(judged))
    return {
        "spectrum.trained_layers": measured(
            trained,
            n=len(judged),
            method=f"verdicts of trained structure that outlast Benjamini & Hochberg (1995) over all layers at "
            f"{LEVEL:.0%}; layers more even than random, which orthogonal initialisation makes too, are not counted",
        )
        if judged
        else undetermined("no layer could be compared with chance", n=0),
        "spectrum.alpha_weighted_mean": measured(
            math.fsum(weighted) / len(weighted),
            interval=(min(weighted), max(weighted)),
            n=len(weighted),
            method=f"mean over layers; interval: their range; {_WATCHER}",
        )
        if weighted
        else undetermined("no layer has a power-law tail to weigh", n=0),
    }


def _discoveries(judged: Sequence[tuple[Layer, float]]) -> list[Layer]:
    """The layers whose p-values are rejected while at most 5 % of the rejections are expected to be false."""
    ascending = sorted(judged, key=lambda item: item[1])
    last = max((k for k, (_, p) in enumerate(ascending, 1) if p <= LEVEL * k / len(ascending)), default=0)
    return [layer for layer, _ in ascending[:last]]


def _verdict(layer: Layer) -> object:
    measurement = layer.measurements.get("spectrum.verdict")
    return None if measurement is None else measurement.value


def find(layers: Sequence[Layer]) -> Iterator[Finding]:
    """Says how many matrices show no sign of training."""
    judged = [layer for layer, _ in numbers(layers, "spectrum.shuffled_p")]
    random = [layer for layer in judged if _verdict(layer) in _RANDOM_VERDICTS]
    if not random:
        return
    most = 2 * len(random) > len(judged)
    which = f": {random[0].name}" if len(random) == 1 < len(judged) else ""
    meaning = ": this network looks untrained" if most and len(judged) > 1 else ""
    yield Finding(
        "spectrum.random",
        "warning" if most and len(judged) > 1 else "info",
        random[0].name if len(random) == 1 else None,
        f"{len(random)} of {len(judged)} layers are indistinguishable from random at {LEVEL:.0%}{which}{meaning}.",
        ("spectrum.verdict", "spectrum.shuffled_p"),
        "A layer that is small, or that training changed only a little, may look random; one random layer in twenty "
        "falls outside by chance, so read a single layer's verdict with the number of layers in mind.",
    )
