"""A training's records as a course, which is what advice rests on."""

from __future__ import annotations

import os
from collections.abc import Sequence

from critaudit.advice.course import Course, LayerCourse
from critaudit.training.log import read_log
from critaudit.training.records import Header, LayerNow, Record


def read_course(path: str | os.PathLike[str]) -> Course:
    """The course in a Monitor's log. Raises CritauditError, in one line, where there is none."""
    log = read_log(path)
    return course_of(log.header, log.records, source=str(path), notes=log.notes, lost=log.lost)


def course_of(
    header: Header,
    records: Sequence[Record],
    *,
    source: str = "",
    notes: Sequence[str] = (),
    lost: Sequence[str] = (),
) -> Course:
    """Layers that are trained, each at the recorded steps at which its spread was finite.

    `lost` says what of the training could not be read; it stands before the `notes`.
    """
    return Course(
        layers=tuple(
            layer for place in range(len(header.layers)) if (layer := _layer(header, records, place)) is not None
        ),
        dataset_size=header.dataset_size,
        batch_size=header.batch_size,
        source=source or header.name,
        notes=(*lost, *notes),
        lost=tuple(lost),
    )


def _layer(header: Header, records: Sequence[Record], place: int) -> LayerCourse | None:
    followed = header.layers[place]
    found = [
        (record, now)
        for record in records
        if (now := record.layers[place]).j_squared is not None and now.j0 is not None and now.setting is not None
    ]
    if not found:
        return None
    return LayerCourse(
        name=followed.name,
        shape=followed.shape,
        fan_in=followed.fan_in,
        steps=tuple(float(record.step) for record, _ in found),
        j_squared=tuple(now.j_squared or 0.0 for _, now in found),
        j0=tuple(now.j0 or 0.0 for _, now in found),
        settings=tuple(record.settings[now.setting or 0] for record, now in found),
        activation=followed.activation,
        sigma_b=found[-1][1].sigma_b,
        adaptivity=_adaptivity([now for _, now in found]),
        normalised=followed.normalised,
        kind=followed.kind,
    )


def _adaptivity(layers: Sequence[LayerNow]) -> tuple[float, ...] | None:
    """One value per step. Before its first step Adam has no v̂: that record is given the next one's value."""
    values = [now.adaptivity for now in layers]
    known = [value for value in values if value is not None]
    if not known or any(value is None for value in values[1:]):
        return None
    return tuple(known[0] if value is None else value for value in values)
