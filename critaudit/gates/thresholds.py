"""A report checked against thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase

from critaudit.errors import UsageError
from critaudit.gates.configuration import Threshold
from critaudit.measurement import Measurement
from critaudit.report import SEVERITIES, Finding, Report, measures, wording

_SHOWN = 5


def gated(report: Report, thresholds: Iterable[Threshold]) -> Report:
    """The report with a finding for every threshold that is not kept: one per threshold, naming the layers.

    A value breaks a threshold where the estimate itself does; its interval is in the evidence. Raises UsageError for
    a threshold on something that nothing in the report is called, which would otherwise always be kept.
    """
    found = [*report.findings]
    for threshold in thresholds:
        found.extend(_broken(report, threshold))
    return replace(report, findings=tuple(sorted(found, key=lambda one: -SEVERITIES.index(one.severity))))


def _broken(report: Report, threshold: Threshold) -> Iterator[Finding]:
    identifier = threshold.measurement
    holders: list[tuple[str | None, Measurement]] = [
        (layer.name, layer.measurements[identifier])
        for layer in report.layer_records
        if identifier in layer.measurements and fnmatchcase(layer.name, threshold.layers)
    ]
    if not holders and identifier in report.model and threshold.layers == "*":
        holders = [(None, report.model[identifier])]
    if not holders:
        if measures.analyzer(identifier) in report.provenance.skipped:
            return
        where = "" if threshold.layers == "*" else f" in layers {threshold.layers}"
        raise UsageError(
            f"the threshold on {identifier}{where} concerns nothing in this report; "
            "see the report's layers for names, and --only for what was measured"
        )
    broken = [(name, held) for name, held in holders if _breaks(held, threshold)]
    if broken:
        yield _finding(broken, len(holders), threshold)


def _breaks(held: Measurement, threshold: Threshold) -> bool:
    if held.status != "measured":
        return threshold.missing
    if threshold.allowed and str(held.value) not in threshold.allowed:
        return True
    number = held.number
    if number is None:
        return threshold.missing and not threshold.allowed
    too_low = threshold.low is not None and number < threshold.low
    return too_low or (threshold.high is not None and number > threshold.high)


def _finding(broken: list[tuple[str | None, Measurement]], asked: int, threshold: Threshold) -> Finding:
    label = measures.describe(threshold.measurement).label
    demands = []
    if threshold.low is not None:
        demands.append(f"at least {wording.number(threshold.low)}")
    if threshold.high is not None:
        demands.append(f"at most {wording.number(threshold.high)}")
    if threshold.allowed:
        demands.append(f"one of {', '.join(threshold.allowed)}")
    shown = [f"{name} {wording.with_interval(held)}" if name else wording.with_interval(held) for name, held in broken]
    rest = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    where = f" in {len(broken)} of {wording.plural(asked, 'layer')}" if broken[0][0] is not None else ""
    return Finding(
        f"threshold.{threshold.measurement}",
        threshold.severity,
        broken[0][0] if len(broken) == 1 else None,
        f"The {label} is not {' and '.join(demands)}{where}: {', '.join(shown[:_SHOWN])}{rest}.",
        (threshold.measurement,),
        "A threshold of this project's configuration.",
    )
