"""The whole advice: candidates, the choice among them, and what it leaves alone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from critaudit.advice import initialisation
from critaudit.advice.course import OptimizerSetting
from critaudit.advice.initial import Candidate, Recipe
from critaudit.advice.initial.advising import choose
from critaudit.advice.initial.candidates import remade
from critaudit.advice.initial.passes import LayerPass, Passes
from critaudit.advice.initial.sharpness import Sharpness
from critaudit.advice.initial.tasks import task_for
from critaudit.advice.initial.theory import heavy_tails, predict
from critaudit.advice.initial.trials import Trial, trial
from critaudit.errors import UsageError
from critaudit.init import critical_, operating_point
from critaudit.theory import gaussian


def chain(depth: int, width: int = 24) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for place in range(depth):
        layers += [nn.Linear(width if place else 10, width), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(width, 4))


def data(count: int = 128) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, 10, generator=torch.Generator().manual_seed(1))
    return x, (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()


def losses(end: float, noise: float = 0.0, start: float = 2.0) -> tuple[float, ...]:
    wave = [noise * (-1) ** place for place in range(8)]
    return (*[start] * 8, *(end + one for one in wave))


def candidate(family: str | None, end: float, *, sharp: float | None = None, **options: object) -> Candidate:
    recipe = None if family is None else Recipe(family, **options)  # type: ignore[arg-type]
    return Candidate(
        family or "present",
        recipe,
        sharpness=None if sharp is None else Sharpness(sharp, 0.0, 5, 8),
        trial=Trial(0.1, losses(end, 0.01 * (1 + end))),
    )


def test_the_lowest_loss_wins_where_the_difference_is_clear() -> None:
    found = [candidate(None, 1.0), candidate("orthogonal", 0.8), candidate("gaussian", 0.5), candidate("stable", 0.9)]
    assert choose(found) is found[2]


def test_of_equals_the_least_sharp_one_and_then_the_most_usual_one_is_taken() -> None:
    names = ("stable", "gaussian", None, "orthogonal")
    equals = [candidate(name, 0.5) for name in names]
    assert choose(equals) is equals[2]
    assert choose([equals[0], equals[1], equals[3]]) is equals[3]
    sharp = [candidate(name, 0.5, sharp=value) for name, value in zip(names, (3.0, 2.0, 9.0, 4.0), strict=True)]
    assert choose(sharp) is sharp[1]
    assert choose([*sharp, candidate("orthogonal", 0.5)]) is sharp[1]


def test_what_hardly_trained_is_not_as_good_however_noisy_the_losses_are() -> None:
    noisy = tuple(2.3 + 0.4 * (-1) ** step for step in range(40))
    stuck = Candidate("present", None, sharpness=Sharpness(0.1, 0.0, 5, 8), trial=Trial(0.1, (2.3, *noisy[1:])))
    trained = tuple(2.3 if step < 20 else 2.15 for step in range(40))
    better = Candidate(
        "orthogonal", Recipe("orthogonal"), sharpness=Sharpness(9.0, 0.0, 5, 8), trial=Trial(0.1, trained)
    )
    assert choose([stuck, better]) is better


def test_on_a_stand_in_present_weights_that_train_are_kept_and_else_the_least_sharp_taken() -> None:
    names = ("gaussian", "orthogonal", "stable")
    others = [candidate(*one) for one in zip(names, (0.1, 0.6, 0.9), strict=True)]
    others = [
        replace(one, sharpness=Sharpness(value, 0.0, 5, 8))
        for one, value in zip(others, (400.0, 3.0, 20.0), strict=True)
    ]
    stuck, training = candidate(None, 1.9, sharp=0.1), candidate(None, 0.8, sharp=30.0)
    assert choose([stuck, *others]) is others[0]
    assert choose([stuck, *others], stand_in=True) is others[1]
    assert choose([training, *others]) is others[0]
    assert choose([training, *others], stand_in=True, limit=40.0) is training
    assert choose([training, *others], stand_in=True, limit=20.0) is others[1]


def test_where_a_stand_in_is_hardly_learnt_calm_weights_are_kept() -> None:
    def shown(first: float) -> Passes:
        return Passes((LayerPass("a", 1.0, first), LayerPass("b", 1.0, 1.0), LayerPass("c", 1.0, 1.0)), loss=2.0)

    for first, kept in ((0.5, True), (1e-5, False)):
        present = replace(candidate(None, 1.99), passes=shown(first))
        better = candidate("stable", 1.93)
        assert (choose([present, better], stand_in=True) is present) is kept
        assert choose([present, better]) is better


def test_what_failed_diverged_or_was_given_up_is_not_chosen() -> None:
    present = candidate(None, 1.5)
    lost = [
        Candidate("failed", Recipe("gaussian"), failed="it did"),
        Candidate("exploded", Recipe("orthogonal"), trial=Trial(0.1, (2.0, math.inf))),
        Candidate("given up", Recipe("stable"), trial=Trial(0.1, (0.1, 0.1), stopped=True)),
    ]
    assert choose([present, *lost]) is present
    nothing = Candidate("present", None, trial=Trial(0.1, (2.0, math.inf)))
    assert choose([nothing, *lost]) is nothing


def test_the_choice_is_never_clearly_worse_than_the_present_weights() -> None:
    for seed in range(20):
        source = torch.Generator().manual_seed(seed)
        ends = torch.rand(5, generator=source).tolist()
        names = (None, "orthogonal", "orthogonal", "gaussian", "stable")
        found = [candidate(name, end, sharp=1.0 + end) for name, end in zip(names, ends, strict=True)]
        taken = choose(found)
        assert taken.trial.score <= found[0].trial.score + 3 * (taken.trial.error + found[0].trial.error)


@pytest.fixture(scope="module")
def deep() -> tuple[nn.Module, object]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    module = chain(20)
    found = initialisation(module, *data(), lr=0.1, batch_size=32, steps=24)
    torch.set_num_threads(before)
    return module, found


def test_a_deep_chain_is_advised_critical_weights(deep) -> None:
    _, found = deep
    assert found.chosen is not found.present
    assert found.chosen.recipe.family in ("orthogonal", "gaussian")
    assert found.chosen.trial.score < found.present.trial.score - 0.2
    assert abs(found.chosen.passes.gradient_total) < 1.5 < abs(found.present.passes.gradient_total)
    assert found.rates.best is not None
    assert [one.name for one in found.candidates[:2]] == ["the weights it has", "orthogonal, readout 1"]
    assert {one.recipe.family for one in found.candidates[1:]} == {"orthogonal", "gaussian", "stable"}
    assert any(one.recipe.sigma_b for one in found.candidates[1:])
    (prediction,) = found.predictions
    assert prediction.activation == "tanh"
    assert prediction.depth == 20
    assert found.samples == 128
    assert found.task == "the targets given"
    assert found.setting == OptimizerSetting("SGD", 0.1)
    assert found.assumed == ("no optimizer was named: plain SGD is assumed",)


def test_applying_it_gives_the_weights_that_were_tried(deep) -> None:
    _, found = deep
    other = chain(20)
    applied = found.apply_(other)
    assert applied is not None
    x, y = data()
    task = task_for(other, x, y, None, batch_size=32, seed=0)
    again = trial(other, task, found.setting, lr=0.1, steps=24)
    assert again.losses == found.chosen.trial.losses
    assert [layer.strength for layer in applied.layers] == [layer.strength for layer in found.chosen.critical.layers]


def test_the_printed_code_runs_and_gives_the_same_weights(deep) -> None:
    _, found = deep
    by_code, by_hand = chain(20), chain(20)
    exec(found.snippet, {"model": by_code, "inputs": found.inputs})
    found.apply_(by_hand)
    assert all(torch.equal(a, b) for a, b in zip(by_code.parameters(), by_hand.parameters(), strict=True))


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("orthogonal", readout=0.3),
        Recipe("stable", alpha=1.5, seed=3),
        Recipe("gaussian", sigma_b=0.2, activation="tanh"),
        Recipe("orthogonal", branch=4.0),
    ],
)
def test_a_recipe_in_words_is_the_recipe(recipe: Recipe) -> None:
    one, other, x = chain(3), chain(3), data()[0]
    recipe.apply_(one, x)
    eval(f"critical_(other, x, {recipe.call})", {"critical_": critical_, "other": other, "x": x})
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert recipe.family in recipe.name


def test_the_module_and_the_random_state_are_left_and_a_seed_gives_the_advice() -> None:
    module = nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 4))
    x, y = data(64)
    module(x).sum().backward()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    gradients = [value.grad.clone() for value in module.parameters()]
    random = torch.random.get_rng_state()

    def advised(seed: int) -> list[tuple[str, tuple[float, ...]]]:
        found = initialisation(module, x, y, optimizer="AdamW", batch_size=16, steps=8, seed=seed, curvature=False)
        return [(one.name, one.trial.losses) for one in found.candidates]

    first = advised(0)
    torch.randn(3)
    random_after = torch.random.get_rng_state()
    assert advised(0) == first
    assert advised(1) != first
    assert torch.equal(random_after, torch.random.get_rng_state())
    assert not torch.equal(random, random_after)
    assert all(torch.equal(state[name], value) for name, value in module.state_dict().items())
    assert all(torch.equal(one, value.grad) for one, value in zip(gradients, module.parameters(), strict=True))
    assert all(part.training for part in module.modules())


def test_good_weights_are_kept() -> None:
    module = chain(2)
    x, y = data()
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(module(x), y).backward()
        optimizer.step()
    found = initialisation(module, x, y, lr=0.05, batch_size=32, steps=16, curvature=False)
    assert found.chosen is found.present
    assert found.recipe is None
    assert found.apply_(module) is None
    assert found.snippet.startswith("# Keep the weights")
    assert all(one.sharpness is None for one in found.candidates)


def test_other_optimizers_losses_and_arguments() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.out = nn.Linear(10, 12), nn.Linear(3, 12), nn.Linear(12, 2)

        def forward(self, a: Tensor, b: Tensor, scale: float) -> dict[str, Tensor]:
            return {"y": self.out(torch.relu(self.one(a) + scale * self.two(b)))}

    x, _ = data(64)
    inputs = (x, x[:, :3], 0.5)
    module = Pair()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    seen: list[tuple[str, int, int]] = []
    found = initialisation(
        module,
        inputs,
        x[:, :2],
        loss=lambda answer, truth: (answer["y"] - truth).square().mean(),
        optimizer=optimizer,
        batch_size=16,
        steps=8,
        progress=lambda *one: seen.append(one),
    )
    assert found.setting.momentum == 0.9
    assert found.setting.nesterov
    assert [len(part) for part in found.inputs[:2]] == [16, 16]
    assert found.inputs[2] == 0.5
    assert all(one.sharpness is None for one in found.candidates)  # its loss takes more than a tensor
    assert seen[-1][0] == "learning rates"
    assert [one[1] for one in seen[:-1]] == list(range(1, len(found.candidates) + 1))


def test_a_candidate_can_be_made_again() -> None:
    module, (x, y) = chain(3), data(32)
    task = task_for(module, x, y, None, batch_size=16, seed=0)
    assert remade(module, Candidate("present", None), task) is module
    recipe = Recipe("gaussian", seed=2)
    other = chain(3)
    recipe.apply_(other, task.first()[0])
    again = remade(module, Candidate("", recipe), task)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"steps": 4}, "steps is 4"),
        ({"lr": 0.0}, "lr = 0"),
        ({"lr": math.nan}, "lr = nan"),
        ({"optimizer": "Lion"}, "torch.optim has no Lion"),
        ({"optimizer": object()}, "optimizer"),
        ({"loss": F.cross_entropy, "targets": None}, "without targets"),
        ({"inputs": torch.zeros(8, 3), "targets": None}, "does not run"),
        ({"activation": "sinus"}, "sinus"),
    ],
)
def test_errors_are_one_line(options: dict[str, object], text: str) -> None:
    x, y = data(32)
    with pytest.raises(UsageError, match=text) as caught:
        initialisation(chain(2), **({"inputs": x, "targets": y, "steps": 8} | options))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_predictions_are_those_of_mean_field_theory() -> None:
    point = operating_point("tanh", 20)
    found = predict("tanh", point, 20)
    assert found.edge == pytest.approx(1.0)
    assert found.susceptibility == pytest.approx(gaussian.susceptibility(point.sigma_w, 0.0, "tanh"))
    assert found.depth_scale == gaussian.depth_scales(point.sigma_w, 0.0, "tanh").xi_c
    assert found.depth_scale > 20
    assert found.notes == ()
    relu = predict("relu", operating_point("relu", 20), 20)
    assert relu.edge == pytest.approx(math.sqrt(2.0))
    assert relu.susceptibility is None
    assert any("susceptibility" in note for note in relu.notes)


def test_heavy_tails_are_placed_where_the_theory_applies() -> None:
    assert "above it" in heavy_tails("tanh", 1.5, 1.2)
    assert "below it" in heavy_tails("tanh", 1.5, 0.3)
    assert "relu" in heavy_tails("relu", 1.5, 1.0)
    assert "does not apply" in heavy_tails(None, 1.5, 1.0)
