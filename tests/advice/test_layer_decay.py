"""One layer's decay: balance at its edge for every optimizer, from records, one moment, or a flat J²."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.advice.course import OptimizerSetting
from critaudit.advice.decaying.layer_decay import LayerDecay, layer_decay
from critaudit.advice.decaying.layer_numbers import DRIFT
from tests.advice.courses import SGD, course, layer, noise, recorded, recorded_course, solution

PROPERTY = settings(deadline=None, max_examples=15, derandomize=True)
STEPS = np.arange(0.0, 2001.0, 100.0)
ADAM = OptimizerSetting("Adam", 1e-3, betas=(0.9, 0.999))
ADAMW = OptimizerSetting("AdamW", 1e-3, betas=(0.9, 0.999), decoupled=True)


def grown(
    setting: OptimizerSetting, growth: float, *, unit: float, start: float = 0.3, **changes: object
) -> LayerDecay:
    """A layer whose J² grows by `growth` per step beside a decay that takes `unit`·weight_decay per step."""
    values = solution(STEPS, growth, unit * setting.weight_decay, start)
    made = layer(STEPS, values, setting, **changes)
    return layer_decay(made, course(made))


def value(found: LayerDecay) -> float:
    assert found.weight_decay.number is not None, found.reason
    return found.weight_decay.number


@pytest.mark.parametrize("decay", [0.0, 1e-3, 1e-2])
@pytest.mark.parametrize(
    ("setting", "unit", "changes"),
    [
        (SGD, 0.02, {}),
        (replace(SGD, momentum=0.9, nesterov=True), 0.2, {}),
        (replace(SGD, momentum=0.9, dampening=0.5), 0.1, {}),
        (ADAMW, 2e-3, {}),
        (ADAM, 0.06, {"adaptivity": (30.0,) * len(STEPS)}),
        (OptimizerSetting("RMSprop", 1e-3, momentum=0.5), 0.12, {"adaptivity": (30.0,) * len(STEPS)}),
        (OptimizerSetting("Adadelta", 1.0), 0.05, {"measured_decay": 0.05}),
    ],
)
def test_the_decay_balances_growth_at_the_edge(
    setting: OptimizerSetting, unit: float, changes: dict[str, object], decay: float
) -> None:
    growth = 2e-4
    found = grown(replace(setting, weight_decay=decay), growth, unit=unit, **changes)
    assert found.growth.number == pytest.approx(growth, rel=1e-5)
    assert value(found) == pytest.approx(growth / unit, rel=1e-5)
    if setting.name == "SGD":
        assert found.lambda_.number == pytest.approx(growth / unit / 2, rel=1e-5)
        # λ = D/(4·S·J*²), Zhang21.
        assert found.lambda_.number == pytest.approx((found.constant.number or 0) / (4 * 3200), rel=1e-9)
    else:
        assert found.constant.status == "not_applicable"
    assert (found.lambda_.status == "not_applicable") is setting.decoupled


def test_targets_scale_the_decay() -> None:
    tanh = grown(SGD, 2e-4, unit=0.02)
    relu = grown(SGD, 2e-4, unit=0.02, activation="relu")
    assert value(relu) == pytest.approx(value(tanh) / 2)


def test_a_schedule_changes_the_pace_and_not_the_decay() -> None:
    """J² of SGD under a cosine schedule: growth and decay both go with the learning rate."""
    steps = np.arange(0.0, 3000.0, 20.0)
    rates = 0.01 * (0.55 + 0.45 * np.cos(np.pi * steps / 3000))
    times = np.concatenate([[0.0], np.cumsum(0.5 * (rates[1:] + rates[:-1]) * np.diff(steps))])
    for decay in (0.0, 5e-3):
        values = solution(times, 0.02, 2 * decay, 0.3)
        made = layer(steps, values, [replace(SGD, lr=float(lr), weight_decay=decay) for lr in rates])
        found = layer_decay(made, course(made))
        assert value(found) == pytest.approx(0.02 / 2, rel=1e-3)
        assert found.growth.number == pytest.approx(0.02 * rates[-1], rel=1e-3)


def test_a_decay_that_was_changed_on_the_way_is_followed() -> None:
    decays = np.where(STEPS < 1000, 0.0, 0.02)
    values = [0.3]
    for place in range(1, len(STEPS)):
        mean = 0.5 * (decays[place] + decays[place - 1])
        values.append(float(solution(np.array([100.0]), 2e-4, 0.02 * mean, values[-1])[0]))
    made = layer(STEPS, values, [replace(SGD, weight_decay=float(decay)) for decay in decays])
    assert value(layer_decay(made, course(made))) == pytest.approx(0.01, rel=1e-4)


def test_the_interval_allows_for_growth_that_changes_on_the_way() -> None:
    found = grown(SGD, 2e-4, unit=0.02, start=0.1)
    low, high = found.weight_decay.interval or (0.0, 0.0)
    at = 0.1 + 2e-4 * 2000
    assert high / value(found) == pytest.approx((1 / at) ** DRIFT, rel=1e-3)
    assert value(found) / low == pytest.approx((1 / at) ** DRIFT, rel=1e-3)


def test_epochs_to_the_edge_are_zhang21s_without_decay_and_the_equations_with_it() -> None:
    free = grown(SGD, 2e-4, unit=0.02)
    assert free.edge_epochs.number == pytest.approx((1 - free.j_squared) / (2e-4 * 100), rel=1e-5)
    assert free.growth_per_epoch.number == pytest.approx(0.02, rel=1e-5)
    slow = grown(replace(SGD, weight_decay=5e-3), 2e-4, unit=0.02)
    left = slow.edge_epochs.number
    assert left is not None
    assert solution(np.array([left]), 2e-2, 1e-2, slow.j_squared)[0] == pytest.approx(1.0)
    held = grown(replace(SGD, weight_decay=2e-2), 2e-4, unit=0.02)
    assert held.edge_epochs.status == "not_applicable"
    assert "0.500" in (held.edge_epochs.reason or "")
    beyond = grown(SGD, 2e-4, unit=0.02, start=0.75)
    assert beyond.edge_epochs.status == "not_applicable"


def test_beyond_the_edge_the_records_up_to_it_count() -> None:
    rise = 0.3 + np.where(STEPS < 1200, 8e-4 * STEPS, 8e-4 * 1200 + 1e-4 * (STEPS - 1200))
    made = layer(STEPS, rise)
    found = layer_decay(made, course(made))
    assert value(found) == pytest.approx(8e-4 / 0.02, rel=0.02)
    assert "passed the edge at step 1200" in (found.reason or "")


def test_beyond_the_edge_from_the_start_only_decay_says_anything() -> None:
    free = grown(SGD, 2e-4, unit=0.02, start=2.0)
    assert free.status == "undetermined"
    assert "beyond the edge" in (free.reason or "")
    decayed = grown(replace(SGD, weight_decay=4e-3), 2e-4, unit=0.02, start=2.0)
    assert value(decayed) == pytest.approx(0.01, rel=1e-4)
    assert "beyond the edge" in (decayed.reason or "")


def test_balance_gives_the_proportional_rule() -> None:
    """A J² that its decay holds: wd* = wd·J²/J*², also where the rate of decay is not known."""
    rng = np.random.default_rng(3)
    steps = np.arange(0.0, 20_000.0, 200.0)
    values = 0.4 + noise(rng, "correlated", len(steps), 2e-3)
    for setting in (replace(SGD, weight_decay=0.01), OptimizerSetting("Adadelta", 1.0, weight_decay=0.01)):
        made = layer(steps, values, setting)
        found = layer_decay(made, course(made))
        assert value(found) == pytest.approx(0.004, rel=0.02)
        low, high = found.weight_decay.interval or (0.0, 0.0)
        assert low < 0.004 < high
    assert "proportional" in (found.method or "")
    moving = layer(steps, values + 1e-5 * steps, OptimizerSetting("Adadelta", 1.0, weight_decay=0.01))
    assert layer_decay(moving, course(moving)).status == "undetermined"


def test_one_moment_tells_a_decay_only_at_balance_or_with_its_beginning() -> None:
    held = replace(SGD, weight_decay=0.05)
    balanced = layer([5000.0], [0.4], held)
    found = layer_decay(balanced, course(balanced))
    assert value(found) == pytest.approx(0.02, rel=0.02)
    early = layer([500.0], [0.4], held)
    assert layer_decay(early, course(early)).status == "undetermined"
    assert "initial_j_squared" in (layer_decay(early, course(early)).reason or "")
    expected = float(solution(np.array([500.0]), 5e-4, 1e-3, 0.25)[0])
    told = layer([500.0], [expected], held)
    assert value(layer_decay(told, course(told), initial=0.25)) == pytest.approx(5e-4 / 0.02, rel=1e-6)
    free = layer([500.0], [0.35])
    assert layer_decay(free, course(free)).status == "undetermined"
    assert value(layer_decay(free, course(free), initial=0.25)) == pytest.approx(0.1 / 500 / 0.02)
    short = layer([200.0], [0.35])
    assert "transient" in (layer_decay(short, course(short), initial=0.25).reason or "")
    shrunk = layer([500.0], [0.2])
    assert "fell" in (layer_decay(shrunk, course(shrunk), initial=0.25).reason or "")
    unknown = layer([0.0], [0.4], held)
    assert "steps=" in (layer_decay(unknown, course(unknown)).reason or "")


def test_without_sizes_a_decay_is_told_but_neither_epochs_nor_d() -> None:
    made = layer(STEPS, 0.3 + 2e-4 * STEPS)
    found = layer_decay(made, replace(course(made), dataset_size=None, batch_size=None))
    assert value(found) == pytest.approx(0.01)
    for one in (found.constant, found.growth_per_epoch, found.edge_epochs):
        assert one.status == "undetermined"
        assert "dataset_size" in (one.reason or "")


def test_epochs_of_unknown_length_tell_growth_per_epoch_but_no_decay() -> None:
    made = layer(STEPS / 100, 0.3 + 2e-4 * STEPS)
    found = layer_decay(made, replace(course(made), dataset_size=None, batch_size=32, unit="epoch"))
    assert found.growth_per_epoch.number == pytest.approx(0.02, rel=1e-6)
    assert found.edge_epochs.number == pytest.approx((1 - found.j_squared) / 0.02, rel=1e-6)
    assert found.constant.number == pytest.approx(0.02 * 32 / 0.01, rel=1e-6)
    assert found.status == "undetermined"
    assert "batch_size=" in (found.reason or "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"settings": ()}, "optimizer="),
        ({"settings": (SGD,)}, "1 settings"),
        ({"settings": (replace(SGD, lr=0.0),) * len(STEPS)}, "learning rate is 0"),
        ({"settings": (replace(ADAM, name="Adam or AdamW"),) * len(STEPS)}, "AdamW"),
        ({"settings": (replace(ADAM, weight_decay=0.01),) * len(STEPS)}, "squared gradients"),
        ({"settings": (OptimizerSetting("LBFGS", 1.0),) * len(STEPS)}, "has no weight decay"),
        ({"activation": None}, "activation="),
        ({"j_squared": tuple(0.3 + 0.0 * STEPS)}, "does not change"),
        ({"j_squared": (math.nan,) * len(STEPS)}, "finite"),
    ],
)
def test_what_is_missing_is_said(changes: dict[str, object], words: str) -> None:
    made = replace(layer(STEPS, 0.3 + 2e-4 * STEPS), **changes)  # type: ignore[arg-type]
    found = layer_decay(made, course(made))
    assert found.status == "undetermined"
    assert words in (found.reason or ""), found.reason


def test_layers_without_an_edge_keep_their_growth() -> None:
    found = grown(SGD, 2e-4, unit=0.02, activation="identity")
    assert found.status == "not_applicable"
    assert found.growth.number == pytest.approx(2e-4, rel=1e-5)


@given(stretch=st.floats(0.01, 100.0), lr=st.floats(1e-4, 1.0))
@PROPERTY
def test_the_decay_does_not_depend_on_how_steps_are_counted_or_on_the_learning_rate(stretch: float, lr: float) -> None:
    """G in proportion to lr, as SGD's: λ holds neither η nor the number of steps per epoch."""
    steps = STEPS * stretch
    rng = np.random.default_rng(1)
    values = 0.3 + 0.4 * STEPS / 2000 + noise(rng, "walk", len(STEPS), 2e-3)
    plain, moved = layer(STEPS, values), layer(steps, values, replace(SGD, lr=lr / stretch))
    first = layer_decay(plain, course(plain))
    second = layer_decay(moved, course(moved))
    assert value(second) * lr == pytest.approx(value(first) * SGD.lr, rel=1e-4)


