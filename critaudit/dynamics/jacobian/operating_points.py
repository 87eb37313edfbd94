"""Where the dense layers of a running network work: their weights, and the slopes of the nonlinearity before them.

The layer-wise Jacobian is J = W·D, D = diag φ′(h) with h the pre-activations that φ turns into the layer's input: it
takes small changes of these to small changes of the layer's own pre-activations (the form of Qu22's Eqs. 7 and 8 and of
its figures). W and D are independent before training; in diag φ′(Wx)·W they are not, since a neuron with a large weight
saturates itself, and heavy-tailed layers then look nothing like the theory.

What stands before a layer is seen, not guessed: hooks find the tensor that the layer takes among the outputs of
activation modules, or as a known function of an earlier layer's output, and the numbers must agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.dynamics.hooks import tensors_of
from critaudit.dynamics.jacobian.pointwise import (
    difference,
    differentiated,
    known_function,
    module_activation,
    named_slopes,
)
from critaudit.dynamics.running import Running

if TYPE_CHECKING:
    import torch
    from torch import nn

Array: TypeAlias = NDArray[np.float64]

# How many of the latest outputs a layer's input is looked for in, where a function that is no module came between.
_REMEMBERED = 4


@dataclass(frozen=True, slots=True, eq=False)
class DenseLayer:
    """A dense layer at its operating points, J = W·diag(slopes).

    `shape` is (outputs, inputs). `slopes` has one row per point, shape (points, inputs): φ′ at the
    pre-activations that became the layer's input; a single row of ones where no pointwise nonlinearity stands right
    before the layer (the first layer, or one behind a normalisation, a sum or a pooling). `activation` is φ's name,
    None without one. `reason` says why there are no slopes at all.
    """

    tensor: str
    parameter: torch.Tensor = field(repr=False)
    activation: str | None
    slopes: Array | None
    reason: str | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        rows, columns = self.parameter.shape
        return int(rows), int(columns)

    @property
    def is_square(self) -> bool:
        """Whether the Jacobian has eigenvalues."""
        return self.shape[0] == self.shape[1]

    def weight(self) -> Array:
        """The weight in float64, copied, shape (outputs, inputs)."""
        return np.array(self.parameter.detach().cpu().double().numpy())

    def gains(self) -> Array:
        """√(‖J‖_F²/inputs) at each point: the root mean square growth of a small random change. No copy is made."""
        import torch

        assert self.slopes is not None
        wide = torch.float32 if self.parameter.device.type == "mps" else torch.float64
        lengths = torch.linalg.vector_norm(self.parameter.detach(), dim=0, dtype=wide).cpu().double().numpy()
        return np.asarray(np.sqrt(np.square(self.slopes * lengths).sum(axis=1) / self.shape[1]))


@dataclass(slots=True)
class _Trace:
    """What the hooks saw of one layer: per sample the name of φ (None without one) and its slopes at one position."""

    layer: nn.Module
    tensor: str
    points: list[tuple[str | None, Array]] = field(default_factory=list)
    seen: bool = False
    not_finite: bool = False


@dataclass(frozen=True, slots=True)
class _Activated:
    """An activation module's last pass: its input (as it was before) and its output, which the key stands for."""

    module: nn.Module
    before: torch.Tensor
    after: torch.Tensor


@dataclass(slots=True)
class _Sample:
    """What has passed in the present sample: outputs of activation modules by their memory, and of layers, latest last.

    The tensors are held so that their memory is not given to others.
    """

    activated: dict[tuple[int, int], _Activated] = field(default_factory=dict)
    outputs: list[torch.Tensor] = field(default_factory=list)


def dense_operating_points(network: Running, tensors: Collection[str], *, samples: int = 16) -> Iterator[DenseLayer]:
    """The network's dense layers among `tensors`, in its order, at one position of each of at most `samples` inputs.

    A layer whose input has many positions (tokens, pixels) is looked at in one of them per sample, drawn with the
    network's seed; one that runs several times per sample at its first run.
    """
    traces = _watched(network, tensors)
    _run(network, traces, samples)
    for trace in traces:
        yield _layer(trace)


def dense_weight(layer: nn.Module) -> torch.Tensor | None:
    """The weight of a dense layer, shape (outputs, inputs); None for any other module."""
    import torch
    from torch import nn

    weight = getattr(layer, "weight", None)
    if not isinstance(weight, torch.Tensor) or weight.ndim != 2:
        return None
    if isinstance(layer, nn.Linear):
        return weight
    # Hugging Face's Conv1D is a dense layer that keeps its weight transposed.
    return weight.T if type(layer).__name__ == "Conv1D" and hasattr(layer, "nf") else None


def _watched(network: Running, tensors: Collection[str]) -> list[_Trace]:
    """A trace for every dense module whose weight is one of the tensors of interest."""
    traces = []
    for path, layer in network.module.named_modules():
        if dense_weight(layer) is None:
            continue
        names = [network.tensor_names.get(name, name) for name in tensors_of(path, layer)]
        wanted = [name for name in names if name in tensors]
        if len(wanted) == 1:
            traces.append(_Trace(layer, wanted[0]))
    return traces


