"""Fillings of one weight against the laws that they are drawn from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, levy_stable
from torch import nn

import critaudit
from critaudit.errors import UsageError
from critaudit.init import gaussian_, orthogonal_, stable_
from critaudit.laws import fit_stable


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("alpha", [0.7, 1.0, 1.5, 1.8])
def test_stable_weights_are_fitted_with_the_exponent_and_scale_they_were_drawn_with(alpha: float) -> None:
    g, columns = 1.3, 400
    weights = stable_(torch.empty(250, columns, dtype=torch.float64), alpha, g, generator=seeded(1))
    fit = fit_stable(weights.numpy().ravel())
    assert fit.alpha == pytest.approx(alpha, abs=5 * fit.alpha_se)
    assert fit.sigma == pytest.approx(g * (2 * columns) ** (-1 / alpha), abs=5 * fit.sigma_se)
    assert fit.alpha_se < 0.02


@pytest.mark.parametrize(("alpha", "seed"), [(0.7, 2), (1.0, 3), (1.5, 4)])
def test_stable_weights_agree_with_scipy(alpha: float, seed: int) -> None:
    weights = stable_(torch.empty(40, 50, dtype=torch.float64), alpha, 1.0, fan_in=1, generator=seeded(seed))
    standard = weights.numpy().ravel() / 2.0 ** (-1.0 / alpha)
    # scipy's distribution function takes a second per thousand points; a grid of quantiles says as much.
    levels = np.linspace(-6.0, 6.0, 41)
    expected = levy_stable.cdf(levels, alpha, 0.0)
    found = np.searchsorted(np.sort(standard), levels, side="right") / standard.size
    assert np.abs(found - expected).max() < 2.6 / math.sqrt(standard.size)  # P = 3e-6 (Kolmogorov)


def test_alpha_one_is_a_cauchy_law_and_alpha_two_a_gaussian_one() -> None:
    cauchy = stable_(torch.empty(100, 200, dtype=torch.float64), 1.0, 3.0, generator=seeded(5))
    assert kstest(cauchy.numpy().ravel() * 400 / 3.0, "cauchy").pvalue > 1e-6
    normal = stable_(torch.empty(100, 200, dtype=torch.float64), 2.0, 1.5, generator=seeded(6))
    assert kstest(normal.numpy().ravel() * math.sqrt(200) / 1.5, "norm").pvalue > 1e-6
    same = gaussian_(torch.empty(100, 200, dtype=torch.float64), 1.5, generator=seeded(6))
    assert torch.equal(normal, same)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(300, 200, bias=False),
        nn.Conv2d(24, 64, 5, bias=False),
        nn.Conv2d(96, 96, 7, groups=8, bias=False),
        nn.Conv1d(64, 128, 9, bias=False),
    ],
    ids=["linear", "conv", "grouped", "conv1d"],
)
def test_g_is_that_of_an_audit(layer: nn.Module) -> None:
    stable_(layer.weight, 1.5, 1.2, generator=seeded(7))
    report = critaudit.audit(layer, only=["entries"])
    measured = report.layers["entries.g_forward"].iloc[0]
    fit = fit_stable(layer.weight.detach().numpy().ravel())
    # g ∝ σ·(2N)^(1/α): its error is that of σ and, with a logarithm of N, that of α.
    fan_in = math.prod(layer.weight.shape[1:])
    error = math.hypot(fit.sigma_se / fit.sigma, fit.alpha_se * math.log(2 * fan_in) / 1.5**2)
    assert measured == pytest.approx(1.2, rel=5 * error)
    assert error < 0.03


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("alpha", [1.2, 2.0])
def test_short_types_hold_the_same_weights_rounded(dtype: torch.dtype, alpha: float) -> None:
    weights = stable_(torch.empty(200, 300, dtype=dtype), alpha, 1.0, generator=seeded(8))
    assert weights.dtype == dtype
    assert torch.isfinite(weights).all()
    expected = np.quantile(levy_stable.rvs(alpha, 0.0, size=60_000, random_state=1), 0.75) * 600 ** (-1 / alpha)
    assert float(weights.float().quantile(0.75)) == pytest.approx(expected, rel=0.05)


def test_the_heaviest_tails_stay_finite() -> None:
    weights = stable_(torch.empty(200, 200, dtype=torch.float16), 0.3, 1.0, generator=seeded(9))
    assert torch.isfinite(weights).all()
    assert float(weights.abs().max()) == torch.finfo(torch.float16).max


@pytest.mark.parametrize(
    "fill",
    [
        lambda w, g: stable_(w, 1.5, 1.0, generator=g),
        lambda w, g: gaussian_(w, 1.0, generator=g),
        lambda w, g: orthogonal_(w, 1.0, generator=g),
    ],
    ids=["stable", "gaussian", "orthogonal"],
)
def test_a_generator_determines_the_weights_and_the_global_state_is_left_alone(fill) -> None:
    state = torch.random.get_rng_state()
    first, second, other = (fill(torch.empty(20, 30), seeded(seed)).clone() for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_without_a_generator_the_global_state_is_used() -> None:
    torch.manual_seed(11)
    first = stable_(torch.empty(5, 5), 1.5, 1.0)
    torch.manual_seed(11)
    assert torch.equal(first, stable_(torch.empty(5, 5), 1.5, 1.0))


def test_it_fills_in_place_a_parameter_that_wants_gradients() -> None:
    layer = nn.Linear(6, 4)
    for fill in (lambda w: stable_(w, 1.5, 1.0), lambda w: gaussian_(w, 1.0), lambda w: orthogonal_(w, 1.0)):
        assert fill(layer.weight) is layer.weight
        assert layer.weight.requires_grad
        assert layer.weight.grad_fn is None


@pytest.mark.parametrize("rows", [4, 32, 90, 1100])
@pytest.mark.parametrize("columns", [32, 1030])
def test_orthogonal_weights_have_equal_singular_values_and_the_variance_of_gaussian_ones(
    rows: int, columns: int
) -> None:
    sigma_w = 1.3
    weights = orthogonal_(torch.empty(rows, columns), sigma_w, generator=seeded(1)).double()
    values = torch.linalg.svdvals(weights)
    assert float(values.max() / values.min()) == pytest.approx(1.0, abs=1e-5)
    assert float(weights.square().mean()) == pytest.approx(sigma_w**2 / columns, rel=1e-5)
    if rows <= columns:
        assert float(values[0]) == pytest.approx(sigma_w, rel=1e-5)


def test_large_orthogonal_weights_look_gaussian_entry_by_entry_and_row_by_row() -> None:
    weights = orthogonal_(torch.empty(1024, 1400), 1.0, generator=seeded(2)).double() * math.sqrt(1400)
    assert kstest(weights.numpy().ravel()[::7], "norm").pvalue > 1e-6
    row_excess = (weights**4).mean(1) - 3.0
    assert float(row_excess.abs().max()) < 6 * math.sqrt(96 / 1400) * 1.5
    other = orthogonal_(torch.empty(1024, 1400), 1.0, generator=seeded(3)).double()
    overlap = (weights * other).sum(1) / math.sqrt(1400)
    assert float(overlap.abs().max()) < 6 / math.sqrt(1400)


def test_square_orthogonal_weights_are_uniform_over_the_group() -> None:
    """The trace of a uniform orthogonal matrix has mean 0 and variance 1 (Diaconis & Shahshahani 1994)."""
    generator = seeded(4)
    traces = torch.stack([orthogonal_(torch.empty(6, 6), 1.0, generator=generator).trace() for _ in range(2000)])
    assert float(traces.mean()) == pytest.approx(0.0, abs=5 / math.sqrt(2000))
    assert float(traces.var()) == pytest.approx(1.0, abs=5 * math.sqrt(2 / 2000))


def test_a_convolution_is_orthogonal_as_outputs_by_inputs_times_kernel() -> None:
    weights = orthogonal_(torch.empty(16, 8, 3, 3), 2.0, generator=seeded(5))
    flat = weights.view(16, 72).double()
    assert torch.allclose(flat @ flat.T, 4.0 * torch.eye(16, dtype=torch.float64), atol=1e-5)


def test_groups_are_orthogonal_each() -> None:
    weights = orthogonal_(torch.empty(24, 8), 1.0, groups=3, generator=seeded(6))
    for block in weights.view(3, 8, 8).double():
        assert torch.allclose(block @ block.T, torch.eye(8, dtype=torch.float64), atol=1e-5)
    depthwise = orthogonal_(torch.empty(10, 1, 3, 3), 1.5, groups=10, generator=seeded(6))
    assert torch.allclose(depthwise.flatten(1).norm(dim=1), torch.full((10,), 1.5))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: stable_(torch.empty(3, 3), 0.0, 1.0), "alpha = 0.0"),
        (lambda: stable_(torch.empty(3, 3), 2.1, 1.0), "alpha = 2.1"),
        (lambda: stable_(torch.empty(3, 3), math.nan, 1.0), "alpha = nan"),
        (lambda: stable_(torch.empty(3, 3), 1.5, -1.0), "g = -1.0"),
        (lambda: stable_(torch.empty(3, 3), 1.5, math.inf), "g = inf"),
        (lambda: gaussian_(torch.empty(3, 3), math.nan), "g = nan"),
        (lambda: orthogonal_(torch.empty(3, 3), -1.0), "sigma_w = -1.0"),
        (lambda: orthogonal_(torch.empty(3, 3), 1.0, groups=2), "2 groups do not divide 3"),
        (lambda: stable_(torch.empty(3), 1.5, 1.0), "two axes"),
        (lambda: stable_(torch.empty(3, 3, dtype=torch.int64), 1.5, 1.0), "torch.int64"),
        (lambda: stable_(torch.empty(3, 3, dtype=torch.complex64), 1.5, 1.0), "torch.complex64"),
        (lambda: orthogonal_(torch.empty(3, 0), 1.0), "no inputs"),
        (lambda: gaussian_(torch.empty(3, 3), 1.0, fan_in=0), "no inputs"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(call, text: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        call()
    assert "\n" not in str(caught.value)
