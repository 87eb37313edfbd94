"""Every hostile case ends as it should, and every canary is live against an unsafe loader.

The cases of a session are tried first, by two warm processes side by side; each test then looks at its own result.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.hostile.case import Case
from tests.hostile.corpus import attempt, corpus, prove, site
from tests.hostile.sandbox import Ending, Nursery
from tests.hostile.warm import COMMAND, READER, UNSAFE

WORKERS = 2
CASES = {case.name: case for case in corpus()}
CARRIERS = [name for name, case in CASES.items() if case.proof is not None]
# The pages matter where names do; elsewhere the Python call says the same in a fraction of the time.
NAMED = [name for name, case in CASES.items() if case.category == "names"]
# A fresh interpreter takes seconds: the directories that differ. What `python -m` imports on its own account
# ("directory-startup") is tried with the installed command.
DIRECTORIES = [f"directory-{name}" for name in ("shadows", "packages", "templates", "matplotlib")]
Result = TypeVar("Result")
Trial = tuple[Ending, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Fresh:
    """How a fresh process ended: its exit status, whether the canary fired, whether a report was written."""

    status: int
    fired: bool
    report: bool
    complaint: str


def _chosen(request: pytest.FixtureRequest, function: str) -> list[Case]:
    """The cases that this session's tests of `function` ask for."""
    names = [
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == function and hasattr(item, "callspec")
    ]
    return [CASES[name] for name in names]


def _side_by_side(
    cases: list[Case], modules: tuple[str, ...], work: Callable[[Nursery, Case], Result]
) -> Mapping[str, Result]:
    def share(cases: list[Case]) -> dict[str, Result]:
        if not cases:
            return {}
        with Nursery(*modules) as nursery:
            return {case.name: work(nursery, case) for case in cases}

    with ThreadPoolExecutor(WORKERS) as pool:
        parts = pool.map(share, [cases[first::WORKERS] for first in range(WORKERS)])
        return {name: result for part in parts for name, result in part.items()}


@pytest.fixture(scope="session")
def trials(request: pytest.FixtureRequest) -> Mapping[str, Trial]:
    return _side_by_side(_chosen(request, "test_a_hostile_source_ends_as_it_should"), READER, attempt)


@pytest.fixture(scope="session")
def command_trials(request: pytest.FixtureRequest) -> Mapping[str, Trial]:
    cases = _chosen(request, "test_no_hostile_name_reaches_terminal_or_page")
    return _side_by_side(cases, COMMAND, lambda nursery, case: attempt(nursery, case, action="command"))


@pytest.fixture(scope="session")
def proofs(request: pytest.FixtureRequest) -> Mapping[str, Ending]:
    return _side_by_side(_chosen(request, "test_the_canary_is_live_against_an_unsafe_loader"), UNSAFE, prove)


@pytest.fixture(scope="session")
def fresh(request: pytest.FixtureRequest) -> Mapping[str, Fresh]:
    cases = _chosen(request, "test_a_hostile_working_directory_runs_nothing_in_a_fresh_process")
    with ThreadPoolExecutor(WORKERS) as pool:
        ended = pool.map(lambda case: _fresh(case, [sys.executable, "-m", "critaudit"]), cases)
        return {case.name: result for case, result in zip(cases, ended, strict=True)}


def _fresh(case: Case, command: list[str]) -> Fresh:
    """Run the command line in the case's own folder, in an interpreter of its own."""
    with site() as place:
        path = case.build(place)
        out = place.folder.parent / "report.html"
        told = [*command, path.name, "-o", str(out), "-q"]
        ended = subprocess.run(told, cwd=path.parent, capture_output=True, text=True, timeout=120, check=False)
        return Fresh(ended.returncode, place.canary.exists(), out.exists(), ended.stderr)


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_source_ends_as_it_should(name: str, trials: Mapping[str, Trial]) -> None:
    _, faults = trials[name]
    assert not faults


@pytest.mark.parametrize("name", NAMED)
def test_no_hostile_name_reaches_terminal_or_page(name: str, command_trials: Mapping[str, Trial]) -> None:
    _, faults = command_trials[name]
    assert not faults


@pytest.mark.parametrize("name", CARRIERS)
def test_the_canary_is_live_against_an_unsafe_loader(name: str, proofs: Mapping[str, Ending]) -> None:
    ending = proofs[name]
    assert ending.fired, f"{ending.outcome} {ending.message} {ending.death} {ending.stderr[-300:]}"


@pytest.mark.parametrize("name", DIRECTORIES)
def test_a_hostile_working_directory_runs_nothing_in_a_fresh_process(name: str, fresh: Mapping[str, Fresh]) -> None:
    # A forked child has its modules already: only a new interpreter shows what the directory could plant.
    assert fresh[name] == Fresh(status=0, fired=False, report=True, complaint="")


def test_the_installed_command_ignores_the_working_directory() -> None:
    command = Path(sys.executable).with_name("critaudit")
    if not command.exists():
        pytest.skip("the critaudit command is not installed beside this Python")
    assert _fresh(CASES["directory-startup"], [str(command)]) == Fresh(status=0, fired=False, report=True, complaint="")


def test_the_corpus_is_as_large_as_promised() -> None:
    categories = Counter(case.category for case in CASES.values())
    assert len(CASES) - categories["truncated"] >= 500
    assert categories["truncated"] >= 200
    assert len(CARRIERS) >= 120
