"""Cutting a tensor in the file equals cutting it in memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.structure.arrays import Layout, Part, Stored
from critaudit.tensors import MemoryStorage, TensorRef
from tests.structure.models import array_reference

SETTINGS = settings(max_examples=100, deadline=None, derandomize=True)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[np.ndarray, TensorRef, list[tuple[int, int, int]]]:
    """An array, a reference to it (its axes stored in any order), and cuts to make one after the other."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    order = draw(st.permutations(range(len(shape))))
    stored = np.arange(np.prod([shape[axis] for axis in order]), dtype=np.float32).reshape([shape[i] for i in order])
    values = stored.transpose(np.argsort(order))
    stride = tuple(step // 4 for step in values.strides)
    contiguous = list(order) == sorted(order)
    storage = MemoryStorage(np.frombuffer(stored.tobytes(), np.uint8), "s")
    ref = TensorRef(storage, "float32", shape, 0, None if contiguous and draw(st.booleans()) else stride)
    made, current = [], list(shape)
    for _ in range(draw(st.integers(0, 3))):
        axis = draw(st.integers(0, len(shape) - 1))
        start = draw(st.integers(0, current[axis] - 1))
        stop = draw(st.integers(start + 1, current[axis]))
        made.append((axis, start, stop))
        current[axis] = stop - start
    return values, ref, made


@SETTINGS
@given(cuts())
def test_parts_of_parts_are_numpys_slices(case: tuple[np.ndarray, TensorRef, list[tuple[int, int, int]]]) -> None:
    values, ref, made = case
    stored, part, expected = Stored(ref), Part(Stored(ref), 0, 0, ref.shape[0]), values
    for axis, start, stop in made:
        stored, part = stored.narrow(axis, start, stop), part.narrow(axis, start, stop)
        expected = expected[(slice(None),) * axis + (slice(start, stop),)]
    assert stored.shape == part.shape == expected.shape
    np.testing.assert_array_equal(stored.read(), expected)
    np.testing.assert_array_equal(part.read(), expected)


def test_a_scattered_part_is_read_in_pieces_no_larger_than_a_sixteenth() -> None:
    class Recording(MemoryStorage):
        asked: list[int] = []  # noqa: RUF012 - one instance only

        def read(self, start: int, stop: int) -> bytearray:
            self.asked.append(stop - start)
            return super().read(start, stop)

    values = np.arange(64 * 96, dtype=np.float32).reshape(64, 96)
    storage = Recording(np.frombuffer(values.tobytes(), np.uint8), "s")
    part = Stored(TensorRef(storage, "float32", (64, 96))).narrow(1, 32, 64)
    np.testing.assert_array_equal(part.read(), values[:, 32:64])
    assert max(storage.asked) <= values.nbytes // 16


@pytest.mark.parametrize(("groups", "inputs_first"), [(1, False), (1, True), (2, False), (2, True)])
def test_a_dense_layout_is_a_view_of_what_was_read(groups: int, inputs_first: bool) -> None:
    values = array_reference(np.arange(24, dtype=np.float32).reshape(4, 6)).read()
    layout = Layout((4, 6), groups, inputs_first)
    blocks = layout.blocks(values)
    assert np.shares_memory(blocks, values)
    assert blocks.shape == (groups, layout.rows, layout.columns)
    expected = [half.T if inputs_first else half for half in np.split(values, groups)]
    np.testing.assert_array_equal(blocks, np.stack(expected))
