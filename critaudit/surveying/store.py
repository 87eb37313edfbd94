"""A survey's results, one file each: whole or not there, and found again by content, tool and settings.

`reports/STEM.KEY.DIGEST.json` is a report, `failures/STEM.KEY.DIGEST.json` says why there is none, and
`pages/STEM.KEY.html` shows the report; `rows/STEM.KEY.json` is its part of the tables, so that these are written
without reading every report again. DIGEST is that of the file's own bytes: a result that was damaged since is
noticed, removed and computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from critaudit.report import Report
from critaudit.surveying.places import Place, StoreError, place_at
from critaudit.surveying.records import Outcome, Task

FAILURE_SCHEMA = "critaudit.failure/1"
_FOLDERS = ("reports", "failures")
_NAME = re.compile(r"[\w-]*\.(?P<key>[0-9a-f]{32})\.(?P<digest>[0-9a-f]{16})\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a model has no report: the kind (refused, crashed, timeout, memory, changed) and the reason in one line."""

    source: str
    kind: str
    reason: str


class Store:
    """The results at one place. Everything read from it is checked first; nothing of it is kept in memory but names."""

    def __init__(self, output: str | os.PathLike[str]) -> None:
        self.place: Place = place_at(output)
        self._names: dict[str, str] = {}
        self.damaged = 0

    def scan(self, wanted: Iterable[str] | None = None, *, threads: int = 4) -> None:
        """Find the results that are there (those of the keys `wanted`), and remove those that are damaged."""
        keys = None if wanted is None else set(wanted)
        found = []
        for folder in _FOLDERS:
            for name in self.place.names(folder):
                part = _NAME.fullmatch(name)
                if part is not None and (keys is None or part["key"] in keys):
                    found.append((f"{folder}/{name}", part["key"], part["digest"]))
        with ThreadPoolExecutor(threads) as pool:
            whole = list(pool.map(lambda item: self._is_whole(item[0], item[2]), found))
        for (name, key, _), good in zip(found, whole, strict=True):
            if not good:
                self.place.delete(name)
                self.damaged += 1
            elif key not in self._names or name.startswith("reports/"):
                self._names[key] = name

    def _is_whole(self, name: str, digest: str) -> bool:
        return _digest(self.place.read(name)) == digest

    def __contains__(self, key: object) -> bool:
        return key in self._names

    def failed(self, key: str) -> bool:
        """Whether what is there is the reason of a failure."""
        return self._names.get(key, "").startswith("failures/")

    def forget(self, key: str) -> None:
        """Remove a result, so that it is computed again."""
        name = self._names.pop(key, None)
        if name is not None:
            self.place.delete(name)

    def keep(self, task: Task, outcome: Outcome) -> None:
        """Write what became of a task. Raises StoreError, after which nothing of it is there."""
        if outcome.report is not None:
            folder, content = "reports", outcome.report
        else:
            failure = {"schema": FAILURE_SCHEMA, "source": task.source, "kind": outcome.kind, "reason": outcome.reason}
            folder, content = "failures", json.dumps(failure, ensure_ascii=True, indent=1).encode() + b"\n"
        stem = f"{_stem(task.source)}.{task.key}"
        if outcome.page is not None:
            self.place.write(f"pages/{stem}.html", outcome.page)
        digest = _digest(content)
        if outcome.rows is not None:
            mark = _digest(digest.encode() + outcome.rows)
            self.place.write(f"rows/{stem}.json", mark.encode() + b"\n" + outcome.rows)
        name = f"{folder}/{stem}.{digest}.json"
        self.place.write(name, content)
        self._names[task.key] = name

    def name(self, key: str) -> str | None:
        """Where the result is, relative to the place; None where there is none."""
        return self._names.get(key)

    def page(self, key: str) -> str | None:
        """Where the page of a report is, relative to the place; None for failures and what is not there."""
        name = self._names.get(key, "")
        if not name.startswith("reports/"):
            return None
        return f"pages/{name.removeprefix('reports/').rsplit('.', 2)[0]}.html"

    def rows(self, key: str) -> bytes | None:
        """The report's part of the tables as it was kept with it; None where there is none that is whole."""
        name = self._names.get(key, "")
        if not name.startswith("reports/"):
            return None
        stem, digest, _ = name.removeprefix("reports/").rsplit(".", 2)
        try:
            mark, _, rows = self.place.read(f"rows/{stem}.json").partition(b"\n")
        except StoreError:
            return None
        return rows if mark == _digest(digest.encode() + rows).encode() else None

    def result(self, key: str) -> Report | Failure | None:
        """The result of a task, None where there is none. Raises StoreError where it was damaged meanwhile."""
        name = self._names.get(key)
        if name is None:
            return None
        content = self.place.read(name)
        part = _NAME.fullmatch(name.partition("/")[2])
        if part is None or _digest(content) != part["digest"]:
            raise StoreError(f"{self.place.label}: {name} was changed meanwhile; run the same command again")
        data = json.loads(content)
        if name.startswith("reports/"):
            return Report.from_dict(data)
        return _failure(data)


def _failure(data: Mapping[str, object]) -> Failure:
    return Failure(str(data.get("source")), str(data.get("kind")), str(data.get("reason")))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _stem(source: str) -> str:
    """A readable beginning for a file name: the last part of a path, a hub's name as it is."""
    last = source.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w-]+", "-", last, flags=re.ASCII).strip("-")[:60] or "model"
