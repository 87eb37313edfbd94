"""A convolution as the operator that it is: its norm over all images, not the norm of its unrolled kernel.

With circular padding a convolution is diagonal in frequency: on each frequency (u, v) it acts as the symbol
K̂(u, v) = Σ_ab K[:, :, a, b]·e^{−i(ua+vb)}, a rows × columns matrix, and its singular values are those of all symbols
together (Sedghi, Gupta & Long 2019). Zero padding and a stride can only lower the norm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvalsh_tridiagonal, lapack

from critaudit.errors import CritauditError
from critaudit.laws.singular_values import frobenius_norm

_Complex: TypeAlias = NDArray[np.complexfloating[Any, Any]]

# Frequencies per dimension over the kernel's extent: for 3×3 the supremum is then at most 4 % (17 % for large matrices)
# higher than the largest value on the grid.
_OVERSAMPLING, _OVERSAMPLING_LARGE = 8, 3
_MAX_FREQUENCIES = 1024
# Symbols up to this size are decomposed fully; larger ones are followed from frequency to frequency by a power method.
_FULL_UP_TO = 96
_BATCHED_UP_TO = 24
_POWER_STEPS = 3
_CANDIDATES = 3
_LANCZOS_STEPS = 80


@dataclass(frozen=True, slots=True)
class ConvolutionNorm:
    """The operator norm of a convolution on images of any size, with circular padding and stride 1.

    `norm` is the largest singular value that was found on a grid of `frequencies`: a lower bound of the supremum over
    all image sizes. Where `every_frequency` was decomposed it is the grid's maximum; else a power method looked for the
    best one and may be some per cent low. `upper` is a proven upper bound. `stable_rank` is Σσ²/σ_max² per pixel; Σσ²
    per pixel is the kernel's Frobenius norm squared (Parseval).
    """

    norm: float
    upper: float
    stable_rank: float
    frequencies: int
    every_frequency: bool


def convolution_norm(
    blocks: NDArray[np.generic], kernel: tuple[int, ...], *, matrix_norm: float | None = None, seed: int = 0
) -> ConvolutionNorm:
    """The operator norm for kernel blocks of shape (groups, rows, columns·prod(kernel)).

    That is what `WeightMatrix.read` gives: rows are outputs, the last axis runs over (input channel, *kernel) in C
    order. Peak memory over the call: 1.5 times the kernel in float32. Oracle: the SVD of the explicit circulant matrix.
    `matrix_norm` is the spectral norm of the blocks, where known: it tightens the upper bound. Invariant under
    transposition of the channels.
    Raises CritauditError for shapes that do not fit and for non-finite entries.
    """
    return norm_and_values(blocks, kernel, matrix_norm, seed)[0]


def norm_and_values(
    blocks: NDArray[np.generic], kernel: tuple[int, ...], matrix_norm: float | None, seed: int
) -> tuple[ConvolutionNorm, NDArray[np.float64] | None, NDArray[np.float64], tuple[int, ...] | None]:
    """The norm; where every frequency of a grid was decomposed its values by frequency, weights and the grid."""
    size = math.prod(kernel)
    if blocks.ndim != 3 or not kernel or blocks.size == 0 or blocks.shape[2] % size:
        raise CritauditError(f"blocks of shape {blocks.shape} do not fit a kernel of size {kernel}")
    groups, rows, wide = blocks.shape
    frobenius = frobenius_norm(blocks)
    if not math.isfinite(frobenius):
        raise CritauditError("the kernel has NaN or infinite entries, or entries too large to square")
    if frobenius == 0.0:
        nothing = np.zeros((1, groups * min(rows, wide // size)))
        return ConvolutionNorm(0.0, 0.0, 0.0, 0, True), nothing, np.ones(1), None
    small = groups > 1 or min(rows, wide // size) <= _FULL_UP_TO
    counts = _grid(kernel, _OVERSAMPLING if small else _OVERSAMPLING_LARGE)
    phases, weights = _phases(kernel, counts)
    by_tap, scale = by_tap_and_scale(blocks, size)
    values = scale * decomposed(by_tap, phases) if small else None
    norm = float(values.max()) if values is not None else scale * _by_power(by_tap[:, 0], phases, seed)
    # K̂(ω) is the unrolled kernel times a matrix of norm √size.
    upper = math.sqrt(size) * min(frobenius, frobenius if matrix_norm is None else matrix_norm * (1 + 1e-5))
    if small:
        upper = min(upper, norm * _rise_between(kernel, counts))
    found = ConvolutionNorm(norm, max(norm, upper), frobenius**2 / norm**2, len(phases), small)
    return found, values, weights, counts if small else None


def by_tap_and_scale(blocks: NDArray[np.generic], size: int) -> tuple[NDArray[np.float32], float]:
    """The kernel as (taps, groups, rows, input channels) in units of its largest entry, and that entry."""
    groups, rows, wide = blocks.shape
    scale = float(np.abs(blocks).max())
    taps = blocks.reshape(groups, rows, wide // size, size)
    by_tap = np.array(np.moveaxis(taps, -1, 0), dtype=np.float32, order="C")  # a copy: it is scaled in place
    by_tap /= np.float32(scale)
    return by_tap, scale


def _rise_between(kernel: tuple[int, ...], counts: tuple[int, ...]) -> float:
    """How much larger the symbol, a trigonometric polynomial, can be between the grid points than on them.

    Around a maximum |p(t)| ≥ max·cos(kt/2) for a kernel of extent k+1 (Duffin & Schaeffer 1938), and a grid of n points
    has one within π/n.
    """
    return math.prod(1 / math.cos(math.pi * (k - 1) / (2 * n)) for k, n in zip(kernel, counts, strict=True))


def _grid(kernel: tuple[int, ...], oversampling: int) -> tuple[int, ...]:
    """Frequencies per dimension: `oversampling` times the degree, fewer where that would be too many in all."""
    counts = [max(oversampling * (k - 1), 1) for k in kernel]
    while math.prod(counts) > _MAX_FREQUENCIES:
        largest = max(range(len(counts)), key=counts.__getitem__)
        if counts[largest] <= 2 * kernel[largest]:
            break
        counts[largest] = max(counts[largest] * 3 // 4, 2 * kernel[largest])
    return tuple(counts)


def _phases(kernel: tuple[int, ...], counts: tuple[int, ...]) -> tuple[NDArray[np.complex64], NDArray[np.float64]]:
    """e^{−i·frequency·tap}, shape (frequencies, taps), neighbours next to each other; conjugate frequencies once.

    And how many frequencies of the whole grid each stands for, one or two.
    """
    axes = [2 * np.pi * np.arange(n) / n for n in counts]
    axes[0] = axes[0][: counts[0] // 2 + 1]  # real kernels: K̂(−ω) is the conjugate of K̂(ω)
    frequencies = np.stack([grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")], axis=1)
    positions = np.stack([grid.ravel() for grid in np.indices(kernel)], axis=0)
    single = np.isclose(np.sin(frequencies[:, 0]), 0.0, atol=1e-9)
    return np.asarray(np.exp(-1j * (frequencies @ positions)), np.complex64), np.where(single, 1.0, 2.0)


def _symbols(by_tap: NDArray[np.float32], phases: NDArray[np.complex64]) -> Iterator[NDArray[np.complex64]]:
    """The symbols of a few frequencies at a time, shape (some frequencies, …), in half the memory of the kernel."""
    size = len(by_tap)
    flat = by_tap.reshape(size, -1)
    step = max(1, size // 4)
    for start in range(0, len(phases), step):
        some = phases[start : start + step]
        symbols = np.empty((len(some), flat.shape[1]), np.complex64)
        symbols.real = some.real @ flat
        symbols.imag = some.imag @ flat
        yield symbols.reshape(len(some), *by_tap.shape[1:])


def decomposed(by_tap: NDArray[np.float32], phases: NDArray[np.complex64]) -> NDArray[np.float64]:
    """Singular values of every symbol, shape (frequencies, groups · smaller side); those of a block ascend."""
    found = []
    for symbols in _symbols(by_tap, phases):
        if 1 in symbols.shape[-2:]:
            values = np.linalg.norm(symbols, axis=(-2, -1))
        else:
            # Squared, values below 1e-3 of the largest drown; eigenvalues come three times faster.
            narrow = symbols if symbols.shape[-2] <= symbols.shape[-1] else symbols.conj().swapaxes(-2, -1)
            gram = narrow @ narrow.conj().swapaxes(-2, -1)
            values = np.sqrt(np.maximum(_eigenvalues(gram), 0.0))
        found.append(values.reshape(len(symbols), -1).astype(np.float64))
    return np.concatenate(found)


def _eigenvalues(grams: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Eigenvalues of a stack of Hermitian matrices, which are overwritten."""
    size = grams.shape[-1]
    if size <= _BATCHED_UP_TO:
        return np.asarray(np.linalg.eigvalsh(grams), np.float32)
    # NumPy's driver works without blocks, in three times the time.
    flat = grams.reshape(-1, size, size)
    values = np.empty((len(flat), size), np.float32)
    work = int(lapack.chetrd_lwork(size, lower=0)[0].real)
    for gram, row in zip(flat, values, strict=True):
        _, diagonal, beside, _, _ = lapack.chetrd(gram.T, lower=0, lwork=work, overwrite_a=1)
        row[:], failed = lapack.ssterf(diagonal, beside)
        if failed:
            raise np.linalg.LinAlgError(f"the singular values of a {size}-channel symbol did not converge")
    return values.reshape(grams.shape[:-1])


