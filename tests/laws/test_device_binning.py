"""Tensors are binned like arrays of the same numbers; the code path is the device's, whatever the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from critaudit.laws.binning import bin_values
from critaudit.laws.device_binning import bin_tensor, is_tensor
from critaudit.laws.stable import fit_stable

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
NUMBERS = (np.random.default_rng(4).standard_t(2, 600_000) * 0.02 + 0.01).astype(np.float32)
NUMBERS[:50] = 0
NUMBERS[50:60] = [np.nan, np.inf, -np.inf, np.nan, 0.5, 0.5, -0.0, 1e-30, 1e30, -1e30]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_given_a_float_tensor_when_binned_then_the_bins_are_those_of_the_array(device: str, dtype: torch.dtype) -> None:
    tensor = torch.from_numpy(NUMBERS).to(dtype).reshape(600, 1000)
    found, expected = bin_tensor(tensor.to(device)), bin_values(tensor.numpy())
    assert (found.n, found.zeros, found.non_finite, found.lossless) == (
        expected.n,
        expected.zeros,
        expected.non_finite,
        expected.lossless,
    )
    np.testing.assert_array_equal(found.points, expected.points)
    np.testing.assert_array_equal(found.counts, expected.counts)


@pytest.mark.parametrize("device", DEVICES)
def test_given_bfloat16_when_binned_then_every_value_is_counted(device: str) -> None:
    tensor = torch.from_numpy(NUMBERS).bfloat16()
    found, expected = bin_tensor(tensor.to(device)), bin_values(tensor.float().numpy())
    assert found.lossless
    np.testing.assert_array_equal(found.points, expected.points)
    np.testing.assert_array_equal(found.counts, expected.counts)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.bool, torch.float8_e4m3fn])
def test_given_other_types_when_binned_then_the_host_does_it(dtype: torch.dtype) -> None:
    tensor = (torch.from_numpy(NUMBERS[60:100_060]) * 300).round().clamp(-100, 100).to(dtype)
    expected = bin_values(tensor.float().numpy() if dtype.is_floating_point else tensor.numpy())
    found = bin_tensor(tensor)
    np.testing.assert_array_equal(found.points, expected.points)
    np.testing.assert_array_equal(found.counts, expected.counts)


@pytest.mark.parametrize("scale", [1e-40, 1e30])
def test_given_extreme_scales_when_binned_then_the_bins_are_those_of_the_array(scale: float) -> None:
    numbers = (NUMBERS[60:].astype(np.float64) * scale).astype(np.float32)
    found, expected = bin_tensor(torch.from_numpy(numbers)), bin_values(numbers)
    np.testing.assert_array_equal(found.points, expected.points)
    np.testing.assert_array_equal(found.counts, expected.counts)


@pytest.mark.parametrize("device", DEVICES)
def test_given_a_tensor_with_gradient_when_fitted_then_the_fit_is_that_of_the_array(device: str) -> None:
    parameter = torch.nn.Parameter(torch.from_numpy(NUMBERS[60:]).reshape(-1, 4).to(device))
    assert is_tensor(parameter)
    assert not is_tensor(NUMBERS)
    assert fit_stable(parameter) == fit_stable(NUMBERS[60:])  # type: ignore[arg-type]
