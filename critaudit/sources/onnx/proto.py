"""ONNX's messages as plain records, read lazily: nodes and names are kept, the bytes of tensors stay in the file.

Field numbers are those of onnx.proto (ONNX IR, unchanged since version 3).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from critaudit.errors import LimitExceededError
from critaudit.sources.onnx.protobuf import BYTES, FIXED32, VARINT, Field, WireReader, signed
from critaudit.text import printable

# Graphs inside attributes of nodes inside graphs …: exporters stay below ten.
MAX_GRAPH_DEPTH = 32


@dataclass(slots=True)
class TensorMessage:
    """TensorProto. `typed` lists the fields that hold elements one by one; `raw` is where the raw bytes lie."""

    name: str = ""
    dims: list[int] = field(default_factory=list)
    data_type: int = 0
    raw: tuple[int, int] | None = None
    typed: list[Field] = field(default_factory=list)
    external: dict[str, str] = field(default_factory=dict)
    location: int = 0
    segmented: bool = False
    sparse: bool = False


@dataclass(slots=True)
class Attribute:
    """AttributeProto: only what layers and constants need."""

    name: str = ""
    integer: int | None = None
    integers: list[int] = field(default_factory=list)
    number: bool = False
    text: str = ""
    texts: list[str] = field(default_factory=list)
    tensors: list[TensorMessage] = field(default_factory=list)
    graphs: list[Graph] = field(default_factory=list)


@dataclass(slots=True)
class Node:
    """NodeProto."""

    op: str = ""
    name: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Attribute] = field(default_factory=dict)

    def integer(self, name: str, default: int) -> int:
        """An integer attribute, or `default`."""
        attribute = self.attributes.get(name)
        return default if attribute is None or attribute.integer is None else attribute.integer


@dataclass(slots=True)
class Graph:
    """GraphProto, or the body of a FunctionProto (then `inputs` are the formal parameters)."""

    name: str = ""
    domain: str = ""
    nodes: list[Node] = field(default_factory=list)
    initialisers: list[TensorMessage] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Model:
    """ModelProto."""

    graph: Graph | None = None
    functions: list[Graph] = field(default_factory=list)
    metadata: dict[str, object] = field(default_factory=dict)
    training: bool = False


def read_model(wire: WireReader) -> Model:
    """The whole structure of the model in `wire`'s file. Raises CorruptFileError and LimitExceededError."""
    model = Model()
    for item in wire.fields(0, wire.file.size):
        match item.number, item.wire:
            case 7, 2:
                model.graph = _graph(wire, item, 0)
            case 25, 2:
                model.functions.append(_function(wire, item))
            case 1, 0:
                model.metadata["ir_version"] = signed(item.value)
            case 2, 2:
                model.metadata["producer"] = printable(wire.text(item))
            case 3, 2:
                model.metadata["producer_version"] = printable(wire.text(item))
            case 8, 2:
                _opset(wire, item, model)
            case 14, 2 if len(model.metadata) < 200:
                key, value = _pair(wire, item)
                model.metadata[f"metadata.{printable(key, limit=100)}"] = printable(value, limit=300)
            case 20, 2:
                model.training = True
    return model


def _opset(wire: WireReader, item: Field, model: Model) -> None:
    domain, version = "", 0
    for part in wire.fields(item.start, item.stop):
        if part.number == 1 and part.wire == BYTES:
            domain = wire.text(part)
        elif part.number == 2 and part.wire == VARINT:
            version = signed(part.value)
    if domain in ("", "ai.onnx"):
        model.metadata["opset"] = version


def _graph(wire: WireReader, item: Field, depth: int) -> Graph:
    if depth > MAX_GRAPH_DEPTH:
        raise LimitExceededError(f"{wire.file.path.name}: graphs are nested more than {MAX_GRAPH_DEPTH} deep")
    graph = Graph()
    for part in wire.fields(item.start, item.stop):
        match part.number, part.wire:
            case 1, 2:
                graph.nodes.append(_node(wire, part, depth))
            case 2, 2:
                graph.name = wire.text(part)
            case 5, 2:
                graph.initialisers.append(_tensor(wire, part))
            case 11, 2:
                graph.inputs.append(_first_text(wire, part))
            case 15, 2:
                graph.initialisers.append(_sparse_tensor(wire, part))
    return graph


