"""The spectrum of one dense layer's Jacobian in numbers, beside that of the layer with its entries shuffled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.dynamics.jacobian.averages import over_points
from critaudit.dynamics.jacobian.dense_modes import DenseModes, dense_modes, singular_values
from critaudit.dynamics.jacobian.dense_theory import R0, mean_log_iid
from critaudit.laws.eigenvectors import jacobian_eigenvalues, log_determinant
from critaudit.measurement import Measurement, measured, not_applicable, undetermined
from critaudit.report.record import Layer

Array: TypeAlias = NDArray[np.float64]
Measurements: TypeAlias = dict[str, Measurement]

_PLOTTED = 400
_AS_ABOVE = "J as for jacobian.mean_log"
_AS_GAIN = "J as for jacobian.gain"
_SINGULAR = "the weights are singular to rounding: some eigenvalues are zero, and the mean of their logarithms is −∞"


def means(weight: Array, copy: Array, slopes: Array, held: Layer, method: str) -> Measurements:
    """Mean ln|λ| of the layer, of its shuffled copy, and of independent weights with the same slopes."""
    return {
        "jacobian.mean_log": _mean_log(weight, slopes, method),
        "jacobian.mean_log_shuffled": _mean_log(copy, slopes, f"entries of W shuffled, same slopes; {_AS_ABOVE}"),
        "jacobian.mean_log_iid": mean_log_iid(slopes, held),
    }


def spectrum(weight: Array, copy: Array, slopes: Array) -> Measurements:
    """Eigenvalues and singular values at each point, and the eigenvalues of the shuffled copy."""
    modes = [dense_modes(weight, row) for row in slopes]
    radii = np.array([one.radii() for one in modes])
    others = np.array([np.sort(np.abs(jacobian_eigenvalues(copy, row)))[::-1] for row in slopes])
    among = f"{len(modes)} × {len(weight)} eigenvalues; {_AS_ABOVE}"
    cut = f"E max(ln|λ|, ln {R0:g})"
    one_of_many = "a single eigenvalue: heavy tails make it jump. One step can grow by the norm, which is larger"
    return {
        "jacobian.mean_log_clipped": over_points(_clipped(radii), f"{cut} over {among}"),
        "jacobian.mean_log_clipped_shuffled": over_points(_clipped(others), f"{cut}, entries shuffled; {_AS_ABOVE}"),
        "jacobian.expanding_share": over_points(_share(radii), f"share of |λ| ≥ 1 among {among}"),
        "jacobian.expanding_share_shuffled": over_points(_share(others), f"|λ| ≥ 1, entries shuffled; {_AS_ABOVE}"),
        "jacobian.spectral_radius": over_points(radii[:, 0], f"max|λ|; {_AS_ABOVE}", reason=one_of_many),
        "jacobian.spectral_radius_shuffled": over_points(others[:, 0], f"max|λ|, entries shuffled; {_AS_ABOVE}"),
        **_singular(weight, slopes),
        **_quality(modes),
        **_plotted(modes[0]),
    }


def rectangular(weight: Array, copy: Array, slopes: Array) -> Measurements:
    """Singular values at each point, and those of the shuffled copy in one number."""
    logs = [_mean_positive_log(singular_values(copy * row)) for row in slopes]
    other = over_points(logs, f"mean ln σ, entries of W shuffled, same slopes; {_AS_GAIN}")
    return _singular(weight, slopes) | {"jacobian.mean_log_singular_shuffled": other}


def _singular(weight: Array, slopes: Array) -> Measurements:
    """Singular values of J at each point: how single steps grow, whatever the eigenvalues say."""
    values = np.array([singular_values(weight * row) for row in slopes])
    among = f"{len(values)} × {values.shape[1]} singular values; {_AS_GAIN}"
    zeros = int(np.count_nonzero(values == 0.0))
    left_out = f"{zeros} that are zero, or below 1e-7 of the largest, are left out of the mean" if zeros else None
    logs = [_mean_positive_log(row) for row in values]
    step = max(1, math.ceil(values.shape[1] / _PLOTTED))
    return {
        "jacobian.norm": over_points(values[:, 0], f"largest singular value of J; {_AS_GAIN}"),
        "jacobian.expanding_singular_share": over_points(_share(values), f"share of σ ≥ 1 among {among}"),
        "jacobian.mean_log_singular": over_points(logs, f"mean ln σ over {among}", reason=left_out),
        "jacobian.condition": _condition(values),
        "jacobian.singular_values": measured(_rounded(values[0][::step]), n=values.shape[1], method="of one input"),
    }


def _condition(values: Array) -> Measurement:
    """σ_max/σ_min, its geometric mean over the points."""
    if (values[:, -1] == 0.0).any():
        return not_applicable(
            "J maps some directions to nothing (slopes that are zero or negligible): the ratio is infinite"
        )
    found = over_points(np.log(values[:, 0] / values[:, -1]), f"σ_max/σ_min of J, geometric mean; {_AS_GAIN}")
    if found.number is None:
        return found
    interval = None if found.interval is None else (math.exp(found.interval[0]), math.exp(found.interval[1]))
    return measured(math.exp(found.number), interval=interval, n=found.n, method=found.method)


def _mean_log(weight: Array, slopes: Array, method: str) -> Measurement:
    """Mean ln|λ| at every point by determinants: exact where single eigenvalues are lost in rounding."""
    if (slopes != 0.0).all():
        base = log_determinant(weight, np.ones(len(weight)))
        values = base + np.log(np.abs(slopes)).mean(axis=1)
        if np.isneginf(base):
            return undetermined(_SINGULAR, method=method)
        return over_points(values, f"(1/N)·ln|det J|; {method}")
    on = (slopes != 0.0).mean(axis=1)
    values = np.array([log_determinant(weight, row) for row in slopes])
    if np.isneginf(values).any():
        return undetermined(_SINGULAR, method=method)
    share = f"over the {on.mean():.3g} of neurons that are on; the other eigenvalues are exactly zero"
    return over_points(values[on > 0.0], f"mean ln|λ| by determinants; {method}", reason=share)


def _quality(modes: Sequence[DenseModes]) -> Measurements:
    count = sum(one.count - one.zeros for one in modes)
    discarded = sum(one.discarded for one in modes)
    residual = undetermined("there is no eigenvector that solves its equation: all weights or all slopes are zero")
    if count > discarded:
        residual = measured(
            max(one.residual for one in modes),
            n=count - discarded,
            method="largest ‖Jv − λv‖/(|λ|·‖v‖) of the eigenvectors that are used",
            reason=f"{discarded} of {count} vectors failed 1e-6 and are not used" if discarded else None,
        )
    return {
        "jacobian.residual": residual,
        "jacobian.zero_share": measured(
            sum(one.zeros for one in modes) / sum(one.count for one in modes),
            n=sum(one.count for one in modes),
            method="eigenvalues of neurons whose slope is zero, or below 1e-10 of the largest",
        ),
    }


def _plotted(modes: DenseModes) -> Measurements:
    """Eigenvalues with Im ≥ 0 for the figure, at most 400, the outermost ones all."""
    values = modes.values
    if values.size > _PLOTTED:
        rest = np.linspace(_PLOTTED // 2, values.size - 1, _PLOTTED - _PLOTTED // 2).round().astype(int)
        values = values[np.concatenate((np.arange(_PLOTTED // 2), rest))]
    method = "eigenvalues of one input's Jacobian with Im ≥ 0; their conjugates belong to them"
    return {
        "jacobian.eigenvalues_re": measured(_rounded(values.real), n=modes.count, method=method),
        "jacobian.eigenvalues_im": measured(_rounded(values.imag), n=modes.count, method=method),
    }


def _clipped(radii: Array) -> Array:
    return np.asarray(np.log(np.maximum(radii, R0)).mean(axis=1))


def _share(radii: Array) -> Array:
    return np.asarray((radii >= 1.0).mean(axis=1))


def _mean_positive_log(values: Array) -> float:
    positive = values[values > 0.0]
    return float(np.log(positive).mean()) if positive.size else math.nan


def _rounded(values: Array) -> tuple[float, ...]:
    """Five figures: what a figure can show."""
    return tuple(float(f"{value:.5g}") for value in values)
