"""One audit in a process of its own, which may crash, hang or eat memory without harm to anything else."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critaudit.surveying.places import StoreError
from critaudit.surveying.records import Kind, Limits, Outcome, Task, one_line

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

# What every worker needs, imported once in the process that the workers are forked from.
_PRELOADED = ["critaudit.surveying.nursery", "critaudit.surveying.supervised", "torch"]
_POLL = 0.2
# What a worker leaves of an audit: the report, its page, and its rows in the tables.
_FILES = ("report.json", "page.html", "rows.json")
_starting = threading.Lock()


def supervise(task: Task, limits: Limits, stop: threading.Event | None = None) -> Outcome:
    """Audit in a fresh process and say what came of it; never raises for anything that the audit does.

    The process is killed when it takes longer than `limits.seconds`, or when `stop` is set (the outcome is then of kind
    "crashed" with the reason "stopped"). Raises StoreError where the folder for temporary files is full or not there.
    """
    started = time.monotonic()
    try:
        scratch = Path(tempfile.mkdtemp(prefix="critaudit-survey-"))
    except OSError as error:
        raise StoreError(
            f"{tempfile.gettempdir()}: a worker's files cannot be written ({error.strerror}); mend it, or set TMPDIR, "
            "and run the same command again"
        ) from None
    try:
        process = _start(task, limits, scratch)
        ended = _wait(process, started + limits.seconds, stop)
        return _outcome(task, limits, scratch, process, ended, time.monotonic() - started)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _start(task: Task, limits: Limits, scratch: Path) -> BaseProcess:
    context = _context()
    process: BaseProcess = context.Process(target=_work, args=(task, limits, str(scratch)), daemon=True)  # type: ignore[attr-defined]
    with _starting, _no_main_module():
        process.start()
    return process


def _context() -> BaseContext:
    """Forks of a process that has imported everything and has no threads; fresh interpreters where there is no fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Workers have no use for the caller's script, and must not run it a second time if it has no main guard."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _wait(process: BaseProcess, deadline: float, stop: threading.Event | None) -> str:
    """How it ended: "itself", "timeout" or "stopped"."""
    while True:
        process.join(min(_POLL, max(0.0, deadline - time.monotonic())))
        if not process.is_alive():
            return "itself"
        if stop is not None and stop.is_set():
            why = "stopped"
        elif time.monotonic() >= deadline:
            why = "timeout"
        else:
            continue
        process.kill()
        process.join()
        return why


def _outcome(task: Task, limits: Limits, scratch: Path, process: BaseProcess, ended: str, seconds: float) -> Outcome:
    code = process.exitcode or 0
    process.close()
    peak: int | None = None
    worked = 0.0
    report: bytes | None = None
    page: bytes | None = None
    rows: bytes | None = None
    kind: Kind = "crashed"
    reason: str | None
    if ended == "timeout":
        kind, reason = "timeout", f"it took longer than the limit of {limits.seconds:g} s"
    elif ended == "stopped":
        reason = "stopped"
    else:
        note = _note(scratch)
        if note is None:
            reason = f"{_ending(code)} without a result{_last_words(scratch)}"
        else:
            kind, reason, peak, worked = note["kind"], note["reason"], note["peak_memory"], note["worked"]
            if kind == "audited":
                report, page, rows = ((scratch / name).read_bytes() for name in _FILES)
    return Outcome(task.key, task.source, kind, report, page, reason, seconds, peak, rows, worked)


def _note(scratch: Path) -> dict[str, Any] | None:
    try:
        note: dict[str, Any] = json.loads((scratch / "note.json").read_bytes())
    except (OSError, ValueError):
        return None
    return note


def _ending(code: int) -> str:
    if code >= 0:
        return f"the worker ended with status {code}"
    with suppress(ValueError):
        return f"the worker was ended by {signal.Signals(-code).name}"
    return f"the worker was ended by signal {-code}"


def _last_words(scratch: Path) -> str:
    """The last line that the worker printed, which is where libraries say why they abort."""
    try:
        with (scratch / "log.txt").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
            lines = [line for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return f" (it said: {one_line(lines[-1], 200)})" if lines else ""


def _work(task: Task, limits: Limits, scratch: str) -> None:
    """What runs in the worker."""
    place = Path(scratch)
    _detach(place, limits)
    started = time.monotonic()
    kind, reason = _audit(task, place)
    note = {"kind": kind, "reason": reason, "peak_memory": _peak_memory(), "worked": time.monotonic() - started}
    _write(place / "note.json", json.dumps(note).encode())


def _audit(task: Task, place: Path) -> tuple[Kind, str | None]:
    from dataclasses import asdict

    from critaudit.auditing import audit
    from critaudit.errors import CritauditError
    from critaudit.report.html import render
    from critaudit.report.writing import to_json
    from critaudit.surveying.tables import packed_rows

    settings = asdict(task.audit)
    try:
        report = audit(task.source, jobs=1, **settings)
        if task.sha256 is not None and report.source.sha256 != task.sha256:
            return "changed", "the file changed while it was audited; run the survey again"
        contents = (to_json(report).encode(), render(report, shared="../assets").encode(), packed_rows(report))
        for name, content in zip(_FILES, contents, strict=True):
            _write(place / name, content)
    except CritauditError as error:
        return ("memory" if _is_out_of_memory(error) else "refused"), str(error)
    except Exception as error:  # ours or the network's own: a row with the reason, not a lost survey
        return ("memory" if _is_out_of_memory(error) else "crashed"), one_line(f"{type(error).__name__}: {error}")
    return "audited", None


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out here or in what led here; PyTorch says so in words only."""
    while error is not None:
        text = str(error).lower()
        if isinstance(error, MemoryError) or ("alloc" in text and "memory" in text) or "out of memory" in text:
            return True
        error = error.__cause__ or error.__context__
    return False


def _detach(place: Path, limits: Limits) -> None:
    """Die with the survey, leave Ctrl-C to it, be quiet, and keep to the limits: one thread, and so much memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    log = os.open(place / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    if limits.memory is not None:
        with suppress(ImportError, ValueError, OSError):
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, (limits.memory, limits.memory))
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)


def _die_with_parent() -> None:
    """Linux tells a process that its parent is gone; elsewhere a worker lives on until its audit is done."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def _peak_memory() -> int | None:
    with suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return None


def _write(path: Path, content: bytes) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.replace(path)
