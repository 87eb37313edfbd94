"""Names of the measurements on multifractality."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

MEASURES: dict[str, Measure] = {}
