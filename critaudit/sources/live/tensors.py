"""Tensors in memory, PyTorch's or NumPy's, described like tensors in a file and copied only when read."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from critaudit.contents import LeftOut
from critaudit.errors import SourceError
from critaudit.tensors import DTYPES, MemoryStorage, Quantisation, TensorRef

if TYPE_CHECKING:
    import torch

_QUANTISED = {"qint8": "int8", "quint8": "uint8", "qint32": "int32"}


@dataclass(frozen=True, slots=True, eq=False)
class TorchStorage:
    """The memory of a PyTorch tensor on any device; reading copies exactly the bytes asked for to the CPU."""

    storage: torch.UntypedStorage = field(repr=False)

    @property
    def key(self) -> Hashable:
        """The address on its device: tied tensors share it."""
        return ("torch", str(self.storage.device), self.storage.data_ptr(), self.storage.nbytes())

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return self.storage.nbytes()

    def read(self, start: int, stop: int) -> bytearray:
        """See critaudit.tensors.Storage."""
        import torch

        if not 0 <= start <= stop <= self.nbytes:
            raise SourceError(f"bytes {start} to {stop} are wanted of a tensor storage that now has {self.nbytes}")
        buffer = bytearray(stop - start)
        if buffer:
            with torch.no_grad():
                view = torch.empty(0, dtype=torch.uint8, device=self.storage.device)
                view.set_(self.storage, start, (stop - start,), (1,))
                torch.frombuffer(buffer, dtype=torch.uint8).copy_(view)
        return buffer


def describe_torch(name: str, tensor: torch.Tensor) -> TensorRef | LeftOut:
    """The tensor as a lazy reference, or why it cannot be read (meta, distributed, sparse, uninitialised, …)."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    reason = _unreadable(tensor)
    if reason is not None:
        return LeftOut(name, _shape(tensor), dtype, reason, lost=True)
    quantisation = None
    if tensor.is_quantized:
        dtype, quantisation = _QUANTISED.get(dtype, dtype), _quantisation(tensor)
    tensor = tensor.detach()
    if dtype.startswith("complex"):
        tensor = tensor.resolve_conj()
    tensor = tensor.resolve_neg()
    if dtype not in DTYPES:
        return LeftOut(name, _shape(tensor), dtype, f"elements of type {dtype} are not read yet", lost=True)
    try:
        return TensorRef(
            storage=TorchStorage(tensor.untyped_storage()),
            dtype=dtype,
            shape=tuple(tensor.shape),
            offset=int(tensor.storage_offset()),
            stride=None if tensor.is_contiguous() else tuple(tensor.stride()),
            quantisation=quantisation,
        )
    except SourceError as error:
        return LeftOut(name, _shape(tensor), dtype, str(error), lost=True)


def describe_numpy(name: str, array: NDArray[np.generic]) -> TensorRef | LeftOut:
    """The array as a reference to its own memory; a copy is made only of foreign byte orders and odd strides."""
    dtype = array.dtype.name
    if array.dtype.hasobject or array.dtype.names is not None:
        return LeftOut(name, array.shape, dtype, "it holds Python objects or records, not numbers", lost=True)
    if dtype not in DTYPES:
        lost = array.dtype.kind in "fcV"
        return LeftOut(name, array.shape, dtype, f"elements of type {dtype} are not weights that critaudit reads", lost)
    plain = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    stride = None
    if not plain.flags.c_contiguous and plain.flags.f_contiguous:
        stride = tuple(step // plain.itemsize for step in plain.strides)
        data = plain.T.reshape(-1)
    else:
        data = np.ascontiguousarray(plain).reshape(-1)
    raw = data.view(np.uint8)
    # The view keeps the array alive, so an address cannot be given to another one meanwhile.
    key = ("numpy", raw.__array_interface__["data"][0], raw.nbytes)
    try:
        return TensorRef(MemoryStorage(raw, key), dtype, array.shape, stride=stride)
    except SourceError as error:
        return LeftOut(name, array.shape, dtype, str(error), lost=True)


def _unreadable(tensor: torch.Tensor) -> str | None:
    import torch
    from torch.nn.parameter import is_lazy

    kind = type(tensor).__name__
    if is_lazy(tensor):
        return "the layer is lazy and has no weights before its first forward pass"
    if hasattr(tensor, "to_local") and hasattr(tensor, "placements"):
        return "it is a DTensor spread over processes; gather it first, for example with full_tensor()"
    if tensor.device.type == "meta" or kind == "FakeTensor":
        return "it is on the meta device: it has a shape but no values"
    if hasattr(tensor, "__tensor_flatten__"):
        return f"it is a {kind}, which keeps its values in other tensors; call dequantize() or the like first"
    if tensor.layout != torch.strided:
        layout = str(tensor.layout).removeprefix("torch.").removeprefix("_")
        return f"its layout is {layout}; make it dense first, with to_dense()"
    return None


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    try:
        return tuple(tensor.shape)
    except RuntimeError:  # a lazy parameter has no shape yet
        return ()


def _quantisation(tensor: torch.Tensor) -> Quantisation:
    if "channel" in str(tensor.qscheme()):
        scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
        return Quantisation(
            tuple(float(scale) for scale in scales.tolist()),
            tuple(float(zero) for zero in zeros.tolist()),
            int(tensor.q_per_channel_axis()),
        )
    return Quantisation((float(tensor.q_scale()),), (float(tensor.q_zero_point()),))
