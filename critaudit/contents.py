"""What a reader found in a source, before anything is made of it: the contract between formats and the model view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.tensors import TensorRef

if TYPE_CHECKING:
    from torch import nn

# What a network is run on, batch first: numbers, or token ids.
InputArray: TypeAlias = NDArray[np.float32] | NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LayerHint:
    """What the source itself says about the layer of a tensor (a pickled or live module knows; names only suggest).

    `module` is the class name in PyTorch's words: Linear, Conv2d, ConvTranspose1d, Embedding, LSTM, GRU, RNN,
    MultiheadAttention, BatchNorm2d, LayerNorm, …; Hugging Face's transposed linear layer is Conv1D. `role` is the
    parameter's own name in that module ("weight", "in_proj_weight", "weight_hh_l0"). `activation` is the name of the
    nonlinearity that acts on the layer's output, where known ("tanh", "relu", …, "identity" for none). `buffer` is true
    where the source says that the tensor is no trainable parameter.
    """

    module: str
    role: str = "weight"
    groups: int = 1
    activation: str | None = None
    buffer: bool = False


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something in the source that is not weights, with the reason: optimizer state, a second copy, a refused tensor.

    `lost` is true where the source was meant to hold it and it could not be read: then the audit is partial (exit 4).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    reason: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a model wants its input: one sample's shape (channels, height, width or features) and image normalisation.

    `crop` is the side of the crop over the side of the resized image. `crop_mode` is timm's: "center" resizes the
    shorter side, "squash" both sides, "border" the longer one and fills up with the mean.
    """

    shape: tuple[int, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str = "bicubic"
    crop: float = 1.0
    crop_mode: str = "center"


@dataclass(frozen=True, slots=True, eq=False)
class Runnable:
    """A network that can be run. `build` returns a fresh module in eval mode on the CPU with the source's weights.

    `tensor_names` maps each of the module's parameter and buffer names to the source's tensor name.
    """

    build: Callable[[], nn.Module]
    input: Preprocessing | None
    tensor_names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Contents:
    """Tensors by name in the source's order, and what else it said.

    `format` is for people ("PyTorch zip checkpoint"). `problems` lists, in words, what the source should hold and does
    not: an audit of such contents is partial (exit 4). `metadata` holds plain values (epoch, lr, config). `activation`
    is the nonlinearity that the source's configuration names for the hidden layers. `runnable` is set where the source
    is itself a network (a live module, a factory, a hub model).
    """

    format: str
    tensors: Mapping[str, TensorRef]
    left_out: tuple[LeftOut, ...] = ()
    problems: tuple[str, ...] = ()
    hints: Mapping[str, LayerHint] = field(default_factory=dict)
    metadata: Mapping[str, object] = field(default_factory=dict)
    runnable: Runnable | None = None
    architecture: str | None = None
