"""Noise, heavy-tailed noise, or structure? What the singular values of a weight matrix say, against its own size.

Three comparisons, each with a p-value: with independent Gaussian entries (closed form, `sphericity`); with the same
entries in any arrangement, through their normal scores (`normal_scores`), which tells tails from correlations; and with
independent stable entries of the fitted α (simulated). A shuffle of the entries shows what their tails alone do; where
they have none, it is as Gaussian noise, which needs no shuffle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.errors import CritauditError
from critaudit.laws.gram import Gram, gram_matrix
from critaudit.laws.marchenko_pastur import fit_marchenko_pastur
from critaudit.laws.moments import Moments
from critaudit.laws.normal_scores import normal_scores
from critaudit.laws.nulls import gaussian_draw, shuffle_, stable_null
from critaudit.laws.singular_values import leading_accurate, safe_scale
from critaudit.laws.sphericity import SMALLEST_SIDE, SMALLEST_SIZE, NoiseTest, noise_test, noise_test_of_sums

Array = NDArray[np.float64]
Verdict: TypeAlias = Literal[
    "indistinguishable from random",
    "heavy-tailed entries, no correlations",
    "correlated (trained) structure",
    "more even than random",
    "undetermined",
]

LEVEL = 0.05
# Structure and heavy tails are claimed at this level only; between the two, structure stays undetermined.
CLAIM = 0.01
STABLE_DRAWS = 39
STABLE_UP_TO = 2**18
# Up to this excess kurtosis of either sign (uniform numbers have −1.2), from this side on, and where neither an entry
# nor the mean reaches this share of the strength from which noise shows it, shuffled entries are as noise.
_LIGHT_KURTOSIS, _LIGHT_SIDE, _LIGHT_SHARE = 1.25, 64, 0.5
# Up to this excess kurtosis, the entries answer the test of sphericity as their normal scores do: to 0.03 deviations.
_GAUSSIAN_KURTOSIS = 0.06
# 2 − α in steps of a fifth: layers of one shape share their draws.
_ALPHA_STEPS = 0.002 * 1.2 ** np.arange(40)


@dataclass(frozen=True, slots=True)
class Shuffled:
    """One shuffle of the entries, or noise that stands for it, beside the matrix itself.

    `distance` is √Σ(σᵢ − σᵢ′)²/‖W‖_F of the ordered singular values: 0 where they agree, below √2 always. `traps`
    counts the other matrix's singular values beyond the edge of noise, which single large entries make.
    """

    distance: float
    traps: int


def arrangement_test(
    blocks: NDArray[np.generic], entries: Moments, singular_values: Array, rng: np.random.Generator
) -> tuple[NoiseTest, int]:
    """The matrix against its entries in any arrangement, and how many directions stand out.

    By `rank_test`; where the entries are as Gaussian ones, they are their own normal scores, and the matrix's
    `singular_values` (descending, all) answer. Raises CritauditError as `noise_test` does.
    """
    groups, rows, columns = blocks.shape
    if not _gaussian(entries, rows, columns):
        return rank_test(blocks, rng)
    test = noise_test(singular_values, rows, columns, groups=groups)
    if test.p >= CLAIM and test.p_top >= CLAIM:
        return test, 0  # what the largest is not, none is
    return test, fit_marchenko_pastur(singular_values, rows, columns, groups=groups).spikes


def rank_test(blocks: NDArray[np.generic], rng: np.random.Generator) -> tuple[NoiseTest, int]:
    """The matrix against its entries in any arrangement: a test of its normal scores, and how many of them are spikes.

    `blocks` has shape (groups, rows, columns) and finite entries. The spikes are directions that correlations make, not
    large entries. Raises CritauditError as `noise_test` does.
    """
    groups, rows, columns = blocks.shape
    scores = normal_scores(blocks, rng)
    if groups > 1 or min(rows, columns) < SMALLEST_SIDE or rows * columns < SMALLEST_SIZE:
        values = leading_accurate(blocks, 1.0, scores).values
        test = noise_test(values, rows, columns, groups=groups)
        return test, fit_marchenko_pastur(values, rows, columns, groups=groups).spikes
    gram = Gram(gram_matrix(blocks[0], 1.0, np.float32, scores))
    if gram.total <= 0.0:
        raise CritauditError("the scores are all zero: there is nothing to compare with noise")
    # Spikes are sought where a test rejects, and need all eigenvalues; the sums alone may be enough to reject.
    if noise_test_of_sums(0.0, gram.total, gram.squares, rows, columns).p >= CLAIM:
        test = noise_test_of_sums(gram.largest(), gram.total, gram.squares, rows, columns)
        if test.p >= CLAIM and test.p_top >= CLAIM:
            return test, 0  # what the largest is not, none is
    eigenvalues = gram.eigenvalues()
    test = noise_test_of_sums(float(eigenvalues[0]), gram.total, gram.squares, rows, columns)
    return test, fit_marchenko_pastur(np.sqrt(np.maximum(eigenvalues, 0.0)), rows, columns).spikes


def compare_shuffled(
    blocks: NDArray[np.generic], singular_values: Array, frobenius: float, rng: np.random.Generator
) -> Shuffled:
    """One shuffle of the entries, beside the `singular_values` (descending, all) and the norm of the matrix itself.

    The shuffle is done in place where `blocks` is contiguous and writeable: **its entries are in other places after**.
    """
    groups, rows, columns = blocks.shape
    if not (blocks.flags.c_contiguous and blocks.flags.writeable):
        blocks = np.array(blocks, order="C")
    shuffle_(blocks, rng)
    values = leading_accurate(blocks, safe_scale(frobenius)).values
    return _beside(values, singular_values, frobenius, groups, rows, columns)


def shuffles_to_noise(entries: Moments, rows: int, columns: int) -> bool:
    """Whether `compare_noise` may stand for `compare_shuffled`: the entries are light-tailed and their mean is small.

    Independent entries give the spectrum of Gaussian ones of the same variance up to corrections of the order of their
    excess kurtosis, smaller than what one draw differs from the next by; a part of rank one, such as one entry or the
    mean, leaves the spectrum of rows × columns noise as it is while it is weaker than (rows · columns)^¼ deviations
    (Benaych-Georges & Nadakuditi 2012). Half of that is asked for, and 64 rows and columns.
    """
    return _light(entries, rows, columns, _LIGHT_KURTOSIS)


def _gaussian(entries: Moments, rows: int, columns: int) -> bool:
    """Whether entries are so close to Gaussian ones that no test of their singular values notices.

    Over all arrangements the mean of Σσ⁴/(Σσ²)² depends on the mean and the excess kurtosis κ of the entries alone: κ
    moves it by κ/2 of its standard deviation, the largest mean that is allowed by 1/32.
    """
    return _light(entries, rows, columns, _GAUSSIAN_KURTOSIS)


def _light(entries: Moments, rows: int, columns: int, most: float) -> bool:
    """Whether the excess kurtosis is at most `most`, and neither a single entry nor the mean shows beside noise."""
    deviation, kurtosis, mean = entries.standard_deviation, entries.excess_kurtosis, entries.mean
    low, high = entries.minimum, entries.maximum
    if not deviation or kurtosis is None or mean is None or low is None or high is None:
        return False
    strongest = max(high - mean, mean - low, abs(mean) * math.sqrt(rows * columns))
    return (
        min(rows, columns) >= _LIGHT_SIDE
        and abs(kurtosis) <= most
        and strongest <= _LIGHT_SHARE * (rows * columns) ** 0.25 * deviation
    )


def compare_noise(
    singular_values: Array, frobenius: float, rows: int, columns: int, *, groups: int = 1, seed: int = 0
) -> Shuffled:
    """`compare_shuffled` where `shuffles_to_noise` holds, by one Gaussian matrix of the same size and norm.

    Of the same law as a shuffle (`reports/calibration/shuffles.md`), without the matrix; the draw is kept for the next
    layer of this shape.
    """
    noise = gaussian_draw(groups, rows, columns, seed)
    values = noise * (frobenius / float(np.linalg.norm(noise)))
    return _beside(values, singular_values, frobenius, groups, rows, columns)


def _beside(values: Array, known: Array, frobenius: float, groups: int, rows: int, columns: int) -> Shuffled:
    distance = float(np.linalg.norm((values - known) / frobenius))
    return Shuffled(distance, fit_marchenko_pastur(values, rows, columns, groups=groups).spikes)


def stable_p_value(singular_values: Array, rows: int, columns: int, alpha: float, *, groups: int = 1) -> float:
    """Two-sided p-value of Σσ⁴/(Σσ²)² among matrices of independent symmetric stable entries; at least 0.05.

    α is rounded to a tenth of 2 − α or better, so that layers share their draws.
    """
    near = 2.0 - float(_ALPHA_STEPS[np.argmin(np.abs(np.log(_ALPHA_STEPS / max(2.0 - alpha, 1e-6))))])
    null = stable_null({"inequality": inequality}, near, rows, columns, groups=groups, repeats=STABLE_DRAWS)
    return null["inequality"].p_value(inequality(singular_values))


def inequality(singular_values: Array) -> float:
    """Σσ⁴/(Σσ²)²: one over the participation ratio."""
    squares = np.square(singular_values / singular_values[0])
    return float(np.square(squares).sum() / squares.sum() ** 2)


def judge(gaussian: NoiseTest, ranks: NoiseTest) -> tuple[Verdict, str]:
    """The verdict, and the reason in words. `ranks` decides on structure, `gaussian` then only on the entries' law."""
    if ranks.p < CLAIM:
        if ranks.even:
            return "more even than random", (
                f"the directions are more alike than independent entries make them ({_shown(ranks.p)}): orthogonal "
                "initialisation does that, and so can training"
            )
        return "correlated (trained) structure", f"no random arrangement of these entries gives it ({_shown(ranks.p)})"
    if ranks.p < LEVEL:
        return "undetermined", (
            f"{_shown(ranks.p)}: between {CLAIM:.0%}, below which structure is claimed, and {LEVEL:.0%}, above which "
            "the matrix counts as random"
        )
    if gaussian.p < CLAIM and not gaussian.even:
        return "heavy-tailed entries, no correlations", (
            f"more unequal than Gaussian noise ({_shown(gaussian.p)}), but as any random arrangement of these entries "
            f"({_shown(ranks.p)})"
        )
    return "indistinguishable from random", f"as any random arrangement of these entries ({_shown(ranks.p)})"


def _shown(p: float) -> str:
    return f"p = {p:.2g}" if p >= 1e-12 else "p < 1e-12"
