"""A shuffle and the noise that stands for it: when it may, and that nobody could tell them apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from critaudit.laws.moments import moments
from critaudit.laws.spectral_verdict import (
    arrangement_test,
    compare_noise,
    compare_shuffled,
    rank_test,
    shuffles_to_noise,
)
from critaudit.laws.spectrum import spectrum
from critaudit.laws.sphericity import NoiseTest, noise_test

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], Array]
LIGHT: dict[str, Draw] = {
    "Gaussian": lambda rng, rows, columns: rng.standard_normal((rows, columns)),
    "uniform": lambda rng, rows, columns: rng.uniform(-1, 1, (rows, columns)),
    "two humps": lambda rng, rows, columns: (
        rng.choice([-1.0, 1.0], (rows, columns)) + 0.55 * rng.standard_normal((rows, columns))
    ),
    "pruned": lambda rng, rows, columns: rng.standard_normal((rows, columns)) * (rng.random((rows, columns)) < 0.8),
    "a mean": lambda rng, rows, columns: rng.standard_normal((rows, columns)) + 0.4 * (rows * columns) ** -0.25,
}
OTHER: dict[str, Draw] = {
    "signs": lambda rng, rows, columns: rng.choice([-1.0, 1.0], (rows, columns)),
    "Laplace": lambda rng, rows, columns: rng.laplace(size=(rows, columns)),
    "Student-t": lambda rng, rows, columns: rng.standard_t(3, (rows, columns)),
    "sparse": lambda rng, rows, columns: rng.standard_normal((rows, columns)) * (rng.random((rows, columns)) < 0.1),
    "one large entry": lambda rng, rows, columns: np.where(
        np.arange(rows * columns).reshape(rows, columns) == 5, 12.0, rng.standard_normal((rows, columns))
    ),
    "a large mean": lambda rng, rows, columns: rng.standard_normal((rows, columns)) + 0.2,
}


def serves(matrix: NDArray[np.floating]) -> bool:
    return shuffles_to_noise(moments(matrix), *matrix.shape)


@pytest.mark.parametrize("law", LIGHT)
def test_given_light_tailed_entries_when_asked_then_noise_may_stand_for_their_shuffle(law: str) -> None:
    matrix = LIGHT[law](np.random.default_rng(1), 128, 128)
    assert serves(matrix)
    assert serves(1e-8 * matrix)
    assert serves(np.ascontiguousarray(matrix.T))


@pytest.mark.parametrize("law", OTHER)
def test_given_entries_or_a_mean_that_show_when_shuffled_then_noise_may_not_stand_for_it(law: str) -> None:
    assert not serves(OTHER[law](np.random.default_rng(1), 128, 128))


def test_given_small_or_constant_matrices_when_asked_then_noise_does_not_stand_for_them() -> None:
    assert not serves(np.random.default_rng(1).uniform(-1, 1, (40, 400)))
    assert not serves(np.full((128, 128), 0.1))
    assert not serves(np.zeros((128, 128)))


@pytest.mark.parametrize("law", LIGHT)
def test_given_light_tailed_entries_when_compared_then_noise_is_as_far_away_as_a_shuffle(law: str) -> None:
    rng = np.random.default_rng([7, *law.encode()])
    shuffled, drawn, traps = [], [], 0
    for seed in range(150):
        matrix = LIGHT[law](rng, 64, 80).astype(np.float32)
        found = spectrum(matrix)
        shuffled.append(compare_shuffled(matrix[np.newaxis], found.singular_values, found.frobenius_norm, rng).distance)
        beside = compare_noise(found.singular_values, found.frobenius_norm, 64, 80, seed=seed)
        drawn.append(beside.distance)
        traps += beside.traps > 0
    assert np.mean(drawn) == pytest.approx(np.mean(shuffled), rel=0.15)
    assert scipy.stats.ks_2samp(shuffled, drawn).pvalue > 1e-6
    assert traps <= 10  # of 150 at one per cent each


def test_given_structure_when_compared_then_noise_and_shuffle_say_the_same() -> None:
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((129, 200))
    matrix = (rows[1:] + 0.5 * rows[:-1]).astype(np.float32)
    assert serves(matrix)
    found = spectrum(matrix)
    known = found.singular_values, found.frobenius_norm
    noise = compare_noise(*known, 128, 200)
    shuffle = compare_shuffled(matrix[np.newaxis].copy(), *known, rng)
    assert noise.distance > 0.05
    assert noise.distance == pytest.approx(shuffle.distance, rel=0.05)
    assert noise.traps == shuffle.traps == 0


def test_given_a_shape_and_a_seed_when_compared_again_then_nothing_changes_unless_the_seed_does() -> None:
    found = spectrum(LIGHT["Gaussian"](np.random.default_rng(4), 70, 90))
    known = found.singular_values, found.frobenius_norm
    one = compare_noise(*known, 70, 90)
    assert compare_noise(*known, 90, 70) == one
    assert compare_noise(known[0] * 1e6, known[1] * 1e6, 70, 90).distance == pytest.approx(one.distance, rel=1e-9)
    assert compare_noise(*known, 70, 90, seed=1) != one


def test_given_groups_when_compared_then_their_values_are_pooled() -> None:
    rng = np.random.default_rng(5)
    blocks = rng.standard_normal((3, 64, 64)).astype(np.float32)
    found = spectrum(blocks)
    noise = compare_noise(found.singular_values, found.frobenius_norm, 64, 64, groups=3)
    assert 0.0 < noise.distance < 0.05


def arranged(matrix: NDArray[np.generic]) -> tuple[NoiseTest, int]:
    rng = np.random.default_rng(0)
    return arrangement_test(matrix[np.newaxis], moments(matrix), spectrum(matrix).singular_values, rng)


def test_given_gaussian_entries_when_tested_then_the_matrix_answers_as_its_normal_scores_do() -> None:
    rng = np.random.default_rng(8)
    noise = rng.standard_normal((128, 160)).astype(np.float32)
    spike = np.outer(np.sign(rng.standard_normal(128)), np.sign(rng.standard_normal(160))).astype(np.float32)
    even = np.linalg.qr(rng.standard_normal((256, 256)))[0].astype(np.float32)
    for matrix, directions in ((noise, 0), (noise + np.float32(0.35) * spike, 1), (even, 0)):
        test, found = arranged(matrix)
        assert test == noise_test(spectrum(matrix).singular_values, *matrix.shape)
        by_ranks, also = rank_test(matrix[np.newaxis], rng)
        assert found == also == directions
        assert test.inequality == pytest.approx(by_ranks.inequality, abs=0.3, rel=0.05)
        assert test.top == pytest.approx(by_ranks.top, abs=0.3, rel=0.05)


@pytest.mark.parametrize("law", [*OTHER, "uniform"])
def test_given_other_entries_when_tested_then_their_normal_scores_answer(law: str) -> None:
    matrix = (LIGHT | OTHER)[law](np.random.default_rng(9), 128, 128).astype(np.float32)
    assert arranged(matrix) == rank_test(matrix[np.newaxis], np.random.default_rng(0))


def test_given_entries_at_the_limit_of_gaussian_when_tested_then_p_values_stay_uniform() -> None:
    rng = np.random.default_rng(10)
    # Student's t with 104 degrees has an excess kurtosis of 0.06; the mean is half of what noise shows.
    drawn = (rng.standard_t(104, (80, 100)) + 0.45 * 8000**-0.25 for _ in range(600))
    tests = [arranged(matrix.astype(np.float32))[0] for matrix in drawn]
    assert abs(np.mean([test.inequality for test in tests])) < 0.03 + 5 / np.sqrt(600)
    for name in ("p_unequal", "p_even", "p_top"):
        p = [getattr(test, name) for test in tests]
        assert scipy.stats.kstest(p, "uniform").statistic < 1.63 * 1.6 / np.sqrt(600) + 0.05, name
