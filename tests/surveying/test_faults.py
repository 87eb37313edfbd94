"""Workers that crash, hang and eat; surveys that are killed: nothing finished is lost, and the rest goes on."""

from __future__ import annotations

import errno
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from critaudit.surveying import survey
from critaudit.surveying.places import LocalPlace, StoreError
from tests.surveying.zoo import ONLY, make, results, tables

FAULTY = "tests.surveying.faulty"
ROOT = Path(__file__).resolve().parents[2]


def start(folder: Path, output: Path, *, workers: int = 2) -> subprocess.Popen[bytes]:
    """A survey in a process group of its own."""
    command = [sys.executable, "-m", "tests.surveying.zoo", str(folder), str(output), str(workers)]
    return subprocess.Popen(
        command, cwd=ROOT, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=False
    )


def left_of(group: int) -> list[str]:
    """Processes of the group that still run after a moment; those that ended and wait to be counted do not."""
    found: list[str] = []
    for _ in range(20):
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                fields = (process / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group and fields[0] != "Z":
                found.append(process.name)
        if not found:
            break
        time.sleep(0.1)
    return found


def test_nineteen_results_and_one_row_for_every_kind_of_end(tmp_path: Path):
    make(tmp_path / "zoo", 14)
    survey(f"{FAULTY}:good", output=tmp_path / "warm", only=ONLY)  # the first worker waits for the imports
    ends = ["segv", "kill", "leave", "leave_well", "hang", "eat", "fail", "chatty", "good"]
    sources = [tmp_path / "zoo", *(f"{FAULTY}:{name}" for name in ends)]
    found = survey(sources, output=tmp_path / "out", only=ONLY, workers=2, time_limit=25, memory_limit=4 * 10**9)
    rows = found.models.set_index("source")
    assert found.pending == 0
    assert (rows["status"] == "audited").sum() == 15
    said = {name: (rows.loc[f"{FAULTY}:{name}", "status"], rows.loc[f"{FAULTY}:{name}", "reason"]) for name in ends[:8]}
    assert said["segv"] == ("crashed", "the worker was ended by SIGSEGV without a result")
    assert said["kill"] == ("crashed", "the worker was ended by SIGKILL without a result")
    assert said["leave"] == ("crashed", "the worker ended with status 7 without a result")
    assert said["leave_well"] == ("crashed", "the worker ended with status 0 without a result")
    assert said["hang"] == ("timeout", "it took longer than the limit of 25 s")
    assert said["eat"][0] == "memory"
    assert said["fail"][0] == "refused"
    assert "no luck" in said["fail"][1]
    assert "because of the weather" in said["chatty"][1]


def test_a_script_without_a_main_guard_runs_once(tmp_path: Path):
    make(tmp_path / "zoo", 2)
    script = tmp_path / "script.py"
    script.write_text(
        "print('started', flush=True)\n"
        "import critaudit\n"
        f"print(critaudit.survey({str(tmp_path / 'zoo')!r}, output={str(tmp_path / 'out')!r}, only=['edge']))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("started") == 1
    assert "0 failed" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_kill_nine_at_random_moments_loses_and_repeats_nothing(tmp_path: Path):
    kill_at_random_moments(tmp_path, moments=4, seed=1)


def kill_at_random_moments(folder: Path, *, moments: int, seed: int) -> tuple[int, int]:
    """Kill the process group again and again, then let it finish; how many results were computed twice and lost."""
    make(folder / "zoo", 12)
    whole, output = folder / "whole", folder / "out"
    survey(folder / "zoo", output=whole, only=ONLY, workers=2)
    chance = random.Random(seed)
    repeated = lost = 0
    known: dict[str, tuple[bytes, int]] = {}
    for _ in range(moments):
        process = start(folder / "zoo", output)
        before = time.monotonic() + 30
        target = min(11, len(known) + chance.randint(0, 3))
        while len(results(output)) < target and time.monotonic() < before and process.poll() is None:
            time.sleep(0.02)
        time.sleep(chance.random() * 0.5)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not left_of(process.pid)
        now = results(output)
        repeated += sum(name in known and now[name] != known[name] for name in now)
        lost += len(known.keys() - now.keys())
        known = now
    process = start(folder / "zoo", output)
    said, _ = process.communicate(timeout=240)
    after = results(output)
    repeated += sum(after[name] != known[name] for name in known if name in after)
    lost += len(known.keys() - after.keys())
    computed, reused, failed, pending = map(int, said.split())
    assert (computed + reused, failed, pending) == (12, 0, 0)
    assert reused == len(known)
    assert repeated == 0
    assert lost == 0
    assert tables(output) == tables(whole)
    assert not list(output.rglob(".part-*"))
    return repeated, lost


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c_leaves_tables_of_what_there_is_and_no_orphan(tmp_path: Path):
    make(tmp_path / "zoo", 40)
    output = tmp_path / "out"
    process = start(tmp_path / "zoo", output)
    deadline = time.monotonic() + 120
    while len(results(output)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    pressed = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    took = time.monotonic() - pressed
    assert took < 10  # 5 s on a quiet machine
    rows = (output / "models.csv").read_text().splitlines()
    assert len(rows) == 41
    assert sum(",pending," in row for row in rows) == 40 - len(results(output))
    assert not left_of(process.pid)


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "No space left"), (errno.EIO, "[Ii]nput/output error")])
@pytest.mark.parametrize("nth", [1, 5])
def test_a_full_or_failing_disk_stops_with_a_clear_message_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str, nth: int
):
    make(tmp_path / "zoo", 4)
    output = tmp_path / "out"
    writes = 0
    fsync = os.fsync

    def failing(handle: int) -> None:
        nonlocal writes
        writes += 1
        if writes >= nth:
            raise OSError(code, os.strerror(code))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StoreError, match=words) as caught:
        survey(tmp_path / "zoo", output=output, only=ONLY, workers=1)
    assert "\n" not in str(caught.value)
    whole = (nth - 1) // 3  # a page, rows and a report are written for every model
    assert len(results(output)) == whole
    monkeypatch.undo()
    again = survey(tmp_path / "zoo", output=output, only=ONLY, workers=1)
    assert (again.reused, again.computed) == (whole, 4 - whole)


def test_a_file_that_changes_while_it_is_audited_is_a_row_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import critaudit.surveying as surveying

    path = make(tmp_path / "zoo", 1)[0]
    other = make(tmp_path / "other", 1, seed=5)[0]
    tasks = surveying._tasks

    def late(*arguments: object) -> object:
        found = tasks(*arguments)  # type: ignore[arg-type]
        path.write_bytes(other.read_bytes())
        return found

    monkeypatch.setattr(surveying, "_tasks", late)
    found = survey(tmp_path / "zoo", output=tmp_path / "out", only=ONLY)
    assert list(found.models["status"]) == ["changed"]
    monkeypatch.undo()
    again = survey(tmp_path / "zoo", output=tmp_path / "out", only=ONLY)
    assert list(again.models["status"]) == ["audited"]


def test_a_result_that_cannot_be_read_back_says_where(tmp_path: Path):
    place = LocalPlace(tmp_path)
    with pytest.raises(StoreError, match=re.escape("reports/none.json")):
        place.read("reports/none.json")


if __name__ == "__main__":
    import tempfile

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    with tempfile.TemporaryDirectory() as scratch:
        print("repeated, lost:", kill_at_random_moments(Path(scratch), moments=count, seed=count))
