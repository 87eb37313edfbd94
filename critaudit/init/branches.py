"""Which sums of a network close a residual branch, and which weights give the branch its size."""

from __future__ import annotations

from dataclasses import dataclass

from critaudit.init.wiring import Wiring


@dataclass(frozen=True, slots=True)
class Branch:
    """A residual sum: the nodes that add, of the stream and of the branch, and the ends of the branch.

    `ends` are weights or normalisations with a scale; there are none where the branch's size is not ours to set
    (a layer scale, a frozen or parametrised weight, a normalisation without a scale): `left` says what sets it.
    """

    sum: int
    stream: int
    branch: int
    ends: tuple[int, ...]
    left: str = ""


def branches_of(wiring: Wiring) -> tuple[Branch, ...]:
    """The residual sums in their order.

    Of two signals added, the stream is the one with fewer weights of its own. Sums of signals that come through
    equally many (two paths alike), sums with what is looked up in a table (positions), and masks added before a softmax
    are none.
    """
    found = []
    for place, node in enumerate(wiring.nodes):
        if node.kind != "add" or len(set(node.inputs)) != 2:
            continue
        first, second = node.inputs[:2]
        before = [wiring.weights_before(first), wiring.weights_before(second)]
        own = [before[0] - before[1], before[1] - before[0]]
        if len(own[0]) == len(own[1]) or (all(own) and _with_table(wiring, first, second)) or _masks(wiring, place):
            continue
        stream, branch = (first, second) if len(own[0]) < len(own[1]) else (second, first)
        ends, left = _ends(wiring, branch, stream)
        if ends or left:
            found.append(Branch(place, stream, branch, ends if not left else (), left))
    return tuple(found)


def _with_table(wiring: Wiring, first: int, second: int) -> bool:
    return any(wiring.nodes[wiring.origin(one)].operation.startswith("embedding") for one in (first, second))


def _masks(wiring: Wiring, place: int) -> bool:
    return {wiring.nodes[one].kind for one in wiring.followers(place)} == {"softmax"}


def _ends(wiring: Wiring, branch: int, stream: int) -> tuple[tuple[int, ...], str]:
    """Going back from a branch's output: the first weights or norms' scales, whose size is the branch's."""
    ends: dict[int, None] = {}
    left = ""
    seen = _before(wiring, stream)
    open_places = [branch]
    while open_places:
        place = open_places.pop()
        if place in seen:
            continue
        seen.add(place)
        node = wiring.nodes[place]
        if node.kind in ("weight", "norm"):
            if node.left or not node.parameters or node.operation.startswith("embedding"):
                left = node.left or f"{node.operation} without a scale of its own sets the branch's size"
            else:
                ends[place] = None
        elif node.kind == "other" and node.parameters:
            left = f"{node.parameters[0]} sets the branch's size"
        elif node.kind == "multiply":
            open_places += _factors(wiring, node.inputs)
        elif node.operation == "scaled_dot_product_attention":
            open_places += node.inputs[2:3]
        elif node.kind != "softmax":
            open_places += reversed(node.inputs)
    return tuple(ends), left


def _before(wiring: Wiring, place: int) -> set[int]:
    """The node and all that its output comes through."""
    found: set[int] = set()
    open_places = [place]
    while open_places:
        one = open_places.pop()
        if one not in found:
            found.add(one)
            open_places += wiring.nodes[one].inputs
    return found


def _factors(wiring: Wiring, inputs: tuple[int, ...]) -> list[int]:
    """The signal of a product: what is neither the output of a gate nor attention's weights."""
    signals = [one for one in inputs if wiring.nodes[wiring.origin(one)].kind not in ("activation", "softmax")]
    return signals[:1] or list(inputs[:1])
