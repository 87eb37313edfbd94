"""The optimizer in a checkpoint: settings of its parameter groups, and the moments that it keeps of each parameter.

Read by the same inert machine as the weights, from the checkpoint itself or from `optimizer.pt` beside it; nothing of
the file is run, and a moment is read only when it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from critaudit.sources.archives.zip_archive import ZipArchive
from critaudit.sources.pickles.inert import Budget
from critaudit.sources.pytorch.checkpoint import builders, load_any
from critaudit.sources.pytorch.object_tree import role_of
from critaudit.sources.pytorch.plain_values import optimizer_settings
from critaudit.sources.pytorch.stored_tensors import TensorLike
from critaudit.sources.pytorch.zip_container import pickle_folder
from critaudit.tensors import RegularFile, TensorRef

_BESIDE = ("optimizer.pt", "optimizer.bin")  # what Hugging Face's Trainer and Accelerate write
_MOST = 100_000  # parameters; more than any network has


@dataclass(frozen=True, slots=True, eq=False)
class SavedOptimizer:
    """What a checkpoint says of its optimizer.

    `groups` are the settings of the parameter groups as in `param_groups`; `members` the numbers of their parameters,
    `names` those parameters' names where the optimizer was given them (else empty). `moments` are, by parameter number,
    the tensors that the optimizer keeps (`exp_avg_sq`, …), and `numbers` its plain numbers (`step`).
    """

    groups: tuple[Mapping[str, object], ...]
    members: tuple[tuple[int, ...], ...]
    names: tuple[tuple[str, ...], ...]
    moments: Mapping[int, Mapping[str, TensorRef]]
    numbers: Mapping[int, Mapping[str, float]]

    @property
    def steps(self) -> int | None:
        """How many steps the optimizer counted, None where it counts none (SGD)."""
        counted = [held["step"] for held in self.numbers.values() if "step" in held]
        return int(max(counted)) if counted else None


def read_optimizer(path: str | Path) -> SavedOptimizer | None:
    """The optimizer in a PyTorch checkpoint, or in the folder of one; None where there is none.

    Raises SourceError where the file cannot be read.
    """
    place = Path(path)
    if place.is_dir():
        beside = next((place / name for name in _BESIDE if (place / name).is_file()), None)
        return None if beside is None else read_optimizer(beside)
    file = RegularFile(place)
    if not _may_be_a_checkpoint(file):
        return None
    budget = Budget(place.name)
    return next(_optimizers(load_any(file, budget, builders(budget, []), []), 0), None)


def _may_be_a_checkpoint(file: RegularFile) -> bool:
    """Whether this is PyTorch's zip format or a binary pickle; other formats hold no optimizer."""
    head = bytes(file.read(0, min(4, file.size)))
    return pickle_folder(ZipArchive(file)) is not None if head == b"PK\x03\x04" else head[:1] == b"\x80"


def _optimizers(node: object, depth: int) -> Iterator[SavedOptimizer]:
    """State dicts of optimizers, known by their form, at the top or under a key that says so."""
    if type(node) is dict:
        if type(node.get("param_groups")) is list and type(node.get("state")) is dict:
            yield _read(node)
            return
        if depth < 2:
            for key, value in node.items():
                if depth > 0 or (type(key) is str and (role_of(key) == "optimizer state" or type(value) is dict)):
                    yield from _optimizers(value, depth + 1)
    elif type(node) is list and depth == 1:  # Lightning keeps a list of them
        for value in node:
            yield from _optimizers(value, depth)


def _read(state: Mapping[object, object]) -> SavedOptimizer:
    groups = state["param_groups"]
    members, names = [], []
    for group in groups if isinstance(groups, list) else ():
        held = group.get("params") if type(group) is dict else None
        numbers = tuple(one for one in held if type(one) is int)[:_MOST] if type(held) is list else ()
        called = group.get("param_names") if type(group) is dict else None
        known = type(called) is list and len(called) == len(numbers) and all(type(one) is str for one in called)
        members.append(numbers)
        names.append(tuple(called) if known else ())  # type: ignore[arg-type]
    moments: dict[int, Mapping[str, TensorRef]] = {}
    counts: dict[int, Mapping[str, float]] = {}
    parameters = state["state"]
    for number, held in list(parameters.items())[:_MOST] if isinstance(parameters, dict) else ():
        if type(number) is int and type(held) is dict:
            moments[number], counts[number] = _held(held)
    settings = tuple(optimizer_settings(dict(state)))
    return SavedOptimizer(settings, tuple(members)[: len(settings)], tuple(names)[: len(settings)], moments, counts)


def _held(state: Mapping[object, object]) -> tuple[dict[str, TensorRef], dict[str, float]]:
    """Tensors and numbers kept for one parameter; a tensor of one element (`step`) is a number."""
    tensors: dict[str, TensorRef] = {}
    numbers: dict[str, float] = {}
    for key, value in state.items():
        if type(key) is not str:
            continue
        if isinstance(value, TensorLike):
            found = value.resolve()
            if not isinstance(found, TensorRef):
                continue
            if found.shape == () or found.numel == 1:
                number = float(found.read().reshape(-1)[0].real)
                if math.isfinite(number):
                    numbers[key] = number
            if found.shape:
                tensors[key] = found
        elif type(value) in (int, float) and math.isfinite(float(value)):  # type: ignore[arg-type]
            numbers[key] = float(value)  # type: ignore[arg-type]
    return tensors, numbers
