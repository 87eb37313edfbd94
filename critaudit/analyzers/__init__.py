"""The analyses of an audit, in the order of the report. A new one is a file here and a line in ANALYZERS."""

from __future__ import annotations

from collections.abc import Iterable

from critaudit.analyzers.base import Analyzer
from critaudit.analyzers.edge import EDGE
from critaudit.analyzers.entries import ENTRIES
from critaudit.analyzers.signal import SIGNAL
from critaudit.analyzers.spectrum import SPECTRUM
from critaudit.errors import UsageError

ANALYZERS: tuple[Analyzer, ...] = (ENTRIES, SPECTRUM, EDGE, SIGNAL)


def select(only: Iterable[str] | None) -> tuple[Analyzer, ...]:
    """The analyzers named in `only`, in the report's order; all for None. Raises UsageError for unknown names."""
    if only is None:
        return ANALYZERS
    wanted = {name.strip() for name in only}
    known = [analyzer.id for analyzer in ANALYZERS]
    if unknown := sorted(wanted - set(known)):
        raise UsageError(f"no analyzer is called {', '.join(unknown)}; there are {', '.join(known)}")
    if not wanted:
        raise UsageError(f"no analyzer is named; there are {', '.join(known)}")
    return tuple(analyzer for analyzer in ANALYZERS if analyzer.id in wanted)
