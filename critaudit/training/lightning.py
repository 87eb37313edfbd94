"""The monitor as a callback of Lightning (`lightning` or `pytorch_lightning`; `pip install 'critaudit[lightning]'`)."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from critaudit.errors import UnavailableError, UsageError
from critaudit.training.describing import data_sizes
from critaudit.training.monitor import Monitor


def _bases() -> tuple[Any, ...]:
    """The `Callback` of every Lightning that is in use, else of those that are installed: its trainer asks for it."""
    names = ("lightning.pytorch", "pytorch_lightning")
    found: dict[Any, None] = {}
    for name in [name for name in names if name in sys.modules] or names:
        with contextlib.suppress(ModuleNotFoundError):
            found[importlib.import_module(name).Callback] = None
    if not found:
        raise UnavailableError("Lightning is not installed; pip install 'critaudit[lightning]'")
    return tuple(found)


class MonitorCallback(*_bases()):  # type: ignore[misc]
    """Follows the training of a Trainer: `Trainer(callbacks=[MonitorCallback(log="run.jsonl", report="run.html")])`.

    `options` are those of `critaudit.Monitor`; it is `quiet` unless they say otherwise, so that warnings are in the log
    and the report alone, and with `callbacks`. Where they do not say `dataset_size` and `batch_size`, both are taken
    from the training's data loader (batches of all processes and accumulated ones together). Numbers go to the
    trainer's loggers, unless `scalars` is False; `report` is where the HTML is written at the end. `optimizer` chooses
    among several. `monitor` is the Monitor, None before the training starts.
    """

    def __init__(
        self,
        *,
        report: str | os.PathLike[str] | None = None,
        scalars: bool = True,
        optimizer: int = 0,
        **options: Any,
    ) -> None:
        super().__init__()
        self.monitor: Monitor | None = None
        self._report, self._scalars, self._which = report, scalars, optimizer
        self._options = {"quiet": True, **options}  # the progress bar has the terminal
        self._kept: Mapping[str, int] | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Weights and optimizer are in place, also those of a checkpoint."""
        if not 0 <= self._which < len(trainer.optimizers):
            raise UsageError(
                f"optimizer={self._which} was asked for; the training has {len(trainer.optimizers)}, counted from 0"
            )
        known = _sizes(trainer)
        options = {"dataset_size": known[0], "batch_size": known[1], **self._options}
        if self._scalars:
            options["sinks"] = (*options.get("sinks", ()), *(LoggerSink(logger) for logger in trainer.loggers))
        options.setdefault("scaler", getattr(trainer.precision_plugin, "scaler", None))
        self.monitor = Monitor(pl_module, trainer.optimizers[self._which], **options)
        if self._kept is not None:
            self.monitor.load_state_dict(self._kept)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """The loss of a step, after it."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if self.monitor is not None and hasattr(loss, "detach"):
            self.monitor.step(loss=loss)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """The last record, and the report."""
        self._end("completed")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """What there is up to here."""
        self._end(f"ended by {type(exception).__name__}")

    def state_dict(self) -> dict[str, Any]:
        """Into the trainer's checkpoints: the step."""
        return {} if self.monitor is None else dict(self.monitor.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Out of a checkpoint, before the training starts."""
        self._kept = state_dict or None

    def _end(self, reason: str) -> None:
        monitor = self.monitor
        if monitor is None or monitor.is_closed:
            return
        monitor.close(reason)
        if self._report is not None and monitor.is_active and monitor.records:
            monitor.save(self._report)


class LoggerSink:
    """A sink (`critaudit.training.sinks.ScalarSink`) that hands numbers to one of Lightning's loggers."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See ScalarSink."""
        self._logger.log_metrics(dict(values), step=step)

    def close(self) -> None:
        """The logger is the trainer's."""


def _sizes(trainer: Any) -> tuple[int | None, int | None]:
    """Training samples, and samples per optimizer step; None where the loader does not say."""
    loader = trainer.train_dataloader
    samples = getattr(loader, "dataset", None)
    batch = getattr(loader, "batch_size", None)
    per_step = None if batch is None else int(batch) * trainer.accumulate_grad_batches * trainer.world_size
    return data_sizes(samples, per_step)
