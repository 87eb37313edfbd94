"""Networks with weights of their own, run on many inputs at once by matrix products (NumPy, one BLAS thread).

All inputs of a network see the same weights; paths that have ended are taken out, so that no product is wasted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.dynamics.avalanches.tracking import Floats, Tracker
from critaudit.laws.crackling.records import AvalancheCounts
from critaudit.laws.crackling.tally import tally
from critaudit.laws.nulls import quick_stable
from critaudit.theory.activations import Activation

# Inputs run together while their activity takes at most 2²⁵ numbers (128 MB, twice); weights are drawn again for more.
_NUMBERS_AT_ONCE = 2**25
# Profiles and regression sums come from so many inputs of each network at most.
_FOLLOWED = 4096


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
    """‖x‖₂/√N of each row."""
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", x, x) / np.float32(x.shape[1])))


def run(recipe: Recipe, count: int, seed: np.random.SeedSequence) -> AvalancheCounts:
    """One network on `count` inputs: its statistics as one cluster."""
    path = Path(recipe, count)
    follow(recipe, path, count, seed)
    return path.finish()


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
        self._recipe = recipe
        self.lasting = np.zeros(count, np.int64)
        self.excess = np.zeros(count)
        self._followed: list[tuple[NDArray[np.intp], Floats]] = []

    def record(self, layer: int, alive: NDArray[np.intp], strength: Floats) -> NDArray[np.intp]:
        """Note this layer's strengths of the inputs still in an avalanche; which of them (places) are so after it."""
        over = strength - np.float32(self._recipe.strength)
        stay = np.flatnonzero(over >= 0)
        on, above = alive[stay], over[stay]
        self.lasting[on] = layer
        self.excess[on] += above
        few = int(np.searchsorted(on, _FOLLOWED)) if on.size else 0
        self._followed.append((on[:few], above[:few]))
        return stay

    def finish(self) -> AvalancheCounts:
        """The statistics of all inputs, as one cluster."""
        recipe, lasting = self._recipe, self.lasting
        tracker = Tracker(recipe.depth, 1, recipe.strength)
        ids = np.concatenate([on for on, _ in self._followed])
        if ids.size:
            above = np.concatenate([strength for _, strength in self._followed])
            each = lasting[:_FOLLOWED][lasting[:_FOLLOWED] > 0]
            tracker.add(above[np.argsort(ids, kind="stable")], each, np.zeros(each.size, np.int64))
        profiles, lags = tracker.finish()
        excess = recipe.width * self.excess
        return tally(
            lasting,
            excess + recipe.width * recipe.strength * lasting,
            excess,
            np.zeros(lasting.size, np.int64),
            depth=recipe.depth,
            cluster_count=1,
            threshold=recipe.strength,
            lags=lags,
            profiles=profiles,
        )
