"""One window of a training: least squares for G in dJ²/dt = G − r·J², constant and linear in t, with honest errors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

Array: TypeAlias = NDArray[np.float64]

_STRONGEST = 0.95  # autocorrelation of residuals that is still told from a random walk
_WALK = math.sqrt(6 / 5)  # error of a straight line through a random walk over that of its best estimate


@dataclass(frozen=True, slots=True)
class WindowFit:
    """G at the window's end with the half-widths of its 95 % interval.

    `intercept` is the fitted J² at the window's start, `constant` the G of a fit without change; `bend` is what was
    added to that for the change of G within the window. Half of it counts as systematic error.
    """

    slope: float
    statistical: float
    systematic: float
    intercept: float
    constant: float
    bend: float
    first: int
    count: int

    @property
    def half_width(self) -> float:
        """Half the width of the interval, noise and systematic part added in squares."""
        return math.hypot(self.statistical, self.systematic)


def fit_window(t: Array, y: Array, rates: Array, first: int) -> WindowFit:
    """Fit the records from `first` on (at least four); `rates` is r at the times `t`, its mean taken in between.

    The equation's solution is linear in J² at the start, G and G's slope b, with coefficients exact for r constant
    between records. The G of a fit without b differs from that at the end by c·b with a known c, so c·b is added as far
    as it exceeds its own error (by the factor 1 − (error/b)², which makes its square unbiased). Errors are the larger
    of those from the residuals of J², with first-order autocorrelation, and from its increments.
    """
    span, scale = float(t[-1] - t[first]), float(np.max(np.abs(y[first:]))) or 1.0
    x, z = (t[first:] - t[first]) / span, y[first:] / scale
    steps = np.diff(x)
    fades, gains, ramps = _responses(x, steps, 0.5 * (rates[first + 1 :] + rates[first:-1]) * np.diff(t[first:]))
    columns = _solutions(fades, gains, ramps)
    count = len(x)
    # Four points leave no room for a change of G.
    bent, free = count > 4, count - (3 if count > 4 else 2)
    basis, rows = (columns, np.column_stack([gains, ramps])) if bent else (columns[:, :2], gains[:, None])
    constant, _ = _least_squares(columns[:, :2], z)
    level, walk = _errors(basis, z, 1, free), _walk_errors(rows, z[1:] - fades * z[:-1], steps, free)
    added, bend_error = _followed(columns, z, float(constant[1]), max(level[1], walk[1])) if bent else (0.0, 0.0)
    unit = scale / span
    return WindowFit(
        slope=unit * (float(constant[1]) + added),
        statistical=unit * quantile(free) * math.hypot(max(level[0], walk[0]), bend_error),
        systematic=unit * 0.5 * abs(added),
        intercept=scale * float(constant[0]),
        constant=unit * float(constant[1]),
        bend=unit * added,
        first=first,
        count=count,
    )


def _followed(columns: Array, z: Array, constant: float, error: float) -> tuple[float, float]:
    """What to add to the constant G for that at the window's end, and its standard error; `error` is that of b."""
    bent, _ = _least_squares(columns, z)
    if not bent[2]:
        return 0.0, 0.0
    added, relative = float(bent[1]) - constant, error / abs(float(bent[2]))
    share = max(0.0, 1.0 - relative**2)
    return share * added, share * relative * abs(added)


@lru_cache(maxsize=512)
def quantile(free: int) -> float:
    """Student's two-sided 95 % quantile."""
    return float(student_t.ppf(0.975, free))


def _responses(x: Array, steps: Array, shares: Array) -> tuple[Array, Array, Array]:
    """Over each interval: the factor e^{−rΔ}, the response to G = 1, and that to G = x − 1 (0 at the window's end)."""
    fades = np.exp(-shares)
    small = shares < 1e-6
    safe = np.where(small, 1.0, shares)
    gains = steps * np.where(small, 1.0 - 0.5 * shares, -np.expm1(-safe) / safe)
    inner = steps * np.where(small, 0.5 * steps, (steps - gains) / safe)
    return fades, gains, (x[:-1] - 1.0) * gains + inner


def _solutions(fades: Array, gains: Array, ramps: Array) -> Array:
    """Columns (n, 3): J² along the records for a start of 1, for G = 1, and for G = x − 1."""
    start, constant, ramp = 1.0, 0.0, 0.0
    rows = [(start, constant, ramp)]
    for fade, gain, inner in zip(fades.tolist(), gains.tolist(), ramps.tolist(), strict=True):
        start, constant, ramp = fade * start, fade * constant + gain, fade * ramp + inner
        rows.append((start, constant, ramp))
    return np.array(rows)


def _least_squares(columns: Array, z: Array) -> tuple[Array, Array]:
    """Coefficients and residuals."""
    found: Array = np.asarray(np.linalg.lstsq(columns, z, rcond=None)[0], np.float64)
    return found, z - columns @ found


def _walk_errors(gains: Array, increments: Array, steps: Array, free: int) -> tuple[float, float]:
    """The same from the increments of J², as of noise with a variance in proportion to time."""
    weights = 1.0 / np.sqrt(steps)
    rows = gains * weights[:, None]
    error, bend_error = _errors(rows, increments * weights, 0, free)
    return _WALK * error, _WALK * bend_error


def _errors(columns: Array, z: Array, constant: int, free: int) -> tuple[float, float]:
    """Standard errors of column `constant` without the columns after it, and of the next (0 if there is none).

    The residuals of all columns tell the noise: its variance, with `free` degrees of freedom, and its first-order
    autocorrelation, by which the variance of a mean grows by (1 + ρ)/(1 − ρ).
    """
    _, residuals = _least_squares(columns, z)
    power, count = float(residuals @ residuals), columns.shape[1]
    correlation = max(float(residuals[1:] @ residuals[:-1]) / power, 0.0) if power > 0 else 0.0
    # Residuals of a fit with p coefficients look less correlated than the noise is, by about (p − 1 + (p + 1)ρ)/n.
    correlation = min(correlation + (count - 1 + (count + 1) * correlation) / len(z), _STRONGEST)
    variance = power / free * (1.0 + correlation) / (1.0 - correlation)
    errors = []
    for used in (constant + 1, constant + 2):
        rows = columns[:, :used]
        inverse = np.linalg.pinv(rows.T @ rows)
        errors.append(math.sqrt(variance * max(float(inverse[-1, -1]), 0.0)) if used <= count else 0.0)
    return errors[0], errors[1]
