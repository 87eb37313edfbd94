"""Which layer of one model is which of another: by name and shape, and by order where only the names changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

How: TypeAlias = Literal["name", "order"]


class Named(Protocol):
    """Anything with a layer's name and shape: a weight matrix, a report's layer."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class Matching:
    """Pairs of places (in A, in B) and how each was found, and the places that have no partner.

    `reshaped` are pairs of one name and two shapes, which are named and not compared.
    """

    pairs: tuple[tuple[int, int, How], ...]
    reshaped: tuple[tuple[int, int], ...]
    removed: tuple[int, ...]
    added: tuple[int, ...]


def match(a: Sequence[Named], b: Sequence[Named]) -> Matching:
    """Match layers by name and shape; what is left, by shape in the order of the models, if that is unambiguous.

    A shape is matched by order only where both models have the same number of unmatched layers of that shape, as after
    a renaming. Names count with their common first parts left out ("encoder.layer.0" and "model.encoder.layer.0").
    """
    names_a, names_b = _names(a), _names(b)
    places_b = defaultdict(list)
    for place, name in enumerate(names_b):
        places_b[name, b[place].shape].append(place)
    pairs: list[tuple[int, int, How]] = []
    for place, name in enumerate(names_a):
        if partners := places_b[name, a[place].shape]:
            pairs.append((place, partners.pop(0), "name"))
    rest_a = _without(range(len(a)), {first for first, _, _ in pairs})
    rest_b = _without(range(len(b)), {second for _, second, _ in pairs})
    by_name = {names_b[place]: place for place in rest_b}
    reshaped = tuple((place, by_name[names_a[place]]) for place in rest_a if names_a[place] in by_name)
    rest_a = _without(rest_a, {first for first, _ in reshaped})
    rest_b = _without(rest_b, {second for _, second in reshaped})
    for shape in dict.fromkeys(a[place].shape for place in rest_a):
        mine = [place for place in rest_a if a[place].shape == shape]
        theirs = [place for place in rest_b if b[place].shape == shape]
        if len(mine) == len(theirs):
            pairs.extend((first, second, "order") for first, second in zip(mine, theirs, strict=True))
    removed = _without(rest_a, {first for first, _, _ in pairs})
    added = _without(rest_b, {second for _, second, _ in pairs})
    return Matching(tuple(sorted(pairs)), reshaped, tuple(removed), tuple(added))


def _names(layers: Sequence[Named]) -> list[str]:
    """The layers' names without the first part that all of them share."""
    names = [layer.name for layer in layers]
    while len(names) > 1 and all("." in name for name in names):
        first = names[0].partition(".")[0]
        if any(name.partition(".")[0] != first for name in names) or first.isdigit():
            break
        names = [name.partition(".")[2] for name in names]
    return names


def _without(places: Iterable[int], used: set[int]) -> list[int]:
    return [place for place in places if place not in used]
