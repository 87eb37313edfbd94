"""Mutations of good files: no crash, no hang, no allocation beyond the cap; and the good files are good."""

from __future__ import annotations

import pytest

from tests.hostile.cases_truncated import good_files
from tests.hostile.fuzz import campaign, mutant
from tests.hostile.sandbox import GROWTH, Nursery
from tests.hostile.warm import READER

ITERATIONS = 2000


def test_no_mutant_breaks_the_reader() -> None:
    with Nursery(*READER) as nursery:
        done = campaign(nursery, ITERATIONS)
    assert not done.failures
    assert done.growth < GROWTH
    # Mutations that are all refused, or all read, would try nothing.
    assert 0.05 * ITERATIONS < done.viewed < 0.95 * ITERATIONS


@pytest.mark.parametrize("kind", good_files())
def test_the_files_that_are_mutated_are_good(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    import critaudit

    name, data = good_files()[kind]
    path = tmp_path_factory.mktemp("good") / name
    path.write_bytes(data)
    view = critaudit.load(path)
    assert not view.problems
    assert view.analysed == 48


def test_a_mutant_is_the_same_every_time_and_differs_from_its_neighbours() -> None:
    made = [mutant(seed) for seed in range(40)]
    assert made == [mutant(seed) for seed in range(40)]
    assert len({data for _, data in made}) > 30
