"""The engine for GPUs, run by PyTorch on the CPU, against the same matrices in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from critaudit.dynamics.avalanches import quenched_torch
from critaudit.dynamics.avalanches.ensemble import simulate
from critaudit.dynamics.avalanches.quenched import Recipe
from critaudit.errors import UsageError
from critaudit.laws.nulls import quick_stable
from critaudit.theory.activations import named_activation

CPU = torch.device("cpu")
NAMES = [
    *("tanh", "erf", "identity", "relu", "gelu", "gelu_tanh", "silu", "quick_gelu", "mish", "softplus", "sigmoid"),
    *("log_sigmoid", "tanhshrink", "softsign", "selu", "hardtanh", "hardsigmoid", "relu6", "hardswish"),
    *("leaky_relu(0.2)", "elu(0.7)"),
]


@pytest.mark.parametrize("name", NAMES)
def test_given_an_activation_when_run_by_torch_then_it_is_the_same_function(name: str) -> None:
    activation = named_activation(name)
    x = np.linspace(-6.0, 6.0, 101)
    ours = quenched_torch.torch_activation(activation.name)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours, activation.value(x), atol=1e-9)


def test_given_a_function_when_asked_for_a_gpu_then_one_line_says_that_a_name_is_needed() -> None:
    with pytest.raises(UsageError, match="by name"):
        quenched_torch.torch_activation("function")


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("alpha", [2.0, 1.5])
def test_given_the_same_matrices_when_multiplied_path_by_path_then_counts_agree(alpha: float, recurrent: bool) -> None:
    of = Recipe(12, 20, 1.1 if alpha == 2.0 else 0.9, 0.1, named_activation("tanh"), 0.3, alpha, recurrent)
    seed = np.random.SeedSequence(4)
    counts = quenched_torch.run(of, 100, [seed], CPU)
    for_weights, for_inputs = (int(word) for word in seed.generate_state(2, np.uint64) >> np.uint64(1))
    x = torch.randn((100, 12), generator=torch.Generator().manual_seed(for_inputs)).double().numpy()
    x *= 0.3 / np.sqrt(np.mean(x**2, axis=1, keepdims=True))
    layers = quenched_torch._Layers(of, torch.Generator().manual_seed(for_weights), CPU)
    above, lasting = np.ones(100, bool), np.zeros(100, int)
    for _ in range(20):
        weights, biases = (part.double().numpy() for part in layers.next())
        h = x @ weights + biases
        above &= np.sqrt(np.mean(h**2, axis=1)) >= 0.3
        lasting += above
        x = np.tanh(h)
    assert counts.none[0] == np.sum(lasting == 0)
    assert counts.censored[0] == np.sum(lasting == 20)
    np.testing.assert_array_equal(counts.durations[0], np.bincount(lasting, minlength=21)[1:20])


def test_given_stable_weights_when_drawn_by_torch_then_they_have_the_law_of_numpys() -> None:
    for alpha in (1.0, 1.6):
        of = Recipe(100, 2, 1.0, 0.0, named_activation("tanh"), 0.3, alpha)
        drawn = quenched_torch._Layers(of, torch.Generator().manual_seed(1), CPU)._draw((20_000,)).numpy()
        assert ks_2samp(drawn, quick_stable(alpha, (20_000,), np.random.default_rng(2))).pvalue > 1e-6


def test_given_diverging_signals_when_run_by_torch_then_they_stay_at_the_largest_strength() -> None:
    of = Recipe(20, 200, 4.0, 0.0, named_activation("relu"), 0.1)
    counts = quenched_torch.run(of, 30, [np.random.SeedSequence(1)], CPU)
    assert counts.censored[0] == 30
    assert np.all(np.isfinite(counts.lags))
    found = quenched_torch._strengths(torch.tensor([[3e38, 1.0], [float("inf"), 1.0], [3.0, 4.0]]))
    np.testing.assert_allclose(found, [3e38 / 2**0.5, np.finfo(np.float32).max / 2**0.5, 12.5**0.5], rtol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_given_a_gpu_when_simulated_then_durations_follow_the_same_law() -> None:
    settings = {
        "width": 100, "depth": 60, "sigma_w": 1.05, "sigma_b": 0.05, "strength": 0.2, "networks": 100,
        "inputs_per_network": 100, "ensemble": "quenched",
    }  # fmt: skip
    there, here = simulate(**settings, device="cuda"), simulate(**settings)
    means = [found.counts.durations @ found.counts.duration_edges[:-1] / 100 for found in (there, here)]
    error = np.hypot(*(mean.std(ddof=1) / 10 for mean in means))
    assert abs(means[0].mean() - means[1].mean()) < 5.5 * error
