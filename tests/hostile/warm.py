"""What the warm processes import before they fork, so that a case need not wait for it."""

from __future__ import annotations

READER = ("tests.hostile.priming", "critaudit.sources.hub.reader", "critaudit.sources.live.factory")
COMMAND = (*READER, "tests.hostile.priming_pages")
UNSAFE = (
    "torch",
    "numpy",
    "zipfile",
    "torch.export",
    "torch._export.serde.serialize",
    "torch.export.pt2_archive._package",
)
