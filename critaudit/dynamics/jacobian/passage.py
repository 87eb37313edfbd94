"""One sample on its way through a network, with the autograd graph between the ends of its blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from critaudit.dynamics.hooks import first_signal
from critaudit.dynamics.jacobian.blocks import Blocks, input_signal
from critaudit.dynamics.jacobian.operators import JacobianOperator, NotDifferentiableError
from critaudit.text import printable

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True, eq=False)
class BlockPoint:
    """A block at one sample's operating point: its output `y` as a function of its input `x`.

    `branches` is the block's output before the nonlinearity that ends it: where a residual block ends in one, J of
    `branches` is I + J_branch, while J of `y` is singular for a ReLU. It is `y` itself where none ends the block.
    """

    name: str
    x: torch.Tensor
    y: torch.Tensor
    branches: torch.Tensor
    _function: Callable[[torch.Tensor], torch.Tensor] | None = None

    @property
    def ends_in_nonlinearity(self) -> bool:
        """Whether a nonlinearity after the sum of the branches ends the block."""
        return self.branches is not self.y

    @property
    def keeps_shape(self) -> bool:
        """Whether input and output have the same shape."""
        return self.x.shape == self.y.shape

    def operator(self, *, branches: bool = False) -> JacobianOperator:
        """The block's Jacobian ∂y/∂x, or that of its branches' sum."""
        if branches and self.ends_in_nonlinearity:
            return JacobianOperator(self.x, self.branches)
        return JacobianOperator(self.x, self.y, function=self._function)


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """One sample's way: from `start` through the blocks, in the order in which they ran, to the output `end`.

    `start` is the network's input, or the first block's where that input has no derivative (`starts_inside`: token
    ids). `end` is the first floating-point output, or the last block's where that has no derivative.
    """

    start: torch.Tensor
    points: tuple[BlockPoint, ...]
    end: torch.Tensor
    starts_inside: bool


@dataclass(slots=True)
class _Notes:
    """What the hooks write down during one forward pass."""

    leaf: torch.Tensor | None = None
    inside: torch.Tensor | None = None
    points: list[BlockPoint] = field(default_factory=list)
    inputs: list[tuple[str, torch.Tensor]] = field(default_factory=list)
    open: list[tuple[str, torch.Tensor | None, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    acted: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    acting: list[torch.Tensor] = field(default_factory=list)
    is_replay: bool = False


def pass_through(module: nn.Module, sample: torch.Tensor, blocks: Blocks) -> Passage:
    """Run `sample` (shape (1, …)) and keep the graph between the blocks' ends.

    Belongs inside `differentiable` and `frozen`. Raises NotDifferentiableError where no block's output depends on its
    input.
    """
    notes = _Notes()
    values = sample.detach()
    if values.is_floating_point():
        notes.leaf = values.clone().requires_grad_(True)
        values = notes.leaf.clone()
    modules = dict(module.named_modules())
    handles: list[Any] = []
    try:
        for path in blocks.paths:
            handles += _watch(notes, path, modules[path], blocks.are_modules)
        output = first_signal(module(values))
    finally:
        for handle in handles:
            handle.remove()
    points = list(notes.points) if blocks.are_modules else _segments(notes, blocks, output)
    points = _numbered([point for point in points if point.y.requires_grad])
    if not points:
        raise NotDifferentiableError("no block's output depends on its input in a way that can be differentiated")
    end = output if output is not None and output.requires_grad else points[-1].y
    reaches = notes.leaf is not None and _depends(end, notes.leaf)
    start = notes.leaf if reaches and notes.leaf is not None else points[0].x
    return Passage(start, tuple(points), end, starts_inside=not reaches)


def chain_of(passage: Passage, blocks: Blocks) -> Blocks:
    """The same cuts, less those that the first passage showed to be none: later samples need not ask again."""
    if blocks.are_modules or blocks.is_chain:
        return blocks
    return Blocks(tuple(point.name for point in passage.points), are_modules=False, is_chain=True)


def _watch(notes: _Notes, path: str, module: nn.Module, is_block: bool) -> Iterator[Any]:
    """Hooks on one block, or on the unit at which a segment begins."""

    def before(
        _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        signal = input_signal(args, kwargs)
        if notes.is_replay:
            return None
        if signal is None:
            notes.open.append((path, None, args, kwargs))
            return None
        if not signal.requires_grad:
            signal = signal.detach().clone().requires_grad_(True)
        if is_block:
            notes.open.append((path, signal, args, kwargs))
            notes.acted.clear()
        else:
            notes.inputs.append((path, signal))
        # The block gets a copy, so that an operation in place leaves what was noted as it is.
        return _with_first(args, kwargs, signal.clone())

    def behind(block: nn.Module, _: tuple[Any, ...], output: Any) -> Any:
        if notes.is_replay:
            return None
        name, signal, args, kwargs = notes.open.pop()
        found = first_signal(output)
        if signal is None or found is None:
            return None
        last = notes.acted[-1] if notes.acted else None
        branches = last[0] if last is not None and last[1] is found and last[0].shape == found.shape else found
        notes.points.append(BlockPoint(name, signal, found, branches, _replay(notes, block, args, kwargs)))
        return _replaced(output, found, found.clone())

    yield module.register_forward_pre_hook(before, with_kwargs=True)
    if is_block:
        yield module.register_forward_hook(behind)
        for layer in module.modules():
            if _is_activation(layer):
                yield from _watch_activation(notes, layer)


def _watch_activation(notes: _Notes, layer: nn.Module) -> Iterator[Any]:
    """Hooks that note what went into an activation and what came out, to recognise the one that ends a block."""

    def before(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        signal = first_signal(args)
        if signal is None or notes.is_replay:
            return None
        notes.acting.append(signal)
        return (signal.clone(), *args[1:]) if getattr(layer, "inplace", False) and signal is args[0] else None

    def behind(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        if notes.acting and not notes.is_replay:
            taken, found = notes.acting.pop(), first_signal(output)
            if found is not None:
                notes.acted.append((taken, found))

    yield layer.register_forward_pre_hook(before)
    yield layer.register_forward_hook(behind)


def _is_activation(layer: nn.Module) -> bool:
    """An activation as a module, PyTorch's or timm's; gates that mix channels have another shape and fall out later."""
    home = type(layer).__module__
    return home == "torch.nn.modules.activation" or home.startswith("timm.layers.activations")


def _replay(
    notes: _Notes, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The block as a function of its input, other arguments as they were."""

    def function(x: torch.Tensor) -> torch.Tensor:
        notes.is_replay = True
        try:
            found = first_signal(block(*_with_first(args, kwargs, x.clone())[0], **_with_first(args, kwargs, x)[1]))
        finally:
            notes.is_replay = False
        if found is None:
            raise NotDifferentiableError(f"{type(block).__name__} gave no floating-point tensor")
        return found

    return function


