"""Networks with weights of their own against a plain loop over paths and layers in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from critaudit.dynamics.avalanches import quenched
from critaudit.dynamics.avalanches.quenched import Recipe
from critaudit.laws.crackling.records import AvalancheCounts
from critaudit.laws.crackling.tally import from_avalanches
from critaudit.theory.activations import as_activation, named_activation


def brute_force(of: Recipe, count: int, seed: np.random.SeedSequence) -> AvalancheCounts:
    """The definition: every layer of every path, then the first layer below threshold."""
    for_weights, for_inputs = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key).spawn(2)
    x = quenched.inputs(of, count, np.random.Generator(np.random.SFC64(for_inputs))).astype(np.float64)
    strengths = []
    for weights, biases in quenched.layers(of, for_weights):
        h = np.stack([weights.astype(np.float64).T @ row for row in x]) + biases
        strengths.append(np.sqrt((h**2).mean(axis=1)))
        x = of.activation.value(h)
    s = np.array(strengths).T
    profiles, durations, censored = [], [], []
    for path in s:
        below = np.flatnonzero(path < of.strength)
        lasting = int(below[0]) if below.size else of.depth
        durations.append(lasting)
        censored.append(not below.size)
        profiles.append(path[:lasting])
    total = [of.width * profile.sum() for profile in profiles]
    excess = [of.width * (profile - of.strength).sum() for profile in profiles]
    return from_avalanches(
        durations, total, excess, np.zeros(count, int), depth=of.depth, censored=censored, profiles=profiles,
        threshold=of.strength,
    )  # fmt: skip


def assert_same(ours: AvalancheCounts, theirs: AvalancheCounts) -> None:
    for name in ("paths", "none", "censored", "durations"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    np.testing.assert_allclose(ours.total.moments, theirs.total.moments, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(ours.excess.moments, theirs.excess.moments, rtol=1e-3, atol=1e-3)
    assert ours.total.counts.sum() == theirs.total.counts.sum()
    assert ours.total.censored.sum() == theirs.total.censored.sum() == ours.censored.sum()
    np.testing.assert_allclose(ours.lags, theirs.lags, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(ours.profiles.counts, theirs.profiles.counts)
    for name in ("total", "total_squares", "excess", "excess_squares"):
        np.testing.assert_allclose(
            getattr(ours.profiles, name), getattr(theirs.profiles, name), rtol=1e-4, atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize(
    "of",
    [
        Recipe(12, 30, 1.2, 0.0, named_activation("tanh"), 0.3),
        Recipe(12, 8, 1.1, 0.2, named_activation("tanh"), 0.3),
        Recipe(10, 25, 1.0, 0.05, named_activation("relu"), 0.2),
        Recipe(12, 30, 1.1, 0.1, named_activation("tanh"), 0.3, recurrent=True),
        Recipe(12, 30, 0.9, 0.1, named_activation("tanh"), 0.3, alpha=1.5),
        Recipe(9, 20, 1.1, 0.0, as_activation(lambda x: x / (1 + x**2)), 0.2),
    ],
    ids=["plain", "biased-censored", "relu", "recurrent", "stable", "function"],
)
def test_given_a_tiny_network_when_brute_forced_then_every_statistic_agrees(of: Recipe) -> None:
    seed = np.random.SeedSequence(11).spawn(2)[1]
    ours = quenched.run(of, 150, [seed])
    assert ours.avalanches > 10
    assert_same(ours, brute_force(of, 150, seed))


def test_given_more_inputs_than_fit_when_run_in_parts_then_the_weights_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of = Recipe(8, 12, 1.2, 0.1, named_activation("tanh"), 0.3)
    whole = quenched.run(of, 100, [np.random.SeedSequence(1)])
    monkeypatch.setattr(quenched, "_NUMBERS_AT_ONCE", 8 * 7)
    assert_same(quenched.run(of, 100, [np.random.SeedSequence(1)]), whole)


def test_given_more_inputs_than_are_followed_when_run_then_profiles_come_from_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of = Recipe(8, 12, 1.2, 0.1, named_activation("tanh"), 0.3)
    first = quenched.run(of, 40, [np.random.SeedSequence(1)])
    monkeypatch.setattr(quenched, "_FOLLOWED", 40)
    many = quenched.run(of, 100, [np.random.SeedSequence(1)])
    np.testing.assert_array_equal(many.profiles.counts, first.profiles.counts)
    np.testing.assert_allclose(many.lags, first.lags, rtol=1e-5)
    assert many.avalanches > first.avalanches


def test_given_layers_when_drawn_then_weights_have_their_variance_and_recurrent_ones_repeat() -> None:
    of = Recipe(300, 3, 1.3, 0.4, named_activation("tanh"), 0.3)
    drawn = [(weights.copy(), biases.copy()) for weights, biases in quenched.layers(of, np.random.SeedSequence(2))]
    assert len(drawn) == 3
    assert 300 * drawn[1][0].var() == pytest.approx(1.69, abs=5.5 * 1.69 * np.sqrt(2 / 90_000))
    assert drawn[1][1].var() == pytest.approx(0.16, abs=5.5 * 0.16 * np.sqrt(2 / 300))
    assert not np.array_equal(drawn[0][0], drawn[1][0])
    again = Recipe(20, 3, 1.3, 0.4, named_activation("tanh"), 0.3, recurrent=True)
    same = [weights.copy() for weights, _ in quenched.layers(again, np.random.SeedSequence(2))]
    np.testing.assert_array_equal(same[0], same[2])


def test_given_diverging_signals_when_run_then_they_stay_at_the_largest_strength() -> None:
    x = np.array([[3e38, 1.0], [np.inf, -1.0], [3.0, 4.0], [np.nan, np.nan]], dtype=np.float32)
    found = quenched.strengths(x)
    np.testing.assert_allclose(found, [1e15, 1e15, np.sqrt(12.5), 0.0], rtol=1e-6)
    assert np.all(np.isfinite(x))
    np.testing.assert_array_equal(x[2], [3.0, 4.0])
    counts = quenched.run(Recipe(20, 200, 4.0, 0.0, named_activation("relu"), 0.1), 30, [np.random.SeedSequence(1)])
    assert counts.censored[0] == 30
    assert np.all(np.isfinite(counts.lags))
