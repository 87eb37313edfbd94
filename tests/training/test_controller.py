"""A controller holds J² at its target for every optimizer, within bounds, and writes down what it does."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from critaudit.errors import UsageError
from critaudit.theory import spin_glass
from critaudit.training import Controller, read_log, split_groups
from critaudit.training.control import Demand, Growing, demanded, limited
from critaudit.training.weights import spreads
from tests.training.networks import convolutional, data, follow, mlp, train

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.2),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.9, nesterov=True),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.003),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=0.003, weight_decay=0.0),
}


def hard(steps: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Labels at random, so that the weights never stop growing."""
    torch.manual_seed(3)
    inputs = data()[0]
    labels = torch.randint(0, 4, (len(inputs),))
    for _ in range(steps):
        batch = torch.randint(0, len(inputs), (64,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[batch]), labels[batch]).backward()
        optimizer.step()


def grown(kind: str, steps: int, *, controlled: bool, log: Path) -> tuple[list[float], Controller | None, Any]:
    """J² of the two hidden layers after so many steps, held at 1.2 times their start or let go."""
    model = mlp(depth=2, scale=0.9)
    optimizer = OPTIMIZERS[kind](model.parameters())
    monitor = follow(model, optimizer, every=200, log=log)
    controller = None
    if controlled:
        targets = {f"{place}.weight": 1.2 * now.j_squared for place, now in zip((0, 2), now_of(monitor), strict=False)}
        controller = Controller(monitor, target=targets, every=20, split_groups=True)
    hard(steps, model, optimizer)
    monitor.close()
    return [now.j_squared for now in now_of(monitor)[:2]], controller, monitor


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_layer_settles_at_its_target(kind: str, tmp_path: Path):
    path = tmp_path / "run.jsonl"
    held, controller, monitor = grown(kind, 1500, controlled=True, log=path)
    assert controller is not None
    for layer, j_squared in zip(controller.layers, held, strict=True):
        assert j_squared == pytest.approx(layer.target, rel=0.05)
        assert layer.weight_decay is not None
        assert layer.weight_decay > 0
    if kind == "momentum":
        free, _, _ = grown(kind, 1500, controlled=False, log=tmp_path / "free.jsonl")
        assert all(one > 1.15 * layer.target for one, layer in zip(free, controller.layers, strict=True))
    assert controller.left_alone == {"4.weight": "no target was given for it"}
    changes = read_log(path).changes
    assert changes == tuple(monitor.journal.changes)
    assert {change.layer for change in changes} == {"0.weight", "2.weight"}
    assert all(change.after >= 0.0 for change in changes)
    report = monitor.report()
    assert report.model["training.changes"].value == len(changes)
    assert "along_optimizer.weight_decay" in report.figures


def now_of(monitor: Any) -> list[Any]:
    """The present spreads of a monitor's matrices."""
    return spreads(monitor.network.matrices, monitor.optimizer)


def test_edges_are_the_layers_own_and_what_has_none_is_left_alone():
    model = mlp(depth=2)
    model[2].weight.data += 0.1  # J₀ = 1.6 beside what chance gives
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    controller = Controller(follow(model, optimizer))
    held = {layer.name: layer.target for layer in controller.layers}
    j0 = now_of(follow(model, optimizer))[1].j0
    assert held["2.weight"] == pytest.approx(spin_glass.boundary(j0) ** 2, rel=1e-6)
    assert held["2.weight"] > 1.2
    assert held["0.weight"] == 1.0
    assert list(controller.left_alone) == ["4.weight"]
    network = convolutional()
    parameters = [one for one in network.parameters() if one.requires_grad]
    controller = Controller(follow(network, torch.optim.SGD(parameters, lr=0.1), activation="tanh"))
    assert "normalisation" in controller.left_alone["conv1.weight"]
    assert "no parameter that this optimizer trains" in controller.left_alone["frozen.weight"]


