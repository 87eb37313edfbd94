"""Short trainings, what they are made on, and what is judged by them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from critaudit.advice.course import OptimizerSetting
from critaudit.advice.initial.rates import FACTORS, LONGER, confirmed, holds, judge, rate_range
from critaudit.advice.initial.tasks import task_for
from critaudit.advice.initial.trials import Task, Trial, build_optimizer, hopeless, trial
from critaudit.errors import UsageError


def mlp(outputs: int = 3, *, norm: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    parts: list[nn.Module] = [nn.Linear(6, 12), nn.Tanh(), nn.Dropout(0.5), nn.Linear(12, outputs)]
    if norm:
        parts.insert(1, nn.BatchNorm1d(12))
    return nn.Sequential(*parts)


def samples(count: int = 40, outputs: int = 3, seed: int = 1) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=source), torch.randint(0, outputs, (count,), generator=source)


SGD = OptimizerSetting("SGD", 0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
ADAMW = OptimizerSetting("AdamW", 0.01, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.1, decoupled=True)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("setting", [SGD, ADAMW], ids=["SGD", "AdamW"])
def test_a_trial_is_the_loop_that_one_would_write(setting: OptimizerSetting, norm: bool) -> None:
    module, (x, y) = mlp(norm=norm), samples()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    task = task_for(module, x, y, None, batch_size=16, seed=0)
    found = trial(module, task, setting, lr=0.05, steps=12, seed=5)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(value.grad is None for value in module.parameters())

    # By hand: dropout off, batch statistics on.
    module.eval()
    if norm:
        module[1].train()
    if setting is SGD:
        optimizer: torch.optim.Optimizer = torch.optim.SGD(
            module.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01, nesterov=True
        )
    else:
        optimizer = torch.optim.AdamW(module.parameters(), lr=0.05, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.1)
    source = torch.Generator().manual_seed(5)
    losses = []
    for _ in range(12):
        batch = torch.randperm(40, generator=source)[:16]
        optimizer.zero_grad()
        loss = F.cross_entropy(module(x[batch]), y[batch])
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    assert found.losses == pytest.approx(losses, rel=1e-6)
    assert found.score == pytest.approx(float(np.mean(losses[6:])))
    assert found.error == pytest.approx(float(np.std(losses[6:], ddof=1) / math.sqrt(6)))
    assert not found.stopped


def test_a_loss_that_explodes_ends_a_trial_with_an_infinite_score() -> None:
    module, (x, _) = mlp(1), samples()
    task = task_for(module, x, x[:, :1] * 10, None, batch_size=8, seed=0)
    found = trial(module, task, OptimizerSetting("SGD", 1.0), lr=1e4, steps=20)
    assert len(found.losses) == 20
    assert math.isinf(found.score)
    assert math.isinf(found.error)


def test_what_is_hopeless_at_half_of_its_steps_ends_there() -> None:
    module, (x, y) = mlp(), samples(200)
    y = (x[:, 0] > 0).long()
    task = task_for(module, x, y, None, batch_size=64, seed=0)
    good = trial(module, task, SGD, lr=0.1, steps=20)
    assert good.score < 0.7 * good.losses[0]
    bad = trial(module, task, SGD, lr=1e-7, steps=20, rival=good)
    assert bad.stopped
    assert len(bad.losses) == 10
    assert bad.losses == trial(module, task, SGD, lr=1e-7, steps=20).losses[:10]
    again = trial(module, task, SGD, lr=0.1, steps=20, rival=good)
    assert again == good
    assert trial(module, task, SGD, lr=0.1, steps=20, rival=bad) == good


def test_the_rule_of_hopelessness() -> None:
    rival = Trial(0.1, (2.0, 1.8, 1.5, 1.5, 1.2, 1.0, 0.9, 0.8))  # second quarter at 1.5: a way of 0.5
    assert hopeless([2.5, 2.2, 2.0, 1.96], rival)
    assert not hopeless([2.5, 2.2, 1.95, 1.94], rival)
    assert not hopeless([9.0, 4.0, 2.0, 1.7], rival)
    slow = Trial(0.1, (2.0, 2.0, 1.9, 1.9, 1.0, 0.5, 0.3, 0.2))  # not a tenth of the way down by then
    assert not hopeless([2.5, 2.5, 2.5, 2.5], slow)
    assert not hopeless([2.5, 2.5, 2.5, 2.5], Trial(0.1, (2.0, math.inf, math.inf, math.inf)))
    assert not hopeless([], rival)
    assert not hopeless([2.0, 2.0, 2.0, 2.0], Trial(0.1, (2.0, 1.0), stopped=True))


@pytest.mark.parametrize(
    "name", ["SGD", "Adam", "AdamW", "Adagrad", "Adadelta", "RMSprop", "NAdam", "RAdam", "Adamax", "Rprop", "ASGD"]
)
def test_optimizers_of_torch_are_made_with_what_they_take(name: str) -> None:
    module = mlp()
    module[0].weight.requires_grad_(False)
    built = build_optimizer(module, OptimizerSetting(name, 1.0, weight_decay=0.03), 0.02)
    (group,) = built.param_groups
    assert type(built) is getattr(torch.optim, name)
    assert len(group["params"]) == 3
    assert group["lr"] == 0.02
    assert group.get("weight_decay", 0.03) == 0.03


@pytest.mark.parametrize("name", ["Lion", "Optimizer", "lr_scheduler", "LBFGS", ""])
def test_others_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"torch\.optim has no|asks for a closure"):
        build_optimizer(mlp(), OptimizerSetting(name, 0.1), 0.1)


def test_settings_that_an_optimizer_refuses_and_frozen_modules_are_errors() -> None:
    with pytest.raises(UsageError, match="SGD cannot be made"):
        build_optimizer(mlp(), OptimizerSetting("SGD", 0.1, momentum=-1.0), 0.1)
    with pytest.raises(UsageError, match="SGD cannot be made"):
        build_optimizer(mlp().requires_grad_(False), OptimizerSetting("SGD", 0.1), 0.1)


def test_modules_that_cannot_be_copied_are_an_error() -> None:
    module, (x, y) = mlp(), samples()
    module.kept = module(x)  # type: ignore[assignment]
    task = task_for(module, x, y, None, batch_size=16, seed=0)
    with pytest.raises(UsageError, match="cannot be copied"):
        trial(module, task, SGD, lr=0.1, steps=8)


def test_judge_gives_the_row_of_rates_around_the_best_that_come_half_as_far_down() -> None:
    def at(lr: float, end: float) -> Trial:
        return Trial(lr, (2.0, 2.0, end - 0.01, end, end + 0.01, end))

    found = judge((at(0.01, 1.9), at(0.03, 1.4), at(0.1, 1.0), at(0.3, 1.45), at(1.0, 1.6)))
    assert (found.good, found.best) == ((0.03, 0.3), 0.1)
    gap = judge((at(0.01, 1.4), at(0.03, 1.7), at(0.1, 1.0), at(0.3, 1.4), at(1.0, math.inf)))
    assert gap.good == (0.1, 0.3)
    everything = judge((at(0.01, 1.2), at(0.03, 1.1)))
    assert everything.good == (0.01, 0.03)


def test_judge_finds_no_good_rate_where_nothing_learns() -> None:
    flat = tuple(Trial(lr, (2.0, 2.01, 1.99, 2.0, 2.02, 1.98)) for lr in (0.1, 1.0))
    assert judge(flat).good is None
    assert judge((Trial(0.1, (2.0, math.inf, math.inf, math.inf)),)).good is None
    assert judge(flat).trials == flat


def falling(lr: float, *, back: bool) -> Trial:
    """From 2 to 0.5, and in the end up to 1.6 or not."""
    return Trial(lr, (2.0, 2.1, *[1.0] * 6, *[0.5] * 16, *[1.6 if back else 0.6] * 8))


def test_a_loss_holds_unless_it_loses_half_of_the_way() -> None:
    short = Trial(0.1, (2.0, 2.1, 1.5, 1.0, 1.0, 1.0, 1.0, 1.0))
    assert holds(falling(0.1, back=False).losses, short)
    assert not holds(falling(0.1, back=True).losses, short)
    assert not holds((2.0, *[1.0] * 15, *[math.inf] * 8), short)
    assert holds((2.0, *[2.6] * 7, *[2.2] * 8, *[1.0] * 16), short)  # up at first, as large rates do
    assert holds((2.0, *[1.8, 1.95] * 20), short)  # what never came down has nothing to lose


def test_only_rates_that_hold_are_good() -> None:
    def at(lr: float, end: float) -> Trial:
        return Trial(lr, (2.0, 2.0, 1.5, 1.2, end - 0.01, end, end + 0.01, end))

    found = judge((at(0.01, 1.9), at(0.03, 1.3), at(0.1, 1.1), at(0.3, 1.0), at(1.0, 1.9)))
    assert (found.good, found.best) == ((0.03, 0.3), 0.3)
    kept = confirmed(found, lambda lr: falling(lr, back=False))
    assert (kept.good, kept.best, kept.lost) == ((0.03, 0.3), 0.3, ())
    assert len(kept.confirmations) == 1
    less = confirmed(found, lambda lr: falling(lr, back=lr > 0.05))
    assert (less.good, less.best, less.lost) == ((0.03, 0.03), 0.03, (0.3, 0.1))
    none = confirmed(found, lambda lr: falling(lr, back=True))
    assert (none.good, none.best, none.lost) == (None, None, (0.3, 0.1, 0.03))
    nothing = judge((at(0.1, 2.0), at(1.0, 2.0)))
    assert confirmed(nothing, lambda lr: falling(lr, back=False)) is nothing


def test_a_range_tries_two_decades_and_takes_over_what_is_known() -> None:
    module, (x, y) = mlp(), samples(100)
    y = (x[:, 0] > 0).long()
    task = task_for(module, x, y, None, batch_size=50, seed=0)
    setting = OptimizerSetting("SGD", 0.5)
    known = trial(module, task, setting, lr=0.5, steps=16)
    found = rate_range(module, task, setting, steps=16, known=(known,))
    assert [one.lr for one in found.trials] == pytest.approx([0.5 * factor for factor in FACTORS])
    assert found.trials[2] is known
    assert found.good is not None
    assert found.good[0] <= found.best <= found.good[1]
    assert [len(one.losses) for one in found.confirmations] == [LONGER * 16] * len(found.confirmations)
    assert found.confirmations[-1].lr == found.good[1]


# What a trial is made on.


def test_classes_of_a_teacher_are_the_largest_of_random_linear_functions() -> None:
    module, x = mlp(4), samples(300)[0]
    task = task_for(module, x, None, None, batch_size=None, seed=7)
    assert task.batch_size == 128
    assert task.samples == 300
    assert task.targets.shape == (300,)
    assert set(task.targets.tolist()) == {0, 1, 2, 3}
    # Linear functions of the input explain them: a linear classifier learns them all.
    flat = (x - x.mean(0)) / x.std()
    one_hot = F.one_hot(task.targets, 4).float()
    fitted = flat @ torch.linalg.lstsq(flat, one_hot - 0.25).solution
    assert float((fitted.argmax(1) == task.targets).float().mean()) > 0.85
    same = task_for(module, x, None, None, batch_size=None, seed=7)
    assert torch.equal(same.targets, task.targets)
    assert not torch.equal(task_for(module, x, None, None, batch_size=None, seed=8).targets, task.targets)


@pytest.mark.parametrize("flat", [True, False])
def test_a_single_output_gets_numbers(flat: bool) -> None:
    module: nn.Module = nn.Sequential(mlp(1), nn.Flatten(0)) if flat else mlp(1)
    x = samples(200)[0]
    task = task_for(module, x, None, None, batch_size=32, seed=0)
    assert task.targets.shape == ((200,) if flat else (200, 1))
    assert float(task.targets.std()) == pytest.approx(1.0, abs=0.6)
    centred = x - x.mean(0)
    left = task.targets.view(200, 1) - centred @ torch.linalg.lstsq(centred, task.targets.view(200, 1)).solution
    assert float(left.abs().max()) < 1e-4
    found = module(x[:8])
    assert task.loss(found, task.targets[:8]) == F.mse_loss(found, task.targets[:8])


def test_sequences_get_an_answer_for_each_position() -> None:
    ids = torch.randint(0, 20, (64, 5), generator=torch.Generator().manual_seed(0))
    module = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 7))
    task = task_for(module, ids, None, None, batch_size=16, seed=0)
    assert task.targets.shape == (64, 5)
    assert 3 < len(task.targets.unique()) <= 7
    output = module(ids[:4])
    assert task.loss(output, task.targets[:4]).item() == pytest.approx(
        F.cross_entropy(output.view(-1, 7), task.targets[:4].reshape(-1)).item()
    )


def test_images_get_numbers() -> None:
    task = task_for(nn.Conv2d(2, 3, 3), torch.randn(8, 2, 6, 6), None, None, batch_size=None, seed=0)
    assert task.targets.shape == (8, 3, 4, 4)
    assert task.targets.is_floating_point()


def test_without_inputs_calibrated_samples_are_drawn() -> None:
    task = task_for(mlp(), None, None, None, batch_size=None, seed=0)
    assert task.arguments[0].shape == (512, 6)
    assert float(task.arguments[0].std()) == pytest.approx(1.0, abs=0.05)
    tokens = task_for(nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 7)), None, None, None, batch_size=None, seed=0)
    assert not tokens.arguments[0].is_floating_point()


def test_targets_of_the_user_and_the_usual_losses() -> None:
    x, y = samples(20)
    task = task_for(mlp(), x.double().numpy(), y.int().numpy(), None, batch_size=7, seed=0)
    assert task.what == "the targets given"
    assert task.arguments[0].dtype == torch.float32
    assert torch.equal(task.targets, y)
    assert task_for(mlp(), x, y.tolist(), None, batch_size=100, seed=0).batch_size == 20
    numbers = task_for(mlp(1), x, np.arange(20.0), None, batch_size=7, seed=0)
    assert numbers.targets.dtype == torch.float32
    output = mlp(1)(x)
    assert numbers.loss(output, numbers.targets).item() == pytest.approx(
        F.mse_loss(output[:, 0], torch.arange(20.0)).item()
    )
    yes_or_no = task_for(mlp(1), x, y % 2, None, batch_size=7, seed=0)
    assert yes_or_no.loss(output, yes_or_no.targets).item() == pytest.approx(
        F.binary_cross_entropy_with_logits(output[:, 0], (y % 2).float()).item()
    )
    pixels = torch.randint(0, 4, (20, 5, 6))
    image = torch.randn(20, 4, 5, 6)
    segmented = task_for(nn.Conv2d(2, 4, 1), torch.randn(20, 2, 5, 6), pixels, None, batch_size=7, seed=0)
    assert segmented.loss(image, pixels).item() == pytest.approx(F.cross_entropy(image, pixels).item(), rel=1e-5)


def test_a_loss_of_the_user_is_taken_as_it_is() -> None:
    def own(found: Tensor, truth: Tensor) -> Tensor:
        return (found.sum(1) - truth).abs().mean()

    x, y = samples(20)
    task = task_for(mlp(), x, y.float(), own, batch_size=7, seed=0)
    assert task.loss is own
    assert trial(mlp(), task, SGD, lr=0.01, steps=8).losses[0] > 0.0


def test_what_is_not_per_sample_is_passed_whole() -> None:
    task = Task((torch.arange(6.0), torch.ones(2, 2), "x", torch.arange(6)), torch.arange(6) * 2, F.mse_loss, "", 4)
    arguments, targets = task.taken(torch.tensor([5, 1]))
    assert arguments[0].tolist() == [5.0, 1.0]
    assert arguments[1] is task.arguments[1]
    assert arguments[2] == "x"
    assert arguments[3].tolist() == [5, 1]
    assert targets.tolist() == [10, 2]
    assert task.first()[0][0].tolist() == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (lambda x, y: (x, y[:7], None, 8), "7 targets were given for 40 inputs"),
        (lambda x, y: (x, 3, None, 8), "a single targets|a single"),
        (lambda x, y: (x, None, F.mse_loss, 8), "without targets"),
        (lambda x, y: (x, y, None, 0), "batch_size = 0"),
        (lambda x, y: (x, y + 1, None, 8), "targets from 1 to 3 were given for 3 classes"),
        (lambda x, y: (x, y - 1, None, 8), "targets from -1 to 1"),
        (lambda x, y: (x, y[:, None].repeat(1, 2), None, 8), "do not fit outputs"),
        (lambda x, y: (x, torch.ones(40, 2), None, 8), "do not fit outputs"),
        (lambda x, y: (x, "abc", None, 8), "make no tensor"),
        (lambda x, y: (x[:, :3], y, None, 8), "does not run on the inputs"),
        (lambda x, y: ((), y, None, 8), "no tensor of samples|does not run"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(arguments, text: str) -> None:
    inputs, targets, loss, size = arguments(*samples())
    with pytest.raises(UsageError, match=text) as caught:
        task_for(mlp(), inputs, targets, loss, batch_size=size, seed=0)
    assert "\n" not in str(caught.value)


def test_labels_that_do_not_count_may_be_there() -> None:
    x, y = samples()
    y[:5] = -100
    task = task_for(mlp(), x, y, None, batch_size=8, seed=0)
    assert math.isfinite(task.loss(mlp()(x), y).item())


def test_outputs_without_samples_in_front_ask_for_targets() -> None:
    class Turned(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.T

    with pytest.raises(UsageError, match="do not have them on the first axis"):
        task_for(Turned(), torch.randn(9, 4), None, None, batch_size=None, seed=0)
