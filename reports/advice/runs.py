"""Training runs of a study, kept line by line: what was run once is not run again, what was interrupted goes on."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

Plan = Mapping[str, Any]
Result = dict[str, Any]


def run_all(path: Path, train: Callable[[Plan], Result], plans: Iterable[Plan], *, jobs: int | None = None) -> None:
    """Run every plan whose result is not in `path` (JSON lines), one process and one thread each, in their order."""
    known = {_key(line["plan"]) for line in lines(path)}
    missing = {key: plan for plan in plans if (key := _key(plan)) not in known}
    workers = jobs or len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        waiting = {pool.submit(train, plan): plan for plan in missing.values()}
        for place, done in enumerate(as_completed(waiting), 1):
            plan, result = waiting[done], done.result()
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"plan": plan, **result}, sort_keys=True) + "\n")
            print(
                f"{place}/{len(waiting)}",
                plan,
                {k: v for k, v in result.items() if not isinstance(v, list)},
                flush=True,
            )


def lines(path: Path) -> list[dict[str, Any]]:
    """All results so far, each with its `plan`."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def _key(plan: Plan) -> str:
    return json.dumps(plan, sort_keys=True)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
