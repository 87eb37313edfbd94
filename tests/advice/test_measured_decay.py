"""Decay measured on copies: against formulas and a network in training, and with nothing of the user's touched."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from critaudit.advice.decaying.measured_decay import measure_decay
from critaudit.errors import UsageError

O = torch.optim  # noqa: E741
Make = Callable[[Any], torch.optim.Optimizer]
WIDTH = 48


def batches(count: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    draws = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield (
            torch.randn(8, WIDTH, generator=draws, dtype=torch.float64),
            torch.randint(0, 4, (8,), generator=draws),
        )


def train(network: nn.Module, optimizer: torch.optim.Optimizer, count: int, seed: int) -> None:
    for inputs, labels in batches(count, seed):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()


def trained(make: Make, count: int = 150) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 4)).double()
    optimizer = make(network.parameters())
    train(network, optimizer, count, 1)
    return network, optimizer


def weights(network: nn.Sequential) -> list[nn.Parameter]:
    return [network[0].weight, network[2].weight]


def spread(network: nn.Sequential) -> float:
    return math.log(float(network[0].weight.detach().var(correction=0)))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: O.SGD(p, 0.01), 0.02),
        (lambda p: O.SGD(p, 0.01, momentum=0.9, nesterov=True), 0.2),
        (lambda p: O.SGD(p, 0.01, momentum=0.9, dampening=0.5, weight_decay=1e-3), 0.1),
        (lambda p: O.AdamW(p, 1e-3), 2e-3),
        (lambda p: O.Adafactor(p, 1e-3), 2e-3),
        (lambda p: O.ASGD(p, 0.01), 0.02),
    ],
)
def test_the_rate_is_that_of_the_formula(make: Make, expected: float) -> None:
    network, optimizer = trained(make, 30)
    assert measure_decay(optimizer, weights(network)) == pytest.approx((expected, expected), rel=0.02)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: O.SGD(p, 1e-3, momentum=0.9),
        lambda p: O.Adam(p, 1e-4),
        lambda p: O.Adamax(p, 1e-4),
        lambda p: O.RMSprop(p, 1e-4),
        lambda p: O.Adadelta(p, 0.01),
    ],
)
def test_the_rate_is_what_a_training_loses(make: Make) -> None:
    """The same batches with and without decay; what the loss itself answers to smaller weights is left in."""
    network, optimizer = trained(make)
    rate = measure_decay(optimizer, weights(network))[0]
    assert rate is not None
    decay = 1e-4 / (rate * 40)
    gained = []
    for value in (0.0, decay):
        twin, stepper = copy.deepcopy((network, optimizer))
        stepper.param_groups[0]["weight_decay"] = value
        train(twin, stepper, 40, 2)
        before = spread(twin)
        train(twin, stepper, 40, 3)
        gained.append(spread(twin) - before)
    assert (gained[0] - gained[1]) / (40 * decay) == pytest.approx(rate, rel=0.25)


class Signs(torch.optim.Optimizer):
    """A third-party optimizer with attributes of its own and a decay of its own making."""

    def __init__(self, params: Any, lr: float) -> None:
        self.calls = {"count": 0}
        super().__init__(params, {"lr": lr, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        self.calls["count"] += 1
        torch.rand(3)
        for group in self.param_groups:
            for one in group["params"]:
                if one.grad is not None:
                    one.add_(one.grad.sign() + 3.0 * group["weight_decay"] * one, alpha=-group["lr"])


def test_any_optimizer_is_measured_and_nothing_of_the_user_changes() -> None:
    network, optimizer = trained(lambda p: Signs(p, 1e-4), 5)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("pre"))
    optimizer.register_step_post_hook(lambda *_: seen.append("post"))
    before = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    gradients = [one.grad.clone() for one in network.parameters() if one.grad is not None]
    random, calls = torch.get_rng_state(), dict(optimizer.calls)  # type: ignore[attr-defined]
    assert measure_decay(optimizer, weights(network)) == pytest.approx((6e-4, 6e-4), rel=1e-3)
    assert seen == []
    assert optimizer.calls == calls  # type: ignore[attr-defined]
    torch.testing.assert_close((network.state_dict(), optimizer.state_dict()), before, rtol=0, atol=0)
    torch.testing.assert_close([one.grad for one in network.parameters()], gradients, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random)


def test_weights_that_do_not_decay_have_no_rate() -> None:
    network, _ = trained(lambda p: O.SGD(p, 0.01), 2)
    optimizer = O.SGD([network[0].weight], 0.01)
    assert measure_decay(optimizer, weights(network)) == (pytest.approx(0.02, rel=0.02), None)


def test_what_cannot_be_measured_is_one_line() -> None:
    network, optimizer = trained(lambda p: O.SGD(p, 0.01), 2)
    with pytest.raises(UsageError, match="no weight_decay"):
        measure_decay(O.Rprop(network.parameters()), weights(network))
    optimizer.zero_grad()
    with pytest.raises(UsageError, match="no gradients"):
        measure_decay(optimizer, weights(network))

    class NeedsClosure(Signs):
        def step(self, closure: Any = None) -> None:
            closure()

    network, stepper = trained(lambda p: Signs(p, 1e-4), 2)
    stepper.__class__ = NeedsClosure
    with pytest.raises(UsageError, match="cannot step by itself") as raised:
        measure_decay(stepper, weights(network))
    assert "\n" not in str(raised.value)
