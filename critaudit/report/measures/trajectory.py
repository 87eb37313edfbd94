"""Names of the measurements along a training."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

MEASURES = {
    "trajectory.steps": Measure("steps", None, "How far the training was at each checkpoint.", plotted=True),
    "trajectory.unit": Measure("unit of the steps"),
}
