"""Means over samples with 95 % intervals: on a logarithmic scale for what is positive, in plain numbers else.

Random probes are drawn anew for every sample, so that the scatter between samples holds their error too. With a single
sample the probes are the units, and the interval says nothing about other inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over `n` samples with its 95 % interval; None where a single number does not tell one."""

    value: float
    interval: tuple[float, float] | None
    n: int

    def map(self, function: Callable[[float], float]) -> Estimate:
        """The estimate of a rising function of the quantity."""
        ends = None if self.interval is None else (function(self.interval[0]), function(self.interval[1]))
        return Estimate(function(self.value), ends, self.n)


def mean_square(samples: Sequence[Numbers]) -> Estimate | None:
    """The mean of positive numbers, one array of probes per sample; the interval is symmetric in the logarithm."""
    units = _units(samples)
    if units.size == 0:
        return None
    value = float(units.mean())
    half = _half_width(units)
    if value <= 0.0 or half is None:
        return Estimate(value, None, len(samples))
    factor = math.exp(min(half / value, 700.0))
    return Estimate(value, (value / factor, value * factor), len(samples))


def per_block(samples: Sequence[Numbers]) -> list[Estimate | None]:
    """`mean_square` of every column of arrays of shape (probes, blocks); None for columns without a path (NaN)."""
    blocks = samples[0].shape[1] if samples else 0
    return [mean_square([sample[:, index] for sample in samples]) for index in range(blocks)]


def mean_with_errors(samples: Sequence[Numbers], errors: Sequence[float] = ()) -> Estimate | None:
    """The mean of numbers, one array of probes per sample.

    `errors` are standard errors of the samples' own numbers: the interval is at least as wide as they make it.
    """
    units = _units(samples)
    if units.size == 0:
        return None
    value, half = float(units.mean()), _half_width(units)
    if len(errors):
        own = 1.96 * math.sqrt(float(np.sum(np.square(errors)))) / len(errors)
        half = max(own, half or 0.0)
    return Estimate(value, None if half is None else (value - half, value + half), len(samples))


def geometric(logs: Numbers) -> Estimate | None:
    """exp of a mean of logarithms, one per sample."""
    found = mean_with_errors([np.atleast_1d(value) for value in logs])
    return None if found is None else found.map(lambda value: math.exp(min(value, 700.0)))


def _units(samples: Sequence[Numbers]) -> Numbers:
    """The independent numbers: sample means, or the probes of a single sample; those that are not finite left out."""
    if not samples:
        return np.zeros(0)
    units = samples[0] if len(samples) == 1 else np.array([np.mean(sample) for sample in samples])
    return np.asarray(units[np.isfinite(units)], dtype=np.float64)


def _half_width(units: Numbers) -> float | None:
    from scipy.special import stdtrit

    if units.size < 2:
        return None
    return float(stdtrit(units.size - 1, 0.975)) * float(units.std(ddof=1)) / math.sqrt(units.size)
