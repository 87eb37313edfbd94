"""Courses from checkpoints: order, units, settings of the right parameters, moments, and what cannot be told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.advice.course import Course, LayerCourse, OptimizerSetting
from critaudit.advice.decaying.checkpoints import Told, checkpoints_in, course_of_checkpoints
from critaudit.demo import CHECKPOINTS
from critaudit.errors import UsageError

O = torch.optim  # noqa: E741
WIDTH = 12


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 3))


def step(net: nn.Module, optimizer: torch.optim.Optimizer, count: int = 3) -> None:
    for _ in range(count):
        optimizer.zero_grad()
        net(torch.randn(8, WIDTH)).square().sum().backward()
        optimizer.step()


def saved(folder: Path, name: str, net: nn.Module, optimizer: torch.optim.Optimizer | None, **more: Any) -> Path:
    content = {"model": net.state_dict(), "activation": "tanh", **more}
    if optimizer is not None:
        content["optimizer"] = optimizer.state_dict()
    torch.save(content, folder / name)
    return folder / name


def layers(course: Course) -> dict[str, LayerCourse]:
    return {layer.name: layer for layer in course.layers}


def test_the_demos_checkpoints_are_a_course_in_steps() -> None:
    course = course_of_checkpoints(list(reversed(CHECKPOINTS)), Told())
    assert (course.dataset_size, course.batch_size, course.unit) == (60_000, 32, "step")
    first = course.layers[0]
    assert first.steps == (0.0, 1875.0, 5625.0, 11250.0, 22500.0)
    weights = torch.load(CHECKPOINTS[-1])["model_state_dict"]["0.weight"].double()
    assert first.j_squared[-1] == pytest.approx(196 * float(weights.var(correction=0)), rel=1e-9)
    assert first.j0[-1] == pytest.approx(196 * float(weights.mean()), rel=1e-6)
    assert first.j_squared[0] == pytest.approx(0.25, rel=0.01)
    assert first.activation == "tanh"
    assert first.settings[0] == OptimizerSetting("SGD", 0.01)
    assert course.layers[-1].activation == "identity"
    assert any("as the checkpoints say" in note for note in course.notes)


def test_given_sizes_count_before_those_of_the_checkpoints() -> None:
    course = course_of_checkpoints(list(CHECKPOINTS), Told(dataset_size=600, batch_size=6))
    assert course.layers[0].steps[-1] == 1200.0


def test_epochs_without_sizes_stay_epochs(tmp_path: Path) -> None:
    net = network()
    optimizer = O.SGD(net.parameters(), 0.1)
    paths = [saved(tmp_path, f"e{n}.pt", net, optimizer, epoch=n) for n in (2, 1)]
    course = course_of_checkpoints(paths, Told())
    assert course.unit == "epoch"
    assert course.layers[0].steps == (1.0, 2.0)


def test_adams_own_count_of_steps_and_its_moments_are_read(tmp_path: Path) -> None:
    net = network()
    optimizer = O.Adam(net.parameters(), 0.01, weight_decay=0.1)
    paths = [saved(tmp_path, "0.pt", net, optimizer, epoch=0)]
    for epoch in (1, 2):
        step(net, optimizer)
        paths.append(saved(tmp_path, f"{epoch}.pt", net, optimizer, epoch=epoch))
    course = course_of_checkpoints(paths, Told())
    hidden = layers(course)["0.weight"]
    assert hidden.steps == (0.0, 3.0, 6.0)
    assert hidden.settings[-1].name == "Adam"
    weight = net[0].weight
    root = (optimizer.state[weight]["exp_avg_sq"].double() / (1 - 0.999**6)).sqrt() + 1e-8
    square = weight.detach().double().square()
    assert hidden.adaptivity is not None
    assert hidden.adaptivity[-1] == pytest.approx(float((square / root).mean() / square.mean()), rel=1e-6)
    assert hidden.adaptivity[0] == hidden.adaptivity[1]


def _two_groups(net: nn.Sequential, make: Callable[..., torch.optim.Optimizer]) -> torch.optim.Optimizer:
    """Biases first and without decay, as many trainings have it: numbers are not in the model's order."""
    biases = [one for name, one in net.named_parameters() if name.endswith("bias")]
    weights = [one for name, one in net.named_parameters() if name.endswith("weight")]
    return make([{"params": biases, "weight_decay": 0.0}, {"params": weights, "weight_decay": 0.2}])


def test_groups_are_told_by_the_shapes_that_the_optimizer_keeps(tmp_path: Path) -> None:
    net = network()
    optimizer = _two_groups(net, lambda groups: O.SGD(groups, 0.1, momentum=0.9))
    step(net, optimizer)
    course = course_of_checkpoints([saved(tmp_path, "step_3.pt", net, optimizer)], Told())
    assert [layer.settings[0].weight_decay for layer in course.layers] == [0.2, 0.2, 0.2]


def test_groups_are_told_by_names_where_the_optimizer_has_them(tmp_path: Path) -> None:
    net = network()
    named = dict(net.named_parameters())
    groups = [
        {"params": [("2.weight", named["2.weight"])], "weight_decay": 0.3},
        {"params": [(name, one) for name, one in named.items() if name != "2.weight"], "weight_decay": 0.1},
    ]
    optimizer = O.AdamW(groups, 0.01)
    step(net, optimizer)
    found = layers(course_of_checkpoints([saved(tmp_path, "step_3.pt", net, optimizer)], Told()))
    assert [found[name].settings[0].weight_decay for name in ("0.weight", "2.weight")] == [0.1, 0.3]
    assert found["2.weight"].adaptivity is not None


