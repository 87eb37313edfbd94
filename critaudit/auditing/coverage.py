"""How much of the model was looked at, and what that means for the rest of the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from critaudit.model import ModelView
from critaudit.report import Coverage, Finding, TensorRecord


def coverage(view: ModelView, lost: Mapping[str, str]) -> Coverage:
    """The ledger as the report shows it; `lost` says, by tensor, why a matrix could not be read in the end."""
    tensors = tuple(
        TensorRecord(
            entry.name,
            entry.shape,
            entry.dtype,
            "lost" if entry.name in lost else entry.status,
            lost.get(entry.name, entry.reason),
        )
        for entry in view.ledger
    )
    unread = sum(entry.parameters for entry in view.ledger if entry.name in lost and entry.status == "analysed")
    problems = (*view.problems, *(f"{name}: {reason}" for name, reason in lost.items()))
    return Coverage(view.parameters, view.analysed - unread, tensors, problems)


def coverage_findings(view: ModelView, lost: Mapping[str, str], non_finite: Mapping[str, int]) -> Iterable[Finding]:
    """Problems where something is not finite or could not be read, a warning where most of it is out of reach."""
    sizes = {matrix.name: matrix.size for matrix in view.matrices}
    for name, broken in non_finite.items():
        yield Finding(
            "coverage.non_finite",
            "problem",
            name,
            f"{broken:,} of {sizes[name]:,} weights are NaN or infinite; the layer cannot compute anything useful.",
            (),
        )
    count = len(lost) + sum(entry.status == "lost" for entry in view.ledger)
    if count or view.problems:
        first = next((f"{name}: {reason}" for name, reason in lost.items()), next(iter(view.problems), ""))
        yield Finding(
            "coverage.lost",
            "problem",
            None,
            f"{count} of {len(view.ledger)} tensors could not be read, so this audit is partial; first: {first}",
            (),
            "Everything below holds for the part that could be read.",
        )
    elif view.parameters and view.analysed < 0.5 * view.parameters:
        yield Finding(
            "coverage.share",
            "warning",
            None,
            f"Only {view.analysed / view.parameters:.0%} of the parameters are in weight matrices that were analysed.",
            (),
            "The ledger gives the reason for every tensor.",
        )
