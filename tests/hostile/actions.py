"""What a child process does: audit a source, run the command line on it, or load it unsafely (a canary's proof)."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.hostile.case import Site
from tests.hostile.sandbox import NOBODY, watch

Reply = dict[str, Any]


def audit(seen: list[str], *, path: str, folder: str, canary: str, mode: str = "file") -> Reply:
    """`critaudit.audit(path)` with the analyzers of weights."""
    from critaudit.auditing import audit as run
    from critaudit.errors import CritauditError

    site = Site(Path(folder), Path(canary))
    _become(mode, site)
    watch(seen)
    try:
        report = run(path, only=["entries", "edge"])
    except CritauditError as error:
        return _reply("refused" if error.exit_code == 3 else f"exit {error.exit_code}", str(error), site)
    except BaseException:
        return _reply("crashed", traceback.format_exc(limit=-6), site)
    problems = "; ".join(report.coverage.problems)
    return _reply("partial" if problems else "audited", problems, site)


def inspect(seen: list[str], *, path: str, folder: str, canary: str, mode: str = "file") -> Reply:
    """`critaudit.load(path)`, and every weight matrix read."""
    from critaudit.errors import CritauditError
    from critaudit.sources import load

    site = Site(Path(folder), Path(canary))
    _become(mode, site)
    watch(seen)
    problems: list[str] = []
    try:
        view = load(path)
        problems += view.problems
        for matrix in view.matrices:
            try:
                matrix.read()
            except CritauditError as error:
                problems.append(str(error))
    except CritauditError as error:
        return _reply("refused" if error.exit_code == 3 else f"exit {error.exit_code}", str(error), site)
    except BaseException:
        return _reply("crashed", traceback.format_exc(limit=-6), site)
    return _reply("partial" if problems else "audited", "; ".join(problems), site)


def command(
    seen: list[str], *, path: str, folder: str, canary: str, mode: str = "file", raw: Sequence[str] = ()
) -> Reply:
    """The whole command line, with its HTML and JSON; `extra` says which of the `raw` texts reached a page."""
    from critaudit.cli import main

    site = Site(Path(folder), Path(canary))
    out = Path.cwd() / "out"
    out.mkdir()
    out.chmod(0o777)
    if raw:
        os.environ["FORCE_COLOR"] = "1"  # as on a terminal: what rich makes of a name must be seen
    _become(mode, site)
    watch(seen, allowed=out)
    html, json_path = out / "report.html", out / "report.json"
    try:
        main([path, "-o", str(html), "--json", str(json_path)])
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        return _reply("crashed", traceback.format_exc(limit=-6), site)
    outcome = {0: "audited", 4: "partial", 3: "refused"}.get(
        status if isinstance(status, int) else -1, f"exit {status}"
    )
    leaks = [f"{text!r:.60} in the page" for text in raw if html.exists() and text in _page(html)]
    # Markup means nothing in a JSON file; what a terminal obeys must not stand there either.
    obeyed = [text for text in raw if not text.isprintable()]
    leaks += [f"{text!r:.60} in the JSON" for text in obeyed if json_path.exists() and text in json_path.read_text()]
    return _reply(outcome, "", site, leaks="; ".join(leaks))


def _page(html: Path) -> str:
    """The page without the figure library's own source, which holds every character there is."""
    return "\n".join(
        line for line in html.read_text().split("\n") if len(line) < 1_000_000 or "plotly" not in line.lower()
    )


def unsafe(seen: list[str], *, path: str, folder: str, canary: str, loader: str) -> Reply:
    """Load with an unsafe loader; `fired` tells whether the payload ran."""
    from tests.hostile.unsafe import LOADERS

    site = Site(Path(folder), Path(canary))
    message = ""
    try:
        LOADERS[loader](Path(path))
    except BaseException as error:
        message = f"{type(error).__name__}: {error}"
    patience = time.monotonic() + 2.0
    while not site.fired() and time.monotonic() < patience:  # a command may have been started and not awaited
        time.sleep(0.02)
    return _reply("loaded" if not message else "failed", message, site)


def _become(mode: str, site: Site) -> None:
    if mode == "inside":
        os.chdir(site.folder)
    if mode == "nobody" and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def _reply(outcome: str, message: str, site: Site, **extra: str) -> Reply:
    sys.stdout.flush()
    return {"outcome": outcome, "message": message[:4000], "fired": site.fired(), "extra": extra}


def misbehave(seen: list[str], *, kind: str) -> Reply:
    """What a broken reader would do, so that the tests can see the sandbox notice it."""
    watch(seen)
    if kind == "hang":
        while True:
            pass
    if kind == "allocate":
        bytearray(2**30 + 2**28)
    if kind == "grow":
        kept = bytearray(2**28)
        kept[:: 2**12] = b"x" * len(range(0, 2**28, 2**12))
    if kind == "write":
        Path("trace").write_text("x")
    if kind == "command":
        os.system("true")
    if kind == "crash":
        os.abort()
    return {"outcome": "done", "message": "", "fired": False, "extra": {}}


def _fuzz(seen: list[str], **request: Any) -> Reply:
    from tests.hostile.fuzz import batch

    return batch(seen, **request)


ACTIONS: Mapping[str, Callable[..., Reply]] = {
    "audit": audit,
    "inspect": inspect,
    "command": command,
    "unsafe": unsafe,
    "misbehave": misbehave,
    "fuzz": _fuzz,
}
