"""Null models: linear networks of the same size, and Gaussian paths with the strengths' own statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from critaudit.dynamics.avalanches import null_models, simulate
from critaudit.dynamics.avalanches.null_models import (
    DRIFTLESS,
    LINEAR,
    derived_seed,
    linear_networks,
    surrogate_avalanches,
)
from critaudit.laws.crackling.records import AvalancheCounts

SMALL = {"width": 50, "depth": 40, "strength": 0.1, "networks": 4, "inputs_per_network": 500, "workers": 1}


def survival(counts: AvalancheCounts, duration: int) -> float:
    inside = counts.duration_edges[:-1] >= duration
    return float((counts.durations[:, inside].sum() + counts.censored.sum()) / counts.paths.sum())


def test_given_an_ensemble_when_made_linear_then_scale_and_size_are_kept_and_one_has_no_drift() -> None:
    nulls = linear_networks(simulate(**SMALL, sigma_w=1.1, sigma_b=0.05), workers=1)
    assert list(nulls) == [LINEAR, DRIFTLESS]
    assert {null.activation for null in nulls.values()} == {"identity"}
    assert {(null.width, null.depth, null.paths) for null in nulls.values()} == {(50, 40, 2000)}
    assert (nulls[LINEAR].sigma_w, nulls[LINEAR].sigma_b) == (1.1, 0.05)
    assert (nulls[DRIFTLESS].sigma_w, nulls[DRIFTLESS].sigma_b) == (math.exp(0.01), 0.0)
    assert nulls[LINEAR].seed != nulls[DRIFTLESS].seed


def test_given_a_scale_without_drift_when_made_linear_then_there_is_one_null() -> None:
    assert list(linear_networks(simulate(**SMALL, sigma_w=math.exp(0.01)), workers=1)) == [LINEAR]


def test_given_stable_weights_when_made_linear_then_the_null_is_gaussian() -> None:
    nulls = linear_networks(simulate(**SMALL, sigma_w=0.8, alpha=1.5), workers=1)
    assert {null.alpha for null in nulls.values()} == {2.0}


@pytest.mark.parametrize(
    "more", [{}, {"width": 20}, {"alpha": 1.6, "sigma_w": 0.8}, {"ensemble": "quenched"}, {"ensemble": "recurrent"}]
)
def test_given_strengths_when_replaced_by_gaussian_paths_then_the_first_layer_keeps_its_share(
    monkeypatch: pytest.MonkeyPatch, more: dict
) -> None:
    monkeypatch.setattr(null_models, "_PATHS_PER_GROUP", 300)
    settings = SMALL | {"sigma_w": 1.02, "sigma_b": 0.02} | more
    found = simulate(**settings)
    told: list[int] = []
    counts = surrogate_avalanches(found, workers=2, progress=lambda _s, done, _t: told.append(done))
    assert counts.clusters == 12
    assert told[-1] == 12
    assert counts.depth == found.depth
    # Values stay in their layers: as many paths begin an avalanche. Inputs of one network are not independent.
    spread = found.counts.none / found.counts.paths
    error = math.hypot(spread.std(ddof=1) / 2.0, 0.5 / math.sqrt(12 * 200))
    assert abs(survival(counts, 1) - survival(found.counts, 1)) < 6 * error
    again = surrogate_avalanches(found, workers=1)
    np.testing.assert_array_equal(again.durations, counts.durations)


def test_given_paths_below_threshold_when_free_then_they_go_on() -> None:
    counts = surrogate_avalanches(simulate(**SMALL | {"depth": 10}, sigma_w=1.05))
    assert counts.censored.sum() > 0
    assert counts.paths.sum() == 12 * 1000


def test_given_a_function_when_simulated_then_surrogates_take_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(null_models, "_PATHS_PER_GROUP", 200)
    phi = lambda x: x / np.sqrt(1.0 + x * x)  # noqa: E731
    found = simulate(**SMALL, sigma_w=1.0, activation=phi)
    assert surrogate_avalanches(found, activation=phi).paths.sum() > 0


def test_given_parts_of_a_piece_of_work_when_seeded_then_seeds_differ() -> None:
    assert len({derived_seed(seed, place) for seed in range(10) for place in range(10)}) == 100
