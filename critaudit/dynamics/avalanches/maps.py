"""The susceptibility of the mean field beside what networks of finite width and depth do, over (σ_w, σ_b)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from critaudit import processors
from critaudit.dynamics.avalanches import conveyor
from critaudit.dynamics.avalanches.ensemble import Progress, fresh_steps, recipe_of
from critaudit.dynamics.avalanches.quenched import Recipe
from critaudit.errors import CritauditError, UsageError
from critaudit.laws.crackling.records import Array
from critaudit.theory import gaussian
from critaudit.theory.activations import Activation, Function, as_activation

_MOST_POINTS = 10_000
# Signals settle in the first half of the layers; strengths are averaged over the second.
_SETTLED = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class SusceptibilityMap:
    """Measured and predicted response over the grid σ_b (rows) × σ_w (columns); NaN where a quantity does not exist.

    Measured on `paths` fresh-weight networks per point, of the width and depth given, on inputs of `strength`, which is
    the threshold as well: `mean_size` and `mean_excess` are mean sizes n·Σs and n·Σ(s − θ) per path (zero without
    avalanche, as far as the last layer where it does not end), `size_error` the standard error of the former,
    `censored` the share of paths that are above threshold to the last layer, `mean_strength` the strength without any
    threshold, averaged over paths and the second half of the layers.
    From theory (infinite width): `strength` s* and `susceptibility` χ_s = ∂s*/∂σ_w at each point; for each σ_b the
    Widom line, where χ_s is largest, and the edge of chaos χ₁ = 1.
    """

    sigma_w: Array
    sigma_b: Array
    width: int
    depth: int
    activation: str
    input_strength: float
    paths: int
    seed: int
    mean_size: Array
    size_error: Array
    mean_excess: Array
    censored: Array
    mean_strength: Array
    strength: Array
    susceptibility: Array
    widom_line: Array
    edge_of_chaos: Array

    @property
    def measured_susceptibility(self) -> Array:
        """∂s/∂σ_w of the measured mean strength, by differences along each row; needs two columns or more."""
        return np.asarray(np.gradient(self.mean_strength, self.sigma_w, axis=1))


def susceptibility_map(
    sigma_ws: Sequence[float] | NDArray[np.floating],
    sigma_bs: Sequence[float] | NDArray[np.floating],
    *,
    width: int,
    depth: int,
    activation: str | Activation | Function = "tanh",
    strength: float = 0.1,
    paths: int = 4000,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> SusceptibilityMap:
    """Mean avalanche size and mean strength over a grid of (σ_w, σ_b), beside χ_s and the Widom line (Ghavasieh25).

    `sigma_ws` and `sigma_bs` are ascending. All points share random numbers, so that differences between neighbours are
    those of the networks. `progress("susceptibility map", done, total)` is called as points are done.
    Raises UsageError for grids that are empty, not ascending or above 10,000 points, and as `simulate` does.
    """
    columns, rows = _axis(sigma_ws, "sigma_ws"), _axis(sigma_bs, "sigma_bs")
    if columns.size * rows.size > _MOST_POINTS:
        raise UsageError(
            f"{columns.size} × {rows.size} points were asked for; a map has at most {_MOST_POINTS}: use a coarser grid"
        )
    if isinstance(paths, bool) or not isinstance(paths, int) or not 2 <= paths <= 10**7:
        raise UsageError(f"paths = {paths!r:.40} was given; it must be a whole number from 2 to 10000000")
    phi = as_activation(activation)
    points = [(float(w), float(b)) for b in rows for w in columns]
    recipes = [recipe_of(width, depth, w, b, phi, strength, 2.0, "fresh") for w, b in points]
    size, error, excess, censored, mean = _measured(recipes, paths, seed, workers, progress).reshape(
        5, rows.size, columns.size
    )
    predicted = np.array([_predict(w, b, phi) for w, b in points]).T.reshape(2, rows.size, columns.size)
    return SusceptibilityMap(
        columns, rows, recipes[0].width, recipes[0].depth, phi.name, recipes[0].strength, paths, seed,
        mean_size=size,
        size_error=error,
        mean_excess=excess,
        censored=censored,
        mean_strength=mean,
        strength=predicted[0],
        susceptibility=predicted[1],
        widom_line=np.array([_line(gaussian.widom_line, float(b), phi) for b in rows]),
        edge_of_chaos=np.array([_line(gaussian.edge_of_chaos, float(b), phi) for b in rows]),
    )  # fmt: skip


def _measured(
    recipes: Sequence[Recipe], paths: int, seed: int, workers: int | None, progress: Progress | None
) -> Array:
    """What `_measure` says of each point, shape (5, points)."""
    measured = []
    with threadpool_limits(1), ThreadPoolExecutor(max_workers=workers or processors.available()) as pool:
        for values in pool.map(lambda recipe: _measure(recipe, paths, seed), recipes):
            measured.append(values)
            if progress is not None:
                progress("susceptibility map", len(measured), len(recipes))
    return np.array(measured).T


def _axis(values: Sequence[float] | NDArray[np.floating], name: str) -> Array:
    axis = np.asarray(values, dtype=np.float64).ravel()
    if axis.size == 0 or np.any(np.diff(axis) <= 0.0):
        raise UsageError(f"{name} must be one or more numbers in ascending order")
    return axis


def _measure(recipe: Recipe, paths: int, seed: int) -> tuple[float, float, float, float, float]:
    make, _ = fresh_steps(recipe, below_threshold=True)
    task = conveyor.Task(1, paths, recipe.depth, recipe.width, recipe.strength)
    lasting, excess = conveyor.endings(task, make(np.random.Generator(np.random.SFC64(seed))))
    sizes = recipe.width * (excess + recipe.strength * lasting)
    return (
        float(sizes.mean()),
        float(sizes.std(ddof=1) / np.sqrt(paths)),
        float(recipe.width * excess.mean()),
        float(np.mean(lasting == recipe.depth)),
        _settled_strength(recipe, make(np.random.Generator(np.random.SFC64([seed, 1]))), min(paths, 1000)),
    )


def _settled_strength(recipe: Recipe, steps: conveyor.Steps, paths: int) -> float:
    """Mean strength over the second half of the layers, whatever the threshold."""
    state, first = steps.start(paths), int(_SETTLED * recipe.depth)
    means = []
    for layer in range(recipe.depth):
        strength = steps.strength(state)
        if layer >= first:
            means.append(float(strength.mean(dtype=np.float64)))
        state = steps.advance(strength)
    return float(np.mean(means))


def _predict(sigma_w: float, sigma_b: float, phi: Activation) -> tuple[float, float]:
    found = gaussian.fixed_point(sigma_w, sigma_b, phi)
    strength = found.strength if found.strength is not None else np.nan
    try:
        return strength, gaussian.susceptibility(sigma_w, sigma_b, phi)
    except CritauditError:
        return strength, np.nan


def _line(of: object, sigma_b: float, phi: Activation) -> float:
    assert callable(of)
    try:
        return float(of(sigma_b, phi))
    except CritauditError:
        return float("nan")
