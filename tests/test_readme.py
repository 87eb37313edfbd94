"""The README's Python snippet runs as it stands, and its commands are the ones that continuous integration runs."""

import re
from pathlib import Path

import pytest
import torch

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_python_snippet_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.weight": torch.randn(60, 60)}, "model.pt")
    snippets = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(snippets) == 1
    exec(compile(snippets[0], "README.md", "exec"), {})
    assert (tmp_path / "report.html").stat().st_size > 100_000


def test_the_first_screen_has_two_commands() -> None:
    first, second = re.findall(r"```sh\n(.*?)\n```", README, flags=re.DOTALL)[:2]
    assert first.startswith("python3 -m venv .venv && ")
    assert first.endswith("critaudit demo")
    assert second.startswith("python3 -m venv .venv && ")
    assert second.endswith("pytest")
    assert README.index(second) < 1500
