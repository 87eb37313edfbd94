"""A network at one moment of its training, and a course made of several such moments."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.advice.course import LayerCourse, OptimizerSetting
from critaudit.advice.decaying.adaptivity import adaptivity
from critaudit.errors import SourceError
from critaudit.laws.moments import moments
from critaudit.model import ModelView, WeightMatrix
from critaudit.structure.names import NORM_SCALE
from critaudit.tensors import TensorRef

Array: TypeAlias = NDArray[np.generic]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """How the optimizer treats one tensor: its setting, the moments that it keeps of it, and the steps it counted."""

    setting: OptimizerSetting
    moments: Mapping[str, Array] = field(default_factory=dict)
    step: float | None = None


@dataclass(frozen=True, slots=True)
class LayerNow:
    """One weight matrix at one moment; fields as in `LayerCourse`."""

    name: str
    kind: str
    shape: tuple[int, ...]
    fan_in: int
    j_squared: float
    j0: float
    activation: str | None
    sigma_b: float | None
    normalised: bool
    setting: OptimizerSetting | None
    adaptivity: float | None


def layers_now(view: ModelView, trained: Mapping[str, Trained]) -> Iterator[LayerNow]:
    """Every matrix of the model that is finite; `trained` says, by tensor, what the optimizer does.

    A matrix counts as normalised where the tensor after it, and its bias, in the order of the file is the scale of
    a normalisation: the order of definition, in which a layer and its normalisation stand together.
    """
    normalised = _before_a_norm(view)
    # Some libraries store inputs × outputs; a square matrix then does not show which it is.
    turned = any(one.shape == (one.columns, one.rows) != (one.rows, one.columns) for one in view.matrices)
    for matrix in view.matrices:
        blocks = matrix.read()
        found = moments(blocks)
        if found.mean is None or found.variance is None or found.nan + found.inf:
            continue
        how = trained.get(matrix.tensor)
        stored = None if how is None or not how.moments else _as_stored(matrix, blocks, turned)
        yield LayerNow(
            name=matrix.name,
            kind=matrix.kind,
            shape=matrix.shape,
            fan_in=matrix.fan_in,
            j_squared=matrix.fan_in * found.variance,
            j0=matrix.fan_in * found.mean,
            activation=matrix.activation,
            sigma_b=_sigma_b(view.biases.get(matrix.tensor), matrix),
            normalised=matrix.tensor in normalised,
            setting=None if how is None else how.setting,
            adaptivity=None
            if how is None or stored is None
            else adaptivity(stored, how.moments, how.setting, step=how.step),
        )


def layer_courses(moments_: Sequence[tuple[float, Sequence[LayerNow]]]) -> tuple[LayerCourse, ...]:
    """The layers of the last moment along the steps of all that have them in the same shape.

    Settings are left out of a layer where one moment lacks them; adaptivity that the first lacks (Adam before its first
    step) is the next one's.
    """
    return tuple(_course(layer, moments_) for layer in (moments_[-1][1] if moments_ else ()))


def _course(last: LayerNow, moments_: Sequence[tuple[float, Sequence[LayerNow]]]) -> LayerCourse:
    found = [
        (step, layer)
        for step, layers in moments_
        for layer in layers
        if (layer.name, layer.shape) == (last.name, last.shape)
    ]
    settings = tuple(layer.setting for _, layer in found if layer.setting is not None)
    return LayerCourse(
        name=last.name,
        shape=last.shape,
        fan_in=last.fan_in,
        steps=tuple(step for step, _ in found),
        j_squared=tuple(layer.j_squared for _, layer in found),
        j0=tuple(layer.j0 for _, layer in found),
        settings=settings if len(settings) == len(found) else (),
        activation=last.activation,
        sigma_b=last.sigma_b,
        adaptivity=_filled([layer.adaptivity for _, layer in found]),
        normalised=last.normalised,
        kind=last.kind,
    )


def _filled(values: Sequence[float | None]) -> tuple[float, ...] | None:
    known = [value for value in values if value is not None]
    if not known or any(value is None for value in values[1:]):
        return None
    return tuple(known[0] if value is None else value for value in values)


def _before_a_norm(view: ModelView) -> set[str]:
    """Tensors of matrices after which, past their bias, a normalisation's scale comes."""
    found, waiting = set(), ""
    matrices = {matrix.tensor for matrix in view.matrices}
    for entry in view.ledger:
        if entry.name in matrices:
            waiting = entry.name
        elif entry.reason is not None and entry.reason.startswith(NORM_SCALE) and waiting:
            found.add(waiting)
            waiting = ""
        elif entry.parameters and not entry.name.endswith("bias"):
            waiting = ""
    return found


def _as_stored(matrix: WeightMatrix, blocks: Array, turned: bool) -> Array | None:
    """The weights in the shape of their tensor, where that is surely the order of the elements."""
    if matrix.kind == "transposed_conv" or matrix.name != matrix.tensor:
        return None
    if len(matrix.shape) == 2 and matrix.shape == (matrix.columns, matrix.rows) and turned:
        return None if matrix.rows == matrix.columns else blocks.reshape(matrix.rows, matrix.columns).T
    return blocks.reshape(matrix.shape) if matrix.shape[:1] == (matrix.groups * matrix.rows,) else None


def _sigma_b(bias: TensorRef | None, matrix: WeightMatrix) -> float | None:
    """Root mean square of the bias beside the matrix."""
    if bias is None or bias.shape != (matrix.groups * matrix.rows,):
        return None
    try:
        values = bias.read().astype(np.float64)
    except SourceError:
        return None
    found = math.sqrt(float(np.mean(np.square(values)))) if values.size else 0.0
    return found if math.isfinite(found) else None
