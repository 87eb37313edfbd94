"""Matching finds every known network again, whatever its checkpoint went through, and without reading one weight."""

from __future__ import annotations

import random

import numpy as np
import pytest

from critaudit.sources.recognition.architectures import BUFFER, CLASSES, HEAD, OPTIONAL, Index, Known, packaged_index
from critaudit.sources.recognition.matching import match_names, match_order
from critaudit.sources.recognition.recognise import recognise
from critaudit.tensors import TensorRef

Rows = list[tuple[str, tuple[int, ...], int]]


class _Unreadable:
    """A storage large enough for anything that nobody may read."""

    key = "unreadable"
    nbytes = 2**60

    def read(self, start: int, stop: int) -> bytearray:
        raise AssertionError("a weight was read")


def _rows(index: Index, known: Known) -> Rows:
    flags = index.flags[index.entries(known.structure)].tolist()
    return list(zip(index.tensor_names(known.structure), index.tensor_shapes(known.structure), flags, strict=True))


def _edited(rows: Rows, known: Known, change: str) -> Rows:
    if change == "classes":
        return [(n, (s[0] // known.head_classes * 37, *s[1:]) if f & CLASSES else s, f) for n, s, f in rows]
    if change == "prefix":
        return [("encoder.net." + n, s, f) for n, s, f in rows] + [("neck.weight", (3, 4), 0)]
    if change == "no classifier":
        return [row for row in rows if not row[2] & HEAD]
    if change == "shuffled":
        return random.Random(3).sample(rows, len(rows))
    kept = [row for row in rows if not row[2] & OPTIONAL]
    if change == "buffers last":
        kept.sort(key=lambda row: bool(row[2] & BUFFER))
    return [(f"t{i}", s, f) for i, (_, s, f) in enumerate(kept)]


_CHANGES = ("nothing", "classes", "prefix", "no classifier", "shuffled", "other names", "buffers last")


@pytest.mark.parametrize("change", _CHANGES)
def test_networks_drawn_from_the_index_are_found_again(change: str) -> None:
    # GIVEN networks of the index, drawn with a fixed seed, and the tensors of their checkpoints after a change
    index = packaged_index()
    for known in random.Random(11).sample(index.networks, 12):
        if change == "classes" and not known.head_classes:
            continue
        rows = _rows(index, known) if change == "nothing" else _edited(_rows(index, known), known, change)
        tensors = {name: TensorRef(_Unreadable(), "float32", shape) for name, shape, _ in rows}
        # WHEN they are recognised
        found = recognise(tensors).architecture
        # THEN the network is named: as the choice, or among those that the tensors fit as well
        assert found.how == "recognised", known.full_name
        chosen = next(one for one in index.networks if one.full_name == found.name)
        assert chosen.structure == known.structure or known.full_name in found.detail or " more" in found.detail


def test_a_tensor_too_few_or_too_many_is_no_match_but_near() -> None:
    # GIVEN a network's tensors but one, and with one of another shape
    index = packaged_index()
    known = next(one for one in index.networks if one.full_name == "timm:test_vit")
    shapes = {name: shape for name, shape, _ in _rows(index, known)}
    lacking = {name: shape for name, shape in shapes.items() if name != "blocks.0.norm1.weight"}
    other = shapes | {"blocks.0.norm1.weight": (63,)}
    for changed in (lacking, other):
        # WHEN they are matched THEN no network has them, and the nearest is that one
        matches, near = match_names(index, changed)
        assert matches == []
        assert match_order(index, changed) == []
        assert near is not None
        assert (near.structure, near.differ, near.total) == (known.structure, 1, len(shapes))


def test_roles_that_contradict_the_order_are_no_match() -> None:
    # GIVEN the right shapes in the right order, but names that say that means stand where weights should
    index = packaged_index()
    known = next(one for one in index.networks if one.full_name == "timm:test_resnet")
    words = {"weight": "running_mean", "bias": "running_var", "running_mean": "anything", "running_var": "else"}
    shapes = {}
    for position, (name, shape, _) in enumerate(_rows(index, known)):
        role = name.rpartition(".")[2]
        shapes[f"t{position}.{words[role] if len(shape) == 1 else 'x'}"] = shape
    # THEN they are not taken for the network
    assert match_order(index, shapes) == []


def test_few_tensors_do_not_match_by_order_alone() -> None:
    index = packaged_index()
    assert match_order(index, {f"t{i}": (1000, 512) for i in range(3)}) == []
    assert match_order(index, {f"t{i}": (64,) for i in range(300)}) == []


def test_classes_that_contradict_each_other_are_no_classifier() -> None:
    # GIVEN a weight for 5 classes with a bias for 6
    index = packaged_index()
    known = next(one for one in index.networks if one.full_name == "timm:test_resnet")
    shapes = {name: shape for name, shape, _ in _rows(index, known)}
    shapes["fc.weight"] = (5, *shapes["fc.weight"][1:])
    shapes["fc.bias"] = (6,)
    # THEN the rest is recognised without it
    ((match,), _) = match_names(index, shapes)
    assert match.classes == 0
    assert set(match.extras) == {"fc.weight", "fc.bias"}


def test_no_structure_is_empty_and_every_network_has_its_own_row() -> None:
    index = packaged_index()
    assert (np.diff(index.starts) > 0).all()
    assert len({one.full_name for one in index.networks}) == len(index.networks)
