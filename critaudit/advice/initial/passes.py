"""What one forward and one backward pass show of a network: signal and gradient at every weight, and the loss."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from critaudit.dynamics.hooks import first_signal
from critaudit.errors import UsageError
from critaudit.init.modes import calm, set_modes, unwrapped
from critaudit.init.tracing import trace
from critaudit.init.wiring import Wiring

if TYPE_CHECKING:
    import torch
    from torch import nn

# A factor over the depth, as a logarithm, beyond which a signal or gradient counts as lost.
LOST = math.log(100.0)

Loss: TypeAlias = Callable[[Any, Any], "torch.Tensor"]


@dataclass(frozen=True, slots=True)
class LayerPass:
    """At one weight's output h: signal ‖h‖/√n, and gradient ‖∂loss/∂h‖₂ (None where no gradient arrives)."""

    name: str
    signal: float
    gradient: float | None


@dataclass(frozen=True, slots=True)
class Passes:
    """A network's weights in the order in which signals reach them, and the loss at its present weights.

    `signal_growth` and `gradient_growth` are mean changes of ln(mean square) per weight layer from the first weight
    behind the input to the last but one (the readout is another matter), along the signal and against it;
    `signal_total` and `gradient_total` the whole changes. None with fewer than two such layers or for a signal of zero.
    """

    layers: tuple[LayerPass, ...]
    loss: float

    @property
    def signal_total(self) -> float | None:
        """ln of the factor by which the mean square signal changes from the first hidden weight to the last."""
        return _change([layer.signal for layer in self.layers[:-1]])

    @property
    def gradient_total(self) -> float | None:
        """ln of the factor by which the squared gradient changes from the last hidden weight to the first."""
        return _change([layer.gradient for layer in reversed(self.layers[:-1])])

    @property
    def signal_growth(self) -> float | None:
        """`signal_total` per layer."""
        return _per_layer(self.signal_total, len(self.layers) - 2)

    @property
    def gradient_growth(self) -> float | None:
        """`gradient_total` per layer."""
        return _per_layer(self.gradient_total, len(self.layers) - 2)


def passes(module: nn.Module, arguments: tuple[Any, ...], loss: Loss, targets: Any) -> Passes:
    """Run `module` forward and backward once, with batch statistics and without dropout; it is left as it is.

    A weight that is used more than once is seen at its first use. Gradients are those of h itself, also where the
    network changes it in place afterwards. What the network or the loss raises goes through.
    """
    import torch

    module = unwrapped(module)
    gradients: dict[int, float] = {}

    def keep(wiring: Wiring, place: int, output: torch.Tensor) -> torch.Tensor:
        if wiring.nodes[place].kind == "weight" and output.requires_grad:
            output.register_hook(partial(_note, gradients, place))  # type: ignore[no-untyped-call]
        return output

    answers: list[Any] = []
    with torch.enable_grad(), calm(module):
        handle = module.register_forward_hook(lambda _module, _inputs, output: answers.append(output))
        try:
            wiring = trace(module, arguments, on_node=keep)
        finally:
            handle.remove()
        value = loss(answers[-1], targets)
        wanted = [one for one in module.parameters() if one.requires_grad]
        if value.requires_grad and wanted:
            # Not backward(): gradients of parameters are the user's.
            torch.autograd.grad(value, wanted, allow_unused=True)
    layers: dict[str, LayerPass] = {}
    for place, node in wiring.weights():
        layers.setdefault(node.parameters[0], LayerPass(node.parameters[0], node.strength, gradients.get(place)))
    return Passes(tuple(layers.values()), float(value.detach()))


def experimental(module: nn.Module) -> nn.Module:
    """A copy to experiment on: normalisations with batch statistics as in training, everything else without dropout.

    Raises UsageError for a module that cannot be copied.
    """
    from torch import nn

    try:
        network = copy.deepcopy(unwrapped(module))
    except Exception as error:  # anything can hang on a module
        raise UsageError(
            f"{type(module).__name__} cannot be copied ({type(error).__name__}: {' '.join(str(error).split())[:160]}); "
            "remove what is not a parameter, for instance tensors with gradients or open files"
        ) from error
    set_modes(network)
    for part in network.modules():
        if isinstance(part, nn.RNNBase):
            # cuDNN gives recurrent layers a backward pass in training mode only.
            part.training, part.dropout = True, 0.0
    return network


def output_of(found: Any) -> torch.Tensor:
    """The network's answer as one tensor. Raises TypeError where there is none."""
    tensor = first_signal(found)
    if tensor is None:
        raise TypeError("the network gives no floating-point output")
    return tensor


def _note(gradients: dict[int, float], place: int, gradient: torch.Tensor) -> None:
    gradients[place] = float(gradient.detach().double().norm())


def _change(values: list[float | None] | list[float]) -> float | None:
    if len(values) < 2 or values[0] is None or values[-1] is None:
        return None
    first, last = values[0], values[-1]
    if not (first > 0.0 and last > 0.0 and math.isfinite(first) and math.isfinite(last)):
        return None
    return 2.0 * math.log(last / first)


def _per_layer(total: float | None, steps: int) -> float | None:
    return None if total is None or steps < 1 else total / steps