def _by_power(by_tap: NDArray[np.float32], phases: NDArray[np.complex64], seed: int) -> float:
    """Screen the frequencies with a warm-started power method, then solve exactly at the best few."""
    vector: _Complex = np.random.default_rng(seed).standard_normal((by_tap.shape[2],)).astype(np.complex64)
    screened = []
    for symbols in _symbols(by_tap, phases):
        for symbol in symbols:
            vector, value = _power(symbol, vector)
            screened.append(value)
    best = phases[np.argsort(screened)[-_CANDIDATES:]]
    return max(_largest(symbol, vector) for symbols in _symbols(by_tap, best) for symbol in symbols)


def _power(symbol: NDArray[np.complex64], vector: _Complex) -> tuple[_Complex, float]:
    value = 0.0
    for _ in range(_POWER_STEPS):
        image = symbol @ vector
        vector = (image.conj() @ symbol).conj()
        length = float(np.linalg.norm(vector))
        if length == 0.0:
            return np.ones_like(vector), 0.0
        vector = np.divide(vector, length, dtype=np.complex64)
        value = math.sqrt(length)
    return vector, value


def _largest(symbol: NDArray[np.complex64], start: _Complex) -> float:
    """The largest singular value by Lanczos steps on the Gram operator, with full reorthogonalisation."""
    steps = min(_LANCZOS_STEPS, *symbol.shape)
    basis = np.zeros((steps, symbol.shape[1]), np.complex64)
    diagonal: list[float] = []
    beside: list[float] = []
    vector, value = start / np.linalg.norm(start), 0.0
    for step in range(steps):
        basis[step] = vector
        image = symbol @ vector
        vector = (image.conj() @ symbol).conj()
        diagonal.append(float(np.vdot(image, image).real))
        known = basis[: step + 1]
        for _ in range(2):  # once loses orthogonality, twice is enough
            vector = vector - (known.conj() @ vector) @ known
        before, value = value, float(eigvalsh_tridiagonal(diagonal, beside)[-1])
        length = float(np.linalg.norm(vector))
        if value - before <= 1e-7 * value or length <= 1e-6 * value:
            break
        beside.append(length)
        vector = (vector / np.float32(length)).astype(np.complex64)
    return math.sqrt(max(value, 0.0))
