"""How much measurements and weights differ."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critaudit.measurement import Measurement, measured, not_applicable, undetermined

_ROWS_AT_ONCE = 1 << 22  # entries of a matrix that are in float64 at a time


def difference(a: Measurement, b: Measurement) -> Measurement:
    """b − a, with the interval that both intervals allow (Zou & Donner 2008, "MOVER", for independent estimates).

    Estimates on a model and on its fine-tuned copy go up and down together, so that the interval is too wide for them:
    it is on the safe side. Where one of the two has no number the result says which and why.
    """
    first, second = a.number, b.number
    if first is None or second is None:
        side, which = ("A", a) if first is None else ("B", b)
        reason = which.reason or "it is no number"
        return undetermined(f"in {side}: {reason}")
    change = second - first
    interval = None
    if a.interval is not None and b.interval is not None:
        down = math.hypot(first - a.interval[0], b.interval[1] - second)
        up = math.hypot(a.interval[1] - first, second - b.interval[0])
        interval = (change - up, change + down)
    return measured(change, interval=interval, n=b.n, method="B − A; 95 % interval from both, as if independent")


def wording_change(a: Measurement, b: Measurement) -> Measurement:
    """ "x → y" where a measurement is a word; "x" where it stayed."""
    if a.status != "measured" or b.status != "measured":
        return undetermined(f"in {'A' if a.status != 'measured' else 'B'}: {(a if a.value is None else b).reason}")
    return measured(str(a.value) if a.value == b.value else f"{a.value} → {b.value}", method="A → B")


@dataclass(frozen=True, slots=True)
class WeightDistance:
    """How far two matrices of one shape are apart; norms are Frobenius's, entries count alike in all blocks.

    `relative` = ‖B − A‖/‖A‖ (None for A = 0), `cosine` of the angle between them, `changed` the share of entries that
    differ at all, `largest` the largest |B − A|, `norm_ratio` = ‖B‖/‖A‖. `step_stable_rank` = ‖B − A‖²/‖B − A‖₂²,
    about 1 for a change along one direction, r or less for a LoRA of rank r; None where nothing changed or a matrix is
    huge.
    """

    relative: float | None
    cosine: float | None
    changed: float
    largest: float
    norm_ratio: float | None
    step_stable_rank: float | None
    n: int


def weight_distance(a: NDArray[np.generic], b: NDArray[np.generic]) -> WeightDistance:
    """The distance of two arrays of equal shape (groups, rows, columns), read in slices: no copy of a whole matrix.

    Raises ValueError for unequal shapes.
    """
    if a.shape != b.shape:
        raise ValueError(f"matrices of shapes {a.shape} and {b.shape} have no distance")
    flat_a, flat_b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    step = max(1, _ROWS_AT_ONCE // max(a.shape[-1], 1))
    aa = bb = ab = dd = largest = 0.0
    changed = 0
    for start in range(0, len(flat_a), step):
        x = flat_a[start : start + step].astype(np.float64)
        y = flat_b[start : start + step].astype(np.float64)
        d = y - x
        aa, bb, ab, dd = aa + _dot(x, x), bb + _dot(y, y), ab + _dot(x, y), dd + _dot(d, d)
        changed += int(np.count_nonzero(d))
        largest = max(largest, float(np.abs(d).max(initial=0.0)))
    norm = math.sqrt(aa)
    return WeightDistance(
        relative=math.sqrt(dd) / norm if norm > 0 else None,
        cosine=max(-1.0, min(1.0, ab / math.sqrt(aa * bb))) if aa > 0 and bb > 0 else None,
        changed=changed / a.size if a.size else 0.0,
        largest=largest,
        norm_ratio=math.sqrt(bb / aa) if aa > 0 else None,
        step_stable_rank=_stable_rank(a, b, dd),
        n=int(a.size),
    )


def as_measurements(found: WeightDistance, note: str) -> dict[str, Measurement]:
    """The distance as measurements, with `note` on how the weights were had ("" if there is nothing to say)."""
    zero = not_applicable("A is zero")
    method = f"over all entries{note}"
    return {
        "change.relative": zero
        if found.relative is None
        else measured(found.relative, n=found.n, method=f"‖B − A‖/‖A‖, Frobenius, {method}"),
        "change.cosine": zero if found.cosine is None else measured(found.cosine, n=found.n, method=method),
        "change.changed_share": measured(found.changed, n=found.n, method=f"entries that differ, {method}"),
        "change.largest": measured(found.largest, n=found.n, method=f"largest |B − A|, {method}"),
        "change.norm_ratio": zero if found.norm_ratio is None else measured(found.norm_ratio, n=found.n, method=method),
        "change.step_stable_rank": not_applicable("nothing changed, or the matrix is too large for it")
        if found.step_stable_rank is None
        else measured(found.step_stable_rank, n=found.n, method="‖B − A‖²/‖B − A‖₂², largest of the groups"),
    }


def _dot(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return float(np.vdot(x, y))


def _stable_rank(a: NDArray[np.generic], b: NDArray[np.generic], total: float) -> float | None:
    """Of each group's B − A by its Gram matrix; the largest."""
    rows, columns = a.shape[-2:]
    if total == 0.0 or min(rows, columns) > 4096 or not math.isfinite(total):
        return None
    ranks = []
    for x, y in zip(a.reshape(-1, rows, columns), b.reshape(-1, rows, columns), strict=True):
        step = y.astype(np.float64) - x.astype(np.float64)
        gram = step @ step.T if rows <= columns else step.T @ step
        top = float(np.linalg.eigvalsh(gram)[-1])
        if top > 0:
            ranks.append(float(np.trace(gram)) / top)
    return max(ranks, default=None)
