"""Averages over operating points, with what they are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from critaudit.measurement import Measurement, measured, undetermined


def over_points(
    values: Sequence[float] | NDArray[np.float64], method: str, *, reason: str | None = None
) -> Measurement:
    """The mean over operating points, with the 95 % interval of that mean (Student's t) where there are several."""
    numbers = np.asarray(values, dtype=np.float64)
    n = int(numbers.size)
    if n == 0:
        return undetermined("every neuron is off at every input", n=0, method=method)
    mean = float(numbers.mean())
    if math.isnan(mean):
        why = "weights or slopes are all zero, so that no singular value is left, or some are NaN or infinite"
        return undetermined(why, n=n, method=method)
    interval = None
    if n > 1 and np.isfinite(numbers).all():
        half = float(stdtrit(n - 1, 0.975)) * float(numbers.std(ddof=1)) / math.sqrt(n)
        interval = (mean - half, mean + half)
    return measured(mean, interval=interval, n=n, method=method, reason=reason)
