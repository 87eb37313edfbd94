"""How signals run from weight to weight in a network: what follows each weight, and which sums close a branch.

One forward pass under a `TorchFunctionMode` sees every operation of any eager module, whatever its forward looks like
(functions, operators, in-place sums, attention), and writes down a graph of them with the strength of every output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from critaudit.init.operations import activation_name, kind_of_operation, operation_name, weight_position

if TYPE_CHECKING:
    import torch
    from torch import nn

Kind: TypeAlias = Literal["input", "weight", "norm", "activation", "add", "multiply", "softmax", "pass", "other"]


@dataclass(slots=True)
class Node:
    """One operation: what it is, the nodes it takes (signals only, not parameters), and its output's strength ‖x‖/√n.

    `parameters` names the parameters it uses, the weight first. `activation` is the name of a nonlinearity.
    """

    kind: Kind
    operation: str
    inputs: tuple[int, ...]
    parameters: tuple[str, ...] = ()
    activation: str | None = None
    strength: float = math.nan


@dataclass(slots=True)
class Wiring:
    """The operations of a forward pass in their order; `output` is the node of the network's answer."""

    nodes: list[Node] = field(default_factory=list)
    output: int | None = None
    _consumers: list[list[int]] | None = None
    _weights: list[frozenset[int]] | None = None

    def origin(self, place: int) -> int:
        """The operation whose output this node passes on."""
        while self.nodes[place].kind == "pass" and self.nodes[place].inputs:
            place = self.nodes[place].inputs[0]
        return place

    def followers(self, place: int) -> list[int]:
        """The operations that take this node's output, past those that only pass it on."""
        found: list[int] = []
        open_places = list(self.consumers(place))
        while open_places:
            one = open_places.pop(0)
            if self.nodes[one].kind == "pass":
                open_places.extend(self.consumers(one))
            elif one not in found:
                found.append(one)
        return found

    def consumers(self, place: int) -> list[int]:
        """The nodes that take this node's output."""
        if self._consumers is None:
            self._consumers = [[] for _ in self.nodes]
            for index, node in enumerate(self.nodes):
                for source in set(node.inputs):
                    self._consumers[source].append(index)
        return self._consumers[place]

    def weights_before(self, place: int) -> frozenset[int]:
        """All weight nodes that this node's output comes through, itself included."""
        if self._weights is None:
            found: list[frozenset[int]] = []
            for index, node in enumerate(self.nodes):
                own = frozenset((index,)) if node.kind == "weight" else frozenset()
                found.append(own.union(*(found[source] for source in node.inputs)))
            self._weights = found
        return self._weights[place]

    def weights(self) -> Iterator[tuple[int, Node]]:
        """The operations that multiply with a weight, in their order."""
        return ((index, node) for index, node in enumerate(self.nodes) if node.kind == "weight")


# Called with the wiring so far, an operation's place in it and its output; gives the output, or another one.
OnNode: TypeAlias = Callable[["Wiring", int, "torch.Tensor"], "torch.Tensor"]


def trace(module: nn.Module, inputs: tuple[Any, ...], *, on_node: OnNode | None = None) -> Wiring:
    """Run `module(*inputs)` once and give its wiring.

    `on_node(wiring, place, output)` is called behind every operation that is no mere rearrangement, and may give
    another output in its place: that is how weights are scaled in the order in which signals reach them. Gradients are
    off where the caller switched them off; modes (train, eval) and random state are the caller's.
    """
    import torch

    names = {id(value): name for name, value in module.named_parameters(remove_duplicate=False)}
    watch = _watch(names, on_node)
    signals = [part for part in inputs if isinstance(part, torch.Tensor)]
    for part in signals:
        watch.known(part, watch.add(Node("input", "input", ())))
    with watch:
        answer = module(*inputs)
    wiring: Wiring = watch.wiring
    for part in _tensors(answer):
        wiring.output = watch.places.get(id(part), wiring.output)
        if wiring.output is not None:
            break
    return wiring


