"""Watching a training from outside: checkpoints are audited as they appear, and a page shows the way so far."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

from critaudit import __version__
from critaudit.comparing.trajectory import Moment, trajectory
from critaudit.errors import CritauditError, UsageError
from critaudit.report import Report
from critaudit.sources.folders.folder import holds_one_model, may_be_a_model
from critaudit.sources.steps import step_of
from critaudit.surveying.records import Audit, Limits, Outcome, task_for
from critaudit.surveying.store import Failure, Store
from critaudit.surveying.supervised import supervise

# Called with a checkpoint's path, the outcome of its audit (None: it was there already) and the page's path.
Told: TypeAlias = Callable[[Path, Outcome | None, Path], None]
_CHECKPOINTS = "checkpoints.json"
_UNFINISHED = (".tmp", ".part", ".partial", ".incomplete", ".lock")


@dataclass(frozen=True, slots=True)
class _Sight:
    """A file as it was seen: whoever writes it changes one of these."""

    size: int
    changed: int


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where a checkpoint stands in the training, and its path in the watched folder."""

    path: str
    step: float
    unit: str


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
    atomically, after each checkpoint.
    Checkpoints that were deleted, or overwritten by those of another step, stay in it. A folder that is one model
    (Hugging Face's, shards) is one checkpoint. Ends when `stop` is set or nothing new came for `idle`
    seconds (0: one look at what is complete). Returns the last report, None if there was no checkpoint.

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
        self._marks: dict[str, _Mark] = {}
        self._reports: dict[str, Report] = {}
        self.report: Report | None = None
        self._restore()

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
            shown = [name for name in files if not name.startswith(".")]
            if any(name.endswith(_UNFINISHED) for name in shown) and holds_one_model(shown):
                continue
            if holds_one_model(shown):  # a folder of Hugging Face's, or of shards, is one checkpoint
                sights = [sight for name in shown if (sight := _sight(Path(root, name))) is not None]
                if sights:
                    yield Path(root), _Sight(sum(one.size for one in sights), max(one.changed for one in sights))
                continue
            for name in shown:
                if not name.endswith(_UNFINISHED) and may_be_a_model(name):
                    sight = _sight(Path(root, name))
                    if sight is not None:
                        yield Path(root, name), sight

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
        if isinstance(found, Report) and task.key not in self._marks:
            self._add(path, task.key, found)
        page = self._output / "trajectory.html"
        if self._told is not None and not (isinstance(found, Failure) and outcome is None):
            self._told(path, outcome, page)

    def _add(self, path: Path, key: str, report: Report) -> None:
        """Put a checkpoint into the trajectory. One that is written over a file of the same step replaces it."""
        name = path.relative_to(self._folder).as_posix()
        known = self._step(path)
        if known is None:  # after all that were there
            last = max(self._marks.values(), key=lambda mark: mark.step, default=None)
            known = (0.0, "checkpoint") if last is None else (last.step + 1, last.unit)
        for old in [old for old, mark in self._marks.items() if (mark.path, mark.step) == (name, known[0])]:
            del self._marks[old], self._reports[old]
        self._marks[key], self._reports[key] = _Mark(name, *known), report
        self._write()

    def _step(self, path: Path) -> tuple[float, str] | None:
        """What the checkpoint says, else the number in its name, or in that of the nearest folder that has one."""
        metadata = _metadata(path)
        parts = path.relative_to(self._folder).parts or (self._folder.name,)
        return next((found for part in reversed(parts) if (found := step_of(part, metadata)) is not None), None)

    def _write(self) -> None:
        from critaudit.report.html import render
        from critaudit.report.writing import to_json

        moments = [Moment(mark.step, mark.unit, self._reports[key]) for key, mark in self._marks.items()]
        self.report = trajectory(moments, name=self._folder.name or str(self._folder))
        place = self._store.place
        place.write("trajectory.html", render(self.report).encode())
        place.write("trajectory.json", to_json(self.report).encode())
        known = {"settings": self._settings(), "checkpoints": {key: asdict(one) for key, one in self._marks.items()}}
        place.write(_CHECKPOINTS, json.dumps(known, indent=1).encode())

    def _settings(self) -> dict[str, object]:
        """What the checkpoints of one trajectory must have in common."""
        return json.loads(json.dumps({**asdict(self._audit), "critaudit": __version__}))  # type: ignore[no-any-return]

    def _restore(self) -> None:
        """Take up the trajectory of earlier watches: checkpoints that were deleted or written over stay in it."""
        try:
            known = json.loads((self._output / _CHECKPOINTS).read_bytes())
            marks = {str(key): _Mark(**mark) for key, mark in known["checkpoints"].items()}
            same = known["settings"] == self._settings()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # none yet, or damaged: it is made again from the checkpoints that are there
        for key, mark in marks.items() if same else ():
            report = self._store.result(key)
            if isinstance(report, Report):
                self._marks[key], self._reports[key] = mark, report
        if self._marks:
            self._write()


def _sight(path: Path) -> _Sight | None:
    try:
        status = path.stat()
    except OSError:
        return None  # gone between listing and looking
    return _Sight(status.st_size, status.st_mtime_ns)


def _metadata(path: Path) -> dict[str, object]:
    """The plain values beside the weights (epoch, step); none where they cannot be had."""
    from critaudit.sources import load

    try:
        return dict(load(path).metadata)
    except CritauditError:
        return {}
