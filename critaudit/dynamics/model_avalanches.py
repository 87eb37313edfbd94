"""Avalanches of any network that runs: how far, operation by operation, a signal stays above its usual strength.

Every operation is a layer l with strength s̃_l = ‖x_l‖₂/√n_l and threshold θ_l = μ_l + nσ_l, where μ_l and σ_l are the
mean and standard deviation over calibration inputs (Ghavasieh25, Methods 0.15). D = (first layer with s̃_l < θ_l) − 1;
a path above threshold to the last layer is censored. Sizes are S̃ = Σ_{l≤D} s̃_l ("total") and, because kinds of
operations differ in scale, Σ_{l≤D} (s̃_l − θ_l)/σ_l = Σ (z_l − n) ("excess", z-scored), which at n = 0 is Σ z_l.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from critaudit.dynamics.operations.paths import NetworkPaths
from critaudit.errors import CritauditError
from critaudit.laws.crackling.records import LAGS, PROFILE_DURATIONS, AvalancheCounts, ProfileSums
from critaudit.laws.crackling.tally import tally

if TYPE_CHECKING:
    from critaudit.laws.crackling.surrogates import SurrogateKind

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# A strength that varies by less is held fixed by a normalisation: what remains of it is rounding in float32.
_PINNED = 1e-5
_FEWEST_LAYERS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """The paths of an ensemble of equal networks, measured by each network's own calibration.

    `scores` (paths, layers) are z = (s̃ − μ_l)/σ_l with `means` μ_l and `spreads` σ_l (networks, layers); `networks`
    (paths,) says which network a path belongs to. `operations` names the layers, `pinned` the operations that are none
    because a normalisation holds their strength fixed, `weighted` the layers that multiply with a weight matrix.
    """

    operations: tuple[str, ...]
    scores: Array
    means: Array
    spreads: Array
    networks: Integers
    pinned: tuple[str, ...] = ()
    weighted: frozenset[str] = frozenset()

    @property
    def strengths(self) -> Array:
        """s̃ of each path in each layer, shape (paths, layers)."""
        found: Array = self.means[self.networks] + self.spreads[self.networks] * self.scores
        return found

    @property
    def count(self) -> int:
        """Number of networks."""
        return len(self.means)

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.operations)


@dataclass(frozen=True, slots=True, eq=False)
class Avalanches:
    """What each path is: `durations` in layers (all of them where `censored`), `total` and z-scored `excess` sizes."""

    durations: Integers
    censored: NDArray[np.bool_]
    total: Array
    excess: Array


def gather(networks: Sequence[NetworkPaths]) -> Paths:
    """The paths of networks of one architecture, each in units of its own μ_l and σ_l.

    Layers are the operations that all networks have and none holds fixed (relative σ_l below 1e-5, as behind a
    normalisation). Raises CritauditError where fewer than three are left, or a network has fewer than two calibration
    inputs or no path.
    """
    if not networks or any(len(one.calibration) < 2 or len(one.strengths) < 1 for one in networks):
        raise CritauditError(
            "a network has fewer than two calibration inputs or no path; "
            f"{sum(one.overflowed for one in networks)} inputs were left out because a strength was not finite"
        )
    common = set.intersection(*(set(one.operations) for one in networks))
    names = [name for name in networks[0].operations if name in common]
    places = [_places(one, names) for one in networks]
    first = [one.calibration[:, place] for one, place in zip(networks, places, strict=True)]
    means = np.stack([values.mean(axis=0) for values in first])
    spreads = np.stack([values.std(axis=0, ddof=1) for values in first])
    moving: NDArray[np.bool_] = np.all(spreads > _PINNED * means, axis=0)
    if moving.sum() < _FEWEST_LAYERS:
        raise CritauditError(
            f"{int(moving.sum())} operations have a strength that varies with the input; avalanches need at least "
            f"{_FEWEST_LAYERS}"
        )
    means, spreads = means[:, moving], spreads[:, moving]
    scores = [
        (one.strengths[:, place][:, moving] - mean) / spread
        for one, place, mean, spread in zip(networks, places, means, spreads, strict=True)
    ]
    return Paths(
        operations=tuple(name for name, kept in zip(names, moving, strict=True) if kept),
        scores=np.concatenate(scores),
        means=means,
        spreads=spreads,
        networks=np.repeat(np.arange(len(networks)), [len(values) for values in scores]),
        pinned=tuple(name for name, kept in zip(names, moving, strict=True) if not kept),
        weighted=networks[0].weighted,
    )


def weight_layers(paths: Paths) -> Paths:
    """The same paths seen behind weight layers only: convolutions, linear layers, recurrent ones.

    Behind an activation or a normalisation the strength is nearly what it was before, so an avalanche rarely ends
    there and durations in operations come in steps; durations in weight layers do not. Raises CritauditError where
    fewer than three layers are left.
    """
    kept = np.array([name in paths.weighted for name in paths.operations], dtype=np.bool_)
    if kept.sum() < _FEWEST_LAYERS:
        raise CritauditError(
            f"{int(kept.sum())} layers have a weight matrix; avalanches need at least {_FEWEST_LAYERS}"
        )
    return replace(
        paths,
        operations=tuple(name for name in paths.operations if name in paths.weighted),
        scores=paths.scores[:, kept],
        means=paths.means[:, kept],
        spreads=paths.spreads[:, kept],
    )


def avalanches(paths: Paths, n: float) -> Avalanches:
    """Durations and sizes of all paths at the thresholds θ_l = μ_l + nσ_l."""
    above = paths.scores >= n
    censored = np.asarray(above.all(axis=1), dtype=np.bool_)
    durations = np.where(censored, paths.layers, above.argmin(axis=1)).astype(np.int64)
    inside = np.arange(paths.layers) < durations[:, np.newaxis]
    return Avalanches(
        durations=durations,
        censored=censored,
        total=np.where(inside, paths.strengths, 0.0).sum(axis=1),
        excess=np.where(inside, paths.scores - n, 0.0).sum(axis=1),
    )


def counts(paths: Paths, n: float) -> AvalancheCounts:
    """The avalanches of an ensemble at θ_l = μ_l + nσ_l, as what the estimators read.

    A cluster is a network. Where there is one network only, every path is a cluster of its own: intervals from these
    are conditional on that network and say nothing about others of its kind.
    """
    found = avalanches(paths, n)
    inside = np.arange(paths.layers) < found.durations[:, np.newaxis]
    above = np.where(inside, paths.scores - n, 0.0)
    clusters = paths.networks if paths.count > 1 else np.arange(len(found.durations))
    number = paths.count if paths.count > 1 else len(found.durations)
    return tally(
        found.durations,
        found.total,
        found.excess,
        clusters,
        depth=paths.layers,
        cluster_count=number,
        threshold=None,
        lags=_regression_sums(above, inside, clusters, number),
        profiles=_profiles(np.where(inside, paths.strengths, 0.0), above, found.durations),
    )


def _profiles(strengths: Array, above: Array, durations: Integers) -> ProfileSums:
    """Sums over the avalanches of equal duration, layer by layer; censored paths are none of them."""
    layers = strengths.shape[1]
    sums = ProfileSums.zeros(min(layers - 1, PROFILE_DURATIONS))
    for lasting in np.unique(durations[(durations > 0) & (durations <= sums.counts.size)]):
        rows, row = durations == lasting, int(lasting) - 1
        sums.counts[row] = np.count_nonzero(rows)
        for total, squares, values in (
            (sums.total, sums.total_squares, strengths[rows, :lasting]),
            (sums.excess, sums.excess_squares, above[rows, :lasting]),
        ):
            total[row, :lasting] = values.sum(axis=0)
            squares[row, :lasting] = np.square(values).sum(axis=0)
    return sums


def _regression_sums(above: Array, inside: NDArray[np.bool_], clusters: Integers, number: int) -> Array:
    """Sums for the multistep regression (`AvalancheCounts.lags`): pairs of layers k apart, the first one inside."""
    layers = above.shape[1]
    sums = np.zeros((number, LAGS, 6))
    for lag in range(1, min(LAGS, layers - 1) + 1):
        x, y = above[:, :-lag], np.where(inside[:, :-lag], above[:, lag:], 0.0)
        columns = inside[:, :-lag], x, y, x * x, x * y, y * y
        for place, values in enumerate(columns):
            sums[:, lag - 1, place] = np.bincount(clusters, weights=values.sum(axis=1), minlength=number)
    return sums


def surrogates(paths: Paths, rng: np.random.Generator, *, kind: SurrogateKind = "phase", copies: int = 1) -> Paths:
    """Paths whose scores are surrogates of the measured ones, network by network: a null model.

    `copies` times as many paths. Raises CritauditError where a network has fewer than two paths.
    """
    from critaudit.laws.crackling.surrogates import surrogate_paths

    drawn, networks = [], []
    for network in range(paths.count):
        own = paths.scores[paths.networks == network]
        for _ in range(copies):
            drawn.append(surrogate_paths(own, rng, kind=kind))
            networks.append(np.full(len(own), network))
    return replace(paths, scores=np.concatenate(drawn), networks=np.concatenate(networks))


def _places(network: NetworkPaths, names: Sequence[str]) -> list[int]:
    where = {name: place for place, name in enumerate(network.operations)}
    return [where[name] for name in names]
