"""Two models or two reports side by side: what changed, by how much, and in which layers."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from critaudit.comparing.adapters import merged
from critaudit.comparing.differences import as_measurements, difference, weight_distance, wording_change
from critaudit.comparing.findings import change_findings
from critaudit.comparing.matching import Matching, match
from critaudit.errors import CritauditError, SourceError
from critaudit.measurement import Measurement, failed, not_applicable
from critaudit.model import ModelView
from critaudit.report import SEVERITIES, Coverage, Layer, Report, SourceRecord, TensorRecord

if TYPE_CHECKING:
    import pandas as pd

    from critaudit.sources import Source

    Side: TypeAlias = Source | ModelView | Report

# The numbers and the words whose change is shown per layer; `differences` has every number.
NUMBERS = (
    "entries.alpha",
    "entries.g_forward",
    "entries.std",
    "spectrum.norm",
    "spectrum.stable_rank",
    "spectrum.exponent",
    "edge.j",
    "edge.chi1",
    "signal.strength",
    "jacobian.mean_log",
    "multifractal.d2_left",
)
WORDS = ("entries.verdict", "spectrum.verdict", "edge.phase")
_WEIGHTS = ("entries", "spectrum", "edge")


@dataclass(frozen=True, slots=True)
class Pair:
    """A layer in both models: its places in A's and B's layers, and whether name or order matched it."""

    a: Layer
    b: Layer
    how: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison:
    """What changed from A to B. `report` holds it as a report of its own, with one layer per pair.

    `removed` and `added` name the layers of A and of B that have no partner, `reshaped` those of one name and two
    shapes.
    """

    a: Report
    b: Report
    pairs: tuple[Pair, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]
    reshaped: tuple[str, ...]
    report: Report

    def __repr__(self) -> str:
        return f"<Comparison of {self.a.source.name} and {self.b.source.name}: {len(self.pairs)} layers in both>"

    @property
    def layers(self) -> pd.DataFrame:
        """One row per layer that both have: the changes shown in the report."""
        return self.report.layers

    @property
    def differences(self) -> pd.DataFrame:
        """One row per layer and number that both have: value in A, in B, difference, its interval."""
        import pandas as pd

        rows = []
        for pair in self.pairs:
            for identifier, first in pair.a.measurements.items():
                second = pair.b.measurements.get(identifier)
                if second is None or first.number is None or second.number is None:
                    continue
                low, high = difference(first, second).interval or (None, None)
                change = second.number - first.number
                rows.append((pair.b.name, identifier, first.number, second.number, change, low, high))
        return pd.DataFrame(rows, columns=["layer", "measurement", "a", "b", "difference", "low", "high"])

    def to_html(self, path: str | Path) -> Path:
        """Write the comparison as one HTML page. Raises UsageError where it cannot."""
        return self.report.to_html(path)

    def to_json(self, path: str | Path) -> Path:
        """Write the comparison as JSON (`critaudit.report/1`). Raises UsageError where it cannot."""
        return self.report.to_json(path)


def compare(
    a: Side,
    b: Side,
    *,
    only: Iterable[str] | None = None,
    activation: str | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> Comparison:
    """Compare two models or reports; a Report's JSON file counts as a report.

    Models are audited first (`only`: the analyzers; by default those that need weights only), and the distance of their
    weights is measured matrix by matrix. `activation` is the nonlinearity of models that are chains of layers.
    If B holds LoRA factors, they are merged with A's weights (or B's own) with their scale; two adapters alone are
    compared factor by factor. Layers are matched by name and shape, then by order where only names changed.
    Raises what `critaudit.audit` raises, and SourceError where no layer is in both or no adapter fits A.
    """
    started = time.perf_counter()
    side_a, side_b = _opened(a, activation), _opened(b, activation)
    note = ""
    unmerged: tuple[str, ...] = ()
    if isinstance(side_a, ModelView) and isinstance(side_b, ModelView):
        joined = merged(side_a, side_b)
        if joined is not None:
            side_b, note, unmerged = joined.view, joined.note, joined.left
    report_a, report_b = (_report(side, only, device, seed) for side in (side_a, side_b))
    found = match(report_a.layer_records, report_b.layer_records)
    if not found.pairs:
        raise SourceError(
            f"{report_a.source.name} and {report_b.source.name} have no layer of one name and shape in common "
            f"({len(report_a.layer_records)} and {len(report_b.layer_records)} layers); compare models of one kind"
        )
    distances = _distances(side_a, side_b, found, note)
    return _comparison(report_a, report_b, found, distances, note, unmerged, time.perf_counter() - started)


def _opened(side: Side, activation: str | None) -> ModelView | Report:
    from critaudit.sources import load

    if isinstance(side, (ModelView, Report)):
        return side
    if isinstance(side, (str, os.PathLike)) and Path(side).suffix == ".json" and Path(side).is_file():
        report = Report.load(side)  # type: ignore[arg-type]
        if report.source.format == "comparison":
            raise SourceError(f"{side}: this is a comparison; give reports on one model each")
        return report
    return load(side, activation=activation)


def _report(side: ModelView | Report, only: Iterable[str] | None, device: str, seed: int) -> Report:
    if isinstance(side, Report):
        return side
    from critaudit.auditing import audit

    return audit(side, only=_WEIGHTS if only is None else only, device=device, seed=seed)


def _distances(
    a: ModelView | Report, b: ModelView | Report, found: Matching, note: str
) -> list[dict[str, Measurement]]:
    """The distance of each pair's weights, where both sides are models: a report has no weights left."""
    if not isinstance(a, ModelView) or not isinstance(b, ModelView):
        reason = not_applicable("a report holds no weights; compare the models themselves for their distance")
        return [{"change.relative": reason} for _ in found.pairs]
    measurements: list[dict[str, Measurement]] = []
    for first, second, _ in found.pairs:
        one, other = a.matrices[first], b.matrices[second]
        try:
            measurements.append(as_measurements(weight_distance(one.read(), other.read()), f"; {note}" if note else ""))
        except (CritauditError, ValueError) as error:
            measurements.append({"change.relative": failed(str(error))})
    return measurements


