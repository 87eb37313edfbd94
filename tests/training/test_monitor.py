"""The monitor sees what happens in a training, and changes nothing of it, down to the last bit."""

from __future__ import annotations

import copy
import gc
import io
import math
import pickle
import random
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import critaudit
from critaudit.errors import UsageError
from critaudit.theory import gaussian
from critaudit.training import Monitor, read_log
from tests.training.networks import BATCH, SAMPLES, convolutional, data, follow, mlp, train


def state(model: nn.Module, optimizer: torch.optim.Optimizer) -> bytes:
    """Everything that a training leaves: weights, buffers, gradients, optimizer state, and all random states."""
    plain = [value for name, value in sorted(model.state_dict().items())]
    plain += [one.grad for one in model.parameters() if one.grad is not None]
    for held in optimizer.state.values():
        plain += [value for _, value in sorted(held.items()) if isinstance(value, Tensor)]
    numbers = b"".join(value.detach().contiguous().numpy().tobytes() for value in plain)
    states = [np.random.get_state(), random.getstate()]  # noqa: NPY002
    return numbers + torch.get_rng_state().numpy().tobytes() + pickle.dumps(states)


def hooks() -> int:
    """How many global hooks PyTorch has; monitors that were forgotten without being closed leave none."""
    gc.collect()
    return len(torch.nn.modules.module._global_forward_hooks)


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01, amsgrad=True),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
    "RMSprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.01, centered=True),
    "Adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=0.1),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("network", [convolutional, mlp])
def test_a_followed_training_is_the_same_to_the_last_bit(kind: str, network: Callable[[], nn.Module]):
    states, losses = [], []
    for watched in (False, True):
        np.random.seed(5)  # noqa: NPY002
        random.seed(5)
        model = network()
        optimizer = OPTIMIZERS[kind]([one for one in model.parameters() if one.requires_grad])
        monitor = None
        if watched:
            every = {"weights": 1, "tails": 2, "spectra": 3}
            monitor = follow(model, optimizer, spectra=True, every=every)
        losses.append(train(model, optimizer, 12))
        if monitor is not None:
            assert monitor.problems == ()
            monitor.close()
        states.append(state(model, optimizer))
    assert losses[0] == losses[1]
    assert states[0] == states[1]


