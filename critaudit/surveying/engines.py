"""Who does the work of a survey: processes on this machine (Ray: `critaudit.surveying.ray_engine`)."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol

from critaudit.surveying.records import Limits, Outcome, Task
from critaudit.surveying.supervised import supervise


class Engine(Protocol):
    """Runs tasks and gives their outcomes as they come, in any order. Closing the iterator stops what still runs."""

    def run(self, tasks: Iterable[Task], limits: Limits) -> Iterator[Outcome]:
        """One outcome per task."""


class LocalEngine:
    """`workers` processes at a time on this machine, one per model, each with one thread."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, tasks: Iterable[Task], limits: Limits) -> Iterator[Outcome]:
        """See Engine. At most one task per worker is in hand, so that memory does not grow with their number."""
        waiting = iter(tasks)
        stop = threading.Event()
        running: set[Future[Outcome]] = set()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="critaudit-survey") as pool:
            try:
                while True:
                    while len(running) < self.workers and (task := next(waiting, None)) is not None:
                        running.add(pool.submit(supervise, task, limits, stop))
                    if not running:
                        return
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
            finally:
                stop.set()
