"""A live network and its optimizer as a course of one moment, with what the optimizer's decay takes from J²."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from critaudit.advice.course import Course, LayerCourse
from critaudit.advice.decaying.adaptivity import SCALING
from critaudit.advice.decaying.measured_decay import measure_decay
from critaudit.advice.decaying.moments import Trained, layer_courses, layers_now
from critaudit.advice.optimizers import decay_rate, setting_of
from critaudit.errors import UsageError
from critaudit.sources import load
from critaudit.text import printable

if TYPE_CHECKING:
    import torch
    from torch import nn


def course_of_live(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    dataset_size: int | None,
    batch_size: int | None,
    arch: str | None,
    steps: float | None,
) -> Course:
    """The network now, in a course of one record; `steps` where the optimizer does not count them itself (SGD).

    Nothing of either changes. Raises UsageError where the optimizer trains none of the network's weights.
    """
    view = load(module, arch=arch)
    trained = _trained(module, optimizer)
    if not any(matrix.tensor in trained for matrix in view.matrices):
        raise UsageError("the optimizer trains none of the network's weight matrices; give the one that does")
    counted = max((one.step for one in trained.values() if one.step is not None), default=None)
    at = steps if steps is not None else counted or 0.0
    return with_measured_decay(
        Course(
            layers=layer_courses([(float(at), tuple(layers_now(view, trained)))]),
            dataset_size=dataset_size,
            batch_size=batch_size,
            source=printable(type(module).__name__, limit=80),
        ),
        module,
        optimizer,
    )


def with_measured_decay(course: Course, module: nn.Module, optimizer: torch.optim.Optimizer) -> Course:
    """The course with the rate of decay measured for layers whose optimizer has no formula that can be evaluated.

    Where it cannot be measured (no gradients are stored), the reason becomes one of the course's notes.
    """
    parameters = _parameters(module)
    wanted = [layer for layer in course.layers if _needs_measuring(layer) and layer.name in parameters]
    if not wanted:
        return course
    try:
        rates = measure_decay(optimizer, [parameters[layer.name] for layer in wanted])
    except UsageError as error:
        return replace(course, notes=(*course.notes, str(error)))
    found = dict(zip((layer.name for layer in wanted), rates, strict=True))
    layers = tuple(
        replace(layer, measured_decay=found.get(layer.name, layer.measured_decay)) for layer in course.layers
    )
    return replace(course, layers=layers)


def _needs_measuring(layer: LayerCourse) -> bool:
    if not layer.settings or layer.measured_decay is not None:
        return False
    scaled = layer.adaptivity[-1] if layer.adaptivity else None
    return decay_rate(layer.settings[-1], adaptivity=scaled, step=layer.steps[-1]).per_step is None


def _parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    from critaudit.sources.live import reader

    inner = reader.unwrapped(module)
    return {printable(name): one for name, one in inner.named_parameters(remove_duplicate=False)}


def _trained(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Trained]:
    """By tensor, how the optimizer treats it."""
    groups = {id(one): group for group in optimizer.param_groups for one in group["params"]}
    name = type(optimizer).__name__
    found = {}
    for tensor, one in _parameters(module).items():
        group = groups.get(id(one))
        if group is not None:
            state: Mapping[str, Any] = optimizer.state.get(one, {})
            step = state.get("step")
            found[tensor] = Trained(
                setting_of(group, name=name), _moments(state), None if step is None else float(step)
            )
    return found


def _moments(state: Mapping[str, Any]) -> dict[str, NDArray[np.generic]]:
    """The moments that scale gradients, copied only where they are elsewhere or narrow."""
    return {key: state[key].detach().cpu().float().numpy() for key in SCALING if key in state and state[key].ndim}
