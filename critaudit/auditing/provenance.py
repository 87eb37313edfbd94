"""How the numbers came about: versions, settings, threads, memory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from critaudit.analyzers.base import Analyzer, Settings
from critaudit.circumstances import circumstances
from critaudit.report import Provenance

_PACKAGES = ("critaudit", "torch", "torchvision", "timm", "numpy", "scipy")


def provenance(
    settings: Settings,
    analyzers: Sequence[Analyzer],
    inputs: object,
    skipped: Mapping[str, str],
    *,
    jobs: int,
    seconds: float,
) -> Provenance:
    """The record of this audit's circumstances; `peak_memory` is the process's, in bytes."""
    versions, peak_memory, created = circumstances(_PACKAGES)
    return Provenance(
        versions=versions,
        settings={
            "only": [analyzer.id for analyzer in analyzers],
            "activation": settings.activation,
            "samples": settings.samples,
            "inputs": _named(inputs),
        },
        seed=settings.seed,
        threads=jobs,
        device=settings.device,
        seconds=seconds,
        peak_memory=peak_memory,
        skipped=dict(skipped),
        created=created,
    )


def _named(inputs: object) -> str | None:
    if isinstance(inputs, (str, os.PathLike)):
        return os.fspath(inputs)
    return f"array {inputs.shape}" if isinstance(inputs, np.ndarray) else None
