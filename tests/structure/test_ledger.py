"""Memory is recognised in whatever view it comes, and counted once, checked against sets of bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.structure.ledger import Counted, Names, memory_of, run_of
from critaudit.tensors import MemoryStorage, TensorRef

SETTINGS = settings(max_examples=100, deadline=None, derandomize=True)
STORAGE = MemoryStorage(np.zeros(4 * 64, np.uint8), "storage")


def view(offset: int, shape: tuple[int, ...], stride: tuple[int, ...] | None = None) -> TensorRef:
    return TensorRef(STORAGE, "float32", shape, offset, stride)


def test_views_of_the_same_elements_have_one_key() -> None:
    plain = view(4, (3, 4))
    assert memory_of(plain) == memory_of(view(4, (4, 3), (1, 4))) == memory_of(view(4, (12,)))
    assert memory_of(plain) == memory_of(view(4, (3, 1, 4), (4, 99, 1)))
    assert memory_of(plain) != memory_of(view(0, (3, 4)))
    assert memory_of(plain) != memory_of(view(4, (3, 4), (8, 1)))
    assert memory_of(plain) != memory_of(TensorRef(MemoryStorage(STORAGE.data, "other"), "float32", (3, 4), 4))


def test_a_run_is_known_only_where_the_elements_lie_without_gaps() -> None:
    assert run_of(view(2, (3, 4))) == (8, 56)
    assert run_of(view(2, (4, 3), (1, 4))) == (8, 56)
    assert run_of(view(2, (3, 4), (8, 1))) is None
    assert run_of(view(2, (3,), (0,))) is None
    assert run_of(view(2, (0,))) is None


@SETTINGS
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 24)), max_size=12))
def test_overlapping_runs_count_each_element_once(runs: list[tuple[int, int]]) -> None:
    counted, seen = Counted(), set[int]()
    for index, (start, length) in enumerate(runs):
        ref = view(start, (length,))
        elements = set(range(start, start + length))
        assert counted.inside(ref) == (elements <= seen)
        assert counted.add(str(index), ref) == len(elements - seen)
        seen |= elements


@SETTINGS
@given(st.lists(st.text(max_size=3) | st.sampled_from(["a", "a (2)", "a (3)", "\x1b", "\\x1b", "\u202e"]), max_size=12))
def test_names_handed_out_are_printable_and_unique(names: list[str]) -> None:
    shown = Names().show_all(names)
    assert len(set(shown)) == len(names)
    assert all(name.isprintable() for name in shown)
    for name, given_name in zip(shown, names, strict=True):
        assert name == given_name or names.count(given_name) > 1 or not given_name.isprintable()
