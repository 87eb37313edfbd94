"""Signal strength behind every operation of a network, for many inputs at a time; only norms are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from critaudit.dynamics.operations.norms import first_tensor
from critaudit.dynamics.operations.trace import Pass, Run, through_graph, through_hooks
from critaudit.dynamics.running import CannotRunError, brief

if TYPE_CHECKING:
    import torch
    from torch import nn

Array = NDArray[np.float64]

# Relative differences up to here are float32 rounding in another order of summation.
_SAME = 1e-4
# Values that a batch may hold in its largest tensor, and samples that it may hold.
_LARGEST, _MOST = 2**23, 64
_VALUE_COST = 40
"""Reading and writing a value takes about as long as this many floating-point operations of a product."""


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """A network whose operations are watched.

    `names` are the operations that count as layers, in the order in which they run, `kinds` their classes or
    functions. `weighted` are those that multiply with a weight matrix. `left_out` maps others to the reason. `how`
    says in words how they are seen. `flops` is what one sample costs: floating-point operations, with `_VALUE_COST`
    for each value written. Samples pass `batch` at a time; where outputs are not batch first that is 1.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    weighted: frozenset[str]
    left_out: tuple[tuple[str, str], ...]
    how: str
    batch: int
    flops: float
    _run: Run

    def strengths(self, samples: Iterable[torch.Tensor]) -> Array:
        """s̃ = ‖x‖₂/√n behind each operation (Ghavasieh25, Methods 0.15): shape (samples, operations), in float64.

        `samples` have shape (1, *sample). Values that overflow become infinite or NaN. Raises CannotRunError where the
        operations are not the same for every sample.
        """
        import torch

        rows: list[Array] = []
        for group in _batches(samples, self.batch):
            found, _ = self._run(torch.cat(group), self.batch == 1)
            missing = [name for name in self.names if name not in found.strengths]
            if missing or any(len(found.strengths[name]) != len(group) for name in self.names):
                lacking = missing[0] if missing else "one that is not batch first"
                raise CannotRunError(f"which operations run depends on the input ({lacking}); they form no sequence")
            columns = torch.stack([found.strengths[name] for name in self.names], dim=1)
            rows.append(columns.cpu().numpy().astype(np.float64))
        return np.concatenate(rows) if rows else np.zeros((0, len(self.names)))

    @property
    def summary(self) -> str:
        """The operations by kind, most frequent first: "20 Conv2d, 20 BatchNorm2d, 17 ReLU, 8 add"."""
        return ", ".join(f"{count} {kind}" for kind, count in Counter(self.kinds).most_common())


def watch(module: nn.Module, probe: Sequence[torch.Tensor], *, graph: bool | None = None) -> Watched:
    """Find the operations of `module`, in eval mode and without gradients, with two samples of shape (1, *sample).

    The graph is used where symbolic tracing gives the network's own answer, hooks on the modules without parts
    otherwise; `graph` insists on the one or the other. An operation counts as a layer if its output is a signal that
    depends on the input. What only rearranges, selects or repeats values does not count: views, copies of the same
    values, dropout in eval mode; nor does what is computed from parameters alone.

    Each operation's strength in a batch is compared with that of the sample alone: where one differs (time first,
    windows, statistics over the batch), all samples pass one at a time, and the norm is that of the whole tensor.
    Raises CannotRunError where there is no operation, or `graph` is true and the network cannot be traced; whatever
    the network raises passes through.
    """
    run, how = _way(module, probe[0], graph)
    alone = [run(values, True)[0] for values in probe[:2]]
    names = [name for name in alone[0].strengths if name in alone[1].strengths]
    if len(names) != len(alone[0].strengths) or len(names) != len(alone[1].strengths):
        raise CannotRunError("which operations run depends on the input; they form no sequence of layers")
    fixed = {name for name in names if float(alone[0].strengths[name]) == float(alone[1].strengths[name])}
    left_out = [(name, "only rearranges, selects or repeats values") for name in sorted(alone[0].views)]
    left_out += [(name, "does not depend on the input") for name in names if name in fixed]
    kept = tuple(name for name in names if name not in fixed)
    if not kept:
        raise CannotRunError("no operation's strength depends on the input; there is nothing to follow")
    batch = _batch(run, probe, alone, kept)
    parts = dict(module.named_modules())
    return Watched(
        names=kept,
        kinds=tuple(alone[0].kinds[name] for name in kept),
        weighted=frozenset(name for name in kept if any(True for _ in _matrices(parts, name))),
        left_out=tuple(left_out),
        how=how if batch > 1 else f"{how}; one sample at a time",
        batch=batch,
        flops=_flops(parts, alone[0]),
        _run=run,
    )


def _way(module: nn.Module, sample: torch.Tensor, graph: bool | None) -> tuple[Run, str]:
    hooks = through_hooks(module), "forward hooks on the modules without parts (the graph cannot be traced)"
    if graph is False:
        return hooks
    try:
        run = through_graph(module)
        traced = first_tensor(run(sample, True)[1])
    except Exception as error:  # Tracing runs foreign code with stand-ins for tensors, which may raise anything.
        if graph:
            raise CannotRunError(f"the network cannot be traced: {brief(error)}") from error
        return hooks
    if not _same_answer(traced, first_tensor(module(sample))):
        if graph:
            raise CannotRunError("the traced graph does not give the network's answer")
        return hooks
    return run, "operations of the graph traced by torch.fx"


def _same_answer(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    import torch

    if one is None or other is None or one.shape != other.shape:
        return False
    return bool(torch.allclose(one, other, rtol=_SAME, atol=_SAME * float(other.abs().max()), equal_nan=True))


def _batch(run: Run, probe: Sequence[torch.Tensor], alone: list[Pass], names: tuple[str, ...]) -> int:
    """How many samples may pass together: 1 where some operation's output is not sample by sample."""
    import torch

    # Three samples, so that a batch is told from an axis of length two.
    batch = torch.cat([probe[0], probe[1], probe[0]])
    try:
        together, _ = run(batch, False)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
        return 1  # Some networks take one sample only.
    for name in names:
        values = together.strengths.get(name)
        if values is None or len(values) != 3 or name in together.unbatched:
            return 1
        for place, single in enumerate(alone):
            expected = float(single.strengths[name])
            if not abs(float(values[place]) - expected) <= _SAME * abs(expected):
                return 1
    return max(1, min(_MOST, _LARGEST // max(alone[0].sizes.values())))


def _flops(parts: Mapping[str, nn.Module], found: Pass) -> float:
    """What one sample costs. Deterministic, so that the number of inputs chosen by it is the same everywhere.

    A layer multiplies each of its weights once for every place of its output; recurrent layers come out too cheap.
    """
    total = 0.0
    for name, size in found.sizes.items():
        total += _VALUE_COST * size
        total += sum(2.0 * weight.numel() * size / weight.shape[0] for weight in _matrices(parts, name))
    return total


def _matrices(parts: Mapping[str, nn.Module], name: str) -> Iterator[torch.Tensor]:
    """The weights that an operation multiplies with, where it is a module."""
    part = parts.get(name.partition("#")[0])
    for weight in part.parameters() if part is not None else ():
        if sum(side > 1 for side in weight.shape) > 1:
            yield weight


def _batches(samples: Iterable[torch.Tensor], size: int) -> Iterable[list[torch.Tensor]]:
    group: list[torch.Tensor] = []
    for sample in samples:
        group.append(sample)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
