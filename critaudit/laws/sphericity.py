"""Is a matrix noise? Tests of its singular values against independent Gaussian entries, in closed form.

Two questions are asked, neither of which depends on the scale of the matrix: are the singular values as unequal as
those of noise (John's test of sphericity), and is the largest one too large for noise (Tracy–Widom)? No null is drawn:
the moments of the first are exact for every size, and p-values of 1e-30 are as good as those of 0.05.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammainc, gammaincc

from critaudit.errors import CritauditError

# Below, p-values of noise at the 1 % level come out up to twice too small.
SMALLEST_SIDE, SMALLEST_SIZE = 8, 128
# Chiani (2014): the Tracy–Widom law for real matrices as a shifted gamma law; its mean and variance.
_SHAPE, _UNIT, _SHIFT = 46.446, 0.186054, 9.84801
_MEAN, _VARIANCE = -1.2065335745820, 1.607781034581


@dataclass(frozen=True, slots=True)
class NoiseTest:
    """How far singular values are from those of independent Gaussian entries.

    `inequality` is Σσ⁴/(Σσ²)² in standard deviations from its mean under noise: positive where the strength sits in
    fewer directions than noise puts it, negative where it is spread more evenly (orthogonal matrices). `top` is the
    largest squared singular value in the same way. `p_unequal`, `p_even` and `p_top` are one-sided p-values; `p` is
    that of both questions together, min(1, 2·min(2·p_unequal, 2·p_even, p_top)) (Bonferroni).
    """

    inequality: float
    top: float
    p_unequal: float
    p_even: float
    p_top: float

    @property
    def p(self) -> float:
        return min(1.0, 2.0 * min(2.0 * self.p_unequal, 2.0 * self.p_even, self.p_top))

    @property
    def even(self) -> bool:
        """Whether what speaks most against noise is that the directions are too equal."""
        return 2.0 * self.p_even < min(2.0 * self.p_unequal, self.p_top)


def noise_test(singular_values: ArrayLike, rows: int, columns: int, *, groups: int = 1) -> NoiseTest:
    """Test all singular values of a rows × columns matrix, or the pooled ones of `groups` such blocks.

    Valid for at least 8 rows and columns and 128 entries in a block. Oracle: simulation (`nulls.gaussian_null`).
    Source: John 1971; Ledoit & Wolf 2002 (asymptotics); the moments of tr W² are those of the real Wishart law.
    Raises CritauditError for fewer or more values than groups·min(rows, columns), smaller blocks, or only zeros.
    """
    values = np.asarray(singular_values, dtype=np.float64).ravel()
    small, large = min(rows, columns), max(rows, columns)
    if small < SMALLEST_SIDE or small * large < SMALLEST_SIZE:
        raise CritauditError(
            f"a matrix of {rows}×{columns} is too small to be told from noise; {SMALLEST_SIDE} rows and columns and "
            f"{SMALLEST_SIZE} entries are needed"
        )
    if values.size != groups * small:
        raise CritauditError(
            f"{values.size} singular values were given for {groups} blocks of {rows}×{columns}; all "
            f"{groups * small} of them are needed"
        )
    largest = float(values.max())
    if not 0.0 < largest < math.inf:
        raise CritauditError("the singular values are all zero or not finite: there is nothing to compare with noise")
    squares = np.square(values / largest)
    return noise_test_of_sums(1.0, float(squares.sum()), float(squares @ squares), rows, columns, groups=groups)


def noise_test_of_sums(
    largest: float, total: float, fourth: float, rows: int, columns: int, *, groups: int = 1
) -> NoiseTest:
    """`noise_test` from σ₁², Σσ² and Σσ⁴, which cost less than all singular values; sizes are not checked."""
    small, large = min(rows, columns), max(rows, columns)
    deviation, skewness = _inequality(fourth / total**2, small, large, groups)
    shape = 4.0 / skewness**2
    place = max(0.0, shape + deviation * math.sqrt(shape))
    top = _top(groups * small * large * largest / total, small, large, groups)
    p_top = float(gammaincc(_SHAPE, max(0.0, (top + _SHIFT) / _UNIT)))
    return NoiseTest(
        inequality=deviation,
        top=(top - _MEAN) / math.sqrt(_VARIANCE),
        p_unequal=float(gammaincc(shape, place)),
        p_even=float(gammainc(shape, place)),
        p_top=-math.expm1(groups * math.log1p(-p_top)) if p_top < 1.0 else 1.0,
    )


def _inequality(observed: float, small: int, large: int, groups: int) -> tuple[float, float]:
    """Σσ⁴/(Σσ²)² in standard deviations from its mean under noise, and the skewness of its null distribution.

    Under noise the ratio is independent of the scale Σσ², a χ² variable of all degrees of freedom, so that its moments
    are ratios of moments. The skewness is the leading 4(1/p + 1/n), with a factor that simulation asks for.
    """
    entries = groups * small * large
    mean = groups * small * large * (small + large + 1.0)
    cross = small * large
    variance = 4.0 * groups * cross * (2.0 * (small**2 + large**2) + 5.0 * (cross + small + large + 1.0))
    first = mean / (entries * (entries + 2.0))
    # The difference of the second moment and the square of the first, without cancellation.
    ratio = entries * (entries + 2.0) / ((entries + 4.0) * (entries + 6.0))
    below = entries * (entries + 2.0) * (entries + 4.0) * (entries + 6.0)
    spread = variance / below - first**2 * (1.0 - ratio)
    skewness = 4.0 * (1.0 / small + 1.0 / large) * (1.0 - 10.0 / cross) / math.sqrt(groups)
    return (observed - first) / math.sqrt(spread), skewness


def _top(largest: float, small: int, large: int, groups: int) -> float:
    """The largest squared singular value, in units of the mean squared entry, on the scale of the Tracy–Widom law.

    Centre and scale of Ma (2012); dividing by the measured mean instead of the true one takes its share of the variance
    away (Nadler 2011).
    """
    a, b = math.sqrt(large - 0.5), math.sqrt(small - 0.5)
    centre = (a + b) ** 2
    scale = (a + b) * (1.0 / a + 1.0 / b) ** (1.0 / 3.0)
    corrected = math.sqrt(max(scale**2 - 2.0 * centre**2 / (groups * small * large * _VARIANCE), 0.1 * scale**2))
    return float((largest - centre - scale * _MEAN) / corrected + _MEAN)