def _segments(notes: _Notes, blocks: Blocks, output: torch.Tensor | None) -> list[BlockPoint]:
    """From each unit's input to the next one's that depends on it, the last to the output."""
    ends = [*notes.inputs[1:]]
    if output is not None and output.requires_grad:
        ends.append(("", output))
    points = []
    if not notes.inputs:
        return []
    name, current = notes.inputs[0]
    for after, tensor in ends:
        if blocks.is_chain or (tensor is not current and _depends(tensor, current)):
            points.append(BlockPoint(name, current, tensor, tensor))
            name, current = after, tensor
    return points


def _numbered(points: list[BlockPoint]) -> list[BlockPoint]:
    """Names made printable and unique: a module that runs several times has numbered calls."""
    totals: dict[str, int] = {}
    for point in points:
        totals[point.name] = totals.get(point.name, 0) + 1
    seen: dict[str, int] = {}
    named = []
    for point in points:
        seen[point.name] = seen.get(point.name, 0) + 1
        call = f" (call {seen[point.name]})" if totals[point.name] > 1 else ""
        name = printable(point.name or "network") + call
        named.append(BlockPoint(name, point.x, point.y, point.branches, point._function))
    return named


def _depends(y: torch.Tensor, x: torch.Tensor) -> bool:
    """Whether the graph leads from y back to x."""
    import torch

    if not y.requires_grad:
        return False
    found = torch.autograd.grad(y, x, torch.ones_like(y), retain_graph=True, allow_unused=True)[0]
    return found is not None


def _with_first(
    args: tuple[Any, ...], kwargs: dict[str, Any], value: torch.Tensor
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with `value` in the place of the first one."""
    if args:
        return (value, *args[1:]), kwargs
    first = next(iter(kwargs))
    return args, {**kwargs, first: value}


def _replaced(output: Any, old: torch.Tensor, new: torch.Tensor) -> Any:
    """`output` with `new` in the place of `old`, where it is a tensor or a flat collection of the usual kinds."""
    if output is old:
        return new
    if type(output) in (tuple, list):
        return type(output)(new if part is old else part for part in output)
    if isinstance(output, tuple) and hasattr(output, "_replace"):
        return type(output)(*(new if part is old else part for part in output))
    if isinstance(output, Mapping) and type(output) is dict:
        return {key: new if part is old else part for key, part in output.items()}
    return None
