"""Names of the measurements on phase diagrams."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

MEASURES: dict[str, Measure] = {}
