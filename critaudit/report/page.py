"""What the HTML page shows, prepared so that its templates hold no logic: anchors, rows, groups and limits."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from critaudit.measurement import Measurement
from critaudit.report import measures, rows, verdict, wording
from critaudit.report.equal_settings import EqualSettings, equal_settings
from critaudit.report.record import Finding, Layer, Report, TensorRecord

# A page that a browser opens at once. What is left out is in the embedded JSON, and the page says so.
_SHOWN_LAYERS = 1500
_SHOWN_TENSORS = 400
_LEDGER_ORDER = {"lost": 0, "skipped": 1, "analysed": 2}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the layer table: what it sorts by, what it shows, and the line beneath it."""

    text: str
    key: float | None
    below: str | None
    gap: bool


@dataclass(frozen=True, slots=True)
class LayerView:
    """A layer with its permalink, its cells in the table, its measurements by analyzer and its findings."""

    place: int
    layer: Layer
    anchor: str
    cells: tuple[Cell, ...]
    groups: tuple[rows.Group, ...]
    findings: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """A measurement that a finding rests on; `measurement` is None where the ID names one of every layer."""

    identifier: str
    measurement: Measurement | None


@dataclass(frozen=True, slots=True)
class View:
    """Everything that the page shows beyond the record itself."""

    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    layers: tuple[LayerView, ...]
    layers_left_out: int
    anchors: dict[str, str]
    ledger: tuple[TensorRecord, ...]
    ledger_total: int
    ledger_groups: tuple[tuple[str, str, int], ...]
    evidence: tuple[tuple[Evidence, ...], ...]
    model: tuple[rows.Group, ...]
    equal_settings: EqualSettings | None


def view(report: Report) -> View:
    """Prepare the page. Layers beyond the limit are left out, those with findings last."""
    columns = tuple(measures.key_measures(report))
    of_interest = Counter(finding.layer for finding in report.findings if finding.layer is not None)
    anchors = _anchors(report.layer_records)
    places = _shown_places(report, of_interest)
    layers = tuple(
        _layer_view(place, report.layer_records[place], anchors[place], columns, of_interest) for place in places
    )
    by_name: dict[str, str] = {}
    for place in places:
        by_name.setdefault(report.layer_records[place].name, anchors[place])
    return View(
        columns=columns,
        kinds=tuple(sorted({layer.kind for layer in report.layer_records})),
        layers=layers,
        layers_left_out=len(report.layer_records) - len(layers),
        anchors=by_name,
        ledger=_ledger(report.coverage.tensors),
        ledger_total=len(report.coverage.tensors),
        ledger_groups=_ledger_groups(report.coverage.tensors),
        evidence=_all_evidence(report),
        model=rows.groups(report.model),
        equal_settings=equal_settings(report),
    )


def file_name(report: Report) -> str:
    """The name under which the page saves its JSON: the source's last part, in safe characters."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", report.source.name.rstrip("/").rpartition("/")[2])[:80].strip("-.")
    return f"{stem or 'model'}.critaudit.json"


def _shown_places(report: Report, of_interest: Counter[str]) -> list[int]:
    """The places of the layers that the page shows: all, or those with findings and then the first ones."""
    places = range(len(report.layer_records))
    if len(places) <= _SHOWN_LAYERS:
        return list(places)
    wanted = sorted(places, key=lambda place: (report.layer_records[place].name not in of_interest, place))
    return sorted(wanted[:_SHOWN_LAYERS])


def _anchors(layers: tuple[Layer, ...]) -> list[str]:
    """One permalink per layer, made of its name ("layer-blocks.0.mlp.fc1"); a number is added where two would meet."""
    taken: set[str] = set()
    anchors = []
    for place, layer in enumerate(layers, start=1):
        anchor = "layer-" + (re.sub(r"[^A-Za-z0-9._-]+", "_", layer.name)[:120] or "unnamed")
        anchors.append(anchor if anchor not in taken else f"{anchor}~{place}")
        taken.add(anchors[-1])
    return anchors


def _layer_view(
    place: int, layer: Layer, anchor: str, columns: tuple[str, ...], of_interest: Counter[str]
) -> LayerView:
    return LayerView(
        place=place + 1,
        layer=layer,
        anchor=anchor,
        cells=tuple(_cell(layer.measurements.get(name)) for name in columns),
        groups=rows.groups(layer.measurements),
        findings=of_interest[layer.name],
    )


def _cell(measurement: Measurement | None) -> Cell:
    if measurement is None:
        return Cell("–", None, "not asked for", True)
    if measurement.status != "measured":
        return Cell(wording.status(measurement.status), None, measurement.reason, True)
    ends = measurement.interval
    return Cell(wording.value(measurement), measurement.number, wording.interval(ends) if ends else None, False)


def _ledger(tensors: tuple[TensorRecord, ...]) -> tuple[TensorRecord, ...]:
    """The first tensors to show: lost before skipped before analysed, otherwise in the order of the file."""
    return tuple(sorted(tensors, key=lambda tensor: _LEDGER_ORDER.get(tensor.status, 0))[:_SHOWN_TENSORS])


def _ledger_groups(tensors: tuple[TensorRecord, ...]) -> tuple[tuple[str, str, int], ...]:
    """(status, reason, how many), lost first, then the largest groups; at most twelve."""
    groups = Counter((tensor.status, tensor.reason or "") for tensor in tensors)
    order = sorted(groups.items(), key=lambda item: (_LEDGER_ORDER.get(item[0][0], 0), -item[1], item[0]))
    return tuple((status, reason, number) for (status, reason), number in order[:12])


def _all_evidence(report: Report) -> tuple[tuple[Evidence, ...], ...]:
    """The evidence of each finding in the order of `verdict.by_severity`."""
    layers: dict[str, Layer] = {}
    for layer in report.layer_records:
        layers.setdefault(layer.name, layer)
    return tuple(_evidence(finding, report, layers) for finding in verdict.by_severity(report))


def _evidence(finding: Finding, report: Report, layers: dict[str, Layer]) -> tuple[Evidence, ...]:
    found = layers[finding.layer].measurements if finding.layer in layers else report.model
    return tuple(Evidence(name, found.get(name) or report.model.get(name)) for name in finding.evidence)
