"""The pass over the weights: every matrix is read once and shown to every analyzer, several matrices side by side.

Each matrix is worked on by one thread with one BLAS thread, so the numbers do not depend on how many there are.
Matrices in work together never hold more entries than the largest one of the model, or four million: the peak memory is
that of the largest matrix alone, whatever the number of threads.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
from threadpoolctl import threadpool_limits

from critaudit.analyzers.base import Analyzer, LayerInput, Progress, Settings
from critaudit.errors import CritauditError, SourceError
from critaudit.measurement import Measurement, failed
from critaudit.model import ModelView, WeightMatrix
from critaudit.report import Layer

_CHUNK = 1 << 20
_LARGE = 1 << 20
_ROOM = 1 << 22  # entries that may always be in work together: 16 MB in float32


@dataclass(frozen=True, slots=True)
class WeightsPass:
    """What the pass over the weights gave.

    `lost` says, by tensor, why a matrix could not be read; `non_finite` counts, by matrix, NaN and infinite entries.
    """

    layers: list[Layer]
    lost: dict[str, str]
    non_finite: dict[str, int]


def measure_weights(
    view: ModelView, analyzers: Sequence[Analyzer], settings: Settings, *, jobs: int, progress: Progress | None
) -> WeightsPass:
    """Every matrix through every analyzer of weights, in the model's order."""
    analyzers = sorted((analyzer for analyzer in analyzers if analyzer.layer is not None), key=lambda each: each.spends)
    total = len(view.matrices)
    room = max([_ROOM, *(matrix.size for matrix in view.matrices)])
    budget = _Budget(room)
    normalised = any((entry.reason or "").startswith("normalisation") for entry in view.ledger)
    lost: dict[str, str] = {}
    broken: dict[str, int] = {}

    def measure(matrix: WeightMatrix) -> dict[str, Measurement]:
        try:
            layer, non_finite = _read(view, matrix, normalised)
        except (SourceError, MemoryError) as error:
            reason = str(error) or f"{matrix.size:,} entries do not fit into memory"
            lost[matrix.tensor] = reason
            return {f"{analyzer.id}.status": failed(reason) for analyzer in analyzers}
        if non_finite:
            broken[matrix.name] = non_finite
        measurements: dict[str, Measurement] = {}
        for analyzer in analyzers:
            measurements |= _measure(analyzer, layer, settings)
            if matrix.size >= _LARGE:
                _give_memory_back()
        return measurements

    def work(matrix: WeightMatrix) -> Layer:
        with budget.taken(matrix.size):
            measurements = measure(matrix)
            if matrix.size >= _LARGE:
                _give_memory_back()
        return Layer(matrix.name, matrix.kind, matrix.shape, measurements)

    # What nothing of its size fits beside runs first and in one thread: other threads' BLAS buffers come later.
    alone = [matrix for matrix in view.matrices if matrix.size >= _LARGE and 2 * matrix.size > room]
    first = set(alone)
    beside = [matrix for matrix in view.matrices if matrix not in first]
    layers: dict[str, Layer] = {}

    def finished(layer: Layer) -> None:
        layers[layer.name] = layer
        if progress is not None:
            progress("weights", len(layers), total)

    with threadpool_limits(1), ThreadPoolExecutor(max_workers=max(1, min(jobs, len(beside)))) as pool:
        for matrix in alone:
            finished(work(matrix))
        futures: list[Future[Layer]] = [pool.submit(work, matrix) for matrix in beside]
        try:
            for future in as_completed(futures):
                finished(future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return WeightsPass(
        layers=[layers[matrix.name] for matrix in view.matrices],
        lost={matrix.tensor: lost[matrix.tensor] for matrix in view.matrices if matrix.tensor in lost},
        non_finite={matrix.name: broken[matrix.name] for matrix in view.matrices if matrix.name in broken},
    )


def _give_memory_back() -> None:
    """Return freed memory to the system: glibc keeps what a thread freed, beside the next thread's matrix."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return cast("Callable[[int], int]", ctypes.CDLL(None).malloc_trim)
    except (OSError, AttributeError, TypeError):  # another C library than glibc
        return None


class _Budget:
    """Entries that may be in memory together; who wants more waits, first come, first served."""

    def __init__(self, entries: int) -> None:
        self._free = entries
        self._queue: list[object] = []
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, entries: int) -> Iterator[None]:
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            self._changed.wait_for(lambda: self._queue[0] is ticket and self._free >= entries)
            self._queue.pop(0)
            self._free -= entries
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += entries
                self._changed.notify_all()


def _measure(analyzer: Analyzer, layer: LayerInput, settings: Settings) -> dict[str, Measurement]:
    assert analyzer.layer is not None
    try:
        return analyzer.layer(layer, settings)
    except (CritauditError, np.linalg.LinAlgError, MemoryError) as error:
        return {f"{analyzer.id}.status": failed(str(error) or type(error).__name__)}


def _read(view: ModelView, matrix: WeightMatrix, normalised: bool) -> tuple[LayerInput, int]:
    blocks = matrix.read()
    flat = blocks.reshape(-1)
    chunks = (flat[start : start + _CHUNK] for start in range(0, flat.size, _CHUNK))
    non_finite = sum(chunk.size - int(np.count_nonzero(np.isfinite(chunk))) for chunk in chunks)
    bias = None
    reference = view.biases.get(matrix.tensor)
    if reference is not None and reference.shape == (matrix.groups * matrix.rows,):
        values = reference.read()
        bias = values if np.issubdtype(values.dtype, np.floating) and np.isfinite(values).all() else None
    return LayerInput(matrix, blocks, non_finite == 0, bias, normalised), non_finite
