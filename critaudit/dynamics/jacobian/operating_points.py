"""Where the dense layers of a running network work: their weights, and the slopes of what follows them.

Forward hooks keep one pre-activation vector per layer and sample. What follows a layer is seen, not guessed, wherever
it is a module: the module that takes the very tensor that the layer gave.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from critaudit.dynamics.hooks import tensors_of
from critaudit.dynamics.running import Running
from critaudit.errors import UsageError
from critaudit.sources.live.hints import activation_of, class_name
from critaudit.theory.activations import named_activation

if TYPE_CHECKING:
    import torch
    from torch import nn

Array = NDArray[np.float64]

UNKNOWN = "the layer's activation is not known; name it with --activation"
NORMALISED = "a normalisation stands between the layer and its nonlinearity: its Jacobian is not W and slopes alone"
# In eval mode these hand on what they get.
_TRANSPARENT = frozenset({"Dropout", "Identity", "AlphaDropout", "FeatureAlphaDropout", "DropPath"})
_SCALING = frozenset({"BatchNorm1d", "SyncBatchNorm"})
_NORMS = ("LayerNorm", "RMSNorm", "GroupNorm", "InstanceNorm", "LocalResponseNorm")


@dataclass(frozen=True, slots=True, eq=False)
class DenseLayer:
    """A dense layer at its operating points: J = diag(slopes)·W maps its input to what lies behind its nonlinearity.

    `weight` has shape (outputs, inputs). `slopes` has one row per point, shape (points, outputs): φ′ at the layer's own
    pre-activations, with the factors of a batch normalisation in between; a single row of ones where no nonlinearity
    follows. `activation` is its name, "identity" for none; `scaled` says that a batch normalisation is included.
    `reason` says why there are no slopes.
    """

    tensor: str
    weight: Array
    activation: str | None
    slopes: Array | None
    scaled: bool = False
    reason: str | None = None

    @property
    def is_square(self) -> bool:
        """Whether the Jacobian has eigenvalues."""
        rows, columns = self.weight.shape
        return bool(rows == columns)


@dataclass(slots=True)
class _Trace:
    """What the hooks saw of one layer: a pre-activation per sample, and the modules that took its output in turn."""

    layer: nn.Module
    tensor: str
    activation: str | None
    points: list[torch.Tensor] = field(default_factory=list)
    chain: list[nn.Module] = field(default_factory=list)
    done: bool = False
    seen: bool = False


def dense_operating_points(
    network: Running, activations: Mapping[str, str | None], *, samples: int = 16, activation: str | None = None
) -> Iterator[DenseLayer]:
    """The network's dense layers, in order, at one position of each of at most `samples` inputs.

    `activations` maps the tensors of interest to the names of their activations where the source knows; `activation` is
    the fallback. A layer whose output has many positions (tokens, pixels) is looked at in one of them per sample, drawn
    with the network's seed; one that runs several times per sample at its first run.
    """
    traces = _watched(network, activations)
    _run(network, traces, samples)
    for trace in traces:
        yield _layer(trace, activation)


def dense_weight(layer: nn.Module) -> torch.Tensor | None:
    """The weight of a dense layer, shape (outputs, inputs); None for any other module."""
    from torch import nn

    weight = getattr(layer, "weight", None)
    if isinstance(layer, nn.Linear) and isinstance(weight, torch_tensor()):
        return weight
    # Hugging Face's Conv1D is a dense layer that keeps its weight transposed.
    if type(layer).__name__ == "Conv1D" and hasattr(layer, "nf") and isinstance(weight, torch_tensor()):
        return weight.T
    return None


def torch_tensor() -> type[torch.Tensor]:
    """The class of tensors, imported when it is needed."""
    import torch

    return torch.Tensor


def _watched(network: Running, activations: Mapping[str, str | None]) -> list[_Trace]:
    """A trace for every dense module whose weight is one of the tensors of interest."""
    traces = []
    for path, layer in network.module.named_modules():
        weight = dense_weight(layer)
        if weight is None or weight.ndim != 2:
            continue
        names = [network.tensor_names.get(name, name) for name in tensors_of(path, layer)]
        wanted = [name for name in names if name in activations]
        if len(wanted) == 1:
            traces.append(_Trace(layer, wanted[0], activations[wanted[0]]))
    return traces


def _run(network: Running, traces: list[_Trace], samples: int) -> None:
    """Pass the samples; the hooks fill the traces."""
    rng = np.random.default_rng([network.seed, len(traces)])
    given: dict[int, tuple[torch.Tensor, _Trace]] = {}
    handles = [trace.layer.register_forward_hook(_note(trace, given, rng)) for trace in traces]
    dense = {id(trace.layer) for trace in traces}
    for layer in network.module.modules():
        if id(layer) not in dense and not any(True for _ in layer.children()):
            handles.append(layer.register_forward_pre_hook(_follow(given)))
            if _kind(layer) in _TRANSPARENT | _SCALING:
                handles.append(layer.register_forward_hook(_hand_on(given)))
        elif id(layer) in dense:
            handles.append(layer.register_forward_pre_hook(_follow(given)))
    try:
        for index, values in enumerate(network.samples()):
            if index >= samples:
                break
            network.module(values)
            given.clear()
            for trace in traces:
                trace.seen = False
                trace.done = trace.done or bool(trace.chain)
    finally:
        for handle in handles:
            handle.remove()


def _note(trace: _Trace, given: dict[int, tuple[torch.Tensor, _Trace]], rng: np.random.Generator) -> Any:
    """A forward hook that keeps one pre-activation vector of the sample, and the output's identity."""

    def watch(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        if trace.seen or not isinstance(output, torch_tensor()) or not output.is_floating_point():
            return
        trace.seen = True
        rows = output.detach().reshape(-1, output.shape[-1])
        trace.points.append(rows[int(rng.integers(len(rows)))].double().cpu().clone())
        given[id(output)] = (output, trace)

    return watch


def _follow(given: dict[int, tuple[torch.Tensor, _Trace]]) -> Any:
    """A pre-hook that notes the module as the next one of the layer whose output it takes."""

    def watch(layer: nn.Module, args: tuple[Any, ...]) -> None:
        found = given.get(id(args[0])) if args else None
        if found is not None and found[0] is args[0] and not found[1].done:
            found[1].chain.append(layer)

    return watch


def _hand_on(given: dict[int, tuple[torch.Tensor, _Trace]]) -> Any:
    """A hook behind a module that the signal passes: its output counts as the layer's."""

    def watch(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        found = given.get(id(args[0])) if args else None
        if found is not None and found[0] is args[0] and isinstance(output, torch_tensor()):
            given[id(output)] = (output, found[1])

    return watch


def _layer(trace: _Trace, fallback: str | None) -> DenseLayer:
    weight = dense_weight(trace.layer)
    assert weight is not None
    W = weight.detach().double().cpu().numpy()
    if not trace.points:
        return DenseLayer(trace.tensor, W, None, None, reason="the layer did not run on this audit's inputs")
    H = np.stack([point.numpy() for point in trace.points])
    finite = np.isfinite(H).all(axis=1)
    if not finite.any():
        return DenseLayer(trace.tensor, W, None, None, reason="its pre-activations are NaN or infinite")
    H = H[finite]
    factors = np.ones(W.shape[0])
    for module in trace.chain:
        kind = _kind(module)
        if kind in _TRANSPARENT:
            continue
        if kind in _SCALING:
            scale, shift = _batch_norm(module)
            H, factors = H * scale + shift, factors * scale
            continue
        return _behind(trace, module, W, H, factors, fallback)
    return _named(trace, W, H, factors, fallback)


def _behind(trace: _Trace, module: nn.Module, W: Array, H: Array, factors: Array, fallback: str | None) -> DenseLayer:
    """The layer before the first module that changes its output: an activation, another layer, a normalisation."""
    scaled = bool(np.any(factors != 1.0))
    if dense_weight(module) is not None:
        return DenseLayer(trace.tensor, W, "identity", factors[None], scaled)
    if any(norm in _kind(module) for norm in _NORMS) and (trace.activation or fallback) not in ("identity", None):
        return DenseLayer(trace.tensor, W, None, None, reason=NORMALISED)
    name = module_activation(module)
    if name is None:
        return _named(trace, W, H, factors, fallback)
    slopes = module_slopes(module, name, H)
    return DenseLayer(trace.tensor, W, name, slopes * factors, scaled)


def _named(trace: _Trace, W: Array, H: Array, factors: Array, fallback: str | None) -> DenseLayer:
    """The layer whose nonlinearity is no module: what the source or the user calls it."""
    name = trace.activation or fallback
    if name is None:
        return DenseLayer(trace.tensor, W, None, None, reason=UNKNOWN)
    scaled = bool(np.any(factors != 1.0))
    if name == "identity":
        return DenseLayer(trace.tensor, W, name, factors[None], scaled)
    return DenseLayer(trace.tensor, W, name, named_activation(name).derivative(H) * factors, scaled)


def module_activation(module: nn.Module) -> str | None:
    """The name of an activation module that acts on each element by itself, with its parameter; None for others."""
    kind = _kind(module)
    if kind in ("LeakyReLU", "ELU", "CELU"):
        name = "leaky_relu" if kind == "LeakyReLU" else "elu"
        parameter = float(getattr(module, "negative_slope" if kind == "LeakyReLU" else "alpha"))
        return f"{name}({parameter:g})" if kind != "CELU" or parameter == 1.0 else "celu"
    if kind in ("GLU", "Softmax", "Softmin", "LogSoftmax", "Softmax2d", "MultiheadAttention", "RReLU"):
        return None
    known = activation_of(module)
    if known is not None:
        return known
    home = type(module).__module__
    return kind.lower() if home == "torch.nn.modules.activation" else None


def module_slopes(module: nn.Module, name: str, H: Array) -> Array:
    """φ′ at H (points, units): the named derivative, exact in the tails, where it is the module's; else by autograd."""
    import torch

    with torch.enable_grad():
        h = torch.from_numpy(H.copy())
        parameter = next(iter(module.parameters()), None)
        h = h if parameter is None else h.to(parameter)
        h.requires_grad_(True)
        (gradient,) = torch.autograd.grad(module(h.clone()).sum(), h)
    measured = gradient.detach().double().cpu().numpy()
    try:
        exact = named_activation(name).derivative(H)
    except UsageError:
        return np.asarray(measured)
    return np.asarray(exact if np.allclose(exact, measured, rtol=1e-5, atol=1e-5) else measured)


def _batch_norm(module: nn.Module) -> tuple[Array, Array]:
    """Factor and shift per unit of a batch normalisation in eval mode."""

    def numbers(name: str, default: float) -> Array:
        value = getattr(module, name, None)
        return np.full(1, default) if value is None else np.asarray(value.detach().double().cpu().numpy())

    scale = numbers("weight", 1.0) / np.sqrt(numbers("running_var", 1.0) + float(getattr(module, "eps", 0.0)))
    return scale, numbers("bias", 0.0) - numbers("running_mean", 0.0) * scale


def _kind(layer: nn.Module) -> str:
    return type(layer).__name__ if type(layer).__name__ in _TRANSPARENT else class_name(layer)
