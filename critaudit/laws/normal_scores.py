"""Normal scores: the entries of a matrix made Gaussian by their ranks, which keeps their correlations only.

Independent entries of *any* law become independent Gaussian ones, so that the spectrum of the scores is that of noise
exactly where no arrangement of the entries is special: a comparison with all shuffles of the matrix, without a shuffle.
Heavy tails, which alone can make a few singular values large, are gone; what is left over is correlation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from critaudit.laws.moments import chunks
from critaudit.laws.order_statistics import in_ascending_order, order_statistics

# Larger arrays take their distribution from a sample of this size: it moves scores by about 0.01.
_SAMPLE = 2**16
_SHIFT = 16  # a float32 without its lower 16 bits: 128 steps per octave
_TIED = 0.02
_PIECE = 2**16


@dataclass(slots=True, eq=False)
class NormalScores:
    """A map from pieces of an array to the scores of their entries: Φ⁻¹ of the share of entries that are smaller.

    Entries that share a step (1/128 of their distance from the median) get the score of its middle; where one step
    holds more than 2 % of the entries (pruned, quantised or binary weights), ties are broken at random instead.
    """

    middle: float
    scale: float
    scores: NDArray[np.float32]
    below: NDArray[np.float32] | None
    share: NDArray[np.float32] | None
    rng: np.random.Generator = field(repr=False)

    def __call__(self, piece: NDArray[np.generic]) -> NDArray[np.float32]:
        """Scores of a piece, same shape, C-contiguous."""
        flat = np.ascontiguousarray(piece).reshape(-1)
        out = np.empty(flat.size, dtype=np.float32)
        for start in range(0, flat.size, _PIECE):
            part = slice(start, start + _PIECE)
            steps = _steps(flat[part], self.middle, self.scale)
            if self.below is None or self.share is None:
                np.take(self.scores, steps, out=out[part], mode="clip")
            else:
                rank = self.rng.random(steps.size, dtype=np.float32) * self.share[steps] + self.below[steps]
                out[part] = ndtri(np.clip(rank.astype(np.float64), 1e-9, 1.0 - 1e-9))
        return out.reshape(piece.shape)


def normal_scores(values: NDArray[np.generic], rng: np.random.Generator) -> NormalScores:
    """The scores' map for an array of finite real numbers of any shape; `rng` breaks ties and draws the sample.

    Monotone, so invariant under scale and shift; the same for any arrangement of up to 65,536 entries.
    """
    if values.size > _SAMPLE:
        flat = values.reshape(-1)
        sample = flat.take(rng.integers(0, flat.size, _SAMPLE, dtype=np.uint32 if flat.size < 2**32 else np.int64))
    else:
        sample = np.concatenate(list(chunks(values)))
    # Counts and order statistics do not depend on the arrangement of the entries, and neither does what follows.
    size = sample.size
    low, middle, high, largest = order_statistics(sample, (size // 4, size // 2, size * 3 // 4, size - 1))
    # Steps are relative, so any scale will do that float32 can hold.
    exponent = math.frexp((high - low) or largest - middle or 1.0)[1]
    scale = 1.0 if abs(exponent) < 60 else math.ldexp(1.0, max(-1000, min(1000, -exponent)))
    counts = in_ascending_order(np.bincount(_steps(sample, middle, scale), minlength=1 << (32 - _SHIFT)))
    occupied = np.flatnonzero(counts)
    bounds = np.concatenate([[0.0], np.cumsum(counts[occupied]) / size])
    shares = np.diff(bounds)
    smallest = 0.5 / size
    # What lies between occupied steps, or beyond them, has the score of the boundary.
    gaps = ndtri(np.clip(bounds, smallest, 1.0 - smallest))
    ascending = np.repeat(gaps, np.diff(occupied, prepend=-1, append=counts.size - 1))
    ascending[occupied] = ndtri(bounds[:-1] + 0.5 * shares)
    scores = _by_code(ascending)
    below = share = None
    if shares.max() > _TIED:
        tied = np.zeros(counts.size)
        tied[occupied] = shares
        starts = np.repeat(bounds, np.diff(occupied, prepend=-1, append=counts.size - 1))
        starts[occupied] = bounds[:-1]
        below, share = _by_code(starts), _by_code(tied)
    return NormalScores(middle, scale, scores, below, share, rng)


def _by_code(ascending: NDArray[np.float64]) -> NDArray[np.float32]:
    """From the order of the numbers to that of their codes."""
    half = ascending.size // 2
    return np.concatenate([ascending[half:], ascending[half - 1 :: -1]]).astype(np.float32)


def _steps(values: NDArray[np.generic], middle: float, scale: float) -> NDArray[np.intp]:
    """The upper 16 bits of each value's scaled distance from the middle as a float32."""
    with np.errstate(over="ignore"):
        if values.dtype == np.float32 and scale == 1.0:
            distance = np.subtract(values, np.float32(middle), dtype=np.float32)
        else:
            distance = ((values.astype(np.float64) - middle) * scale).astype(np.float32)
    distance += np.float32(0.0)  # one zero, not two
    steps: NDArray[np.intp] = (distance.view(np.uint32) >> np.uint32(_SHIFT)).astype(np.intp)
    return steps
