"""Our own constructors for what PyTorch's pickles build: tensors as lazy descriptions, parameters, devices, sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from critaudit.sources.pickles.inert import UNKNOWN_TENSOR, Builder, Inert, Restorable
from critaudit.sources.pytorch.stored_tensors import (
    Refused,
    StorageHandle,
    TensorLike,
    TensorParts,
    element_type,
    known_shape,
)
from critaudit.tensors import TensorRef

_Charge = Callable[[int], None]


@dataclass(slots=True, eq=False)
class RefusedTensor(TensorLike):
    """A tensor of a kind that is not read."""

    refused: Refused

    def resolve(self) -> Refused:
        """See TensorLike."""
        return self.refused


def _refuse(shape: object, dtype: str, reason: str, *, lost: bool = False) -> RefusedTensor:
    return RefusedTensor(Refused(known_shape(shape), dtype, reason, lost))


def _tensor(args: tuple[object, ...], _: _Charge) -> object:
    """_rebuild_tensor(storage, offset, size, stride) and v2, which adds flags, hooks and metadata."""
    if len(args) < 4 or not isinstance(args[0], StorageHandle):
        return NotImplemented
    return _with_bits(
        TensorParts(args[0], args[0].dtype, args[1], args[2], args[3]), args[6] if len(args) > 6 else None
    )


def _typed_tensor(args: tuple[object, ...], _: _Charge) -> object:
    """_rebuild_tensor_v3: the element type follows the hooks, because the storage is untyped."""
    if len(args) < 7 or not isinstance(args[0], StorageHandle):
        return NotImplemented
    return _with_bits(
        TensorParts(args[0], element_type(args[6]), args[1], args[2], args[3]), args[7] if len(args) > 7 else None
    )


def _with_bits(tensor: TensorParts, metadata: object) -> TensorLike:
    """Lazy conjugation and negation are recorded beside the tensor; its bytes alone would be the wrong numbers."""
    if type(metadata) is dict and (metadata.get("conj") or metadata.get("neg")):
        return _refuse(
            tensor.shape, tensor.dtype, "a lazily conjugated or negated view; save it after .resolve_conj()", lost=True
        )
    return tensor


def _quantised(args: tuple[object, ...], _: _Charge) -> object:
    """_rebuild_qtensor(storage, offset, size, stride, quantiser, …)."""
    if len(args) < 5 or not isinstance(args[0], StorageHandle) or type(args[4]) is not tuple:
        return NotImplemented
    return TensorParts(args[0], args[0].dtype, args[1], args[2], args[3], args[4])


@dataclass(slots=True, eq=False)
class _Parameter(TensorLike, Restorable):
    """A Parameter or Variable of PyTorch before 0.4: its tensor comes with BUILD."""

    data: object = None

    def restore(self, state: object) -> None:
        """Take the tensor out of (data, requires_grad, hooks) or {"data": …}."""
        values = state if type(state) is tuple else tuple(state.values()) if type(state) is dict else ()
        self.data = next((value for value in values[:8] if isinstance(value, TensorLike)), self.data)

    def resolve(self) -> TensorRef | Refused:
        """See TensorLike."""
        if isinstance(self.data, TensorLike) and not isinstance(self.data, _Parameter):
            return self.data.resolve()
        return Refused((), "unknown", "a parameter without a tensor", lost=True)


def _parameter(args: tuple[object, ...], _: _Charge) -> object:
    """_rebuild_parameter(data, …), Parameter(data), Variable(): the tensor itself."""
    if not args:
        return _Parameter()
    return args[0] if isinstance(args[0], (TensorLike, Inert)) else NotImplemented


def _subclass(args: tuple[object, ...], charge: _Charge) -> object:
    """_rebuild_from_type_v2(function, type, arguments, state): the plain tensor inside."""
    if len(args) < 3 or type(args[2]) is not tuple:
        return NotImplemented
    builder = _FUNCTIONS.get(getattr(args[0], "name", ""))
    if builder is None or builder is _subclass:
        return Inert("a call of something that makes no tensor", args)
    return builder(args[2], charge)


def _sparse(args: tuple[object, ...], _: _Charge) -> object:
    """Coordinates and values; a dense matrix is what the physics is about."""
    parts = args[1] if len(args) > 1 and type(args[1]) is tuple else ()
    shape = next((known_shape(part) for part in parts[2:4] if known_shape(part)), ())
    values = [part.resolve() for part in parts if isinstance(part, TensorParts)]
    dtype = values[-1].dtype if values else "sparse"
    return _refuse(shape, dtype, "a sparse tensor; save it with .to_dense() to have it audited")


def _meta(args: tuple[object, ...], _: _Charge) -> object:
    dtype, shape = (*args, None, None)[:2]
    return _refuse(shape, element_type(dtype), "a tensor on the meta device has no values")


def _wrapper(args: tuple[object, ...], _: _Charge) -> object:
    kind, dtype, shape = (*args, None, None, None)[:3]
    name = str(getattr(kind, "name", "unknown class"))
    return _refuse(shape, element_type(dtype), f"a tensor of the class {name[:80]}, which keeps its values its own way")


def _newer(_: tuple[object, ...], __: _Charge) -> object:
    return _refuse((), "unknown", "a kind of tensor that this version does not know", lost=True)


def _nested(_: tuple[object, ...], __: _Charge) -> object:
    return _refuse((), "nested", "a nested (ragged) tensor")


def _same(args: tuple[object, ...], _: _Charge) -> object:
    """Functions that hand on their first argument as far as reading goes."""
    return args[0] if args else NotImplemented


def _from_array(args: tuple[object, ...], _: _Charge) -> object:
    return args[0] if args and isinstance(args[0], TensorLike) else NotImplemented


def _device(args: tuple[object, ...], _: _Charge) -> object:
    if not args or type(args[0]) is not str:
        return NotImplemented
    return args[0] if len(args) == 1 or type(args[1]) is not int else f"{args[0][:40]}:{args[1] % 10**6}"


def _size(args: tuple[object, ...], charge: _Charge) -> object:
    if len(args) == 1 and type(args[0]) in (tuple, list):
        charge(8 * len(args[0]))  # type: ignore[arg-type]
        return tuple(args[0])  # type: ignore[arg-type]
    return () if not args else NotImplemented


_FUNCTIONS: dict[str, Builder] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_qtensor": _quantised,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_sparse_csr_tensor": _sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_wrapper_subclass": _wrapper,
    "torch._utils._rebuild_nested_tensor": _nested,
    "torch._utils._rebuild_device_tensor_from_numpy": _from_array,
    "torch._utils._rebuild_xla_tensor": _from_array,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _from_array,
    "torch._tensor._rebuild_from_type": _subclass,
    "torch._tensor._rebuild_from_type_v2": _subclass,
}


def _surely(builder: Builder) -> Builder:
    """A tensor whose description is malformed must not vanish: it is lost, and the audit says so."""

    def build(args: tuple[object, ...], charge: _Charge) -> object:
        built = builder(args, charge)
        if built is not NotImplemented:
            return built
        return _refuse((), "unknown", "the description of the tensor is malformed", lost=True)

    return build


_TENSORS: dict[str, Builder] = {name: _surely(builder) for name, builder in _FUNCTIONS.items()}

TORCH_BUILDERS: dict[str, Builder] = {
    **_TENSORS,
    UNKNOWN_TENSOR: _newer,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.nn.parameter.Buffer": _parameter,
    "torch.autograd.variable.Variable": _parameter,
    "torch.device": _device,
    "torch.Size": _size,
    "torch.serialization._get_layout": _same,
    "torch.jit._pickle.build_intlist": _same,
    "torch.jit._pickle.build_doublelist": _same,
    "torch.jit._pickle.build_boollist": _same,
    "torch.jit._pickle.build_tensorlist": _same,
    "torch.jit._pickle.restore_type_tag": _same,
}
