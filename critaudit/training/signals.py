"""Signal and gradient behind every layer of a network in training, watched during single steps only.

The watch is PyTorch's global forward hook while it is armed, and nothing at all in between: no module of the network is
touched, so that copying, saving and compiling it see no trace of it. Gradients come from hooks on the layers' outputs,
which leave the graph as it is. Only norms are kept, as numbers on the device, until they are fetched together.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from critaudit.training.followed import Live
from critaudit.training.records import Growth
from critaudit.training.weights import fetch

if TYPE_CHECKING:
    import torch
    from torch import nn

# Fewer samples say little about units that none of them activates.
_FEWEST = 16


@dataclass(frozen=True, slots=True)
class Passed:
    """What passed a module during the watched step: the output's root mean square, the gradient's norm, dead units.

    None where it was not seen or not finite; `broken` names what was not finite ("signal", "gradient").
    """

    signal: float | None
    gradient: float | None
    dead: float | None
    broken: tuple[str, ...]


@dataclass(slots=True)
class _Trace:
    """Per call of a module: norm and size of its output; norm of the gradient; share of dead units."""

    norms: list[torch.Tensor] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    gradients: list[torch.Tensor] = field(default_factory=list)
    dead: list[torch.Tensor] = field(default_factory=list)


class Watch:
    """The watch over the modules of `matrices`. `seconds` is the time spent in its hooks since it was armed."""

    def __init__(self, module: nn.Module, matrices: Sequence[Live]) -> None:
        self._paths: dict[int, str] = {}
        self._traces: dict[str, _Trace] = {}
        self._handle: Any = None
        self._forgotten: Any = None
        self.seconds = 0.0
        named = dict(module.named_modules())
        followed = {one.followed.module: one.followed for one in matrices if one.followed.module is not None}
        for path in followed:
            # Replicas of DataParallel are other objects with the very same table of hooks.
            self._paths[id(named[path]._forward_hooks)] = path
        self._rectified = {path for path, it in followed.items() if it.activation == "relu" and not it.normalised}

    @property
    def armed(self) -> bool:
        """Whether the next pass is watched."""
        return self._handle is not None

    def arm(self) -> None:
        """Watch from now on, from a clean start; what is being watched already goes on."""
        import torch
        from torch.nn.modules.module import register_module_forward_hook

        if self._handle is not None:
            return
        self._traces, self.seconds = {}, 0.0
        forward = weakref.WeakMethod(self._forward)

        def hook(module: nn.Module, _: Any, output: Any) -> None:
            if torch.compiler.is_compiling():  # a part of the program is being compiled: leave no trace in it
                return
            watching = forward()
            if watching is not None:
                watching(module, output)

        self._handle = register_module_forward_hook(hook)
        # PyTorch's table of global hooks must not keep a forgotten monitor, nor one its hook.
        self._forgotten = weakref.finalize(self, self._handle.remove)

    def disarm(self) -> None:
        """Watch no longer; what was seen stays until the next arming."""
        if self._handle is not None:
            self._forgotten()  # removes the hook
            self._handle = None

    def collect(self) -> dict[str, Passed]:
        """What was seen since the watch was armed, by the modules' paths in the order of their first running.

        A step of several passes (gradient accumulation) gives their root mean square; passes that were not finite (as
        of a loss scale that was too large, whose step was skipped) are left out where others were.
        """
        traces, self._traces = self._traces, {}
        numbers = iter(
            fetch([one for trace in traces.values() for one in (*trace.norms, *trace.gradients, *trace.dead)])
        )

        def take(values: Sequence[torch.Tensor]) -> list[float]:
            return [next(numbers) for _ in values]

        found = {}
        for path, trace in traces.items():
            norms, gradients, dead = take(trace.norms), take(trace.gradients), take(trace.dead)
            kept = [(norm, size) for norm, size in zip(norms, trace.sizes, strict=True) if math.isfinite(norm)]
            signal = _root_mean_square([norm for norm, _ in kept], sum(size for _, size in kept))
            finite = [norm for norm in gradients if math.isfinite(norm)]
            broken = [
                name
                for name, all_of, some in (("signal", norms, kept), ("gradient", gradients, finite))
                if all_of and not some
            ]
            found[path] = Passed(
                signal,
                _root_mean_square(finite, len(finite)),
                sum(dead) / len(dead) if dead and all(map(math.isfinite, dead)) else None,
                tuple(broken),
            )
        return found

    def _forward(self, module: nn.Module, output: Any) -> None:
        import torch

        path = self._paths.get(id(module._forward_hooks))
        if path is None or not torch.is_grad_enabled():
            return
        started = time.perf_counter()
        signal = _plain_signal(output)
        if signal is not None and not (signal.is_cuda and torch.cuda.is_current_stream_capturing()):
            trace = self._traces.setdefault(path, _Trace())
            with torch.no_grad():
                plain = signal.detach()
                trace.norms.append(_norm(plain))
                trace.sizes.append(plain.numel())
                if path in self._rectified and (dead := _dead_units(plain)) is not None:
                    trace.dead.append(dead)
            if signal.requires_grad:
                signal.register_hook(partial(self._backward, trace))  # type: ignore[no-untyped-call]
        self.seconds += time.perf_counter() - started

    def _backward(self, trace: _Trace, gradient: torch.Tensor) -> None:
        import torch

        started = time.perf_counter()
        with torch.no_grad():
            trace.gradients.append(_norm(gradient.detach()))
        self.seconds += time.perf_counter() - started


def growth(values: Sequence[float | None]) -> Growth | None:
    """How a quantity changes from layer to layer: exponent per layer by least squares on its logarithm, and its error.

    `values` are in the order of the layers; those that are None or not positive are left out with their places. None
    for fewer than two. The standard error is that of the residuals, None for two values.
    """
    points = [(float(place), math.log(value)) for place, value in enumerate(values) if value is not None and value > 0]
    if len(points) < 2:
        return None
    middle = sum(x for x, _ in points) / len(points)
    level = sum(y for _, y in points) / len(points)
    spread = sum((x - middle) ** 2 for x, _ in points)
    slope = sum((x - middle) * (y - level) for x, y in points) / spread
    error = None
    if len(points) > 2:
        rest = sum((y - level - slope * (x - middle)) ** 2 for x, y in points)
        error = math.sqrt(rest / (len(points) - 2) / spread)
    return slope, error, len(points)


def growth_of_passes(passed: Mapping[str, Passed], order: Sequence[str]) -> dict[str, Growth]:
    """Growth of the signal from the first module to the last, and of the gradient from the last to the first."""
    forward = growth([passed[path].signal if path in passed else None for path in order])
    backward = growth([passed[path].gradient if path in passed else None for path in reversed(order)])
    return {name: one for name, one in (("signal", forward), ("gradient", backward)) if one is not None}


def _root_mean_square(norms: Sequence[float], size: int) -> float | None:
    return math.sqrt(sum(norm * norm for norm in norms) / size) if size else None


def _plain_signal(output: Any) -> torch.Tensor | None:
    """The module's output where it is an ordinary tensor on this process: no DTensor, none inside vmap or jvp."""
    from critaudit.dynamics.hooks import first_signal

    signal = first_signal(output)
    if signal is None or signal.numel() == 0 or signal.is_complex() or hasattr(signal, "placements"):
        return None
    return None if _is_transformed(signal) else signal


