"""From whatever a training left behind to its course: records, a monitor, its log, checkpoints, a live network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from critaudit.advice.course import Course, LayerCourse, OptimizerSetting
from critaudit.advice.decaying.checkpoints import Told, checkpoints_in, course_of_checkpoints
from critaudit.advice.optimizers import renamed, setting_of, settings_of
from critaudit.errors import UsageError
from critaudit.logs import is_log
from critaudit.text import kind_of, printable

if TYPE_CHECKING:
    from torch import nn

# The log's format belongs to the monitor, which stands above advice: it is found by name when a log is given.
_LOGS = "critaudit.training"


def gather(
    source: object,
    *,
    model: object = None,
    optimizer: object = None,
    dataset_size: int | None = None,
    batch_size: int | None = None,
    activation: str | None = None,
    arch: str | None = None,
    steps: float | None = None,
) -> Course:
    """The course that `source` tells.

    It is a Course, anything with a method `course()`, a Monitor's log, checkpoints (a path, a folder, a list of paths),
    or an nn.Module with its live `optimizer`.

    `optimizer` is the live one, its class's name, an OptimizerSetting or an entry of `param_groups`: a name tells what
    checkpoints do not say, a setting counts for all layers where the source has none. With a live `optimizer` and
    `model` the rate of decay is measured where no formula is known. Sizes that are given count before those of the
    source. Raises UsageError for anything else, and SourceError where files cannot be read.
    """
    _check_sizes(dataset_size, batch_size)
    live = optimizer if hasattr(optimizer, "param_groups") else None
    if live is None:
        live = getattr(source, "optimizer", None) if hasattr(source, "course") else None
    told = _told(optimizer)
    if is_module(source):
        if live is None:
            raise UsageError(
                "a network alone says nothing of its training; give its live optimizer as well: optimizer="
            )
        from critaudit.advice.decaying.live_training import course_of_live

        return course_of_live(
            source,
            live,  # type: ignore[arg-type]
            dataset_size=dataset_size,
            batch_size=batch_size,
            arch=arch,
            steps=steps,
        )
    course = _recorded(source)
    if course is None:
        paths = _paths(source)
        course = course_of_checkpoints(paths, Told(told, dataset_size, batch_size, activation, arch, steps))
    course = replace(
        course,
        layers=tuple(_with_setting(layer, told) for layer in course.layers),
        dataset_size=dataset_size or course.dataset_size,
        batch_size=batch_size or course.batch_size,
    )
    network = model if model is not None else getattr(source, "model", None)
    if live is not None and is_module(network):
        from critaudit.advice.decaying.live_training import with_measured_decay

        return with_measured_decay(course, network, live)  # type: ignore[arg-type]
    return course


def _check_sizes(*sizes: int | None) -> None:
    for name, size in zip(("dataset_size", "batch_size"), sizes, strict=True):
        if size is not None and not size >= 1:
            raise UsageError(f"{name} = {size}: a whole number from 1 on is expected")


def _told(optimizer: object) -> OptimizerSetting | str | None:
    """What the user says of the optimizer: a name, or one setting for all layers."""
    if optimizer is None or isinstance(optimizer, (str, OptimizerSetting)):
        return optimizer
    if isinstance(optimizer, dict):
        return setting_of(optimizer)
    settings = settings_of(optimizer)
    return settings[0] if len(set(settings)) == 1 else settings[0].name


def _recorded(source: object) -> Course | None:
    """The course of a record, a monitor or a log; None where the source is none of them."""
    if isinstance(source, Course):
        return source
    if hasattr(source, "course"):
        found = source.course()
        if not isinstance(found, Course):
            raise UsageError(f"{kind_of(source)}: its course() gave {kind_of(found)}; a Course is expected")
        return found
    if isinstance(source, (str, os.PathLike)) and is_log(source):
        read: Any = import_module(_LOGS).read_course
        course: Course = read(source)
        return course
    return None


def _paths(source: object) -> list[Path]:
    if isinstance(source, (str, os.PathLike)):
        place = Path(source)
        return checkpoints_in(place) if place.is_dir() else [place]
    if isinstance(source, Sequence) and source and all(isinstance(one, (str, os.PathLike)) for one in source):
        return [Path(one) for one in source]
    raise UsageError(
        f"{kind_of(source)} was given; a Course, a Monitor or its log, checkpoints (paths or a folder), or a network "
        "with its optimizer is expected"
    )


def _with_setting(layer: LayerCourse, told: OptimizerSetting | str | None) -> LayerCourse:
    """The layer with what the user says of the optimizer, where the source does not say it."""
    if isinstance(told, OptimizerSetting) and not layer.settings:
        return replace(layer, settings=(told,) * len(layer.steps))
    if isinstance(told, str) and layer.settings:
        name = printable(told, limit=80)
        return replace(layer, settings=tuple(renamed(setting, name) for setting in layer.settings))
    return layer


def is_module(value: object) -> TypeGuard[nn.Module]:
    """Whether this is an nn.Module, without loading PyTorch for what surely is none."""
    if not any(kind.__module__.startswith("torch.") for kind in type(value).__mro__):
        return False
    from torch import nn

    return isinstance(value, nn.Module)
