"""What the warm processes import before they fork, so that a case need not wait for it."""

from __future__ import annotations

READER = ("tests.hostile.priming", "critaudit.sources.hub", "critaudit.sources.factory")
COMMAND = (
    *READER,
    "critaudit.cli",
    "critaudit.report.html",
    "jinja2",
    "rich.console",
    "rich.table",
    "plotly.graph_objects",
)
UNSAFE = (
    "torch",
    "numpy",
    "zipfile",
    "torch.export",
    "torch._export.serde.serialize",
    "torch.export.pt2_archive._package",
)
