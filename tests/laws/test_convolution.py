"""The norm of a convolution against the operator itself."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from critaudit.errors import CritauditError
from critaudit.laws.convolution import convolution_norm


def explicit(kernel: np.ndarray, n: int) -> np.ndarray:
    """Singular values of the circular convolution on n×n images, from the operator's own matrix."""
    _, columns, height, width = kernel.shape
    images = torch.eye(columns * n * n, dtype=torch.float64).reshape(-1, columns, n, n)
    padded = F.pad(images, (0, width - 1, 0, height - 1), mode="circular")
    operator = F.conv2d(padded, torch.from_numpy(kernel.astype(np.float64))).reshape(len(images), -1)
    return np.linalg.svd(operator.numpy(), compute_uv=False)


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 4), st.sampled_from([(1, 1), (3, 3), (1, 3), (2, 3)]))
@settings(deadline=None, max_examples=12, derandomize=True)
def test_norm_brackets_the_operator_on_images_of_any_size(seed: int, rows: int, columns: int, kernel) -> None:  # type: ignore[no-untyped-def]
    weight = np.random.default_rng(seed).standard_normal((rows, columns, *kernel)).astype(np.float32)
    found = convolution_norm(weight.reshape(1, rows, -1), kernel)
    norms = [explicit(weight, n)[0] for n in (5, 7, 8)]
    assert max(norms) <= found.upper * (1 + 1e-5)
    assert found.norm <= found.upper
    assert found.norm >= max(norms) * 0.9


def test_norm_on_the_grid_is_the_operators_where_sizes_agree() -> None:
    weight = np.random.default_rng(1).standard_normal((3, 2, 3, 3)).astype(np.float32)
    values = explicit(weight, 16)
    found = convolution_norm(weight.reshape(1, 3, -1), (3, 3))
    assert found.norm == pytest.approx(values[0], rel=1e-5)
    assert found.stable_rank == pytest.approx(float((values**2).sum()) / values[0] ** 2 / 256, rel=1e-5)


def test_large_channels_take_the_power_method_to_nearly_the_same_norm() -> None:
    weight = np.random.default_rng(2).standard_normal((100, 110, 3, 3)).astype(np.float32)
    symbols = np.fft.fft2(weight, (8, 8)).transpose(2, 3, 0, 1)
    expected = float(np.linalg.svd(symbols, compute_uv=False).max())
    blocks = weight.reshape(1, 100, -1)
    found = convolution_norm(blocks, (3, 3), matrix_norm=float(np.linalg.norm(blocks[0], 2)))
    assert not found.every_frequency
    assert expected * 0.97 <= found.norm <= expected * (1 + 1e-4)
    assert expected <= found.upper <= convolution_norm(blocks, (3, 3)).upper


def test_depthwise_is_the_largest_of_its_channels() -> None:
    weight = np.random.default_rng(3).standard_normal((6, 1, 3, 3)).astype(np.float32)
    together = convolution_norm(weight.reshape(6, 1, 9), (3, 3)).norm
    apart = max(convolution_norm(channel.reshape(1, 1, 9), (3, 3)).norm for channel in weight)
    assert together == pytest.approx(apart, rel=1e-5)


def test_a_1x1_convolution_is_its_matrix() -> None:
    weight = np.random.default_rng(4).standard_normal((30, 20)).astype(np.float32)
    found = convolution_norm(weight[None], (1, 1))
    assert found.norm == pytest.approx(np.linalg.norm(weight, 2), rel=1e-5)
    assert found.upper == pytest.approx(found.norm, rel=1e-5)


def test_odd_kernels_are_refused_or_calm() -> None:
    assert convolution_norm(np.zeros((1, 3, 9), np.float32), (3, 3)).norm == 0.0
    for blocks, kernel in (
        (np.ones((1, 3, 8)), (3, 3)),
        (np.ones((3, 9)), (3, 3)),
        (np.full((1, 1, 9), np.nan), (3, 3)),
    ):
        with pytest.raises(CritauditError):
            convolution_norm(blocks.astype(np.float32), kernel)
