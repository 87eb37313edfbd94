"""The monitor as a callback of Hugging Face's Trainer (`pip install 'critaudit[transformers]'`)."""

from __future__ import annotations

import os
from typing import Any

from critaudit.errors import UnavailableError
from critaudit.training.describing import data_sizes
from critaudit.training.monitor import Monitor

try:
    from transformers import TrainerCallback
except ModuleNotFoundError:
    raise UnavailableError("transformers is not installed; pip install 'critaudit[transformers]'") from None

_Base: Any = TrainerCallback


class MonitorCallback(_Base):  # type: ignore[misc]
    """Follows the training of a Trainer: `Trainer(…, callbacks=[MonitorCallback(log="run.jsonl", report="run.html")])`.

    `options` are those of `critaudit.Monitor`; it is `quiet` unless they say otherwise, so that warnings are in the log
    and the report alone, and with `callbacks`. Where they do not say `dataset_size` and `batch_size`, both are taken
    from the data loader and the training's arguments (all processes and accumulated batches together). `report` is
    where the HTML is written at the end. `monitor` is the Monitor, None before the training begins.
    """

    def __init__(self, *, report: str | os.PathLike[str] | None = None, **options: Any) -> None:
        self.monitor: Monitor | None = None
        self._report = report
        self._options = {"quiet": True, **options}  # the progress bar has the terminal

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Weights and optimizer are in place, also those of a checkpoint."""
        samples = getattr(kwargs.get("train_dataloader"), "dataset", None)
        per_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        dataset_size, batch_size = data_sizes(samples, per_step)
        options = {
            "dataset_size": dataset_size,
            "batch_size": batch_size,
            "start": state.global_step,
            **self._options,
        }
        self.monitor = Monitor(kwargs["model"], kwargs["optimizer"], **options)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The last record, and the report."""
        monitor = self.monitor
        if monitor is None or monitor.is_closed:
            return
        monitor.close("completed")
        if self._report is not None and monitor.is_active and monitor.records:
            monitor.save(self._report)
