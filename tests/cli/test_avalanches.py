"""`critaudit avalanches`, as its users meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from critaudit.cli import main

FEW = ("--width", "40", "--depth", "40", "--networks", "11", "--inputs", "100", "--workers", "1")


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["avalanches", *arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def test_given_settings_when_simulated_then_page_and_json_are_written_and_the_verdict_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, data = tmp_path / "a.html", tmp_path / "a.json"
    status, out, err = run(*FEW, "--sigma-w", "1.05", "-o", str(page), "--json", str(data), capsys=capsys)
    assert (status, err) == (0, "")
    assert "Verdict:" in out
    assert "a linear network" in out
    document = json.loads(data.read_text())
    assert document["source"]["format"] == "simulation"
    assert document["provenance"]["settings"]["sigma_w"] == 1.05
    assert "Verdict" in page.read_text()
    # The page can be made again from the JSON.
    with pytest.raises(SystemExit) as exit_:
        main(["render", str(data), "-o", str(tmp_path / "b.html")])
    assert not exit_.value.code


def test_given_quiet_when_simulated_then_only_paths_are_printed_and_findings_decide_the_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "a.html"
    status, out, _ = run(*FEW, "-q", "--fail-on", "info", "-o", str(page), capsys=capsys)
    assert out.split() == [str(page)]
    assert status == 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--widths", "a,b"), "whole numbers"),
        (("--widths", "40"), "2 to"),
        (("--ensemble", "annealed"), "annealed"),
        (("--activation", "nothing"), "not known"),
        (("--alpha", "1.5", "--activation", "relu"), "unbounded"),
        (("--alpha", "3"), "alpha"),
        (("--alpha", "3", "--sigma-w", "1"), "alpha"),
        (("--sigma-w", "-1"), "sigma_w"),
        (("--activation", "relu", "--sigma-b", "0.1"), "sigma_w has no default"),
        (("--ensemble", "quenched", "--device", "cuda:99"), "cuda:99"),
        (("--ensemble", "quenched", "--device", "abacus"), "abacus"),
        (("--strength", "0"), "strength"),
        (("--depth", "1"), "depth"),
        (("-o", "/no/such/a.html"), "no folder"),
        (("--sarif", "/no/such/a.sarif"), "no folder"),
        (("--config", "/no/such.toml"), "cannot be read"),
    ],
)
def test_given_what_cannot_be_simulated_when_asked_then_one_line_says_so(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(*FEW, *arguments, capsys=capsys)
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
