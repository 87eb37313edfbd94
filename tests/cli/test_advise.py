"""`critaudit advise` as its users meet it: code at the end, one-line errors, exit statuses, quiet pipes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from critaudit.cli import main
from critaudit.training import Monitor
from tests.advising.networks import WIDTH, shallow, trained


@pytest.fixture(autouse=True)
def small_and_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The smallest trials in one thread, with a module to import networks from in the current folder."""
    (tmp_path / "nets_of_advise.py").write_text("from tests.advising.networks import deep, shallow\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("critaudit.advising.sizing.WORK", 1.0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    sys.modules.pop("nets_of_advise", None)


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["advise", *arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def test_a_factory_gets_its_initialisation_and_the_code_is_printed_last(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    status, out, err = run(
        "nets_of_advise:deep",
        "--optimizer",
        "SGD",
        "--lr",
        "0.1",
        "--momentum",
        "0.9",
        "--json",
        "a.json",
        capsys=capsys,
    )
    assert (status, err) == (0, "")
    assert "problem" in out
    assert out.index("before") < out.index("import critaudit.init") < out.index("wrote a.json")
    call = next(line for line in out.splitlines() if line.startswith("critaudit.init.critical_("))
    report = json.loads((tmp_path / "a.json").read_text())
    assert call in report["model"]["measurements"]["init.snippet"]["value"]
    assert (tmp_path / "critaudit-advice-nets_of_advise-deep.html").is_file()
    assert report["provenance"]["settings"]["momentum"] == 0.9


def test_quiet_prints_paths_and_the_bar_sets_the_status(capsys) -> None:  # type: ignore[no-untyped-def]
    arguments = ("nets_of_advise:deep", "--lr", "0.1", "--only", "init", "-o", "r.html", "-q")
    assert run(*arguments, capsys=capsys)[:2] == (0, "r.html\n")
    assert run(*arguments, "--fail-on", "info", capsys=capsys)[0] == 10


def test_several_checkpoints_are_one_training(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    paths = trained(tmp_path, decay=0.0, steps=50, every=10)
    sizes = ("--dataset-size", "128", "--batch-size", "32")
    options = ("--activation", "tanh", "--only", "weight-decay", "-o", "r.html", "--json", "r.json", "-q", *sizes)
    assert run(*map(str, paths), *options, capsys=capsys)[0] == 0
    report = json.loads((tmp_path / "r.json").read_text())
    at = report["layers"][0]["measurements"]["decay.course_at"]["value"]
    assert at == [2.5, 5.0, 7.5, 10.0, 12.5]
    assert report["source"]["format"] == "advice"


def test_a_part_that_breaks_leaves_the_other_and_exits_with_4(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    path = trained(tmp_path, decay=0.5, steps=3)[0]
    np.save("x.npy", np.zeros((4, 7), np.float32))
    status, out, _ = run(str(path), "--activation", "tanh", "--inputs", "x.npy", "-o", "r.html", capsys=capsys)
    assert status == 4
    assert "did not come out" in out
    assert (tmp_path / "r.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((), 2, "SOURCE"),
        (("missing.pt",), 3, "no such file"),
        (("timm:no_such_model",), 2, "no such model"),
        (("nets_of_advise:shallow", "--optimizer", "sgd"), 2, "did you mean SGD"),
        (("nets_of_advise:shallow", "--lr", "0"), 2, "above 0"),
        (("nets_of_advise:shallow", "--only", "weight-decay"), 3, "tells of no training"),
        (("nets_of_advise:shallow", "--only", "both"), 2, "--only"),
        (("nets_of_advise:shallow", "-o", "/no/such/place.html"), 2, "no folder"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments, status, words, capsys) -> None:  # type: ignore[no-untyped-def]
    got, _, err = run(*arguments, capsys=capsys)
    assert (got, err.count("\n")) == (status, 1), err
    assert words in err


def test_its_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from critaudit.cli import main\n"
        "try: main(['advise', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'scipy', 'pandas', 'plotly', 'numpy', 'jinja2'} & set(sys.modules)\n"
        "sys.exit(','.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "--dataset-size" in done.stdout


def test_a_log_with_a_damaged_line_gives_advice_and_the_status_of_a_partial_one(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    net = shallow()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Monitor(net, optimizer, dataset_size=320, batch_size=32, log="run.jsonl", every=1, quiet=True):
        for _ in range(8):
            optimizer.zero_grad()
            net(torch.randn(32, WIDTH)).square().mean().backward()
            optimizer.step()
    lines = (tmp_path / "run.jsonl").read_text().splitlines()
    for place, expected in ((None, 0), (4, 4)):
        kept = [line[: len(line) // 2] if number == place else line for number, line in enumerate(lines)]
        (tmp_path / "run.jsonl").write_text("\n".join(kept) + "\n")
        status, out, _ = run("run.jsonl", "--activation", "tanh", capsys=capsys)
        assert status == expected
        assert ("damaged line is left out (line 5)" in out) is (place is not None)
