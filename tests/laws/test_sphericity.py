"""Tests against noise: exact moments, calibrated p-values, power where there is structure."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from critaudit.errors import CritauditError
from critaudit.laws.nulls import gaussian_singular_values, stable_sample
from critaudit.laws.spectral_verdict import rank_test
from critaudit.laws.sphericity import noise_test


def draws(groups: int, rows: int, columns: int, repeats: int) -> list[np.ndarray]:
    rng = np.random.default_rng(11)
    return [
        np.concatenate([gaussian_singular_values(rows, columns, rng) for _ in range(groups)]) for _ in range(repeats)
    ]


@pytest.mark.parametrize(("groups", "rows", "columns"), [(1, 9, 64), (1, 16, 16), (4, 30, 10), (1, 64, 100)])
def test_given_noise_when_tested_then_moments_are_exact_and_p_values_uniform(
    groups: int, rows: int, columns: int
) -> None:
    repeats = 1500
    tests = [noise_test(values, rows, columns, groups=groups) for values in draws(groups, rows, columns, repeats)]
    inequality = np.array([test.inequality for test in tests])
    assert abs(inequality.mean()) < 5 / math.sqrt(repeats)
    assert inequality.std() == pytest.approx(1.0, abs=0.15)
    for name, slack in (("p_unequal", 0.03), ("p_even", 0.03), ("p_top", 0.06)):
        p = np.array([getattr(test, name) for test in tests])
        assert scipy.stats.kstest(p, "uniform").statistic < 1.63 * 1.6 / math.sqrt(repeats) + slack, name
    # Both questions together: at most a little above the level, because they are counted as if independent.
    p = np.array([test.p for test in tests])
    for level in (0.05, 0.01):
        assert scipy.stats.binom.sf(np.sum(p < level) - 1, repeats, 1.6 * level) > 1e-6


def test_given_signals_when_tested_then_each_question_finds_its_own() -> None:
    values = draws(1, 100, 100, 1)[0]
    spiked = np.concatenate([[1.3 * values[0]], values[1:]])
    assert noise_test(spiked, 100, 100).p_top < 1e-8
    even = noise_test(np.ones(100), 100, 100)
    assert even.even
    assert even.p < 1e-30
    assert even.inequality < -30
    scaled = noise_test(1e-200 * spiked, 100, 100)
    assert scaled.p_top == pytest.approx(noise_test(spiked, 100, 100).p_top, rel=1e-6)


@pytest.mark.parametrize(
    ("values", "rows", "columns", "message"),
    [
        (np.ones(4), 4, 100, "too small"),
        (np.ones(9), 10, 20, "all 10 of them"),
        (np.zeros(10), 10, 20, "all zero"),
        (np.full(10, np.nan), 10, 20, "not finite"),
    ],
)
def test_given_what_cannot_be_tested_then_one_line_says_why(
    values: np.ndarray, rows: int, columns: int, message: str
) -> None:
    with pytest.raises(CritauditError, match=message):
        noise_test(values, rows, columns)


@pytest.mark.parametrize("law", ["cauchy", "ties"])
def test_given_independent_entries_when_ranked_then_p_values_are_those_of_noise(law: str) -> None:
    rng = np.random.default_rng(12)
    found = []
    for _ in range(300):
        matrix = stable_sample(1.0, 0.0, (24, 40), rng) if law == "cauchy" else rng.integers(0, 3, (24, 40))
        found.append(rank_test(matrix.astype(np.float32)[np.newaxis], rng)[0])
    assert abs(np.mean([test.inequality for test in found])) < 5 / math.sqrt(300)
    assert np.std([test.inequality for test in found]) == pytest.approx(1.0, abs=0.25)
    assert np.mean([test.p < 0.05 for test in found]) < 0.12


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_given_other_scales_and_types_when_ranked_then_the_test_is_the_same(dtype: type) -> None:
    rng = np.random.default_rng(13)
    matrix = rng.standard_t(3, (1, 40, 60)) + 3.0
    plain, _ = rank_test(matrix, np.random.default_rng(0))
    other, _ = rank_test((8 * matrix - 20).astype(dtype), np.random.default_rng(0))
    assert other.inequality == pytest.approx(plain.inequality, abs=0.1)
    if dtype is np.float64:
        tiny, _ = rank_test(1e-250 * matrix, np.random.default_rng(0))
        assert tiny.inequality == pytest.approx(plain.inequality, abs=0.05)
