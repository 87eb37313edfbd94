"""The audit: from a source to its report."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from critaudit import processors
from critaudit.analyzers import ANALYZERS, select
from critaudit.analyzers.base import Progress, Settings
from critaudit.auditing.coverage import coverage, coverage_findings
from critaudit.auditing.decay import saved_decay
from critaudit.auditing.network import measure_network
from critaudit.auditing.provenance import provenance
from critaudit.auditing.weights import measure_weights
from critaudit.contents import InputArray
from critaudit.errors import UsageError
from critaudit.model import ModelView
from critaudit.report import SEVERITIES, ArchitectureRecord, Report, SourceRecord
from critaudit.sources import fingerprint, load
from critaudit.theory.activations import as_activation

if TYPE_CHECKING:
    from critaudit.sources import Source


def audit(
    source: Source | ModelView,
    *,
    arch: str | None = None,
    inputs: str | os.PathLike[str] | InputArray | None = None,
    only: Iterable[str] | None = None,
    activation: str | None = None,
    device: str = "auto",
    seed: int = 0,
    samples: int = 16,
    jobs: int | None = None,
    random_weights: bool = False,
    trust: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Audit a model and return its report.

    `source`, `arch`, `activation`, `random_weights` and `trust` are those of `critaudit.load`; a ModelView is taken as
    it is. `inputs` is an array (samples first), an .npy/.npz file, an image or a folder of images; without it, networks
    are run on `samples` calibrated Gaussian inputs drawn with `seed`. `only` names the analyzers to run ("all": every
    one; those that take minutes wait to be asked). `device` is
    "auto", "cpu" or a CUDA device. `jobs` matrices are worked on side by side (default: one per core); their number
    changes neither the measurements nor the memory needed. `progress(stage, done, total)` is called as work goes on.

    Raises SourceError where nothing could be audited, UsageError where the options do not fit.

    >>> report = critaudit.audit("model.pt")            # doctest: +SKIP
    >>> report.layers[["name", "entries.alpha"]]        # doctest: +SKIP
    """
    started = time.perf_counter()
    analyzers = select(only)
    view = (
        source
        if isinstance(source, ModelView)
        else load(source, arch=arch, activation=activation, random_weights=random_weights, trust=trust, seed=seed)
    )
    settings = Settings(
        seed=seed,
        device=_device(device),
        activation=_activation(activation, view),
        inputs=_inputs(inputs, view),
        samples=samples,
    )
    jobs = processors.available() if jobs is None else jobs
    if jobs < 1:
        raise UsageError(f"jobs is {jobs}; a number of threads from 1 is expected")
    weights = measure_weights(view, analyzers, settings, jobs=jobs, progress=progress)
    lost = weights.lost
    layers, model, skipped = measure_network(view, analyzers, settings, weights.layers, progress)
    if only is None:
        skipped |= {one.id: f"takes minutes; ask for it with --only {one.id}" for one in ANALYZERS if not one.usual}
    for analyzer in analyzers:
        if analyzer.summary is not None:
            model |= analyzer.summary(layers)
    findings = [finding for analyzer in analyzers if analyzer.find for finding in analyzer.find(layers, model)]
    findings.extend(coverage_findings(view, lost, weights.non_finite))
    decay = saved_decay(view, activation=settings.activation)
    findings.extend(decay.findings)
    if decay.layers:
        layers = [replace(one, measurements={**one.measurements, **decay.layers.get(one.name, {})}) for one in layers]
    path = view.source.path
    return Report(
        source=SourceRecord(
            view.source.name, view.source.format, fingerprint(path) if path is not None else None, view.source.bytes
        ),
        architecture=ArchitectureRecord(view.architecture.name, view.architecture.how, view.architecture.detail),
        coverage=coverage(view, lost),
        layer_records=tuple(layers),
        model={**model, **decay.model},
        findings=tuple(sorted(findings, key=lambda finding: -SEVERITIES.index(finding.severity))),
        advice=decay.advice,
        provenance=provenance(settings, analyzers, inputs, skipped, jobs=jobs, seconds=time.perf_counter() - started),
    )


def _activation(given: str | None, view: ModelView) -> str | None:
    """The nonlinearity that the user named, or else the source's configuration. Raises UsageError for unknown names."""
    named = view.metadata.get("activation")
    if given is None:
        return named if isinstance(named, str) else None
    as_activation(given)
    return given


def _inputs(inputs: str | os.PathLike[str] | InputArray | None, view: ModelView) -> InputArray | None:
    if inputs is None or isinstance(inputs, np.ndarray):
        return inputs
    from critaudit.dynamics.inputs import load_inputs

    tokens = any(matrix.kind == "embedding" for matrix in view.matrices)
    wanted = view.runnable.input if view.runnable is not None else None
    return load_inputs(os.fspath(inputs), wanted, tokens=tokens)


def _device(device: str) -> str:
    if device != "auto":
        return device
    torch = sys.modules.get("torch")
    return "cuda" if torch is not None and torch.cuda.is_available() else "cpu"
