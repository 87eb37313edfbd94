"""What decay takes per step: formulas against optimizers that step, and what param_groups say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from critaudit.advice.course import OptimizerSetting
from critaudit.advice.decaying.adaptivity import SCALING, adaptivity
from critaudit.advice.optimizers import decay_rate, family, rectification, renamed, setting_of, settings_of, step_size
from critaudit.errors import UsageError

O = torch.optim  # noqa: E741
Make = Callable[[Any], torch.optim.Optimizer]
WITH_FORMULA: dict[str, Make] = {
    "SGD": lambda p: O.SGD(p, 0.01),
    "momentum": lambda p: O.SGD(p, 0.01, momentum=0.9),
    "Nesterov": lambda p: O.SGD(p, 0.01, momentum=0.9, nesterov=True),
    "dampening": lambda p: O.SGD(p, 0.01, momentum=0.9, dampening=0.5),
    "Adam": lambda p: O.Adam(p, 1e-3),
    "AMSGrad": lambda p: O.Adam(p, 1e-3, amsgrad=True),
    "AdamW": lambda p: O.AdamW(p, 1e-3, weight_decay=0.0),
    "NAdam": lambda p: O.NAdam(p, 1e-3),
    "RAdam": lambda p: O.RAdam(p, 1e-3),
    "RAdam, decoupled": lambda p: O.RAdam(p, 1e-3, decoupled_weight_decay=True),
    "RMSprop": lambda p: O.RMSprop(p, 1e-3),
    "RMSprop, centred": lambda p: O.RMSprop(p, 1e-4, momentum=0.9, centered=True),
    "Adagrad": lambda p: O.Adagrad(p, 1e-2),
    "Adafactor": lambda p: O.Adafactor(p, 1e-3, weight_decay=0.0),
}


def run(make: Make, decay: float, *, warm: int = 400, steps: int = 60) -> tuple[torch.optim.Optimizer, float, Any]:
    """Weights under random gradients of differing size: ln J² gained over `steps`, and the weights before them."""
    draws = torch.Generator().manual_seed(4)
    weight = torch.nn.Parameter(torch.randn(40, 40, generator=draws, dtype=torch.float64) / 8)
    scale = torch.exp(torch.randn(40, 40, generator=draws, dtype=torch.float64) - 6)
    optimizer = make([weight])
    before = 0.0
    held: Any = None
    for step in range(warm + steps):
        if step == warm - 80:  # enough for the momentum to settle with the decay
            optimizer.param_groups[0]["weight_decay"] = decay
        if step == warm:
            before = math.log(float(weight.detach().var(correction=0)))
            held = weight.detach().numpy().copy(), moments(optimizer, weight)
        weight.grad = scale * torch.randn(40, 40, generator=draws, dtype=torch.float64)
        optimizer.step()
    return optimizer, math.log(float(weight.detach().var(correction=0))) - before, held


def moments(optimizer: torch.optim.Optimizer, weight: Any) -> dict[str, np.ndarray]:
    return {key: optimizer.state[weight][key].numpy().copy() for key in SCALING if key in optimizer.state[weight]}


@pytest.mark.parametrize("name", WITH_FORMULA)
def test_formulas_are_what_the_optimizer_takes_from_j_squared(name: str) -> None:
    make = WITH_FORMULA[name]
    optimizer, plain, (weight, held) = run(make, 0.0)
    setting = settings_of(optimizer)[0]
    rate = decay_rate(setting, adaptivity=adaptivity(weight, held, setting, step=400), step=400)
    assert rate.per_step is not None
    decay = 1e-3 / (rate.per_step * 60)
    _, decayed, _ = run(make, decay)
    assert (plain - decayed) / (60 * decay) == pytest.approx(rate.per_step, rel=0.06)


def test_pytorch_weight_decay_is_twice_zhang21s_lambda() -> None:
    weight = torch.nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    twin = torch.nn.Parameter(weight.detach().clone())
    lam = 0.03
    for parameter, decay in ((weight, 2 * lam), (twin, 0.0)):
        optimizer = O.SGD([parameter], 0.1, weight_decay=decay)
        loss = parameter.sum() + (0.0 if decay else lam * (twin**2).sum())
        loss.backward()
        optimizer.step()
    assert float(weight.detach()) == pytest.approx(float(twin.detach()), rel=1e-14)


def test_adaptivity_of_equal_gradients_is_one_over_their_size() -> None:
    setting = OptimizerSetting("Adam", 1e-3, betas=(0.9, 0.999), eps=0.0)
    weights = np.random.default_rng(0).standard_normal((5, 7))
    corrected = np.full((5, 7), 0.04) * (1 - 0.999**50)
    assert adaptivity(weights, {"exp_avg_sq": corrected}, setting, step=50) == pytest.approx(5.0)
    assert adaptivity(weights, {"exp_avg_sq": corrected}, setting, step=0) is None
    assert adaptivity(weights, {"exp_avg_sq": np.ones(3)}, setting, step=50) is None
    assert adaptivity(0 * weights, {"exp_avg_sq": corrected}, setting, step=50) is None
    assert adaptivity(weights, {}, setting, step=50) is None


@pytest.mark.parametrize(
    ("make", "name", "decoupled"),
    [
        (lambda p: O.SGD(p, 0.1, momentum=0.9), "SGD", False),
        (lambda p: O.Adam(p, 0.1), "Adam", False),
        (lambda p: O.AdamW(p, 0.1), "AdamW", True),
        (lambda p: O.NAdam(p, 0.1), "NAdam", False),
        (lambda p: O.RAdam(p, 0.1), "RAdam", False),
        (lambda p: O.Adamax(p, 0.1), "Adamax", False),
        (lambda p: O.RMSprop(p, 0.1), "RMSprop", False),
        (lambda p: O.Adagrad(p, 0.1), "Adagrad", False),
        (lambda p: O.Adadelta(p, 0.1), "Adadelta", False),
        (lambda p: O.ASGD(p, 0.1), "ASGD", False),
        (lambda p: O.Adafactor(p, 0.1), "Adafactor", True),
        (lambda p: O.Rprop(p, 0.1), "Rprop", False),
    ],
)
def test_a_state_dict_tells_the_optimizer_by_its_keys(make: Make, name: str, decoupled: bool) -> None:
    optimizer = make([torch.nn.Parameter(torch.ones(2, 2))])
    setting = setting_of(optimizer.state_dict()["param_groups"][0])
    assert (setting.name, setting.decoupled) == (name, decoupled)
    assert setting == settings_of(optimizer)[0]


def test_old_groups_of_adam_and_adamw_are_asked_about() -> None:
    group = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01, "amsgrad": False}
    setting = setting_of(group)
    rate = decay_rate(setting, adaptivity=30.0)
    assert rate.per_step is None
    assert "optimizer='AdamW'" in (rate.reason or "")
    assert decay_rate(renamed(setting, "AdamW")).per_step == pytest.approx(2e-3)
    assert decay_rate(renamed(setting, "Adam"), adaptivity=30.0).per_step == pytest.approx(60e-3)


def test_third_party_groups_without_eps_are_lions() -> None:
    assert family(setting_of({"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0.1})) == "decoupled"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (OptimizerSetting("LBFGS", 1.0), "has no weight decay"),
        (OptimizerSetting("Adadelta", 1.0), "is not known"),
        (OptimizerSetting("Adam", 1e-3, betas=(0.9, 0.999)), "not recorded"),
    ],
)
def test_a_rate_without_a_formula_is_a_reason(setting: OptimizerSetting, words: str) -> None:
    rate = decay_rate(setting)
    assert rate.per_step is None
    assert words in (rate.reason or "")
    assert decay_rate(setting, measured=0.5).per_step == (None if setting.name == "LBFGS" else 0.5)


def test_rectification_is_radams_own() -> None:
    setting = OptimizerSetting("RAdam", 1e-3, betas=(0.9, 0.999))
    assert rectification(setting, 3) == 1.0
    assert 0.0 < rectification(setting, 100) < rectification(setting, 1000) < rectification(setting, 100_000) <= 1.0
    assert rectification(OptimizerSetting("Adam", 1e-3, betas=(0.9, 0.999)), 100) == 1.0


@pytest.mark.parametrize("group", [{}, {"lr": "fast"}, {"lr": -1.0}, {"lr": math.nan}])
def test_a_group_without_a_learning_rate_is_an_error(group: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="learning rate"):
        setting_of(group)


def test_a_momentum_of_one_is_an_error() -> None:
    with pytest.raises(UsageError, match="momentum"):
        step_size(OptimizerSetting("SGD", 0.1, momentum=1.0))
    with pytest.raises(UsageError, match=r"torch\.optim\.Optimizer or its name"):
        settings_of(3)
