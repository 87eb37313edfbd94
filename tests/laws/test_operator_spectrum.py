"""The distribution of a convolution's singular values against the operator's own matrix."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.laws.operator_spectrum import QUANTILES, operator_spectrum


def symbols(kernel: np.ndarray, image: tuple[int, ...]) -> np.ndarray:
    """Singular values at every frequency of the image, from NumPy's Fourier transform in float64."""
    axes = tuple(range(2, kernel.ndim))
    transformed = np.fft.fftn(kernel.astype(np.float64), image, axes)
    return np.linalg.svd(np.moveaxis(transformed, (0, 1), (-2, -1)), compute_uv=False).ravel()


@given(
    st.integers(0, 1000),
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from([(1, 3), (3, 3), (2, 3), (3,), (2, 2, 2), (1, 1)]),
)
@settings(deadline=None, max_examples=25, derandomize=True)
def test_small_kernels_have_the_singular_values_of_all_frequencies(
    seed: int, rows: int, columns: int, kernel: tuple[int, ...]
) -> None:
    weight = np.random.default_rng(seed).standard_normal((rows, columns, *kernel)).astype(np.float32)
    found = operator_spectrum(weight.reshape(1, rows, -1), kernel)
    assert found.image is not None
    exact = symbols(weight, found.image)
    assert found.count == exact.size
    assert found.norm.norm == pytest.approx(exact.max(), rel=1e-5)
    for probability, (value, error) in found.quantiles.items():
        # Between neighbouring values.
        low, high = (np.quantile(exact, np.clip(probability + s * 2 / exact.size, 0, 1)) for s in (-1, 1))
        assert low - 1e-3 * exact.max() <= value <= high + 1e-3 * exact.max()
        assert error is None
    if exact.min() > 0.02 * exact.max():
        assert found.mean_log == pytest.approx(np.log(exact).mean(), abs=1e-4)
        assert found.condition == pytest.approx(exact.max() / exact.min(), rel=1e-2)


def test_large_kernels_are_sampled_and_their_error_covers_the_truth() -> None:
    weight = np.random.default_rng(5).standard_normal((120, 100, 3, 3)).astype(np.float32)
    weight *= np.array([1, 2, 1])[:, None] * np.array([1, 2, 1])  # low frequencies are larger
    found = operator_spectrum(weight.reshape(1, 120, -1), (3, 3))
    exact = symbols(weight, (32, 32))
    assert found.image is None
    assert 2 <= found.frequencies <= 16
    assert found.mean_log is not None
    assert found.mean_log_error is not None
    assert abs(found.mean_log - np.log(exact).mean()) < 4 * found.mean_log_error
    for probability in QUANTILES[1:4]:
        value, error = found.quantiles[probability]
        assert error is not None
        assert abs(value - np.quantile(exact, probability)) < 4 * error + 0.02 * value


def test_an_orthogonal_1x1_convolution_has_equal_singular_values() -> None:
    orthogonal = np.linalg.qr(np.random.default_rng(6).standard_normal((20, 20)))[0].astype(np.float32)
    found = operator_spectrum(orthogonal[None], (1, 1))
    assert found.condition == pytest.approx(1.0, abs=1e-4)
    assert found.mean_log == pytest.approx(0.0, abs=1e-5)
    assert [value for value, _ in found.quantiles.values()] == pytest.approx([1.0] * 5, abs=1e-5)


def test_depthwise_and_scaled_kernels_follow() -> None:
    weight = np.random.default_rng(7).standard_normal((6, 1, 3, 3)).astype(np.float32)
    exact = np.abs(np.fft.fft2(weight[:, 0], (16, 16))).ravel()
    found, scaled = (operator_spectrum((f * weight).reshape(6, 1, 9), (3, 3)) for f in (1.0, 1e-20))
    assert found.count == exact.size
    assert found.quantiles[0.5][0] == pytest.approx(np.median(exact), rel=5e-3)
    assert scaled.quantiles[0.5][0] == pytest.approx(1e-20 * found.quantiles[0.5][0], rel=1e-4)
    assert found.mean_log is not None
    assert scaled.mean_log == pytest.approx(found.mean_log + math.log(1e-20), abs=1e-3)


def test_what_is_zero_is_not_logged() -> None:
    nothing = operator_spectrum(np.zeros((1, 3, 9), np.float32), (3, 3))
    assert (nothing.mean_log, nothing.condition) == (None, None)
    assert nothing.unresolved == 1.0
    flat = np.ones((1, 1, 9), np.float32)  # a mean over 3×3 pixels: half of its grid's frequencies are tiny or zero
    assert operator_spectrum(flat, (3, 3)).norm.norm == pytest.approx(9.0, rel=1e-6)
    deficient = np.zeros((1, 4, 36), np.float32)
    deficient[0, :2] = np.random.default_rng(8).standard_normal((2, 36))
    found = operator_spectrum(deficient, (3, 3))
    assert found.unresolved == pytest.approx(0.5, abs=0.01)
    assert (found.mean_log, found.condition) == (None, None)
