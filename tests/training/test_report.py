"""The page of a training, from its monitor or from the log alone; the line in the terminal."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from rich.console import Console
from torch import nn

import critaudit
from critaudit.cli import main
from critaudit.errors import UsageError
from critaudit.report import Report
from critaudit.training import Monitor, read_log
from critaudit.training.live import LiveLine, line_of
from critaudit.training.records import Notice
from critaudit.training.report import report_of_log
from critaudit.training.series import thinned
from tests.training.networks import convolutional, data, follow, mlp, train


@pytest.fixture
def followed(tmp_path: Path) -> Monitor:
    model = mlp(depth=3, scale=0.9)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    every = {"weights": 3, "tails": 10, "spectra": 10}
    monitor = follow(model, optimizer, log=tmp_path / "run.jsonl", spectra=True, every=every, name="a run")
    with monitor:
        train(model, optimizer, 60, after=lambda loss: monitor.step(loss=loss))
    return monitor


def test_the_report_holds_the_trajectories_and_the_last_numbers(followed: Monitor):
    report = followed.report()
    assert report.source.format == "trajectory"
    layer = report.layer_records[0].measurements
    steps = [float(record.step) for record in followed.records]
    assert layer["trajectory.edge.j"].value == tuple(record.layers[0].j for record in followed.records)
    assert layer["trajectory.edge.j.at"].value == tuple(steps)
    assert layer["edge.j"].value == followed.records[-1].layers[0].j
    assert layer["entries.alpha"].interval == followed.records[-1].layers[0].alpha[1:]
    assert layer["signal.strength"].value == followed.records[-1].layers[0].signal
    assert report.layer_records[-1].measurements["edge.chi1"].status == "not_applicable"
    assert {
        "path_in_plane",
        "alpha_g_path",
        "growth_along",
        "loss_along",
        "along_edge.j",
        "along_edge.chi1",
        "along_signal.gradient",
        "along_spectrum.stable_rank",
        "coverage_by_kind",
    } <= set(report.figures)
    growth = report.model["training.gradient_growth"]
    last = next(record.growth for record in reversed(followed.records) if record.growth)
    assert growth.value == pytest.approx(math.exp(last["gradient"][0]))
    assert growth.interval is not None
    assert report.coverage.share == pytest.approx(1.0, abs=0.1)
    assert report.model["training.epochs"].value == 60 / 8
    said = " ".join(report.model["trajectory.summary"].value)
    assert "60 steps of SGD (7.50 epochs) on Sequential" in said
    assert "weight decay" in said
    assert {finding.rule for finding in report.findings} >= {notice.rule for notice in followed.warnings}


def test_the_log_alone_gives_the_same_page(followed: Monitor, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    live, read = followed.report().to_dict(), report_of_log(tmp_path / "run.jsonl").to_dict()
    for one in (live, read):
        for name in ("provenance", "findings"):
            del one[name]
        del one["model"]["measurements"]["training.overhead"]
        summary = one["model"]["measurements"]["trajectory.summary"]["value"]
        summary[0] = summary[0].partition(", at ")[0]
    assert live == read
    schema = json.loads(Path(critaudit.report.__file__).with_name("schema.json").read_text())
    jsonschema.validate(followed.report().to_dict(), schema)
    with pytest.raises(SystemExit) as ended:
        main(["render", str(tmp_path / "run.jsonl"), "--json", str(tmp_path / "run.json")])
    assert not ended.value.code
    assert capsys.readouterr().out.split() == [str(tmp_path / "run.json"), str(tmp_path / "run.html")]
    page = (tmp_path / "run.html").read_text()
    assert "a run" in page
    assert "growth_along" in page
    again = Report.load(tmp_path / "run.json")
    assert again.source.name == "a run"
    followed.save(tmp_path / "b.html")
    followed.save(tmp_path / "b.json")
    assert Report.load(tmp_path / "b.json").source.name == "a run"


def test_what_is_unfinished_torn_or_resumed_is_said(followed: Monitor, tmp_path: Path):
    path = tmp_path / "run.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:9])
    report = report_of_log(path)
    said = [finding.text for finding in report.findings if finding.rule == "training.log"]
    assert any("cut short" in text for text in said)
    assert any("no end" in text for text in said)
    path.write_bytes(lines[0])
    with pytest.raises(UsageError, match="no record yet"):
        report_of_log(path)


def test_damaged_lines_make_a_report_partial_and_an_unfinished_log_does_not(
    followed: Monitor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path, page = tmp_path / "run.jsonl", tmp_path / "run.html"
    lines = path.read_bytes().splitlines(keepends=True)
    for content, status, told in (
        (b"".join(lines[:-1]) + lines[-1][:9], 0, ""),
        (
            b"".join([*lines[:3], lines[3].replace(b":", b"?"), *lines[4:]]),
            4,
            f"critaudit: {path}: 1 damaged line is left out (line 4)\n",
        ),
    ):
        path.write_bytes(content)
        with pytest.raises(SystemExit) as ended:
            main(["render", str(path)])
        assert (ended.value.code or 0) == status
        assert capsys.readouterr() == (f"{page}\n", told)
    assert report_of_log(path).coverage.problems == ("1 damaged line is left out (line 4)",)
    assert "1 damaged line is left out (line 4)" in page.read_text()
    again = mlp(depth=3, scale=0.9)
    optimizer = torch.optim.SGD(again.parameters(), lr=0.3)
    with follow(again, optimizer, log=path) as monitor:
        train(again, optimizer, 2)
    assert monitor.report().coverage.problems == report_of_log(path).coverage.problems


def test_a_crossed_edge_and_its_evidence_say_the_same():
    model = mlp(depth=2, scale=0.9)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    monitor = follow(model, optimizer)
    for std, bias in ((0.9, 0.1), (1.1, 0.1), (1.3, 0.1)):  # with this bias the edge is at J = 1.19
        with torch.no_grad():
            noise = torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
            model[0].weight.copy_(std / 4 * (noise - noise.mean()) / noise.std(correction=0))
            model[0].bias.fill_(bias)
        train(model, optimizer, 1)
    report = monitor.report()
    found = [one for one in report.findings if one.rule == "training.edge" and one.layer == "0.weight"]
    assert [one.text.partition(":")[0] for one in found] == ["Step 3"]
    held = report.layer_records[0].measurements
    assert found[0].evidence == ("edge.j", "edge.boundary")
    assert (held["edge.j"].number, held["edge.boundary"].number) == (pytest.approx(1.3), pytest.approx(1.193, abs=1e-3))
    assert "J = 1.30, its edge is at J = 1.19" in found[0].text
    assert (held["edge.margin"].number or 0.0) > 0 < (held["edge.distance"].number or 0.0)
    monitor.close()


def test_many_warnings_of_a_kind_are_counted(followed: Monitor, tmp_path: Path):
    path = tmp_path / "run.jsonl"
    with path.open("a") as file:
        for step in range(40):
            line = {"kind": "warning", "rule": "training.tails", "severity": "info", "step": step, "layer": "0.weight"}
            file.write(json.dumps({**line, "value": 1.5, "text": f"Step {step}: tails."}) + "\n")
    found = [finding for finding in report_of_log(path).findings if finding.rule == "training.tails"]
    assert len(found) == 6
    assert "34 more warnings" in found[-1].text


def test_normalised_and_frozen_layers_and_missing_signals_have_reasons():
    model = convolutional()
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=0.1)
    monitor = follow(model, optimizer)
    train(model, optimizer, 3)
    layers = {layer.name: layer.measurements for layer in monitor.report().layer_records}
    assert layers["conv1.weight"]["edge.j"].reason is not None
    assert layers["frozen.weight"]["edge.chi1"].status == "not_applicable"
    assert layers["frozen.weight"]["signal.strength"].status == "measured"


def test_long_series_are_thinned_and_keep_their_ends():
    points = [(float(step), step**2) for step in range(5000)]
    kept = thinned(points)
    assert len(kept) == 400
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert thinned(points[:300]) == points[:300]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_the_line_says_where_a_training_stands(followed: Monitor):
    layers, record = followed.journal.header.layers, followed.records[-2]
    record = replace(record, overhead=0.012)
    text = line_of(record, layers, name="a run", epoch=7.125, advised="1.0·10⁻⁴")
    assert text.startswith(f"a run step {record.step} (epoch 7.12)")
    for part in ("loss", "χ₁", "J ", "signal ×", "grad ×", "weight decay 1.0·10⁻⁴", "overhead 1.2 %"):
        assert part in text


def test_only_a_terminal_sees_the_line_and_a_warning_stays_above_it():
    screen = Terminal()
    console = Console(file=screen, force_terminal=True, width=60, legacy_windows=False, no_color=True)
    live = LiveLine(console=console)
    live.show("step 1 " + "x" * 100)
    live.show("step 2")
    live.say(Notice("training.edge", "warning", 2, "0", None, "Step 2: crossed \x1b[31m."))
    live.show("step 3")
    live.close()
    shown = screen.getvalue()
    assert "\x1b[31m." not in shown.replace("\\x1b", "")
    rows = shown.split("\n")
    assert rows[0].split("\r")[-1].startswith("▲ Step 2: crossed")
    assert rows[1].rstrip("\r ").endswith("step 3")
    assert all(len(part) <= 60 for part in rows[0].split("\r"))
    pipe = io.StringIO()
    for quiet in (LiveLine(console=Console(file=pipe)), LiveLine(quiet=True), LiveLine()):  # tests have no terminal
        quiet.show("anything")
        quiet.close()
        assert not quiet.shown
    assert pipe.getvalue() == ""


def test_without_a_terminal_each_warning_is_a_line_unless_quiet(capsys: pytest.CaptureFixture[str]):
    for quiet in (False, True):
        model = mlp(scale=0.7)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with follow(model, optimizer, quiet=quiet) as monitor:
            train(model, optimizer, 1)
            with torch.no_grad():
                model[2].weight.mul_(2.0)
            train(model, optimizer, 1)
        assert monitor.warnings
        expected = "".join(f"critaudit: {notice.severity}: {notice.text}\n" for notice in monitor.warnings)
        assert capsys.readouterr() == ("", "" if quiet else expected)


def test_a_closed_stream_is_no_failure_of_the_monitor(monkeypatch: pytest.MonkeyPatch):
    closed = io.StringIO()
    live = LiveLine()
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr("sys.stderr", stream)
        live.say(Notice("training.edge", "warning", 2, "0", None, "Step 2: crossed."))
    assert not LiveLine().shown


def test_the_line_shows_an_advised_decay_as_soon_as_it_is_determined(monkeypatch: pytest.MonkeyPatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("TERM", "xterm")
    model = mlp(depth=2, scale=0.6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    inputs = data()[0]
    labels = torch.randint(0, 4, (len(inputs),), generator=torch.Generator().manual_seed(0))
    with Monitor(
        model, optimizer, dataset_size=256, batch_size=64, every={"weights": 20, "tails": 100}, quiet=False
    ) as monitor:
        for step in range(1200):
            chosen = torch.arange(64) + 64 * (step % 4)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[chosen]), labels[chosen]).backward()
            optimizer.step()
    assert "step 1" in screen.getvalue()
    advised: Any = monitor.advice()
    determined = advised.weight_decay.number is not None
    assert ("weight decay" in screen.getvalue()) == determined
    assert determined


def test_a_log_is_read_by_the_advice_on_weight_decay(followed: Monitor, tmp_path: Path):
    from critaudit.advice import weight_decay

    from_log, live = weight_decay(tmp_path / "run.jsonl"), followed.advice()
    assert from_log.weight_decay == live.weight_decay
    assert read_log(tmp_path / "run.jsonl").header.dataset_size == live.dataset_size
