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
from critaudit.structure.names import is_buffer, place
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
    protobuf message or ends before its first whole weight, LimitExceededError where its graph is too large,
    NotAModelError where it has no graph.
    """
    wire = WireReader(file)
    model = read_model(wire)
    if wire.truncated and model.graph is None:
        raise CorruptFileError(f"{file.path.name}: {_end(wire)}, before the graph (truncated download?)")
    if model.graph is None:
        raise NotAModelError(f"{file.path.name}: no graph is in this file; an ONNX model is expected")
    flow = Dataflow.of(model)
    sorter = _Sorter(file, flow)
    for name, value in zip(flow.unique_names(), flow.constants, strict=True):
        sorter.add(name, value)
    if wire.truncated:
        sorter.cut(wire)
    if not sorter.tensors and not sorter.left_out:
        raise NotAModelError(f"{file.path.name}: this ONNX graph has no constants; a model with weights is expected")
    if model.training:
        sorter.left_out.append(LeftOut("training_info", (), "graph", "training graphs are not part of the model"))
    return Contents(
        format="ONNX",
        tensors=sorter.tensors,
        left_out=tuple(sorter.left_out),
        problems=tuple(f"{item.name}: {item.reason}" for item in sorter.left_out if item.lost)[:20],
        hints=sorter.hints,
        metadata=model.metadata,
    )


def _end(wire: WireReader) -> str:
    """How far a truncated file goes, and how far it should go at least, where that can still be told."""
    whole = "" if wire.claimed is None else f" of at least {wire.claimed}"
    return f"the file ends after {wire.file.size}{whole} bytes"


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

    def cut(self, wire: WireReader) -> None:
        """Put down that the file ends early, so that the audit is partial even where no tensor was cut in two.

        Raises CorruptFileError where nothing that could be audited came before the end.
        """
        if all(self._is_buffer(name, ref) for name, ref in self.tensors.items()):
            raise CorruptFileError(
                f"{wire.file.path.name}: {_end(wire)}, before the first whole weight (truncated download?)"
            )
        reason = f"{_end(wire)} (truncated download?); what followed is unknown"
        self.left_out.insert(0, LeftOut("rest of the model", (), "unknown", reason, lost=True))

    def _is_buffer(self, name: str, ref: TensorRef) -> bool:
        hint = self.hints.get(name)
        return (hint is not None and hint.buffer) or is_buffer(place(name).role, ref.shape)

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
