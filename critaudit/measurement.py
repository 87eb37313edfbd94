"""A measured quantity with everything a reader needs to trust it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["measured", "not_applicable", "undetermined", "failed"]
Value: TypeAlias = float | int | bool | str | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One quantity: its value, 95 % interval, sample size and method, or the reason why there is none.

    A `value` is present exactly when the status is `measured`; it is never NaN or infinite. `undetermined` means that
    the data do not decide, `not_applicable` that the quantity does not exist here, `failed` that the computation broke.
    """

    status: Status
    value: Value | None = None
    interval: tuple[float, float] | None = None
    n: int | None = None
    method: str | None = None
    reason: str | None = None

    @property
    def number(self) -> float | None:
        """The value as a float where it is one, else None."""
        if self.status == "measured" and isinstance(self.value, (int, float)):
            return float(self.value)
        return None


def measured(
    value: Value,
    *,
    interval: tuple[float, float] | None = None,
    n: int | None = None,
    method: str | None = None,
    reason: str | None = None,
) -> Measurement:
    """A measurement that came out. A non-finite value becomes `undetermined`; a non-finite interval is dropped."""
    if isinstance(value, float) and not math.isfinite(value):
        return undetermined(f"the computation gave {value}", n=n, method=method)
    if isinstance(value, tuple) and not _all_finite(value):
        return undetermined("the computation gave non-finite values", n=n, method=method)
    if interval is not None and not _all_finite(interval):
        interval = None
    return Measurement("measured", value, interval, n, method, reason)


def not_applicable(reason: str) -> Measurement:
    """The quantity does not exist for this layer or model, and `reason` says why."""
    return Measurement("not_applicable", reason=reason)


def undetermined(reason: str, *, n: int | None = None, method: str | None = None) -> Measurement:
    """The data do not decide, and `reason` says what is missing."""
    return Measurement("undetermined", n=n, method=method, reason=reason)


def failed(reason: str) -> Measurement:
    """The computation broke, and `reason` says how; such a measurement is left out of every mean."""
    return Measurement("failed", reason=reason)


def _all_finite(values: Sequence[float] | Sequence[str]) -> bool:
    return all(math.isfinite(value) for value in values if not isinstance(value, str))
