"""`critaudit.Monitor`: follow a training in plain PyTorch without a change to its loop or to its results."""

from __future__ import annotations

import atexit
import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from critaudit.errors import UsageError
from critaudit.training.alarms import Limits
from critaudit.training.describing import header_of_training
from critaudit.training.followed import follow
from critaudit.training.following import Following, Seen
from critaudit.training.journal import Journal
from critaudit.training.live import LiveLine
from critaudit.training.log import Change
from critaudit.training.optimizers import check_trains, plain_optimizer
from critaudit.training.pacing import Schedule
from critaudit.training.recording import KINDS, Recorder
from critaudit.training.records import Notice, Record
from critaudit.training.sinks import ScalarSink

if TYPE_CHECKING:
    import torch
    from torch import nn

    from critaudit.advice import WeightDecayAdvice
    from critaudit.advice.course import Course
    from critaudit.report import Report


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
    steps that were done before, where the optimizer does not count them. Standard error gets each
    warning and, where it is a terminal, a line that is rewritten at every record; `quiet` switches both off.

    In distributed training only the process of rank 0 measures and writes; elsewhere the monitor counts steps. A
    failure of the monitor itself never reaches the training: it is a RuntimeWarning and an entry of `problems`.
    Raises UsageError for what is no optimizer or that of another network, for a network without weight matrices, for a
    batch larger than the data, and for a log of another network.
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
        if dataset_size is not None and batch_size is not None and batch_size > dataset_size:
            raise UsageError(
                f"batch_size is {batch_size}, more than dataset_size, which is {dataset_size}; give the "
                "number of training samples and the number of those per optimizer step"
            )
        schedule = Schedule(every, KINDS if spectra else KINDS[:-1])
        self.optimizer = plain_optimizer(optimizer)
        self.network = follow(model, activation=activation)
        check_trains(self.optimizer, self.network.module, model)
        self._sizes = dataset_size, batch_size
        seen = None
        if _rank() == 0:
            seen = Seen(
                Recorder(self.network, self.optimizer, scaler=scaler),
                live=LiveLine(quiet=quiet),
                sinks=sinks,
                callbacks=callbacks,
                steps_per_epoch=self.steps_per_epoch,
            )
            header = header_of_training(
                self.network,
                self.optimizer,
                name=name,
                log=log,
                dataset_size=dataset_size,
                batch_size=batch_size,
                settings={"every": every, "activation": activation, "spectra": spectra},
            )
            seen.journal = Journal(header, path=log, fsync=fsync, limits=limits, told=seen.told)
            seen.warm_up()
        self._following = Following(self.optimizer, schedule, seen, start)
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
        return self._following.seen is not None

    @property
    def is_closed(self) -> bool:
        """Whether it follows the training no longer."""
        return self._following.closed

    @property
    def steps(self) -> int:
        """Optimizer steps done so far, those before this monitor included where they are known."""
        return self._following.steps

    @property
    def steps_per_epoch(self) -> float | None:
        """Optimizer steps per pass over the data; None where nobody said."""
        samples, batch = self._sizes
        return samples / batch if samples and batch else None

    @property
    def records(self) -> tuple[Record, ...]:
        """The recorded steps, also those of an earlier run that the log holds."""
        return tuple(self.journal.records)

    @property
    def warnings(self) -> tuple[Notice, ...]:
        """The warnings so far, in the order in which they were given."""
        return tuple(self.journal.notices)

    @property
    def problems(self) -> tuple[str, ...]:
        """What went wrong with the monitor itself: the log's disk was full, a tracker did not answer."""
        return tuple(self._following.problems)

    @property
    def journal(self) -> Journal:
        """All that is known of the training. Raises UsageError in a process that does not measure."""
        if self._following.seen is None:
            raise UsageError(f"this is the process of rank {_rank()}; only the one of rank 0 measures the training")
        return self._following.seen.journal

    @property
    def overhead(self) -> Overhead:
        """What the monitor cost so far."""
        schedule = self._following.schedule
        pace, clock = schedule.paces["weights"], schedule.clock
        return Overhead(self._following.own, clock.seconds, pace.count, pace.interval(clock), self._setup)

    def step(self, loss: float | torch.Tensor | None = None) -> None:
        """Tell the loss of this step, always before or always after the optimizer's step.

        It is looked at where the step is recorded; elsewhere the call costs nothing.
        """
        if loss is not None:
            self._following.tell(loss)

    def course(self) -> Course:
        """The training so far as advice takes it: J₀ and J² of the trained layers along the steps, and settings."""
        from critaudit.training.course import course_of

        journal = self.journal
        return course_of(journal.header, journal.records, notes=journal.notes, lost=journal.lost)

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
        return {"step": self.steps}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Take up the count of steps of a checkpoint. Raises UsageError after the first step."""
        if self._following.begun:
            raise UsageError("the monitor has seen steps already; load its state before the first one")
        self._following.steps = self._following.given = int(state["step"])

    def close(self, reason: str = "closed") -> None:
        """Take a last record, end the log, and leave the optimizer alone from now on. The records stay."""
        atexit.unregister(self._at_exit)
        self._following.close(reason)

    def guarded(self, action: Callable[[], None]) -> None:
        """Do something in the monitor's time, and keep its failure from the training."""
        entered = time.perf_counter()
        self._following.guarded(action)
        self._following.own += time.perf_counter() - entered

    def note_change(self, change: Change) -> None:
        """Keep and log a change of weight decay that a Controller made."""
        if self.is_active and not self.is_closed:
            self.journal.change(change)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close("completed" if kind is None else f"ended by {kind.__name__}")


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