def test_what_is_measured_agrees_with_an_audit_and_with_hooks_of_ones_own():
    model = mlp(scale=1.2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen: dict[str, float] = {}
    monitor = follow(model, optimizer, spectra=True, every={"weights": 1, "tails": 1, "spectra": 1})
    train(model, optimizer, 4)

    def keep(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            seen[f"signal {name}"] = float(output.detach().square().mean().sqrt())
            output.register_hook(lambda gradient: seen.__setitem__(f"gradient {name}", float(gradient.norm())))

        return hook

    for name, layer in model.named_children():
        layer.register_forward_hook(keep(name))
    train(model, optimizer, 1)
    monitor.close()
    record = monitor.records[-1]
    report = critaudit.audit(model, only=["entries", "edge", "spectrum"])
    for layer, now, place in zip(report.layer_records, record.layers, "0246", strict=True):
        held = layer.measurements
        assert now.j0 == pytest.approx(held["edge.j0"].value, abs=1e-6)
        assert now.j == pytest.approx(held["edge.j"].value, rel=1e-6)
        assert now.norm == pytest.approx(held["spectrum.norm"].value, rel=1e-5)
        assert now.stable_rank == pytest.approx(held["spectrum.stable_rank"].value, rel=1e-4)
        assert now.signal == pytest.approx(seen[f"signal {place}"], rel=1e-5)
        assert now.gradient == pytest.approx(seen[f"gradient {place}"], rel=1e-5)
        assert now.alpha is not None
        assert now.alpha[0] == pytest.approx(held["entries.alpha"].value, abs=1e-9)
        assert now.g == pytest.approx(held["entries.g_forward"].value, rel=1e-9)
        if place != "6":
            assert now.chi1 == pytest.approx(gaussian.chi1(now.j, now.sigma_b, "tanh"), rel=2e-3)
    assert record.layers[3].chi1 is None
    slope, _, depth = record.growth["signal"]
    strengths = [math.log(seen[f"signal {place}"]) for place in "0246"]
    assert (slope, depth) == (pytest.approx(np.polyfit(range(4), strengths, 1)[0], abs=1e-6), 4)


def test_adams_scaling_of_gradients_is_that_of_its_own_moments():
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    monitor = follow(model, optimizer)
    train(model, optimizer, 5)
    from critaudit.advice.decaying.adaptivity import adaptivity
    from critaudit.advice.optimizers import setting_of

    for one, now in zip(monitor.network.matrices, monitor.records[-1].layers, strict=True):
        held = optimizer.state[one.weight]
        expected = adaptivity(
            one.weight.detach().numpy(),
            {"exp_avg_sq": held["exp_avg_sq"].numpy()},
            setting_of(optimizer.param_groups[0], name="AdamW"),
            step=5,
        )
        assert now.adaptivity == pytest.approx(expected, rel=1e-5)
    assert monitor.records[0].layers[0].adaptivity is None  # before the first step there are no moments
    assert monitor.course().layers[0].adaptivity is not None


def test_only_recorded_steps_are_watched_and_nothing_stays_on_the_network():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = hooks()
    monitor = follow(model, optimizer, every=5)
    watched: list[bool] = []

    def look(_: Tensor) -> None:
        pickle.dumps(model)  # saved between any two steps: no hook of ours is in it
        copied = copy.deepcopy(model)
        assert not any(module._forward_hooks for module in [*model.modules(), *copied.modules()])
        copied(data()[0])  # a copy that runs while the next step is watched is not the network
        watched.append(len(torch.nn.modules.module._global_forward_hooks) > before)

    train(model, optimizer, 12, after=look)
    assert [record.step for record in monitor.records] == [0, 1, 5, 10]
    assert [record.growth is not None for record in monitor.records] == [False, True, True, True]
    monitor.close()
    assert hooks() == before
    assert [record.step for record in monitor.records] == [0, 1, 5, 10, 12]
    train(model, optimizer, 3)
    assert len(monitor.records) == 5
    assert watched == [False, False, False, True, False, False, False, False, True, False, False, False]


def test_evaluation_between_the_steps_is_not_taken_for_training():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    monitor = follow(model, optimizer)

    def evaluate(_: Tensor) -> None:
        with torch.no_grad():
            model(1e6 * data()[0])

    train(model, optimizer, 3, after=evaluate)
    assert all(now.signal is not None and now.signal < 10 for now in monitor.records[-1].layers)


def test_gradient_accumulation_gives_the_mean_over_the_passes():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = follow(model, optimizer)
    inputs, labels = data()
    first = model[0]
    parts = [first(inputs[start : start + 64]).detach().square().mean().item() for start in (0, 64)]
    optimizer.zero_grad()
    for start in (0, 64):
        nn.functional.cross_entropy(model(inputs[start : start + 64]), labels[start : start + 64]).backward()
    optimizer.step()
    assert monitor.records[-1].layers[0].signal == pytest.approx(math.sqrt(sum(parts) / 2), rel=1e-5)
    assert [record.step for record in monitor.records] == [0, 1]


def test_a_step_that_a_gradient_scaler_skips_is_none_and_its_overflow_no_alarm():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=2.0**-110)  # overflows float32 at first
    monitor = follow(model, optimizer, scaler=scaler)
    inputs, labels = data()
    calls = 0
    while monitor.steps < 3:
        optimizer.zero_grad()
        scaler.scale(1e3 * nn.functional.cross_entropy(model(inputs), labels)).backward()
        scaler.step(optimizer)
        scaler.update()
        calls += 1
    assert calls == 4
    assert [record.step for record in monitor.records] == [0, 1, 2, 3]
    assert monitor.warnings == ()
    plain = mlp()
    other = torch.optim.SGD(plain.parameters(), lr=1e-5)
    reference = follow(plain, other)
    for _ in range(3):
        other.zero_grad()
        (1e3 * nn.functional.cross_entropy(plain(inputs), labels)).backward()
        other.step()
    for now, expected in zip(monitor.records[-1].layers, reference.records[-1].layers, strict=True):
        assert now.gradient == pytest.approx(expected.gradient, rel=1e-4)  # unscaled
        assert now.signal == pytest.approx(expected.signal, rel=1e-5)


@pytest.mark.parametrize("wrapper", ["DataParallel", "DistributedDataParallel", "compile", "compile in place"])
def test_wrapped_networks_are_followed_as_themselves(wrapper: str, tmp_path: Any):
    records = {}
    for wrapped in (False, True):
        model: nn.Module = mlp()
        outer: Any = model
        if wrapped and wrapper == "DataParallel":
            outer = nn.DataParallel(model)
        if wrapped and wrapper == "DistributedDataParallel":
            torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/join", rank=0, world_size=1)
            outer = nn.parallel.DistributedDataParallel(model)
        if wrapped and wrapper == "compile":
            outer = torch.compile(model, backend="eager")
        if wrapped and wrapper == "compile in place":
            model.compile(backend="eager")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        try:
            monitor = follow(outer, optimizer, log=tmp_path / f"{wrapped}.jsonl")
            train(outer, optimizer, 3)
            monitor.close()
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
        assert monitor.problems == ()
        records[wrapped] = monitor.records
    names = [layer.name for layer in monitor.journal.header.layers]
    assert names == ["0.weight", "2.weight", "4.weight", "6.weight"]
    for plain, found in zip(records[False], records[True], strict=True):
        for one, other in zip(plain.layers, found.layers, strict=True):
            assert one.j_squared == other.j_squared
            if wrapper.startswith("compile"):  # hooks inside a compiled program would change it
                assert other.signal is None
            else:
                assert one.signal == other.signal
    if wrapper.startswith("compile"):
        layer = monitor.report().layer_records[0].measurements["signal.strength"]
        assert layer.status == "not_applicable"
        assert "compiled" in (layer.reason or "")


def test_only_rank_zero_measures_and_writes(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = follow(model, optimizer, log=tmp_path / "run.jsonl")
    train(model, optimizer, 3, after=lambda loss: monitor.step(loss=loss))
    assert not monitor.is_active
    assert monitor.steps == 3
    assert not (tmp_path / "run.jsonl").exists()
    with pytest.raises(UsageError, match="rank 1"):
        monitor.report()
    monitor.close()


def test_a_forgotten_monitor_leaves_nothing_behind():
    before = hooks()

    def forget() -> weakref.ref[nn.Module]:
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        follow(model, optimizer)
        train(model, optimizer, 1)
        assert hooks() == before + 1
        return weakref.ref(model)

    forgotten = forget()
    assert hooks() == before
    assert forgotten() is None


def test_groups_frozen_and_shared_weights_and_late_ones():
    model = convolutional()
    trained = {"conv1", "conv2", "shared"}
    groups = [
        {"params": [one for name, one in model.named_parameters() if name.split(".")[0] in trained], "lr": 0.1},
        {"params": model.out.parameters(), "lr": 0.01, "weight_decay": 0.5},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    monitor = follow(model, optimizer)
    train(model, optimizer, 2)
    model.frozen.requires_grad_(True)
    optimizer.add_param_group({"params": list(model.frozen.parameters()), "lr": 0.2})
    train(model, optimizer, 2)
    monitor.close()
    layers = {layer.name: place for place, layer in enumerate(monitor.journal.header.layers)}
    assert set(layers) == {f"{name}.weight" for name in ("conv1", "conv2", "frozen", "shared", "out")}
    first, last = monitor.records[1], monitor.records[-1]
    settings = {name: first.layers[place].setting for name, place in layers.items()}
    assert settings["frozen.weight"] is None
    assert first.settings[settings["out.weight"]].weight_decay == 0.5
    frozen = [record.layers[layers["frozen.weight"]].j_squared for record in monitor.records]
    assert frozen[0] == frozen[2] != frozen[-1]
    assert last.settings[last.layers[layers["frozen.weight"]].setting].lr == 0.2
    assert {layer.name for layer in monitor.course().layers} == set(layers)
    assert [layer.normalised for layer in monitor.journal.header.layers] == [True, False, False, False, False]


def test_the_loss_may_be_told_before_or_after_the_step():
    for before in (True, False):
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        monitor = follow(model, optimizer, every=2)
        inputs, labels = data()
        told = []
        for _ in range(6):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            told.append(loss.item())
            if before:
                monitor.step(loss=loss)
            optimizer.step()
            if not before:
                monitor.step(loss=loss)
        assert [record.loss for record in monitor.records] == [None, told[0], told[1], told[3], told[5]]


def test_warnings_are_kept_logged_and_called_back():
    heard: list[str] = []
    model = mlp(scale=0.7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = follow(model, optimizer, callbacks=[lambda notice: heard.append(notice.rule)])
    train(model, optimizer, 1)
    model[2].weight.data *= 2.0
    train(model, optimizer, 1)
    model[0].weight.data[0, 0] = math.nan
    train(model, optimizer, 2, after=lambda loss: monitor.step(loss=loss))
    rules = [notice.rule for notice in monitor.warnings]
    assert heard == rules
    assert rules[0] == "training.edge"
    assert monitor.warnings[0].layer == "2.weight"
    assert rules.count("training.non_finite") == 4  # weights, signal, gradient, loss; each once


def test_a_failing_sink_is_a_warning_and_the_training_goes_on():
    class Broken:
        def scalars(self, step: int, values: Any) -> None:
            raise ConnectionError("the tracker is gone")

        def close(self) -> None:
            raise ConnectionError("the tracker is gone")

    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = follow(model, optimizer, sinks=[Broken()])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        losses = train(model, optimizer, 6)
    assert len(losses) == 6
    assert "the tracker is gone" in str(said[0].message)
    assert monitor.problems
    assert monitor.is_closed  # given up after three failures


def test_what_cannot_be_followed_is_said_in_one_line():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for wrong, words in (
        ({"optimizer": "SGD"}, "torch.optim.Optimizer is expected"),
        ({"model": nn.BatchNorm1d(4)}, "no weight matrix"),
        ({"activation": "swoosh"}, "not known"),
        ({"every": 0}, "from 1 on"),
        ({"every": {"colours": 3}}, "no kind of measurement"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 9}, "more than dataset_size, which is 8"),
        ({"optimizer": torch.optim.SGD(mlp().parameters(), lr=0.1)}, r"none of its 8 parameters .* \(a Sequential\)"),
    ):
        options = {"model": model, "optimizer": optimizer, "dataset_size": 8, "batch_size": 4, "quiet": True} | wrong
        with pytest.raises(UsageError, match=words):
            Monitor(options.pop("model"), options.pop("optimizer"), **options)
    monitor = follow(model, optimizer)
    with pytest.raises(UsageError, match="nothing was recorded"):
        monitor.report()
    monitor.close()


def test_an_optimizer_is_refused_only_where_it_certainly_trains_another_network():
    other, model = mlp(), mlp()
    shared = nn.Sequential(model, other)
    flat = nn.Parameter(torch.cat([one.detach().reshape(-1) for one in model.parameters()]))  # as of DeepSpeed
    copies = [nn.Parameter(one.detach().double()) for one in model.parameters()]  # as of apex, there in float32
    accepted = (
        [*other.parameters(), model[0].bias],
        shared.parameters(),
        torch.compile(model, backend="eager").parameters(),
        nn.DataParallel(model).parameters(),
        [flat],
        copies,
    )
    for parameters in accepted:
        follow(model, torch.optim.SGD(parameters, lr=0.1)).close()
    parametrised = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)), nn.Tanh())
    follow(parametrised, torch.optim.SGD([parametrised[0].parametrizations.weight.original1], lr=0.1)).close()
    with pytest.raises(UsageError, match="none of its"):
        follow(parametrised, torch.optim.SGD(model.parameters(), lr=0.1))


