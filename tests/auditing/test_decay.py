"""What an audit reads from the optimizer in a checkpoint: a decay where one moment tells it, else the reason."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import critaudit
from tests.advising.networks import shallow, trained


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return trained(tmp_path_factory.mktemp("run"), decay=0.5, steps=900)[0]


def test_a_balanced_training_gives_rows_that_equal_those_of_the_engine(balanced: Path) -> None:
    report = critaudit.audit(balanced, activation="tanh", only=["edge"])
    engine = critaudit.advice.weight_decay(balanced, activation="tanh")
    assert report.advice == engine.advice_items()
    assert report.model["decay.weight_decay"] == engine.weight_decay
    # By hand: at balance with decoupled decay wd* = wd · J²/J*², J* = 1 for tanh without mean.
    saved = torch.load(balanced)["model"]["2.weight"].double()
    row = report.layers.set_index("name").loc["2.weight"]
    j_squared = saved.shape[1] * float(saved.var(correction=0))
    assert row["decay.weight_decay"] == pytest.approx(0.5 * j_squared / row["decay.target"], rel=0.05)
    assert math.isclose(row["decay.j_squared"], j_squared, rel_tol=1e-4)


def test_one_moment_without_decay_tells_why_not(tmp_path: Path) -> None:
    report = critaudit.audit(trained(tmp_path, decay=0.0, steps=3)[0], only=["edge"])
    assert report.advice == ()
    assert report.model["decay.weight_decay"].status == "undetermined"
    found = [one for one in report.findings if one.rule == "decay.undetermined"]
    assert [one.severity for one in found] == ["info"]


def test_without_an_optimizer_nothing_is_said_of_decay(tmp_path: Path) -> None:
    report = critaudit.audit(trained(tmp_path, decay=0.5, steps=3, state=False)[0], only=["edge"])
    live = critaudit.audit(shallow(), only=["edge"])
    for one in (report, live):
        assert not [name for name in one.model if name.startswith("decay.")]
        assert not [finding for finding in one.findings if finding.rule.startswith("decay.")]


@pytest.mark.parametrize(
    "state",
    [
        {"param_groups": [{"lr": "much", "weight_decay": 0.1, "params": [0]}], "state": {}},
        {"param_groups": [{"weight_decay": 0.1, "params": ["x", None]}], "state": {"a": 3}},
        {
            "param_groups": [{"lr": 1.0, "momentum": 7.0, "weight_decay": 1e300, "params": [0, 1, 2, 3, 4, 5]}],
            "state": {},
        },
        {
            "param_groups": [{"lr": float("nan"), "weight_decay": float("inf"), "params": [0]}],
            "state": {0: {"step": -1}},
        },
    ],
)
def test_an_optimizer_state_that_makes_no_sense_fails_no_audit(state: dict[str, object], tmp_path: Path) -> None:
    torch.save({"model": shallow().state_dict(), "optimizer": state}, tmp_path / "odd.pt")
    report = critaudit.audit(tmp_path / "odd.pt", activation="tanh", only=["edge"])
    assert report.advice == ()
    assert report.coverage.problems == ()
    assert len(report.layer_records) == 3
