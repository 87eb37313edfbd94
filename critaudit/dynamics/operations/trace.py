"""One forward pass as a list of operations with their strengths: through a traced graph, or through module hooks."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from critaudit.dynamics.operations.norms import (
    Memory,
    copies,
    first_tensor,
    is_operation,
    sample_strengths,
    whole_strength,
)

if TYPE_CHECKING:
    import torch
    from torch import fx, nn


@dataclass(slots=True)
class Pass:
    """What one forward pass wrote down, in the order in which the operations ran.

    `strengths` holds one value per sample, or one for the tensor as a whole where the pass was asked for that or the
    output's first axis is not the batch (then the operation is in `unbatched`). `views` names what was left out because
    it only rearranges, selects or repeats values. `sizes` counts one sample's values.
    """

    batch: int
    whole: bool
    strengths: dict[str, torch.Tensor] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    unbatched: set[str] = field(default_factory=set)
    views: set[str] = field(default_factory=set)
    _calls: Counter[str] = field(default_factory=Counter)

    def note(self, name: str, kind: str, output: torch.Tensor | None, memory: Memory) -> None:
        """Write down an operation's output; names that come again are numbered from the second on."""
        self._calls[name] += 1
        name = name if self._calls[name] == 1 else f"{name}#{self._calls[name]}"
        if output is None:
            return
        if copies(kind) or memory.viewed(output):
            self.views.add(name)
            return
        batched = output.ndim > 0 and output.shape[0] == self.batch
        if self.whole or not batched:
            self.strengths[name] = whole_strength(output)
        else:
            self.strengths[name] = sample_strengths(output)
        if not batched:
            self.unbatched.add(name)
        self.kinds[name] = kind
        self.sizes[name] = output.numel() // self.batch


Run = Callable[["torch.Tensor", bool], tuple[Pass, Any]]
"""A forward pass: a batch and whether tensors count as a whole, to what was written down and the network's answer."""


def through_graph(module: nn.Module) -> Run:
    """Passes through the module's graph, traced symbolically: every call of a module, function or method is seen.

    Raises whatever tracing raises, for instance where the control flow depends on values. Whether the graph gives the
    network's own answer is for the caller to check.
    """
    traced, rest = symbolic(module)
    return lambda batch, whole: _interpret(traced, batch, whole, rest)


def symbolic(module: nn.Module) -> tuple[fx.GraphModule, list[Any]]:
    """The module's graph, and the values of its optional arguments, which the graph takes behind the first one."""
    from torch import fx

    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            del module_qualified_name
            return is_operation(m)

    parameters = list(inspect.signature(module.forward).parameters.values())[1:]
    fixed = {one.name: one.default for one in parameters if one.default is not one.empty}
    graph = Tracer().trace(module, concrete_args=fixed or None)
    return fx.GraphModule(module, graph), list(fixed.values())


def _interpret(traced: fx.GraphModule, batch: torch.Tensor, whole: bool, rest: list[Any]) -> tuple[Pass, Any]:
    import torch
    from torch import fx

    found = Pass(len(batch), whole)

    class Watched(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            if n.op not in ("call_module", "call_function", "call_method"):
                return super().run_node(n)
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            inputs: list[torch.Tensor] = []
            fx.node.map_aggregate(
                (args, kwargs), lambda part: inputs.append(part) if isinstance(part, torch.Tensor) else None
            )
            memory = Memory(inputs)
            result = super().run_node(n)
            if n.target is not getattr:
                name, kind = _label(traced, n)
                found.note(
                    name, kind, first_tensor(result) if isinstance(result, (torch.Tensor, tuple)) else None, memory
                )
            return result

    answer = Watched(traced).run(batch, *rest)
    return found, answer


def _label(traced: fx.GraphModule, node: fx.Node) -> tuple[str, str]:
    """A node's name, by the module it stands in, and its kind: "layer1.0.add" and "add"."""
    if node.op == "call_module":
        path = str(node.target)
        return path, type(traced.get_submodule(path)).__name__
    kind = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", str(node.target))
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path = stack[-1][0] if stack and isinstance(stack[-1], tuple) else ""
    return (f"{path}.{kind}" if path else kind), kind


def through_hooks(module: nn.Module) -> Run:
    """Passes watched by forward hooks on the modules that have no parts: sums and functions in between are not seen."""

    def run(batch: torch.Tensor, whole: bool) -> tuple[Pass, Any]:
        found = Pass(len(batch), whole)
        handles = []
        try:
            for path, part in leaves(module):
                memories: list[Memory] = []
                handles.append(part.register_forward_pre_hook(_before(memories), with_kwargs=True))
                handles.append(part.register_forward_hook(_after(found, path, memories)))
            return found, module(batch)
        finally:
            for handle in handles:
                handle.remove()

    return run


def leaves(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules that are operations, by name; what lies inside one is not entered."""
    if is_operation(module):
        yield path, module
        return
    for name, part in module.named_children():
        yield from leaves(part, f"{path}.{name}" if path else name)


def _before(memories: list[Memory]) -> Any:
    import torch

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        memories.append(Memory(part for part in (*args, *kwargs.values()) if isinstance(part, torch.Tensor)))

    return hook


def _after(found: Pass, path: str, memories: list[Memory]) -> Any:
    def hook(part: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        kind = type(part).__name__
        found.note(path or kind, kind, first_tensor(output), memories.pop())

    return hook
