"""A survey's tables: one of all models, one of all layers, as Parquet and CSV, written model by model.

They hold what does not depend on when and where the survey ran, so that equal results give equal bytes.
"""

from __future__ import annotations

import csv
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from critaudit.measurement import Measurement
from critaudit.report import Report, measures
from critaudit.surveying.store import Failure, Store

if TYPE_CHECKING:
    import pyarrow as pa

Row: TypeAlias = dict[str, Any]

TABLES = ("models.parquet", "models.csv", "layers.parquet", "layers.csv")
_ROWS_AT_ONCE = 20_000
_MODEL_COLUMNS = (
    ("source", "string"),
    ("status", "string"),
    ("reason", "string"),
    ("key", "string"),
    ("sha256", "string"),
    ("format", "string"),
    ("architecture", "string"),
    ("family", "string"),
    ("how", "string"),
    ("parameters", "int64"),
    ("analysed_share", "double"),
    ("layers", "int64"),
    ("problems", "int64"),
    ("warnings", "int64"),
)
_LAYER_COLUMNS = (
    ("source", "string"),
    ("family", "string"),
    ("layer", "int64"),
    ("depth", "double"),
    ("name", "string"),
    ("kind", "string"),
    ("shape", "string"),
)


def write_tables(store: Store, entries: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Write the tables for `entries`, pairs of source and key in the survey's order; how many rows each has.

    Two passes over the results: the first finds the columns. No more than one model's rows are in memory. A measurement
    is a column named by its ID, its interval the columns ID.low and ID.high; series of numbers stay in the reports,
    whose names hold the key. Sources without a result yet have the status "pending". Raises StoreError.
    """
    entries = [(_text(source), key) for source, key in entries]
    model_kinds: dict[str, str] = {}
    layer_kinds: dict[str, str] = {}
    for key in dict.fromkeys(key for _, key in entries):
        rows = _rows(store, key)
        for known, found in ((model_kinds, rows["model_kinds"]), (layer_kinds, rows["layer_kinds"])):
            for name, kind in found.items():
                known[name] = kind if known.get(name, kind) == kind else "string"
    models = _Table(_schema(_MODEL_COLUMNS, model_kinds))
    layers = _Table(_schema(_LAYER_COLUMNS, layer_kinds))
    with tempfile.TemporaryDirectory(prefix="critaudit-tables-") as scratch:
        folder = Path(scratch)
        with models.open(folder / "models"), layers.open(folder / "layers"):
            for source, key in entries:
                rows = _rows(store, key)
                models.add({"source": source, "key": key} | rows["model"])
                for row in rows["layers"]:
                    layers.add({"source": source} | row)
        for name in TABLES:
            store.place.take(name, folder / name)
    return {"models": models.rows, "layers": layers.rows}


def _text(source: str) -> str:
    r"""A file's name as text that can be written: bytes that are no UTF-8 become \xNN."""
    return source.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def packed_rows(report: Report) -> bytes:
    """A report's rows in the tables as JSON, with the columns that they need; the source and key are added later."""
    return json.dumps(_rows_of(report), ensure_ascii=True, separators=(",", ":")).encode()


def _rows(store: Store, key: str) -> dict[str, Any]:
    """The rows that a worker left beside the report, else those made from what the store has."""
    packed = store.rows(key)
    rows: dict[str, Any] = _rows_of(store.result(key)) if packed is None else json.loads(packed)
    return rows


def _rows_of(found: Report | Failure | None) -> dict[str, Any]:
    model_kinds: dict[str, str] = {}
    layer_kinds: dict[str, str] = {}
    layers: list[Row] = []
    if isinstance(found, Report):
        _note_columns(found.model.items(), model_kinds)
        for layer in found.layer_records:
            _note_columns(layer.measurements.items(), layer_kinds)
        layers = list(_layer_rows(found))
    return {"model": _model_row(found), "model_kinds": model_kinds, "layers": layers, "layer_kinds": layer_kinds}


def _layer_rows(report: Report) -> Iterator[Row]:
    """One row per weight matrix: where it stands and its measurements."""
    count = len(report.layer_records)
    for place, layer in enumerate(report.layer_records):
        yield {
            "family": family(report.architecture.name),
            "layer": place + 1,
            "depth": (place + 0.5) / count,
            "name": layer.name,
            "kind": layer.kind,
            "shape": "×".join(map(str, layer.shape)),
            **_values(layer.measurements.items()),
        }


def family(architecture: str | None) -> str | None:
    """The first word of an architecture's name: resnet of "wide_resnet50_2", vit of "timm:vit_small_patch16_224"."""
    if architecture is None:
        return None
    name = architecture.rpartition(":")[2].lower()
    found = re.match(r"(?:tf_|wide_|legacy_)?([a-z]+?)(?:v?\d|_|$)", name)
    return found.group(1) if found else name or None


def _model_row(found: Report | Failure | None) -> Row:
    if found is None:
        return {"status": "pending"}
    if isinstance(found, Failure):
        return {"status": found.kind, "reason": found.reason}
    severities = [finding.severity for finding in found.findings]
    return {
        "status": "partial" if found.coverage.problems else "audited",
        "reason": found.coverage.problems[0] if found.coverage.problems else None,
        "sha256": found.source.sha256,
        "format": found.source.format,
        "architecture": found.architecture.name,
        "family": family(found.architecture.name),
        "how": found.architecture.how,
        "parameters": found.coverage.parameters,
        "analysed_share": found.coverage.share,
        "layers": len(found.layer_records),
        "problems": severities.count("problem"),
        "warnings": severities.count("warning"),
        **_values(found.model.items()),
    }


def _note_columns(measurements: Iterable[tuple[str, Measurement]], kinds: dict[str, str]) -> None:
    """Add the columns that these measurements need; a measure that is text anywhere is text everywhere."""
    for identifier, measurement in measurements:
        kind = _kind(identifier, measurement)
        if kind is None:
            continue
        kinds[identifier] = kind if kinds.get(identifier, kind) == kind else "string"
        if measurement.interval is not None:
            kinds[f"{identifier}.low"] = kinds[f"{identifier}.high"] = "double"


def _kind(identifier: str, measurement: Measurement) -> str | None:
    if measurement.status != "measured" or isinstance(measurement.value, tuple):
        return None
    if measures.describe(identifier).plotted:
        return None
    return "string" if isinstance(measurement.value, str) else "double"


def _values(measurements: Iterable[tuple[str, Measurement]]) -> Row:
    row: Row = {}
    for identifier, measurement in measurements:
        if _kind(identifier, measurement) is None:
            continue
        value = measurement.value
        row[identifier] = value if isinstance(value, str) else float(value)  # type: ignore[arg-type]
        if measurement.interval is not None:
            row[f"{identifier}.low"], row[f"{identifier}.high"] = measurement.interval
    return row


def _schema(fixed: tuple[tuple[str, str], ...], kinds: dict[str, str]) -> dict[str, str]:
    """Fixed columns, then measures in reading order, each with its interval behind it."""
    plain = [name for name in kinds if not name.endswith((".low", ".high"))]
    ordered = [name + end for name in measures.ordered(plain) for end in ("", ".low", ".high") if name + end in kinds]
    return dict(fixed) | {name: kinds[name] for name in ordered}


class _Table:
    """Rows on their way into a Parquet and a CSV file of the same columns."""

    def __init__(self, schema: dict[str, str]) -> None:
        self.schema = schema
        self.rows = 0
        self._batch: list[Row] = []

    def open(self, stem: Path) -> _Table:
        self._stem = stem
        return self

    def __enter__(self) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        kinds = {"string": pa.string(), "double": pa.float64(), "int64": pa.int64()}
        self._arrow: pa.Schema = pa.schema([(name, kinds[kind]) for name, kind in self.schema.items()])
        self._parquet = parquet.ParquetWriter(self._stem.with_suffix(".parquet"), self._arrow, compression="zstd")
        self._file = self._stem.with_suffix(".csv").open("w", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow(self.schema)

    def add(self, row: Row) -> None:
        self._batch.append(row)
        self.rows += 1
        if len(self._batch) >= _ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        texts = {name for name, kind in self.schema.items() if kind == "string"}
        for row in self._batch:
            for name in texts & row.keys():
                if row[name] is not None and not isinstance(row[name], str):
                    row[name] = json.dumps(row[name])
            self._csv.writerow([_cell(row.get(name)) for name in self.schema])
        if self._batch:
            columns = {name: [row.get(name) for row in self._batch] for name in self.schema}
            self._parquet.write_table(pa.table(columns, schema=self._arrow))
        self._batch = []

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._flush()
        self._parquet.close()
        self._file.close()


def _cell(value: object) -> str:
    """Numbers in full precision; an empty cell where there is none; text that a spreadsheet would run is quoted."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "@", "\t", "\r") else text
