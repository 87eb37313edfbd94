"""The report as pandas tables: wide (one row per layer) and long (one row per measurement)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from critaudit.report import measures
from critaudit.report.record import Report

if TYPE_CHECKING:
    import pandas as pd

_LONG = ("layer", "measurement", "status", "value", "low", "high", "n", "method", "reason")


def layers(report: Report) -> pd.DataFrame:
    """One row per layer: name, kind, shape, then one column per measurement ID with its value.

    Where a measurement has no value the cell is missing (NaN), never a placeholder number.
    `frame.attrs["not_measured"]` maps ID → {row: "status: reason"} for those cells.
    """
    import pandas as pd

    identifiers = measures.ordered(name for layer in report.layer_records for name in layer.measurements)
    columns: dict[str, list[object]] = {
        "name": [layer.name for layer in report.layer_records],
        "kind": [layer.kind for layer in report.layer_records],
        "shape": [layer.shape for layer in report.layer_records],
    }
    not_measured: dict[str, dict[int, str]] = {}
    for identifier in identifiers:
        held = [layer.measurements.get(identifier) for layer in report.layer_records]
        columns[identifier] = [item.value if item is not None else None for item in held]
        gaps = {
            row: f"{item.status}: {item.reason}"
            for row, item in enumerate(held)
            if item is not None and item.status != "measured"
        }
        if gaps:
            not_measured[identifier] = gaps
    frame = pd.DataFrame({name: _series(name, values) for name, values in columns.items()})
    frame.attrs["not_measured"] = not_measured
    return frame


def measurements(report: Report) -> pd.DataFrame:
    """One row per measurement, with all that belongs to it; `layer` is missing for those on the whole model."""
    import pandas as pd

    held = [(layer.name, layer.measurements) for layer in report.layer_records]
    rows: list[tuple[object, ...]] = []
    for layer, found in [*held, (None, report.model)]:
        for identifier in measures.ordered(found):
            item = found[identifier]
            low, high = item.interval or (None, None)
            rows.append((layer, identifier, item.status, item.value, low, high, item.n, item.method, item.reason))
    frame = pd.DataFrame(rows, columns=list(_LONG))
    return frame.astype({"low": "float64", "high": "float64", "n": "Int64"})


def _series(name: str, values: list[object]) -> pd.Series:
    """Numbers as float64 with NaN for the gaps; anything else as objects with None."""
    import pandas as pd

    numeric = name not in ("name", "kind", "shape") and all(
        value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in values
    )
    return pd.Series(values, dtype="float64" if numeric else "object")
