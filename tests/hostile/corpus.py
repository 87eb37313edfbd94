"""The hostile corpus: every case, and how one is tried."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.hostile import (
    cases_archives,
    cases_exports,
    cases_folders,
    cases_headers,
    cases_names,
    cases_paths,
    cases_payloads,
    cases_pickles,
    cases_structure,
    cases_tensors,
    cases_truncated,
)
from tests.hostile.case import Case, Site, visible
from tests.hostile.sandbox import GROWTH, SECONDS, Ending, Nursery

# What the progress bar writes where a terminal is pretended; a case's own sequences are looked for in the whole text.
_PROGRESS = re.compile(r"\r|\x1b\[[?0-9;]*[A-Za-z]")
_MARKUP = re.compile(r'[<"]')  # means nothing to a terminal
_MODULES = (
    cases_payloads,
    cases_exports,
    cases_archives,
    cases_pickles,
    cases_tensors,
    cases_structure,
    cases_headers,
    cases_folders,
    cases_paths,
    cases_names,
    cases_truncated,
)


@cache
def corpus() -> tuple[Case, ...]:
    """All cases, by unique name."""
    cases = tuple(case for module in _MODULES for case in module.cases())
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), sorted({name for name in names if names.count(name) > 1})
    return cases


@contextmanager
def site() -> Iterator[Site]:
    """An empty folder for a case, and a place for its canary outside of it; open to every user."""
    with tempfile.TemporaryDirectory(prefix="critaudit-case-") as name:
        root = Path(name)
        root.chmod(0o755)
        folder = root / "case"
        folder.mkdir()
        yield Site(folder, root / "canary")


def attempt(nursery: Nursery, case: Case, *, action: str = "audit") -> tuple[Ending, tuple[str, ...]]:
    """Build a case, audit it in a child, and list what went wrong (nothing, where the case passed).

    `action` is "audit" (the Python call) or "command" (the whole command line with its pages).
    """
    with site() as place:
        path = case.build(place)
        before = _listing(place)
        request = {"path": str(path), "folder": str(place.folder), "canary": str(place.canary), "mode": case.mode}
        if action == "command":
            request["raw"] = list(case.raw)  # type: ignore[assignment]
        ending = nursery.run(action, **request)
        faults = _faults(case, ending)
        if place.canary.exists():
            faults.append("the payload ran: its canary exists")
        if (appeared := _listing(place) - before) and not place.canary.exists():
            faults.append(f"files appeared beside the case: {sorted(appeared)[:3]}")
        _unlock(place)
    return ending, tuple(faults)


def prove(nursery: Nursery, case: Case) -> Ending:
    """Load a case with its unsafe loader; `fired` of the ending says whether its canary is live."""
    assert case.proof is not None
    with site() as place:
        path = case.build(place)
        return nursery.run(
            "unsafe",
            path=str(path),
            folder=str(place.folder),
            canary=str(place.canary),
            loader=case.proof,
            growth=2**33,
        )


def _faults(case: Case, ending: Ending) -> list[str]:
    if ending.death is not None:
        return [f"{ending.death} after {ending.seconds:.1f} s: {ending.stderr[-300:]}"]
    faults = []
    if ending.outcome not in case.expected:
        told = f"{ending.message} {ending.stderr}".strip()
        faults.append(f"ended {ending.outcome}, expected {' or '.join(sorted(case.expected))}: {told[-900:]}")
    if ending.fired:
        faults.append("the payload ran")
    if ending.forbidden:
        faults.append(f"did what no reader does: {', '.join(ending.forbidden[:3])}")
    if ending.written:
        faults.append(f"wrote {', '.join(ending.written[:3])}")
    if ending.growth > GROWTH:
        faults.append(f"used {ending.growth / 2**20:.0f} MB")
    if ending.busy > SECONDS:
        faults.append(f"took {ending.busy:.1f} s of the processor")
    if ending.outcome == "refused":
        faults.extend(_bad_line(ending.message or _PROGRESS.sub("", ending.stderr).removesuffix("\n")))
    obeyed = [text for text in case.raw if not _MARKUP.search(text)]
    faults.extend(f"{text!r:.60} reached the terminal" for text in obeyed if text in ending.stdout + ending.stderr)
    faults.extend(filter(None, [ending.extra.get("leaks", "")]))
    return faults


def _bad_line(line: str) -> list[str]:
    """What is wrong with an error message: it must be one short visible line that says something."""
    if "\n" in line:
        return [f"the error has several lines: {line[:300]!r}"]
    if not visible(line):
        return [f"the error is not printable: {line[:300]!r}"]
    if not 20 <= len(line) <= 1000:
        return [f"the error has {len(line)} characters: {line[:300]!r}"]
    return []


def _listing(place: Site) -> set[str]:
    return {str(path) for path in place.folder.parent.rglob("*")}


def _unlock(place: Site) -> None:
    """Let the folder be removed again (only matters where the tests do not run as root)."""
    for path in place.folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
