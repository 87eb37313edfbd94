"""A training's log: one JSON line per event, appended whole, so that a kill at any byte loses at most the last one."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from critaudit.errors import NotAModelError, UsageError
from critaudit.report.wording import count, plural
from critaudit.text import printable
from critaudit.training.records import Header, Notice, Record, header_of, record_of

_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 28


@dataclass(frozen=True, slots=True)
class Change:
    """A weight decay that a Controller set: of `layer`, at `step`, from `before` to `after`."""

    step: int
    layer: str
    before: float
    after: float
    j_squared: float | None = None
    target: float | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """What a log holds: records by ascending step, notices, changes of weight decay, and the restarts.

    A training that was taken up again at an earlier step did some steps twice: records and notices of the first time
    are left out (`superseded` counts them). `order` is the order in which the network's modules run, () where it was
    not seen to run. `lost` says which lines are damaged: a part of the training is not known. `notes` say what else the
    reader should know: restarts, and a last line that is not whole, as where the training runs on or was killed.
    """

    path: Path
    header: Header
    records: tuple[Record, ...]
    notices: tuple[Notice, ...]
    changes: tuple[Change, ...]
    restarts: tuple[int, ...]
    order: tuple[str, ...]
    superseded: int
    ended: str | None
    notes: tuple[str, ...]
    lost: tuple[str, ...] = ()


class LogFile:
    """A log that is being written. Every line goes out in one write at the end of the file, whoever else reads it."""

    def __init__(self, path: str | os.PathLike[str], *, fsync: bool = False) -> None:
        """Open `path` for appending, making it if need be; a torn last line of an earlier run is cut off.

        Raises UsageError where the file cannot be written, or where another Monitor is writing it.
        """
        self.path = Path(path)
        self._fsync = fsync
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UsageError(f"{path}: the log cannot be written ({error.strerror}); give another path") from None
        try:
            self._lock()
            self._repair()
        except BaseException:
            self.close()
            raise

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one event. Raises OSError where the disk refuses; the file then still ends with a whole line."""
        text = json.dumps(line, ensure_ascii=True, allow_nan=False, separators=(",", ":")) + "\n"
        content = text.encode("ascii")
        if self._file < 0:
            raise OSError("the log is closed")
        before = os.fstat(self._file).st_size
        written = os.write(self._file, content)
        if written != len(content):
            os.ftruncate(self._file, before)
            raise OSError(f"only {written} of {len(content)} bytes could be written")
        if self._fsync:
            os.fsync(self._file)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written yet."""
        return os.fstat(self._file).st_size == 0

    def close(self) -> None:
        """Give the file back; what was written stays."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # not on Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{self.path}: another Monitor is writing this log; close it first, or give this one another path"
            ) from None
        except OSError:
            pass  # a file system without locks

    def _repair(self) -> None:
        size = os.fstat(self._file).st_size
        end = size
        while end > 0:
            start = max(0, end - _CHUNK)
            found = os.pread(self._file, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._file, end)


def read_log(path: str | os.PathLike[str]) -> Log:
    """Read a Monitor's log, also while it is being written, or after its writer was killed at any byte.

    Raises CritauditError in one line: UsageError where there is no such file, NotAModelError where it is no log or has
    no whole line yet, CorruptFileError where its header cannot be understood.
    """
    place, shown = Path(path), printable(os.fspath(path))
    try:
        content = place.read_bytes()
    except OSError as error:
        raise UsageError(f"{shown}: the log cannot be read ({error.strerror})") from None
    whole, _, torn = content.rpartition(b"\n")
    notes = [f"the last line was cut short ({plural(len(torn), 'byte')}) and is left out"] if torn else []
    lines = whole.split(b"\n") if whole else []
    if not lines:
        raise NotAModelError(f"{shown}: no whole line is in this file yet; a log that a Monitor wrote is expected")
    first = _decoded(lines[0])
    if first is None:
        raise NotAModelError(f"{shown}: this is no log of a Monitor (its first line is no JSON object)")
    reader = _Reader(header_of(first, shown))
    damaged = [number for number, line in enumerate(lines[1:], 2) if not reader.take(_decoded(line))]
    lost = []
    if damaged:
        where = f"line {count(damaged[0])}" if len(damaged) == 1 else f"the first is line {count(damaged[0])}"
        lost.append(f"{plural(len(damaged), 'damaged line is', 'damaged lines are')} left out ({where})")
    return reader.log(place, notes, lost)


class _Reader:
    """Events one by one; a restart takes back what came after its step."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.records: list[Record] = []
        self.notices: list[Notice] = []
        self.changes: list[Change] = []
        self.restarts: list[int] = []
        self.order: tuple[str, ...] = ()
        self.superseded = 0
        self.ended: str | None = None

    def take(self, line: dict[str, Any] | None) -> bool:
        """Whether the line could be understood; kinds of a later version are passed over."""
        if line is None:
            return False
        try:
            self._take(line)
        except (KeyError, TypeError, ValueError):
            return False
        return True

    def _take(self, line: dict[str, Any]) -> None:
        kind = line["kind"]
        if kind == "record":
            self._add(record_of(line, len(self.header.layers)))
        elif kind == "loss":
            step, loss = int(line["step"]), line["loss"]
            if self.records and self.records[-1].step == step:
                gone = () if loss is not None else (("loss", -1),)
                last = self.records[-1]
                self.records[-1] = replace(last, loss=loss, non_finite=(*last.non_finite, *gone))
        elif kind == "warning":
            self.notices.append(Notice(**{name: value for name, value in line.items() if name != "kind"}))
        elif kind == "control":
            self.changes.append(Change(**{name: value for name, value in line.items() if name != "kind"}))
        elif kind == "network":
            self.order = tuple(str(path) for path in line["order"])
        elif kind == "restart":
            self._rewind(int(line["step"]))
            self.ended = None
        elif kind == "end":
            self.ended = str(line.get("reason", ""))

    def _add(self, record: Record) -> None:
        if self.records and record.step <= self.records[-1].step:
            # The same step once more, as of a weights-only record at the end of a run: the later one stands.
            self._drop(record.step)
        self.records.append(record)

    def _rewind(self, step: int) -> None:
        self.restarts.append(step)
        # What was recorded at the very step of the restart are the weights that it starts from.
        before = len(self.records)
        self.records = [record for record in self.records if record.step <= step]
        self.notices = [notice for notice in self.notices if notice.step <= step]
        self.changes = [change for change in self.changes if change.step <= step]
        self.superseded += before - len(self.records)

    def _drop(self, step: int) -> None:
        self.records = [record for record in self.records if record.step < step]

    def log(self, path: Path, notes: list[str], lost: list[str]) -> Log:
        if self.restarts:
            steps = ", ".join(count(step) for step in self.restarts[:5])
            more = f" and {len(self.restarts) - 5} more" if len(self.restarts) > 5 else ""
            repeated = "of steps that were done again"
            gone = plural(self.superseded, f"record {repeated} is", f"records {repeated} are")
            word = "step" if len(self.restarts) == 1 else "steps"
            gone = f"; {gone} left out" if self.superseded else ""
            notes.append(f"the training was taken up again at {word} {steps}{more}{gone}")
        return Log(
            path,
            self.header,
            tuple(self.records),
            tuple(self.notices),
            tuple(self.changes),
            tuple(self.restarts),
            self.order,
            self.superseded,
            self.ended,
            tuple(notes),
            tuple(lost),
        )


def _decoded(line: bytes) -> dict[str, Any] | None:
    if len(line) > _LONGEST_LINE:
        return None
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    return None
