"""Spectrum: what a matrix does to a signal, by its singular values, and whether chance could have made them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from critaudit.analyzers.base import Analyzer, LayerInput, Measurements, Settings, numbers
from critaudit.analyzers.spectral_structure import STRUCTURE_IDS, find, structure, summary
from critaudit.laws.convolution import convolution_norm
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


def _layer(layer: LayerInput, settings: Settings) -> Measurements:
    if not layer.finite:
        names = (*_FIELDS, "operator_norm", *STRUCTURE_IDS)
        return {f"spectrum.{name}": undetermined("the matrix has NaN or infinite entries") for name in names}
    found = spectrum(layer.blocks, dtype=layer.matrix.dtype)
    n = layer.matrix.groups * min(layer.matrix.rows, layer.matrix.columns)
    measurements = {f"spectrum.{name}": _measurement(found, field, n) for name, field in _FIELDS.items()}
    return (
        measurements
        | {"spectrum.operator_norm": _operator_norm(layer, found.spectral_norm)}
        | structure(layer, found, settings)
    )


def _operator_norm(layer: LayerInput, matrix_norm: float) -> Measurement:
    """The layer's norm as a map of signals: of the matrix itself, or of the convolution over all images."""
    if math.prod(layer.matrix.kernel) <= 1:
        return not_applicable("no convolution over several pixels: the norm of the matrix is that of the layer")
    found = convolution_norm(layer.blocks, layer.matrix.kernel, matrix_norm=matrix_norm)
    how = "every one decomposed" if found.every_frequency else "the best one sought by a power method, may be low"
    method = f"largest singular value over frequencies ({how}); circular padding, stride 1; interval: proven bounds"
    return measured(found.norm, interval=(found.norm, found.upper), n=found.frequencies, method=method)


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
