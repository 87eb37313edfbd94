"""Surveys: every model of a zoo audited, each in a process of its own, and no finished work ever lost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from critaudit import processors
from critaudit.errors import SourceError, UsageError
from critaudit.surveying.plan import expand
from critaudit.surveying.records import Audit, Limits, Outcome, Task, one_line, task_for, unreadable
from critaudit.surveying.store import Failure, Store

if TYPE_CHECKING:
    import pandas as pd

    from critaudit.report import Report
    from critaudit.surveying.engines import Engine

# Called with the survey so far, as each result comes in.
Watcher: TypeAlias = Callable[["Progress"], None]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a survey is: `done` of `total` distinct models have a result, `reused` of them from before.

    `left` estimates the seconds to go from this run's own pace; None before the first result.
    """

    total: int
    done: int
    reused: int
    failed: int
    left: float | None
    latest: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One source of a survey and the key of its result. Equal content under two names has one result."""

    source: str
    key: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Survey:
    """A finished (or interrupted) survey: its sources in order, and where everything lies.

    `computed` results are of this run, `reused` ones were there; `failed` counts sources without a report, whose
    reasons are in `models`. `pending` counts those that were not reached.
    """

    output: str
    entries: tuple[Entry, ...]
    computed: int
    reused: int
    failed: int
    pending: int
    seconds: float
    _store: Store

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"<Survey of {len(self.entries)} models in {self.output}: {self.failed} failed, {self.pending} pending>"

    def result(self, source: str) -> Report | Failure | None:
        """The report on a source, or why there is none; None where it was not reached. Raises UsageError."""
        for entry in self.entries:
            if entry.source == source:
                return self._store.result(entry.key)
        raise UsageError(f"{source}: this survey has no such source")

    def reports(self) -> Iterator[tuple[str, Report]]:
        """Source and report of every model that has one, one at a time."""
        from critaudit.report import Report

        for entry in self.entries:
            found = self._store.result(entry.key)
            if isinstance(found, Report):
                yield entry.source, found

    @property
    def models(self) -> pd.DataFrame:
        """The table of all models (`models.parquet`)."""
        return self._table("models.parquet")

    @property
    def layers(self) -> pd.DataFrame:
        """The table of all layers (`layers.parquet`)."""
        return self._table("layers.parquet")

    def _table(self, name: str) -> pd.DataFrame:
        import io

        import pandas as pd

        return pd.read_parquet(io.BytesIO(self._store.place.read(name)))


def survey(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    output: str | os.PathLike[str],
    engine: Literal["local", "ray"] | Engine = "local",
    workers: int | None = None,
    cpus: float | None = None,
    gpus: float | None = None,
    time_limit: float = 3600.0,
    memory_limit: int | None = None,
    only: Iterable[str] | None = None,
    activation: str | None = None,
    inputs: str | os.PathLike[str] | None = None,
    random_weights: bool = False,
    seed: int = 0,
    samples: int = 16,
    device: str = "cpu",
    retry: bool = False,
    progress: Watcher | None = None,
) -> Survey:
    """Audit many models; `sources` are those of `surveying.plan.expand`: folders, patterns, @lists, hub names.

    Results go to the folder (or fsspec URL) `output` as they come: a report or a reason per model, then one table of
    all models and one of all layers (Parquet and CSV), and a page. Run again with the same `output`, a survey computes
    only what is not there: results are found by content, version and settings; `retry` computes failures again. Every
    model has a process of its own, which ends after `time_limit` seconds or beyond `memory_limit` bytes of private
    memory.
    `workers` run side by side (default: one per core); their number and the engine change no result.
    On Ray a model takes `cpus` processors (1) and `gpus` GPUs (0; parts of one are allowed) of its node, and
    `memory_limit` of its memory. The remaining
    options are those of `critaudit.audit`.

    Raises UsageError where the options do not fit or another survey writes to `output`, StoreError where that place
    fails; what was finished stays. On Ctrl-C the tables and the page are written for what there is, and
    KeyboardInterrupt goes on.
    """
    started = time.monotonic()
    listed = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    named = _checked(only)
    given = None if inputs is None else os.fspath(inputs)
    how = Audit(named, activation, given, random_weights, seed, samples, device)
    if time_limit <= 0 or (memory_limit is not None and memory_limit <= 0):
        raise UsageError("the limits of time and memory must be above 0")
    workers = processors.available() if workers is None else workers
    if workers < 1:
        raise UsageError(f"workers is {workers}; a number from 1 is expected")
    runner = _engine(engine, workers, cpus, gpus)
    spelled = expand(listed, random_weights=random_weights)
    store = Store(output)
    with store.place.locked():
        tasks = _tasks(spelled, how, workers)
        entries = tuple(Entry(source, task.key) for source, task in zip(spelled, tasks, strict=True))
        store.scan({task.key for task in tasks}, threads=workers)
        run = _Run(store, {task.key: task for task in reversed(tasks)}, progress, retry)
        try:
            run.work(runner, Limits(time_limit, memory_limit))
        finally:
            finish(store, entries, name=_name(listed))
    failed = sum(store.failed(entry.key) for entry in entries)
    pending = sum(entry.key not in store for entry in entries)
    return Survey(
        os.fspath(output), entries, run.computed, run.reused, failed, pending, time.monotonic() - started, store
    )


def _name(sources: Sequence[str | os.PathLike[str]]) -> str:
    """A heading for the page: the sources as they were given, as far as they fit."""
    given = [one_line(os.fspath(source), 60) for source in sources]
    return f"Survey of {', '.join(given[:3])}{' …' if len(given) > 3 else ''}"


def finish(store: Store, entries: Sequence[Entry], *, name: str = "Survey") -> None:
    """Write the tables and the page for what there is."""
    from critaudit.surveying.page import write_page
    from critaudit.surveying.tables import write_tables

    write_tables(store, [(entry.source, entry.key) for entry in entries])
    write_page(store, name=name)


class _Run:
    """One pass over the tasks that have no result yet."""

    def __init__(self, store: Store, tasks: dict[str, Task], progress: Watcher | None, retry: bool) -> None:
        self._store, self._tasks, self._progress = store, tasks, progress
        if retry:
            for key in [key for key in tasks if store.failed(key)]:
                store.forget(key)
        self.reused = sum(key in store for key in tasks)
        self.computed = 0
        self._failed = sum(store.failed(key) for key in tasks)

    def work(self, engine: Engine, limits: Limits) -> None:
        missing = [task for key, task in reversed(self._tasks.items()) if key not in self._store]
        started = time.monotonic()
        self._tell(None, None)
        outcomes = engine.run(missing, limits)
        with closing(outcomes):  # type: ignore[type-var]
            for outcome in outcomes:
                self._store.keep(self._tasks[outcome.key], outcome)
                self.computed += 1
                self._failed += outcome.report is None
                pace = (time.monotonic() - started) / self.computed
                self._tell(outcome, pace * (len(missing) - self.computed))

    def _tell(self, outcome: Outcome | None, left: float | None) -> None:
        if self._progress is not None:
            done = self.reused + self.computed
            self._progress(Progress(len(self._tasks), done, self.reused, self._failed, left, outcome))


def _tasks(sources: Sequence[str], how: Audit, threads: int) -> list[Task]:
    """The task of every source; one that cannot be read gets its reason when it is audited."""

    def one(source: str) -> Task:
        is_named = source.startswith(("timm:", "torchvision:")) and not os.path.exists(source)  # noqa: PTH110
        mine = how if is_named else replace(how, random_weights=False)
        try:
            return task_for(source, mine)
        except (SourceError, OSError):
            return unreadable(source, mine)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, sources))


def _checked(only: Iterable[str] | None) -> tuple[str, ...] | None:
    from critaudit.analyzers import select

    if only is None:
        return None
    chosen = tuple(only)
    return tuple(analyzer.id for analyzer in select(chosen))


def _engine(
    engine: Literal["local", "ray"] | Engine, workers: int, cpus: float | None = None, gpus: float | None = None
) -> Engine:
    if engine != "ray" and not cpus is gpus is None:
        raise UsageError("cpus and gpus are for the engine ray; workers says how many models the local one audits")
    from critaudit.surveying.engines import LocalEngine

    if engine == "local":
        return LocalEngine(workers)
    if engine == "ray":
        from critaudit.surveying.ray_engine import RayEngine

        return RayEngine(workers, cpus=1.0 if cpus is None else cpus, gpus=gpus or 0.0)
    if isinstance(engine, str):
        raise UsageError(f"there is no engine {one_line(engine, 40)!r}; local and ray are known")
    return engine


__all__ = ["Entry", "Failure", "Limits", "Progress", "Survey", "expand", "finish", "survey"]
