"""Which pieces of a network count as its blocks: a rule that looks at structure and at one forward pass, not at names.

1. **Repeated modules.** A module is a candidate if it was called with a floating-point tensor, gave one, and holds at
   least two weight layers. It is *repeated* if a plain container (Sequential, ModuleList, ModuleDict) holds it and
   another candidate of its class; or, unless it is a container itself, if containers hold others of its class in such
   rows or alone; the same with three where the parent is no container but all its children with weights are of one
   class; or if it runs several times per sample.
   Blocks are the repeated modules that hold no other repeated module and do not run inside another: the residual blocks
   of a ResNet rather than its stages, the layers of a transformer rather than their attention.
2. **Segments.** Where there are fewer than two, a block is the way from the input of one unit to that of the next: a
   unit is a weight layer, or an outermost module with weight layers that takes and gives a tensor, beneath containers
   and wrappers; the last segment ends at the output. A unit that does not depend on the one before (a parallel branch)
   belongs to the segment it runs in.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from critaudit.dynamics.hooks import first_signal, weight_layers

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class Blocks:
    """Where a network is cut: `paths` of modules in the order of their first call.

    With `are_modules` each call of each module is a block; otherwise their inputs are the ends of segments, and
    `is_chain` says that each is known to depend on the one before.
    """

    paths: tuple[str, ...]
    are_modules: bool
    is_chain: bool = False


@dataclass(slots=True)
class _Seen:
    """What one forward pass showed of a module."""

    order: int = 0
    calls: int = 0
    takes_and_gives: bool = False
    within: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Structure:
    """The module tree with what a forward pass showed."""

    module: nn.Module
    weights: dict[str, int] = field(default_factory=dict)
    seen: dict[str, _Seen] = field(default_factory=dict)


def find_blocks(module: nn.Module, sample: torch.Tensor) -> Blocks:
    """The blocks of `module` by the rule above, from one forward pass of `sample` (batch first)."""
    structure = _observe(module, sample)
    repeated = _repeated(structure)
    inner = [path for path in repeated if not any(_is_inside(other, path) for other in repeated)]
    blocks = [path for path in inner if structure.seen[path].within.isdisjoint(inner)]
    if sum(structure.seen[path].calls for path in blocks) >= 2:
        return Blocks(tuple(sorted(blocks, key=lambda path: structure.seen[path].order)), are_modules=True)
    units = [path for path in _units(structure, "", module) if structure.seen[path].calls == 1]
    return Blocks(tuple(sorted(units, key=lambda path: structure.seen[path].order)), are_modules=False)


def containers() -> tuple[type[nn.Module], ...]:
    """PyTorch's own containers; a subclass of one is a module of its own kind."""
    from torch import nn

    return nn.Sequential, nn.ModuleList, nn.ModuleDict


def is_container(module: nn.Module) -> bool:
    """Whether the module only holds others."""
    return type(module) in containers()


def _observe(module: nn.Module, sample: torch.Tensor) -> _Structure:
    structure = _Structure(module, weights=_weight_counts(module), seen=defaultdict(_Seen))
    handles = []
    counter = itertools.count(1)
    running: list[str] = []
    for path, layer in module.named_modules():
        if path not in structure.weights:
            continue
        seen = structure.seen[path]

        def before(
            _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], seen: _Seen = seen, path: str = path
        ) -> None:
            seen.order = seen.order or next(counter)
            seen.calls += 1
            seen.within.update(running)
            running.append(path)
            seen.takes_and_gives = input_signal(args, kwargs) is not None

        def behind(_: nn.Module, __: Any, output: Any, seen: _Seen = seen) -> None:
            running.pop()
            seen.takes_and_gives = seen.takes_and_gives and first_signal(output) is not None

        handles.append(layer.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(layer.register_forward_hook(behind))
    try:
        module(sample)
    finally:
        for handle in handles:
            handle.remove()
    return structure


def input_signal(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor | None:
    """A module's input where its first argument is a floating-point tensor."""
    import torch

    first = args[0] if args else next(iter(kwargs.values()), None)
    return first if isinstance(first, torch.Tensor) and first.is_floating_point() else None


def _weight_counts(module: nn.Module) -> dict[str, int]:
    """For every module on the way to a weight layer, how many of them it holds (1 for a weight layer itself)."""
    counts: Counter[str] = Counter()
    outermost: list[str] = []
    for path, _ in weight_layers(module):
        if any(_is_inside(path, other) for other in outermost):
            continue  # a projection inside an attention layer counts with it
        outermost.append(path)
        counts[path] += 1
        while path:
            path = path.rpartition(".")[0]
            counts[path] += 1
    return dict(counts)


def _repeated(structure: _Structure) -> list[str]:
    """The repeated candidates, in the order of definition."""
    modules = dict(structure.module.named_modules())
    candidates = [path for path in structure.weights if path and _is_candidate(structure, path)]
    siblings = Counter((path.rpartition(".")[0], type(modules[path])) for path in candidates)
    contained: Counter[type] = Counter()
    uniform = set()
    for (parent, kind), number in siblings.items():
        is_uniform = _is_uniform(structure, parent, modules[parent])
        if is_container(modules[parent]):
            contained[kind] += number if number >= 2 or is_uniform else 0
        elif number >= 3 and is_uniform:
            uniform.add(kind)
    found = []
    for path in candidates:
        parent, kind = path.rpartition(".")[0], type(modules[path])
        if is_container(modules[parent]):
            elsewhere = kind not in containers() and (contained[kind] >= 2 or kind in uniform)
            repeated = siblings[parent, kind] >= 2 or elsewhere
        else:
            repeated = kind in uniform and _is_uniform(structure, parent, modules[parent])
        if repeated or (structure.seen[path].calls >= 2 and not is_container(modules[path])):
            found.append(path)
    return found


def _is_uniform(structure: _Structure, path: str, module: nn.Module) -> bool:
    """Whether the module's children with weights are all of one class."""
    prefix = f"{path}." if path else ""
    return len({type(child) for name, child in module.named_children() if prefix + name in structure.weights}) == 1


def _is_candidate(structure: _Structure, path: str) -> bool:
    seen = structure.seen[path]
    return seen.calls > 0 and seen.takes_and_gives and structure.weights[path] >= 2


def _units(structure: _Structure, path: str, module: nn.Module) -> Iterator[str]:
    """The outermost modules with weights that take and give a tensor, beneath containers and wrappers."""
    prefix = f"{path}." if path else ""
    children = [(prefix + name, child) for name, child in module.named_children() if prefix + name in structure.weights]
    seen = structure.seen[path]
    is_layer = structure.weights.get(path) == 1 and not children
    if is_layer or (structure.weights.get(path) == 1 and path and seen.takes_and_gives):
        if seen.calls and seen.takes_and_gives:
            yield path
        return
    for name, child in children:
        inner = structure.seen[name]
        is_wrapper = is_container(child) or len(children) == 1 or not (inner.calls and inner.takes_and_gives)
        if is_wrapper and structure.weights[name] > 1:
            yield from _units(structure, name, child)
        elif inner.calls and inner.takes_and_gives:
            yield name


def _is_inside(path: str, other: str) -> bool:
    """Whether `path` lies beneath `other`."""
    return path != other and (path.startswith(f"{other}.") or other == "")
