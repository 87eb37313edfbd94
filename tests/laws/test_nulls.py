"""Null distributions: exact in law, calibrated, reproducible."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from critaudit.errors import CritauditError
from critaudit.laws.nulls import (
    Null,
    gaussian_null,
    gaussian_singular_values,
    matrix_null,
    shuffled,
    stable_sample,
)


def stable_rank(values: np.ndarray) -> float:
    return float(np.sum(values**2) / values[0] ** 2)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 6), (5, 5), (12, 30), (30, 12)])
def test_given_the_bidiagonal_model_when_drawn_then_it_has_the_law_of_gaussian_matrices(
    rows: int, columns: int
) -> None:
    rng = np.random.default_rng(1)
    quick = np.array([gaussian_singular_values(rows, columns, rng) for _ in range(600)])
    direct = np.linalg.svd(rng.standard_normal((600, rows, columns)), compute_uv=False)
    for place in {0, quick.shape[1] // 2, quick.shape[1] - 1}:
        assert scipy.stats.ks_2samp(quick[:, place], direct[:, place]).pvalue > 1e-5
    assert scipy.stats.ks_2samp((quick**2).sum(1), (direct**2).sum(1)).pvalue > 1e-5
    assert np.all(np.diff(quick, axis=1) <= 0)


def test_given_gaussian_matrices_when_judged_then_p_values_are_uniform() -> None:
    null = gaussian_null({"stable_rank": stable_rank}, 16, 24, repeats=199)["stable_rank"]
    rng = np.random.default_rng(2)
    observed = [stable_rank(np.linalg.svd(rng.standard_normal((16, 24)), compute_uv=False)) for _ in range(400)]
    for side in ("upper", "lower", "both"):
        p = np.array([null.p_value(value, side=side) for value in observed])
        assert p.min() > 0
        # One null serves all, so its own error of 3.5 % comes on top.
        assert scipy.stats.kstest(p, "uniform").statistic < 0.2
        assert np.mean(p <= 0.05) < 0.14


def test_given_a_stranger_when_judged_then_its_p_value_is_the_least_possible() -> None:
    null = gaussian_null({"stable_rank": stable_rank}, 20, 20, repeats=99)["stable_rank"]
    assert null.p_value(1.0, side="lower") == 0.01
    assert null.p_value(1.0) == 0.02
    assert null.p_value(1.0, side="upper") == 1.0
    low, high = null.quantile(0.025), null.quantile(0.975)
    assert null.values[0] <= low < high <= null.values[-1]
    assert null.p_value((low + high) / 2) > 0.05


def test_given_the_same_seed_when_drawn_again_then_the_null_is_the_same_and_transposes_share_it() -> None:
    statistics = {"largest": lambda values: values[0]}
    one = gaussian_null(statistics, 8, 12, repeats=20)["largest"].values
    assert np.array_equal(one, gaussian_null(statistics, 8, 12, repeats=20)["largest"].values)
    assert np.array_equal(one, gaussian_null(statistics, 12, 8, repeats=20)["largest"].values)
    assert not np.array_equal(one, gaussian_null(statistics, 8, 12, repeats=20, seed=1)["largest"].values)
    assert np.mean(gaussian_null(statistics, 8, 12, groups=9, repeats=20)["largest"].values) > np.mean(one)


def test_given_planted_correlations_when_shuffled_then_the_null_tells_them_from_tails() -> None:
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((40, 60)).astype(np.float32)
    signal = noise + np.outer(rng.standard_normal(40), rng.standard_normal(60)).astype(np.float32)
    for matrix, correlated in [(noise, False), (signal, True)]:
        null = matrix_null(
            {"stable_rank": stable_rank}, lambda rng, w=matrix: shuffled(w, rng), law="shuffled", repeats=60
        )["stable_rank"]
        p = null.p_value(stable_rank(np.linalg.svd(matrix, compute_uv=False)), side="lower")
        assert (p < 0.02) == correlated
        assert null.law == "shuffled"


def test_given_a_matrix_when_shuffled_then_entries_stay_and_the_original_too() -> None:
    matrix = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    for view in (matrix, matrix.transpose(2, 0, 1)):
        before = view.copy()
        mixed = shuffled(view, np.random.default_rng(4))
        assert np.array_equal(view, before)
        assert (mixed.shape, mixed.dtype) == (view.shape, view.dtype)
        assert np.array_equal(np.sort(mixed, axis=None), np.sort(view, axis=None))
        assert not np.array_equal(mixed, view)


def test_given_a_statistic_that_does_not_exist_when_collected_then_failures_are_counted() -> None:
    def sometimes(values: np.ndarray) -> float:
        if values[0] > np.median([7.0]):
            raise CritauditError("no such thing")
        return float("nan") if values[0] > 6.5 else float(values[0])

    null = gaussian_null({"it": sometimes}, 8, 12, repeats=50)["it"]
    assert 0 < null.failed < 50
    assert null.values.size + null.failed == 50
    assert Null("x", np.zeros(1), 3).quantile(0.5) is None


@pytest.mark.parametrize(
    ("alpha", "beta"), [(0.7, 0.0), (1.0, 0.0), (1.0, 0.5), (1.5, 0.0), (1.5, -0.7), (1.9, 1.0), (2.0, 0.0)]
)
def test_given_a_stable_law_when_sampled_then_scipys_sampler_has_the_same_law(alpha: float, beta: float) -> None:
    ours = stable_sample(alpha, beta, (40, 100), np.random.default_rng(5)).ravel()
    theirs = scipy.stats.levy_stable.rvs(alpha, beta, size=4000, random_state=np.random.default_rng(6))
    assert scipy.stats.ks_2samp(ours, theirs).pvalue > 1e-5
    # The characteristic function itself: Re E e^{iuX} = e^{−|u|^α} cos(…), at u = 1.
    skew = beta * np.tan(np.pi * alpha / 2) if alpha != 1.0 else 0.0
    exact = np.exp(-1) * np.exp(1j * skew)
    assert abs(np.mean(np.exp(1j * ours)) - exact) < 5 / np.sqrt(4000)


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.0), (2.1, 0.0), (1.5, 1.1), (float("nan"), 0.0)])
def test_given_no_stable_law_when_sampled_then_one_line_says_so(alpha: float, beta: float) -> None:
    with pytest.raises(CritauditError, match="stable law"):
        stable_sample(alpha, beta, (3,), np.random.default_rng(0))
