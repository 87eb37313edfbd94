"""What simulated avalanches cost: `python benchmarks/avalanches.py`, about a minute on one thread.

- The exact chain of fresh-weight networks, in avalanches (D ≥ 1) per processor second at N = 100 and 400, tanh with
  σ_w² = 1.03, depth 200, inputs of strength 0.1. Limit: 3·10⁵ at N = 400.
- Quenched networks, in floating-point operations of the matrix products that paths still in an avalanche need, per
  second of all work but the drawing of weights, over the rate of NumPy's own float32 product of the first layer's
  shapes in the same run. Limit: 50 % at N = 400 and above.
- Chain against matrix products, path by path: Kolmogorov–Smirnov p-values of durations and of sizes at N = 100 and 400
  (with `--agree`, several minutes). Limit: none below 0.001.

Prints the ratios to the limits and exits with 1 where one is missed.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np

from critaudit.dynamics.avalanches import conveyor, quenched
from critaudit.dynamics.avalanches.ensemble import fresh_steps, simulate
from critaudit.dynamics.avalanches.quenched import Recipe
from critaudit.dynamics.avalanches.tracking import Floats
from critaudit.theory.activations import named_activation

SIGMA_W = 1.03**0.5
AVALANCHES_PER_SECOND = 3e5
SHARE_OF_GEMM = 0.5
LEAST_P = 1e-3


def main() -> int:
    """Measure, print, and say whether every limit was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agree", action="store_true", help="compare the chain with matrix products as well")
    options = parser.parse_args()
    kept = [chain_rate(width) for width in (100, 400)]
    kept += [quenched_rate(width) for width in (400, 1000)]
    if options.agree:
        kept += [agreement(width, networks) for width, networks in ((100, 4000), (400, 1000))]
    return 0 if all(kept) else 1


def chain_rate(width: int) -> bool:
    """Avalanches per processor second, tables made before, the best of five runs of 2¹⁸ paths."""
    settings = {"width": width, "depth": 200, "sigma_w": SIGMA_W, "strength": 0.1, "workers": 1}
    simulate(**settings, networks=1, inputs_per_network=1000)  # makes the tables
    best = 0.0
    for seed in range(5):
        started = time.process_time()
        counts = simulate(**settings, networks=64, inputs_per_network=4096, seed=seed).counts
        best = max(best, (counts.avalanches + counts.censored.sum()) / (time.process_time() - started))
    kept = width < 400 or best >= AVALANCHES_PER_SECOND
    print(
        f"chain     N = {width:4}: {best:9.3g} avalanches/s, {best / AVALANCHES_PER_SECOND:.2f} × the limit", flush=True
    )
    return kept


def quenched_rate(width: int) -> bool:
    """Useful operations per second without the drawing of weights, over NumPy's own rate, the best of three runs."""
    recipe = Recipe(width, 100, SIGMA_W, 0.0, named_activation("tanh"), 0.1)
    count = 4000 if width <= 400 else 2000
    best = 0.0
    for seed in range(3):
        drawing = Drawing()
        path = quenched.Path(recipe, count)
        started = time.process_time()
        quenched.follow(recipe, path, count, np.random.SeedSequence(seed), drawing)
        spent = time.process_time() - started - drawing.seconds
        # A path is in one product more than it lasts layers, unless it lasts to the end.
        products = int(np.minimum(path.lasting + 1, recipe.depth).sum())
        best = max(best, 2.0 * width * width * products / spent / gemm_rate(count, width))
    print(
        f"quenched  N = {width:4}: {best:9.2f} of the product's rate, {best / SHARE_OF_GEMM:.2f} × the limit",
        flush=True,
    )
    return best >= SHARE_OF_GEMM


class Drawing:
    """The weights of `quenched.layers`, with a clock on them."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, recipe: Recipe, seed: np.random.SeedSequence) -> Iterator[tuple[Floats, Floats]]:
        stream = quenched.layers(recipe, seed)
        while True:
            started = time.process_time()
            layer = next(stream, None)
            self.seconds += time.process_time() - started
            if layer is None:
                return
            yield layer


def gemm_rate(rows: int, width: int) -> float:
    """Operations per processor second of NumPy's float32 product (rows, N) @ (N, N), the best of five."""
    rng = np.random.default_rng(0)
    x, weights = (rng.standard_normal(shape, dtype=np.float32) for shape in ((rows, width), (width, width)))
    out = np.empty_like(x)
    shortest = float("inf")
    for _ in range(5):
        started = time.process_time()
        np.matmul(x, weights, out=out)
        shortest = min(shortest, time.process_time() - started)
    return 2.0 * width * width * rows / shortest


def agreement(width: int, networks: int) -> bool:
    """One input per network by matrix products against a million paths of the chain."""
    from scipy.stats import ks_2samp

    recipe = Recipe(width, 40, 1.1, 0.05, named_activation("tanh"), 0.2)
    make, _ = fresh_steps(recipe)
    task = conveyor.Task(1, 10**6, recipe.depth, width, recipe.strength)
    by_chain = conveyor.endings(task, make(np.random.default_rng(0)))
    by_products = [
        np.concatenate(parts)
        for parts in zip(*(endings(recipe, seed) for seed in np.random.SeedSequence(0).spawn(networks)), strict=True)
    ]
    values = [float(ks_2samp(chain, product).pvalue) for chain, product in zip(by_chain, by_products, strict=True)]
    print(
        f"agreement N = {width:4}: p = {values[0]:.3f} (durations), {values[1]:.3f} (excess), {networks} networks",
        flush=True,
    )
    return min(values) >= LEAST_P


def endings(recipe: Recipe, seed: np.random.SeedSequence) -> tuple[np.ndarray, np.ndarray]:
    """How long one input of one network lasted, and Σ (s − θ)."""
    path = quenched.Path(recipe, 1)
    quenched.follow(recipe, path, 1, seed)
    return path.lasting, path.excess


if __name__ == "__main__":
    sys.exit(main())
