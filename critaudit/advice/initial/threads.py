"""As many threads as a network is worth: small ones are done before a second thread has woken up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_SMALL = 1_000_000  # parameters


@contextmanager
def fitting_threads(module: nn.Module) -> Iterator[None]:
    """PyTorch's number of threads is 1 inside for networks on the CPU of less than a million parameters.

    Their layers take microseconds, of which most would be spent waiting for each other; on a busy machine much more.
    """
    import torch

    before = torch.get_num_threads()
    small = sum(value.numel() for value in module.parameters()) < _SMALL
    if small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if small:
            torch.set_num_threads(before)
