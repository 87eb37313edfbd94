"""Ensembles of random networks and their avalanches: the plan of the work, its seeds and its workers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from threadpoolctl import threadpool_limits

from critaudit import processors
from critaudit.dynamics.avalanches import conveyor, quenched
from critaudit.dynamics.avalanches.chain import Chain, Table
from critaudit.dynamics.avalanches.microcanonical import SMALLEST_WIDTH
from critaudit.dynamics.avalanches.quenched import Recipe
from critaudit.dynamics.avalanches.sites import Sites
from critaudit.errors import CritauditError, UsageError
from critaudit.laws.crackling.records import AvalancheCounts, duration_edges, merge
from critaudit.theory.activations import Activation, Function, as_activation
from critaudit.theory.levy_fixed_point import check_bounded, check_point

Ensemble: TypeAlias = Literal["fresh", "quenched", "recurrent"]
Progress: TypeAlias = Callable[[str, int, int], None]
Block: TypeAlias = Callable[[], AvalancheCounts]

# Work is cut into blocks of whole clusters with a seed each, the same for any number of workers.
_PATHS_PER_BLOCK = 2**17
_DRAWN_PATHS_PER_BLOCK = 2**13
_MOST_NETWORKS_PER_BLOCK = 16
_WIDEST_MATRIX = 2**15
_WIDEST_CHAIN = 10**7
_MOST_INPUTS = 2 * 10**7
# Statistics are kept per cluster, so many bytes for all of them: 72 per bin of durations, some 3,000 bins of sizes.
_MEMORY = 4 * 2**30
_DEEPEST = 10**6


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """Avalanches of an ensemble of random networks, and everything needed to get them again.

    A cluster of `counts` is a network (quenched, recurrent) or a block of `inputs_per_network` independent paths
    (fresh). `method` says in words how the paths were drawn.
    """

    counts: AvalancheCounts
    width: int
    depth: int
    sigma_w: float
    sigma_b: float
    activation: str
    strength: float
    ensemble: Ensemble
    alpha: float
    networks: int
    inputs_per_network: int
    seed: int
    device: str
    method: str

    @property
    def paths(self) -> int:
        """Number of inputs that were run, avalanche or not."""
        return self.networks * self.inputs_per_network


def simulate(
    *,
    width: int,
    depth: int,
    sigma_w: float,
    sigma_b: float = 0.0,
    activation: str | Activation | Function = "tanh",
    strength: float = 0.1,
    ensemble: Ensemble = "fresh",
    alpha: float = 2.0,
    networks: int = 200,
    inputs_per_network: int = 1000,
    seed: int = 0,
    workers: int | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Simulation:
    """Avalanches of random networks: h_1 = W x + b, h_l = W φ(h_{l−1}) + b, l ≤ depth, with s_l = ‖h_l‖/√N.

    Weights are N(0, σ_w²/N), biases N(0, σ_b²); for `alpha` < 2 symmetric α-stable with scales σ_w(2N)^{−1/α} and
    σ_b·2^{−1/α} (Qu22; φ must be bounded). Inputs have random directions and strength exactly `strength`, which is also
    the threshold: an avalanche lasts while s_l ≥ strength (Ghavasieh25, Methods 0.11).
    `ensemble` is "fresh" (every path has weights of its own: exact reduced chain, no matrices), "quenched" (all inputs
    of a network share its weights) or "recurrent" (and so do all its layers). In a fresh ensemble a "network" is a
    block of `inputs_per_network` independent paths. Strengths beyond 1e15 count as 1e15.
    `workers` threads share the work (default: one per core); results depend on `seed`, never on their number. `device`
    may be a CUDA device for quenched and recurrent networks; the chain runs on the CPU.
    `progress("networks", done, total)` is called as work goes on.
    Raises UsageError for settings that make no sense, α < 2 with an unbounded activation, or a device that is not here.

    >>> simulation = simulate(width=100, depth=200, sigma_w=1.0149, networks=10, inputs_per_network=1000)
    >>> simulation.counts.clusters, simulation.paths
    (10, 10000)
    """
    recipe = recipe_of(width, depth, sigma_w, sigma_b, activation, strength, alpha, ensemble)
    networks = _whole(networks, "networks", 1, _most_clusters(recipe.depth))
    each = _whole(inputs_per_network, "inputs_per_network", 1, _MOST_INPUTS)
    seed = _whole(seed, "seed", 0, 2**64 - 1)
    threads = _whole(workers, "workers", 1, 1024) if workers is not None else processors.available()
    # BLAS keeps to one thread: its sums must not depend on the machine's cores.
    with threadpool_limits(1):
        if ensemble == "fresh":
            blocks, method = _fresh(recipe, networks, each, seed)
            device = "cpu"
        else:
            blocks, method = _own_weights(recipe, networks, each, seed, device)
        counts = _run(blocks, threads, networks, progress)
    return Simulation(
        counts, recipe.width, recipe.depth, recipe.sigma_w, recipe.sigma_b, recipe.activation.name, recipe.strength,
        ensemble, recipe.alpha, networks, each, seed, device, method,
    )  # fmt: skip


def _most_clusters(depth: int) -> int:
    """How many networks have room side by side; of more inputs each there may be any number."""
    return _MEMORY // (72 * duration_edges(depth).size + 8 * 3000)


def fresh_steps(
    recipe: Recipe, *, below_threshold: bool = False
) -> tuple[Callable[[np.random.Generator], conveyor.Steps], str]:
    """How a fresh-weight path goes on, given a generator, and what that is called.

    A path is over once it is below threshold, and tables end there; with `below_threshold` it may go on.
    """
    if recipe.alpha == 2.0 and recipe.width >= SMALLEST_WIDTH:
        table = Table(recipe, below_threshold=below_threshold)
        return (lambda rng: Chain(table, rng)), "exact chain of layer strengths, through tables"

    def sites(rng: np.random.Generator) -> conveyor.Steps:
        return Sites(
            recipe.activation, recipe.width, recipe.sigma_w, recipe.sigma_b, recipe.strength, recipe.alpha, rng
        )

    return sites, "exact chain of layer scales, every pre-activation drawn"


def _fresh(recipe: Recipe, networks: int, each: int, seed: int) -> tuple[list[tuple[int, Block]], str]:
    make, method = fresh_steps(recipe)
    target = _PATHS_PER_BLOCK if recipe.alpha == 2.0 and recipe.width >= SMALLEST_WIDTH else _DRAWN_PATHS_PER_BLOCK
    size = max(1, target // each)
    sizes = [min(size, networks - first) for first in range(0, networks, size)]

    def block(clusters: int, own: np.random.SeedSequence) -> Block:
        task = conveyor.Task(clusters, each, recipe.depth, recipe.width, recipe.strength)
        return lambda: conveyor.run(task, make(np.random.Generator(np.random.SFC64(own))))

    seeds = np.random.SeedSequence(seed).spawn(len(sizes))
    return [(clusters, block(clusters, own)) for clusters, own in zip(sizes, seeds, strict=True)], method


def _own_weights(
    recipe: Recipe, networks: int, each: int, seed: int, device: str
) -> tuple[list[tuple[int, Block]], str]:
    if recipe.width > _WIDEST_MATRIX:
        raise UsageError(
            f"width {recipe.width} was asked for with weights of its own, but matrices go up to {_WIDEST_MATRIX}; "
            "the fresh ensemble has no matrices and goes further"
        )
    seeds = np.random.SeedSequence(seed).spawn(networks)
    # Networks share what a block costs beside them, once there are enough blocks for every worker.
    size = max(1, min(_MOST_NETWORKS_PER_BLOCK, networks // 64, _MOST_INPUTS // (4 * each)))
    parts = [seeds[first : first + size] for first in range(0, networks, size)]
    if device == "cpu":

        def block(own: list[np.random.SeedSequence]) -> Block:
            return lambda: quenched.run(recipe, each, own)

        return [(len(own), block(own)) for own in parts], "matrix products (NumPy, float32)"
    from critaudit.dynamics.avalanches import quenched_torch

    where = quenched_torch.place(device)
    quenched_torch.torch_activation(recipe.activation.name)

    def there(own: list[np.random.SeedSequence]) -> Block:
        return lambda: quenched_torch.run(recipe, each, own, where)

    return [(len(own), there(own)) for own in parts], f"matrix products (PyTorch on {device}, float32)"


def _run(blocks: list[tuple[int, Block]], threads: int, networks: int, progress: Progress | None) -> AvalancheCounts:
    """All blocks' results in order."""
    with ThreadPoolExecutor(max_workers=min(threads, len(blocks))) as pool:
        futures = deque(pool.submit(block) for _, block in blocks)

        def results() -> Iterator[AvalancheCounts]:
            done = 0
            for clusters, _ in blocks:
                yield futures.popleft().result()
                done += clusters
                if progress is not None:
                    progress("networks", done, networks)

        try:
            return merge(results())
        finally:
            for future in futures:
                future.cancel()