def _comparison(
    a: Report,
    b: Report,
    found: Matching,
    distances: list[dict[str, Measurement]],
    note: str,
    unmerged: tuple[str, ...],
    seconds: float,
) -> Comparison:
    from critaudit.comparing.summary import provenance_of, summary

    pairs = tuple(Pair(a.layer_records[first], b.layer_records[second], how) for first, second, how in found.pairs)
    layers = tuple(_layer(pair, distance) for pair, distance in zip(pairs, distances, strict=True))
    removed = tuple(a.layer_records[place].name for place in found.removed)
    added = tuple(b.layer_records[place].name for place in found.added)
    reshaped = tuple(b.layer_records[place].name for _, place in found.reshaped)
    model = {f"change.{name}": difference(a.model[name], b.model[name]) for name in _common_numbers(a.model, b.model)}
    model |= summary(a, b, pairs, layers, removed, added, reshaped, note)
    findings = change_findings(a, b, pairs, layers, removed, added, reshaped, unmerged)
    report = Report(
        source=SourceRecord(f"{a.source.name} → {b.source.name}", "comparison", None, None),
        architecture=b.architecture,
        coverage=_coverage(b, found, removed, added, reshaped),
        layer_records=layers,
        model=model,
        findings=tuple(sorted(findings, key=lambda finding: -SEVERITIES.index(finding.severity))),
        advice=(),
        provenance=provenance_of(a, b, seconds),
    )
    return Comparison(a, b, pairs, removed, added, reshaped, report)


def _layer(pair: Pair, distance: dict[str, Measurement]) -> Layer:
    measurements = dict(distance)
    for identifier in NUMBERS:
        if identifier in pair.a.measurements and identifier in pair.b.measurements:
            first, second = pair.a.measurements[identifier], pair.b.measurements[identifier]
            measurements[f"change.{identifier}"] = difference(first, second)
    for identifier in WORDS:
        if identifier in pair.a.measurements and identifier in pair.b.measurements:
            first, second = pair.a.measurements[identifier], pair.b.measurements[identifier]
            measurements[f"change.{identifier}"] = wording_change(first, second)
    return Layer(pair.b.name, pair.b.kind, pair.b.shape, measurements)


def _common_numbers(a: Mapping[str, Measurement], b: Mapping[str, Measurement]) -> list[str]:
    return [name for name in a if name in b and a[name].number is not None and b[name].number is not None]


def _coverage(
    b: Report, found: Matching, removed: tuple[str, ...], added: tuple[str, ...], reshaped: tuple[str, ...]
) -> Coverage:
    """A ledger of layers, compared or in one model only, and the share of B's weights that were compared."""
    order = {second for _, second, how in found.pairs if how == "order"}
    tensors = [
        TensorRecord(
            b.layer_records[second].name,
            b.layer_records[second].shape,
            "",
            "analysed",
            "matched by its place: the names differ" if second in order else None,
        )
        for _, second, _ in found.pairs
    ]
    for names, reason in ((removed, "only in A"), (added, "only in B"), (reshaped, "in both, with two shapes")):
        tensors.extend(TensorRecord(name, (), "", "skipped", reason) for name in names)
    sizes = [math.prod(layer.shape) for layer in b.layer_records]
    return Coverage(sum(sizes), sum(sizes[second] for _, second, _ in found.pairs), tuple(tensors))


__all__ = ["Comparison", "Pair", "compare"]
