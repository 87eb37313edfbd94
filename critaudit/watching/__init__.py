"""Watching a training from outside: checkpoints are audited as they appear, and a page shows the way so far."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from critaudit.comparing.trajectory import Moment, step_of, trajectory
from critaudit.errors import CritauditError, UsageError
from critaudit.report import Report
from critaudit.sources.folders.folder import may_be_a_model
from critaudit.surveying.places import LocalPlace
from critaudit.surveying.records import Audit, Limits, Outcome, task_for
from critaudit.surveying.store import Failure, Store
from critaudit.surveying.supervised import supervise

# Called with a checkpoint's path, the outcome of its audit (None: it was there already) and the page's path.
Told: TypeAlias = Callable[[Path, Outcome | None, Path], None]
_UNFINISHED = (".tmp", ".part", ".partial", ".incomplete", ".lock")


@dataclass(frozen=True, slots=True)
class _Sight:
    """A file as it was seen: whoever writes it changes one of these."""

    size: int
    changed: int


def watch(
    folder: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str],
    interval: float = 5.0,
    idle: float | None = None,
    audit: Audit | None = None,
    limits: Limits | None = None,
    stop: threading.Event | None = None,
    told: Told | None = None,
) -> Report | None:
    """Audit every checkpoint that is or appears in `folder`, and keep a trajectory report in `output`.

    A file counts as complete when it did not change between two looks, `interval` seconds apart, and can be read to its
    end; one that cannot is tried again when it changes. Results are kept as in a survey: checkpoints that were audited
    before, under this name or another, are not audited again. `output/trajectory.html` and `.json` are written anew,
    atomically, after each checkpoint. Ends when `stop` is set or nothing new came for `idle` seconds (0: one look
    at what is complete). Returns the last report, None if there was no checkpoint.

    Raises UsageError for a folder that is not there, StoreError where `output` cannot be written.
    """
    place = Path(folder)
    if not place.is_dir():
        raise UsageError(f"{place}: there is no such folder to watch")
    if interval <= 0:
        raise UsageError(f"interval is {interval}; seconds above 0 are expected")
    store = Store(output)
    with store.place.locked():
        store.scan()
        watcher = _Watcher(place, store, audit or Audit(), limits or Limits(), Path(output), told)
        watcher.run(interval, idle, stop or threading.Event())
        return watcher.report


class _Watcher:
    def __init__(
        self, folder: Path, store: Store, audit: Audit, limits: Limits, output: Path, told: Told | None
    ) -> None:
        self._folder, self._store, self._audit, self._limits = folder, store, audit, limits
        self._output, self._told = output, told
        self._seen: dict[Path, _Sight] = {}
        self._done: dict[Path, _Sight] = {}
        self._moments: dict[Path, Moment] = {}
        self.report: Report | None = None

    def run(self, interval: float, idle: float | None, stop: threading.Event) -> None:
        last = time.monotonic()
        settled = False
        while not stop.is_set():
            for path in self._complete():
                self._take(path, stop)
                last = time.monotonic()
            if settled and idle is not None and time.monotonic() - last >= idle:
                return
            settled = True
            stop.wait(interval)

    def _complete(self) -> Iterator[Path]:
        """Checkpoints that look as they did at the last look and were not taken so yet, in the order of writing."""
        now = dict(self._look())
        for path, sight in sorted(now.items(), key=lambda item: (item[1].changed, item[0])):
            if self._seen.get(path) == sight and self._done.get(path) != sight:
                self._done[path] = sight
                yield path
        self._seen = now

    def _look(self) -> Iterator[tuple[Path, _Sight]]:
        output = self._output.resolve()
        for root, folders, files in os.walk(self._folder):
            folders[:] = [
                name for name in folders if not name.startswith(".") and (Path(root) / name).resolve() != output
            ]
            for name in files:
                if name.startswith(".") or name.endswith(_UNFINISHED) or not may_be_a_model(name):
                    continue
                path = Path(root) / name
                try:
                    status = path.stat()
                except OSError:
                    continue  # gone between listing and looking
                yield path, _Sight(status.st_size, status.st_mtime_ns)

    def _take(self, path: Path, stop: threading.Event) -> None:
        try:
            task = task_for(str(path), self._audit)
        except (CritauditError, OSError):
            self._done.pop(path, None)  # it went away or cannot be read now: the next look tells
            return
        outcome = None if task.key in self._store else supervise(task, self._limits, stop)
        if outcome is not None:
            if outcome.reason == "stopped" or outcome.kind == "changed":
                self._done.pop(path, None)
                return
            self._store.keep(task, outcome)
        found = self._store.result(task.key)
        if isinstance(found, Report):
            self._add(path, found)
        page = self._output / "trajectory.html"
        if self._told is not None and not (isinstance(found, Failure) and outcome is None):
            self._told(path, outcome, page)

    def _add(self, path: Path, report: Report) -> None:
        known = step_of(path.name, _metadata(path))
        place = float(len(self._moments))
        step, unit = known if known is not None else (place, "checkpoint")
        self._moments[path] = Moment(step, unit, report)
        self.report = trajectory(self._moments.values(), name=self._folder.name or str(self._folder))
        self._write(self.report)

    def _write(self, report: Report) -> None:
        from critaudit.report.html import render
        from critaudit.report.writing import to_json

        place = LocalPlace(self._output)
        place.write("trajectory.html", render(report).encode())
        place.write("trajectory.json", to_json(report).encode())


def _metadata(path: Path) -> dict[str, object]:
    """The plain values beside the weights (epoch, step); none where they cannot be had."""
    from critaudit.sources import load

    try:
        return dict(load(path).metadata)
    except CritauditError:
        return {}
