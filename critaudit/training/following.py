"""What a monitor does at the optimizer's steps: count them, record some, and stay out of the training's way."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from critaudit.advice.course import Course
from critaudit.training.course import course_of
from critaudit.training.journal import Journal
from critaudit.training.live import LiveLine, line_of
from critaudit.training.optimizers import steps_taken
from critaudit.training.pacing import Schedule
from critaudit.training.recording import Recorder
from critaudit.training.records import Notice, Record
from critaudit.training.running import in_short
from critaudit.training.sinks import ScalarSink, scalars_of

if TYPE_CHECKING:
    import torch

_FEWEST = 8  # records before advice is asked for
_PATIENCE = 3  # failures after which a monitor gives up rather than disturb a training


class Seen:
    """What a process that measures has: the recorder, the journal, and those who are told of records and notices."""

    def __init__(
        self,
        recorder: Recorder,
        *,
        live: LiveLine,
        sinks: Sequence[ScalarSink],
        callbacks: Sequence[Callable[[Notice], None]],
        steps_per_epoch: float | None,
    ) -> None:
        self.recorder, self.live = recorder, live
        self.journal: Journal
        self.sinks, self._callbacks, self._per_epoch = tuple(sinks), tuple(callbacks), steps_per_epoch
        self._advised: str | None = None
        self._ask_again = 0.0
        self.shown = 0.0  # seconds that the last line took

    def warm_up(self) -> None:
        """Load what records need, so that the first one costs what they all do."""
        self.recorder.warm_up()
        if self.live.shown:
            in_short(Course(layers=()))

    def publish(self, record: Record) -> None:
        """Keep a record, and tell it to the trackers and the terminal."""
        journal = self.journal
        journal.add(record, self.recorder.order)
        if self.sinks:
            values = scalars_of(record, journal.header.layers)
            for sink in self.sinks:
                sink.scalars(record.step, values)
        self.show()

    def told(self, notice: Notice) -> None:
        """Pass a new notice on."""
        self.live.say(notice)
        for callback in self._callbacks:
            callback(notice)

    def show(self) -> None:
        """The last record in the terminal."""
        if not self.live.shown or not self.journal.records:
            return
        header, record = self.journal.header, self.journal.records[-1]
        started = time.perf_counter()
        if started >= self._ask_again and len(self.journal.records) >= _FEWEST:
            self._advised = in_short(course_of(header, self.journal.records))
            now = time.perf_counter()  # advice takes a while: a four-hundredth of the time is spent on it
            self._ask_again = now + max(2.0, 400.0 * (now - started))
        epoch = None if self._per_epoch is None else record.step / self._per_epoch
        self.live.show(line_of(record, header.layers, name=header.name, epoch=epoch, advised=self._advised))
        self.shown = time.perf_counter() - started


class Following:
    """The hooks on an optimizer. `seen` is None in a process that only counts steps.

    `own` is the time spent in the hooks, in seconds, without waiting for the device. `problems` are failures of the
    monitor itself, which never reach the training.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: Schedule, seen: Seen | None, start: int | None):
        self.schedule, self.seen, self.steps, self.given = schedule, seen, start or 0, start
        self.begun = self.closed = False
        self.own = 0.0
        self.problems: list[str] = []
        self._optimizer = optimizer
        self._left: float | None = None
        self._failures, self._inside = 0, False
        self._loss: Any = None
        self._lacks_loss = False
        self._told_before: bool | None = None  # whether losses come before the optimizer's step
        self._handles: list[Any] = [
            optimizer.register_step_pre_hook(self._before_first),
            optimizer.register_step_post_hook(self._after_step),
        ]
        self._plan()

    def tell(self, loss: Any) -> None:
        """The loss of this step, before or after the optimizer's step; looked at where the step is recorded."""
        if self.closed or self.seen is None:
            return
        if self._told_before is not False:
            if self.steps + 1 == self.schedule.following:
                self._loss = loss.detach() if hasattr(loss, "detach") else loss  # fetched with the record
        elif self._lacks_loss:
            entered = time.perf_counter()
            self._lacks_loss = False
            self.seen.journal.set_loss(_number(loss))
            self.seen.show()
            self.own += time.perf_counter() - entered

    def close(self, reason: str) -> None:
        """Take a last record, end the log, and leave the optimizer alone from now on."""
        if self.closed:
            return
        self.closed = True
        if not self._inside:  # PyTorch goes through its hooks just now: they stay, and do nothing
            for handle in self._handles:
                handle.remove()
        seen = self.seen
        if seen is None:
            return
        seen.recorder.disarm()
        if self.begun and not seen.journal.knows(self.steps):
            self.guarded(self._record_last)
        for sink in seen.sinks:
            self.guarded(sink.close)
        seen.journal.end(reason)
        seen.live.close()

    def guarded(self, action: Callable[[], None]) -> None:
        """Do something that must not end the training, whatever happens in it."""
        inside, self._inside = self._inside, True
        try:
            action()
        except Exception as error:  # the one place where a monitor's own failure is kept from the training
            self._failures += 1
            if self.seen is not None:
                self.seen.recorder.disarm()
            self._trouble(f"step {self.steps}: {type(error).__name__}: {error}")
            if self._failures >= _PATIENCE and not self.closed:
                self._trouble(f"given up after {self._failures} failures")
                self.close("failed")
        finally:
            self._inside = inside

    def _before_first(self, *_: Any) -> None:
        """Just before the first step, when a checkpoint has been loaded if one is: the weights as they start."""
        if self.begun or self.closed:
            return
        self.begun = True
        if self.seen is not None:
            entered = time.perf_counter()
            self.guarded(self._record_start)
            self.own += time.perf_counter() - entered - self.seen.recorder.waited

    def _after_step(self, *_: Any) -> None:
        """At every step of the optimizer: count it, and seldom do more."""
        entered = time.perf_counter()
        self.steps += 1
        if self.steps < self.schedule.following:
            if self._left is not None:
                self.schedule.clock.step(entered - self._left)
            if self.steps + 1 == self.schedule.following:
                self.guarded(self._plan)  # by now more is known of the training's pace
        elif self.seen is not None and not self.closed:
            self._at_record(self.seen.recorder, entered)
            return
        self._left = time.perf_counter()
        self.own += self._left - entered

    def _at_record(self, recorder: Recorder, entered: float) -> None:
        watched = recorder.watched
        if self._left is not None:
            self.schedule.clock.step(max(entered - self._left - watched, 0.0))
        self.guarded(lambda: self._record(entered - watched))
        self.guarded(self._plan)
        self._left = time.perf_counter()
        self.own += self._left - entered - recorder.waited + watched

    def _plan(self) -> None:
        """Choose the next step to record, and what of it; if it is the coming one, watch its passes."""
        self.schedule.plan(self.steps)
        if self.steps + 1 == self.schedule.following and self.seen is not None and not self.closed:
            self.seen.recorder.arm()

    def _record_start(self) -> None:
        assert self.seen is not None
        recorder, journal = self.seen.recorder, self.seen.journal
        record = recorder.record(0, kinds=frozenset(self.schedule.paces), signals=False)
        start = journal.begin(self.given, steps_taken(self._optimizer), record.layers)
        self.steps = start.step
        for kind, pace in self.schedule.paces.items():
            pace.done(start.step, recorder.seconds[kind])
        if not journal.knows(start.step):
            self._publish(replace(record, step=start.step))
        self._plan()

    def _record(self, since: float) -> None:
        assert self.seen is not None
        recorder, kinds, paces = self.seen.recorder, self.schedule.kinds, self.schedule.paces
        recorder.disarm()
        loss, self._loss = self._loss, None
        if self._told_before is None:
            self._told_before = loss is not None
        self._lacks_loss = loss is None
        known = None if loss is None else _number(loss)
        self._publish(recorder.record(self.steps, kinds=kinds, signals=True, loss=known))
        slower = {kind: recorder.seconds[kind] for kind in kinds if kind != "weights"}
        for kind, seconds in slower.items():
            paces[kind].done(self.steps, seconds)
        everything = time.perf_counter() - since - recorder.waited - self.seen.shown
        paces["weights"].done(self.steps, everything - math.fsum(slower.values()))

    def _record_last(self) -> None:
        assert self.seen is not None
        kinds = frozenset(self.schedule.paces) - {"weights"}
        self._publish(self.seen.recorder.record(self.steps, kinds=kinds, signals=False))

    def _publish(self, record: Record) -> None:
        assert self.seen is not None
        seconds = self.schedule.clock.seconds
        self.seen.publish(replace(record, overhead=self.own / seconds if seconds > 0.0 else None))
        if (problem := self.seen.journal.problem) is not None:
            self.seen.journal.problem = None
            self._trouble(problem)

    def _trouble(self, what: str) -> None:
        self.problems.append(what)
        with contextlib.suppress(RuntimeWarning):  # where warnings are errors, this one is still none of the training
            warnings.warn(f"critaudit.Monitor: {what}; the training goes on", RuntimeWarning, stacklevel=2)


def _number(loss: Any) -> float:
    return float(loss.detach() if hasattr(loss, "detach") else loss)
