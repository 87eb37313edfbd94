"""What a training says while it runs: a line in the terminal, rewritten at every record, and its warnings above it.

Where standard error is no terminal (a file, a cluster's log) there is no such line, and each warning is a line of text.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from critaudit.report.wording import count, number
from critaudit.text import printable
from critaudit.training.edges import excess
from critaudit.training.followed import Followed
from critaudit.training.records import Notice, Record

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"problem": "bold red", "warning": "yellow", "info": "cyan"}
_MARKS = {"problem": "■", "warning": "▲", "info": "●"}


class LiveLine:
    """One line on standard error, on a terminal only, and notices, on any stream. `quiet` keeps both silent."""

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self._console: Console | None = None
        self._open, self._quiet = False, quiet
        if quiet:
            return
        if console is None:
            if sys.stderr is None or not sys.stderr.isatty():
                return
            from rich.console import Console

            console = Console(stderr=True)
        self._console = console if console.is_terminal else None

    @property
    def shown(self) -> bool:
        """Whether anybody can see it."""
        return self._console is not None

    def show(self, text: str) -> None:
        """Put `text` in the place of the last line."""
        if self._console is None:
            return
        from rich.text import Text

        width = max(self._console.width - 1, 20)
        line = text if len(text) <= width else f"{text[: width - 1]}…"
        self._console.print(Text(_encodable(line.ljust(width), self._console)), end="\r", no_wrap=True, crop=True)
        self._open = True

    def say(self, notice: Notice) -> None:
        """Print a notice above the line, to stay; without a terminal, as a line of its own."""
        if self._console is None:
            if not self._quiet and sys.stderr is not None:
                with contextlib.suppress(OSError, ValueError):  # a closed stream is no failure of the monitor
                    text = f"critaudit: {notice.severity}: {printable(notice.text, limit=400)}\n"
                    sys.stderr.write(text)
                    sys.stderr.flush()
            return
        from rich.text import Text

        text = f"{_MARKS[notice.severity]} {printable(notice.text, limit=400)}"
        self._console.print(
            Text(_encodable(text.ljust(self._console.width - 1), self._console)), style=_STYLES[notice.severity]
        )
        self._open = False

    def close(self) -> None:
        """Leave the last line standing."""
        if self._console is not None and self._open:
            self._console.print()
            self._open = False


def line_of(record: Record, layers: Sequence[Followed], *, name: str, epoch: float | None, advised: str | None) -> str:
    """A record in one line: step, the layer farthest from its edge, the range of J, growth, weight decay, overhead."""
    parts = [f"{name} step {count(record.step)}" + ("" if epoch is None else f" (epoch {epoch:.2f})")]
    if record.loss is not None:
        parts.append(f"loss {number(record.loss)}")
    apart = [
        (abs(beyond), layer.name, now.chi1)
        for layer, now in zip(layers, record.layers, strict=True)
        if (beyond := excess(layer, now)) is not None and now.chi1 is not None
    ]
    if apart:
        _, which, chi1 = max(apart)
        parts.append(f"χ₁ {number(chi1)} in {printable(which, limit=40)}")
    js = [now.j for now in record.layers if now.j is not None]
    if js:
        parts.append(f"J {number(min(js))} … {number(max(js))}")
    for kind, sign in (("signal", "signal"), ("gradient", "grad")):
        one = (record.growth or {}).get(kind)
        if one is not None:
            parts.append(f"{sign} ×{number(math.exp(min(one[0], 700.0)))}/layer")
    if advised is not None:
        parts.append(f"weight decay {advised}")
    if record.overhead is not None and record.overhead < 1.0:  # not while the first records are all there is
        parts.append(f"overhead {100 * record.overhead:.1f} %")
    return " · ".join(parts)


def _encodable(text: str, console: Console) -> str:
    """The text in the terminal's own encoding; signs that it does not have become question marks."""
    encoding = console.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
