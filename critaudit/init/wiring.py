"""How signals run from weight to weight in a network: what follows each weight, and what comes before it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from critaudit.init.operations import ELEMENTWISE, Kind


@dataclass(slots=True)
class Node:
    """One operation: what it is, the nodes it takes (signals only, not parameters), and its output's strength ‖x‖/√n.

    `parameters` names the parameters it uses, the weight first. `activation` is the name of a nonlinearity.
    Of operations with a weight (and normalisations with a scale): `fan_in` are the inputs per output, `groups` the
    groups of channels that do not mix, `bias` the parameter that is added, and `left` says why the weight cannot be
    drawn and scaled (empty: it can).
    """

    kind: Kind
    operation: str
    inputs: tuple[int, ...]
    parameters: tuple[str, ...] = ()
    activation: str | None = None
    strength: float = math.nan
    fan_in: int | None = None
    groups: int = 1
    bias: str | None = None
    left: str = ""


@dataclass(slots=True)
class Wiring:
    """The operations of a forward pass in their order; `output` is the node of the network's answer.

    `aside` are the names of parameters that something was computed from where no signal of the input was.
    """

    nodes: list[Node] = field(default_factory=list)
    output: int | None = None
    aside: frozenset[str] = frozenset()
    _consumers: list[list[int]] | None = None
    _weights: list[frozenset[int]] | None = None
    _leads: list[bool] | None = None

    def origin(self, place: int) -> int:
        """The operation whose output this node passes on; of joined signals that of the first."""
        while self.nodes[place].kind == "pass" and self.nodes[place].inputs:
            place = self.nodes[place].inputs[0]
        return place

    def followers(self, place: int) -> list[int]:
        """The operations that take this node's output, past those that only pass it on."""
        found: dict[int, None] = {}
        seen: set[int] = set()
        open_places = list(reversed(self.consumers(place)))
        while open_places:
            one = open_places.pop()
            if one in seen:
                continue
            seen.add(one)
            if self.nodes[one].kind == "pass":
                open_places.extend(reversed(self.consumers(one)))
            else:
                found[one] = None
        return list(found)

    def consumers(self, place: int) -> list[int]:
        """The nodes that take this node's output."""
        if self._consumers is None:
            self._consumers = [[] for _ in self.nodes]
            for index, node in enumerate(self.nodes):
                for source in dict.fromkeys(node.inputs):
                    self._consumers[source].append(index)
        return self._consumers[place]

    def weights_before(self, place: int) -> frozenset[int]:
        """All weight nodes that this node's output comes through, itself included."""
        if self._weights is None:
            found: list[frozenset[int]] = []
            for index, node in enumerate(self.nodes):
                own = frozenset((index,)) if node.kind == "weight" else frozenset()
                sources = [found[source] for source in dict.fromkeys(node.inputs)]
                # Most operations take one signal and add no weight: its set is theirs too.
                found.append(sources[0] if len(sources) == 1 and not own else own.union(*sources))
            self._weights = found
        return self._weights[place]

    def leads_to_weight(self, place: int) -> bool:
        """Whether what becomes of the output is multiplied with a weight later, or used by a layer of another kind."""
        if self._leads is None:
            leads = [False] * len(self.nodes)
            for index in range(len(self.nodes) - 1, -1, -1):
                node = self.nodes[index]
                other = node.kind == "other" and node.parameters and node.operation not in ELEMENTWISE
                if leads[index] or node.kind == "weight" or other:
                    for source in node.inputs:
                        leads[source] = True
            self._leads = leads
        return self._leads[place]

    def weights(self) -> Iterator[tuple[int, Node]]:
        """The operations that multiply with a weight, in their order."""
        return ((index, node) for index, node in enumerate(self.nodes) if node.kind == "weight")
