"""Which initialisation to take for a given network, optimizer and learning rate: predicted, measured, and tried."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from critaudit.advice.course import OptimizerSetting
from critaudit.advice.initial.candidates import Candidate, Recipe, remade, weigh
from critaudit.advice.initial.passes import LOST, Loss
from critaudit.advice.initial.rates import RateRange, rate_range
from critaudit.advice.initial.tasks import task_for
from critaudit.advice.initial.theory import Prediction, predict
from critaudit.advice.initial.threads import fitting_threads
from critaudit.analyzers.base import Progress
from critaudit.errors import UsageError
from critaudit.init import Critical
from critaudit.init.arguments import place_of
from critaudit.theory.activations import as_activation

if TYPE_CHECKING:
    from torch import nn

    from critaudit.advice.initial.trials import Task

STEPS = 40
# A difference of trial losses counts beyond this many standard errors.
_CLEAR = 2.0
# Below so many samples the report says that they are few.
_FEW = 128
_USUAL_COUNT = 8  # candidates, for whoever shows progress
# On a stand-in, nothing is told by losses that come down by less than this part of the first one.
_TOLD = 0.05
# Of candidates that are as good, the first of these is taken where sharpness does not decide.
_PREFERRED = ("present", "orthogonal", "gaussian", "stable")


@dataclass(frozen=True, slots=True, eq=False)
class InitialisationAdvice:
    """Which weights to start from.

    `candidates` are all that were weighed, `present` the weights that the module came with; `chosen` is one of them.
    `rates` are the learning rates at which it was tried. `predictions` hold by activation for chains of layers.
    `setting` is the optimizer that trials were made with, `task` says on what; `stand_in` that no targets were given.
    """

    candidates: tuple[Candidate, ...]
    present: Candidate
    chosen: Candidate
    rates: RateRange
    predictions: tuple[Prediction, ...]
    setting: OptimizerSetting
    task: str
    stand_in: bool
    samples: int
    batch_size: int
    steps: int
    inputs: tuple[Any, ...]
    assumed: tuple[str, ...] = ()

    @property
    def recipe(self) -> Recipe | None:
        """How to make the recommended weights; None where those that are there are as good as any."""
        return self.chosen.recipe

    @property
    def snippet(self) -> str:
        """Copyable Python that applies the recommendation."""
        if self.recipe is None:
            return "# Keep the weights as they are."
        return (
            "import critaudit.init\n\n"
            "critaudit.init.critical_(model, inputs, "
            f"{self.recipe.call})  # inputs: one batch, as model takes it"
        )

    def apply_(self, module: nn.Module) -> Critical | None:
        """Initialise `module` in place as recommended, on the inputs that the advice was made with."""
        return None if self.recipe is None else self.recipe.apply_(module, self.inputs)


def initialisation(
    module: nn.Module,
    inputs: Any = None,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    optimizer: OptimizerSetting | Any = None,
    lr: float | None = None,
    batch_size: int | None = None,
    activation: str | None = None,
    steps: int = STEPS,
    seed: int = 0,
    curvature: bool = True,
    progress: Progress | None = None,
) -> InitialisationAdvice:
    """Weigh initialisations of `module`, which is left as it is.

    Candidates are the present weights, orthogonal ones with three sizes of the readout, Gaussian ones without biases
    and on the edge of chaos with biases, orthogonal ones with full-sized residual branches, and heavy-tailed ones
    (α = 1.8, 1.5), all scaled by `init.critical_`.
    Each is passed forward and backward once, and trained for `steps` steps with the optimizer (a live one, its setting,
    or a name of torch.optim; by default SGD) at learning rate `lr` on `inputs` and `targets`; without targets a random
    linear teacher answers. `choose` says which one is taken. Trials that are hopeless at half of their steps end there
    (`trials.hopeless`). At last the winner is tried at a tenth to ten times the learning rate. Without `curvature`
    sharpness, which takes as long as some tens of steps, is left out. `progress(stage, done, total)` is called as work
    goes on.

    Raises UsageError where the network cannot be run or an option makes no sense.
    """
    import torch

    if steps < 8:
        raise UsageError(f"steps is {steps}; a trial needs at least 8")
    if activation is not None:
        as_activation(activation)
    setting, assumed = _setting(optimizer, lr)
    device = place_of(module)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), fitting_threads(module):
        torch.manual_seed(seed)
        task = task_for(module, inputs, targets, loss, batch_size=batch_size, seed=seed)
        found: list[Candidate] = []
        weighed = weigh(module, task, setting, activation=activation, steps=steps, seed=seed, curvature=curvature)
        for candidate in weighed:
            found.append(candidate)
            if progress is not None:
                progress("initialisations", len(found), max(_USUAL_COUNT, len(found)))
        if found[0].failed:
            raise UsageError(f"the network does not train: {found[0].failed}")
        limit = 2.0 / setting.lr if setting.name == "SGD" else math.inf
        chosen = choose(found, stand_in=task.stand_in, limit=limit)
        known = () if chosen.trial is None else (chosen.trial,)
        if progress is not None:
            progress("learning rates", 0, 1)
        rates = rate_range(remade(module, chosen, task), task, setting, steps=steps, seed=seed, known=known)
    return InitialisationAdvice(
        candidates=tuple(found),
        present=found[0],
        chosen=chosen,
        rates=rates,
        predictions=_predictions(found),
        setting=setting,
        task=task.what,
        stand_in=task.stand_in,
        samples=task.samples,
        batch_size=task.batch_size,
        steps=steps,
        inputs=tuple(_kept(part) for part in task.first()[0]),
        assumed=(*assumed, *_few(task)),
    )


def choose(candidates: list[Candidate], *, stand_in: bool = False, limit: float = math.inf) -> Candidate:
    """The candidate of the lowest trial loss; of those that are as good within the error, the least sharp one.

    The less sharp a network is, the farther the learning rate is from where training becomes unstable. Where sharpness
    is not known, the present weights come first, then orthogonal, Gaussian and heavy-tailed ones. What came less than
    half as far down from the lowest first loss as the best one is not as good, however noisy the losses are. What
    failed, diverged or was given up is left out; where nothing trained, the first one is taken.

    On a `stand_in` for the user's task all that came half as far down are as good: a lower loss is better memory for
    random answers there. Of them, the present weights are kept unless they are sharper than `limit`. They are kept as
    well where hardly anything is learnt, unless gradients vanish or explode behind them.
    """
    tried = [
        one for one in candidates if one.trial is not None and not one.trial.stopped and math.isfinite(one.trial.score)
    ]
    if not tried:
        return candidates[0]
    best = min(tried, key=_score)
    first = min(one.trial.losses[0] for one in tried if one.trial is not None)
    level = _score(best) + max(0.5 * (first - _score(best)), 0.0)
    as_good = [
        one
        for one in tried
        if _score(one) <= level and (stand_in or _score(one) - _score(best) <= _CLEAR * _error(one, best))
    ]
    present = candidates[0]
    if stand_in and first - _score(best) < _TOLD * abs(first) and present in tried and _is_calm(present):
        return present
    if stand_in and present in as_good and (present.sharpness is None or present.sharpness.value <= limit):
        return present
    return min(as_good, key=lambda one: (_sharpness(one), _preference(one), _score(one)))


def _is_calm(candidate: Candidate) -> bool:
    total = None if candidate.passes is None else candidate.passes.gradient_total
    return total is None or abs(total) / 2.0 < LOST


def _sharpness(candidate: Candidate) -> float:
    return math.inf if candidate.sharpness is None else candidate.sharpness.value


def _preference(candidate: Candidate) -> int:
    return _PREFERRED.index(candidate.recipe.family if candidate.recipe else "present")


def _score(candidate: Candidate) -> float:
    return math.inf if candidate.trial is None else candidate.trial.score


def _error(one: Candidate, other: Candidate) -> float:
    """Standard error of the difference of two scores, from the batches that both saw."""
    if one.trial is None or other.trial is None or one is other:
        return 0.0
    half = len(one.trial.losses) // 2
    gaps = [a - b for a, b in zip(one.trial.losses[half:], other.trial.losses[half:], strict=True)]
    mean = math.fsum(gaps) / len(gaps)
    return math.sqrt(math.fsum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1) / len(gaps))


def _setting(optimizer: Any, lr: float | None) -> tuple[OptimizerSetting, tuple[str, ...]]:
    from dataclasses import replace

    from critaudit.advice.optimizers import settings_of

    assumed: list[str] = []
    if optimizer is None:
        setting = OptimizerSetting("SGD", 0.01 if lr is None else lr)
        assumed.append("no optimizer was named: plain SGD is assumed")
    elif isinstance(optimizer, OptimizerSetting):
        setting = optimizer
    elif isinstance(optimizer, str):
        usual = {"SGD": 0.01, "Adam": 0.001, "AdamW": 0.001}.get(optimizer, 0.001)
        setting = OptimizerSetting(optimizer, usual if lr is None else lr, decoupled=optimizer == "AdamW")
        if optimizer == "AdamW":
            setting = replace(setting, weight_decay=0.01)
    else:
        setting = settings_of(optimizer)[0]
    if lr is not None:
        setting = replace(setting, lr=lr)
    elif optimizer is None or isinstance(optimizer, str):
        assumed.append(f"no learning rate was given: {setting.lr:g} is assumed")
    if not 0.0 < setting.lr < math.inf:
        raise UsageError(f"lr = {setting.lr} was given; a learning rate above 0 is expected")
    return setting, tuple(assumed)


def _few(task: Task) -> tuple[str, ...]:
    if task.samples >= _FEW:
        return ()
    return (f"{task.samples} samples are few: what learns them fastest need not be what learns most",)


def _predictions(candidates: list[Candidate]) -> tuple[Prediction, ...]:
    critical = next((one.critical for one in candidates if one.critical is not None), None)
    if critical is None:
        return ()
    return tuple(
        predict(name.removeprefix("chain:"), point, critical.depth)
        for name, point in critical.points.items()
        if name.startswith("chain:")
    )


def _kept(values: Any) -> Any:
    import torch

    return values.detach().clone() if isinstance(values, torch.Tensor) else values
