"""Names of the measurements on the propagation of manifolds."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

MEASURES: dict[str, Measure] = {}