def recipe_of(
    width: int,
    depth: int,
    sigma_w: float,
    sigma_b: float,
    activation: str | Activation | Function,
    strength: float,
    alpha: float,
    ensemble: str,
) -> Recipe:
    """The settings of `simulate`, checked; raises as it does."""
    if ensemble not in get_args(Ensemble):
        raise UsageError(f"ensemble {ensemble!r:.40} is not known; give one of {', '.join(get_args(Ensemble))}")
    phi = as_activation(activation)
    alpha = float(alpha)
    try:
        check_point(alpha, 1.0, 0.0)
        check_bounded(alpha, phi)
    except CritauditError as error:  # a limit of the theory, and of what can be asked for here
        raise UsageError(str(error)) from None
    return Recipe(
        width=_whole(width, "width", 1, _WIDEST_CHAIN),
        depth=_whole(depth, "depth", 2, _DEEPEST),
        sigma_w=_positive(sigma_w, "sigma_w"),
        sigma_b=_positive(sigma_b, "sigma_b", zero=True),
        activation=phi,
        strength=_positive(strength, "strength"),
        alpha=alpha,
        recurrent=ensemble == "recurrent",
    )


def _whole(value: object, name: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise UsageError(f"{name} = {value!r:.40} was given; it must be a whole number from {low} to {high}")
    return int(value)


def _positive(value: float, name: str, *, zero: bool = False) -> float:
    number = float(value)
    if not math.isfinite(number) or number < 0.0 or number > 1e6 or (not zero and number < 1e-6):
        raise UsageError(f"{name} = {number} was given; it must be a number from {'0' if zero else '1e-6'} to 1e6")
    return number
