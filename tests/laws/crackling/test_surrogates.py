"""Surrogate paths keep the linear statistics of the measured ones, exactly or within sampling error, and no more."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from critaudit.errors import CritauditError, UsageError
from critaudit.laws.crackling.surrogates import surrogate_paths

KINDS = ("phase", "autoregressive", "gaussian")


def autoregressive_strengths(paths: int = 3000, layers: int = 48, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((paths, layers + 200))
    walk = lfilter([1.0], [1.0, -0.8], noise, axis=1)[:, 200:]
    return np.exp(0.2 * walk + np.linspace(0.0, 2.0, layers))


def autocorrelation(paths: np.ndarray, lags: tuple[int, ...]) -> np.ndarray:
    z = np.log(paths)
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    return np.array([np.mean(z[:, lag:] * z[:, : z.shape[1] - lag]) for lag in lags])


@pytest.mark.parametrize("kind", KINDS)
def test_given_paths_when_surrogates_are_drawn_then_each_layer_keeps_its_values_and_lags_keep_their_correlation(
    kind: str,
) -> None:
    strengths = autoregressive_strengths()
    drawn = surrogate_paths(strengths, np.random.default_rng(1), kind=kind)
    np.testing.assert_array_equal(np.sort(drawn, axis=0), np.sort(strengths, axis=0))
    lags = (1, 2, 4, 8)
    # A path of 48 layers is not periodic: phase randomisation loses 1/48 of the correlation per lag.
    np.testing.assert_allclose(autocorrelation(drawn, lags), autocorrelation(strengths, lags), atol=0.045)
    assert abs(np.corrcoef(drawn[:, 20], strengths[:, 20])[0, 1]) < 0.1 or kind == "phase"
    assert not np.array_equal(drawn, strengths)


def test_given_correlations_that_change_with_depth_when_gaussian_then_the_whole_covariance_is_kept() -> None:
    rng = np.random.default_rng(2)
    walks = np.cumsum(rng.standard_normal((4000, 30)), axis=1)
    drawn = surrogate_paths(walks, rng, kind="gaussian")
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.corrcoef(walks.T), atol=0.09)


@pytest.mark.parametrize("kind", KINDS)
def test_given_a_nonlinear_signal_when_surrogates_are_drawn_then_its_asymmetry_in_depth_is_gone(kind: str) -> None:
    # Slow rises and sudden falls: the skewness of differences is 0 for any linear process.
    rng = np.random.default_rng(3)
    phase = rng.random((2000, 1)) * 16
    saw = (np.arange(40) + phase) % 16 + 0.5 * rng.standard_normal((2000, 40))

    def skewness(paths: np.ndarray) -> float:
        steps = np.diff(paths, axis=1)
        return float(np.mean(steps**3) / np.mean(steps**2) ** 1.5)

    assert skewness(saw) < -2.0
    assert abs(skewness(surrogate_paths(saw, rng, kind=kind))) < 0.15


@pytest.mark.parametrize("kind", KINDS)
def test_given_constant_layers_or_ties_when_surrogates_are_drawn_then_they_stay_and_nothing_breaks(kind: str) -> None:
    strengths = autoregressive_strengths(50, 12)
    strengths[:, 0] = 1.0
    strengths[:20, 5] = 3.0
    drawn = surrogate_paths(strengths, np.random.default_rng(4), kind=kind)
    assert np.all(drawn[:, 0] == 1.0)
    np.testing.assert_array_equal(np.sort(drawn, axis=0), np.sort(strengths, axis=0))
    constant = surrogate_paths(np.ones((5, 7)), np.random.default_rng(5), kind=kind)
    np.testing.assert_array_equal(constant, 1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_given_a_seed_when_drawn_twice_then_equal_and_with_another_seed_not(kind: str) -> None:
    strengths = autoregressive_strengths(40, 20)
    one, two, three = (surrogate_paths(strengths, np.random.default_rng(seed), kind=kind) for seed in (6, 6, 7))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, three)


def test_given_an_order_when_autoregressive_then_correlations_beyond_it_follow_from_those_within() -> None:
    strengths = autoregressive_strengths()
    drawn = surrogate_paths(strengths, np.random.default_rng(8), kind="autoregressive", order=1)
    first, fourth = autocorrelation(drawn, (1, 4))
    assert fourth == pytest.approx(first**4, abs=0.03)


def test_given_impossible_input_when_asked_then_one_line_says_what_is_wrong() -> None:
    rng = np.random.default_rng(9)
    for bad in (np.ones(5), np.ones((1, 5)), np.ones((5, 2))):
        with pytest.raises(CritauditError, match="paths × layers"):
            surrogate_paths(bad, rng)
    with pytest.raises(CritauditError, match="not finite"):
        surrogate_paths(np.full((4, 4), np.nan), rng)
    with pytest.raises(UsageError, match="unknown kind"):
        surrogate_paths(np.ones((4, 4)), rng, kind="fourier")
    with pytest.raises(UsageError, match="order"):
        surrogate_paths(np.ones((4, 4)), rng, kind="autoregressive", order=4)
