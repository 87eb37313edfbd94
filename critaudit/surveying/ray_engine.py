"""The work of a survey on a Ray cluster: the same supervised audits, placed by Ray where there is room."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from critaudit.errors import UnavailableError
from critaudit.surveying.records import Limits, Outcome, Task, one_line
from critaudit.surveying.supervised import supervise

_RETRIES = 3


class RayEngine:
    """An existing cluster (`RAY_ADDRESS`, or one on this machine), else a local one with `workers` processors.

    Every task asks for `cpus` processors, `gpus` accelerators and, where the limits say so, memory. Its audit runs in a
    process of its own below Ray's, as in the local engine, so that crashes, hangs and limits give the same rows. A
    task whose node is lost is run again elsewhere, up to three times. Files must be readable on all nodes under the
    names given. Raises UnavailableError where Ray is not installed or cannot be reached.
    """

    def __init__(self, workers: int, *, cpus: float = 1.0, gpus: float = 0.0) -> None:
        try:
            import ray
        except ImportError:
            raise UnavailableError(
                "engine ray: Ray is not installed; pip install 'critaudit[ray]', or take --engine local"
            ) from None
        self._ray: Any = ray
        self._cpus, self._gpus = cpus, gpus
        self._own = False
        if not ray.is_initialized():
            self._connect(workers)

    def _connect(self, workers: int) -> None:
        quiet = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False}
        try:
            self._ray.init(address="auto", logging_level="ERROR", log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError):
            try:
                self._ray.init(num_cpus=workers, **quiet)
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                raise UnavailableError(
                    f"engine ray: no cluster can be reached or started ({one_line(error)})"
                ) from None
            self._own = True

    def run(self, tasks: Iterable[Task], limits: Limits) -> Iterator[Outcome]:
        """See Engine. No more tasks are in hand than the cluster has processors, and half as many again."""
        ray = self._ray
        remote = ray.remote(supervise).options(
            num_cpus=self._cpus,
            num_gpus=self._gpus,
            memory=limits.memory,
            max_retries=_RETRIES,
        )
        waiting = iter(tasks)
        running: dict[Any, Task] = {}
        try:
            while True:
                room = int(1.5 * ray.cluster_resources().get("CPU", 1.0) / max(self._cpus, 1e-3)) + 1
                while len(running) < room and (task := next(waiting, None)) is not None:
                    running[remote.remote(task, limits)] = task
                if not running:
                    return
                done, _ = ray.wait(list(running), num_returns=1, timeout=5.0)
                for reference in done:
                    yield self._outcome(reference, running.pop(reference))
        finally:
            for reference in running:
                ray.cancel(reference, force=True)
            if self._own:
                ray.shutdown()

    def _outcome(self, reference: Any, task: Task) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return Outcome(
                task.key, task.source, "crashed", None, None, one_line(f"Ray lost the task: {error}"), 0.0, None
            )
        return outcome
