"""What a network is run on: the user's batch, or calibrated samples of the kind that it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from critaudit.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn


def place_of(module: nn.Module) -> torch.device:
    """The device of the module's first parameter; the CPU without."""
    import torch

    return next((value.device for value in module.parameters()), torch.device("cpu"))


def arguments_of(module: nn.Module, inputs: Any, *, samples: int, seed: int) -> tuple[Any, ...]:
    """The arguments of the module's forward pass, on its device, floating-point ones in its type.

    `inputs` is a tensor (or an array) with samples first, or a tuple of arguments; without it `samples` calibrated
    Gaussian samples, or token ids, of the first kind that the module runs on (fewer of large ones, 32 at least).
    Raises UsageError where there is none, for inputs that are none, and for values that are not finite.
    """
    import torch

    if inputs is None:
        return _calibrated(module, samples, seed)
    if isinstance(inputs, (Mapping, str)):
        raise UsageError(f"inputs are a {type(inputs).__name__}; give a tensor, or a tuple of positional arguments")
    parts = tuple(inputs) if isinstance(inputs, (tuple, list)) and _holds_tensors(inputs) else (inputs,)
    found = []
    for part in parts:
        if isinstance(part, torch.Tensor) or hasattr(part, "__array__") or (len(parts) == 1 and part is inputs):
            try:
                part = torch.as_tensor(part)
            except (TypeError, ValueError, RuntimeError) as error:
                raise UsageError(f"inputs of type {type(part).__name__} make no tensor: {error}") from error
            part = _fitting(module, part)
            if part.is_floating_point() and not bool(torch.isfinite(part).all()):
                raise UsageError("the inputs hold NaN or infinity; give finite ones")
        found.append(part)
    return tuple(found)


def run(module: nn.Module, arguments: tuple[Any, ...]) -> Any:
    """The module's answer. Raises UsageError, with the module's own error in it, where it does not run."""
    try:
        return module(*arguments)
    except Exception as error:  # a forward pass is foreign code
        raise does_not_run(module, error) from error


def does_not_run(module: nn.Module, error: Exception) -> UsageError:
    """The error for a forward pass that failed."""
    text = " ".join(str(error).split())[:240]
    return UsageError(
        f"{type(module).__name__} does not run on the inputs ({type(error).__name__}: {text}); "
        "give inputs as its forward takes them"
    )


def _calibrated(module: nn.Module, samples: int, seed: int) -> tuple[Any, ...]:
    import torch

    from critaudit.dynamics.calibrated import sample_kinds
    from critaudit.init.modes import calm
    from critaudit.sources.live.reader import preprocessing_of

    failure = ""
    for kind in sample_kinds(module, preprocessing_of(module)):
        count = max(min(samples, 32), min(samples, 2**21 // max(math.prod(kind.shape), 1)))
        batch = _fitting(module, torch.cat([torch.from_numpy(values) for values in kind.draw(count, seed)]))
        try:
            with torch.no_grad(), calm(module):
                run(module, (batch[:2],))
        except UsageError as error:
            failure = failure or str(error)
            continue
        return (batch,)
    raise UsageError(failure or f"what {type(module).__name__} takes as input is not known; give inputs")


def _holds_tensors(inputs: Any) -> bool:
    import torch

    return any(isinstance(part, torch.Tensor) or hasattr(part, "__array__") for part in inputs)


def _fitting(module: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """On the module's device; floating-point values in the type of its parameters where all have the same."""
    kinds = {value.dtype for value in module.parameters() if value.is_floating_point()}
    if values.is_floating_point() and len(kinds) == 1:
        return values.to(place_of(module), kinds.pop())
    return values.to(place_of(module))
