"""Pieces of a running network that give what they take, as operators on their own output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from critaudit.dynamics.asymptotic.iteration import NEARBY, Array, Asymptotics, Step, iterate
from critaudit.dynamics.hooks import first_signal
from critaudit.dynamics.jacobian.blocks import find_blocks, input_signal
from critaudit.dynamics.manifold.watching import Seen, note_call, watched
from critaudit.dynamics.running import CannotRunError, Running
from critaudit.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import nn

# Inputs and steps to choose from, best first, and products spent on all blocks: some ten seconds on one core.
_PLANS = ((4, 100), (4, 40), (3, 20))
_PRODUCTS = 12 * 10**10
# Calls per input and step: state, partner, along the tangent, along a random direction.
_CALLS = 4


@dataclass(frozen=True, slots=True)
class BlockAsymptotics:
    """A piece of the network by its module's path ("" for the whole network), and where its iteration leads."""

    path: str
    found: Asymptotics


@dataclass(frozen=True, slots=True)
class Iterated:
    """The pieces that were iterated, how many there are in all, and how it was done."""

    blocks: tuple[BlockAsymptotics, ...]
    candidates: int
    method: str


@dataclass(frozen=True, slots=True)
class _Call:
    """What a module was called with for one sample."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class BlockOperator:
    """x ↦ module(x, the rest of its arguments as they were), in float32, for as many samples as there are calls.

    Derivatives are differences over a thousandth of the state's size, good to 1e-3, so that any module serves. The
    Jacobian's norm is Hutchinson's estimate with one Gaussian direction per state: ‖J‖_F² = E|Jz|².
    """

    precision = float(np.finfo(np.float32).eps)

    def __init__(self, module: nn.Module, calls: Sequence[_Call], seed: int) -> None:
        self._module, self._calls = module, calls
        self._shapes = [_first(call).shape for call in calls]
        self._rng = np.random.default_rng(seed)

    def start(self) -> Array:
        """The inputs that the module had, shape (K, N)."""
        return np.stack([_flat(_first(call)) for call in self._calls])

    def __call__(self, state: Array, partner: Array, tangent: Array) -> Step:
        size = np.maximum(np.linalg.norm(state, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        probe = self._rng.standard_normal(state.shape)
        width = NEARBY * size
        # A Gaussian vector of N numbers has the norm √N: both steps are equally long.
        narrow = width / np.sqrt(state.shape[1])
        value = self._apply(state)
        return Step(
            state=value,
            partner=self._apply(partner),
            tangent=(self._apply(state + width * tangent) - value) / width,
            jacobian=np.square((self._apply(state + narrow * probe) - value) / narrow).mean(axis=1),
            strength=np.sqrt(np.square(value).mean(axis=1)),
        )

    def _apply(self, states: Array) -> Array:
        return np.stack([self._one(place, values) for place, values in enumerate(states)])

    def _one(self, place: int, values: Array) -> Array:
        import torch

        call = self._calls[place]
        first = _first(call)
        x = torch.from_numpy(values.astype(np.float32)).reshape(self._shapes[place]).to(first.device, first.dtype)
        args = (x, *call.args[1:]) if call.args else ()
        kwargs = call.kwargs if call.args else {**call.kwargs, next(iter(call.kwargs)): x}
        output = first_signal(self._module(*args, **kwargs))
        assert output is not None
        return _flat(output)


def block_asymptotics(network: Running, *, seed: int = 0) -> Iterated:
    """Iterate every block whose output has its input's shape, and the network where it has, from the inputs they see.

    Blocks are those of `find_blocks`. In large networks some of them are iterated, evenly over the depth, so that it
    takes some ten seconds on one core. Raises CannotRunError where no piece of the network gives what it takes.
    """
    samples = list(network.samples())[: _PLANS[0][0]]
    found = find_blocks(network.module, samples[0])
    paths = dict.fromkeys([*(found.paths if found.are_modules else ()), ""])
    calls = _calls(network, list(paths), samples)
    if not calls:
        raise CannotRunError("no block's output has the shape of its input, so none can be applied to its own output")
    chosen, inputs, steps = _plan(list(calls), _products(network, samples[0]))
    modules = dict(network.module.named_modules())
    blocks = []
    for path in chosen:
        operator = BlockOperator(modules[path], calls[path][:inputs], seed)
        blocks.append(BlockAsymptotics(printable(path), iterate(operator, operator.start(), steps=steps, seed=seed)))
    method = (
        f"{len(chosen)} of {len(calls)} pieces that give what they take, each applied up to {steps} times to its own "
        f"output from the {min(inputs, len(samples))} inputs it sees ({network.method})"
    )
    return Iterated(tuple(blocks), len(calls), method)


def _calls(network: Running, paths: Sequence[str], samples: Sequence[torch.Tensor]) -> dict[str, list[_Call]]:
    """By path, the first call for each sample, of the modules whose output has the shape of their first argument."""
    found: dict[str, list[_Call]] = {}
    kept: dict[str, list[_Call]] = {path: [] for path in paths}
    modules = dict(network.module.named_modules())
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(_recorded(modules[path], kept[path]))
        for count, sample in enumerate(samples, start=1):
            network.module(sample)
            for calls in kept.values():
                del calls[count:]
    for path, calls in kept.items():
        if len(calls) == len(samples):
            found[path] = calls
    return found


@contextmanager
def _recorded(module: nn.Module, kept: list[_Call]) -> Iterator[None]:
    """Inside, the module's calls with and for a tensor of one shape are kept."""

    def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        taken, given = input_signal(args, kwargs), first_signal(output)
        if taken is not None and given is not None and taken.shape == given.shape and taken.numel() > 1:
            kept.append(_Call(args, kwargs))

    handle = module.register_forward_hook(note, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _products(network: Running, sample: torch.Tensor) -> dict[str, int]:
    """Multiplications per sample of every weight layer, by path."""
    seen: dict[str, Seen] = {}
    with watched(network.module, seen, note_call):
        network.module(sample)
    return {path: sum(call.products for call in layer.calls) for path, layer in seen.items()}


def _plan(paths: Sequence[str], products: Mapping[str, int]) -> tuple[list[str], int, int]:
    """Which pieces, how many inputs and how many steps the budget allows: all pieces, else some evenly over the depth.

    At least one is iterated, the cheapest.
    """

    def cost(path: str) -> int:
        inside = (count for layer, count in products.items() if not path or f"{layer}.".startswith(f"{path}."))
        return _CALLS * sum(inside)

    for inputs, steps in _PLANS:
        if inputs * steps * sum(map(cost, paths)) <= _PRODUCTS:
            return list(paths), inputs, steps
    for number in range(len(paths) - 1, 1, -1):
        places = [round(place) for place in np.linspace(0, len(paths) - 1, number)]
        if inputs * steps * sum(cost(paths[place]) for place in places) <= _PRODUCTS:
            return [paths[place] for place in places], inputs, steps
    return [min(paths, key=cost)], inputs, steps


def _first(call: _Call) -> torch.Tensor:
    tensor: torch.Tensor = call.args[0] if call.args else next(iter(call.kwargs.values()))
    return tensor


def _flat(values: torch.Tensor) -> Array:
    return values.detach().cpu().double().reshape(-1).numpy()