def test_without_a_split_layers_share_the_decay_of_their_group():
    model = mlp(depth=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    controller = Controller(follow(model, optimizer, every=100), target=0.5, every=20)
    hard(200, model, optimizer)
    assert len(optimizer.param_groups) == 1
    assert len({layer.weight_decay for layer in controller.layers}) == 1
    assert optimizer.param_groups[0]["weight_decay"] > 0


@pytest.mark.parametrize("share", [False, True])
def test_what_has_no_edge_shares_the_mean_decay_if_asked(share: bool, tmp_path: Path):
    model = mlp(depth=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    monitor = follow(model, optimizer, every=100, log=tmp_path / "run.jsonl")
    controller = Controller(
        monitor, target={"0.weight": 0.5, "2.weight": 0.4}, every=20, split_groups=True, share=share
    )
    hard(201, model, optimizer)
    monitor.close()
    places = split_groups(optimizer, model)
    decays = {name: optimizer.param_groups[place]["weight_decay"] for name, place in places.items()}
    held = [decays["0.weight"], decays["2.weight"]]
    assert held[0] != held[1]
    assert decays["4.weight"] == pytest.approx(sum(held) / 2 if share else 0.0, rel=2e-3)
    biases = [group for group in optimizer.param_groups if any(one.ndim == 1 for one in group["params"])]
    assert [group["weight_decay"] for group in biases] == [0.0]
    changes = [change for change in read_log(tmp_path / "run.jsonl").changes if change.layer == "4.weight"]
    assert bool(changes) is share
    assert all(change.target is None for change in changes)
    assert [layer.name for layer in controller.layers] == ["0.weight", "2.weight"]


def test_decay_stays_within_bounds_moves_slowly_and_stops_when_told():
    model = mlp(depth=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, weight_decay=1e-3)
    monitor = follow(model, optimizer, every=100)
    controller = Controller(monitor, target=0.3, bounds=(1e-3, 4e-3), rate=0.5, every=10)
    hard(400, model, optimizer)
    changes = monitor.journal.changes
    assert changes
    assert all(1e-3 <= change.after <= 4e-3 for change in changes)
    steps = [change.step for change in changes if change.layer == "0.weight"]
    assert all(second - first >= 10 for first, second in itertools.pairwise(steps))
    controller.stop()
    count = len(changes)
    hard(100, model, optimizer)
    assert len(monitor.journal.changes) == count


def test_a_loaded_state_begins_anew_and_a_closed_monitor_ends_control():
    model = mlp(depth=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    monitor = follow(model, optimizer, every=100)
    controller = Controller(monitor, target=0.5, every=10, split_groups=True)
    hard(100, model, optimizer)
    kept = optimizer.state_dict()
    decays = [group["weight_decay"] for group in kept["param_groups"]]
    hard(100, model, optimizer)
    optimizer.load_state_dict(kept)
    assert [group["weight_decay"] for group in optimizer.param_groups] == decays
    assert all(layer.j_squared is None for layer in controller.layers)
    before = len(monitor.journal.changes)
    hard(29, model, optimizer)  # two looks make one interval, and one interval no change
    assert len(monitor.journal.changes) == before
    hard(200, model, optimizer)
    assert len(monitor.journal.changes) > before
    monitor.close()
    decays = [group["weight_decay"] for group in optimizer.param_groups]
    hard(50, model, optimizer)
    assert [group["weight_decay"] for group in optimizer.param_groups] == decays


@given(
    st.lists(st.tuples(st.floats(-10, 10), st.floats(0, 10)), min_size=1, max_size=4),
    st.floats(0, 5),
    st.floats(0, 1),
    st.floats(0, 3) | st.none(),
    st.floats(0.01, 2),
)
@settings(max_examples=300, deadline=None)
def test_the_decay_is_never_negative_nor_out_of_bounds(
    asked: list[tuple[float, float]], present: float, low: float, high: float | None, rate: float
):
    bounds = (low, None if high is None else low + high)
    found = limited([Demand(*one) for one in asked], present, bounds=bounds, rate=rate)
    assert found >= max(low, 0.0)
    assert high is None or found <= low + high
    inside = low <= present and (high is None or present <= low + high)
    balance = sum(one[1] for one in asked) / len(asked)
    assert not inside or abs(found - present) <= rate * max(balance, present) + 1e-9


def test_growth_is_measured_whatever_the_decay_was_meanwhile():
    growing, j_squared, unit = Growing(), 0.4, 0.01
    for step in range(0, 2000, 10):
        decay = 0.02 + 0.01 * (step // 10 % 3)
        growing.look(step, j_squared, unit, decay)
        for _ in range(10):
            j_squared += 6e-4 - 2 * unit * decay * j_squared
    assert growing.per_decay == pytest.approx(6e-4 / (2 * unit), rel=1e-2)
    demand = demanded(growing, target=1.0, gain=0.1)
    assert demand is not None
    assert demand.balance == pytest.approx(6e-4 / (2 * unit), rel=1e-2)
    assert demanded(Growing(), target=1.0, gain=0.1) is None


def test_what_cannot_be_controlled_is_said_in_one_line():
    model = mlp(depth=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = follow(model, optimizer)
    for options, words in (
        ({"target": {"9.weight": 1.0}}, "no layer is called '9.weight'"),
        ({"target": -1.0}, "positive number"),
        ({"target": "middle"}, "is expected"),
        ({"bounds": (-1.0, 2.0)}, "0 ≤ lower"),
        ({"gain": 0.0}, "gain"),
        ({"every": 0}, "from 1 on"),
    ):
        with pytest.raises(UsageError, match=words):
            Controller(monitor, **options)
    linear = nn.Sequential(nn.Linear(8, 8))
    with pytest.raises(UsageError, match="no layer can be held"):
        Controller(follow(linear, torch.optim.SGD(linear.parameters(), lr=0.1)))


def test_a_split_changes_nothing_but_the_groups():
    states = []
    for whether in (False, True):
        model = convolutional()
        groups = [
            {"params": [*model.conv1.parameters(), *model.bn1.parameters()], "lr": 0.05},
            {"params": [*model.conv2.parameters(), *model.shared.parameters(), *model.out.parameters()]},
        ]
        optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.SequentialLR(
            optimizer,
            [
                torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda step: 1.0, lambda step: (step + 1) / 5]),
                torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10),
            ],
            [4],
        )
        train(model, optimizer, 3)
        if whether:
            places = split_groups(optimizer, model, schedulers=[scheduler])
            assert len(optimizer.param_groups) == 6
            assert len(set(places.values())) == 4
            for name, place in places.items():
                assert [one.shape for one in optimizer.param_groups[place]["params"]] == [
                    model.get_parameter(name).shape
                ]
        rates = []
        for _ in range(9):
            train(model, optimizer, 1)
            scheduler.step()
            rates.append(sorted({group["lr"] for group in optimizer.param_groups}))
        states.append((rates, [value.clone() for value in model.state_dict().values()]))
        kept = optimizer.state_dict()
        optimizer.load_state_dict(kept)
    assert states[0][0] == states[1][0]
    assert all(torch.equal(one, other) for one, other in zip(states[0][1], states[1][1], strict=True))
    assert split_groups(optimizer, model) == places  # a second split finds nothing to do
