"""The callback with the real Lightning: followed, resumed, and the same training as without."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from critaudit.training import read_log
from tests.training.networks import BATCH, SAMPLES, data, mlp

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice on workers and loggers


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def lightning(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param, reason=f"{request.param} is not installed (critaudit[lightning])")


def adapter_of() -> Any:
    """The adapter as it is when imported after the Lightning of this test."""
    return importlib.reload(importlib.import_module("critaudit.training.lightning"))


def module(lightning: Any) -> Any:
    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp()

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=0.01)

    return Module()


def fit(
    lightning: Any,
    callbacks: list[Any],
    folder: Path,
    *,
    epochs: int = 2,
    resume: Path | None = None,
    batch: int = BATCH // 2,
) -> Any:
    lightning.seed_everything(0, verbose=False)
    model = module(lightning)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), batch_size=batch, shuffle=True)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        accumulate_grad_batches=2,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=callbacks,
    )
    trainer.fit(model, loader, ckpt_path=resume)
    return trainer, model


def test_a_trainer_is_followed_without_a_change_of_its_training(lightning: Any, tmp_path: Path):
    adapter = adapter_of()
    callback = adapter.MonitorCallback(log=tmp_path / "run.jsonl", report=tmp_path / "run.html", every=1)
    trainer, model = fit(lightning, [callback], tmp_path / "a")
    _, plain = fit(lightning, [], tmp_path / "b")
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)
    log = read_log(tmp_path / "run.jsonl")
    steps = SAMPLES // BATCH * 2
    assert [record.step for record in log.records] == list(range(steps + 1))
    assert (log.header.dataset_size, log.header.batch_size) == (SAMPLES, BATCH)
    assert log.header.layers[0].name == "net.0.weight"
    assert all(record.loss is not None for record in log.records[1:])
    assert log.records[-1].growth is not None
    assert log.ended == "completed"
    assert "AdamW" in (tmp_path / "run.html").read_text()
    kept = tmp_path / "kept.ckpt"
    trainer.save_checkpoint(kept)
    callback = adapter.MonitorCallback(log=tmp_path / "run.jsonl", every=1)
    fit(lightning, [callback], tmp_path / "c", epochs=3, resume=kept)
    log = read_log(tmp_path / "run.jsonl")
    assert log.restarts == (steps,)
    assert [record.step for record in log.records] == list(range(SAMPLES // BATCH * 3 + 1))


def test_a_loader_that_asks_for_more_samples_than_there_are_gives_what_there_is(lightning: Any, tmp_path: Path):
    callback = adapter_of().MonitorCallback(log=tmp_path / "run.jsonl")
    fit(lightning, [callback], tmp_path, epochs=1, batch=SAMPLES)  # two batches are accumulated
    log = read_log(tmp_path / "run.jsonl")
    assert (log.header.dataset_size, log.header.batch_size) == (SAMPLES, SAMPLES)


def test_numbers_reach_the_trainers_loggers_and_an_exception_ends_the_log(lightning: Any, tmp_path: Path):
    adapter = adapter_of()
    seen: dict[int, dict[str, float]] = {}

    class Logger:
        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            seen[step] = metrics

    sink = adapter.LoggerSink(Logger())
    callback = adapter.MonitorCallback(log=tmp_path / "run.jsonl", every=1, sinks=[sink], scalars=False)

    class Breaks(lightning.Callback):  # type: ignore[misc,name-defined]
        def on_train_batch_end(self, *_: Any) -> None:
            if callback.monitor.steps == 3:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(lightning, [callback, Breaks()], tmp_path)
    assert read_log(tmp_path / "run.jsonl").ended == "ended by ZeroDivisionError"
    assert sorted(seen) == [0, 1, 2, 3]
    assert seen[3]["critaudit/J/net.0.weight"] > 0
