"""Comparing a source's tensors with every known network: by names and shapes, or by the order of the shapes alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critaudit.sources.recognition.architectures import BUFFER, CLASSES, HEAD, OPTIONAL, Index

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

# Left in checkpoints by profilers and by older versions of a library; no network of the index has them as parameters.
_STRAY = ("total_ops", "total_params", "relative_position_index", "relative_coords_table", "attn_mask", "position_ids")
_MAX_PREFIX_PARTS = 6
# Fewer tensors than this, or fewer different shapes, agree in order by chance.
_MIN_TENSORS, _MIN_SHAPES = 8, 4
_ROLES = {
    **dict.fromkeys(("weight", "kernel", "gamma"), "weight"),
    **dict.fromkeys(("bias", "beta"), "bias"),
    **dict.fromkeys(("running_mean", "moving_mean", "mean"), "mean"),
    **dict.fromkeys(("running_var", "moving_variance", "moving_var", "variance", "var"), "variance"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """A structure of the index whose tensors are all in the source.

    `mapping` gives the source's name for each of the network's. `classes` is the number of classes (0: the classifier
    is missing; None: the network has none). `extras` are the source's tensors that do not belong to the network.
    """

    structure: int
    prefix: str
    mapping: Mapping[str, str]
    classes: int | None
    extras: tuple[str, ...]
    renamed: bool = False


@dataclass(frozen=True, slots=True)
class Near:
    """The known network that shares most tensors with a source: `differ` of `total` do not fit."""

    structure: int
    differ: int
    total: int


def match_names(index: Index, shapes: Shapes, *, only: frozenset[int] | None = None) -> tuple[list[Match], Near | None]:
    """Structures whose names and shapes are all in the source behind a common prefix, and the nearest one otherwise.

    The classifier may have another number of classes, differ altogether or be missing; buffers that a constructor makes
    may be missing. `only` restricts the search to these structures, and then any other tensors are allowed beside.
    """
    matches: list[Match] = []
    near: Near | None = None
    shape_numbers = {shape: number for number, shape in enumerate(index.shapes)}
    for prefix in _prefixes(shapes):
        inside = {name.removeprefix(prefix): name for name in shapes if name.startswith(prefix)}
        hit = _hits(index, [(name, shape_numbers.get(shapes[full], -1)) for name, full in inside.items()])
        required = (index.flags & (HEAD | OPTIONAL)) == 0
        needed, got = _per_structure(index, required), _per_structure(index, required & hit)
        complete = np.flatnonzero((got == needed) & (needed > 0))
        for structure in complete.tolist():
            if only is None or structure in only:
                match = _complete(index, structure, prefix, inside, shapes, strict=only is None)
                if match is not None:
                    matches.append(match)
        near = _nearer(index, hit, len(inside), only, near)
    return matches, near


def match_order(index: Index, shapes: Shapes, *, only: frozenset[int] | None = None) -> list[Match]:
    """Structures with the same shapes in the same order under other names; buffers may stand behind the parameters."""
    if len(shapes) < _MIN_TENSORS or len(set(shapes.values())) < _MIN_SHAPES:
        return []
    shape_numbers = {shape: number for number, shape in enumerate(index.shapes)}
    wanted = np.array([shape_numbers.get(shape, -1) for shape in shapes.values()], dtype=np.int32)
    found: dict[int, Match] = {}
    for left_out in (0, OPTIONAL, HEAD, HEAD | OPTIONAL):
        kept = (index.flags & left_out) == 0 if left_out else np.ones(len(index.flags), dtype=bool)
        for structure in np.flatnonzero(_per_structure(index, kept) == len(wanted)).tolist():
            if structure in found or (only is not None and structure not in only):
                continue
            where = np.flatnonzero(kept[index.entries(structure)]) + index.entries(structure).start
            orders = (where, where[np.argsort((index.flags[where] & BUFFER) > 0, kind="stable")])
            for order in orders:
                match = _ordered(index, structure, order, wanted, shapes, headless=bool(left_out & HEAD))
                if match is not None:
                    found[structure] = match
                    break
    return list(found.values())


def differences(index: Index, structure: int, shapes: Shapes) -> tuple[int, str]:
    """How many of the structure's tensors the source lacks under the best prefix, and the first of them in words."""
    best: tuple[int, str] | None = None
    for prefix in _prefixes(shapes):
        count, first = 0, ""
        rows = zip(index.tensor_names(structure), index.tensor_shapes(structure), strict=True)
        for name, shape in rows:
            found = shapes.get(prefix + name)
            if found != shape:
                count += 1
                has = "the source has none" if found is None else f"the source has {_by(found)}"
                first = first or f"{name} should be {_by(shape)}, {has}"
        if best is None or count < best[0]:
            best = (count, first)
    assert best is not None
    return best


