"""torch.export archives: weights and constants of both layouts, against the program's own state dict."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.contents import Contents
from critaudit.errors import CorruptFileError, NotAModelError
from critaudit.sources.detect import read_file
from critaudit.tensors import RegularFile


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4).bfloat16().float()
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.register_buffer("scale", torch.full((4,), 3.0))
        self.register_buffer("transient", torch.full((2,), 5.0), persistent=False)
        self.constant = torch.arange(4.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x)) * self.scale + self.constant + self.transient.sum()


@pytest.fixture(scope="module")
def program() -> torch.export.ExportedProgram:
    torch.manual_seed(0)
    return torch.export.export(Net().eval(), (torch.randn(2, 4),))


def read(path: Path) -> Contents:
    return read_file(RegularFile(path))


def agrees(contents: Contents, program: torch.export.ExportedProgram) -> None:
    assert contents.format == "torch.export archive"
    expected = {**program.state_dict, **{n: t for n, t in program.constants.items() if isinstance(t, torch.Tensor)}}
    assert set(contents.tensors) == set(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(contents.tensors[name].read(), tensor.detach().numpy(), err_msg=name)
    assert not contents.problems


def test_the_present_layout(program: torch.export.ExportedProgram, tmp_path: Path) -> None:
    torch.export.save(program, tmp_path / "m.pt2")
    contents = read(tmp_path / "m.pt2")
    agrees(contents, program)
    assert contents.tensors["first.weight"].key == contents.tensors["second.weight"].key
    assert {name for name, hint in contents.hints.items() if hint.buffer} == {"constant", "transient", "scale"}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_layout_of_checkpoints_inside_the_archive(
    program: torch.export.ExportedProgram, tmp_path: Path, compression: int
) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt2", "w", compression) as archive:
        archive.writestr("version", "8.1")
        archive.writestr("serialized_exported_program.json", "{}")
        for name, content in (("state_dict", dict(program.state_dict)), ("constants", dict(program.constants))):
            buffer = io.BytesIO()
            torch.save(content, buffer)
            archive.writestr(f"serialized_{name}.pt", buffer.getvalue())
        archive.writestr("serialized_example_inputs.pt", b"")
    agrees(read(tmp_path / "m.pt2"), program)


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def table_of(members: dict[str, bytes]) -> str:
    return next(name for name in members if name.endswith("weights_config.json"))


def test_a_missing_weight_is_lost(program: torch.export.ExportedProgram, tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    torch.export.save(program, path)

    def change(members: dict[str, bytes]) -> None:
        place = json.loads(members[table_of(members)])["config"]["first.bias"]["path_name"]
        del members[next(name for name in members if name.endswith(f"data/weights/{place}"))]

    rewritten(path, change)
    contents = read(path)
    assert [item.name for item in contents.left_out if item.lost] == ["first.bias"]
    assert "first.weight" in contents.tensors


def test_a_table_that_is_no_table_is_refused(program: torch.export.ExportedProgram, tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    torch.export.save(program, path)
    rewritten(path, lambda members: members.update({table_of(members): b"[" * 100_000}))
    with pytest.raises(CorruptFileError, match="no proper JSON"):
        read(path)


def test_several_models_are_told_apart(program: torch.export.ExportedProgram, tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    torch.export.save(program, path)

    def change(members: dict[str, bytes]) -> None:
        name = table_of(members)
        members[name.replace("model_weights", "other_weights")] = members[name]

    rewritten(path, change)
    names = set(read(path).tensors)
    assert {"model.first.weight", "other.first.weight"} <= names or {"first.weight", "other.first.weight"} <= names


def test_compiled_code_alone_is_no_model(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt2", "w") as archive:
        archive.writestr("m/archive_format", "pt2")
        archive.writestr("m/data/aotinductor/model/code.so", b"\x7fELF")
    with pytest.raises(NotAModelError, match="AOTInductor"):
        read(tmp_path / "m.pt2")
