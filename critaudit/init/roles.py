"""What each weight of a network is there for: a link of a chain, the end of a residual branch, the readout, …"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from critaudit.init.branches import Branch, branches_of
from critaudit.init.wiring import Node, Wiring

RoleName: TypeAlias = Literal["chain", "inside", "linear", "normalised", "branch_end", "skip", "readout", "embedding"]
# Activations that close a gate where their output is only multiplied with another signal.
_GATES = ("sigmoid", "hardsigmoid", "tanh")


@dataclass(frozen=True, slots=True)
class Role:
    """A weight operation's place in the network.

    `chain`: a nonlinearity follows and every signal passes it. `inside`: the same within a residual branch. `linear`:
    products, attention, a gate or another weight follow. `normalised`: a normalisation undoes its scale. `branch_end`:
    the last weight of a residual branch, which is added to the stream at node `sum`. `skip`: a projection in the place
    of the identity. `readout`: no weight follows. `embedding`: rows are looked up.
    `weight` and `bias` are parameter names, `left` says why the weight is not to be drawn and scaled (empty: it is).
    """

    place: int
    name: RoleName
    weight: str
    bias: str | None
    activation: str | None = None
    sum: int | None = None
    left: str = ""


@dataclass(frozen=True, slots=True)
class Roles:
    """All weights of a network in the order of their first use, and its residual sums.

    `depth` counts the links of the longest chain between input and output, `inner_depth` those of the longest one
    within a residual branch.
    """

    roles: tuple[Role, ...]
    branches: tuple[Branch, ...]
    depth: int = 0
    inner_depth: int = 0

    def counts(self) -> dict[str, int]:
        """Number of weights by role."""
        return dict(Counter(role.name for role in self.roles))


def assign(wiring: Wiring, *, named: bool = False) -> Roles:
    """The roles in a network of this wiring. A weight that is used again has the role of its first use.

    `named` says that the network computes a nonlinearity of its own, from operations that are none by themselves.
    """
    branches = branches_of(wiring)
    ends = {end: branch for branch in branches for end in branch.ends}
    inside, skips = _inside(wiring, branches)
    found: dict[str, Role] = {}
    for place, node in wiring.weights():
        if node.parameters[0] not in found:
            found[node.parameters[0]] = _role(
                wiring, place, node, ends.get(place), inside=place in inside, skip=place in skips, named=named
            )
    roles = tuple(found.values())
    links = _uses(wiring, (role.weight for role in roles if role.name == "chain"))
    inner = _uses(wiring, (role.weight for role in roles if role.name == "inside"))
    return Roles(roles, branches, _longest(wiring, links), _longest_inside(wiring, inner, branches))


def _role(
    wiring: Wiring, place: int, node: Node, branch: Branch | None, *, inside: bool, skip: bool, named: bool
) -> Role:
    following = [(one, wiring.nodes[one]) for one in wiring.followers(place)]
    kinds = {one.kind for _, one in following}
    activation = None
    name: RoleName = "linear"
    if node.operation.startswith("embedding"):
        name = "embedding"
    elif branch is not None:
        name = "branch_end"
    elif kinds == {"norm"}:
        name = "normalised"
    elif skip:
        name = "skip"
    elif not wiring.leads_to_weight(place):
        name = "readout"
    elif bend := _bend(wiring, following, named):
        name, activation = ("inside" if inside else "chain"), bend[0]
    return Role(
        place,
        name,
        node.parameters[0],
        node.bias,
        activation,
        branch.sum if branch is not None and name == "branch_end" else None,
        node.left,
    )


def _bend(wiring: Wiring, following: list[tuple[int, Node]], named: bool) -> tuple[str | None] | None:
    """The nonlinearity behind a weight in a tuple (None in it: theory has no name for it), or None without one."""
    products = {one for one, node in following if node.kind == "multiply"}
    bends = [(one, node) for one, node in following if node.kind == "activation"]
    for one, node in bends:
        behind = set(wiring.followers(one))
        if node.activation == "sigmoid" and products & behind:
            return ("silu",)  # x·σ(x)
        gate = node.activation in _GATES and behind and {wiring.nodes[other].kind for other in behind} == {"multiply"}
        if not gate:
            return (node.activation,)
    if named and not bends and any(node.kind == "other" and not node.parameters for _, node in following):
        return (None,)
    return None


def _inside(wiring: Wiring, branches: Iterable[Branch]) -> tuple[set[int], set[int]]:
    """The weight nodes within residual branches, and those that stand in the place of the identity."""
    inside: set[int] = set()
    skips: set[int] = set()
    for branch in branches:
        stream = wiring.weights_before(branch.stream)
        within = wiring.weights_before(branch.branch)
        inside |= within - stream
        skips |= stream - within
    return inside, skips - inside


def _uses(wiring: Wiring, names: Iterable[str]) -> frozenset[int]:
    chosen = frozenset(names)
    return frozenset(place for place, node in wiring.weights() if node.parameters[0] in chosen)


def _longest(wiring: Wiring, links: frozenset[int]) -> int:
    """The largest number of links on one way through the network."""
    if not links:
        return 0
    lengths: list[int] = []
    for place, node in enumerate(wiring.nodes):
        lengths.append(max((lengths[source] for source in node.inputs), default=0) + (place in links))
    return max(lengths)


def _longest_inside(wiring: Wiring, links: frozenset[int], branches: Iterable[Branch]) -> int:
    """The same within one branch; links of branches inside of it are theirs."""
    own = [wiring.weights_before(branch.branch) - wiring.weights_before(branch.stream) for branch in branches]
    groups: dict[frozenset[int], set[int]] = {}
    for link in links:
        smallest = min((part for part in own if link in part), key=len, default=frozenset())
        groups.setdefault(smallest, set()).add(link)
    return max((_longest(wiring, frozenset(group)) for group in groups.values() if len(group) > 1), default=1)
