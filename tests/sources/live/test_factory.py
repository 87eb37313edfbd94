"""Factories named by the user: the only place where the current directory can be imported from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from critaudit.errors import SourceError, UsageError
from critaudit.sources.live.factory import read_factory

CODE = """
from torch import nn, ones
def make(): return nn.Sequential(nn.Linear(3, 2), nn.Tanh())
def state(): return {"w": ones(2, 2)}
def number(): return 3
def fails(): raise ValueError("first line\\nsecond line")
def leaves(): raise SystemExit(0)
def needs(argument): return argument
made = nn.Linear(2, 2)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"factory_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return name


def test_given_a_factory_in_the_current_directory_then_its_network_is_described(package: str) -> None:
    before = list(sys.path)
    contents = read_factory(f"{package}:make")
    assert list(contents.tensors) == ["0.weight", "0.bias"]
    assert contents.hints["0.weight"].activation == "tanh"
    assert contents.runnable is not None
    assert sys.path == before


def test_given_a_state_dict_or_a_ready_module_then_they_are_taken(package: str) -> None:
    assert list(read_factory(f"{package}:state").tensors) == ["w"]
    assert list(read_factory(f"{package}:made").tensors) == ["weight", "bias"]


@pytest.mark.parametrize("name", ["fails", "leaves", "needs", "number"])
def test_given_a_factory_that_fails_then_one_line_says_how(package: str, name: str) -> None:
    with pytest.raises(SourceError) as error:
        read_factory(f"{package}:{name}")
    assert "\n" not in str(error.value)


def test_given_names_that_do_not_exist_then_one_line_says_so(package: str) -> None:
    with pytest.raises(UsageError, match="did you mean make"):
        read_factory(f"{package}:mak")
    with pytest.raises(UsageError, match="no module no_such_module"):
        read_factory("no_such_module:make")


def test_given_code_that_does_not_import_then_one_line_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, code in enumerate(("import no_such_package", "def broken(:", "raise SystemExit(3)")):
        (tmp_path / f"broken_{tmp_path.name}_{number}.py".replace("-", "_")).write_text(code)
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        name = f"broken_{tmp_path.name}_{number}".replace("-", "_")
        with pytest.raises(SourceError, match="importing") as error:
            read_factory(f"{name}:make")
        assert "\n" not in str(error.value)


def test_given_a_failure_then_the_import_path_is_restored(package: str) -> None:
    before = list(sys.path)
    with pytest.raises(SourceError):
        read_factory(f"{package}:fails")
    assert sys.path == before
