"""The dataflow of an ONNX model: every value by name and scope, and the nodes that use it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from critaudit.errors import LimitExceededError
from critaudit.sources.onnx.proto import Graph, Model, Node, TensorMessage

MAX_CONSTANTS = 60_000
STANDARD_DOMAINS = ("", "ai.onnx", "com.microsoft")


class Use(NamedTuple):
    """`node` takes the value as its input number `slot`; the node's own names are looked up in `scope`."""

    node: Node
    slot: int
    scope: Scope


@dataclass(slots=True, eq=False)
class Value:
    """Something with a name in a graph: a constant where `message` is set, else an input or a node's output."""

    name: str
    scope: Scope
    message: TensorMessage | None = None
    uses: list[Use] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Scope:
    """The names of one graph, or of one function's body. A subgraph sees the names of the graphs around it."""

    path: str
    parent: Scope | None
    values: dict[str, Value] = field(default_factory=dict)

    def find(self, name: str) -> Value | None:
        """The value of that name, here or further out."""
        scope: Scope | None = self
        while scope is not None:
            if (value := scope.values.get(name)) is not None:
                return value
            scope = scope.parent
        return None


@dataclass(slots=True, eq=False)
class Dataflow:
    """All scopes of a model. `constants` are its initialisers and Constant nodes in file order."""

    constants: list[Value] = field(default_factory=list)
    functions: dict[tuple[str, str], tuple[Graph, Scope]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model) -> Dataflow:
        """Link every use in the model's graph, its subgraphs and its functions."""
        flow = cls()
        for function in model.functions:
            flow.functions[function.domain, function.name] = (function, Scope(f"{function.name}.", None))
        if model.graph is not None:
            flow._link(model.graph, Scope("", None))
        for function, scope in flow.functions.values():
            flow._link(function, scope)
        return flow

    def _link(self, graph: Graph, scope: Scope) -> None:
        for name in graph.inputs:
            scope.values[name] = Value(name, scope)
        for message in graph.initialisers:
            self._declare(message.name, scope, message)
        for node in graph.nodes:
            held = _constant(node)
            for name in node.outputs:
                if held is not None:
                    self._declare(name, scope, held)
                elif name:
                    scope.values.setdefault(name, Value(name, scope))
        for number, node in enumerate(graph.nodes):
            for index, name in enumerate(node.inputs):
                value = scope.find(name) if name else None
                if value is not None:
                    value.uses.append(Use(node, index, scope))
            for path, subgraph in _subgraphs(node, number):
                self._link(subgraph, Scope(scope.path + path, scope))

    def _declare(self, name: str, scope: Scope, message: TensorMessage) -> None:
        if len(self.constants) >= MAX_CONSTANTS:
            raise LimitExceededError(f"the graph has more than {MAX_CONSTANTS} constants, which no exporter writes")
        value = Value(name, scope, message)
        scope.values[name] = value
        self.constants.append(value)

    def followed(self, use: Use) -> list[Use]:
        """What a use really is: where the node calls a function of the model, the uses of that formal parameter."""
        called = self.functions.get((use.node.domain, use.node.op))
        if called is None:
            return [use]
        function, scope = called
        if use.slot >= len(function.inputs):
            return []
        value = scope.values.get(function.inputs[use.slot])
        return [] if value is None else value.uses

    def unique_names(self) -> list[str]:
        """A name for each constant: its own where no other graph has it, else with the path of its graph in front."""
        counts = Counter(value.name for value in self.constants)
        taken: Counter[str] = Counter()
        names = []
        for value in self.constants:
            name = value.name if counts[value.name] == 1 and value.name else f"{value.scope.path}{value.name}"
            taken[name] += 1
            names.append(name if taken[name] == 1 else f"{name}#{taken[name]}")
        return names


def _constant(node: Node) -> TensorMessage | None:
    """The tensor of a Constant node; scalars and lists given as plain attributes are no weights."""
    if node.op != "Constant" or node.domain not in STANDARD_DOMAINS:
        return None
    for name in ("value", "sparse_value"):
        attribute = node.attributes.get(name)
        if attribute is not None and attribute.tensors:
            return attribute.tensors[0]
    return None


def _subgraphs(node: Node, number: int) -> Iterator[tuple[str, Graph]]:
    for attribute in node.attributes.values():
        for index, graph in enumerate(attribute.graphs):
            branch = attribute.name if len(attribute.graphs) == 1 else f"{attribute.name}[{index}]"
            yield f"{node.name or f'{node.op}_{number}'}.{branch}.", graph
