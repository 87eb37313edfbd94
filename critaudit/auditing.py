"""The audit: every weight matrix is read once and shown to every analyzer, the network is run where it can be."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from critaudit.analyzers import Analyzer, select
from critaudit.analyzers.base import LayerInput, Settings
from critaudit.errors import CritauditError, SourceError
from critaudit.measurement import Measurement, failed, not_applicable
from critaudit.model import ModelView, WeightMatrix
from critaudit.report import (
    ArchitectureRecord,
    Coverage,
    Finding,
    Layer,
    Provenance,
    Report,
    SourceRecord,
    TensorRecord,
)
from critaudit.sources import fingerprint, load

if TYPE_CHECKING:
    from critaudit.sources import Source

Progress = Callable[[str, int, int], None]
_CHUNK = 1 << 20


def audit(
    source: Source | ModelView,
    *,
    arch: str | None = None,
    inputs: str | os.PathLike[str] | NDArray[np.float32] | None = None,
    only: Iterable[str] | None = None,
    activation: str | None = None,
    device: str = "auto",
    seed: int = 0,
    samples: int = 64,
    random_weights: bool = False,
    trust: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Audit a model and return its report.

    `source`, `arch`, `activation`, `random_weights` and `trust` are those of `critaudit.load`; a ModelView is taken as
    it is. `inputs` is an array (samples first), an .npy/.npz file, an image or a folder of images; without it, networks
    are run on `samples` calibrated Gaussian inputs drawn with `seed`. `only` names the analyzers to run. `device` is
    "auto", "cpu" or a CUDA device. `progress(stage, done, total)` is called as the work goes on.

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
        activation=activation,
        inputs=_inputs(inputs, view),
        samples=samples,
    )
    layers, lost = _layers(view, analyzers, settings, progress)
    layers, model, skipped = _network(view, analyzers, settings, layers, progress)
    for analyzer in analyzers:
        if analyzer.summary is not None:
            model |= analyzer.summary(layers)
    order = {"problem": 0, "warning": 1, "info": 2}
    findings = [finding for analyzer in analyzers if analyzer.find for finding in analyzer.find(layers, model)]
    findings.extend(_coverage_findings(view, lost))
    path = view.source.path
    return Report(
        source=SourceRecord(
            view.source.name, view.source.format, fingerprint(path) if path is not None else None, view.source.bytes
        ),
        architecture=ArchitectureRecord(view.architecture.name, view.architecture.how, view.architecture.detail),
        coverage=_coverage(view, lost),
        layer_records=tuple(layers),
        model=model,
        findings=tuple(sorted(findings, key=lambda finding: order[finding.severity])),
        advice=(),
        provenance=_provenance(settings, analyzers, inputs, skipped, time.perf_counter() - started),
    )


def _layers(
    view: ModelView, analyzers: Sequence[Analyzer], settings: Settings, progress: Progress | None
) -> tuple[list[Layer], dict[str, str]]:
    """Every matrix through every analyzer of weights; and, by tensor, why a matrix could not be read."""
    layers, lost = [], {}
    for index, matrix in enumerate(view.matrices):
        if progress is not None:
            progress("weights", index, len(view.matrices))
        measurements: dict[str, Measurement] = {}
        try:
            layer = _read(view, matrix)
        except (SourceError, MemoryError) as error:
            reason = str(error) or f"{matrix.size:,} entries do not fit into memory"
            lost[matrix.tensor] = reason
            measurements = {f"{analyzer.id}.status": failed(reason) for analyzer in analyzers if analyzer.layer}
        else:
            for analyzer in analyzers:
                if analyzer.layer is not None:
                    measurements |= _measure(analyzer, layer, settings)
            del layer
        layers.append(Layer(matrix.name, matrix.kind, matrix.shape, measurements))
    if progress is not None:
        progress("weights", len(view.matrices), len(view.matrices))
    return layers, lost


def _measure(analyzer: Analyzer, layer: LayerInput, settings: Settings) -> Mapping[str, Measurement]:
    assert analyzer.layer is not None
    try:
        return analyzer.layer(layer, settings)
    except (CritauditError, np.linalg.LinAlgError, MemoryError) as error:
        return {f"{analyzer.id}.status": failed(str(error) or type(error).__name__)}


def _read(view: ModelView, matrix: WeightMatrix) -> LayerInput:
    blocks = matrix.read()
    flat = blocks.reshape(-1)
    finite = all(bool(np.isfinite(flat[start : start + _CHUNK]).all()) for start in range(0, flat.size, _CHUNK))
    bias = None
    reference = view.biases.get(matrix.tensor)
    if reference is not None and reference.shape == (matrix.groups * matrix.rows,):
        values = reference.read()
        bias = values if np.issubdtype(values.dtype, np.floating) and np.isfinite(values).all() else None
    return LayerInput(matrix, blocks, finite, bias)


def _network(
    view: ModelView,
    analyzers: Sequence[Analyzer],
    settings: Settings,
    layers: list[Layer],
    progress: Progress | None,
) -> tuple[list[Layer], dict[str, Measurement], dict[str, str]]:
    """The analyzers that run the network; where there is none to run, why, per analyzer."""
    model: dict[str, Measurement] = {}
    skipped: dict[str, str] = {}
    tensors = [matrix.tensor for matrix in view.matrices]
    for analyzer in analyzers:
        if analyzer.network is None:
            continue
        if view.runnable is None:
            skipped[analyzer.id] = f"no network to run: {view.architecture.detail}"
            model[f"{analyzer.id}.status"] = not_applicable(skipped[analyzer.id])
            continue
        if progress is not None:
            progress(analyzer.title.lower(), 0, 1)
        found = analyzer.network(view, settings)
        model |= found.model
        layers = [
            Layer(layer.name, layer.kind, layer.shape, {**layer.measurements, **found.layers.get(tensor, {})})
            for layer, tensor in zip(layers, tensors, strict=True)
        ]
        if progress is not None:
            progress(analyzer.title.lower(), 1, 1)
    return layers, model, skipped


def _coverage(view: ModelView, lost: Mapping[str, str]) -> Coverage:
    tensors = tuple(
        TensorRecord(
            entry.name,
            entry.shape,
            entry.dtype,
            "lost" if entry.name in lost else entry.status,
            lost.get(entry.name, entry.reason),
        )
        for entry in view.ledger
    )
    unread = sum(entry.parameters for entry in view.ledger if entry.name in lost and entry.status == "analysed")
    problems = (*view.problems, *(f"{name}: {reason}" for name, reason in lost.items()))
    return Coverage(view.parameters, view.analysed - unread, tensors, problems)


def _coverage_findings(view: ModelView, lost: Mapping[str, str]) -> Iterable[Finding]:
    count = len(lost) + sum(entry.status == "lost" for entry in view.ledger)
    if count or view.problems:
        first = next((f"{name}: {reason}" for name, reason in lost.items()), next(iter(view.problems), ""))
        yield Finding(
            "coverage.lost",
            "problem",
            None,
            f"{count} of {len(view.ledger)} tensors could not be read, so this audit is partial; first: {first}",
            (),
            "Everything below holds for the part that could be read.",
        )
    elif view.parameters and view.analysed < 0.5 * view.parameters:
        yield Finding(
            "coverage.share",
            "warning",
            None,
            f"Only {view.analysed / view.parameters:.0%} of the parameters are in weight matrices that were analysed.",
            (),
            "The ledger gives the reason for every tensor.",
        )


def _inputs(inputs: str | os.PathLike[str] | NDArray[np.float32] | None, view: ModelView) -> NDArray[np.float32] | None:
    if inputs is None or isinstance(inputs, np.ndarray):
        return inputs
    from critaudit.dynamics.inputs import load_inputs

    return load_inputs(os.fspath(inputs), view.runnable.input if view.runnable is not None else None)


def _device(device: str) -> str:
    if device != "auto":
        return device
    torch = sys.modules.get("torch")
    return "cuda" if torch is not None and torch.cuda.is_available() else "cpu"


def _provenance(
    settings: Settings,
    analyzers: Sequence[Analyzer],
    inputs: object,
    skipped: Mapping[str, str],
    seconds: float,
) -> Provenance:
    packages = ("critaudit", "torch", "torchvision", "timm", "numpy", "scipy")
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Provenance(
        versions=versions,
        settings={
            "only": [analyzer.id for analyzer in analyzers],
            "activation": settings.activation,
            "samples": settings.samples,
            "inputs": None if inputs is None else "array" if isinstance(inputs, np.ndarray) else os.fspath(inputs),  # type: ignore[call-overload]
        },
        seed=settings.seed,
        threads=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        device=settings.device,
        seconds=seconds,
        peak_memory=peak,
        skipped=dict(skipped),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
