"""The command line as its users meet it: exit statuses, one-line errors, quiet pipes, a fast --help."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from critaudit.cli import cli, main
from critaudit.demo import CHECKPOINTS


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt"
    torch.manual_seed(0)
    torch.save({"fc1.weight": torch.randn(40, 30), "fc1.bias": torch.zeros(40), "fc2.weight": torch.randn(5, 40)}, path)
    return path


def test_help_imports_none_of_the_heavy_packages() -> None:
    code = (
        "import sys; from critaudit.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'scipy', 'pandas', 'powerlaw', 'plotly', 'numpy', 'timm', 'jinja2'} & set(sys.modules)\n"
        "sys.exit(','.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_auditing_weights_imports_no_torch(model: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from critaudit.cli import main\n"
        f"try: main([{str(model)!r}, '-o', {str(tmp_path / 'r.html')!r}, '-q'])\n"
        "except SystemExit as done: status = done.code\n"
        "assert status == 0, status\n"
        "sys.exit('torch' if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_bare_path_is_audited_and_written_as_html_and_json(model, tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    html, data = tmp_path / "r.html", tmp_path / "r.json"
    status, out, err = run(str(model), "-o", str(html), "--json", str(data), "-q", capsys=capsys)
    assert (status, err) == (0, "")
    assert out.split() == [str(data), str(html)]
    report = json.loads(data.read_text())
    assert report["schema"] == "critaudit.report/1"
    assert [layer["name"] for layer in report["layers"]] == ["fc1.weight", "fc2.weight"]
    assert html.read_text().lstrip().lower().startswith("<!doctype html>")


def test_options_may_come_before_the_source(model, tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    status, _, _ = run("-q", "-o", str(tmp_path / "r.html"), str(model), capsys=capsys)
    assert status == 0


def test_a_file_named_like_a_command_is_audited_by_its_path(model, tmp_path, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    model.rename(tmp_path / "demo")
    status, out, _ = run("./demo", "-q", capsys=capsys)
    assert (status, out.strip()) == (0, "critaudit-demo.html")


def test_two_runs_give_the_same_measurements(model, tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    found = []
    for name in ("a.json", "b.json"):
        run(str(model), "-o", str(tmp_path / "r.html"), "--json", str(tmp_path / name), "-q", capsys=capsys)
        report = json.loads((tmp_path / name).read_text())
        found.append((report["layers"], report["model"], report["findings"]))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("missing.pt",), 3, "no such file"),
        (("--only", "entropy", "{model}"), 2, "no analyzer is called entropy"),
        (("--no-such-option", "{model}"), 2, "--no-such-option"),
        (("timm:no_such_model", "--random-weights"), 2, "no_such_model"),
        (("{model}", "--random-weights"), 2, "weights of its own"),
        (("{model}", "--arch", "timm:resnet18"), 2, "resnet18"),
        (("{model}", "-o", "/no/such/report.html"), 2, "no folder"),
        (("no.such.module:factory",), 2, "no.such"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments, status, words, model, capsys) -> None:  # type: ignore[no-untyped-def]
    got, _, err = run(*(argument.format(model=model) for argument in arguments), capsys=capsys)
    assert got == status, err
    assert words in err
    assert err.count("\n") == 1


def test_findings_at_or_above_the_bar_exit_with_10(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    weight = np.random.default_rng(0).standard_normal((20, 20)).astype(np.float32)
    weight[3, 4] = np.nan
    np.savez(tmp_path / "broken.npz", weight=weight)
    arguments = (str(tmp_path / "broken.npz"), "-q", "-o", str(tmp_path / "r.html"))
    assert run(*arguments, "--fail-on", "problem", capsys=capsys)[0] == 10
    assert run(*arguments, capsys=capsys)[0] == 0


def test_a_file_good_in_part_exits_with_4_and_says_what_is_missing(model, tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    data = bytearray(model.read_bytes())
    where = data.find(torch.load(model)["fc2.weight"].numpy().tobytes()[:64])
    assert where > 0
    data[where] ^= 0xFF
    (tmp_path / "damaged.pt").write_bytes(data)
    status, out, _ = run(str(tmp_path / "damaged.pt"), "-o", str(tmp_path / "r.html"), capsys=capsys)
    assert status == 4
    assert "fc2.weight" in out


def test_names_reach_the_terminal_escaped(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    torch.save({"evil\x1b]0;title\x07\u202e<script>.weight": torch.randn(20, 20)}, tmp_path / "m.pt")
    status, out, err = run(str(tmp_path / "m.pt"), "-o", str(tmp_path / "r.html"), capsys=capsys)
    assert status == 0
    shown = out + err + (tmp_path / "r.html").read_text()
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "<script>.weight" not in (tmp_path / "r.html").read_text()


def test_a_hostile_working_directory_runs_nothing(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cwd"
    folder.mkdir()
    for name in ("numpy", "typing", "click", "json", "pickle", "torch", "critaudit_plugin", "jinja2", "rich"):
        (folder / f"{name}.py").write_text(
            f"open({str(tmp_path / 'canary')!r}, 'w').write('{name}')\nraise SystemExit(99)\n"
        )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for command in ([str(Path(sys.executable).with_name("critaudit"))], [sys.executable, "-m", "critaudit"]):
        done = subprocess.run(
            [*command, str(model), "-q"], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert not (tmp_path / "canary").exists(), (tmp_path / "canary").read_text()
        assert done.returncode == 0, done.stderr


def test_render_gives_the_html_of_a_saved_report(model, tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    run(str(model), "-o", str(tmp_path / "a.html"), "--json", str(tmp_path / "a.json"), "-q", capsys=capsys)
    status, out, _ = run("render", str(tmp_path / "a.json"), "-o", str(tmp_path / "b.html"), capsys=capsys)
    assert (status, out.strip()) == (0, str(tmp_path / "b.html"))
    assert (tmp_path / "b.html").read_text() == (tmp_path / "a.html").read_text()


def test_render_names_all_that_it_wrote_and_refuses_a_place_that_is_none(model, tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    saved, html, copy = tmp_path / "a.json", tmp_path / "b.html", tmp_path / "c.json"
    run(str(model), "-o", str(tmp_path / "a.html"), "--json", str(saved), "-q", capsys=capsys)
    status, out, err = run("render", str(saved), "-o", str(html), "--json", str(copy), capsys=capsys)
    assert (status, out.split(), err) == (0, [str(copy), str(html)], "")
    assert copy.read_text() == saved.read_text()
    html.unlink()
    for wrong in (("-o", "/no/such/x.html"), ("-o", str(html), "--json", "/no/such/a.json"), ("-o", str(tmp_path))):
        status, out, err = run("render", str(saved), *wrong, capsys=capsys)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "no folder /no/such" in err or "this is a folder" in err
        assert not html.exists()


def test_demo_audits_the_packaged_network_and_runs_it(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    assert len(CHECKPOINTS) == 5
    assert sum(path.stat().st_size for path in CHECKPOINTS) < 3_000_000
    status, out, _ = run("demo", "-o", str(tmp_path / "d.html"), "--json", str(tmp_path / "d.json"), capsys=capsys)
    assert status == 0
    assert "epoch_12.pt" in out
    report = json.loads((tmp_path / "d.json").read_text())
    assert report["architecture"]["how"] == "chain"
    first = report["layers"][0]["measurements"]
    assert first["signal.strength"]["status"] == "measured"
    assert first["edge.j"]["value"] ** 2 == pytest.approx(0.4089, abs=2e-3)  # what the training script printed


def test_every_command_has_help(capsys) -> None:  # type: ignore[no-untyped-def]
    for name in cli.commands:
        status, out, _ = run(name, "--help", capsys=capsys)
        assert status == 0
        assert "Usage:" in out
