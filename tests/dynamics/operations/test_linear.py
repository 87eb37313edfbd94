"""The linear twin is linear, has as many operations, and the network it came from is not touched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from critaudit.dynamics.operations import calibrate_batch_norm, departure, linearised, statistics_unset, watch
from critaudit.dynamics.running import CannotRunError
from tests.dynamics.operations.networks import Branching, Residual, batch, samples


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    torch.manual_seed(5)
    with torch.no_grad():
        yield


def test_the_twin_of_a_convolutional_network_is_affine_with_the_same_number_of_operations() -> None:
    network, (one, other) = Residual().eval(), samples(2, 3, 6, 6)
    before = network(one)
    twin = linearised(network)
    assert departure(network, one, other) > 0.05
    assert departure(twin.module, one, other) < 1e-5
    # The shared activation is one module; the function is another.
    assert twin.replaced == 2
    names, twins = watch(network, [one, other]), watch(twin.module, [one, other])
    assert len(names.names) == len(twins.names)
    assert twins.kinds.count("Line") == 3
    assert torch.equal(network(one), before)


@pytest.mark.parametrize(
    "odd",
    [nn.ReLU(), nn.ReLU6(), nn.GELU(), nn.SiLU(), nn.Tanh(), nn.Hardswish(), nn.PReLU(), nn.ELU()],
)
def test_every_usual_activation_becomes_the_identity(odd: nn.Module) -> None:
    network = nn.Sequential(nn.Linear(5, 6), odd, nn.Linear(6, 3)).eval()
    (values,) = samples(1, 5)
    assert torch.allclose(linearised(network).module(values), network[2](network[0](values)), atol=1e-6)


def test_a_gate_becomes_its_tangent_at_zero() -> None:
    network = nn.Sequential(nn.Linear(5, 6), nn.Sigmoid()).eval()
    (values,) = samples(1, 5)
    assert torch.allclose(linearised(network).module(values), 0.5 + network[0](values) / 4, atol=1e-6)


def test_pooling_becomes_an_average() -> None:
    network = nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.AdaptiveMaxPool2d(2)).eval()
    (values,) = samples(1, 2, 8, 8)
    expected = nn.AdaptiveAvgPool2d(2)(nn.AvgPool2d(3, 2, 1)(values))
    assert torch.allclose(linearised(network).module(values), expected, atol=1e-6)


def test_modules_are_replaced_where_no_graph_can_be_traced() -> None:
    twin = linearised(Branching().eval())
    assert twin.replaced == 1
    assert departure(twin.module, *samples(2, 6)) < 1e-5


def test_a_network_without_activations_has_no_twin() -> None:
    with pytest.raises(CannotRunError, match="no activation was found"):
        linearised(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).eval())


def test_products_of_signals_stay_and_are_measured() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(self.one(x)) * torch.relu(self.other(x))

    assert departure(linearised(Gated().eval()).module, *samples(2, 6)) > 0.01


def test_fresh_batch_normalisation_gets_the_statistics_of_the_data() -> None:
    # GIVEN a network that has not seen data
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU()).eval()
    assert statistics_unset(network)
    groups = [batch(samples(8, 3, 6, 6, seed=seed)) for seed in (1, 2)]
    # WHEN it is calibrated with two batches
    assert calibrate_batch_norm(network, groups) == 1
    # THEN both count alike, whatever the momentum, and the network is in eval mode as before
    maps = [network[0](group) for group in groups]
    means = torch.stack([values.mean(dim=(0, 2, 3)) for values in maps]).mean(dim=0)
    variances = torch.stack([values.var(dim=(0, 2, 3)) for values in maps]).mean(dim=0)
    assert torch.allclose(network[1].running_mean, means, atol=1e-6)
    assert torch.allclose(network[1].running_var, variances, atol=1e-5)
    assert network[1].momentum == 0.1
    assert not any(part.training for part in network.modules())
    assert not statistics_unset(network)


def test_a_network_without_batch_normalisation_needs_no_calibration() -> None:
    assert not statistics_unset(nn.Linear(3, 3))
    assert calibrate_batch_norm(nn.Linear(3, 3), []) == 0
