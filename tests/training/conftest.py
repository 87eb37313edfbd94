"""Small matrices: more threads than one only get into each other's way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.training.networks import OPEN


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    while OPEN:
        if (monitor := OPEN.pop()()) is not None:
            monitor.close()
