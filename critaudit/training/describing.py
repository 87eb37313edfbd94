"""The first line of a training's log: which network, which optimizer, which versions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critaudit.circumstances import circumstances
from critaudit.text import printable
from critaudit.training.followed import Network
from critaudit.training.records import Header

if TYPE_CHECKING:
    import torch


def data_sizes(samples: object, per_step: int | None) -> tuple[int | None, int | None]:
    """Training samples in a data set, and those per optimizer step, of which a loader may ask for more than there are.

    None where it is not known.
    """
    total = len(samples) if isinstance(samples, Sized) else None
    return total, per_step if total is None or per_step is None else min(per_step, total)


def header_of_training(
    network: Network,
    optimizer: torch.optim.Optimizer,
    *,
    name: str | None,
    log: str | os.PathLike[str] | None,
    dataset_size: int | None,
    batch_size: int | None,
    settings: Mapping[str, Any],
) -> Header:
    """The header of a training; its name is the one given, else the log's, else the network's class."""
    import torch

    versions, _, created = circumstances(("critaudit", "torch", "numpy", "scipy"))
    devices = {str(one.weight.device) for one in network.matrices if one.weight is not None}
    return Header(
        name=printable(name or (Path(log).stem if log is not None else network.name), limit=120),
        model=network.name,
        layers=tuple(one.followed for one in network.matrices),
        dataset_size=dataset_size,
        batch_size=batch_size,
        optimizer=type(optimizer).__name__,
        parameters=network.parameters,
        ledger=network.ledger,
        versions=versions,
        settings={
            **{key: dict(value) if isinstance(value, Mapping) else value for key, value in settings.items()},
            "compiled": network.compiled,
            "threads": torch.get_num_threads(),
        },
        created=created,
        device=", ".join(sorted(devices)) or "cpu",
    )
