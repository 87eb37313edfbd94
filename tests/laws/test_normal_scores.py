"""Normal scores are those of the ranks, for every type, and the same for any arrangement."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import rankdata

from critaudit.laws.normal_scores import normal_scores


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_given_a_matrix_then_scores_are_those_of_the_ranks_within_their_steps(scale: float) -> None:
    values = (np.random.default_rng(0).standard_t(3, (200, 300)) * scale).astype(np.float32)
    scores = normal_scores(values, np.random.default_rng(1))(values)
    exact = ndtri((rankdata(values).reshape(values.shape) - 0.5) / values.size)
    # A step is 1/128 of the distance from the median.
    assert np.all(np.abs(scores - exact) <= 0.01 * np.abs(exact) + 0.02)


def test_given_another_arrangement_then_the_map_is_the_same() -> None:
    values = np.random.default_rng(2).standard_normal(50_000, dtype=np.float32)
    one = normal_scores(values, np.random.default_rng(0))
    two = normal_scores(np.random.default_rng(3).permutation(values), np.random.default_rng(0))
    assert (one.middle, one.scale) == (two.middle, two.scale)
    np.testing.assert_array_equal(one.scores, two.scores)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_given_few_levels_then_ties_are_broken_at_random_and_scores_ascend(dtype: type) -> None:
    # float16 levels once ended the whole audit: numpy.sort leaves them in disorder on some processors.
    values = (np.round(np.random.default_rng(5).standard_normal((384, 384)) * 10) / 10).astype(dtype)
    scores = normal_scores(values, np.random.default_rng(6))(values)
    assert abs(float(scores.mean())) < 0.02
    assert float(scores.std()) == pytest.approx(1.0, abs=0.01)
    means = [float(scores[values == level].mean()) for level in np.unique(values.astype(np.float64)).astype(dtype)]
    middle = [mean for mean in means if abs(mean) < 2.5]
    assert middle == sorted(middle)
