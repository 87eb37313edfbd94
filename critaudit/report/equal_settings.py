"""Settings of equal growth as a table: a learning rate for every batch size and momentum."""

from __future__ import annotations

from dataclasses import dataclass

from critaudit.report.record import Report


@dataclass(frozen=True, slots=True)
class EqualSettings:
    """Columns are momenta, rows batch sizes; each cell holds the learning rate and whether it is the present one."""

    momenta: tuple[float, ...]
    rows: tuple[tuple[int, tuple[tuple[float, bool], ...]], ...]


def equal_settings(report: Report) -> EqualSettings | None:
    """The table in a report with advice on weight decay; None where there is none or it is not a full table."""
    names = ("decay.equal_lrs", "decay.equal_momenta", "decay.equal_batch_sizes")
    held = [report.model.get(name) for name in names]
    values = [one.value for one in held if one is not None and isinstance(one.value, tuple)]
    if len(values) < len(names) or len({len(one) for one in values}) != 1:
        return None
    present = report.model.get("decay.equal_present")
    marked = None if present is None or present.number is None else int(present.number)
    cells: dict[tuple[int, float], tuple[float, bool]] = {}
    for place, (lr, momentum, size) in enumerate(zip(*values, strict=True)):
        cells[int(size), float(momentum)] = (float(lr), place == marked)
    sizes, momenta = sorted({size for size, _ in cells}), sorted({momentum for _, momentum in cells})
    if len(cells) != len(sizes) * len(momenta):
        return None
    return EqualSettings(
        tuple(momenta), tuple((size, tuple(cells[size, momentum] for momentum in momenta)) for size in sizes)
    )
