"""Checkpoints are audited once each, when they are whole, and the page follows."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from critaudit.errors import UsageError
from critaudit.report import Report
from critaudit.surveying.records import Audit, Outcome
from critaudit.watching import watch

AUDIT = Audit(only=("edge",))


def save(path: Path, *, scale: float, epoch: int | None = None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 3))
    with torch.no_grad():
        model[0].weight *= scale
    torch.save({"model": model.state_dict()} | ({} if epoch is None else {"epoch": epoch}), path)


def look(folder: Path, output: Path) -> tuple[Report | None, list[tuple[str, str]]]:
    """One watch over what is there: the report, and what was said of each checkpoint."""
    said = []

    def told(path: Path, outcome: Outcome | None, page: Path) -> None:
        assert outcome is None or outcome.report is None or page.exists()
        said.append((path.name, "before" if outcome is None else outcome.kind))

    return watch(folder, output=output, interval=0.05, idle=0.0, audit=AUDIT, told=told), said


def test_checkpoints_stand_in_the_order_of_their_epochs_whatever_their_names(tmp_path: Path):
    runs = tmp_path / "runs"
    runs.mkdir()
    for name, epoch in (("b-last.pt", 30), ("c.pt", 2), ("a.pt", 11)):
        save(runs / name, scale=1 + epoch, epoch=epoch)
    report, said = look(runs, tmp_path / "out")
    assert report is not None
    assert sorted(said) == [("a.pt", "audited"), ("b-last.pt", "audited"), ("c.pt", "audited")]
    assert report.model["trajectory.steps"].value == (2.0, 11.0, 30.0)
    assert report.model["trajectory.unit"].value == "epoch"
    first = report.layer_records[0].measurements
    j = first["trajectory.edge.j"].value
    assert j[1] / j[0] == pytest.approx(12 / 3, rel=1e-6)
    assert first["trajectory.edge.j.at"].value == (2.0, 11.0, 30.0)
    assert {"path_in_plane", "along_edge.j"} <= set(report.figures)
    again = Report.load(tmp_path / "out" / "trajectory.json")
    assert again.to_dict() == report.to_dict()


def test_the_number_in_the_name_counts_where_the_checkpoint_says_nothing(tmp_path: Path):
    runs = tmp_path / "runs"
    runs.mkdir()
    for step in (9, 10, 100):
        save(runs / f"v2.model-step{step}.pt", scale=step)
    report, _ = look(runs, tmp_path / "out")
    assert report is not None
    assert report.model["trajectory.steps"].value == (9.0, 10.0, 100.0)
    assert report.model["trajectory.unit"].value == "step"


def test_the_next_watch_audits_only_what_is_new(tmp_path: Path):
    runs = tmp_path / "runs"
    runs.mkdir()
    save(runs / "1.pt", scale=1)
    look(runs, tmp_path / "out")
    save(runs / "2.pt", scale=2)
    report, said = look(runs, tmp_path / "out")
    assert sorted(said) == [("1.pt", "before"), ("2.pt", "audited")]
    assert report is not None
    assert len(report.model["trajectory.steps"].value) == 2


def test_a_file_that_grows_waits_and_a_broken_one_is_tried_again_when_it_changes(tmp_path: Path):
    runs, output = tmp_path / "runs", tmp_path / "out"
    runs.mkdir()
    save(tmp_path / "whole.pt", scale=1)
    content = (tmp_path / "whole.pt").read_bytes()
    path = runs / "epoch-1.pt"
    said: list[str] = []
    stop = threading.Event()

    def told(_: Path, outcome: Outcome | None, __: Path) -> None:
        said.append("before" if outcome is None else outcome.kind)

    def write() -> None:
        for end in range(0, len(content) // 2, 64):
            path.write_bytes(content[:end])
            time.sleep(0.01)
        time.sleep(1.5)  # a pause in the middle looks like an end
        path.write_bytes(content)
        deadline = time.monotonic() + 60
        while "audited" not in said and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    report = watch(runs, output=output, interval=0.3, audit=AUDIT, stop=stop, told=told)
    writer.join()
    assert said.count("audited") == 1
    assert set(said) <= {"refused", "audited"}
    assert report is not None


def test_what_is_no_checkpoint_or_still_has_a_temporary_name_is_left_alone(tmp_path: Path):
    runs = tmp_path / "runs"
    (runs / ".hidden").mkdir(parents=True)
    save(runs / ".hidden" / "x.pt", scale=1)
    save(runs / "y.pt.tmp", scale=1)
    (runs / "notes.txt").write_text("x")
    (runs / "optimizer.pt").write_text("x")
    report, said = look(runs, tmp_path / "out")
    assert report is None
    assert not said


def test_results_inside_the_watched_folder_are_not_watched(tmp_path: Path):
    save(tmp_path / "1.pt", scale=1)
    look(tmp_path, tmp_path / "out")
    (tmp_path / "out" / "x.npz").write_bytes((tmp_path / "1.pt").read_bytes())
    _, said = look(tmp_path, tmp_path / "out")
    assert said == [("1.pt", "before")]


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="no such folder"):
        watch(tmp_path / "none", output=tmp_path / "out")


def test_a_checkpoint_that_is_overwritten_or_deleted_stays_in_the_trajectory(tmp_path: Path):
    runs, output = tmp_path / "runs", tmp_path / "out"
    runs.mkdir()
    save(runs / "last.pt", scale=1, epoch=1)
    look(runs, output)
    save(runs / "last.pt", scale=2, epoch=2)
    report, said = look(runs, output)
    assert said == [("last.pt", "audited")]
    assert report is not None
    assert report.model["trajectory.steps"].value == (1.0, 2.0)
    (runs / "last.pt").unlink()
    report, said = look(runs, output)
    assert not said
    assert report is not None
    assert report.model["trajectory.steps"].value == (1.0, 2.0)


def test_a_checkpoint_written_again_at_the_same_step_replaces_the_earlier_one(tmp_path: Path):
    runs, output = tmp_path / "runs", tmp_path / "out"
    runs.mkdir()
    save(runs / "epoch-3.pt", scale=1)
    look(runs, output)
    save(runs / "epoch-3.pt", scale=5)
    report, _ = look(runs, output)
    assert report is not None
    assert report.model["trajectory.steps"].value == (3.0,)


def test_other_settings_begin_another_trajectory(tmp_path: Path):
    runs, output = tmp_path / "runs", tmp_path / "out"
    runs.mkdir()
    save(runs / "a.pt", scale=1, epoch=1)
    look(runs, output)
    (runs / "a.pt").unlink()
    save(runs / "b.pt", scale=1, epoch=2)
    report = watch(runs, output=output, interval=0.05, idle=0.0, audit=Audit(only=("edge",), seed=1))
    assert report is not None
    assert report.model["trajectory.steps"].value == (2.0,)


def test_folders_of_one_model_are_checkpoints_with_the_number_of_the_folder(tmp_path: Path):
    from safetensors.torch import save_file

    runs = tmp_path / "runs"
    for step in (500, 1000):
        folder = runs / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        for shard in (1, 2):
            weights = {f"layer.{shard}.weight": torch.randn(6, 6)}
            save_file(weights, folder / f"model-{shard:05d}-of-00002.safetensors")
        (folder / "optimizer.pt").write_text("x")
    (runs / "step_1500").mkdir()
    save(runs / "step_1500" / "weights.pt", scale=1)
    report, said = look(runs, tmp_path / "out")
    assert sorted(said) == [("checkpoint-1000", "audited"), ("checkpoint-500", "audited"), ("weights.pt", "audited")]
    assert report is not None
    assert report.model["trajectory.steps"].value == (500.0, 1000.0, 1500.0)
