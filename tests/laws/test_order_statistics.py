"""Order statistics are those of the sorted array, whatever the type and however many values are equal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from critaudit.laws.order_statistics import order_statistics


@given(
    arrays(np.float32, st.integers(1, 80), elements=st.floats(width=32, allow_nan=False, allow_infinity=True)),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=4),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_given_any_floats_then_the_ranks_are_those_of_the_sorted_array(values: np.ndarray, shares: list[float]) -> None:
    ranks = [int(share * values.size) for share in shares]
    assert order_statistics(values, ranks) == np.sort(values)[ranks].tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int32])
def test_given_any_type_and_many_equal_values_then_the_ranks_are_those_of_the_sorted_array(dtype: type) -> None:
    values = np.round(np.random.default_rng(0).standard_normal(100_000) * 10).astype(dtype)
    ranks = [0, 25_000, 50_000, 75_000, 99_999]
    # Sorted in float64, because NumPy 2.4 leaves such float16 arrays in disorder on some processors.
    assert order_statistics(values, ranks) == np.sort(values.astype(np.float64))[ranks].tolist()
