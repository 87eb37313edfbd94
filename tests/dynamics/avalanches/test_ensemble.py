"""Ensembles: equal for any number of workers, right shapes, and one line where settings make no sense."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from critaudit.dynamics import avalanches
from critaudit.dynamics.avalanches import Simulation, simulate
from critaudit.dynamics.avalanches import ensemble as module
from critaudit.errors import CritauditError

SMALL: dict[str, Any] = {"width": 40, "depth": 30, "sigma_w": 1.05, "sigma_b": 0.05, "strength": 0.2}


def arrays(simulation: Simulation) -> list[np.ndarray]:
    counts = simulation.counts
    return [
        counts.paths, counts.none, counts.censored, counts.durations, counts.lags, counts.total.counts,
        counts.total.moments, counts.total.censored, counts.excess.counts, counts.excess.moments,
        counts.profiles.counts, counts.profiles.total, counts.profiles.excess_squares,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "more"),
    [("fresh", {}), ("fresh", {"alpha": 1.5}), ("fresh", {"width": 10}), ("quenched", {}), ("recurrent", {})],
)
def test_given_any_number_of_workers_when_simulated_then_the_numbers_are_the_same(
    monkeypatch: pytest.MonkeyPatch, kind: Any, more: dict[str, Any]
) -> None:
    monkeypatch.setattr(module, "_PATHS_PER_BLOCK", 300)
    monkeypatch.setattr(module, "_DRAWN_PATHS_PER_BLOCK", 300)
    settings = SMALL | more | {"ensemble": kind, "networks": 11, "inputs_per_network": 100, "seed": 5}
    one, two, four = (arrays(simulate(**settings, workers=workers)) for workers in (1, 2, 4))
    for a, b, c in zip(one, two, four, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    other = arrays(simulate(**settings | {"seed": 6}))
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=False))


@pytest.mark.parametrize("kind", ["fresh", "quenched"])
def test_given_an_ensemble_when_simulated_then_paths_are_accounted_for_in_each_cluster(kind: Any) -> None:
    told: list[tuple[str, int, int]] = []
    found = simulate(
        **SMALL, ensemble=kind, networks=7, inputs_per_network=150, progress=lambda *args: told.append(args)
    )
    counts = found.counts
    assert counts.clusters == 7
    assert found.paths == 1050
    np.testing.assert_array_equal(counts.paths, 150)
    np.testing.assert_array_equal(counts.none + counts.censored + counts.durations.sum(axis=1), 150)
    np.testing.assert_array_equal(counts.total.counts.sum(axis=1), counts.durations.sum(axis=1))
    assert counts.threshold == 0.2
    assert told[-1] == ("networks", 7, 7)
    # Total and excess sizes differ by θ·n per layer.
    lasting = counts.duration_edges[:-1] * counts.durations
    np.testing.assert_allclose(
        counts.total.moments[..., 2] - counts.excess.moments[..., 2], 40 * 0.2 * lasting, rtol=1e-4, atol=1e-3
    )


def test_given_many_paths_when_simulated_then_profiles_come_from_a_fair_part_of_them() -> None:
    counts = simulate(**SMALL, networks=1, inputs_per_network=150_000, workers=1).counts
    followed, every = counts.profiles.counts, counts.durations.sum(axis=0)
    share = followed.sum() / every.sum()
    assert 0.08 < share < 0.2
    expected = share * every
    distance = np.sum((followed - expected) ** 2 / expected)
    assert distance < every.size + 5.5 * math.sqrt(2 * every.size) + 15
    # A profile summed over its layers is the mean size of its duration.
    n = 4
    mean_size = 40 * counts.profiles.total[n - 1].sum() / followed[n - 1]
    total = counts.total.moments[:, n - 1].sum(axis=0) / every[n - 1]
    deviation = math.sqrt((total[3] - total[2] ** 2) / followed[n - 1])
    assert abs(mean_size - total[2]) < 5.5 * deviation


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"width": 0}, "width"),
        ({"width": 2.5}, "width"),
        ({"depth": 1}, "depth"),
        ({"sigma_w": -1.0}, "sigma_w"),
        ({"sigma_w": math.nan}, "sigma_w"),
        ({"sigma_b": -0.1}, "sigma_b"),
        ({"strength": 0.0}, "strength"),
        ({"alpha": 2.1}, "alpha"),
        ({"alpha": 1.5, "activation": "relu"}, "unbounded"),
        ({"ensemble": "annealed"}, "ensemble"),
        ({"activation": "tan"}, "tan"),
        ({"networks": 0}, "networks"),
        ({"networks": 200_000}, "networks"),
        ({"inputs_per_network": 0}, "inputs_per_network"),
        ({"seed": -1}, "seed"),
        ({"workers": 0}, "workers"),
        ({"width": 100_000, "ensemble": "quenched"}, "fresh"),
        ({"ensemble": "quenched", "device": "gpu"}, "device"),
        ({"ensemble": "quenched", "device": "cuda:99"}, "CUDA"),
    ],
)
def test_given_settings_that_make_no_sense_when_simulated_then_one_line_says_which(
    changed: dict[str, Any], word: str
) -> None:
    with pytest.raises(CritauditError, match=word) as error:
        simulate(**SMALL | {"networks": 1, "inputs_per_network": 1} | changed)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["fresh", "quenched", "recurrent"])
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_given_the_heaviest_tails_when_simulated_then_sizes_are_numbers(kind: Any, alpha: float) -> None:
    settings = SMALL | {"sigma_w": 0.5, "alpha": alpha, "ensemble": kind}
    counts = simulate(**settings, networks=5, inputs_per_network=100).counts
    assert np.all(np.isfinite(counts.total.moments))
    assert np.all(np.isfinite(counts.lags))


def test_given_a_failing_activation_when_simulated_then_its_error_is_raised() -> None:
    def phi(x: np.ndarray) -> np.ndarray:
        if x.size > 100:
            raise ValueError("too large for me")
        return x

    with pytest.raises(ValueError, match="too large"):
        simulate(**SMALL, activation=phi, ensemble="quenched", networks=3, inputs_per_network=50)


def test_given_the_package_when_imported_then_neither_torch_nor_scipy_is() -> None:
    code = "import critaudit.dynamics.avalanches, sys; assert not {'torch', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute"):
        _ = avalanches.nothing
