"""What the measurement IDs are called in front of people. An ID that is not listed here is shown under its own name."""

from __future__ import annotations

from collections.abc import Iterable

from critaudit.report.measures import (
    asymptotic,
    avalanche,
    avalanche_ensembles,
    change,
    edge,
    entries,
    initialisation,
    jacobian,
    manifold,
    multifractal,
    phase,
    signal,
    spectrum,
    training,
    trajectory,
)
from critaudit.report.measures.measure import Measure
from critaudit.report.record import Report

_TABLES = {
    "entries": entries.MEASURES,
    "spectrum": spectrum.MEASURES,
    "edge": edge.MEASURES,
    "asymptotic": asymptotic.MEASURES,
    "signal": signal.MEASURES,
    "jacobian": jacobian.MEASURES,
    "multifractal": multifractal.MEASURES,
    "manifold": manifold.MEASURES,
    "avalanche": avalanche.MEASURES | avalanche_ensembles.MEASURES,
    "phase": phase.MEASURES,
    "change": change.MEASURES,
    "training": {name: one for name, one in training.MEASURES.items() if name.startswith("training.")},
    "optimizer": {name: one for name, one in training.MEASURES.items() if name.startswith("optimizer.")},
    "trajectory": trajectory.MEASURES,
    "init": initialisation.INITIALISATION,
    "decay": initialisation.DECAY,
}
_MEASURES = {identifier: measure for table in _TABLES.values() for identifier, measure in table.items()}

# The columns of the layer table, most telling first; those that a report has are shown.
_KEY = (
    "entries.alpha",
    "entries.verdict",
    "entries.g_forward",
    "spectrum.norm",
    "spectrum.stable_rank",
    "spectrum.verdict",
    "edge.chi1",
    "jacobian.mean_log",
    "multifractal.d2_left",
    "signal.strength",
    "signal.gradient",
    "init.signal_before",
    "init.signal_after",
    "init.gradient_before",
    "init.gradient_after",
    "init.sigma_w",
    "decay.j_squared",
    "decay.target",
    "decay.weight_decay",
    "decay.present",
    "optimizer.weight_decay",
    "change.relative",
    "change.step_stable_rank",
    "change.entries.alpha",
    "change.entries.g_forward",
    "change.spectrum.norm",
    "change.edge.chi1",
)
_ANALYZERS = tuple(_TABLES)


def describe(identifier: str) -> Measure:
    """The measure behind an ID; its own last part, spelled out, where it is unknown."""
    known = _MEASURES.get(identifier)
    if known is None and identifier.startswith("trajectory."):
        return Measure(identifier.removeprefix("trajectory."), plotted=True)
    changed = _MEASURES.get(identifier.removeprefix("change.")) if identifier.startswith("change.") else None
    if known is None and changed is not None:
        return Measure(f"change of {changed.label}", None if changed.symbol is None else f"Δ {changed.symbol}")
    return known or Measure(identifier.partition(".")[2].replace("_", " ") or identifier)


def is_summary(identifier: str) -> bool:
    """Whether the ID names plain sentences that stand at the top of a report without a model ("phase.summary")."""
    return identifier.endswith(".summary")


def tabled(identifiers: Iterable[str]) -> list[str]:
    """The IDs for tables, in reading order: series that are there for a figure, and the headline, are left out."""
    return [name for name in ordered(identifiers) if not describe(name).plotted and not is_summary(name)]


def analyzer(identifier: str) -> str:
    """The analyzer that an ID belongs to: "entries" of "entries.alpha"."""
    return identifier.partition(".")[0]


def ordered(identifiers: Iterable[str]) -> list[str]:
    """IDs in reading order: known analyzers and measures first, the rest by name."""
    known = {name: place for place, name in enumerate(_MEASURES)}
    return sorted(set(identifiers), key=lambda name: (_place(name), known.get(name, len(known)), name))


def analyzers(report: Report) -> list[str]:
    """The analyzers whose measurements are in the report, in reading order."""
    found = {analyzer(name) for layer in report.layer_records for name in layer.measurements}
    found |= {analyzer(name) for name in report.model}
    return sorted(found, key=lambda name: (_place(name), name))


def key_measures(report: Report) -> list[str]:
    """The IDs that the layer table shows: the key ones that some layer has, else the first six of any kind."""
    present = {name for layer in report.layer_records for name in layer.measurements}
    return [name for name in _KEY if name in present] or ordered(present)[:6]


def _place(identifier: str) -> int:
    name = analyzer(identifier)
    return _ANALYZERS.index(name) if name in _ANALYZERS else len(_ANALYZERS)
