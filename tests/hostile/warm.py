"""What the warm processes import before they fork, so that a case need not wait for it."""

from __future__ import annotations

_SOURCES = tuple(
    f"critaudit.sources.{name}"
    for name in (
        *("detect", "folder", "checkpoint", "torchscript", "exported", "safetensors", "onnx", "npz", "recognise"),
        *("hub", "factory"),
    )
)
READER = (*_SOURCES, "critaudit.auditing", "critaudit.analyzers", "scipy.stats", "scipy.linalg", "tempfile")
COMMAND = (*READER, "critaudit.cli", "critaudit.report", "jinja2", "rich.console", "rich.table", "plotly.graph_objects")
UNSAFE = (
    "torch",
    "numpy",
    "zipfile",
    "torch.export",
    "torch._export.serde.serialize",
    "torch.export.pt2_archive._package",
)