def _is_transformed(signal: torch.Tensor) -> bool:
    import torch

    functorch = getattr(torch._C, "_functorch", None)
    check = getattr(functorch, "is_functorch_wrapped_tensor", None)
    return bool(check(signal)) if check is not None else False


def _norm(values: torch.Tensor) -> torch.Tensor:
    """‖x‖₂ in float32 at least; norms of rows first, so that long tensors lose no digits."""
    import torch

    wide = torch.float64 if values.dtype == torch.float64 else torch.float32
    if values.ndim < 2:
        flat: torch.Tensor = torch.linalg.vector_norm(values, dtype=wide)
        return flat
    rows: torch.Tensor = torch.linalg.vector_norm(values, dim=tuple(range(1, values.ndim)), dtype=wide)
    whole: torch.Tensor = torch.linalg.vector_norm(rows)
    return whole


def _dead_units(values: torch.Tensor) -> torch.Tensor | None:
    """The share of units whose pre-activation is not positive for any sample (and position) of the batch."""
    if values.ndim < 2 or values.numel() // values.shape[1] < _FEWEST:
        return None
    if values.ndim >= 4:  # samples, channels, positions
        highest = values.amax(dim=(0, *range(2, values.ndim)))
    else:
        highest = values.flatten(0, -2).amax(dim=0)
        if values.numel() // highest.numel() < _FEWEST:
            return None
    return (highest <= 0).float().mean()
