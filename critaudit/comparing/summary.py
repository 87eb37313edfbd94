"""A comparison in a few numbers and sentences, and where it comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from critaudit.circumstances import circumstances
from critaudit.measurement import Measurement, measured
from critaudit.report import Layer, Provenance, Report
from critaudit.report.wording import number, plural

if TYPE_CHECKING:
    from critaudit.comparing import Pair


def summary(
    a: Report,
    b: Report,
    pairs: Sequence[Pair],
    layers: Sequence[Layer],
    removed: Sequence[str],
    added: Sequence[str],
    reshaped: Sequence[str],
    note: str,
) -> dict[str, Measurement]:
    """Counts, the distance of the models as a whole, and the sentences that head the page."""
    found = {
        "change.layers_compared": measured(len(pairs)),
        "change.layers_removed": measured(len(removed)),
        "change.layers_added": measured(len(added)),
        "change.layers_reshaped": measured(len(reshaped)),
    }
    said = [
        f"{a.source.name} (A) and {b.source.name} (B) have {plural(len(pairs), 'layer')} in common; "
        f"{len(removed)} of A and {len(added)} of B have no partner, {len(reshaped)} changed shape."
    ]
    distances = [layer.measurements.get("change.relative") for layer in layers]
    numbers = [item.number for item in distances if item is not None and item.number is not None]
    if numbers:
        same = sum(value == 0.0 for value in numbers)
        found["change.layers_unchanged"] = measured(same, n=len(numbers), method="layers without a changed entry")
        unknown = len(distances) - len(numbers)
        largest = max(numbers)
        typical = math.exp(sum(math.log(value) for value in numbers if value) / max(1, len(numbers) - same))
        if same == len(numbers):
            said.append("Their weights are identical." if not unknown else "The other weights are identical.")
        else:
            changed = len(numbers) - same
            said.append(
                f"{changed} of {plural(len(numbers), 'layer')} changed, typically by {number(typical)} of the layer's "
                f"norm, at most by {number(largest)}."
            )
            found["change.relative_typical"] = measured(
                typical, n=len(numbers) - same, method="geometric mean of ‖B − A‖/‖A‖ over the layers that changed"
            )
    unmeasured = len(distances) - len(numbers)
    if numbers and unmeasured:
        said.insert(1, f"{plural(unmeasured, 'layer')} without a distance of weights: see the table for the reasons.")
    if note:
        said.append(f"{note[0].upper()}{note[1:]}.")
    return found | {"change.summary": measured(tuple(said))}


def provenance_of(a: Report, b: Report, seconds: float) -> Provenance:
    """This run's circumstances, and those of the two audits it rests on."""
    versions, peak_memory, created = circumstances(("critaudit", "torch", "numpy", "scipy"))
    return Provenance(
        versions=versions,
        settings={
            side: {
                "source": report.source.name,
                "sha256": report.source.sha256,
                "created": report.provenance.created,
                "critaudit": report.provenance.versions.get("critaudit"),
            }
            for side, report in (("a", a), ("b", b))
        },
        seed=b.provenance.seed,
        threads=b.provenance.threads,
        device=b.provenance.device,
        seconds=seconds,
        peak_memory=peak_memory,
        skipped={},
        created=created,
    )
