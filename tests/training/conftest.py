"""One thread for small matrices, and no monitor of one test is left to the next."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import torch

from tests.threads import one_thread as one_thread
from tests.training.networks import OPEN


@pytest.fixture(autouse=True)
def _no_rest() -> Iterator[None]:
    yield
    _close_all()
    # What a test let go of goes with its optimizer, at the next collection.
    if torch.nn.modules.module._global_forward_hooks:
        gc.collect()
    assert not torch.nn.modules.module._global_forward_hooks


def _close_all() -> None:
    while OPEN:
        if (monitor := OPEN.pop()()) is not None:
            monitor.close()
