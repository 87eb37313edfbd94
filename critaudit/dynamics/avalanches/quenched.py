"""Networks with weights of their own, run on many inputs at once by matrix products (NumPy, one BLAS thread).

All inputs of a network see the same weights; paths that have ended are taken out, so that no product is wasted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.dynamics.avalanches.tracking import LARGEST, Floats, Tracker
from critaudit.laws.crackling.records import AvalancheCounts, Integers
from critaudit.laws.crackling.tally import tally
from critaudit.laws.nulls import quick_stable
from critaudit.theory.activations import Activation

# Inputs run together while their activity takes at most 2²⁵ numbers (128 MB, twice); weights are drawn again for more.
_NUMBERS_AT_ONCE = 2**25
# Profiles and regression sums come from so many inputs of each network at most, and from so many layers of them all.
_FOLLOWED = 4096
_REMEMBERED = 2**24
_FINITE = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A random network: W_ij ~ N(0, σ_w²/N), or S_α(σ_w(2N)^{−1/α}) below α = 2; b_i ~ N(0, σ_b²) or S_α(σ_b 2^{−1/α}).

    `recurrent`: all layers share one draw. Inputs have strength exactly `strength`, which is the threshold as well.
    """

    width: int
    depth: int
    sigma_w: float
    sigma_b: float
    activation: Activation
    strength: float
    alpha: float = 2.0
    recurrent: bool = False


def layers(recipe: Recipe, seed: np.random.SeedSequence) -> Iterator[tuple[Floats, Floats]]:
    """Weights (N, N), to be applied as x @ W, and biases (N,) of one layer after the other; equal seeds, equal layers.

    The arrays are overwritten by the next layer.
    """
    rng = np.random.Generator(np.random.SFC64(seed))
    n, alpha = recipe.width, recipe.alpha
    weights = np.empty((n, n), np.float32)
    for layer in range(recipe.depth):
        if layer == 0 or not recipe.recurrent:
            if alpha == 2.0:
                rng.standard_normal(dtype=np.float32, out=weights)
                biases = rng.standard_normal(n, dtype=np.float32) if recipe.sigma_b else np.zeros(n, np.float32)
            else:
                weights[...] = quick_stable(alpha, (n, n), rng)
                biases = quick_stable(alpha, (n,), rng) * np.float32(0.5 ** (1.0 / alpha))
            weights *= np.float32(recipe.sigma_w * (n if alpha == 2.0 else 2.0 * n) ** (-1.0 / alpha))
            biases *= np.float32(recipe.sigma_b)
        yield weights, biases


Draw: TypeAlias = Callable[[Recipe, np.random.SeedSequence], Iterator[tuple[Floats, Floats]]]


def inputs(recipe: Recipe, count: int, rng: np.random.Generator) -> Floats:
    """`count` random directions of strength exactly s₀, shape (count, N)."""
    x = rng.standard_normal((count, recipe.width), dtype=np.float32)
    x *= np.float32(recipe.strength) / strengths(x)[:, np.newaxis]
    return x


def strengths(x: Floats) -> Floats:
    """‖x‖₂/√N of each row; those beyond LARGEST are put there, and their rows with them."""
    s = np.asarray(np.sqrt(np.einsum("ij,ij->i", x, x) / np.float32(x.shape[1])))
    far = np.flatnonzero(~(s <= LARGEST))
    if far.size:
        x[far] = np.nan_to_num(x[far], nan=0.0, posinf=_FINITE, neginf=-_FINITE)
        norms = np.sqrt(np.mean(np.square(x[far], dtype=np.float64), axis=1))
        x[far] *= (LARGEST / np.maximum(norms, LARGEST)).astype(np.float32)[:, np.newaxis]
        s[far] = np.minimum(norms, LARGEST)
    return s


def run(recipe: Recipe, count: int, seeds: Sequence[np.random.SeedSequence]) -> AvalancheCounts:
    """Networks with these seeds on `count` inputs each, one cluster per network."""
    paths = [Path(recipe, count) for _ in seeds]
    for path, seed in zip(paths, seeds, strict=True):
        follow(recipe, path, count, seed)
    return counts_of(recipe, paths)


def follow(recipe: Recipe, path: Path, count: int, seed: np.random.SeedSequence, draw: Draw = layers) -> None:
    """Run one network on `count` inputs and record on `path` what becomes of them; `draw` gives it its weights."""
    for_weights, for_inputs = (np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, k)) for k in (0, 1))
    rng = np.random.Generator(np.random.SFC64(for_inputs))
    step = max(1, _NUMBERS_AT_ONCE // recipe.width)
    for first in range(0, count, step):
        alive = np.arange(first, min(first + step, count))
        x = inputs(recipe, alive.size, rng)
        spare = np.empty_like(x)
        for layer, (weights, biases) in enumerate(draw(recipe, for_weights), start=1):
            h = np.matmul(x, weights, out=spare[: alive.size])
            if recipe.sigma_b:
                h += biases
            stay = path.record(layer, alive, strengths(h))
            alive = alive[stay]
            if not alive.size:
                break
            x = x[: alive.size]
            activate(recipe.activation, np.take(h, stay, axis=0, out=x, mode="clip"))


def activate(activation: Activation, x: Floats) -> Floats:
    """φ in place."""
    if isinstance(activation.value, np.ufunc):
        return np.asarray(activation.value(x, out=x))
    x[...] = np.asarray(activation.value(np.asarray(x)))
    return x


class Path:
    """What becomes of the inputs of one network: layers above threshold (`lasting`) and Σ (s − θ) over them."""

    def __init__(self, recipe: Recipe, count: int) -> None:
        self._threshold = np.float32(recipe.strength)
        self._most = min(_FOLLOWED, max(1, _REMEMBERED // recipe.depth))
        self.lasting = np.zeros(count, np.int64)
        self.excess = np.zeros(count)
        self._layers: list[tuple[NDArray[np.intp], Floats]] = []

    def record(self, layer: int, alive: NDArray[np.intp], strength: Floats) -> NDArray[np.intp]:
        """Note this layer's strengths of the inputs still in an avalanche; which of them (places) are so after it."""
        over = strength - self._threshold
        stay = np.flatnonzero(over >= 0)
        on, above = alive[stay], over[stay]
        self.lasting[on] = layer
        self.excess[on] += above
        few = int(np.searchsorted(on, self._most))
        self._layers.append((on[:few], above[:few]))
        return stay

    def followed(self) -> tuple[Floats, Integers]:
        """s − θ in all layers of the first inputs' avalanches, end to end, and how long each of these lasted."""
        ids, above = (np.concatenate(parts) for parts in zip(*self._layers, strict=True))
        lasting = self.lasting[: self._most]
        return above[np.argsort(ids, kind="stable")], lasting[lasting > 0]


def counts_of(recipe: Recipe, paths: Sequence[Path]) -> AvalancheCounts:
    """The statistics of networks that have run, one cluster each."""
    tracker = Tracker(recipe.depth, len(paths), recipe.strength)
    for cluster, path in enumerate(paths):
        above, each = path.followed()
        if each.size:
            tracker.add(above, each, np.full(each.size, cluster))
    profiles, lags = tracker.finish()
    lasting = np.concatenate([path.lasting for path in paths])
    excess = recipe.width * np.concatenate([path.excess for path in paths])
    return tally(
        lasting,
        excess + recipe.width * recipe.strength * lasting,
        excess,
        np.repeat(np.arange(len(paths)), [path.lasting.size for path in paths]),
        depth=recipe.depth,
        cluster_count=len(paths),
        threshold=recipe.strength,
        lags=lags,
        profiles=profiles,
    )
