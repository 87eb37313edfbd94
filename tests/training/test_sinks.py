"""Scalars reach the real TensorBoard, and trackers with the signatures of W&B and MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from critaudit.training.sinks import ScalarSink, mlflow, tensorboard, wandb
from tests.training.networks import follow, mlp, train


def run(sink: ScalarSink) -> None:
    model = mlp(depth=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with follow(model, optimizer, every=2, sinks=[sink]):
        train(model, optimizer, 4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_back_what_was_sent(tmp_path: Path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (critaudit[test])")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(tmp_path)
    run(tensorboard(writer))
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    names = found.Tags()["scalars"]
    assert {"critaudit/J/0.weight", "critaudit/chi1/2.weight", "critaudit/gradient_growth"} <= set(names)
    assert [event.step for event in found.Scalars("critaudit/J/0.weight")] == [0, 1, 2, 4]
    assert found.Scalars("critaudit/alpha/0.weight")[0].value == pytest.approx(2.0, abs=0.5)
    writer.close()


def test_weights_and_biases_gets_its_own_axis():
    class Run:  # the part of wandb.sdk.wandb_run.Run that is used, with its signatures
        def __init__(self) -> None:
            self.metrics: list[tuple[str, str | None]] = []
            self.logged: list[dict[str, Any]] = []

        def define_metric(self, name: str, step_metric: str | None = None, *_: Any, **__: Any) -> None:
            self.metrics.append((name, step_metric))

        def log(self, data: dict[str, Any], step: int | None = None, commit: bool | None = None) -> None:
            assert step is None  # the run's own step is the loop's
            self.logged.append(json.loads(json.dumps(data)))

    tracker = Run()
    run(wandb(tracker))
    assert ("critaudit/*", "critaudit/step") in tracker.metrics
    assert [one["critaudit/step"] for one in tracker.logged] == [0, 1, 2, 4]
    assert all(isinstance(value, (int, float)) for one in tracker.logged for value in one.values())


def test_mlflow_takes_the_module_or_a_client_and_only_names_that_it_allows():
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./: ")

    class Module:  # mlflow.log_metrics
        def __init__(self) -> None:
            self.steps: list[int | None] = []

        def log_metrics(self, metrics: dict[str, float], step: int | None = None, **_: Any) -> None:
            assert all(set(name) <= allowed for name in metrics)
            self.steps.append(step)

    class Client:  # mlflow.MlflowClient.log_metric
        def __init__(self) -> None:
            self.seen: set[tuple[str, int | None]] = set()

        def log_metric(self, run_id: str, key: str, value: float, timestamp: Any = None, step: int | None = None):
            assert isinstance(value, float)
            self.seen.add((run_id, step))

    module, client = Module(), Client()
    run(mlflow(module))
    run(mlflow(client, run_id="a"))
    assert module.steps == [0, 1, 2, 4]
    assert client.seen == {("a", step) for step in (0, 1, 2, 4)}
    mlflow(module).scalars(3, {"critaudit/J/attn.in_proj_weight[q]": 1.0})


def test_anything_with_the_two_methods_is_a_sink():
    class Mine:
        def scalars(self, step: int, values: Any) -> None: ...

        def close(self) -> None: ...

    assert isinstance(Mine(), ScalarSink)
    assert not isinstance(object(), ScalarSink)