def _watch(names: Mapping[int, str], on_node: OnNode | None) -> Any:
    import torch
    from torch.overrides import TorchFunctionMode

    class Watch(TorchFunctionMode):
        """Writes down operations on tensors that come from the input."""

        def __init__(self) -> None:
            super().__init__()
            self.wiring = Wiring()
            self.places: dict[int, int] = {}
            self.sources: dict[int, tuple[str, ...]] = {}
            self._alive: list[Any] = []

        def add(self, node: Node) -> int:
            self.wiring.nodes.append(node)
            return len(self.wiring.nodes) - 1

        def known(self, tensor: Any, place: int) -> None:
            self.places[id(tensor)] = place
            self._alive.append(tensor)  # an id is a tensor's own for as long as it lives

        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            kwargs = kwargs or {}
            name = operation_name(func)
            if name == "multi_head_attention_forward":
                with self:
                    return _opened(func)(*args, **kwargs)
            taken = list(_tensors((*args, *kwargs.values())))
            places = [self.places[id(part)] for part in taken if id(part) in self.places]
            result = func(*args, **kwargs)
            parameters = self._parameters(taken)
            if not places:
                if parameters:  # a view or a function of parameters alone
                    for part in _tensors(result):
                        if id(part) not in names:
                            self.sources[id(part)] = parameters
                            self._alive.append(part)
                return result
            made = [part for part in _tensors(result) if part.is_floating_point()]
            if not made:
                return result
            place = self.add(self._node(name, args, kwargs, places, parameters))
            node = self.wiring.nodes[place]
            if node.kind != "pass":
                if on_node is not None and isinstance(result, torch.Tensor):
                    result = on_node(self.wiring, place, result)
                    made = [result]
                node.strength = _strength(made[0])
            else:
                node.strength = self.wiring.nodes[places[0]].strength
            for part in made:
                self.known(part, place)
            return result

        def _parameters(self, taken: list[Any]) -> tuple[str, ...]:
            found: list[str] = []
            for part in taken:
                if id(part) in names:
                    found.append(names[id(part)])
                else:
                    found.extend(self.sources.get(id(part), ()))
            return tuple(dict.fromkeys(found))

        def _node(
            self,
            name: str,
            args: tuple[Any, ...],
            kwargs: dict[str, Any],
            places: list[int],
            parameters: tuple[str, ...],
        ) -> Node:
            kind: Kind = kind_of_operation(name, signals=len(places), parameters=bool(parameters))
            if kind == "weight":
                weight = weight_position(name, args, kwargs)
                first = self._parameters([weight]) if weight is not None else ()
                parameters = (*first, *(one for one in parameters if one not in first))
                if not first:
                    kind = "other"
            return Node(
                kind,
                name,
                tuple(places),
                parameters,
                activation_name(name, args, kwargs) if kind == "activation" else None,
            )

    return Watch()


def _opened(func: Any) -> Any:
    """A function of torch.nn.functional that no longer asks whether it is watched: the operations in it are seen."""
    opened = FunctionType(
        func.__code__,
        {**func.__globals__, "has_torch_function": lambda _: False},
        func.__name__,
        func.__defaults__,
        func.__closure__,
    )
    opened.__kwdefaults__ = func.__kwdefaults__
    return opened


def _tensors(found: Any, depth: int = 0) -> Iterator[Any]:
    import torch

    if isinstance(found, torch.Tensor):
        yield found
    elif isinstance(found, Mapping) and depth < 4:
        for part in found.values():
            yield from _tensors(part, depth + 1)
    elif isinstance(found, (tuple, list)) and depth < 4:
        for part in found:
            yield from _tensors(part, depth + 1)


def _strength(tensor: torch.Tensor) -> float:
    import torch

    norm = float(torch.linalg.vector_norm(tensor.detach(), dtype=torch.float64))
    return norm / math.sqrt(max(tensor.numel(), 1))
