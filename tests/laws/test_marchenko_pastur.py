"""The Marchenko–Pastur law against quadrature, its fit on noise and on planted spikes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate

from critaudit.errors import CritauditError
from critaudit.laws.marchenko_pastur import (
    fit_marchenko_pastur,
    marchenko_pastur_cdf,
    marchenko_pastur_quantile,
    tracy_widom_quantile,
)
from critaudit.laws.nulls import gaussian_singular_values


@pytest.mark.parametrize("ratio", [1e-3, 0.1, 0.5, 0.99, 1.0])
def test_given_any_ratio_when_integrated_then_the_closed_form_is_the_integral_of_the_density(ratio: float) -> None:
    low, high = (1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2

    def density(angle: float) -> float:
        x = 1 + ratio - 2 * math.sqrt(ratio) * math.cos(angle)
        width = 2 * math.sqrt(ratio) * math.sin(angle)
        return width * width / (2 * math.pi * ratio * x)

    for share in (0.01, 0.3, 0.5, 0.9):
        x = low + share * (high - low)
        angle = math.acos((1 + ratio - x) / (2 * math.sqrt(ratio)))
        exact = scipy.integrate.quad(density, 0, angle, epsabs=1e-12)[0]
        assert float(marchenko_pastur_cdf(x, ratio)) == pytest.approx(exact, abs=1e-9)
        assert marchenko_pastur_quantile(exact, ratio) == pytest.approx(x, rel=1e-6)
    assert marchenko_pastur_cdf([0.5 * low - 1, low, high, 2 * high], ratio) == pytest.approx([0, 0, 1, 1], abs=1e-9)
    assert (marchenko_pastur_quantile(0.0, ratio), marchenko_pastur_quantile(1.0, ratio)) == pytest.approx((low, high))


def test_given_published_quantiles_when_compared_then_tracy_widom_agrees() -> None:
    # Bejan 2005, Table 1 (β = 1).
    for probability, value in [(0.05, -3.18), (0.5, -1.27), (0.95, 0.98), (0.99, 2.02), (0.999, 3.27)]:
        assert tracy_widom_quantile(probability) == pytest.approx(value, abs=0.03)


@pytest.mark.parametrize(("rows", "columns"), [(10, 10), (20, 40), (100, 80), (64, 576)])
def test_given_noise_when_fitted_then_spikes_appear_no_more_often_than_the_level(rows: int, columns: int) -> None:
    rng = np.random.default_rng(1)
    found = [
        fit_marchenko_pastur(3 * gaussian_singular_values(rows, columns, rng), rows, columns, level=0.05)
        for _ in range(300)
    ]
    # 300 draws at 5 %: 15 ± 3.8; beyond 35 once in 10⁷.
    assert sum(fit.spikes > 0 for fit in found) <= 35
    deviation = np.mean([fit.entry_deviation for fit in found])
    assert deviation == pytest.approx(3.0, rel=0.02)
    assert np.mean([fit.soft_rank for fit in found]) == pytest.approx(1.0, abs=0.5 if rows < 20 else 0.2)


@pytest.mark.parametrize("strength", [1.7, 3.0, 100.0])
@pytest.mark.parametrize("planted", [1, 4, 15])
def test_given_planted_spikes_when_fitted_then_they_are_counted_and_do_not_move_the_bulk(
    planted: int, strength: float
) -> None:
    rng = np.random.default_rng(2)
    rows, columns = 120, 200
    left, _ = np.linalg.qr(rng.standard_normal((rows, planted)))
    right, _ = np.linalg.qr(rng.standard_normal((columns, planted)))
    noise = 0.02 * rng.standard_normal((rows, columns))
    edge = 0.02 * (math.sqrt(rows) + math.sqrt(columns))
    values = np.linalg.svd(noise + strength * edge * left @ right.T, compute_uv=False)

    found = fit_marchenko_pastur(values, rows, columns)

    assert found.spikes == planted
    assert found.entry_deviation == pytest.approx(0.02, rel=0.03)
    left_over = 0.02 * (math.sqrt(rows - planted) + math.sqrt(columns - planted))
    assert found.upper_edge == pytest.approx(left_over, rel=0.02)
    assert found.spike_share == pytest.approx(np.sum(values[:planted] ** 2) / np.sum(values**2), rel=1e-12)
    assert found.soft_rank == pytest.approx((left_over / values[0]) ** 2, rel=0.04)
    assert found.distance < 0.03


def test_given_a_bulk_that_is_not_noise_when_fitted_then_the_distance_says_so() -> None:
    noise = fit_marchenko_pastur(gaussian_singular_values(200, 300, np.random.default_rng(3)), 200, 300)
    decaying = fit_marchenko_pastur(np.geomspace(1.0, 1e-3, 200), 200, 300)
    assert decaying.distance > 10 * noise.distance


def test_given_a_scale_or_a_transpose_when_fitted_then_only_lengths_move() -> None:
    values = gaussian_singular_values(30, 50, np.random.default_rng(4))
    one, other = fit_marchenko_pastur(values, 30, 50), fit_marchenko_pastur(values * 1e150, 50, 30)
    assert other.entry_deviation == pytest.approx(one.entry_deviation * 1e150, rel=1e-12)
    assert (other.spikes, other.distance) == pytest.approx((one.spikes, one.distance), rel=1e-9)
    assert (other.soft_rank, other.spike_share) == pytest.approx((one.soft_rank, one.spike_share), rel=1e-9)


def test_given_pooled_blocks_when_fitted_then_they_share_one_law() -> None:
    rng = np.random.default_rng(5)
    blocks = np.concatenate([gaussian_singular_values(40, 60, rng) for _ in range(6)])
    found = fit_marchenko_pastur(blocks, 40, 60, groups=6)
    assert found.entry_deviation == pytest.approx(1.0, rel=0.02)
    assert found.spikes == 0


@pytest.mark.parametrize(
    ("values", "rows", "columns", "words"),
    [
        (np.ones(7), 7, 9, "no fewer than 8"),
        (np.ones(9), 10, 12, "all 10 of them"),
        (np.r_[np.ones(4), np.zeros(8)], 12, 20, "no bulk"),
        (np.r_[np.inf, np.ones(11)], 12, 20, "no bulk"),
    ],
)
def test_given_no_bulk_when_fitted_then_one_line_says_why(
    values: np.ndarray, rows: int, columns: int, words: str
) -> None:
    with pytest.raises(CritauditError, match=words):
        fit_marchenko_pastur(values, rows, columns)


def test_given_an_impossible_ratio_when_asked_then_one_line_says_so() -> None:
    with pytest.raises(CritauditError, match="aspect ratio"):
        marchenko_pastur_cdf(1.0, 1.5)
