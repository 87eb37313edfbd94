"""The headline in plain words, from the record alone: what this is, how much was looked at, what is the worst."""

from __future__ import annotations

from collections import Counter

from critaudit.measurement import Measurement
from critaudit.report import measures, wording
from critaudit.report.record import SEVERITIES, Coverage, Finding, Report
from critaudit.text import printable

_HOW = {
    "recognised": "recognised as {}",
    "given": "audited as {}",
    "chain": "a chain of linear layers",
}
# What stands behind the name of a report without a model.
_KINDS = {"theory": "theory, computed without a model", "simulation": "a simulation; no model was audited"}
_SHOWN_GAPS = 3
# What an analyzer is asked for: where none of these came out anywhere, the reader must not take silence for health.
_AIMS = {
    "entries": ("law of the weights", ("entries.alpha",)),
    "spectrum": ("singular values", ("spectrum.norm",)),
    "edge": ("distance to the edge of chaos", ("edge.chi1",)),
    "asymptotic": ("layers applied to their own output", ()),
    "signal": ("signal strength", ("signal.strength",)),
    "jacobian": ("Jacobians", ()),
    "multifractal": ("dimensions of the modes", ()),
    "manifold": ("what becomes of a circle of inputs", ()),
    "avalanche": ("avalanches", ()),
}

# What an audit says where it can, and nobody asked for: a note tells why not.
_ON_THE_SIDE = ("init", "decay")


def sentences(report: Report) -> tuple[str, ...]:
    """A few short sentences that stand at the top of every view of the report.

    Those of a report without a model are its kind and the sentences that its maker left in `<analyzer>.summary`; those
    of a comparison are such sentences, too.
    """
    summaries = _summaries(report)
    said: tuple[str, ...]
    if not report.has_model:
        said = (_kind(report), *summaries, _worst(report), _undetermined(report), _broken(report))
    elif summaries:
        said = (*summaries, _worst(report), _broken(report))
    else:
        said = (_what(report), _looked_at(report), _worst(report), _unmeasured(report), _broken(report))
    return tuple(sentence for sentence in said if sentence)


def counts(report: Report) -> dict[str, int]:
    """How many findings there are of each severity, worst first."""
    found = Counter(finding.severity for finding in report.findings)
    return {severity: found[severity] for severity in reversed(SEVERITIES)}


def by_severity(report: Report) -> list[Finding]:
    """The findings, worst first, otherwise in the order in which they were made."""
    return sorted(report.findings, key=lambda finding: -SEVERITIES.index(finding.severity))


def not_measured(report: Report) -> dict[str, int]:
    """How many measurements came out, and how many did not, by status."""
    found = Counter(measurement.status for layer in report.layer_records for measurement in layer.measurements.values())
    found.update(measurement.status for measurement in report.model.values())
    return {status: found[status] for status in ("measured", "not_applicable", "undetermined", "failed")}


def parameters_noun(coverage: Coverage) -> str:
    """What the share of analysed parameters is a share of: losses of unknown size are in no total."""
    lost = [tensor for tensor in coverage.tensors if tensor.status == "lost"]
    if not lost and not coverage.problems:
        return "parameters"
    return "known parameters" if any(tensor.shape for tensor in lost) else "parameters that could be read"


def _what(report: Report) -> str:
    source, architecture = report.source, report.architecture
    origin = f"{printable(source.name)} ({printable(source.format)})"
    how = _HOW.get(architecture.how)
    known = "of unknown architecture" if how is None else how.format(printable(architecture.name or "a known network"))
    if not report.coverage.parameters:
        return f"{origin} holds no parameters."
    return f"{origin} holds {wording.amount(report.coverage.parameters)} {parameters_noun(report.coverage)}, {known}."


def _kind(report: Report) -> str:
    name = printable(report.source.name)
    return f"{name[:1].upper()}{name[1:]}: {_KINDS[report.source.format]}."


def _summaries(report: Report) -> list[str]:
    """The sentences in which whoever computed a report without a model says what came out."""
    values: list[object] = [
        report.model[name].value for name in measures.ordered(report.model) if measures.is_summary(name)
    ]
    said = [sentence for value in values for sentence in (value if isinstance(value, tuple) else (value,))]
    return [printable(sentence, limit=400) for sentence in said if isinstance(sentence, str)]


