"""What one forward and one backward pass show of a network: signal and gradient at every weight, and the loss."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from critaudit.dynamics.hooks import first_signal
from critaudit.init.tracing import trace
from critaudit.init.wiring import Wiring

if TYPE_CHECKING:
    import torch
    from torch import nn

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
    """Run a copy of `module` forward and backward once, with batch statistics and without dropout."""
    import torch

    network = experimental(module)
    outputs: dict[int, torch.Tensor] = {}

    def keep(wiring: Wiring, place: int, output: torch.Tensor) -> torch.Tensor:
        if wiring.nodes[place].kind == "weight" and output.requires_grad:
            output.retain_grad()
            outputs[place] = output
        return output

    with torch.enable_grad():
        held: list[Any] = []
        handle = network.register_forward_hook(lambda _module, _inputs, output: held.append(output))
        try:
            wiring = trace(network, arguments, on_node=keep)
        finally:
            handle.remove()
        value = loss(held[-1], targets)
        value.backward()  # type: ignore[no-untyped-call]
    layers, seen = [], set()
    for place, node in wiring.weights():
        name = node.parameters[0]
        if name in seen:
            continue
        seen.add(name)
        kept = outputs.get(place)
        gradient = None if kept is None or kept.grad is None else float(kept.grad.double().norm())
        layers.append(LayerPass(name, node.strength, gradient))
    return Passes(tuple(layers), float(value.detach()))


def experimental(module: nn.Module) -> nn.Module:
    """A copy to experiment on, in training mode without dropout, all of whose parameters want gradients."""
    network = copy.deepcopy(module)
    network.train()
    for part in network.modules():
        if "Drop" in type(part).__name__:
            part.training = False
    return network


def output_of(found: Any) -> torch.Tensor:
    """The network's answer as one tensor. Raises TypeError where there is none."""
    tensor = first_signal(found)
    if tensor is None:
        raise TypeError("the network gives no floating-point output")
    return tensor


def _change(values: list[float | None] | list[float]) -> float | None:
    if len(values) < 2 or values[0] is None or values[-1] is None:
        return None
    first, last = values[0], values[-1]
    if not (first > 0.0 and last > 0.0 and math.isfinite(first) and math.isfinite(last)):
        return None
    return 2.0 * math.log(last / first)


def _per_layer(total: float | None, steps: int) -> float | None:
    return None if total is None or steps < 1 else total / steps
