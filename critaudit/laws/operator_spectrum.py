"""All singular values of a convolution as an operator on images: how they are distributed over frequencies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from critaudit.laws.convolution import ConvolutionNorm, by_tap_and_scale, decomposed, norm_and_values

# Multiplications spent where not every frequency is decomposed, and the fewest and most frequencies then.
_WORK, _SAMPLED = 7.5e8, (2, 16)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True, eq=False)
class OperatorSpectrum:
    """All singular values of a convolution: those of its symbols at `frequencies` of them, circular padding, stride 1.

    `image` is the size of the images whose operator was decomposed at every frequency (conjugate ones once); None where
    the symbols are so large that only some frequencies, spread evenly, were decomposed. `quantiles` maps a probability
    to the value that this share of singular values stays below, with its standard error over frequencies (None where
    every frequency took part). `mean_log` is the mean of ln σ, with `mean_log_error`; None where more than
    a hundredth of the values, `unresolved` of all, is not told from zero. `condition` is the largest over the smallest
    value found; None where that is not told from zero.
    """

    norm: ConvolutionNorm
    image: tuple[int, ...] | None
    frequencies: int
    count: int
    quantiles: Mapping[float, tuple[float, float | None]]
    mean_log: float | None
    mean_log_error: float | None
    condition: float | None
    unresolved: float


def operator_spectrum(
    blocks: NDArray[np.generic], kernel: tuple[int, ...], *, matrix_norm: float | None = None, seed: int = 0
) -> OperatorSpectrum:
    """Norm and distribution of the singular values of a convolution; arguments and errors as for `convolution_norm`.

    Blocks of up to 96 channels on one side are decomposed at every frequency of images whose side is eight times the
    kernel's degree (16×16 for a 3×3 kernel); larger ones at two to sixteen frequencies of a Kronecker sequence, with
    the error that follows from how much these differ. Values below 1e-3 of the largest are not resolved (float32).
    Oracle: the explicit circulant matrix. Source: Sedghi, Gupta & Long 2019.
    """
    norm, values, weights, counts = norm_and_values(blocks, kernel, matrix_norm, seed)
    if values is None:
        values = _sampled(blocks, kernel)
        weights = np.ones(len(values))
    return _summarise(norm, values, weights, counts)


def _sampled(blocks: NDArray[np.generic], kernel: tuple[int, ...]) -> NDArray[np.float64]:
    """Singular values, ascending, at a few frequencies spread evenly over all, shape (frequencies, values)."""
    by_tap, scale = by_tap_and_scale(blocks, math.prod(kernel))
    small, large = sorted(by_tap.shape[-2:])
    work = 4 * small**2 * large + 16 * small**3 / 3
    number = int(min(max(_WORK / work, _SAMPLED[0]), _SAMPLED[1]))
    # Multiples of powers of the generalised golden ratio cover the torus evenly (Kronecker sequence).
    root = _golden(len(kernel))
    steps = 2 * np.pi * np.outer(np.arange(number) + 0.5, root ** -np.arange(1.0, len(kernel) + 1))
    positions = np.stack([grid.ravel() for grid in np.indices(kernel)], axis=0)
    return scale * decomposed(by_tap, np.asarray(np.exp(-1j * (steps @ positions)), np.complex64))


def _golden(dimensions: int) -> float:
    """The root above 1 of x^{d+1} = x + 1."""
    x = 1.5
    for _ in range(60):
        x = (1 + x) ** (1 / (dimensions + 1))
    return x


def _summarise(
    norm: ConvolutionNorm,
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    image: tuple[int, ...] | None,
) -> OperatorSpectrum:
    """Quantiles, mean logarithm and condition of values by frequency."""
    frequencies, each = values.shape
    largest = float(values.max())
    floor = largest * math.sqrt(2.0 * 2.0**-23 * math.sqrt(each))
    unresolved = float(weights @ np.mean(values <= floor, axis=1) / weights.sum())
    known = unresolved <= 0.01 and largest > 0.0
    flat, shares = values.ravel(), np.repeat(weights, each)
    order = np.argsort(flat)
    middles = np.cumsum(shares[order]) - 0.5 * shares[order]
    probabilities = np.array(QUANTILES)
    quantiles = np.interp(probabilities * middles[-1] / (1 - 0.5 / flat.size), middles, flat[order])
    logs = np.log(np.maximum(values, floor if floor > 0.0 else 1.0)).mean(axis=1)
    errors: list[float | None] = [None] * len(QUANTILES)
    log_error = None
    if image is None and frequencies > 1:
        root = math.sqrt(frequencies)
        errors = [float(error) for error in np.quantile(values, probabilities, axis=1).std(axis=1, ddof=1) / root]
        log_error = float(logs.std(ddof=1)) / root
    smallest = float(values.min())
    return OperatorSpectrum(
        norm=norm,
        image=image,
        frequencies=frequencies,
        count=int(weights.sum()) * each if image is not None else values.size,
        quantiles=MappingProxyType(
            {p: (float(q), e) for p, q, e in zip(QUANTILES, quantiles.tolist(), errors, strict=True)}
        ),
        mean_log=float(weights @ logs / weights.sum()) if known else None,
        mean_log_error=log_error if known else None,
        condition=largest / smallest if smallest > floor else None,
        unresolved=unresolved,
    )
