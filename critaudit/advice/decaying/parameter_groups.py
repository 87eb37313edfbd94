"""Which of a saved optimizer's parameter groups trains which tensor: a state dict numbers parameters, it names none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from critaudit.advice.course import OptimizerSetting
from critaudit.advice.decaying.adaptivity import SCALING
from critaudit.advice.decaying.moments import Trained
from critaudit.advice.optimizers import renamed, setting_of
from critaudit.errors import SourceError
from critaudit.model import ModelView
from critaudit.sources.pytorch.optimizer_state import SavedOptimizer
from critaudit.tensors import TensorRef


def trained_tensors(view: ModelView, saved: SavedOptimizer, *, name: str | None = None) -> dict[str, Trained]:
    """By tensor, how the optimizer treats it; tensors whose group cannot be told are left out.

    Parameters are told by the names that the optimizer was given; else by their number, where there is one group with
    as many parameters as the model, in its order; else by the one group that has parameters of the tensor's shape (of
    the state kept for them); else where all groups agree. `name` is the optimizer's class, if its owner says it.
    """
    settings = [setting_of(group) for group in saved.groups if group.get("lr") is not None]
    if len(settings) != len(saved.groups) or not settings:
        return {}
    if name is not None:
        settings = [renamed(setting, name) for setting in settings]
    numbered = dict(_by_name(saved)) or dict(_by_order(view, saved))
    group_of = {number: place for place, members in enumerate(saved.members) for number in members}
    found = {}
    for matrix in view.matrices:
        number = numbered.get(matrix.tensor)
        place = group_of.get(number) if number is not None else _by_shape(saved, settings, matrix.shape)
        if place is None or (number is not None and not _fits(saved, number, view, matrix.tensor)):
            continue
        held = {} if number is None else _read(saved.moments.get(number, {}))
        counted = None if number is None else saved.numbers.get(number, {}).get("step")
        found[matrix.tensor] = Trained(settings[place], held, counted)
    return found


def _by_name(saved: SavedOptimizer) -> Iterator[tuple[str, int]]:
    if all(len(names) == len(members) for names, members in zip(saved.names, saved.members, strict=True)):
        for names, members in zip(saved.names, saved.members, strict=True):
            yield from zip(names, members, strict=True)


def _by_order(view: ModelView, saved: SavedOptimizer) -> Iterator[tuple[str, int]]:
    """One group over all parameters in the model's order: what `optimizer(model.parameters())` makes."""
    names = [entry.name for entry in view.ledger if entry.parameters]
    if len(saved.members) == 1 and len(saved.members[0]) == len(names):
        yield from zip(names, sorted(saved.members[0]), strict=True)


def _by_shape(saved: SavedOptimizer, settings: Sequence[OptimizerSetting], shape: tuple[int, ...]) -> int | None:
    """The group that alone keeps moments of this shape; the first where all groups are set alike."""
    if len(set(settings)) == 1:
        return 0
    having = {
        place
        for place, members in enumerate(saved.members)
        for number in members
        if any(tensor.shape == shape for tensor in saved.moments.get(number, {}).values())
    }
    return having.pop() if len(having) == 1 else None


def _fits(saved: SavedOptimizer, number: int, view: ModelView, tensor: str) -> bool:
    """Whether the moments kept under this number have the tensor's shape: a check of the order."""
    shape = next((entry.shape for entry in view.ledger if entry.name == tensor), None)
    kept = [held.shape for held in saved.moments.get(number, {}).values()]
    return not kept or shape in kept


def _read(moments: Mapping[str, TensorRef]) -> dict[str, NDArray[np.generic]]:
    """The moments that scale gradients; one that cannot be read is as good as none."""
    found = {}
    for key in SCALING:
        if key in moments:
            try:
                found[key] = moments[key].read()
            except SourceError:
                continue
    return found
