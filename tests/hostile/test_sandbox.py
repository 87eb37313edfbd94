"""The sandbox notices what the hostile tests rely on it to notice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.sandbox import Nursery


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as warm:
        yield warm


def test_a_child_that_hangs_is_killed(nursery: Nursery) -> None:
    ending = nursery.run("misbehave", kind="hang", seconds=0.3)
    assert ending.death == "took too long"
    assert ending.seconds < 5


def test_a_child_cannot_allocate_beyond_its_limit(nursery: Nursery) -> None:
    ending = nursery.run("misbehave", kind="allocate")
    assert ending.death == "exited 70"
    assert "MemoryError" in ending.stderr


def test_the_memory_of_a_child_is_measured_above_its_birth(nursery: Nursery) -> None:
    grown, idle = nursery.run("misbehave", kind="grow"), nursery.run("misbehave", kind="nothing")
    assert 0.9 * 2**28 < grown.growth < 1.3 * 2**28
    assert idle.growth < 2**25


def test_files_left_behind_and_commands_are_reported(nursery: Nursery) -> None:
    wrote = nursery.run("misbehave", kind="write")
    assert wrote.written == ("trace",)
    assert any("for writing" in event for event in wrote.forbidden)
    assert any(event.startswith("os.system") for event in nursery.run("misbehave", kind="command").forbidden)


def test_a_crash_is_told_from_an_answer_and_the_next_child_is_well(nursery: Nursery) -> None:
    crashed = nursery.run("misbehave", kind="crash")
    assert crashed.outcome is None
    assert crashed.death == "died of signal 6"
    assert nursery.run("misbehave", kind="nothing").outcome == "done"
