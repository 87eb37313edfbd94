"""Names of the measurements on avalanches."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

MEASURES: dict[str, Measure] = {}
