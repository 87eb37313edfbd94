"""What in a comparison its reader should know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from critaudit.report import Finding, Layer, Report
from critaudit.report.wording import number, plural

if TYPE_CHECKING:
    from critaudit.comparing import Pair

_REGIMES = {
    "change.entries.verdict": "The law of the entries",
    "change.spectrum.verdict": "What the spectrum says",
    "change.edge.phase": "The phase",
}
# A change of the mean squared slope χ₁ by this factor, with an interval clear of 1, is worth a word.
_MUCH = 1.25


def change_findings(
    a: Report,
    b: Report,
    pairs: Sequence[Pair],
    layers: Sequence[Layer],
    removed: Sequence[str],
    added: Sequence[str],
    reshaped: Sequence[str],
    unmerged: Sequence[str],
) -> Iterator[Finding]:
    """Layers in one model only, changes of regime, crossings of the edge, and new findings of B that A did not have."""
    for names, text in (
        (removed, "of A {} no partner in B"),
        (added, "of B {} no partner in A"),
        (reshaped, "{} another shape in B"),
    ):
        if names:
            have = text.format("has" if len(names) == 1 else "have")
            yield Finding(
                "change.layers",
                "warning",
                None,
                f"{plural(len(names), 'layer')} {have}: {', '.join(names[:5])}{' …' if len(names) > 5 else ''}.",
                ("change.layers_compared",),
            )
    if unmerged:
        yield Finding(
            "change.adapters",
            "warning",
            None,
            f"{plural(len(unmerged), 'adapter')} of B {'fits' if len(unmerged) == 1 else 'fit'} no layer and "
            f"{'is' if len(unmerged) == 1 else 'are'} not in this comparison: {', '.join(unmerged[:3])}"
            f"{' …' if len(unmerged) > 3 else ''}.",
            ("change.layers_compared",),
            "Is A the model that they were trained on?",
        )
    yield from _regimes(layers)
    for pair in pairs:
        yield from _edge(pair)
    yield from _new(a, b)


def _regimes(layers: Sequence[Layer]) -> Iterator[Finding]:
    """One finding for each kind of change, with the layers that it happened to."""
    for identifier, words in _REGIMES.items():
        happened: dict[str, list[str]] = {}
        for layer in layers:
            change = layer.measurements.get(identifier)
            if change is not None and isinstance(change.value, str) and " → " in change.value:
                happened.setdefault(change.value, []).append(layer.name)
        for change_text, names in happened.items():
            where = f" in {plural(len(names), 'layer')}: {', '.join(names[:4])}{' …' if len(names) > 4 else ''}"
            yield Finding(
                "change.regime",
                "info",
                names[0] if len(names) == 1 else None,
                f"{words} changed from {change_text.replace(' → ', ' to ')}{where if len(names) > 1 else ''}.",
                (identifier,),
                "A verdict near its threshold can change with little; look at the numbers beside it.",
            )


def _edge(pair: Pair) -> Iterator[Finding]:
    first, second = (layer.measurements.get("edge.chi1") for layer in (pair.a, pair.b))
    if first is None or second is None or first.interval is None or second.interval is None:
        return
    if first.number is None or second.number is None or first.number <= 0:
        return
    apart = first.interval[1] < 1 < second.interval[0] or second.interval[1] < 1 < first.interval[0]
    ratio = second.number / first.number
    if apart and not 1 / _MUCH < ratio < _MUCH:
        side = "chaotic" if second.number > 1 else "ordered"
        yield Finding(
            "change.edge",
            "warning",
            pair.b.name,
            f"It crossed the edge of chaos to the {side} side: χ₁ went from {number(first.number)} to "
            f"{number(second.number)}.",
            ("change.edge.chi1",),
            "As if weights were independent and without normalisation or residual paths.",
        )


def _new(a: Report, b: Report) -> Iterator[Finding]:
    known = {(finding.rule, finding.layer) for finding in a.findings}
    for finding in b.findings:
        if finding.severity != "info" and (finding.rule, finding.layer) not in known:
            yield Finding(
                "change.new_finding", finding.severity, finding.layer, f"New in B: {finding.text}", (), finding.caveat
            )
