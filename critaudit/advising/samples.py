"""Inputs and targets of trial trainings: the user's, or calibrated random ones of the kind that the network takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from critaudit.errors import UsageError
from critaudit.init.arguments import does_not_run

if TYPE_CHECKING:
    import torch
    from torch import nn

    from critaudit.contents import Preprocessing
    from critaudit.dynamics.calibrated import SampleKind

MAX_SAMPLES = 4096
_DRAWN = 512
_NUMBERS = 2**21  # values of drawn inputs that are held
_SMALL_SIDES = (64, 32)
_TRIED = 2  # samples with which networks are tried out: batch statistics need more than one


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """How a network is fed: with `given` arguments, or with random samples of `kind`.

    `work` is the number of multiplications of one sample's forward pass in layers with weights, `note` what to say of
    inputs that are not the usual ones.
    """

    given: tuple[Any, ...] | None
    kind: SampleKind | None
    work: float
    note: str = ""

    def arguments(self, module: nn.Module, *, batch_size: int, seed: int) -> tuple[Any, ...]:
        """The arguments of the forward pass on the module's device; drawn ones are some batches, where they fit."""
        place = _place(module)
        if self.given is not None:
            return tuple(one.to(place) if _is_tensor(one) else one for one in self.given)
        assert self.kind is not None
        count = min(_DRAWN, _NUMBERS // max(int(np.prod(self.kind.shape)), 1))
        return _drawn(self.kind, max(count, 2 * batch_size), seed, place)


def feeds(module: nn.Module, preprocessing: Preprocessing | None, inputs: Any, *, seed: int) -> Iterator[Feed]:
    """The ways to feed `module`: as the user says, or with random samples, of images smaller and smaller ones.

    `inputs` is an array, a tensor, a tuple of arguments, or a path that `critaudit.dynamics.inputs.load_inputs` reads.
    Raises UsageError where the network does not run on what was given, or no usual input fits.
    """
    name = type(module).__name__
    if inputs is not None:
        given = _given(module, inputs, preprocessing)
        yield Feed(given, None, _work(module, given))
        return
    from critaudit.dynamics.calibrated import sample_kinds

    usual, failure = None, ""
    for kind in sample_kinds(module, preprocessing):
        work = _tried(module, kind, seed)
        if isinstance(work, float):
            usual = kind
            yield Feed(None, kind, work)
            break
        failure = failure or f" (of {'×'.join(map(str, kind.shape))} per sample: {work})"
    if usual is None:
        raise UsageError(f"no usual input fits {name}{failure}; give inputs as its forward takes them")
    for side in _SMALL_SIDES if usual.vocabulary is None and len(usual.shape) == 3 else ():
        smaller = replace(usual, shape=(usual.shape[0], side, side))
        if side < min(usual.shape[1:]) and isinstance(work := _tried(module, smaller, seed), float):
            yield Feed(None, smaller, work, f"images have {side} pixels instead of {usual.shape[1]}")


def targets_of(targets: Any, module: nn.Module) -> torch.Tensor | None:
    """Targets as a tensor on the module's device: whole numbers are classes. Raises UsageError for a damaged file."""
    import torch

    if targets is None:
        return None
    if isinstance(targets, (str, os.PathLike)):
        targets = _read(Path(targets))
    values = torch.as_tensor(np.asarray(targets) if isinstance(targets, (list, tuple)) else targets)
    if values.dtype == torch.bool or (values.dtype != torch.float32 and values.is_floating_point()):
        values = values.float()
    elif not values.is_floating_point():
        values = values.long()
    return values[:MAX_SAMPLES].to(_place(module))


def _read(path: Path) -> Any:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; an .npy file with one target per input is expected") from None
    except (ValueError, OSError, EOFError, OverflowError) as error:
        raise UsageError(f"{path}: targets are read from .npy files, and this one cannot be: {error}") from None
    if not isinstance(array, np.ndarray) or array.ndim == 0 or array.dtype.kind not in "fiub":
        raise UsageError(f"{path}: an .npy file with one number, or one row of numbers, per input is expected")
    return np.array(array[:MAX_SAMPLES])


def _given(module: nn.Module, inputs: Any, preprocessing: Preprocessing | None) -> tuple[Any, ...]:
    import torch

    if isinstance(inputs, (str, os.PathLike)):
        from critaudit.dynamics.inputs import load_inputs

        tokens = any(isinstance(one, torch.nn.Embedding) for one in module.modules())
        inputs = load_inputs(inputs, preprocessing, limit=MAX_SAMPLES, tokens=tokens)
    if isinstance(inputs, (tuple, list)):
        return tuple(inputs)
    return (torch.as_tensor(inputs),)


def _tried(module: nn.Module, kind: SampleKind, seed: int) -> float | str:
    """Multiplications of one sample's pass, or how it failed."""
    try:
        return _work(module, _drawn(kind, _TRIED, seed, _place(module)))
    except UsageError as error:
        cause = error.__cause__
        return f"{type(cause).__name__}: {' '.join(str(cause).split())[:200]}"


def _drawn(kind: SampleKind, count: int, seed: int, place: torch.device) -> tuple[Any, ...]:
    import torch

    return (torch.cat([torch.from_numpy(values) for values in kind.draw(count, seed)]).to(place),)


def _work(module: nn.Module, arguments: tuple[Any, ...]) -> float:
    """Multiplications of one sample's forward pass. Raises UsageError where the network does not run."""
    import torch

    from critaudit.advice.initial.passes import experimental

    total = 0.0

    def count(part: nn.Module, _inputs: object, output: object) -> None:
        nonlocal total
        weight = getattr(part, "weight", None)
        if isinstance(output, torch.Tensor) and isinstance(weight, torch.Tensor) and weight.ndim > 1:
            total += output.numel() * weight[0].numel()

    network, place = experimental(module), _place(module)
    first = tuple(one[:_TRIED].to(place) if _is_tensor(one) and one.ndim else one for one in arguments)
    for part in network.modules():
        if not list(part.children()):
            part.register_forward_hook(count)
    try:
        with torch.no_grad():
            network(*first)
    except Exception as error:  # a forward pass is foreign code
        raise does_not_run(module, error) from error
    return max(total, 1.0) / max(len(first[0]), 1)


def _place(module: nn.Module) -> torch.device:
    import torch

    return next((value.device for value in module.parameters()), torch.device("cpu"))


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)