def _run(network: Running, traces: list[_Trace], samples: int) -> None:
    """Pass the samples; the hooks fill the traces."""
    rng = np.random.default_rng([network.seed, len(traces)])
    sample = _Sample()
    widths = {int(dense_weight(trace.layer).shape[1]) for trace in traces}  # type: ignore[union-attr]
    handles = []
    for trace in traces:
        handles.append(trace.layer.register_forward_pre_hook(_note(trace, sample, rng)))
    for layer in network.module.modules():
        if any(True for _ in layer.children()):
            continue
        if module_activation(layer) is not None:
            handles += _watch_activation(layer, sample, widths)
        elif dense_weight(layer) is not None or "BatchNorm" in type(layer).__name__:
            handles.append(layer.register_forward_hook(_remember(sample, widths)))
    try:
        for index, values in enumerate(network.samples()):
            if index >= samples:
                break
            network.module(values)
            sample.activated.clear()
            sample.outputs.clear()
            for trace in traces:
                trace.seen = False
    finally:
        for handle in handles:
            handle.remove()


def _watch_activation(layer: nn.Module, sample: _Sample, widths: Collection[int]) -> list[Any]:
    """Hooks that note what went into an activation module and what came out; one that works in place spoils it."""
    before: list[torch.Tensor] = []

    def enter(_: nn.Module, args: tuple[Any, ...]) -> None:
        before.clear()
        if args and _may_feed(args[0], widths):
            before.append(args[0].detach().clone() if getattr(layer, "inplace", False) else args[0].detach())

    def leave(module: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        if before and _may_feed(output, widths) and output.shape == before[0].shape:
            sample.activated[_key(output)] = _Activated(module, before[0], output)
        before.clear()

    return [layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)]


def _remember(sample: _Sample, widths: Collection[int]) -> Any:
    """A hook that keeps the latest outputs that a function may turn into a layer's input."""

    def watch(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        if _may_feed(output, widths):
            # A function may work in place, on a layer's output as on anything.
            sample.outputs.append(output.detach().clone())
            del sample.outputs[:-_REMEMBERED]

    return watch


def _note(trace: _Trace, sample: _Sample, rng: np.random.Generator) -> Any:
    """A pre-hook that finds out, at one position of the layer's input, what made it."""

    def watch(_: nn.Module, args: tuple[Any, ...]) -> None:
        if trace.seen or not args or not _is_signal(args[0]):
            return
        trace.seen = True
        given = args[0].detach()
        place = int(rng.integers(max(given.numel() // given.shape[-1], 1)))
        x = _row(given, given, place)
        if not np.isfinite(x).all():
            trace.not_finite = True
            return
        trace.points.append(_origin(sample, given, place, x))

    return watch


def _origin(sample: _Sample, given: torch.Tensor, place: int, x: Array) -> tuple[str | None, Array]:
    """φ and φ′ at what became x: by the activation module whose output this is, or by a function that fits."""
    tolerance = _rounding(given)
    activated = sample.activated.get(_key(given))
    if activated is not None:
        derived = differentiated(activated.module, activated.before)
        if derived is not None and difference(_row(derived[0], given, place), x) <= tolerance:
            h, slopes = _row(activated.before, given, place), _row(derived[1], given, place)
            return named_slopes(activated.module, h, slopes, tolerance=tolerance)
    for output in reversed(sample.outputs):
        if output.numel() == given.numel():
            found = known_function(_row(output, given, place), x, tolerance=tolerance)
            if found is not None:
                return found
    return None, np.ones(x.size)


def _layer(trace: _Trace) -> DenseLayer:
    weight = dense_weight(trace.layer)
    assert weight is not None
    if not trace.points:
        why = (
            "its inputs are NaN or infinite"
            if trace.not_finite
            else "it did not run as a module of its own on this audit's inputs"
        )
        return DenseLayer(trace.tensor, weight, None, None, why)
    name = Counter(name for name, _ in trace.points).most_common(1)[0][0]
    slopes = np.stack([slopes for found, slopes in trace.points if found == name])
    if name is None or (slopes == 1.0).all():
        return DenseLayer(trace.tensor, weight, None, np.ones((1, weight.shape[1])))
    return DenseLayer(trace.tensor, weight, name, slopes)


def _row(values: torch.Tensor, given: torch.Tensor, place: int) -> Array:
    """The vector at `place` of `values`, laid out as the layer takes it, in float64."""
    rows = values.reshape(-1, given.shape[-1])
    return np.asarray(rows[place].cpu().double().numpy())


def _rounding(values: torch.Tensor) -> float:
    """By how much two computations of the same vector may differ, as a share of its largest entry."""
    import torch

    return max(1e-5, 4.0 * float(torch.finfo(values.dtype).eps))


def _key(values: torch.Tensor) -> tuple[int, int]:
    """Where a tensor lies: the same for views of all of it (flattened, reshaped)."""
    return values.data_ptr(), values.numel()


def _is_signal(values: Any) -> bool:
    import torch

    return isinstance(values, torch.Tensor) and values.is_floating_point() and values.ndim >= 1 and values.numel() > 0


def _may_feed(values: Any, widths: Collection[int]) -> bool:
    """Whether the tensor could be a dense layer's input, as it is or flattened: others need not be kept."""
    return _is_signal(values) and (values.shape[-1] in widths or values.numel() in widths)
