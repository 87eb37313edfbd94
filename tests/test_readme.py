"""The README's Python snippet runs as it stands, and its commands are the ones that continuous integration runs."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import critaudit
from critaudit.gates import read_configuration

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_python_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.weight": torch.randn(60, 60)}, "model.pt")
    audit, query, advise, monitor = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(audit, "README.md", "exec"), {})
    assert (tmp_path / "report.html").stat().st_size > 100_000
    critaudit.survey("model.pt", output="out", only=["entries"])
    question = query.replace("duckdb.sql(", "found = duckdb.sql(")
    space: dict[str, Any] = {}
    exec(compile(question, "README.md", "exec"), space)
    assert space["found"]["layers"].sum() == 1
    network = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    exec(compile(advise, "README.md", "exec"), {"critaudit": critaudit, "model": network})
    assert (tmp_path / "advice.html").stat().st_size > 100_000
    exec(compile(monitor, "README.md", "exec"), {})
    assert (tmp_path / "run.html").stat().st_size > 100_000
    assert (tmp_path / "run.jsonl").stat().st_size > 0


def test_the_configuration_in_the_readme_is_understood(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "critaudit.toml").write_text(example)
    assert read_configuration(tmp_path / "critaudit.toml").thresholds[0].high == 1.5


def test_the_first_screen_has_two_commands() -> None:
    first, second = re.findall(r"```sh\n(.*?)\n```", README, flags=re.DOTALL)[:2]
    assert first.startswith("python3 -m venv .venv && ")
    assert first.endswith("critaudit demo")
    assert second.startswith("python3 -m venv .venv && ")
    assert second.endswith("pytest")
    assert README.index(second) < 1500
