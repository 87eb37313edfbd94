"""Scalars for experiment trackers: one small protocol, and adapters that import nothing of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from critaudit.training.followed import Followed
from critaudit.training.records import Record


@runtime_checkable
class ScalarSink(Protocol):
    """Where a Monitor sends numbers; anything with these two methods will do."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take the numbers of one recorded step, by names such as "critaudit/J/0.weight"."""

    def close(self) -> None:
        """The training is over; what is the tracker's own stays open."""


class TensorBoard:
    """Into a `torch.utils.tensorboard.SummaryWriter` (or any other with its `add_scalar`)."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See ScalarSink."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, global_step=step)

    def close(self) -> None:
        """Write out what the writer holds back."""
        self._writer.flush()


class WandB:
    """Into a run of Weights & Biases (`wandb.init()` returns it), on an axis of its own.

    The run's own step belongs to the training loop, which may have logged a later one by then; so the numbers are
    drawn over "critaudit/step".
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        run.define_metric("critaudit/step")
        run.define_metric("critaudit/*", step_metric="critaudit/step")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See ScalarSink."""
        self._run.log({**values, "critaudit/step": step})

    def close(self) -> None:
        """Nothing to do: the run is its owner's."""


class MLflow:
    """Into MLflow: the module `mlflow` (its active run), or an `MlflowClient` with `run_id`.

    Characters that MLflow does not take in names ("[", "]") are written as "_".
    """

    def __init__(self, client: Any, run_id: str | None = None) -> None:
        self._client, self._run_id = client, run_id

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See ScalarSink."""
        named = {_mlflow_name(name): float(value) for name, value in values.items()}
        if self._run_id is None:
            self._client.log_metrics(named, step=step)
            return
        for name, value in named.items():
            self._client.log_metric(self._run_id, name, value, step=step)

    def close(self) -> None:
        """Nothing to do: the run is its owner's."""


def tensorboard(writer: Any) -> ScalarSink:
    """A sink that writes to a TensorBoard `SummaryWriter`."""
    return TensorBoard(writer)


def wandb(run: Any) -> ScalarSink:
    """A sink that logs to a Weights & Biases run."""
    return WandB(run)


def mlflow(client: Any, run_id: str | None = None) -> ScalarSink:
    """A sink that logs to MLflow: its module, or a client and the run's id."""
    return MLflow(client, run_id)


def scalars_of(record: Record, layers: Sequence[Followed]) -> dict[str, float]:
    """A record's finite numbers by name: "critaudit/QUANTITY/LAYER", and the network's own without a layer."""
    import math

    found: dict[str, float | None] = {
        "critaudit/overhead": record.overhead,
    }
    for name, one in (record.growth or {}).items():
        found[f"critaudit/{name}_growth"] = math.exp(min(one[0], 700.0))
    for layer, now in zip(layers, record.layers, strict=True):
        for name, value in (
            ("J", now.j),
            ("J0", now.j0),
            ("chi1", now.chi1),
            ("signal", now.signal),
            ("gradient", now.gradient),
            ("alpha", None if now.alpha is None else now.alpha[0]),
            ("g", now.g),
            ("norm", now.norm),
            ("stable_rank", now.stable_rank),
            ("dead_units", now.dead),
        ):
            found[f"critaudit/{name}/{layer.name}"] = value
    return {name: value for name, value in found.items() if value is not None}


def _mlflow_name(name: str) -> str:
    """MLflow takes letters, digits, "_", "-", ".", " ", ":" and "/"."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-. :/") else "_" for letter in name)