def test_groups_that_cannot_be_told_apart_give_no_setting(tmp_path: Path) -> None:
    net = network()
    optimizer = _two_groups(net, lambda groups: O.SGD(groups, 0.1))  # keeps nothing
    course = course_of_checkpoints([saved(tmp_path, "step_3.pt", net, optimizer)], Told())
    assert [layer.settings for layer in course.layers] == [(), (), ()]
    given = OptimizerSetting("SGD", 0.1, weight_decay=0.2)
    told = course_of_checkpoints([tmp_path / "step_3.pt"], Told(setting=given))
    assert all(layer.settings == (given,) for layer in told.layers)


def test_frozen_parameters_that_shift_the_numbers_are_noticed(tmp_path: Path) -> None:
    """As many parameters as the model, but of another order: the kept shapes contradict it."""
    net = network()
    optimizer = O.Adam(list(reversed(list(net.parameters()))), 0.01)
    step(net, optimizer)
    found = layers(course_of_checkpoints([saved(tmp_path, "step_3.pt", net, optimizer)], Told()))
    assert found["0.weight"].settings == ()


def test_a_name_given_tells_adam_from_adamw(tmp_path: Path) -> None:
    net = network()
    optimizer = O.AdamW(net.parameters(), 0.01)
    step(net, optimizer)
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        del group["decoupled_weight_decay"]
    torch.save({"model": net.state_dict(), "optimizer": state}, tmp_path / "old_step_3.pt")
    unknown = course_of_checkpoints([tmp_path / "old_step_3.pt"], Told(activation="tanh"))
    assert unknown.layers[0].settings[0].name == "Adam or AdamW"
    told = course_of_checkpoints([tmp_path / "old_step_3.pt"], Told(setting="AdamW", activation="tanh"))
    assert told.layers[0].settings[0].decoupled


def test_a_layer_before_a_normalisation_is_marked(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    torch.save({"model": net.state_dict(), "epoch": 1}, tmp_path / "bn.pt")
    course = course_of_checkpoints([tmp_path / "bn.pt"], Told(activation="relu"))
    assert [layer.normalised for layer in course.layers] == [True, False, False]


def test_folders_hold_files_or_one_model_each(tmp_path: Path) -> None:
    net = network()
    optimizer = O.AdamW(net.parameters(), 0.01)
    for n in (1, 2):
        step(net, optimizer)
        inner = tmp_path / f"checkpoint-{3 * n}"
        inner.mkdir()
        torch.save(net.state_dict(), inner / "pytorch_model.bin")
        torch.save(optimizer.state_dict(), inner / "optimizer.pt")
        (inner / "trainer_state.json").write_text(json.dumps({"global_step": 3 * n, "epoch": 0.5 * n}))
    found = checkpoints_in(tmp_path)
    assert [one.name for one in found] == ["checkpoint-3", "checkpoint-6"]
    course = course_of_checkpoints(found, Told(activation="tanh"))
    assert course.layers[0].steps == (3.0, 6.0)
    assert course.layers[0].adaptivity is not None
    assert checkpoints_in(tmp_path / "checkpoint-3") == [tmp_path / "checkpoint-3"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no checkpoints"):
        checkpoints_in(tmp_path / "empty")


def test_the_trainers_step_counts_where_the_optimizer_keeps_none(tmp_path: Path) -> None:
    net = network()
    folders = []
    for n in (5, 7):
        inner = tmp_path / f"checkpoint-{n}"
        inner.mkdir()
        torch.save(net.state_dict(), inner / "pytorch_model.bin")
        (inner / "trainer_state.json").write_text(json.dumps({"global_step": 10 * n}))
        folders.append(inner)
    assert course_of_checkpoints(folders, Told()).layers[0].steps == (50.0, 70.0)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (("a.pt", {"epoch": 1}), ("b.pt", {"epoch": 1}), "both of epoch 1"),
        (("a.pt", {}), ("b.pt", {"epoch": 1}), "how far the training was"),
        (("run_3.pt", {}), ("run_4.pt", {}), "neither its step nor its epoch"),
        (("a.pt", {"epoch": 1}), ("b.pt", {"step": 100}), "dataset_size="),
    ],
)
def test_an_order_that_cannot_be_told_is_asked_for(
    first: tuple[str, dict[str, int]], second: tuple[str, dict[str, int]], words: str, tmp_path: Path
) -> None:
    paths = [saved(tmp_path, name, network(), None, **said) for name, said in (first, second)]
    with pytest.raises(UsageError, match=words):
        course_of_checkpoints(paths, Told())


def test_epochs_and_steps_go_together_where_sizes_are_known(tmp_path: Path) -> None:
    paths = [
        saved(tmp_path, "a.pt", network(), None, epoch=1),
        saved(tmp_path, "b.pt", network(), None, step=250),
    ]
    course = course_of_checkpoints(paths, Told(dataset_size=1000, batch_size=10))
    assert course.layers[0].steps == (100.0, 250.0)


def test_weights_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    net = network()
    with torch.no_grad():
        net[0].weight[0, 0] = np.nan
    course = course_of_checkpoints([saved(tmp_path, "step_1.pt", net, None)], Told())
    assert "0.weight" not in layers(course)