def _function(wire: WireReader, item: Field) -> Graph:
    graph = Graph()
    for part in wire.fields(item.start, item.stop):
        match part.number, part.wire:
            case 1, 2:
                graph.name = wire.text(part)
            case 4, 2:
                graph.inputs.append(wire.text(part))
            case 7, 2:
                graph.nodes.append(_node(wire, part, 0))
            case 10, 2:
                graph.domain = wire.text(part)
    return graph


def _node(wire: WireReader, item: Field, depth: int) -> Node:
    node = Node()
    for part in wire.fields(item.start, item.stop):
        match part.number, part.wire:
            case 1, 2:
                node.inputs.append(wire.text(part))
            case 2, 2:
                node.outputs.append(wire.text(part))
            case 3, 2:
                node.name = wire.text(part)
            case 4, 2:
                node.op = wire.text(part)
            case 5, 2:
                attribute = _attribute(wire, part, depth)
                node.attributes[attribute.name] = attribute
            case 7, 2:
                node.domain = wire.text(part)
    return node


def _attribute(wire: WireReader, item: Field, depth: int) -> Attribute:
    attribute = Attribute()
    for part in wire.fields(item.start, item.stop):
        match part.number, part.wire:
            case 1, 2:
                attribute.name = wire.text(part)
            case (2, 5) | (7, 2) | (7, 5):
                attribute.number = True
            case 3, 0:
                attribute.integer = signed(part.value)
            case 4, 2 if part.stop - part.start <= 1024:
                attribute.text = wire.text(part)
            case 9, 2 if part.stop - part.start <= 1024:
                attribute.texts.append(wire.text(part))
            case (8, 0) | (8, 2) if part.stop - part.start <= 1024:
                attribute.integers += wire.numbers(part)
            case (5, 2) | (10, 2):
                attribute.tensors.append(_tensor(wire, part))
            case (22, 2) | (23, 2):
                attribute.tensors.append(_sparse_tensor(wire, part))
            case (6, 2) | (11, 2):
                attribute.graphs.append(_graph(wire, part, depth + 1))
    return attribute


def _tensor(wire: WireReader, item: Field) -> TensorMessage:
    tensor = TensorMessage()
    for part in wire.fields(item.start, item.stop):
        match part.number, part.wire:
            case (1, 0) | (1, 2):
                tensor.dims += wire.numbers(part)
            case 2, 0:
                tensor.data_type = signed(part.value)
            case 3, 2:
                tensor.segmented = True
            case (4 | 5 | 7 | 10 | 11, _):
                tensor.typed.append(part)
            case 8, 2:
                tensor.name = wire.text(part)
            case 9, 2:
                tensor.raw = (part.start, part.stop)
            case 13, 2:
                key, value = _pair(wire, part)
                tensor.external[key] = value
            case 14, 0:
                tensor.location = part.value
    return tensor


def _sparse_tensor(wire: WireReader, item: Field) -> TensorMessage:
    """SparseTensorProto: the values' name and type with the dense shape; what it holds is not read."""
    found = TensorMessage(sparse=True)
    for part in wire.fields(item.start, item.stop):
        if part.number == 1 and part.wire == BYTES:
            values = _tensor(wire, part)
            found.name, found.data_type = values.name, values.data_type
        elif part.number == 3 and part.wire in (VARINT, BYTES):
            found.dims += wire.numbers(part)
    return found


def _pair(wire: WireReader, item: Field) -> tuple[str, str]:
    key = value = ""
    for part in wire.fields(item.start, item.stop):
        if part.number == 1 and part.wire == BYTES:
            key = wire.text(part)
        elif part.number == 2 and part.wire == BYTES and part.stop - part.start <= 65_536:
            value = wire.text(part)
    return key, value


def _first_text(wire: WireReader, item: Field) -> str:
    for part in wire.fields(item.start, item.stop):
        if part.number == 1 and part.wire == BYTES:
            return wire.text(part)
    return ""


_WIRE_OF_MODEL_FIELD = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}


def looks_like_model(head: bytes) -> bool:
    """Whether `head`, the first bytes of a file (a few kilobytes), begins a ModelProto.

    It must consist of that message's fields with a plausible `ir_version`, up to the graph or to the end of `head`.
    """
    position, version, others = 0, 0, 0
    while position < len(head):
        tag, position = _plain_varint(head, position)
        number, wire = tag >> 3, tag & 7
        if _WIRE_OF_MODEL_FIELD.get(number) != wire or wire == FIXED32:
            return False
        value, position = _plain_varint(head, position)
        if number == 1:
            version = value
        others += number != 1
        if number == 7:
            break
        if wire == BYTES:
            position += value
    return 1 <= version <= 1000 and others > 0


def _plain_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return value, position
