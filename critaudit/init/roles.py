"""What each weight of a network is there for: a link of a chain, the end of a residual branch, the readout, …"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, TypeAlias

from critaudit.init.wiring import Node, Wiring

RoleName: TypeAlias = Literal["chain", "inside", "linear", "normalised", "branch_end", "skip", "readout", "embedding"]


@dataclass(frozen=True, slots=True)
class Role:
    """A weight operation's place in the network.

    `chain`: a nonlinearity follows and every signal passes it. `inside`: the same within a residual branch. `linear`:
    products, attention or another weight follow. `normalised`: a normalisation undoes its scale. `branch_end`: the
    last weight of a residual branch, which is added to the stream at node `sum`. `skip`: a projection in the place of
    the identity. `readout`: no weight follows. `embedding`: rows are looked up.
    `weight` and `bias` are parameter names (None: not a parameter of its own, so that it cannot be scaled).
    """

    place: int
    name: RoleName
    weight: str | None
    bias: str | None
    activation: str | None = None
    sum: int | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """A residual sum: the node that adds, that of the stream, and the ends of the branch: weights or norms' scales."""

    sum: int
    stream: int
    ends: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Roles:
    """All weights of a network in the order of their first use, and its residual sums."""

    roles: tuple[Role, ...]
    branches: tuple[Branch, ...]

    def counts(self) -> dict[str, int]:
        """Number of weights by role."""
        return dict(Counter(role.name for role in self.roles))


def assign(wiring: Wiring) -> Roles:
    """The roles in a network of this wiring. A weight that is used again has the role of its first use."""
    branches = tuple(_branches(wiring))
    ends = {end: branch for branch in branches for end in branch.ends}
    inside, skips = _inside(wiring, branches)
    seen: set[str] = set()
    roles = []
    for place, node in wiring.weights():
        if node.parameters[0] in seen:
            continue
        seen.add(node.parameters[0])
        roles.append(_role(wiring, place, node, ends.get(place), place in inside, place in skips))
    return Roles(tuple(roles), branches)


def _role(wiring: Wiring, place: int, node: Node, branch: Branch | None, inside: bool, skip: bool) -> Role:
    weight = node.parameters[0]
    bias = next((name for name in node.parameters[1:] if name.rsplit(".", 1)[-1].endswith("bias")), None)
    following = [wiring.nodes[one] for one in wiring.followers(place)]
    kinds = {one.kind for one in following}
    activation = next((one.activation for one in following if one.kind == "activation"), None)
    if node.operation == "embedding":
        return Role(place, "embedding", weight, None)
    if branch is not None:
        return Role(place, "branch_end", weight, bias, sum=branch.sum)
    if kinds == {"norm"}:
        return Role(place, "normalised", weight, bias)
    if skip:
        return Role(place, "skip", weight, bias)
    if "activation" in kinds:
        return Role(place, "inside" if inside else "chain", weight, bias, activation)
    if not _weights_after(wiring, place):
        return Role(place, "readout", weight, bias)
    return Role(place, "linear", weight, bias)


def _weights_after(wiring: Wiring, place: int) -> bool:
    return any(place in wiring.weights_before(other) for other, _ in wiring.weights() if other != place)


def _branches(wiring: Wiring) -> list[Branch]:
    found = []
    for place, node in enumerate(wiring.nodes):
        if node.kind != "add" or len(set(node.inputs)) != 2:
            continue
        first, second = node.inputs[:2]
        before = [wiring.weights_before(first), wiring.weights_before(second)]
        own = [before[0] - before[1], before[1] - before[0]]
        if len(own[0]) == len(own[1]):
            continue  # two paths alike: neither is the stream
        stream, branch = (first, second) if len(own[0]) < len(own[1]) else (second, first)
        ends = tuple(dict.fromkeys(_ends(wiring, branch, wiring.weights_before(stream))))
        if ends:
            found.append(Branch(place, stream, ends))
    return found


def _ends(wiring: Wiring, place: int, before: frozenset[int]) -> list[int]:
    """Going back from a branch's output: the first weights or norms' scales, whose size is the branch's."""
    place = wiring.origin(place)
    node = wiring.nodes[place]
    if node.kind == "weight":
        return [] if place in before else [place]
    if node.kind == "norm":
        if node.parameters:
            return [place]
        return []
    if node.kind in ("activation", "other") and node.inputs:
        return _ends(wiring, node.inputs[0], before)
    if node.kind == "add":
        return [end for source in node.inputs for end in _ends(wiring, source, before)]
    if node.kind == "multiply":
        gates = [one for one in node.inputs if wiring.nodes[wiring.origin(one)].kind in ("activation", "softmax")]
        signals = [one for one in node.inputs if one not in gates] or list(node.inputs[:1])
        return _ends(wiring, signals[0], before)
    return []


def _inside(wiring: Wiring, branches: tuple[Branch, ...]) -> tuple[set[int], set[int]]:
    """The weight nodes within residual branches, and those that stand in the place of the identity."""
    inside: set[int] = set()
    skips: set[int] = set()
    for branch in branches:
        stream = wiring.weights_before(branch.stream)
        whole = wiring.weights_before(branch.sum)
        inside |= whole - stream
        ends = frozenset().union(*(wiring.weights_before(end) for end in branch.ends))
        skips |= stream - ends
    return inside, skips - inside
