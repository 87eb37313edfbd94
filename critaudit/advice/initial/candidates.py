"""The initialisations that advice weighs, each made, looked at and tried on a copy of the network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from critaudit.advice.initial.passes import Passes, experimental, passes
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
) -> Iterator[Candidate]:
    """The candidates, in the order in which they are made; each is made on a copy of the network that is let go.

    First the weights that are there, then orthogonal ones with three sizes of the readout; the best of these sizes is
    that of the others: Gaussian ones, then with biases on the edge of chaos in chains, with residual branches each as
    strong as the stream in networks that have such, and heavy-tailed ones. The best trial so far is the rival of the
    next (`trials.hopeless`).
    """
    trying = _Trying(module, task, setting, steps, seed, curvature)
    yield trying.examined(module, "the weights it has", None, None)
    basis = Recipe("orthogonal", activation=activation, seed=seed)
    tried: list[Candidate] = []
    for readout in READOUTS:
        tried.append(trying.made(replace(basis, readout=readout)))
        yield tried[-1]
    known = [one for one in tried if one.trial is not None]
    best = min(known, key=lambda one: math.inf if one.trial is None else one.trial.score, default=None)
    if best is None or best.recipe is None or best.critical is None:
        return  # what fails for these weights fails for others
    others = [replace(best.recipe, family="gaussian")]
    if best.critical.depth > 1:
        others.append(replace(best.recipe, family="gaussian", sigma_b=SIGMA_B))
    if best.critical.branches > 1:
        others.append(replace(best.recipe, branch=float(best.critical.branches)))
    others += [replace(best.recipe, family="stable", alpha=alpha) for alpha in TAILS]
    for recipe in others:
        yield trying.made(recipe)


def remade(module: nn.Module, candidate: Candidate, task: Task) -> nn.Module:
    """The network with a candidate's weights: the module itself, or a copy made by the candidate's recipe."""
    if candidate.recipe is None:
        return module
    network = experimental(module)
    candidate.recipe.apply_(network, task.first()[0])
    return network


class _Trying:
    """What is the same for all candidates, and the best trial so far."""

    def __init__(
        self, module: nn.Module, task: Task, setting: OptimizerSetting, steps: int, seed: int, curvature: bool
    ) -> None:
        self._module, self._task, self._setting = module, task, setting
        self._steps, self._seed, self._curvature = steps, seed, curvature
        self._rival: Trial | None = None

    def made(self, recipe: Recipe) -> Candidate:
        """The candidate that a recipe makes of a copy of the module."""
        network = experimental(self._module)
        try:
            critical = recipe.apply_(network, self._task.first()[0])
        except CritauditError as error:
            return Candidate(recipe.name, recipe, failed=str(error))
        return self.examined(network, recipe.name, recipe, critical)

    def examined(self, network: nn.Module, name: str, recipe: Recipe | None, critical: Critical | None) -> Candidate:
        """A candidate with its passes, its sharpness and its trial."""
        arguments, targets = self._task.first()
        try:
            seen = passes(network, arguments, self._task.loss, targets)
            tried = trial(
                network,
                self._task,
                self._setting,
                lr=self._setting.lr,
                steps=self._steps,
                seed=self._seed,
                rival=self._rival,
            )
        except CritauditError:
            raise
        except Exception as error:  # the user's network and loss: anything can come out of them
            text = " ".join(str(error).split())[:200]
            return Candidate(name, recipe, critical, failed=f"{type(error).__name__}: {text}")
        if not tried.stopped and (self._rival is None or tried.score < self._rival.score):
            self._rival = tried
        return Candidate(name, recipe, critical, seen, self._sharpness(network, arguments, targets), tried)

    def _sharpness(self, network: nn.Module, arguments: tuple[Any, ...], targets: Any) -> Sharpness | None:
        if not self._curvature:
            return None
        try:
            return sharpness(network, arguments, loss=self._task.loss, targets=targets, seed=self._seed)
        except Exception:  # an operation without a second derivative, a loss that takes more than the output
            return None
