"""Spectrum: what a matrix does to a signal, by its singular values, and whether chance could have made them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from scipy.special import stdtrit

from critaudit.analyzers.base import Analyzer, LayerInput, Measurements, Settings, numbers
from critaudit.analyzers.spectral_structure import STRUCTURE_IDS, find, structure, summary
from critaudit.laws.operator_spectrum import QUANTILES, OperatorSpectrum, operator_spectrum
from critaudit.laws.spectrum import Spectrum, spectrum
from critaudit.measurement import Measurement, measured, not_applicable, undetermined
from critaudit.report.record import Finding, Layer

# Measurement name → the field of laws.spectrum.Spectrum.
_FIELDS = {
    "norm": "spectral_norm",
    "frobenius": "frobenius_norm",
    "nuclear": "nuclear_norm",
    "stable_rank": "stable_rank",
    "rank": "rank",
    "effective_rank": "effective_rank",
    "entropy": "entropy",
    "participation": "participation_ratio",
    "condition": "condition_number",
}
_COLLAPSED = 0.5
_OPERATOR_IDS = (
    "operator_norm",
    *(f"operator_q{100 * probability:02.0f}" for probability in QUANTILES),
    "operator_mean_log",
    "operator_condition",
)


def _layer(layer: LayerInput, settings: Settings) -> Measurements:
    if not layer.finite:
        names = (*_FIELDS, *_OPERATOR_IDS, *STRUCTURE_IDS)
        return {f"spectrum.{name}": undetermined("the matrix has NaN or infinite entries") for name in names}
    found = spectrum(layer.blocks, dtype=layer.matrix.dtype)
    n = layer.matrix.groups * min(layer.matrix.rows, layer.matrix.columns)
    measurements = {f"spectrum.{name}": _measurement(found, field, n) for name, field in _FIELDS.items()}
    return measurements | _operator(layer, found.spectral_norm) | structure(layer, found, settings)


def _operator(layer: LayerInput, matrix_norm: float) -> Measurements:
    """The layer as a map of signals: the matrix itself, or the convolution over all images, frequency by frequency."""
    if math.prod(layer.matrix.kernel) <= 1:
        reason = "no convolution over several pixels: the singular values of the matrix are those of the layer"
        return {f"spectrum.{name}": not_applicable(reason) for name in _OPERATOR_IDS}
    found = operator_spectrum(layer.blocks, layer.matrix.kernel, matrix_norm=matrix_norm)
    norm = found.norm
    how = "every one decomposed" if norm.every_frequency else "the best one sought by a power method, may be low"
    method = f"largest singular value over frequencies ({how}); circular padding, stride 1; interval: proven bounds"
    measurements = {
        "operator_norm": measured(norm.norm, interval=(norm.norm, norm.upper), n=norm.frequencies, method=method)
    }
    where = "no image: the kernel is zero" if not norm.frequencies else _where(found)
    for probability, (value, error) in found.quantiles.items():
        measurements[f"operator_q{100 * probability:02.0f}"] = measured(
            value,
            interval=_interval(value, error, found.frequencies),
            n=found.count,
            method=f"value that {probability:.0%} of the operator's singular values stay below; {where}",
        )
    measurements["operator_mean_log"] = (
        undetermined(
            f"{found.unresolved:.1%} of the singular values are below 1e-3 of the largest, where float32 does not "
            "tell them from zero",
            n=found.count,
        )
        if found.mean_log is None
        else measured(
            found.mean_log,
            interval=_interval(found.mean_log, found.mean_log_error, found.frequencies),
            n=found.count,
            method=f"mean of ln σ over the operator's singular values; {where}",
        )
    )
    measurements["operator_condition"] = (
        undetermined("the smallest singular value is not told from zero in float32", n=found.count)
        if found.condition is None
        else measured(found.condition, n=found.count, method=f"largest over smallest singular value; {where}")
    )
    return {f"spectrum.{name}": measurement for name, measurement in measurements.items()}


def _where(found: OperatorSpectrum) -> str:
    """On which images, or at which frequencies, the singular values were taken."""
    if found.image is not None:
        return f"on images of {'×'.join(map(str, found.image))}, circular padding, stride 1, every frequency"
    return (
        f"circular padding, stride 1, at {found.frequencies} frequencies spread evenly over all; interval: how much "
        "these differ"
    )


def _interval(value: float, error: float | None, frequencies: int) -> tuple[float, float] | None:
    """95 % interval of a mean over frequencies, by Student's t; None where every frequency took part."""
    if error is None:
        return None
    reach = error * float(stdtrit(frequencies - 1, 0.975))
    return value - reach, value + reach


def _measurement(found: Spectrum, field: str, n: int) -> Measurement:
    value = getattr(found, field)
    if value is None:
        return undetermined(found.missing.get(field, "not defined for this matrix"), n=n, method=found.method)
    return measured(value, n=n, method=found.method)


def _find(layers: Sequence[Layer], _model: Measurements) -> Iterator[Finding]:
    for layer, rank in numbers(layers, "spectrum.rank"):
        full = layer.measurements["spectrum.rank"].n or 0
        if full > 1 and rank < _COLLAPSED * full:
            yield Finding(
                "spectrum.rank",
                "warning",
                layer.name,
                f"The matrix has numerical rank {int(rank)} of {full}: more than half of its directions carry nothing.",
                ("spectrum.rank",),
                "Low rank can be intended (pruned, factorised or merged layers).",
            )
    yield from find(layers)


SPECTRUM = Analyzer(
    id="spectrum",
    title="Singular values",
    why="Norm and rank say how strongly a layer stretches signals and over how many directions; what chance cannot "
    "make is what training put there.",
    requires="weights",
    spends=True,
    layer=_layer,
    summary=summary,
    find=_find,
)
