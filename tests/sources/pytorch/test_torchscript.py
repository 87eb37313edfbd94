"""TorchScript archives: the state dict's names and values, hints from the source text, and no execution."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.contents import Contents
from critaudit.sources.detect import read_file
from critaudit.tensors import RegularFile

pytestmark = pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated; its files are not


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(4, 4, 3, groups=4)
        self.up = nn.ConvTranspose1d(4, 6, 2, groups=2)
        self.register_buffer("scale", torch.full((6, 1), 2.0))
        self.register_buffer("transient", torch.ones(6, 1), persistent=False)
        self.offset = torch.ones(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(self.depthwise(x)) * self.scale + self.transient + self.offset


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU())
        self.blocks = nn.ModuleList([Block()])
        self.head = nn.Linear(6, 3)
        self.tied = self.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(2)) + self.tied(x.mean(2)) @ torch.eye(3)


def saved(path: Path, *, traced: bool) -> Net:
    torch.manual_seed(0)
    network = Net().eval()
    program = torch.jit.trace(network, torch.randn(1, 2, 20)) if traced else torch.jit.script(network)
    torch.jit.save(program, path)
    return network


def read(path: Path) -> Contents:
    return read_file(RegularFile(path))


@pytest.mark.parametrize("traced", [False, True])
def test_the_state_dict_of_a_script(tmp_path: Path, traced: bool) -> None:
    saved(tmp_path / "m.pt", traced=traced)
    contents = read(tmp_path / "m.pt")
    expected = torch.jit.load(tmp_path / "m.pt").state_dict()
    assert contents.format == "TorchScript archive"
    assert set(expected) <= set(contents.tensors)
    for name, tensor in contents.tensors.items():
        if not name.startswith("CONSTANTS."):
            np.testing.assert_array_equal(tensor.read(), expected[name].numpy(), err_msg=name)
    assert not contents.problems


@pytest.mark.parametrize("traced", [False, True])
def test_hints_come_from_the_source_text(tmp_path: Path, traced: bool) -> None:
    saved(tmp_path / "m.pt", traced=traced)
    hints = read(tmp_path / "m.pt").hints
    assert (hints["blocks.0.depthwise.weight"].module, hints["blocks.0.depthwise.weight"].groups) == ("Conv1d", 4)
    assert (hints["blocks.0.up.weight"].module, hints["blocks.0.up.weight"].groups) == ("ConvTranspose1d", 2)
    assert (hints["stem.0.weight"].groups, hints["stem.0.weight"].activation) == (1, "relu")
    assert hints["head.weight"].module == "Linear"
    assert hints["blocks.0.scale"].buffer is True
    assert hints["head.weight"].buffer is False


def test_plain_tensor_attributes_are_left_out_and_said_so(tmp_path: Path) -> None:
    saved(tmp_path / "m.pt", traced=False)
    names = {item.name for item in read(tmp_path / "m.pt").left_out}
    assert names == {"blocks.0.offset"}


def test_constants_that_may_be_weights_are_kept(tmp_path: Path) -> None:
    class Baked(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ matrix + vector

    matrix, vector = torch.randn(3, 3), torch.randn(3)
    torch.jit.save(torch.jit.trace(Baked(), torch.randn(2, 3)), tmp_path / "m.pt")
    contents = read(tmp_path / "m.pt")
    (name,) = contents.tensors
    assert name.startswith("CONSTANTS.c")
    np.testing.assert_array_equal(contents.tensors[name].read(), matrix.numpy())
    assert [item.reason for item in contents.left_out] == ["a constant of the code"]


def test_without_its_source_text_the_tensors_are_still_there(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    saved(path, traced=False)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if "/code/" not in name}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    contents = read(path)
    assert "blocks.0.depthwise.weight" in contents.tensors
    assert "blocks.0.depthwise.weight" not in contents.hints  # its groups are unknown
    assert contents.hints["head.weight"].module == "Linear"


def test_quantised_layers_keep_their_packed_weights(tmp_path: Path) -> None:
    engine = next((name for name in torch.backends.quantized.supported_engines if name != "none"), None)
    if engine is None:
        pytest.skip("this build of PyTorch has no quantised kernels")
    torch.backends.quantized.engine = engine
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    quantised = torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)
    torch.jit.save(torch.jit.script(quantised), tmp_path / "m.pt")
    contents = read(tmp_path / "m.pt")
    weights = {tensor.shape: tensor for tensor in contents.tensors.values() if len(tensor.shape) == 2}
    np.testing.assert_allclose(weights[(3, 4)].read(), quantised[0].weight().dequantize().numpy(), rtol=1e-6)
    np.testing.assert_allclose(weights[(2, 3)].read(), quantised[2].weight().dequantize().numpy(), rtol=1e-6)
