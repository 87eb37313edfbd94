"""ONNX models: initialisers, Constant nodes, weights of subgraphs and functions, and data in files beside the model.

The graph is walked lazily with our own reader of the wire format; the `onnx` library is only the oracle of the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from critaudit.contents import Contents, LayerHint, LeftOut
from critaudit.errors import CorruptFileError, NotAModelError
from critaudit.sources.onnx.graph import Dataflow, Value
from critaudit.sources.onnx.layers import ELEMENTWISE, hint_for, routes
from critaudit.sources.onnx.proto import looks_like_model, read_model
from critaudit.sources.onnx.protobuf import WireReader
from critaudit.sources.onnx.quantised import is_scale, quantisation_of
from critaudit.sources.onnx.tensors import TensorFinder
from critaudit.tensors import FLOATS, Quantisation, RegularFile, TensorRef

_ARGUMENTS = frozenset(
    {
        "Resize",
        "Upsample",
        "Clip",
        "Pad",
        "Range",
        "Slice",
        "Reshape",
        "Expand",
        "Tile",
        "ConstantOfShape",
        "TopK",
        "Where",
        "Pow",
        "Equal",
        "Less",
        "Greater",
        "NonMaxSuppression",
        "OneHot",
        "RoiAlign",
        "Dropout",
        "Compress",
        "ScatterND",
        "ReduceSum",
    }
)


def looks_like_onnx(head: bytes) -> bool:
    """Whether a file that begins with `head` (its first 4 KB) is an ONNX model."""
    return looks_like_model(head)


def read_onnx(file: RegularFile) -> Contents:
    """Describe the weights of an ONNX model without reading them; each is named as in its graph.

    A name that several graphs use gets the path of node and branch in front ("If_0.then_branch."). Layers are hinted
    from the consuming nodes. A truncated model keeps what is whole. Raises CorruptFileError where the file is no
    protobuf message, LimitExceededError where its graph is too large, NotAModelError where it has no graph.
    """
    wire = WireReader(file)
    model = read_model(wire)
    if model.graph is None:
        raise NotAModelError(f"{file.path.name}: no graph is in this file; an ONNX model is expected")
    flow = Dataflow.of(model)
    sorter = _Sorter(file, flow)
    for name, value in zip(flow.unique_names(), flow.constants, strict=True):
        sorter.add(name, value)
    if not sorter.tensors and not sorter.left_out:
        if wire.truncated:
            raise CorruptFileError(f"{file.path.name}: the file ends before the first weight (truncated download?)")
        raise NotAModelError(f"{file.path.name}: this ONNX graph has no constants; a model with weights is expected")
    if model.training:
        sorter.left_out.append(LeftOut("training_info", (), "graph", "training graphs are not part of the model"))
    return Contents(
        format="ONNX",
        tensors=sorter.tensors,
        left_out=tuple(sorter.left_out),
        problems=_problems(file, wire, sorter.left_out),
        hints=sorter.hints,
        metadata=model.metadata,
    )


def _problems(file: RegularFile, wire: WireReader, left_out: list[LeftOut]) -> tuple[str, ...]:
    problems = [f"{item.name}: {item.reason}" for item in left_out if item.lost][:20]
    if wire.truncated:
        problems.insert(0, f"{file.path.name}: the file ends in the middle of the model; what came after is lost")
    return tuple(problems)


class _Sorter:
    """Sorts constants into weights and the rest."""

    def __init__(self, file: RegularFile, flow: Dataflow) -> None:
        self.tensors: dict[str, TensorRef] = {}
        self.left_out: list[LeftOut] = []
        self.hints: dict[str, LayerHint] = {}
        self._flow = flow
        self._find: Callable[..., TensorRef | LeftOut] = TensorFinder(file).find

    def add(self, name: str, value: Value) -> None:
        """Describe one constant and put it where it belongs."""
        if value.message is None:
            return
        found = self._find(name, value.message)
        if isinstance(found, TensorRef):
            found = self._settle(name, value, found)
        if isinstance(found, LeftOut):
            self.left_out.append(found)
        else:
            self.tensors[name] = found

    def _settle(self, name: str, value: Value, ref: TensorRef) -> TensorRef | LeftOut:
        hint = hint_for(self._flow, value, ref.shape)
        if is_scale(value):
            return LeftOut(name, ref.shape, ref.dtype, "scale or zero point of quantised numbers, not weights")
        quantisation = quantisation_of(value, ref.shape, self._constant)
        if isinstance(quantisation, str):
            return LeftOut(name, ref.shape, ref.dtype, quantisation, lost=True)
        reason = self._no_weight(value, ref, quantisation, hint)
        if reason is not None:
            # Quantised weights without a scale are weights that we could not make numbers of.
            lost = hint is not None and ref.dtype in ("int8", "uint8")
            return LeftOut(name, ref.shape, ref.dtype, reason, lost=lost)
        if hint is not None:
            self.hints[name] = hint
        return ref if quantisation is None else replace(ref, quantisation=quantisation)

    def _no_weight(
        self, value: Value, ref: TensorRef, quantisation: Quantisation | None, hint: LayerHint | None
    ) -> str | None:
        if quantisation is not None:
            return None
        if ref.dtype not in FLOATS and not ref.dtype.startswith("complex"):
            if hint is not None and ref.dtype in ("int8", "uint8"):
                return "quantised weights whose scale is not a constant of the graph"
            return "whole numbers or truth values of the graph (shapes, axes, indices), not weights"
        if hint is not None and not (hint.module in ELEMENTWISE and ref.numel <= 1):
            return None
        if ref.numel <= 1:
            return "a single number of the graph, not weights"
        ends = list(routes(self._flow, value))
        if ends and all(end.use.node.op in _ARGUMENTS and end.use.slot > 0 for end in ends):
            return f"an argument of {ends[0].use.node.op}, not weights"
        return None

    def _constant(self, value: Value | None) -> TensorRef | None:
        if value is None or value.message is None:
            return None
        found = self._find(value.name, value.message)
        return found if isinstance(found, TensorRef) else None