def _undetermined(report: Report) -> str:
    """What a computation without a model did not give, with its reasons."""
    gaps: dict[str, list[str]] = {}
    for name in measures.ordered(report.model):
        held = report.model[name]
        if held.status in ("not_applicable", "undetermined"):
            gaps.setdefault(held.reason or wording.status(held.status), []).append(measures.describe(name).label)
    parts = [
        f"{printable(', '.join(dict.fromkeys(labels)), limit=200)} ({printable(reason, limit=300).rstrip('.')})"
        for reason, labels in list(gaps.items())[:_SHOWN_GAPS]
    ]
    rest = [f"and {wording.plural(len(gaps) - _SHOWN_GAPS, 'more reason')} below"] if len(gaps) > _SHOWN_GAPS else []
    return f"Not determined: {'; '.join(parts + rest)}." if parts else ""


def _looked_at(report: Report) -> str:
    coverage, layers = report.coverage, len(report.layer_records)
    if not layers:
        return "No weight matrix could be analysed."
    matrices = wording.plural(layers, "weight matrix", "weight matrices")
    if not coverage.parameters:
        return f"critaudit looked at {matrices}."
    return f"critaudit looked at {matrices} with {wording.share(coverage.share)} of the {parameters_noun(coverage)}."


def _worst(report: Report) -> str:
    """The worst finding in its own words, or what was looked for in vain."""
    found = counts(report)
    serious = [wording.plural(found[severity], severity) for severity in ("problem", "warning") if found[severity]]
    if not serious:
        notes = f" ({wording.plural(found['info'], 'note')} below)" if found["info"] else ""
        return f"Nothing that needs attention was found in what was measured{notes}." if report.layer_records else ""
    worst = by_severity(report)[0]
    where = f" in {printable(worst.layer)}" if worst.layer and printable(worst.layer) not in worst.text else ""
    text = printable(worst.text, limit=400).rstrip(".")
    lead = " and ".join(serious)
    alone = len(serious) == found[worst.severity] == 1
    return f"{lead}{where}: {text}." if alone else f"{lead}; the worst{where}: {text}."


def _unmeasured(report: Report) -> str:
    """What was asked for and came out in no layer at all, with the most frequent reason, which is said once."""
    if not report.layer_records:
        return ""
    gaps: dict[str, list[str]] = {}
    for name in measures.ordered([*measures.analyzers(report), *report.provenance.skipped]):
        if name in _ON_THE_SIDE:
            continue
        aim, identifiers = _AIMS.get(name, (name, ()))
        held = _held(report, name, identifiers)
        if any(measurement.status == "measured" for measurement in held):
            continue
        reasons = Counter(measurement.reason for measurement in held if measurement.reason)
        reason = report.provenance.skipped.get(name) or next((words for words, _ in reasons.most_common(1)), "")
        if reason:
            gaps.setdefault(printable(reason, limit=300).rstrip("."), []).append(printable(aim))
    parts = [f"{', '.join(aims)} ({reason})" for reason, aims in gaps.items()]
    return f"Not measured: {'; '.join(parts)}." if parts else ""


def _held(report: Report, name: str, identifiers: tuple[str, ...]) -> list[Measurement]:
    """All measurements of an analyzer, or of those of its identifiers that say whether it did what it is for."""
    everything = [layer.measurements for layer in report.layer_records] + [report.model]
    return [
        measurement
        for found in everything
        for identifier, measurement in found.items()
        if measures.analyzer(identifier) == name and (not identifiers or identifier in identifiers)
    ]


def _broken(report: Report) -> str:
    """What went wrong with the audit itself, if anything did."""
    parts = []
    lost = sum(tensor.status == "lost" for tensor in report.coverage.tensors)
    if lost:
        parts.append(f"{wording.plural(lost, 'tensor')} could not be read")
    failed = not_measured(report)["failed"]
    if failed:
        parts.append(f"{wording.plural(failed, 'measurement')} failed")
    return f"{' and '.join(parts)}.".capitalize() if parts else ""
