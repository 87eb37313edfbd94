"""The initialisations that advice weighs, each made, looked at and tried on a copy of the network."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from critaudit.advice.initial.passes import Passes, passes
from critaudit.advice.initial.sharpness import Sharpness, sharpness
from critaudit.advice.initial.trials import Task, Trial, trial
from critaudit.errors import CritauditError
from critaudit.init import Critical, critical_
from critaudit.init.critical import Family

if TYPE_CHECKING:
    from torch import nn

    from critaudit.advice.course import OptimizerSetting

READOUTS = (1.0, 0.3, 0.1)
TAILS = (1.8, 1.5)
# σ_b of the candidate on the edge of chaos with biases.
SIGMA_B = 0.2


@dataclass(frozen=True, slots=True)
class Recipe:
    """The options of `critaudit.init.critical_` that a candidate is made with."""

    family: Family
    readout: float = 1.0
    alpha: float | None = None
    sigma_b: float = 0.0
    branch: float = 1.0
    activation: str | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        """For people: "orthogonal, readout 0.3"."""
        tail = "" if self.alpha is None else f", α = {self.alpha:g}"
        bias = "" if self.sigma_b == 0.0 else f", σ_b = {self.sigma_b:g}"
        branch = "" if self.branch == 1.0 else f", branches {self.branch:g}"
        return f"{self.family}{tail}{bias}{branch}, readout {self.readout:g}"

    @property
    def call(self) -> str:
        """The arguments behind the module, as Python."""
        parts = [f'family="{self.family}"', f"readout={self.readout:g}"]
        if self.alpha is not None:
            parts.append(f"alpha={self.alpha:g}")
        if self.sigma_b:
            parts.append(f"sigma_b={self.sigma_b:g}")
        if self.branch != 1.0:
            parts.append(f"branch={self.branch:g}")
        if self.activation is not None:
            parts.append(f'activation="{self.activation}"')
        return ", ".join([*parts, f"seed={self.seed}"])

    def apply_(self, module: nn.Module, inputs: object) -> Critical:
        """Initialise `module` in place."""
        return critical_(
            module,
            inputs,
            activation=self.activation,
            family=self.family,
            alpha=1.8 if self.alpha is None else self.alpha,
            readout=self.readout,
            sigma_b=self.sigma_b,
            branch=self.branch,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """An initialisation as measured: `recipe` None means the weights that the module came with.

    `passes` from one forward and one backward pass, `sharpness` the loss's largest Gauss–Newton eigenvalue (None where
    it cannot be had), `trial` a short training with the user's optimizer. `failed` says why there are no numbers.
    """

    name: str
    recipe: Recipe | None
    critical: Critical | None = None
    passes: Passes | None = None
    sharpness: Sharpness | None = None
    trial: Trial | None = None
    failed: str = ""


def weigh(
    module: nn.Module,
    task: Task,
    setting: OptimizerSetting,
    *,
    activation: str | None,
    steps: int,
    seed: int,
    curvature: bool = True,
) -> Iterator[tuple[Candidate, nn.Module | None]]:
    """The candidates, each with a network that has its weights, in the order in which they are made.

    First the weights that are there, then orthogonal ones with three sizes of the readout; the best of these sizes is
    that of the others: Gaussian ones, then with biases on the edge of chaos in chains, with residual branches each as
    strong as the stream in networks that have such, and heavy-tailed ones.
    """
    present = examined(module, "the weights it has", None, None, task, setting, steps, seed, curvature)
    yield present, copy.deepcopy(module)
    basis = Recipe("orthogonal", activation=activation, seed=seed)
    best: Candidate | None = None
    for readout in READOUTS:
        candidate, network = _made(module, replace(basis, readout=readout), task, setting, steps, seed, curvature)
        yield candidate, network
        if candidate.trial is not None and (best is None or candidate.trial.score < best.trial.score):  # type: ignore[union-attr]
            best = candidate
    readout = best.recipe.readout if best is not None and best.recipe is not None else READOUTS[0]
    chosen = replace(basis, readout=readout)
    has_chain = best is not None and best.critical is not None and best.critical.depth > 1
    others = [replace(chosen, family="gaussian")]
    if has_chain:
        others.append(replace(chosen, family="gaussian", sigma_b=SIGMA_B))
    branches = 0 if best is None or best.critical is None else best.critical.branches
    if branches > 1:
        others.append(replace(chosen, branch=float(branches)))
    others += [replace(chosen, family="stable", alpha=alpha) for alpha in TAILS]
    for recipe in others:
        yield _made(module, recipe, task, setting, steps, seed, curvature)


def _made(
    module: nn.Module,
    recipe: Recipe,
    task: Task,
    setting: OptimizerSetting,
    steps: int,
    seed: int,
    curvature: bool,
) -> tuple[Candidate, nn.Module | None]:
    network = copy.deepcopy(module)
    try:
        critical = recipe.apply_(network, tuple(_first(part, task.batch_size) for part in task.arguments))
    except CritauditError as error:
        return Candidate(recipe.name, recipe, failed=str(error)), None
    return examined(network, recipe.name, recipe, critical, task, setting, steps, seed, curvature), network


def examined(
    network: nn.Module,
    name: str,
    recipe: Recipe | None,
    critical: Critical | None,
    task: Task,
    setting: OptimizerSetting,
    steps: int,
    seed: int,
    curvature: bool = True,
) -> Candidate:
    """A candidate with its passes, its sharpness (with `curvature`) and its trial."""
    arguments = tuple(_first(part, task.batch_size) for part in task.arguments)
    targets = _first(task.targets, task.batch_size)
    try:
        seen = passes(network, arguments, task.loss, targets)
        tried = trial(network, task, setting, lr=setting.lr, steps=steps, seed=seed)
    except CritauditError:
        raise
    except Exception as error:  # the user's network and loss: anything can come out of them
        text = " ".join(str(error).split())[:200]
        return Candidate(name, recipe, critical, failed=f"{type(error).__name__}: {text}")
    if not curvature:
        return Candidate(name, recipe, critical, seen, None, tried)
    kind = "squared" if getattr(task.targets, "is_floating_point", bool)() else "cross_entropy"
    try:
        sharp = sharpness(network, arguments, loss_curvature=kind, seed=seed)
    except (RuntimeError, NotImplementedError, TypeError):  # an operation without a second derivative
        sharp = None
    return Candidate(name, recipe, critical, seen, sharp, tried)


def _first(values: object, count: int) -> object:
    import torch

    return values[:count] if isinstance(values, torch.Tensor) and values.ndim > 0 else values
