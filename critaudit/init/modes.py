"""A module as it is run for an experiment: without dropout, with batch statistics, and as before afterwards."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from critaudit.errors import UsageError

if TYPE_CHECKING:
    from torch import nn


def unwrapped(module: nn.Module) -> nn.Module:
    """The user's own module in what `torch.compile`, DataParallel or DistributedDataParallel put around it."""
    from torch import nn

    while True:
        if isinstance(getattr(module, "_orig_mod", None), nn.Module):
            module = module._orig_mod  # type: ignore[assignment]
        elif isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        else:
            return module


def check_real(module: nn.Module) -> None:
    """Raises UsageError for parameters without values (the meta device)."""
    for name, value in module.named_parameters():
        if value.is_meta:
            raise UsageError(
                f"{name} is on the meta device and holds no values; materialise the module first (to_empty)"
            )


def takes_batch_statistics(part: nn.Module) -> bool:
    """Whether a module normalises with the batch's own mean and variance while it trains, and keeps running ones."""
    from torch import nn

    return isinstance(part, nn.modules.batchnorm._NormBase) or "running_mean" in part._buffers


def set_modes(module: nn.Module) -> None:
    """Training mode for normalisations with batch statistics, evaluation mode (no dropout) for all other parts."""
    for part in module.modules():
        part.training = takes_batch_statistics(part)


@contextmanager
def calm(module: nn.Module) -> Iterator[None]:
    """`set_modes`, compiled parts run as they are written; modes and buffers are put back at the end."""
    import torch

    modes = [(part, part.training) for part in module.modules()]
    buffers = {name: value.detach().clone() for name, value in module.named_buffers()}
    try:
        set_modes(module)
        with eager(module):
            yield
    finally:
        for part, training in modes:
            part.training = training
        with torch.no_grad():
            for name, value in module.named_buffers():
                if name in buffers and buffers[name].shape == value.shape:
                    value.copy_(buffers[name])


def eager(module: nn.Module) -> contextlib.AbstractContextManager[object]:
    """Compiled parts of the module run uncompiled within, so that their operations are seen."""
    import torch

    compiled = any(hasattr(part, "_orig_mod") or part._compiled_call_impl is not None for part in module.modules())
    if compiled and "torch._dynamo" in sys.modules:
        forced: contextlib.AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
        return forced
    return contextlib.nullcontext()
