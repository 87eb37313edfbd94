"""How fast J² grows: dJ²/dt = G − r·J², with the loss r by weight decay known, fitted to J² along a training.

J² of a layer in training is a deterministic curve whose slope changes slowly, plus noise that is small and correlated
from one record to the next; at its beginning stands a transient (Zhang21, Fig. 4: without decay J² = A·epoch + C after
it). So windows that end with the record are weighed by how well they determine G, errors allow for correlated residuals
and for a random walk, and what G changes within and between windows counts as a systematic error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.advice.decaying.window_fit import WindowFit, fit_window
from critaudit.errors import UsageError
from critaudit.report.wording import share

Array: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = Sequence[float] | Array
Status: TypeAlias = Literal["measured", "undetermined"]

FEWEST = 4  # points for a fit
_MOST = 400  # points that are used of a longer record, evenly chosen
_STARTS = 40  # beginnings of the window that are tried
_LARGEST_HALF_WIDTH = 0.5  # as a share of the growth; beyond it the growth is not determined
_ROUNDING = 1e-9  # relative change of J² that is none


@dataclass(frozen=True, slots=True)
class Growth:
    """The growth G in dJ²/dt = G − r·J² at the end of a record, per unit of its times.

    `interval` (95 %) joins the `statistical` (noise) and `systematic` (choice of the window, change of G within it)
    half-widths in squares. `intercept` is the fitted J² at time 0 without decay (Zhang21's C), with decay that at the
    window's start. `trend` is the change of G from the window's middle to its end as a share of G, 0 where that is
    within its own error. `window` holds the first and last time of the window that weighs most, `n` the number of its
    points. Numbers are None where the status is `undetermined`; `reason` says why.
    """

    status: Status
    slope: float | None = None
    interval: tuple[float, float] | None = None
    statistical: float | None = None
    systematic: float | None = None
    intercept: float | None = None
    trend: float | None = None
    window: tuple[float, float] | None = None
    n: int = 0
    method: str | None = None
    reason: str | None = None


def fit_growth(times: Numbers, j_squared: Numbers, *, decay_rate: float | Numbers | None = None) -> Growth:
    """Fit G to `j_squared` at ascending `times` (steps, epochs, or sums of step sizes: G is per unit of them).

    `decay_rate` is r, the share of J² that weight decay takes per unit of time: one number, or one for each time;
    None is no decay. Between records the equation is solved exactly, with the mean of r at both.

    G is that at the end of the record: the mean over all windows that end there and leave a third of the points, and
    five (four of fewer than eight), weighed by 1/half-width² (see `window_fit.fit_window`). An early transient bends
    the curve and makes a window's error large, as few points do; so neither weighs much. The systematic half-width
    joins those of the windows with the spread between them.

    Undetermined, with the reason: fewer than four points, J² that does not change or falls, an interval that contains 0
    or is wider than ± half of G. Raises UsageError where the times do not ascend, lengths differ or numbers are not
    finite.
    """
    t, y, rates = _checked(times, j_squared, decay_rate)
    if len(t) < FEWEST:
        return Growth(
            "undetermined",
            n=len(t),
            reason=f"{len(t)} values of J² are too few for a slope with an error; {FEWEST} or more are needed",
        )
    if float(np.ptp(y)) <= _ROUNDING * float(np.max(np.abs(y))) and not np.any(rates):
        return Growth(
            "undetermined",
            n=len(t),
            reason="J² does not change: these weights are not trained, or their learning rate is 0",
        )
    t, y, rates = _thinned(t, y, rates)
    fits = [fit_window(t, y, rates, first) for first in _starts(len(t))]
    return _judged(_weighed(fits), t, decays=bool(np.any(rates)))


def _checked(times: Numbers, values: Numbers, decay_rate: float | Numbers | None) -> tuple[Array, Array, Array]:
    t, y = np.asarray(times, np.float64), np.asarray(values, np.float64)
    if t.ndim != 1 or t.shape != y.shape:
        raise UsageError(f"{t.size} times and {y.size} values of J² were given; one value for each time is expected")
    rates = np.asarray(0.0 if decay_rate is None else decay_rate, np.float64)
    if rates.shape not in ((), t.shape):
        raise UsageError(
            f"{rates.size} decay rates and {t.size} times were given; one rate, or one for each time is expected"
        )
    rates = np.broadcast_to(rates, t.shape)
    if not (np.all(np.isfinite(t)) and np.all(np.isfinite(y)) and np.all(np.isfinite(rates))):
        raise UsageError("times, J² or decay rates are not all finite; leave out the records that have no number")
    if np.any(np.diff(t) <= 0):
        raise UsageError("the times do not ascend; give every record once, in the order of the training")
    if np.any(rates < 0):
        raise UsageError("a decay rate below 0 was given; weight decay takes from J², it does not add to it")
    return t, y, rates


def _thinned(t: Array, y: Array, rates: Array) -> tuple[Array, Array, Array]:
    if len(t) <= _MOST:
        return t, y, rates
    kept = np.unique(np.linspace(0, len(t) - 1, _MOST).round().astype(int))
    return t[kept], y[kept], rates[kept]


def _starts(count: int) -> Iterator[int]:
    last = count - max(FEWEST if count < 8 else FEWEST + 1, math.ceil(count / 3))
    yield from np.unique(np.linspace(0, last, min(last + 1, _STARTS)).round().astype(int)).tolist()


def _weighed(fits: Sequence[WindowFit]) -> WindowFit:
    """The best window with the slope and half-widths of all of them together."""
    best = min(fits, key=lambda fit: fit.half_width)
    slopes, widths = np.array([fit.slope for fit in fits]), np.array([fit.half_width for fit in fits])
    weights = np.exp(-2.0 * np.log(np.maximum(widths, 1e-12 * abs(best.slope) or 1.0)))
    weights /= weights.sum()
    slope = float(weights @ slopes)
    return replace(
        best,
        slope=slope,
        statistical=float(weights @ np.array([fit.statistical for fit in fits])),
        systematic=math.hypot(
            float(weights @ np.array([fit.systematic for fit in fits])),
            math.sqrt(float(weights @ np.square(slopes - slope))),
        ),
        bend=float(weights @ np.array([fit.bend for fit in fits])),
    )


def _judged(fit: WindowFit, t: Array, *, decays: bool) -> Growth:
    """The record, or why nothing is determined."""
    window = (float(t[fit.first]), float(t[-1]))
    ends = (fit.slope - fit.half_width, fit.slope + fit.half_width)
    known = f"from {fit.count} of {len(t)} values"
    beside = " beside its decay" if decays else ""
    reason = None
    if ends[1] < 0:
        reason = f"J² falls{beside}, {known}"
    elif fit.slope <= 0:
        reason = f"J² does not grow measurably{beside}, {known}"
    elif fit.half_width > _LARGEST_HALF_WIDTH * fit.slope:
        bent = fit.systematic > fit.statistical or fit.count < 6
        what = "too few values after a transient, or a slope that changes" if bent else "J² fluctuates too much"
        far = "beyond ± 100 %" if fit.half_width > fit.slope else f"to ± {share(fit.half_width / fit.slope)}"
        reason = f"the growth of J² is known only {far}, {known} ({what})"
    if reason is not None:
        return Growth("undetermined", window=window, n=fit.count, reason=f"{reason}; train on and ask again")
    return Growth(
        "measured",
        slope=fit.slope,
        interval=ends,
        statistical=fit.statistical,
        systematic=fit.systematic,
        intercept=fit.intercept if decays else fit.intercept - fit.constant * window[0],
        trend=fit.bend / fit.slope,
        window=window,
        n=fit.count,
        method=f"dJ²/dt = G{' − r·J²' if decays else ''} in windows up to the last of {len(t)} values, weighed by "
        "their errors (autocorrelated residuals and increments); systematic: change of G within and between windows",
    )
