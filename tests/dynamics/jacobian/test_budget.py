"""What is spent on a network follows from its size alone, and stays bounded."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from critaudit.dynamics.jacobian.budget import budget, forward_cost, total_cost


def test_given_layers_then_their_multiplications_are_counted() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, groups=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 10))
    found = forward_cost(network, torch.zeros(1, 3, 4, 4))
    products = 8 * 16 * 27 + 1280
    overheads = 100 * (8 * 16 + 10) + 2e6
    assert found == pytest.approx(products + overheads)


def test_given_depthwise_convolutions_then_groups_count() -> None:
    found = forward_cost(nn.Conv2d(8, 8, 3, groups=8, bias=False), torch.zeros(1, 8, 10, 10))
    assert found == pytest.approx(8 * 64 * 9 + 100 * 8 * 64 + 1e6)


@pytest.mark.parametrize("cost", [1e6, 1e7, 1e8, 1e9, 4e9, 1.7e10, 6e10, 1e12])
def test_given_any_size_then_the_budget_is_bounded_and_never_empty(cost: float) -> None:
    plan = budget(cost, 16)
    assert 1 <= plan.samples <= 16
    assert plan.probes >= 1
    assert plan.spectral_samples <= plan.samples
    # One sample and one probe are the least that can be done; else the allowance holds.
    assert total_cost(cost, plan) < max(1.3 * 4e11, 7 * cost)


def test_given_larger_networks_then_less_is_measured_and_spectra_go_first() -> None:
    plans = [budget(cost, 16) for cost in (1e6, 1e8, 4e9, 6e10)]
    assert [plan.samples for plan in plans] == sorted((plan.samples for plan in plans), reverse=True)
    assert [plan.effort.steps for plan in plans] == sorted((plan.effort.steps for plan in plans), reverse=True)
    assert plans[0].spectral_samples == 4
    assert plans[-1].spectral_samples == 0
    assert plans[-1].samples == 1


def test_given_a_card_or_generosity_then_more_is_measured_and_no_more_samples_than_there_are() -> None:
    assert budget(4e9, 16, on_cuda=True).samples > budget(4e9, 16).samples
    assert budget(4e9, 16, generosity=30).samples == budget(4e9, 16, on_cuda=True).samples
    assert budget(4e9, 1).samples == 1
