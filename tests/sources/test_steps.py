"""How far a training was, by what a checkpoint and its name say."""

from __future__ import annotations

import pytest

from critaudit.sources.steps import step_of


@pytest.mark.parametrize(
    ("name", "metadata", "expected"),
    [
        ("model.pt", {"global_step": 1200, "epoch": 3}, (1200.0, "step")),
        ("model.pt", {"epoch": 3}, (3.0, "epoch")),
        ("model.pt", {"epoch": True}, None),
        ("model.pt", {}, None),
        ("runs/a/epoch_07.pt", None, (7.0, "epoch")),
        ("checkpoint-500.bin", {}, (500.0, "checkpoint")),
        ("iter_12000.pth", {}, (12000.0, "step")),
        ("model_v1.2.pt", {}, None),
    ],
)
def test_steps_come_from_the_checkpoint_or_else_from_its_name(
    name: str, metadata: dict[str, object] | None, expected: tuple[float, str] | None
) -> None:
    assert step_of(name, metadata) == expected
