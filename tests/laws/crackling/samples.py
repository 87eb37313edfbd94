"""Samples of known laws, shared by the tests of this folder."""

from __future__ import annotations

import numpy as np

from critaudit.laws.crackling.histogram import Histogram, duration_histogram, size_histogram
from critaudit.laws.crackling.records import AvalancheCounts
from critaudit.laws.crackling.tally import from_avalanches


def power_sample(exponent: float, low: float, high: float, n: int, seed: int = 0) -> np.ndarray:
    u, b = np.random.default_rng(seed).random(n), 1 - exponent
    return (low**b + u * (high**b - low**b)) ** (1 / b)


def sizes(values: np.ndarray, clusters: int = 50, seed: int = 1, rows: np.ndarray | None = None) -> Histogram:
    held = np.random.default_rng(seed).integers(0, clusters, values.size) if rows is None else rows
    ones = np.ones(values.size)
    return size_histogram(from_avalanches(ones, values, values, held, depth=2, cluster_count=clusters).total)


def durations(values: np.ndarray, depth: int, clusters: int = 50, seed: int = 1) -> Histogram:
    return duration_histogram(duration_counts(values, np.ones(values.size), depth, clusters, seed))


def duration_counts(
    values: np.ndarray, volume: np.ndarray, depth: int, clusters: int = 50, seed: int = 1
) -> AvalancheCounts:
    held = np.random.default_rng(seed).integers(0, clusters, values.size)
    return from_avalanches(values, volume, volume, held, depth=depth, censored=values >= depth, cluster_count=clusters)


def zeta_sample(exponent: float, longest: int, n: int, seed: int = 0) -> np.ndarray:
    masses = np.arange(1.0, longest + 1) ** -exponent
    return np.searchsorted(np.cumsum(masses) / masses.sum(), np.random.default_rng(seed).random(n)) + 1.0


def branching_sample(n: int, depth: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Durations (depth where censored) and sizes of critical Poisson branching processes."""
    rng = np.random.default_rng(seed)
    lasting, total = np.zeros(n), np.zeros(n)
    alive, activity = np.arange(n), np.ones(n, dtype=np.int64)
    for step in range(1, depth + 1):
        lasting[alive], total[alive] = step, total[alive] + activity
        activity = rng.poisson(activity)
        alive, activity = alive[activity > 0], activity[activity > 0]
    return lasting, total - 0.5 + rng.random(n)
