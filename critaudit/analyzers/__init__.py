"""The analyses of an audit, in the order of the report. A new one is a file here and a line in ANALYZERS."""

from __future__ import annotations

from collections.abc import Iterable

from critaudit.analyzers.asymptotic import ASYMPTOTIC
from critaudit.analyzers.avalanche import AVALANCHE
from critaudit.analyzers.base import Analyzer
from critaudit.analyzers.edge import EDGE
from critaudit.analyzers.entries import ENTRIES
from critaudit.analyzers.jacobian import JACOBIAN
from critaudit.analyzers.manifold import MANIFOLD
from critaudit.analyzers.multifractal import MULTIFRACTAL
from critaudit.analyzers.signal import SIGNAL
from critaudit.analyzers.spectrum import SPECTRUM
from critaudit.errors import UsageError

ANALYZERS: tuple[Analyzer, ...] = (
    ENTRIES,
    SPECTRUM,
    EDGE,
    ASYMPTOTIC,
    SIGNAL,
    JACOBIAN,
    MULTIFRACTAL,
    MANIFOLD,
    AVALANCHE,
)


def select(only: Iterable[str] | None) -> tuple[Analyzer, ...]:
    """The analyzers named in `only` ("all" for every one; a text names them by commas), in the report's order.

    None means the usual ones.

    Raises UsageError for unknown names.
    """
    if only is None:
        return tuple(analyzer for analyzer in ANALYZERS if analyzer.usual)
    wanted = {name.strip() for name in (only.split(",") if isinstance(only, str) else only)}
    known = [analyzer.id for analyzer in ANALYZERS]
    if wanted == {"all"}:
        return ANALYZERS
    if unknown := sorted(wanted - set(known)):
        raise UsageError(f"no analyzer is called {', '.join(unknown)}; there are {', '.join(known)}, and all")
    if not wanted:
        raise UsageError(f"no analyzer is named; there are {', '.join(known)}")
    return tuple(analyzer for analyzer in ANALYZERS if analyzer.id in wanted)
