"""`critaudit.advice.weight_decay` as its users meet it: sources, the overall value, rows, code and sentences."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.advice import WeightDecayAdvice, weight_decay
from critaudit.advice.course import OptimizerSetting
from critaudit.demo import CHECKPOINTS
from critaudit.errors import CritauditError, UsageError
from tests.advice.courses import SGD, course, layer, recorded, recorded_course

STEPS = np.arange(0.0, 2001.0, 100.0)


def two_layers(second: float, setting: OptimizerSetting = SGD) -> WeightDecayAdvice:
    """Two layers, the second of which grows `second` times as fast."""
    first = layer(STEPS, 0.7 + 1e-4 * STEPS, setting)
    other = layer(STEPS, 0.7 + second * 1e-4 * STEPS, setting, name="second.weight")
    output = layer(STEPS, 0.7 + 1e-4 * STEPS, setting, name="output.weight", activation="identity")
    return weight_decay(course(first, other, output))


def test_the_demo_gives_a_decay_for_its_first_layer() -> None:
    advice = weight_decay(list(CHECKPOINTS))
    by_name = {one.layer: one for one in advice.layers}
    assert by_name["0.weight"].status == "measured"
    assert by_name["2.weight"].status == "undetermined"  # its slope still falls from checkpoint to checkpoint
    assert by_name["4.weight"].status == "not_applicable"
    low, high = advice.weight_decay.interval or (0.0, 0.0)
    # The growth of the last six epochs, 0.01115 per epoch of 1875 steps.
    assert low < 0.01115 / 1875 / 0.02 < high
    assert advice.weight_decay.number == pytest.approx(0.01115 / 1875 / 0.02, rel=0.15)
    assert by_name["0.weight"].growth_per_epoch.number == pytest.approx(0.01115, rel=0.15)
    assert advice.lambda_.number == pytest.approx((advice.weight_decay.number or 0) / 2)


def test_a_folder_and_its_paths_give_the_same(tmp_path: Path) -> None:
    for path in CHECKPOINTS:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    folder, paths = weight_decay(tmp_path), weight_decay([str(path) for path in CHECKPOINTS])
    assert folder.layers == paths.layers


def test_one_checkpoint_is_refused_unless_its_beginning_is_told() -> None:
    alone = weight_decay(CHECKPOINTS[-1])
    assert alone.weight_decay.status == "undetermined"
    assert "initial_j_squared" in (alone.weight_decay.reason or "")
    assert alone.snippet.startswith("# no weight decay is advised")
    assert alone.advice_items() == ()
    told = weight_decay(CHECKPOINTS[-1], initial_j_squared={"0.weight": 0.25})
    assert [one.status for one in told.layers] == ["measured", "undetermined", "not_applicable"]
    with pytest.raises(UsageError, match="no layer is called 'x'"):
        weight_decay(CHECKPOINTS[-1], initial_j_squared={"x": 0.25})
    with pytest.raises(UsageError, match="from 0 on"):
        weight_decay(CHECKPOINTS[-1], initial_j_squared=-1.0)


def test_layers_alike_share_one_value_that_covers_both() -> None:
    advice = two_layers(1.02)
    assert not advice.differ
    assert advice.weight_decay.n == 2
    low, high = advice.weight_decay.interval or (0.0, 0.0)
    values = [one.weight_decay.number or 0.0 for one in advice.determined]
    assert low <= min(values) < max(values) <= high
    assert min(values) < (advice.weight_decay.number or 0.0) < max(values)
    (row,) = advice.advice_items()
    assert (row.kind, row.layer, row.setting) == ("weight_decay", None, "weight_decay of SGD")
    assert row.value == advice.weight_decay.number
    assert "2 layers" in row.expected_effect
    assert "edge of chaos" in row.expected_effect


def test_layers_that_differ_get_rows_and_groups_of_their_own() -> None:
    advice = two_layers(4.0)
    assert advice.differ
    rows = advice.advice_items()
    assert [row.layer for row in rows] == [None, "hidden.weight", "second.weight"]
    assert rows[2].value == pytest.approx(4 * float(rows[1].value), rel=1e-3)
    assert "parameter groups" in advice.describe()


@pytest.mark.parametrize("second", [1.02, 4.0])
def test_the_snippet_runs_and_sets_what_is_advised(second: float) -> None:
    setting = replace(SGD, momentum=0.9, nesterov=True)
    advice = two_layers(second, setting)
    model = nn.ModuleDict({name: nn.Linear(4, 4) for name in ("hidden", "second", "output")})
    names: dict[str, Any] = {"torch": torch, "model": model}
    exec(advice.snippet, names)
    optimizer = names["optimizer"]
    assert type(optimizer) is torch.optim.SGD
    held = {id(one): group for group in optimizer.param_groups for one in group["params"]}
    for one in advice.determined:
        group = held[id(model.get_parameter(one.layer))]
        expected = one.weight_decay.number if advice.differ else advice.weight_decay.number
        assert group["weight_decay"] == pytest.approx(expected, rel=0.01)
        assert (group["lr"], group["momentum"], group["nesterov"]) == (0.01, 0.9, True)
    if advice.differ:
        assert held[id(model.get_parameter("output.weight"))]["weight_decay"] == 0.0


def test_sentences_are_whole_and_measurements_have_their_ids() -> None:
    advice = two_layers(1.02)
    lines = advice.describe().splitlines()
    assert all(line.endswith(".") and not line.endswith("..") for line in lines)
    assert any("hidden.weight: J² = 0.900" in line for line in lines)
    assert any("Assumed" in line for line in lines)
    found = advice.measurements()
    assert set(found) == {"hidden.weight", "second.weight", "output.weight"}
    assert all(identifier.startswith("decay.") for identifier in found["hidden.weight"])
    for one in (*found["hidden.weight"].values(), *found["output.weight"].values()):
        assert (one.value is not None) == (one.status == "measured")
        assert one.status == "measured" or one.reason


def test_a_row_survives_a_report() -> None:
    from critaudit.report import Report
    from critaudit.report.writing import to_dict

    (row,) = two_layers(1.02).advice_items()
    report = Report.from_dict(_report())
    changed = replace(report, advice=(row,))
    assert Report.from_dict(to_dict(changed)).advice == (row,)


def _report() -> dict[str, Any]:
    from critaudit import audit
    from critaudit.report.writing import to_dict

    return to_dict(audit(CHECKPOINTS[0], only=["edge"]))


def test_equal_settings_are_told_with_a_batch_size() -> None:
    advice = two_layers(1.02)
    assert advice.equal_settings is not None
    assert advice.equal_settings.scale == pytest.approx(0.01 / 32)
    unknown = weight_decay(replace(course(layer(STEPS, 0.3 + 1e-4 * STEPS)), batch_size=None))
    assert unknown.equal_settings is None


def test_anything_with_a_course_is_a_source_and_sizes_may_be_given() -> None:
    made = replace(course(layer(STEPS, 0.3 + 1e-4 * STEPS)), dataset_size=None, batch_size=None)

    class Monitor:
        def course(self) -> object:
            return made

    advice = weight_decay(Monitor(), dataset_size=3200, batch_size=32)
    assert advice.layers[0].growth_per_epoch.number == pytest.approx(0.01)


def test_a_named_activation_is_not_meant_for_the_output() -> None:
    hidden = layer(STEPS, 0.3 + 1e-4 * STEPS, activation=None)
    advice = weight_decay(course(hidden, replace(hidden, name="head.weight")), activation="tanh")
    assert [one.status for one in advice.layers] == ["measured", "undetermined"]
    assert "output" in (advice.layers[1].reason or "")
    assert weight_decay(course(hidden), activation="tanh").layers[0].status == "measured"


def test_a_recorded_run_is_described_with_d_and_lambda() -> None:
    run = next(run for run in recorded() if run["samples"] == 60_000)
    said = weight_decay(recorded_course(run)).describe()
    assert "λ = 4." in said
    assert "D = 11." in said
    assert "epochs to the edge" in said


def live(make: Any, *, steps: int = 40) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(10, 10), nn.Tanh(), nn.Linear(10, 3))
    optimizer = make(network.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.randn(8, 10)).square().mean().backward()
        optimizer.step()
    return network, optimizer


def test_a_live_network_at_balance_follows_the_proportional_rule() -> None:
    network, optimizer = live(lambda p: torch.optim.AdamW(p, 0.01, weight_decay=10.0))
    before = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    advice = weight_decay(network, optimizer=optimizer)
    torch.testing.assert_close((network.state_dict(), optimizer.state_dict()), before, rtol=0, atol=0)
    first = advice.layers[0]
    assert first.target.number is not None
    assert first.target.number > 1.0  # the biases
    assert first.weight_decay.number == pytest.approx(10.0 * first.j_squared / first.target.number, rel=0.01)
    young, younger = live(lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1))
    assert weight_decay(young, optimizer=younger).weight_decay.status == "undetermined"


def test_an_optimizer_without_a_formula_is_measured_on_the_live_network() -> None:
    network, optimizer = live(lambda p: torch.optim.Adamax(p, 0.01))
    advice = weight_decay(network, optimizer=optimizer, initial_j_squared=1e-3, steps=40)
    assert advice.layers[0].weight_decay.status == "measured"
    assert "measured on copies" in (advice.layers[0].method or "")
    optimizer.zero_grad()
    blind = weight_decay(network, optimizer=optimizer, initial_j_squared=1e-3, steps=40)
    assert blind.layers[0].status == "undetermined"
    assert any("no gradients" in note for note in blind.notes)


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        (3, {}, "an int was given"),
        ([], {}, "a list was given"),
        ("/nowhere/model.pt", {}, "no such file"),
        (nn.Linear(2, 2), {}, "optimizer="),
        (list(CHECKPOINTS), {"dataset_size": 0}, "dataset_size = 0"),
        (list(CHECKPOINTS), {"activation": "wiggle"}, "wiggle"),
        (list(CHECKPOINTS), {"optimizer": 3}, "torch.optim.Optimizer"),
    ],
)
def test_what_is_not_understood_is_one_line(source: object, options: dict[str, Any], words: str) -> None:
    with pytest.raises(CritauditError, match=words) as raised:
        weight_decay(source, **options)
    assert "\n" not in str(raised.value)


def test_an_optimizer_of_other_weights_is_refused() -> None:
    network, _ = live(lambda p: torch.optim.SGD(p, 0.1), steps=1)
    stranger = torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1)
    with pytest.raises(UsageError, match="none of the network's"):
        weight_decay(network, optimizer=stranger)


def test_importing_advice_loads_neither_torch_nor_scipy() -> None:
    code = "import sys, critaudit.advice; print([m for m in ('torch', 'scipy', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_monitor_and_its_log_say_the_same(tmp_path: Path) -> None:
    from critaudit import Monitor

    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4))
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    log = tmp_path / "log.jsonl"
    with Monitor(network, optimizer, dataset_size=320, batch_size=8, log=log, every=10, quiet=True) as monitor:
        for _ in range(120):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(torch.randn(8, 16)), torch.randint(0, 4, (8,))).backward()
            optimizer.step()
    live, read = weight_decay(monitor), weight_decay(log)
    assert live.layers == read.layers
    assert (read.dataset_size, read.batch_size) == (320, 8)
    assert read.layers[0].growth.status in ("measured", "undetermined")
    assert read.layers[0].j_squared == pytest.approx(
        16 * float(network[0].weight.detach().double().var(correction=0)), rel=1e-6
    )
