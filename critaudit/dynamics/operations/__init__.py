"""Operations of a running network: which there are, and how strong the signal is behind each of them."""

from __future__ import annotations

from critaudit.dynamics.operations.batch_norm import calibrate_batch_norm, statistics_unset
from critaudit.dynamics.operations.linear import Linearised, departure, linearised
from critaudit.dynamics.operations.paths import NetworkPaths, Samples, linear_paths, network_paths, of_strength
from critaudit.dynamics.operations.watch import Watched, watch

__all__ = [
    "Linearised",
    "NetworkPaths",
    "Samples",
    "Watched",
    "calibrate_batch_norm",
    "departure",
    "linear_paths",
    "linearised",
    "network_paths",
    "of_strength",
    "statistics_unset",
    "watch",
]
