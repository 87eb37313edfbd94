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
        sample = flat[rng.integers(0, flat.size, _SAMPLE, dtype=np.uint32 if flat.size < 2**32 else np.int64)]
    else:
        sample = np.concatenate(list(chunks(values)))
    # In ascending order already: what follows does not depend on the arrangement of the entries.
    sample.sort()
    middle = float(sample[sample.size // 2])
    spread = (
        (float(sample[sample.size * 3 // 4]) - float(sample[sample.size // 4])) or float(sample[-1]) - middle or 1.0
    )
    # Steps are relative, so any scale will do that float32 can hold.
    exponent = math.frexp(spread)[1]
    scale = 1.0 if abs(exponent) < 60 else math.ldexp(1.0, max(-1000, min(1000, -exponent)))
    # Codes of positive floats ascend, those of negative ones (sign bit set) descend.
    half = 1 << (31 - _SHIFT)
    order = np.concatenate([np.arange(2 * half - 1, half - 1, -1), np.arange(half)])
    counts = np.bincount(_steps(sample, middle, scale), minlength=2 * half)[order]
    occupied = counts > 0
    shares = counts[occupied] / sample.size
    bounds = np.concatenate([[0.0], np.cumsum(shares)])
    smallest = 0.5 / sample.size
    ascending = ndtri(np.clip(bounds, smallest, 1.0 - smallest))[np.cumsum(occupied)]
    ascending[occupied] = ndtri(bounds[:-1] + 0.5 * shares)
    scores = np.empty(2 * half, dtype=np.float32)
    scores[order] = ascending
    below = share = None
    if shares.max() > _TIED:
        below, share = np.empty_like(scores), np.zeros_like(scores)
        below[order] = bounds[np.cumsum(occupied)] - counts / sample.size
        share[order] = counts / sample.size
    return NormalScores(middle, scale, scores, below, share, rng)


def _steps(values: NDArray[np.generic], middle: float, scale: float) -> NDArray[np.intp]:
    """The upper 16 bits of each value's scaled distance from the middle as a float32."""
    with np.errstate(over="ignore"):
        if values.dtype == np.float32 and scale == 1.0:
            distance = np.subtract(values, np.float32(middle), dtype=np.float32)
        else:
            distance = ((values.astype(np.float64) - middle) * scale).astype(np.float32)
    steps: NDArray[np.intp] = (distance.view(np.uint32) >> np.uint32(_SHIFT)).astype(np.intp)
    return steps
