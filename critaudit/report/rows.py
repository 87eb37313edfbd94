"""Measurements as table rows by analyzer: what several rows say in the same words is said once, at their head."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from critaudit.measurement import Measurement
from critaudit.report import measures

# Shorter clauses are read faster than a reference to them, and so are those whose repetition costs little.
_LONG = 40
_COST = 80
_BETWEEN = "; "


@dataclass(frozen=True, slots=True)
class Row:
    """A measurement, with its method and reason as far as they are its own; the rest is in the group's notes."""

    identifier: str
    measurement: Measurement
    method: str
    reason: str


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one analyzer, and what several of them refer to: "[1]" is the first note."""

    name: str
    notes: tuple[str, ...]
    rows: tuple[Row, ...]


def groups(measurements: Mapping[str, Measurement]) -> tuple[Group, ...]:
    """The measurements that tables show, by analyzer in reading order."""
    by_analyzer: dict[str, dict[str, Measurement]] = {}
    for name in measures.tabled(measurements):
        by_analyzer.setdefault(measures.analyzer(name), {})[name] = measurements[name]
    return tuple(_group(name, members) for name, members in by_analyzer.items())


def _group(name: str, members: Mapping[str, Measurement]) -> Group:
    said = Counter(clause for held in members.values() for clause in _clauses(held))
    notes = tuple(
        clause for clause, times in said.items() if len(clause) >= _LONG and (times - 1) * len(clause) >= _COST
    )
    marks = {clause: f"[{place}]" for place, clause in enumerate(notes, start=1)}
    return Group(
        name,
        notes,
        tuple(
            Row(identifier, held, _referring(_parts(held.method), marks), _referring(_whole(held.reason), marks))
            for identifier, held in members.items()
        ),
    )


def _clauses(held: Measurement) -> Iterator[str]:
    yield from dict.fromkeys((*_parts(held.method), *_whole(held.reason)))


def _parts(method: str | None) -> tuple[str, ...]:
    return tuple(method.split(_BETWEEN)) if method else ()


def _whole(reason: str | None) -> tuple[str, ...]:
    """A reason is one thought: it is shared as a whole or not at all."""
    return (reason,) if reason else ()


def _referring(clauses: tuple[str, ...], marks: Mapping[str, str]) -> str:
    """The clauses, each that is in the notes replaced by its mark."""
    own = _BETWEEN.join(clause for clause in clauses if clause not in marks)
    return " ".join(part for part in (own, *(marks[clause] for clause in clauses if clause in marks)) if part)
