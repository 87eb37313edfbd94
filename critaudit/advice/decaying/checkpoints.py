"""A training as a course, from its checkpoints."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from critaudit.advice.course import Course, OptimizerSetting
from critaudit.advice.decaying.moments import LayerNow, Trained, layer_courses, layers_now
from critaudit.advice.decaying.parameter_groups import trained_tensors
from critaudit.errors import UsageError
from critaudit.model import ModelView
from critaudit.sources import load
from critaudit.sources.folders.folder import holds_one_model, may_be_a_model
from critaudit.sources.folders.json_file import read_json_object
from critaudit.sources.pytorch.optimizer_state import read_optimizer
from critaudit.sources.steps import step_of
from critaudit.tensors import RegularFile

_DATASET_KEYS = ("dataset_size", "n_train", "train_size", "num_samples")
_BATCH_KEYS = ("batch_size",)
_LARGEST_STATE = 64 * 2**20
_TRAINER_STATE = "trainer_state.json"


@dataclass(frozen=True, slots=True)
class Told:
    """What the user says beside the checkpoints; None where they are to say it.

    `setting` is the optimizer's for all layers, or its class's name alone; `steps` those until the last checkpoint.
    """

    setting: OptimizerSetting | str | None = None
    dataset_size: int | None = None
    batch_size: int | None = None
    activation: str | None = None
    arch: str | None = None
    steps: float | None = None


@dataclass(frozen=True, slots=True)
class _Moment:
    name: str
    step: float | None
    unit: str
    layers: tuple[LayerNow, ...]
    dataset_size: int | None
    batch_size: int | None


def course_of_checkpoints(paths: Sequence[str | os.PathLike[str]], told: Told) -> Course:
    """The course of a training in the order of its checkpoints' steps.

    Steps are those that the optimizer counted (Adam's family), else what a checkpoint says (global_step, …, epoch),
    else the number in its name; epochs become steps by dataset_size/batch_size, given or in the checkpoint. Raises
    UsageError where the order cannot be told, SourceError where a checkpoint cannot be read.
    """
    if not paths:
        raise UsageError("no checkpoints were given; at least one path is expected")
    return _course([_moment(Path(path), told) for path in paths], told)


def _course(found: Sequence[_Moment], told: Told) -> Course:
    """The moments in order."""
    dataset = told.dataset_size or next((one.dataset_size for one in found if one.dataset_size), None)
    batch = told.batch_size or next((one.batch_size for one in found if one.batch_size), None)
    notes = []
    if dataset and batch and not (told.dataset_size and told.batch_size):
        notes.append(f"dataset_size = {dataset} and batch_size = {batch} as the checkpoints say")
    if len(found) == 1 and told.steps is not None:
        at, unit = [float(told.steps)], "step"
    else:
        at, unit = _steps(found, None if not dataset or not batch else dataset / batch)
    ordered = sorted(zip(at, found, strict=True), key=lambda pair: pair[0])
    for (step, one), (following, other) in pairwise(ordered):
        if step == following:
            raise UsageError(
                f"{one.name} and {other.name} are both of {unit} {step:g}; give each moment of one training once"
            )
    return Course(
        layers=layer_courses([(step, one.layers) for step, one in ordered]),
        dataset_size=dataset,
        batch_size=batch,
        source=ordered[-1][1].name if len(ordered) == 1 else f"{len(ordered)} checkpoints",
        notes=tuple(notes),
        unit="epoch" if unit == "epoch" else "step",
    )


def course_of_view(view: ModelView, told: Told) -> Course:
    """The course of one checkpoint that is open already: one moment. Raises as `course_of_checkpoints`."""
    path = view.source.path
    if path is None:
        raise UsageError(f"{view.source.name}: this source is no checkpoint; a file or folder is expected")
    return _course([_moment(path, told, view)], told)


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder: model files side by side, and subfolders that are one model each.

    A folder that is one model itself (Hugging Face's) is one checkpoint. Raises UsageError where there is none.
    """
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    files = [entry for entry in entries if entry.is_file()]
    if holds_one_model([entry.name for entry in files]):
        return [folder]
    found = [entry for entry in files if may_be_a_model(entry.name)]
    for entry in entries:
        if entry.is_dir() and holds_one_model([inner.name for inner in entry.iterdir() if inner.is_file()]):
            found.append(entry)
    if not found:
        raise UsageError(f"{folder}: no checkpoints are in this folder; model files or folders of models are expected")
    return found


def _moment(path: Path, told: Told, opened: ModelView | None = None) -> _Moment:
    view = opened or load(path, arch=told.arch, activation=told.activation)
    saved = read_optimizer(path)
    if isinstance(told.setting, OptimizerSetting):
        trained = {matrix.tensor: Trained(told.setting) for matrix in view.matrices}
    elif saved is None:
        trained = {}
    else:
        trained = trained_tensors(view, saved, name=told.setting)
    metadata = dict(view.metadata) | _trainer_state(path)
    counted = None if saved is None else saved.steps
    step, unit = (float(counted), "step") if counted else step_of(path.name, metadata) or (None, "step")
    return _Moment(
        name=path.name,
        step=step,
        unit=unit,
        layers=tuple(layers_now(view, trained)),
        dataset_size=_whole(metadata, _DATASET_KEYS),
        batch_size=_whole(metadata, _BATCH_KEYS),
    )


def _steps(moments: Sequence[_Moment], per_epoch: float | None) -> tuple[list[float], str]:
    """The steps of the moments and their unit, epochs turned into steps where that is known."""
    if len(moments) == 1 and (moments[0].step is None or moments[0].unit == "checkpoint"):
        return [0.0], "step"  # not known
    unknown = next((one for one in moments if one.step is None), None)
    if unknown is not None:
        raise UsageError(
            f"{unknown.name} does not say how far the training was; a step or epoch in it or in its name is expected"
        )
    units = {one.unit for one in moments}
    if units == {"step", "epoch"} and per_epoch is not None:
        factors = {"step": 1.0, "epoch": per_epoch}
        return [factors[one.unit] * (one.step or 0.0) for one in moments], "step"
    if len(units) > 1:
        # Adam counts no step at the beginning, when only an epoch or a number in the name is known: that is 0.
        rest = {one.unit for one in moments if one.step}
        if len(rest) != 1:
            raise UsageError(
                f"some checkpoints count {' and others '.join(sorted(units))}s; give dataset_size= and batch_size="
            )
        units = rest
    unit = units.pop()
    if unit == "checkpoint":
        raise UsageError(
            f"{moments[0].name} says neither its step nor its epoch, and the number in its name may be either; call "
            "the checkpoints step_N or epoch_N"
        )
    factor = per_epoch if unit == "epoch" and per_epoch is not None else 1.0
    return [factor * (one.step or 0.0) for one in moments], "step" if per_epoch is not None else unit


def _whole(metadata: Mapping[str, object], keys: Sequence[str]) -> int | None:
    """A positive whole number under one of `keys`, also one level down (hyper_parameters, args)."""
    places = [metadata, *(value for value in metadata.values() if isinstance(value, Mapping))]
    for place in places:
        for key in keys:
            value = place.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None


def _trainer_state(path: Path) -> dict[str, object]:
    """The global step that Hugging Face's Trainer writes beside its checkpoints."""
    if not (path.is_dir() and (path / _TRAINER_STATE).is_file()):
        return {}
    state = read_json_object(RegularFile(path / _TRAINER_STATE), limit=_LARGEST_STATE)
    return {"global_step": state["global_step"]} if isinstance(state.get("global_step"), int) else {}
