"""The log survives a kill at any byte: what was written whole reads back, and the next run goes on after it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from critaudit.errors import CorruptFileError, NotAModelError, UsageError
from critaudit.logs import is_log
from critaudit.training import read_course, read_log
from critaudit.training.log import LogFile
from tests.training.networks import follow, mlp, train

# Forks a training for every line that it reads, and waits until somebody kills it: Python starts only once.
_TRAININGS = """
import os, sys
import torch
from tests.training.networks import follow, mlp, train

torch.set_num_threads(1)
model = mlp(depth=2, width=16)
follow(model, torch.optim.Adam(model.parameters())).close()  # loads everything once
for _ in sys.stdin:
    if child := os.fork():
        os.waitpid(child, 0)
        print("killed", flush=True)
        continue
    model = mlp(depth=2, width=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    monitor = follow(model, optimizer, log=sys.argv[1], every={"weights": 1, "tails": 7})
    print(os.getpid(), flush=True)
    train(model, optimizer, 10**9, after=lambda loss: monitor.step(loss=loss))
"""


@pytest.fixture(scope="module")
def small_log(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("log") / "run.jsonl"
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Linear(2, 4, bias=False))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with follow(model, optimizer, log=path) as monitor:
        train(model, optimizer, 2, inputs=torch.randn(256, 2), after=lambda loss: monitor.step(loss=loss))
    return path.read_bytes()


def test_a_training_killed_at_random_moments_leaves_a_log_without_a_loss(tmp_path: Path):
    path, chance, seen = tmp_path / "run.jsonl", random.Random(3), 0
    trainings = subprocess.Popen(
        [sys.executable, "-c", _TRAININGS, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
        bufsize=1,
    )
    assert trainings.stdin is not None
    assert trainings.stdout is not None
    for _ in range(24):
        trainings.stdin.write("go\n")
        child = int(trainings.stdout.readline())
        # Until so many bytes were written, so that a slow machine sees as much, and a random moment more.
        enough, until = path.stat().st_size + chance.randint(0, 4000), time.monotonic() + 10.0
        while path.stat().st_size < enough and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, 0.01))
        os.kill(child, signal.SIGKILL)
        assert trainings.stdout.readline() == "killed\n"
        content = path.read_bytes()
        whole = content.rpartition(b"\n")[0].split(b"\n")
        assert all(isinstance(json.loads(line), dict) for line in whole)  # every whole line is a whole event
        log = read_log(path)
        assert log.lost == ()
        # Each run began at step 0 (a new Adam): its own records, all of them, and nothing of the one before.
        last = max(place for place, line in enumerate(whole) if json.loads(line)["kind"] in ("start", "restart"))
        own = [json.loads(line)["step"] for line in whole[last:] if json.loads(line)["kind"] == "record"]
        steps = [record.step for record in log.records]
        assert steps == list(range(len(steps)))
        assert max(steps, default=0) == max(own, default=0)
        seen += len(own)
        # What a run leaves is what the next one finds, cut at a random byte of the last line.
        with path.open("r+b") as file:
            file.truncate(len(content) - chance.randint(0, 5))
    trainings.communicate("")
    assert trainings.returncode == 0
    assert seen > 10
    assert read_course(path).layers[0].steps[0] == 0.0


@pytest.mark.parametrize("resumed", [False, True])
def test_a_log_cut_at_every_byte_gives_every_whole_line_before(tmp_path: Path, small_log: bytes, resumed: bool):
    path = tmp_path / "cut.jsonl"
    ends = [place + 1 for place, byte in enumerate(small_log) if byte == ord("\n")]
    lines = [json.loads(line) for line in small_log.splitlines()]
    for cut in range(0, len(small_log) + 1, 7 if resumed else 1):
        path.write_bytes(small_log[:cut])
        if resumed:
            LogFile(path).close()
            assert path.read_bytes() == small_log[: max([0, *(end for end in ends if end <= cut)])]
        whole = sum(end <= cut for end in ends)
        if whole == 0:
            with pytest.raises(NotAModelError, match="no whole line"):
                read_log(path)
            continue
        log = read_log(path)
        assert [record.step for record in log.records] == [
            line["step"] for line in lines[:whole] if line["kind"] == "record"
        ]
        assert any("cut short" in note for note in log.notes) == (cut not in ends and not resumed)
        assert (log.ended == "completed") == (whole == len(ends))


def test_what_was_recorded_is_what_reads_back(tmp_path: Path):
    path = tmp_path / "a" / "run.jsonl"
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    with follow(model, optimizer, log=path, spectra=True, every={"weights": 2, "tails": 4, "spectra": 4}) as monitor:
        train(model, optimizer, 9, after=lambda loss: monitor.step(loss=loss))
    log = read_log(path)
    assert log.records == monitor.records
    assert log.notices == monitor.warnings
    assert log.header == monitor.journal.header
    assert log.order == ("0", "2", "4", "6")
    assert log.ended == "completed"
    assert is_log(path)
    course, live = read_course(path), monitor.course()
    assert course.layers == live.layers
    assert course.steps_per_epoch == 8.0
    assert course.layers[0].settings[-1].decoupled
    assert course.layers[0].adaptivity is not None


def test_a_training_taken_up_again_goes_on_in_the_same_file_from_its_step(tmp_path: Path):
    path, checkpoint = tmp_path / "run.jsonl", tmp_path / "checkpoint.pt"
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    monitor = follow(model, optimizer, log=path)
    train(model, optimizer, 6)
    torch.save([model.state_dict(), optimizer.state_dict()], checkpoint)
    train(model, optimizer, 4)
    monitor.close()

    again = mlp(seed=9)
    optimizer = torch.optim.Adam(again.parameters(), lr=0.01)
    with follow(again, optimizer, log=path) as monitor:  # the checkpoint is loaded after the monitor was made
        weights, state = torch.load(checkpoint)
        again.load_state_dict(weights)
        optimizer.load_state_dict(state)
        train(again, optimizer, 3)
    log = read_log(path)
    assert log.restarts == (6,)
    assert [record.step for record in log.records] == list(range(10))
    assert log.superseded == 4
    said = "the training was taken up again at step 6; 4 records of steps that were done again are left out"
    assert log.notes == (said,)
    assert monitor.records == log.records


@pytest.mark.parametrize("step", [0, 7, 20])
def test_without_a_counter_the_weights_tell_where_the_training_was_taken_up(tmp_path: Path, step: int):
    path = tmp_path / "run.jsonl"
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    kept = [{name: value.clone() for name, value in model.state_dict().items()}]
    with follow(model, optimizer, log=path) as monitor:
        train(
            model,
            optimizer,
            20,
            after=lambda _: kept.append({name: value.clone() for name, value in model.state_dict().items()}),
        )
    model.load_state_dict(kept[step])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with follow(model, optimizer, log=path) as monitor:
        train(model, optimizer, 1)
    assert monitor.steps == step + 1
    assert read_log(path).restarts == (step,)


def test_a_given_start_and_a_loaded_state_say_the_step():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = follow(model, optimizer, start=100)
    train(model, optimizer, 2)
    assert monitor.steps == 102
    assert [record.step for record in monitor.records] == [100, 101, 102]
    state = monitor.state_dict()
    with pytest.raises(UsageError, match="steps already"):
        monitor.load_state_dict(state)
    monitor.close()
    other = follow(model, optimizer)
    other.load_state_dict(state)
    train(model, optimizer, 1)
    assert other.steps == 103
    other.close()


def test_a_log_of_another_network_and_one_in_use_are_refused_in_one_line(tmp_path: Path):
    path = tmp_path / "run.jsonl"
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = follow(model, optimizer, log=path)
    with pytest.raises(UsageError, match="another Monitor is writing"):
        follow(model, optimizer, log=path)
    monitor.close()
    other = mlp(depth=2)
    with pytest.raises(UsageError, match="another network"):
        follow(other, torch.optim.SGD(other.parameters(), lr=0.1), log=path)
    with pytest.raises(UsageError, match="cannot be written"):
        follow(model, optimizer, log=tmp_path)


def test_a_full_disk_ends_the_log_and_not_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "run.jsonl"
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = follow(model, optimizer, log=path)
    train(model, optimizer, 2)
    written, real = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda file, content: real(file, content[:10]))
    with pytest.warns(RuntimeWarning, match="no longer written"):
        train(model, optimizer, 3)
    monkeypatch.undo()
    monitor.close()
    assert path.read_bytes() == written  # the part of a line that went out was taken back
    assert [record.step for record in monitor.records] == list(range(6))
    assert monitor.problems


def test_damaged_lines_are_counted_and_what_is_no_log_is_said(tmp_path: Path, small_log: bytes):
    path = tmp_path / "run.jsonl"
    lines = small_log.splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"\x00\x00\n", b'{"kind": "record"}\n', b'{"kind": "later"}\n', *lines[1:]]))
    log = read_log(path)
    assert log.lost == ("2 damaged lines are left out (the first is line 2)",)
    assert log.notes == ()
    assert read_course(path).notes == log.lost
    assert len(log.records) == sum(b'"kind":"record"' in line for line in lines)
    path.write_bytes(b"".join([lines[0], b"\x00\n", *lines[1:], b"{"]))
    assert read_log(path).lost == ("1 damaged line is left out (line 2)",)
    assert read_log(path).notes == ("the last line was cut short (1 byte) and is left out",)
    path.write_bytes(b"hello\nworld\n")
    with pytest.raises(NotAModelError, match="no JSON object"):
        read_log(path)
    path.write_bytes(b'{"a": 1}\n')
    with pytest.raises(CorruptFileError, match="no header"):
        read_log(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_log(tmp_path / "none.jsonl")
    assert not is_log(tmp_path / "none.jsonl")
