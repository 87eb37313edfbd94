"""Strengths of tensors, sample by sample, and which operations change values at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

# What these return are values of their input, at other places or several times: no step of the dynamics.
# fmt: off
_COPYING_FUNCTIONS = frozenset({
    "bfloat16", "channel_shuffle", "chunk", "clone", "contiguous", "cpu", "cuda", "detach", "double", "expand",
    "expand_as", "flatten", "flip", "float", "gather", "getitem", "half", "index_select", "moveaxis", "movedim",
    "narrow", "permute", "pixel_shuffle", "pixel_unshuffle", "ravel", "repeat", "repeat_interleave", "reshape",
    "roll", "select", "split", "squeeze", "swapaxes", "t", "tile", "to", "transpose", "type", "type_as", "unbind",
    "unflatten", "unfold", "unsqueeze", "view",
})
# fmt: on
# fmt: off
_COPYING_MODULES = frozenset({
    "Identity", "Flatten", "Unflatten", "PixelShuffle", "PixelUnshuffle", "ChannelShuffle", "Dropout", "Dropout1d",
    "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout", "DropPath", "StochasticDepth", "Permute",
})
# fmt: on


def copies(kind: str) -> bool:
    """Whether an operation of this name (a function, a method or a module's class) rearranges values at most."""
    return kind in _COPYING_FUNCTIONS or kind in _COPYING_MODULES


def sample_strengths(values: torch.Tensor) -> torch.Tensor:
    """‖x‖₂/√n of every sample of a batch: shape (batch, …) to (batch,), summed up in float64."""
    import torch

    parts = _plain(values).flatten(2) if values.ndim > 2 else _plain(values).reshape(len(values), 1, -1)
    # Norms over the last axes in the tensor's own precision, then together in float64: exact to 1e-7 without a copy.
    norms = torch.linalg.vector_norm(parts, dim=2)
    wide = norms if norms.device.type == "mps" else norms.double()
    strengths: torch.Tensor = wide.square().sum(dim=1).div(values[0].numel()).sqrt()
    return strengths


def whole_strength(values: torch.Tensor) -> torch.Tensor:
    """‖x‖₂/√n of a tensor as a whole, whatever its axes mean; shape (1,)."""
    plain = values.reshape(1, 1, *values.shape) if values.ndim < 2 else values.unsqueeze(0)
    return sample_strengths(plain)


def first_tensor(found: Any) -> torch.Tensor | None:
    """The signal in what an operation returned: the tensor, or the first floating-point one of a tuple."""
    from critaudit.dynamics.hooks import first_signal

    tensor = first_signal(found)
    return tensor if tensor is not None and tensor.numel() else None


def is_operation(module: nn.Module) -> bool:
    """Whether a module is one step: it has no parts, or none that it calls as modules."""
    from torch import nn

    if isinstance(module, nn.MultiheadAttention):
        return True
    # A parametrised weight (weight norm, spectral norm) is a part of its layer, not a step.
    return all(name == "parametrizations" for name, _ in module.named_children())


class Memory:
    """The memory that an operation's inputs lay in before it ran, to tell a view from an operation in place."""

    def __init__(self, inputs: Iterable[torch.Tensor]) -> None:
        self._before = [(tensor, _address(tensor), tensor._version) for tensor in inputs]

    def viewed(self, output: torch.Tensor) -> bool:
        """Whether `output` shows an input's memory that nobody has written to since."""
        address = _address(output)
        return any(address == before and tensor._version == version for tensor, before, version in self._before)


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _plain(values: torch.Tensor) -> torch.Tensor:
    import torch

    if values.is_complex():
        # |a + ib|² is the sum of both squares: the number of entries stays that of the complex tensor.
        return torch.view_as_real(values)
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
