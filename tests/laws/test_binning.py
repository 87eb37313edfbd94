"""Bins keep every entry, in its place, whatever the type, and leave out what they say."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from critaudit.laws.binning import Bins, bin_values, merge

N = 200_000


@pytest.fixture(scope="module")
def heavy() -> np.ndarray:
    """Heavy-tailed numbers, off centre, in float32."""
    return (np.random.default_rng(4).standard_t(2, N) * 0.02 + 0.01).astype(np.float32)


def _moments(bins: Bins) -> tuple[float, float]:
    return float(bins.counts @ bins.points), float(bins.counts @ np.abs(bins.points))


@pytest.mark.parametrize("dtype", ["f4", ">f4", "f8", "f2"])
def test_given_a_dtype_when_binned_then_every_entry_is_near_its_point(heavy: np.ndarray, dtype: str) -> None:
    values = heavy.astype(dtype)
    bins = bin_values(values.reshape(400, 500))
    ordered = np.sort(values.astype(np.float64))
    ordered = ordered[ordered != 0]
    assert bins.n == ordered.size == int(bins.counts.sum())
    assert bins.zeros == int(np.count_nonzero(values == 0))
    assert np.all(np.diff(bins.points) > 0)
    at = np.repeat(bins.points, bins.counts.astype(int))
    assert np.all(np.abs(at - ordered) <= np.abs(ordered - bins.middle) * 2.0**-9 + 3e-6)
    assert bins.lossless == (dtype == "f2")
    assert bins.middle == pytest.approx(float(np.median(values)), abs=1e-4)


def test_given_bfloat16_values_as_float32_when_binned_then_no_value_is_lost(heavy: np.ndarray) -> None:
    values = (heavy.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    bins = bin_values(values)
    points, counts = np.unique(values, return_counts=True)
    assert bins.lossless
    np.testing.assert_array_equal(bins.points, points)
    np.testing.assert_array_equal(bins.counts, counts)


def test_given_one_value_with_more_bits_when_binned_then_the_bfloat16_path_is_left(heavy: np.ndarray) -> None:
    values = (heavy.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32).copy()
    values[12_345] = np.float32(0.1234567)
    bins = bin_values(values)
    assert not bins.lossless
    assert bins.n == N


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.bool_])
def test_given_small_integers_when_binned_then_each_level_is_counted(heavy: np.ndarray, dtype: type) -> None:
    values = np.round(heavy * 300).astype(np.int64).astype(dtype)
    points, counts = np.unique(values.astype(np.float64), return_counts=True)
    bins = bin_values(values)
    assert bins.n + bins.zeros == N
    keep = points != 0 if bins.zeros else slice(None)
    np.testing.assert_array_equal(bins.points, points[keep])
    np.testing.assert_array_equal(bins.counts, counts[keep])


def test_given_a_dequantised_array_when_binned_then_zero_is_a_level_like_the_others(heavy: np.ndarray) -> None:
    values = np.clip(np.round(heavy * 1000), -127, 127).astype(np.float32) * np.float32(0.0123)
    bins = bin_values(values)
    assert bins.lossless
    assert bins.zeros == 0
    assert 0.0 in bins.points
    pruned = values.copy()
    pruned[: N // 2] = 0
    assert bin_values(pruned).zeros == np.count_nonzero(pruned == 0)


@pytest.mark.parametrize("size", [1000, N])
def test_given_zeros_nan_and_infinities_when_binned_then_they_are_counted_and_left_out(
    heavy: np.ndarray, size: int
) -> None:
    values = heavy[:size].copy()
    values[:100] = 0
    values[100:110] = -0.0
    values[110:117] = np.nan
    values[117:119] = [np.inf, -np.inf]
    bins = bin_values(values)
    assert (bins.zeros, bins.non_finite, bins.n) == (110, 9, size - 119)
    assert np.isfinite(bins.points).all()
    without = bin_values(values[119:])
    assert _moments(bins) == pytest.approx(_moments(without), rel=1e-3)


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e30, 1e37])
def test_given_extreme_scales_when_binned_then_the_shape_survives(heavy: np.ndarray, scale: float) -> None:
    values = (heavy.astype(np.float64) * scale).astype(np.float32)
    bins = bin_values(values)
    assert bins.n + bins.zeros == N
    assert bins.points[-1] == pytest.approx(float(values.max()), rel=0.01)
    assert bins.scale == pytest.approx(
        float(np.subtract(*np.quantile(values.astype(float), [0.75, 0.25]))) / 2, rel=0.01
    )


def test_given_a_sample_that_misses_the_middle_when_binned_then_the_bins_move_there() -> None:
    rng = np.random.default_rng(0)
    values = (5 + 1e-3 * rng.standard_normal(4096 * 64)).astype(np.float32)
    values[::64] = 900 + rng.standard_normal(4096).astype(np.float32)  # exactly where a strided sample looks
    bins = bin_values(values)
    assert bins.middle == pytest.approx(5, abs=1e-3)
    assert bins.scale == pytest.approx(1e-3 * 0.6745, rel=0.05)


@given(arrays(np.float32, st.integers(0, 60), elements=st.floats(width=32, allow_nan=True, allow_infinity=True)))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_given_any_floats_when_binned_then_all_are_accounted_for(values: np.ndarray) -> None:
    bins = bin_values(values)
    assert bins.n + bins.zeros + bins.non_finite == values.size
    assert bins.non_finite == np.count_nonzero(~np.isfinite(values))
    np.testing.assert_array_equal(bins.points, np.unique(values[np.isfinite(values) & (values != 0)]).astype(float))


def test_given_sorted_points_when_merged_then_mass_and_mean_stay() -> None:
    rng = np.random.default_rng(1)
    points, counts = np.sort(rng.standard_cauchy(5000)), rng.integers(1, 9, 5000).astype(float)
    few, total = merge(points, counts, 0.2, 30)
    assert few.size < 900
    assert total.sum() == counts.sum()
    assert total @ few == pytest.approx(counts @ points)
    assert np.all(np.diff(few) > 0)


def test_given_a_large_array_when_binned_then_little_memory_is_needed() -> None:
    values = np.resize(np.random.default_rng(2).standard_normal(1 << 20, dtype=np.float32), 5 << 20)
    tracemalloc.start()
    bin_values(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 14e6 < values.nbytes
