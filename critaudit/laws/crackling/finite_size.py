"""Exponents at several widths, extrapolated to infinite width in 1/N."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincc

from critaudit.errors import CritauditError

Array = NDArray[np.float64]

_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class FiniteSize:
    """value(N) = limit + slope/N by weighted least squares, with the goodness of the line.

    `interval` is at 95 %. `p` is the probability of so large a χ² if the line is right (1 for two widths, which always
    lie on one); where it is below 0.05 the errors are stretched by √(χ²/degrees of freedom), as said by `stretched`.
    `drifts` says whether the slope differs from zero at 95 %.
    """

    limit: float
    interval: tuple[float, float]
    error: float
    slope: float
    slope_error: float
    chi_square: float
    degrees: int
    p: float
    stretched: bool
    drifts: bool


def extrapolate(widths: Sequence[float], values: ArrayLike, errors: ArrayLike) -> FiniteSize:
    """The limit N → ∞ of an exponent that was measured at these widths with these standard errors.

    Corrections of order 1/N are those of the central limit theorem for a layer of N neurons. Raises CritauditError
    for fewer than two different widths, or values and errors that are not finite and positive.
    """
    width = np.asarray(widths, dtype=np.float64).ravel()
    value, error = (np.asarray(array, dtype=np.float64).ravel() for array in (values, errors))
    if not width.size == value.size == error.size or np.unique(width).size < 2:
        raise CritauditError(
            f"an extrapolation from {width.size} widths, {value.size} values and {error.size} errors was asked for; "
            "give one value and one error for each of two different widths or more"
        )
    finite = np.all(np.isfinite(width)) and np.all(np.isfinite(value)) and np.all(np.isfinite(error))
    if not finite or width.min() <= 0.0 or error.min() <= 0.0:
        raise CritauditError("widths and errors must be positive and all numbers finite; leave out widths without both")
    design = np.stack([np.ones_like(width), 1.0 / width], axis=1) / error[:, np.newaxis]
    # Columns of order one: 1/N is small.
    scale = np.array([1.0, float(width.min())])
    inverse = np.linalg.inv((design * scale).T @ (design * scale))
    solved = inverse @ ((design * scale).T @ (value / error)) * scale
    covariance = inverse * np.multiply.outer(scale, scale)
    chi_square = float(np.square(value / error - design @ solved).sum())
    degrees = width.size - 2
    p = float(gammaincc(degrees / 2.0, chi_square / 2.0)) if degrees > 0 else 1.0
    stretched = degrees > 0 and p < 0.05
    factor = math.sqrt(chi_square / degrees) if stretched else 1.0
    limit_error, slope_error = (factor * math.sqrt(float(covariance[place, place])) for place in (0, 1))
    limit = float(solved[0])
    return FiniteSize(
        limit=limit,
        interval=(limit - _NORMAL_95 * limit_error, limit + _NORMAL_95 * limit_error),
        error=limit_error,
        slope=float(solved[1]),
        slope_error=slope_error,
        chi_square=chi_square,
        degrees=degrees,
        p=p,
        stretched=stretched,
        drifts=abs(float(solved[1])) > _NORMAL_95 * slope_error,
    )
