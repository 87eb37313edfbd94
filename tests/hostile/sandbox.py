"""Children with limits: a warm parent process forks one per case, so that a case costs milliseconds and dies alone.

`Nursery` starts `python -m tests.hostile.sandbox`, which imports what the cases need once and then forks a child for
every request. A child has a time limit, 1 GB of address space beyond what it was born with, an empty working directory,
and an audit hook that reports what no reader has a reason to do.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

# A case may use this much processor time and memory; on a busy machine it may have to wait for the processor.
SECONDS = 10.0
WALL = 60.0
GROWTH = 2**30
NOBODY = 65534
# Events that reading a model never raises; each would be a payload at work even where no canary sees it.
FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.kill",
    "os.remove",
    "os.rename",
    "os.putenv",
    "os.chmod",
    "os.link",
    "os.symlink",
    "os.truncate",
    "subprocess.Popen",
    "shutil.",
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "pickle.find_class",
    "urllib.Request",
    "webbrowser.open",
    "tempfile.mkstemp",
    "tempfile.mkdtemp",
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child ended. `outcome` is what the action returned, or None where the child died (`death` says how).

    `seconds` is the time that it had by the clock, `busy` what it had of the processor.
    """

    outcome: str | None
    message: str
    seconds: float
    busy: float
    growth: int
    death: str | None = None
    fired: bool = False
    forbidden: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    stdout: str = ""
    stderr: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


class Nursery:
    """A warm process that forks children. Use as a context manager; not for use by two threads at once."""

    def __init__(self, *modules: str) -> None:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "1",
            "PYTHONWARNINGS": "ignore",
            "TERM": "xterm-256color",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.sandbox", *modules],
            cwd=Path(__file__).parents[2],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, action: str, *, seconds: float = WALL, growth: int = GROWTH, **request: Any) -> Ending:
        """Fork a child that does `action` (a function of `actions.py`) with the request as keywords."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        told = {"action": action, "seconds": seconds, "growth": growth, "request": request}
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the nursery process died")
        reply = json.loads(answer)
        reply["forbidden"], reply["written"] = tuple(reply["forbidden"]), tuple(reply["written"])
        return Ending(**reply)

    def close(self) -> None:
        """End the warm process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


def _serve(modules: list[str]) -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in modules:
        importlib.import_module(name)
    importlib.import_module("tests.hostile.actions")
    for line in sys.stdin:
        replies.write(json.dumps(_fork(**json.loads(line))) + "\n")
        replies.flush()


def _fork(action: str, seconds: float, growth: int, request: dict[str, Any]) -> dict[str, Any]:
    scratch = Path(tempfile.mkdtemp(prefix="critaudit-hostile-"))
    scratch.chmod(0o777)
    (scratch / "home").mkdir(mode=0o777)
    receive, send = os.pipe()
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.close(receive)
        _child(action, growth, request, scratch, send)
    os.close(send)
    answer, death = _listen(receive, child, started + seconds)
    elapsed = time.perf_counter() - started
    _, status, used = os.wait4(child, 0)
    os.close(receive)
    if death is None and not answer:
        death = (
            f"died of signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exited {os.WEXITSTATUS(status)}"
        )
    reply: dict[str, Any] = {"outcome": None, "message": "", "growth": 0, "fired": False, "forbidden": [], "extra": {}}
    reply |= json.loads(answer) if answer and death is None else {}
    kept = {"stdout", "stderr", "home", "out"}
    reply["written"] = [
        str(p.relative_to(scratch)) for p in scratch.rglob("*") if p.relative_to(scratch).parts[0] not in kept
    ]
    reply |= {name: (scratch / name).read_bytes()[:1_000_000].decode(errors="replace") for name in ("stdout", "stderr")}
    shutil.rmtree(scratch, ignore_errors=True)
    return reply | {"seconds": elapsed, "busy": used.ru_utime + used.ru_stime, "death": death}


def _listen(receive: int, child: int, deadline: float) -> tuple[bytes, str | None]:
    """What the child said until it closed the pipe, or how it failed to."""
    answer = bytearray()
    while True:
        ready, _, _ = select.select([receive], [], [], max(0.0, deadline - time.perf_counter()))
        if not ready:
            os.kill(child, signal.SIGKILL)
            return b"", "took too long"
        got = os.read(receive, 1 << 16)
        if not got:
            return bytes(answer), None
        answer += got


def _memory(field_name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field_name + ":"):
            return int(line.split()[1]) * 1024
    return 0


def _child(action: str, growth: int, request: dict[str, Any], scratch: Path, send: int) -> None:
    """The child's whole life. It must never return into the parent's code."""
    status = 70
    try:
        os.chdir(scratch)
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            file = os.open(scratch / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            os.dup2(file, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ["HOME"] = str(scratch / "home")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        limit = _memory("VmSize") + growth
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        # The high-water mark is the parent's at birth: start it anew.
        Path("/proc/self/clear_refs").write_text("5")
        born = _memory("VmRSS")
        from tests.hostile import actions

        seen: list[str] = []
        reply = actions.ACTIONS[action](seen, **request)
        reply["growth"] = max(0, _memory("VmHWM") - born)
        reply["forbidden"] = seen[:20]
        sys.stdout.flush()
        sys.stderr.flush()
        data = json.dumps(reply).encode()
        while data:
            data = data[os.write(send, data) :]
        status = 0
    except BaseException as error:  # the child reports everything by dying, and must not unwind into the parent
        os.write(2, f"{type(error).__name__}: {error}"[:2000].encode(errors="replace"))
    finally:
        os._exit(status)


def watch(seen: list[str], *, allowed: Path | None = None) -> None:
    """Install an audit hook that notes forbidden events and files opened for writing outside `allowed`."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            inside = allowed is not None and str(path).startswith(str(allowed))
            if writes and not inside and not isinstance(path, int) and str(path) != os.devnull:
                seen.append(f"open {path} for writing")
        elif event.startswith(FORBIDDEN):
            seen.append(f"{event} {arguments!r:.100}")

    sys.addaudithook(hook)


if __name__ == "__main__":
    _serve(sys.argv[1:])
