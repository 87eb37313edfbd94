"""The table of settings with one growth, against recorded runs."""

from __future__ import annotations

import pytest

from critaudit.advice.course import OptimizerSetting
from critaudit.advice.decaying.equal_scale import equal_scale
from critaudit.errors import UsageError
from tests.advice.courses import recorded


def test_all_rows_have_the_scale_of_the_present_setting() -> None:
    table = equal_scale(OptimizerSetting("SGD", 0.02, momentum=0.5), 32)
    assert table.scale == pytest.approx(0.02 / (0.5 * 32))
    for row in table.rows:
        assert row.lr / ((1 - row.momentum) * row.batch_size) == pytest.approx(table.scale)
    present = [row for row in table.rows if row.present]
    assert [(row.lr, row.momentum, row.batch_size) for row in present] == [(pytest.approx(0.02), 0.5, 32)]
    assert {row.batch_size for row in table.rows} == {8, 16, 32, 64, 128}


def test_recorded_runs_of_equal_scale_grow_alike_and_others_do_not() -> None:
    growth: dict[float, list[float]] = {}
    for run in recorded():
        if run["samples"] == 60_000 and run["seed"] == 0 and run["readout"] == "J = 0.5":
            scale = round(run["lr"] / ((1 - run["momentum"]) * run["batch"]), 8)
            growth.setdefault(scale, []).append(run["j_squared"][12] - run["j_squared"][0])
    shared = [values for values in growth.values() if len(values) > 1]
    assert len(shared) >= 2
    for values in shared:
        assert max(values) / min(values) < 1.01
    first = sorted(growth)
    assert growth[first[-1]][0] > 10 * growth[first[0]][0]


def test_adam_has_no_such_table() -> None:
    table = equal_scale(OptimizerSetting("Adam", 1e-3, betas=(0.9, 0.999)), 32)
    assert table.rows == ()
    assert table.scale is None
    assert "Adam" in (table.reason or "")


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"batch_size": 8, "momenta": (1.0,)}])
def test_impossible_settings_are_errors(arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        equal_scale(OptimizerSetting("SGD", 0.01), **arguments)  # type: ignore[arg-type]
