"""The memory of a training: records, notices and changes, written as they come; taken up where a log is there."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from critaudit.training.alarms import Alarms, Limits
from critaudit.training.log import Change, Log, LogFile
from critaudit.training.records import Header, LayerNow, Notice, Record, header_line, record_line
from critaudit.training.resuming import Start, earlier, start_of


class Journal:
    """What is known of a training so far. `told` is called with every new notice.

    `notes` and `lost` are those of the log that is gone on with (see `Log`).
    `problem` says why the log is no longer written, where the disk refused; the training is followed on all the same.
    """

    def __init__(
        self,
        header: Header,
        *,
        path: str | os.PathLike[str] | None,
        fsync: bool,
        limits: Limits | None,
        told: Callable[[Notice], None],
    ) -> None:
        self.header = header
        self.records: list[Record] = []
        self.notices: list[Notice] = []
        self.changes: list[Change] = []
        self.notes: list[str] = []
        self.lost: tuple[str, ...] = ()
        self.order: tuple[str, ...] = ()
        self.problem: str | None = None
        self._alarms, self._told = Alarms(header.layers, limits), told
        self._file: LogFile | None = None
        self._earlier: Log | None = None
        if path is not None:
            self._file = LogFile(path, fsync=fsync)
            try:
                self._earlier = earlier(Path(path), self._file, header)
            except BaseException:
                self._file.close()
                raise
            if self._earlier is None:
                self._write(header_line(header))

    def begin(self, given: int | None, counted: int | None, now: Sequence[LayerNow]) -> Start:
        """Where the training starts, with what the log holds of it up to there; `now` are the present weights."""
        found = self._earlier
        start = start_of(given, counted, found, now)
        if found is not None:
            self.records = [record for record in found.records if record.step <= start.step]
            self.notices = [notice for notice in found.notices if notice.step <= start.step]
            self.changes = [change for change in found.changes if change.step <= start.step]
            self.order, self.notes, self.lost = found.order, list(found.notes), found.lost
            for record in self.records:  # what was said before is not said again
                self._alarms.look(record)
            line = {"kind": "restart", "step": start.step, "how": start.how, "time": round(time.time(), 3)}
            self._write({**line, "versions": dict(self.header.versions)})
            self._earlier = None
        return start

    def knows(self, step: int) -> bool:
        """Whether the last record is of this very step."""
        return bool(self.records) and self.records[-1].step == step

    def add(self, record: Record, order: tuple[str, ...] = ()) -> None:
        """Keep a record, write it, and say what it gives reason to say."""
        if order and order != self.order:
            self.order = order
            self._write({"kind": "network", "step": record.step, "order": list(order)})
        if self.knows(record.step):
            self.records.pop()
        self.records.append(record)
        self._write(record_line(record))
        for notice in self._alarms.look(record):
            self._say(notice)

    def set_loss(self, loss: float) -> None:
        """The loss of the last recorded step, which became known after it."""
        if not self.records:
            return
        last, finite = self.records[-1], math.isfinite(loss)
        gone = () if finite else (("loss", -1),)
        last = replace(last, loss=loss if finite else None, non_finite=(*last.non_finite, *gone))
        self.records[-1] = last
        self._write({"kind": "loss", "step": last.step, "loss": last.loss})
        for notice in self._alarms.look_at_loss(last):
            self._say(notice)

    def change(self, change: Change) -> None:
        """Keep and write a change of weight decay."""
        self.changes.append(change)
        self._write({"kind": "control", **asdict(change)})

    def end(self, reason: str) -> None:
        """The training is over, or no longer followed."""
        self._write({"kind": "end", "reason": reason, "time": round(time.time(), 3)})
        if self._file is not None:
            self._file.close()
            self._file = None

    def _say(self, notice: Notice) -> None:
        self.notices.append(notice)
        self._write({"kind": "warning", **asdict(notice)})
        self._told(notice)

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(line)
        except OSError as error:
            self.problem = f"{self._file.path}: the log is no longer written ({error.strerror or error})"
            self._file.close()
            self._file = None