@pytest.mark.parametrize(("readout", "within"), [("xavier_normal", 0.05), ("J = 0.5", 0.12)])
def test_zhang21s_setting_gives_the_papers_decay(readout: str, within: float) -> None:
    """λ = 5.3e-5 and D = 12.6 (Zhang21: 5e-5) after 12 epochs; how large readouts start moves both by a tenth."""
    names = ("samples", "lr", "momentum", "batch", "readout")
    runs = [run for run in recorded() if tuple(run[name] for name in names) == (60_000, 0.01, 0.0, 32, readout)]
    assert len(runs) >= 2
    found = [layer_decay(made.layers[0], made) for made in map(recorded_course, runs)]
    assert np.mean([one.lambda_.number or 0.0 for one in found]) == pytest.approx(5.3e-5, rel=within)
    assert np.mean([one.constant.number or 0.0 for one in found]) == pytest.approx(12.6, rel=within)
    for one in found:
        low, high = one.lambda_.interval or (0.0, 0.0)
        assert low < 5.3e-5 < high
        assert one.constant.interval is not None
        assert one.constant.interval[0] < 12.6 < one.constant.interval[1]


def test_d_does_not_depend_on_learning_rate_momentum_and_batch_within_its_interval() -> None:
    """Zhang21's law over a factor of 40 in η/((1 − m)B), in their set-up."""
    runs = [run for run in recorded() if run["samples"] == 60_000]
    assert len({run["lr"] / ((1 - run["momentum"]) * run["batch"]) for run in runs}) >= 6
    ends = [layer_decay(made.layers[0], made).constant.interval for made in map(recorded_course, runs)]
    low, high = max(end[0] for end in ends if end), min(end[1] for end in ends if end)
    assert None not in ends
    assert low < high


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_the_first_epochs_predict_the_decay_that_balance_asks_for(optimizer: str) -> None:
    """60 epochs without and with decay: what the first nine advise, and what the balance at the end does."""
    runs = [run for run in recorded() if run["samples"] == 20_000 and run["optimizer"] == optimizer]
    assert {run["decay"] > 0 for run in runs} == {False, True}
    early = [layer_decay(made.layers[0], made) for made in (recorded_course(run, until=9) for run in runs)]
    held = next(recorded_course(run) for run in runs if run["decay"] > 0)
    late = value(layer_decay(held.layers[0], held))
    for one in early:
        assert value(one) == pytest.approx(late, rel=0.25)
        low, high = one.weight_decay.interval or (0.0, 0.0)
        assert low < late < high
