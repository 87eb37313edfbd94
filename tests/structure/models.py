"""Real torch modules as lazily read tensors, with and without hints."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from critaudit.model import LedgerEntry, WeightMatrix
from critaudit.sources.live.hints import hints_of
from critaudit.structure import arrange
from critaudit.tensors import MemoryStorage, TensorRef

NAMES = {torch.float64: "float64", torch.float32: "float32", torch.float16: "float16", torch.int64: "int64"}
NAMES |= {torch.bool: "bool", torch.complex64: "complex64", torch.int8: "int8", torch.uint8: "uint8"}


def reference(tensor: torch.Tensor) -> TensorRef:
    """The tensor as a reference into its storage: ties and views share their key as they do in a file."""
    tensor = tensor.detach()
    storage = tensor.untyped_storage()
    raw = torch.empty(0, dtype=torch.uint8).set_(storage).numpy().copy()
    key = ("memory", storage.data_ptr() or id(tensor))
    stride = None if tensor.is_contiguous() else tuple(tensor.stride())
    return TensorRef(MemoryStorage(raw, key), NAMES[tensor.dtype], tuple(tensor.shape), tensor.storage_offset(), stride)


def array_reference(values: np.ndarray, dtype: str | None = None) -> TensorRef:
    """A contiguous array as a reference with memory of its own."""
    flat = np.ascontiguousarray(values)
    raw = np.frombuffer(flat.tobytes(), dtype=np.uint8)
    return TensorRef(MemoryStorage(raw, object()), dtype or str(values.dtype), tuple(values.shape))


def references(module: nn.Module) -> dict[str, TensorRef]:
    return {name: reference(tensor) for name, tensor in module.state_dict(keep_vars=True).items()}


def look(module: nn.Module, *, hinted: bool = False) -> tuple[dict[str, WeightMatrix], dict[str, LedgerEntry]]:
    """Matrices and ledger lines by name."""
    matrices, ledger = arrange(references(module), hints_of(module) if hinted else {}, ())
    return {matrix.name: matrix for matrix in matrices}, {entry.name: entry for entry in ledger}


def parameters(module: nn.Module) -> int:
    """Trainable parameters, each counted once."""
    return sum(parameter.numel() for parameter in module.parameters())