def _prefixes(names: Iterable[str]) -> list[str]:
    """ "", and each dotted prefix that at least half of the names share, shortest first."""
    counts: Counter[str] = Counter()
    total = 0
    for name in names:
        total += 1
        parts = name.split(".")[:-1][:_MAX_PREFIX_PARTS]
        for depth in range(1, len(parts) + 1):
            counts[".".join(parts[:depth]) + "."] += 1
    return ["", *sorted((prefix for prefix, count in counts.items() if 2 * count >= total), key=len)]


def _hits(index: Index, wanted: Sequence[tuple[str, int]]) -> NDArray[np.bool_]:
    """For each entry of the index, whether the source has a tensor of that name and shape number."""
    position = {name: number for number, (name, _) in enumerate(wanted)}
    of_name = np.full(len(index.names), -1, dtype=np.int32)
    for number, name in enumerate(index.names):
        if name in position:
            of_name[number] = position[name]
    shape_of = np.array([shape for _, shape in wanted] + [-2], dtype=np.int32)
    in_source = of_name[index.pair_name]
    pair_hit = (in_source >= 0) & (shape_of[in_source] == index.pair_shape)
    return np.asarray(pair_hit[index.tensors])


def _per_structure(index: Index, what: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.asarray(np.add.reduceat(what.astype(np.int64), index.starts[:-1]))


def _nearer(
    index: Index, hit: NDArray[np.bool_], size: int, only: frozenset[int] | None, best: Near | None
) -> Near | None:
    hits = _per_structure(index, hit)
    totals = np.diff(index.starts)
    differ = np.maximum(totals, size) - hits
    if only is not None:
        differ[[k for k in range(len(differ)) if k not in only]] = np.iinfo(np.int64).max
    structure = int(np.argmin(differ / totals))
    near = Near(structure, int(differ[structure]), int(totals[structure]))
    return near if best is None or near.differ * best.total < best.differ * near.total else best


def _complete(
    index: Index, structure: int, prefix: str, inside: Mapping[str, str], shapes: Shapes, *, strict: bool
) -> Match | None:
    """The match in full; None where tensors that remain show that this is another, larger network."""
    flags = index.flags[index.entries(structure)].tolist()
    rows = list(zip(index.tensor_names(structure), index.tensor_shapes(structure), flags, strict=True))
    head = index.of_structure(structure)[0].head_classes
    mapping: dict[str, str] = {}
    counts: set[int] = set()
    whole = True
    for name, shape, flag in rows:
        source = inside.get(name)
        found = None if source is None else shapes[source]
        count = _classes(shape, found, head) if flag & CLASSES else None
        if source is not None and (found == shape or count is not None):
            mapping[name] = source
            counts |= set() if count is None else {count}
        elif flag & HEAD:
            whole = False
    if len(counts) > 1 or not whole:
        counts = {0}
        mapping = {name: mapping[name] for name, _, flag in rows if name in mapping and not flag & HEAD}
    used = set(mapping.values())
    optional = {name for name, _, flag in rows if flag & OPTIONAL}
    extras = {
        name: full
        for name, full in inside.items()
        if full not in used and name not in optional and not name.endswith(_STRAY)
    }
    if strict and _belongs_to_more(extras, rows):
        return None
    outside = tuple(name for name in shapes if not name.startswith(prefix) and not name.endswith(_STRAY))
    return Match(structure, prefix, mapping, next(iter(counts), None), (*extras.values(), *outside))


def _classes(shape: Shape, found: Shape | None, head: int) -> int | None:
    """The number of classes that makes a tensor of `shape` (at `head` classes) one of shape `found`, if any."""
    if found is None or len(found) != len(shape) or found[1:] != shape[1:] or not head or shape[0] % head:
        return None
    rows_per_class = shape[0] // head
    return found[0] // rows_per_class if found[0] % rows_per_class == 0 and found[0] > 0 else None


def _belongs_to_more(extras: Iterable[str], rows: Sequence[tuple[str, Shape, int]]) -> bool:
    """Whether a tensor stands beside the network's own, other than in place of its classifier: a larger network."""
    bodies = {name.split(".")[0] for name, _, flag in rows if not flag & HEAD}
    heads = tuple({name.rpartition(".")[0] + "." for name, _, flag in rows if flag & HEAD})
    return any(name.split(".")[0] in bodies and not name.startswith(heads) for name in extras)


def _ordered(
    index: Index, structure: int, order: NDArray[np.intp], wanted: NDArray[np.int32], shapes: Shapes, *, headless: bool
) -> Match | None:
    """The match of a structure's entries, taken in `order`, with the source's tensors in theirs."""
    pairs = index.tensors[order]
    numbers = index.pair_shape[pairs]
    odd = np.flatnonzero(numbers != wanted)
    head = index.of_structure(structure)[0].head_classes
    if len(odd) and not (index.flags[order[odd]] & CLASSES).all():
        return None
    sources = list(shapes)
    counts: set[int | None] = set()
    for place in np.flatnonzero(index.flags[order] & CLASSES).tolist():
        counts.add(_classes(index.shapes[numbers[place]], shapes[sources[place]], head))
    if None in counts or len(counts) > 1:
        return None
    targets = [index.names[number] for number in index.pair_name[pairs]]
    arranged = _by_role(sources, targets, shapes)
    if arranged is None:
        return None
    classes = 0 if headless else next(iter(counts), None)
    return Match(structure, "", dict(zip(targets, arranged, strict=True)), classes, (), renamed=True)


def _by_role(sources: Sequence[str], targets: Sequence[str], shapes: Shapes) -> list[str] | None:
    """The sources with each layer's tensors put in the targets' order; None where a role contradicts its target's.

    Weight, bias, mean and variance of a BatchNorm have one shape, so that their order shows in their names only.
    """
    arranged: list[str] = []
    start = 0
    while start < len(sources):
        stop = start + 1
        while (
            stop < len(sources)
            and _parent(sources[stop]) == _parent(sources[start])
            and _parent(targets[stop]) == _parent(targets[start])
        ):
            stop += 1
        group, goal = list(sources[start:stop]), [_role(name) for name in targets[start:stop]]
        roles = [_role(name) for name in group]
        if roles != goal and None not in roles and len(set(roles)) == len(roles) and set(roles) == set(goal):
            moved = [group[roles.index(role)] for role in goal]
            if any(shapes[new] != shapes[old] for new, old in zip(moved, group, strict=True)):
                return None
            group, roles = moved, goal
        if any(a is not None and b is not None and a != b for a, b in zip(roles, goal, strict=True)):
            return None
        arranged += group
        start = stop
    return arranged


def _parent(name: str) -> str:
    return re.split(r"[./][^./]*$", name)[0]


def _role(name: str) -> str | None:
    return _ROLES.get(re.split(r"[./]", name)[-1])


def _by(shape: Shape) -> str:
    return "×".join(map(str, shape)) if shape else "a single number"