def test_the_default_interval_keeps_the_overhead_small():
    model = mlp(depth=2, width=256)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    inputs = torch.randn(SAMPLES, 256)
    monitor = Monitor(model, optimizer, dataset_size=SAMPLES, batch_size=BATCH, quiet=True)
    train(model, optimizer, 1500, inputs=inputs)
    steps = [record.step for record in monitor.records]
    assert steps[:4] == [0, 1, 2, 4]
    assert monitor.overhead.share is not None
    assert monitor.overhead.share < 0.3  # of a second or two on a busy machine; the benchmark measures it
    assert monitor.overhead.interval is not None
    assert monitor.overhead.records == len(steps)
    monitor.close()


def test_the_context_closes_whatever_happens(tmp_path: Any):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = follow(model, optimizer, log=tmp_path / "run.jsonl")

    def broken() -> None:
        with monitor:
            train(model, optimizer, 2)
            raise KeyError("loader")

    with pytest.raises(KeyError):
        broken()
    assert monitor.is_closed
    assert read_log(tmp_path / "run.jsonl").ended == "ended by KeyError"


def test_a_whole_network_saved_while_it_is_watched_loads_without_us():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = follow(model, optimizer)
    train(model, optimizer, 1)
    kept = io.BytesIO()
    torch.save([model, optimizer.state_dict()], kept)
    assert b"critaudit" not in kept.getvalue()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monitor.close()
