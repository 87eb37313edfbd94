"""One forward pass, watched: every operation on signals is written down, and may be given another output.

A `TorchFunctionMode` sees the operations of any eager module, whatever its forward looks like (functions, operators,
in-place sums, attention).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from critaudit.dynamics.hooks import strength_of
from critaudit.init.operands import bias_argument, layout, weight_argument
from critaudit.init.operations import (
    FRESH,
    activation_name,
    changes_strength,
    kind_of_operation,
    operation_name,
    rearranges,
)
from critaudit.init.wiring import Node, Wiring

if TYPE_CHECKING:
    import torch
    from torch import nn

# Called with the wiring so far, an operation's place in it and its output; gives the output, or another one.
OnNode: TypeAlias = Callable[[Wiring, int, "torch.Tensor"], "torch.Tensor"]


def trace(module: nn.Module, inputs: tuple[Any, ...], *, on_node: OnNode | None = None) -> Wiring:
    """Run `module(*inputs)` once and give its wiring.

    `on_node(wiring, place, output)` is called behind every operation that is no mere rearrangement, and may give
    another output in its place: that is how weights are scaled in the order in which signals reach them. Gradients are
    off where the caller switched them off; modes (train, eval) and random state are the caller's.
    """
    watch = _watch(module, on_node)
    for part in _tensors(inputs):
        place = watch.add(Node("input", "input", (), strength=_strength(part)))
        if part.is_floating_point():
            watch.known(part, place)
        else:
            watch.indices[id(part)] = place
    with watch:
        answer = module(*inputs)
    wiring: Wiring = watch.wiring
    wiring.aside = frozenset(name for source in watch.sources.values() if not source.exact for name in source.names)
    for part in _tensors(answer):
        wiring.output = watch.places.get(id(part), wiring.output)
        if wiring.output is not None:
            break
    return wiring


class _Source(NamedTuple):
    """Parameters that a tensor comes from; `left` says why they are not ours to set.

    `exact`: the tensor is (a part of) one parameter, and no function of it.
    """

    names: tuple[str, ...]
    left: str
    exact: bool = True


def _watch(module: nn.Module, on_node: OnNode | None) -> Any:
    import torch
    from torch.overrides import TorchFunctionMode

    own: dict[int, _Source] = {}
    for name, value in module.named_parameters(remove_duplicate=False):
        own.setdefault(id(value), _Source((name,), "" if value.requires_grad else "it is frozen (requires_grad=False)"))

    class Watch(TorchFunctionMode):
        """Writes down operations on tensors that come from the input."""

        def __init__(self) -> None:
            super().__init__()
            self.wiring = Wiring()
            self.places: dict[int, int] = {}
            # Token ids and what is made of them: no signals, but what is looked up with them is one. Masks are none.
            self.indices: dict[int, int] = {}
            self.sources: dict[int, _Source] = {}
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
            if name in FRESH:
                return func(*args, **kwargs)
            taken = list(_tensors((*args, *kwargs.values())))
            places = [self.places[id(part)] for part in taken if id(part) in self.places]
            indices = [self.indices[id(part)] for part in taken if id(part) in self.indices]
            if indices and name in ("embedding", "embedding_bag"):
                places = indices[:1]
            result = func(*args, **kwargs)
            if not places:
                if indices:
                    self._alive.append(result)
                    whole = [part for part in _tensors(result) if not part.is_floating_point()]
                    self.indices.update((id(part), indices[0]) for part in whole)
                else:
                    self._aside(name, taken, result)
                return result
            made = [part for part in _tensors(result) if part.is_floating_point()]
            if not made:
                return result
            place = self.add(self._node(name, args, kwargs, places, taken, made[0]))
            node = self.wiring.nodes[place]
            if node.kind != "pass":
                if on_node is not None and isinstance(result, torch.Tensor):
                    result = on_node(self.wiring, place, result)
                    made = [result]
                node.strength = _strength(made[0])
            else:
                node.strength = _strength(made[0]) if changes_strength(name) else self.wiring.nodes[places[0]].strength
            for part in made:
                self.known(part, place)
            return result

        def _aside(self, name: str, taken: list[Any], result: Any) -> None:
            """A view or a function of parameters alone."""
            sources = [source for part in taken if (source := self._source(part)) is not None]
            if not sources:
                return
            names = tuple(dict.fromkeys(one for source in sources for one in source.names))
            left = next((source.left for source in sources if source.left and source.exact), "")
            exact = rearranges(name) and len(names) == 1 and all(source.exact for source in sources)
            if not left and not exact:
                left = f"it is computed from {', '.join(names[:3])} ({name})"
            for part in _tensors(result):
                if id(part) not in own:
                    self.sources[id(part)] = _Source(names, left, exact)
                    self._alive.append(part)

        def _source(self, tensor: Any) -> _Source | None:
            return own.get(id(tensor)) or self.sources.get(id(tensor))

        def _node(
            self,
            name: str,
            args: tuple[Any, ...],
            kwargs: dict[str, Any],
            places: list[int],
            taken: list[Any],
            made: torch.Tensor,
        ) -> Node:
            sources = {id(part): source for part in taken if (source := self._source(part)) is not None}
            names = tuple(dict.fromkeys(one for source in sources.values() for one in source.names))
            kind = kind_of_operation(name, signals=len(places), parameters=bool(names))
            node = Node(kind, name, tuple(places), names)
            if node.kind == "activation":
                node.activation = activation_name(name, args, kwargs)
            elif node.kind == "norm" and names:
                node.left = next((source.left for source in sources.values() if source.left), "")
            elif node.kind == "weight":
                self._complete(node, args, kwargs, taken, made)
            return node

        def _complete(
            self, node: Node, args: tuple[Any, ...], kwargs: dict[str, Any], taken: list[Any], made: torch.Tensor
        ) -> None:
            """Enter what there is to know of a product with a weight; without one it is some other operation."""
            first = self._source(args[0]) is not None if args else False
            weight = weight_argument(node.operation, args, kwargs, first=first)
            source = None if weight is None else self._source(weight)
            if source is None:
                node.kind = "other"
                return
            node.parameters = (*source.names, *(one for one in node.parameters if one not in source.names))
            signal = next((part for part in taken if id(part) in self.places), None)
            node.fan_in, node.groups = layout(node.operation, weight, signal, made, first=first)
            node.left = source.left or ("" if weight.ndim > 1 else "it is no matrix")
            bias = self._source(bias_argument(node.operation, args, kwargs))
            node.bias = bias.names[0] if bias is not None and bias.exact else None

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
    strength = strength_of(tensor)
    return math.nan if strength is None else strength
