"""`critaudit.Monitor`: follow a training in plain PyTorch without a change to its loop or to its results."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import time
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from critaudit.errors import UsageError
from critaudit.training.alarms import Limits
from critaudit.training.describing import header_of_training
from critaudit.training.followed import follow
from critaudit.training.journal import Journal
from critaudit.training.live import LiveLine, line_of
from critaudit.training.log import Change
from critaudit.training.optimizers import plain_optimizer, steps_taken
from critaudit.training.pacing import Clock, paces
from critaudit.training.recording import KINDS, Recorder
from critaudit.training.records import Notice, Record
from critaudit.training.running import in_short
from critaudit.training.sinks import ScalarSink, scalars_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from critaudit.advice import WeightDecayAdvice
    from critaudit.advice.course import Course
    from critaudit.report import Report

_PATIENCE = 3  # failures after which a monitor gives up rather than disturb a training


@dataclass(frozen=True, slots=True)
class Overhead:
    """What the monitor cost so far: seconds in all its hooks, and the training's own seconds.

    Waiting for a device to finish the training's own work is not counted. `setup` is the time that loading took.
    `records` counts the recorded steps, `interval` is the present number of steps between them (None: not known yet).
    """

    seconds: float
    training_seconds: float
    records: int
    interval: int | None
    setup: float

    @property
    def share(self) -> float | None:
        """Seconds of the monitor per second of training; None before the second step."""
        return self.seconds / self.training_seconds if self.training_seconds > 0 else None


class Monitor:
    """Follows a training by its optimizer's steps; the training loop stays as it is.

    >>> import torch, critaudit
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with critaudit.Monitor(model, optimizer, dataset_size=64, batch_size=16, quiet=True) as monitor:
    ...     for _ in range(4):
    ...         optimizer.zero_grad()
    ...         model(torch.randn(16, 8)).square().mean().backward()
    ...         optimizer.step()
    >>> [record.step for record in monitor.records]
    [0, 1, 2, 4]

    At recorded steps it measures, for every weight matrix, J₀ = N·mean(W) and J = √(N·var(W)) (N = fan_in; Zhang21),
    χ₁ of the layer's own activation, the strength of the signal behind the layer and of the gradient at it, at a
    slower pace the stable law of the weights (α, g; Qu22), and with `spectra` norm and stable rank. Random state,
    gradients and results are bit by bit those of a training without it.

    `dataset_size` is the number of training samples, `batch_size` the number per optimizer step (over all processes
    and accumulated passes); either may be None, then nothing is told in epochs. `every`: a number of steps, or one for
    each of "weights", "tails", "spectra"; None chooses it so that the measured overhead stays within 2 % of the
    training's time. `log` is a JSONL file, which a repeated training goes on with (`fsync`: every line to the disk).
    `sinks` take scalars (`critaudit.training.sinks`), `callbacks` each warning. `activation` names the nonlinearity
    behind layers whose declaration does not tell. `scaler` is the GradScaler of mixed precision, `start` the number of
    steps that were done before, where the optimizer does not count them. `quiet` switches the line in the terminal off.

    In distributed training only the process of rank 0 measures and writes; elsewhere the monitor counts steps. A
    failure of the monitor itself never reaches the training: it is a RuntimeWarning and an entry of `problems`.
    Raises UsageError for what is no optimizer, a network without weight matrices, and a log of another network.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        dataset_size: int | None,
        batch_size: int | None,
        every: int | Mapping[str, int] | None = None,
        log: str | os.PathLike[str] | None = None,
        fsync: bool = False,
        name: str | None = None,
        sinks: Sequence[ScalarSink] = (),
        callbacks: Sequence[Callable[[Notice], None]] = (),
        spectra: bool = False,
        quiet: bool = False,
        activation: str | None = None,
        limits: Limits | None = None,
        scaler: Any = None,
        start: int | None = None,
    ) -> None:
        began = time.perf_counter()
        for label, size in (("dataset_size", dataset_size), ("batch_size", batch_size)):
            if size is not None and (isinstance(size, bool) or size < 1):
                raise UsageError(f"{label} is {size}; a number of samples from 1 on is expected, or None")
        self.optimizer = plain_optimizer(optimizer)
        self._clock, self._paces = Clock(), paces(every, KINDS if spectra else KINDS[:-1])
        self._steps, self._given, self._begun, self._closed = start or 0, start, False, False
        self._kinds: frozenset[str] = frozenset()
        self._next = 0
        self._left: float | None = None
        self._own, self._failures, self._inside = 0.0, 0, False
        self._loss: Any = None
        self._lacks_loss = False
        self._told_before: bool | None = None  # whether losses come before the optimizer's step
        self._sinks, self._callbacks = tuple(sinks), tuple(callbacks)
        self._advised: str | None = None
        self.problems: list[str] = []
        self._recorder: Recorder | None = None
        self._live = LiveLine(quiet=quiet or _rank() != 0)
        self.network = follow(model, activation=activation)
        self._sizes = dataset_size, batch_size
        if _rank() == 0:
            self._recorder = Recorder(self.network, self.optimizer, scaler=scaler)
            header = header_of_training(
                self.network,
                self.optimizer,
                name=name,
                log=log,
                dataset_size=dataset_size,
                batch_size=batch_size,
                settings={"every": every, "activation": activation, "spectra": spectra},
            )
            self._journal = Journal(header, path=log, fsync=fsync, limits=limits, told=self._told)
            self._recorder.warm_up()
        self._handles: list[Any] = [
            self.optimizer.register_step_pre_hook(self._before_first),
            self.optimizer.register_step_post_hook(self._after_step),
        ]
        self._plan()
        self._at_exit = _closer(self)
        atexit.register(self._at_exit)
        self._setup = time.perf_counter() - began

    @property
    def model(self) -> nn.Module:
        """The network that is followed, without its wrappers."""
        return self.network.module

    @property
    def is_active(self) -> bool:
        """Whether this process measures: it is the one of rank 0."""
        return self._recorder is not None

    @property
    def is_closed(self) -> bool:
        """Whether it follows the training no longer."""
        return self._closed

    @property
    def steps(self) -> int:
        """Optimizer steps done so far, those before this monitor included where they are known."""
        return self._steps

    @property
    def records(self) -> tuple[Record, ...]:
        """The recorded steps, also those of an earlier run that the log holds."""
        return tuple(self.journal.records)

    @property
    def warnings(self) -> tuple[Notice, ...]:
        """The warnings so far, in the order in which they were given."""
        return tuple(self.journal.notices)

    @property
    def journal(self) -> Journal:
        """All that is known of the training. Raises UsageError in a process that does not measure."""
        if self._recorder is None:
            raise UsageError(f"this is the process of rank {_rank()}; only the one of rank 0 measures the training")
        return self._journal

    @property
    def overhead(self) -> Overhead:
        """What the monitor cost so far."""
        pace = self._paces["weights"]
        return Overhead(self._own, self._clock.seconds, pace.count, pace.interval(self._clock), self._setup)

    @property
    def steps_per_epoch(self) -> float | None:
        """Optimizer steps per pass over the data; None where nobody said."""
        samples, batch = self._sizes
        return samples / batch if samples and batch else None

    def step(self, loss: float | torch.Tensor | None = None) -> None:
        """Tell the loss of this step, always before or always after the optimizer's step.

        It is looked at where the step is recorded; elsewhere the call costs nothing.
        """
        if loss is None or self._closed or self._recorder is None:
            return
        if self._told_before is not False:
            if self._steps + 1 == self._next:
                self._loss = loss.detach() if hasattr(loss, "detach") else loss  # fetched with the record
        elif self._lacks_loss:
            entered = time.perf_counter()
            self._lacks_loss = False
            self._journal.set_loss(_number(loss))
            self._own += time.perf_counter() - entered

    def course(self) -> Course:
        """The training so far as advice takes it: J₀ and J² of the trained layers along the steps, and settings."""
        from critaudit.training.course import course_of

        return course_of(self.journal.header, self.journal.records, notes=self.journal.notes)

    def advice(self) -> WeightDecayAdvice:
        """Which weight decay keeps the layers at their edge of chaos: `critaudit.advice.weight_decay(monitor)`."""
        from critaudit.advice import weight_decay

        return weight_decay(self)

    def report(self) -> Report:
        """The training as a report: trajectories, warnings as findings, advice. Raises UsageError before its start."""
        from critaudit.training.report import report_of_journal

        return report_of_journal(self.journal, overhead=self.overhead, problems=self.problems)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report: HTML, or JSON where the path ends in .json. Raises UsageError if it cannot."""
        target = os.fspath(path)
        if target.endswith(".json"):
            self.report().to_json(target)
        else:
            self.report().to_html(target)

    def state_dict(self) -> dict[str, int]:
        """What to keep in a checkpoint so that the monitor of the continued training knows its step."""
        return {"step": self._steps}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Take up the count of steps of a checkpoint. Raises UsageError after the first step."""
        if self._begun:
            raise UsageError("the monitor has seen steps already; load its state before the first one")
        self._steps = self._given = int(state["step"])

    def close(self, reason: str = "closed") -> None:
        """Take a last record, end the log, and leave the optimizer alone from now on. The records stay."""
        if self._closed:
            return
        self._closed = True
        if not self._inside:  # PyTorch goes through its hooks just now: they stay, and do nothing
            for handle in self._handles:
                handle.remove()
        atexit.unregister(self._at_exit)
        if self._recorder is not None:
            self._recorder.disarm()
            if self._begun and not self._journal.knows(self._steps):
                self.guarded(self._record_weights_only)
            for sink in self._sinks:
                self.guarded(sink.close)
            self._journal.end(reason)
        self._live.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close("completed" if kind is None else f"ended by {kind.__name__}")

    def _before_first(self, *_: Any) -> None:
        """Just before the first step, when a checkpoint has been loaded if one is: the weights as they start."""
        if self._begun or self._closed:
            return
        self._begun = True
        if self._recorder is not None:
            entered = time.perf_counter()
            self.guarded(self._record_start)
            self._own += time.perf_counter() - entered - self._recorder.waited

    def _record_start(self) -> None:
        assert self._recorder is not None
        record = self._recorder.record(0, kinds=frozenset(self._paces), signals=False)
        start = self._journal.begin(self._given, steps_taken(self.optimizer), record.layers)
        self._steps = start.step
        for kind, pace in self._paces.items():
            pace.done(start.step, self._recorder.seconds[kind])
        if not self._journal.knows(start.step):
            self._publish(replace(record, step=start.step))
        self._plan()

    def _after_step(self, *_: Any) -> None:
        """At every step of the optimizer: count it, and seldom do more."""
        entered = time.perf_counter()
        self._steps += 1
        if self._steps < self._next:
            if self._left is not None:
                self._clock.step(entered - self._left)
            if self._steps + 1 == self._next:
                self.guarded(self._plan)  # by now more is known of the training's pace
        elif self._recorder is not None and not self._closed:
            self._at_record(self._recorder, entered)
            return
        self._left = time.perf_counter()
        self._own += self._left - entered

    def _at_record(self, recorder: Recorder, entered: float) -> None:
        watched = recorder.watched
        if self._left is not None:
            self._clock.step(max(entered - self._left - watched, 0.0))
        self.guarded(lambda: self._record(entered - watched))
        self.guarded(self._plan)
        self._left = time.perf_counter()
        self._own += self._left - entered - recorder.waited + watched

    def _record(self, since: float) -> None:
        recorder, kinds = self._recorder, self._kinds
        assert recorder is not None
        recorder.disarm()
        loss, self._loss = self._loss, None
        if self._told_before is None:
            self._told_before = loss is not None
        self._lacks_loss = loss is None
        record = recorder.record(self._steps, kinds=kinds, signals=True, loss=None if loss is None else _number(loss))
        self._publish(record)
        slower = {kind: recorder.seconds[kind] for kind in kinds if kind != "weights"}
        for kind, seconds in slower.items():
            self._paces[kind].done(self._steps, seconds)
        everything = time.perf_counter() - since - recorder.waited
        self._paces["weights"].done(self._steps, everything - math.fsum(slower.values()))

    def _record_weights_only(self) -> None:
        assert self._recorder is not None
        kinds = frozenset(self._paces) - {"weights"}
        self._publish(self._recorder.record(self._steps, kinds=kinds, signals=False))

    def _publish(self, record: Record) -> None:
        assert self._recorder is not None
        record = replace(record, overhead=self.overhead.share)
        self._journal.add(record, self._recorder.order)
        if self._journal.problem is not None:
            self._trouble(self._journal.problem)
            self._journal.problem = None
        if self._sinks:
            values = scalars_of(record, self._journal.header.layers)
            for sink in self._sinks:
                sink.scalars(record.step, values)
        if self._live.shown:
            self._show(record)

    def _show(self, record: Record) -> None:
        header = self._journal.header
        per_epoch = self.steps_per_epoch
        if any(layer.alpha is not None for layer in record.layers):  # as seldom as the slower measurements
            self._advised = in_short(self.course())
        self._live.show(
            line_of(
                record,
                header.layers,
                name=header.name,
                epoch=None if per_epoch is None else record.step / per_epoch,
                advised=self._advised,
            )
        )

    def _told(self, notice: Notice) -> None:
        self._live.say(notice)
        for callback in self._callbacks:
            callback(notice)

    def _plan(self) -> None:
        """Choose the next step to record, and what of it; if it is the coming one, watch its passes."""
        following = {kind: pace.following(self._steps, self._clock) for kind, pace in self._paces.items()}
        self._next = min(following.values())
        self._kinds = frozenset(kind for kind, step in following.items() if step <= self._next)
        if self._steps + 1 == self._next and self._recorder is not None and not self._closed:
            self._recorder.arm()

    def guarded(self, action: Callable[[], None]) -> None:
        """Do something that must not end the training, whatever happens in it."""
        inside, self._inside = self._inside, True
        try:
            action()
        except Exception as error:  # the one place where a monitor's own failure is kept from the training
            self._failures += 1
            if self._recorder is not None:
                self._recorder.disarm()
            self._trouble(f"step {self._steps}: {type(error).__name__}: {error}")
            if self._failures >= _PATIENCE and not self._closed:
                self._trouble(f"given up after {self._failures} failures")
                self.close("failed")
        finally:
            self._inside = inside

    def note_time(self, seconds: float) -> None:
        """Count time that was spent for the monitor's sake elsewhere (by a Controller)."""
        self._own += seconds

    def note_change(self, change: Change) -> None:
        """Keep and log a change of weight decay that a Controller made."""
        if self._recorder is not None and not self._closed:
            self._journal.change(change)

    def _trouble(self, what: str) -> None:
        self.problems.append(what)
        with contextlib.suppress(RuntimeWarning):  # where warnings are errors, this one is still none of the training
            warnings.warn(f"critaudit.Monitor: {what}; the training goes on", RuntimeWarning, stacklevel=2)


def _number(loss: Any) -> float:
    return float(loss.detach() if hasattr(loss, "detach") else loss)


def _rank() -> int:
    import torch.distributed as dist

    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def _closer(monitor: Monitor) -> Callable[[], None]:
    """Closes the monitor at the end of the process, if it is still there; it is not kept alive for that."""
    method = weakref.WeakMethod(monitor.close)

    def close() -> None:
        found = method()
        if found is not None:
            found("the process ended")

    return close
