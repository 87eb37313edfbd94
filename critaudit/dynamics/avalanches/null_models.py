"""What is always run beside: networks without saturation, and noise with the linear statistics of the strengths.

None of these has a critical point of its own: exponents that they share are no evidence of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from critaudit import processors
from critaudit.dynamics.avalanches import quenched
from critaudit.dynamics.avalanches.ensemble import Progress, Simulation, fresh_steps, recipe_of, simulate
from critaudit.dynamics.avalanches.microcanonical import SMALLEST_WIDTH
from critaudit.dynamics.avalanches.quenched import Recipe
from critaudit.laws.crackling.records import Array, AvalancheCounts, Integers, merge
from critaudit.laws.crackling.surrogates import surrogate_paths
from critaudit.laws.crackling.tally import tally
from critaudit.theory.activations import Activation, Function, as_activation

LINEAR, DRIFTLESS, SURROGATE = "a linear network", "a linear network without drift", "Gaussian surrogate paths"

_GROUPS = 12
_PATHS_PER_GROUP, _FEWEST_PATHS = 1000, 200
# Numbers that may be drawn for the surrogates' models: some seconds.
_DRAWS = 4 * 10**8
_SAME = 1e-3


def linear_networks(
    simulation: Simulation, *, workers: int | None = None, progress: Progress | None = None
) -> dict[str, Simulation]:
    """Linear networks of the same size, by what they are called: with the same σ_w and σ_b, and at σ_w = e^{1/2N}.

    At the latter ln s, but for the biases, is a random walk without drift, whose first return gives α = 3/2. Weights
    are Gaussian where those of the simulation are stable: a linear network with those has no finite strengths.
    """
    scales = {LINEAR: simulation.sigma_w, DRIFTLESS: math.exp(0.5 / simulation.width)}
    if abs(scales[LINEAR] - scales[DRIFTLESS]) < _SAME and simulation.sigma_b == 0.0:
        del scales[DRIFTLESS]
    return {
        name: simulate(
            width=simulation.width,
            depth=simulation.depth,
            sigma_w=sigma_w,
            sigma_b=simulation.sigma_b if name == LINEAR else 0.0,
            activation="identity",
            strength=simulation.strength,
            ensemble=simulation.ensemble,
            networks=simulation.networks,
            inputs_per_network=simulation.inputs_per_network,
            seed=derived_seed(simulation.seed, 1 + place),
            workers=workers,
            device=simulation.device,
            progress=progress,
        )
        for place, (name, sigma_w) in enumerate(scales.items())
    }


def surrogate_avalanches(
    simulation: Simulation,
    *,
    activation: str | Activation | Function | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> AvalancheCounts:
    """Avalanches of Gaussian paths that have each layer's values and the covariance between layers (`surrogates`).

    Their model are paths that go on below threshold, twelve groups of 1,000 or fewer, a cluster each: independent ones
    of the ensemble, or of one network each where layers share their weights. `activation` is the function where the
    simulation knows only its name. No profiles or regression sums.
    """
    recipe = recipe_of(
        simulation.width,
        simulation.depth,
        simulation.sigma_w,
        simulation.sigma_b,
        as_activation(activation if activation is not None else simulation.activation),
        simulation.strength,
        simulation.alpha,
        simulation.ensemble,
    )
    seeds = np.random.SeedSequence(derived_seed(simulation.seed, 3)).spawn(_GROUPS)
    free = _free_paths(recipe)

    def one_group(seed: np.random.SeedSequence) -> AvalancheCounts:
        rng = np.random.Generator(np.random.SFC64(seed))
        over = surrogate_paths(free(rng), rng, kind="gaussian") - recipe.strength
        above = np.logical_and.accumulate(over >= 0.0, axis=1)
        lasting = above.sum(axis=1, dtype=np.int64)
        return _counts(recipe, lasting, np.where(above, over, 0.0).sum(axis=1))

    found = []
    with threadpool_limits(1), ThreadPoolExecutor(max_workers=workers or processors.available()) as pool:
        for counts in pool.map(one_group, seeds):
            found.append(counts)
            if progress is not None:
                progress("surrogates", len(found), _GROUPS)
    return merge(found)


def derived_seed(seed: int, place: int) -> int:
    """A seed of its own for each part of a larger piece of work."""
    return int(np.random.SeedSequence([seed, place]).generate_state(1, np.uint32)[0])


def _counts(recipe: Recipe, lasting: Integers, excess: Array) -> AvalancheCounts:
    return tally(
        lasting,
        recipe.width * (excess + recipe.strength * lasting),
        recipe.width * excess,
        np.zeros(lasting.size, np.int64),
        depth=recipe.depth,
        cluster_count=1,
        threshold=recipe.strength,
    )


def _free_paths(recipe: Recipe) -> Callable[[np.random.Generator], Array]:
    """What draws a group of strengths (paths, layers), whatever the threshold."""
    if recipe.recurrent:
        count = _affordable(8 * recipe.width, recipe.depth)
        return lambda rng: _one_network(recipe, count, rng)
    make, _ = fresh_steps(recipe, below_threshold=True)
    tabled = recipe.alpha == 2.0 and recipe.width >= SMALLEST_WIDTH
    count = _affordable(8 if tabled else recipe.width, recipe.depth)

    def draw(rng: np.random.Generator) -> Array:
        steps = make(rng)
        state, paths = steps.start(count), np.empty((count, recipe.depth))
        for layer in range(recipe.depth):
            strength = steps.strength(state)
            paths[:, layer] = strength
            state = steps.advance(strength)
        return paths

    return draw


def _affordable(draws_per_layer: int, depth: int) -> int:
    return max(_FEWEST_PATHS, min(_PATHS_PER_GROUP, _DRAWS // (_GROUPS * depth * draws_per_layer)))


def _one_network(recipe: Recipe, count: int, rng: np.random.Generator) -> Array:
    x = quenched.inputs(recipe, count, rng)
    paths = np.empty((count, recipe.depth))
    seed = np.random.SeedSequence(int(rng.integers(2**63)))
    for layer, (weights, biases) in enumerate(quenched.layers(recipe, seed)):
        h = x @ weights + biases
        paths[:, layer] = quenched.strengths(h)
        x = quenched.activate(recipe.activation, h)
    return paths
