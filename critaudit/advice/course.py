"""What a training was, as far as advice rests on it: the spreads of its layers along the steps, and its settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class OptimizerSetting:
    """How the weights of one parameter group are updated.

    `name` is the optimizer's class name in PyTorch ("SGD", "AdamW"); `decoupled` says that weight decay acts on the
    weights directly (AdamW) and not through the gradient. `betas` are those of Adam's family. Values as in
    `optimizer.param_groups`, where PyTorch's `weight_decay` is twice the λ of a loss with λ|w|² (Zhang21).
    """

    name: str
    lr: float
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    betas: tuple[float, float] | None = None
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = False


@dataclass(frozen=True, slots=True)
class LayerCourse:
    """One weight matrix along a training, at `steps` (numbers of optimizer steps so far, ascending).

    `j_squared` = N·var(W) and `j0` = N·mean(W) with N = fan_in, one value per step in `steps`. `activation` is the
    nonlinearity on the layer's output where known; `sigma_b` the root mean square of its bias at the last step (None:
    no bias). `settings` are the optimizer's for this matrix at the same steps; `adaptivity` is, for optimizers that
    scale each gradient (Adam), the mean of w²/(√v̂ + ε) over the mean of w² at the same steps, where it was recorded.
    `normalised` says that a normalisation layer undoes the scale of these weights. `kind` is that of the weight matrix
    in `critaudit.model` ("linear", "conv", "recurrent", …). `measured_decay` is the share of J² that a weight decay of
    1 takes per step at the last step, where it was measured on the live optimizer (`advice.decaying.measured_decay`).
    """

    name: str
    shape: tuple[int, ...]
    fan_in: int
    steps: tuple[float, ...]
    j_squared: tuple[float, ...]
    j0: tuple[float, ...]
    settings: tuple[OptimizerSetting, ...]
    activation: str | None = None
    sigma_b: float | None = None
    adaptivity: tuple[float, ...] | None = None
    normalised: bool = False
    kind: str = "linear"
    measured_decay: float | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """A training: its layers, the numbers that turn steps into epochs, and where it was read from.

    `dataset_size` S is the number of training samples, `batch_size` B the samples per optimizer step; None where
    nobody said. Then steps cannot be turned into epochs, and D cannot be told. `unit` is what the layers' `steps`
    count: "epoch" where only epochs were known, and not how many steps they have. `lost` says, once more among the
    `notes`, what of the training could not be read.
    """

    layers: tuple[LayerCourse, ...]
    dataset_size: int | None = None
    batch_size: int | None = None
    source: str = ""
    notes: tuple[str, ...] = field(default=())
    lost: tuple[str, ...] = ()
    unit: Literal["step", "epoch"] = "step"

    @property
    def steps_per_epoch(self) -> float | None:
        """S/B, the number of optimizer steps per pass over the data."""
        if self.dataset_size is None or self.batch_size is None:
            return None
        return self.dataset_size / self.batch_size
