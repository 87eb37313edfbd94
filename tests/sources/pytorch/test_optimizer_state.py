"""The optimizer in a checkpoint, read without PyTorch's loader."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.errors import CritauditError
from critaudit.sources.pytorch.optimizer_state import SavedOptimizer, read_optimizer


def trained(make: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    optimizer = make(network)
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.randn(8, 5)).square().sum().backward()
        optimizer.step()
    return network, optimizer


def saved(content: object, folder: Path, name: str = "checkpoint.pt", **options: Any) -> Path:
    torch.save(content, folder / name, **options)
    return folder / name


def found(path: Path) -> SavedOptimizer:
    held = read_optimizer(path)
    assert held is not None
    return held


@pytest.mark.parametrize("zipped", [True, False])
def test_moments_steps_and_settings_are_those_of_the_optimizer(zipped: bool, tmp_path: Path) -> None:
    network, optimizer = trained(lambda net: torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.05))
    content = {"model": network.state_dict(), "optimizer": optimizer.state_dict()}
    held = found(saved(content, tmp_path, _use_new_zipfile_serialization=zipped))
    assert held.steps == 3
    assert held.members == ((0, 1, 2, 3),)
    assert held.groups[0]["weight_decay"] == 0.05
    assert held.groups[0]["decoupled_weight_decay"] is True
    weight = next(network.parameters())
    expected = optimizer.state[weight]["exp_avg_sq"].numpy()
    np.testing.assert_array_equal(held.moments[0]["exp_avg_sq"].read(), expected)


def test_names_of_parameters_are_kept_where_the_optimizer_has_them(tmp_path: Path) -> None:
    _, optimizer = trained(lambda net: torch.optim.SGD(net.named_parameters(), lr=0.01, momentum=0.9))
    held = found(saved({"optimizer_state_dict": optimizer.state_dict()}, tmp_path))
    assert held.names == (("0.weight", "0.bias", "2.weight", "2.bias"),)
    assert held.steps is None
    assert held.moments[0]["momentum_buffer"].shape == (4, 5)


def test_lightning_keeps_a_list_and_the_trainer_a_file_beside_the_weights(tmp_path: Path) -> None:
    network, optimizer = trained(lambda net: torch.optim.Adam(net.parameters(), lr=0.01))
    lightning = {
        "pytorch-lightning_version": "2.5",
        "state_dict": network.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
    }
    assert found(saved(lightning, tmp_path, "lightning.ckpt")).steps == 3
    saved(optimizer.state_dict(), tmp_path, "optimizer.pt")
    assert found(tmp_path).steps == 3


def test_no_optimizer_is_none(tmp_path: Path) -> None:
    network, _ = trained(lambda net: torch.optim.SGD(net.parameters(), lr=0.01))
    assert read_optimizer(saved(network.state_dict(), tmp_path)) is None
    other = tmp_path / "model.safetensors"
    other.write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    assert read_optimizer(other) is None
    np.savez(tmp_path / "arrays.npz", weight=np.ones((2, 2)))
    assert read_optimizer(tmp_path / "arrays.npz") is None
    assert read_optimizer(tmp_path) is None


def test_nothing_in_the_file_is_run_and_damage_ends_in_one_line(tmp_path: Path) -> None:
    class Canary:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps({"optimizer": {"state": {0: {"step": Canary()}}, "param_groups": [{"params": [0]}]}}))
    assert found(path).numbers[0] == {}
    assert not (tmp_path / "ran").exists()
    whole = saved({"model": {}, "optimizer": {"state": {}, "param_groups": []}}, tmp_path).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CritauditError) as raised:
        read_optimizer(tmp_path / "cut.pt")
    assert "\n" not in str(raised.value)
