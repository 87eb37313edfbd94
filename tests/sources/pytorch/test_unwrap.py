"""From nested checkpoints and whole modules to the model's tensors: names, roles, hints, metadata."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.contents import Contents, LayerHint
from critaudit.errors import NotAModelError
from critaudit.sources.detect import read_file
from critaudit.tensors import RegularFile


def state(*, fill: float = 1.0) -> dict[str, torch.Tensor]:
    return {"fc.weight": torch.full((3, 4), fill), "fc.bias": torch.full((3,), fill)}


def read(value: object, tmp_path: Path, *, legacy: bool = False) -> Contents:
    path = tmp_path / "m.pt"
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return read_file(RegularFile(path))


def left_out(contents: Contents) -> dict[str, str]:
    return {item.name: item.reason for item in contents.left_out}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda sd: sd,
        lambda sd: {"state_dict": sd, "epoch": 3},
        lambda sd: {"model": sd},
        lambda sd: {"model_state_dict": sd, "loss": 0.5},
        lambda sd: {"net": sd, "acc": 91.2},
        lambda sd: {"checkpoint": {"weights": sd}},
        lambda sd: {"module": sd, "dp_world_size": 1},
        lambda sd: {f"module.{name}": tensor for name, tensor in sd.items()},
        lambda sd: {f"_orig_mod.{name}": tensor for name, tensor in sd.items()},
        lambda sd: {f"module._orig_mod.{name}": tensor for name, tensor in sd.items()},
        lambda sd: {"state_dict": {f"model.{name}": t for name, t in sd.items()}, "pytorch-lightning_version": "2.1"},
        lambda sd: {"params_ema": sd},
        lambda sd: [{"model": sd}, 3],
        lambda sd: {"state_dict": sd, "best_acc": torch.tensor(0.9)},
    ],
)
def test_the_state_dict_is_found_and_named_plainly(wrap, tmp_path: Path) -> None:
    contents = read(wrap(state()), tmp_path)
    assert list(contents.tensors) == ["fc.weight", "fc.bias"]
    assert not contents.problems


@pytest.mark.parametrize(
    "names",
    [
        ["model.fc.weight", "head.weight"],
        ["module.fc.weight", "head.weight"],
        ["model.fc.weight", "model.head.weight"],  # without Lightning "model." is the network's own word
    ],
)
def test_a_prefix_stays_where_it_is_not_surely_a_wrapper(names: list[str], tmp_path: Path) -> None:
    assert list(read({name: torch.ones(2) for name in names}, tmp_path).tensors) == names


def test_a_training_checkpoint_keeps_settings_and_leaves_states_out(tmp_path: Path) -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 5)
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    contents = read(
        {
            "epoch": 7,
            "global_step": 1234,
            "state_dict": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": schedule.state_dict(),
            "rng_state": torch.get_rng_state(),
            "args": argparse.Namespace(lr=0.01, data=Path("/data"), layers=[3, 4], nothing=None),
            "best": float("nan"),
        },
        tmp_path,
    )
    assert list(contents.tensors) == ["weight", "bias"]
    assert left_out(contents)["optimizer.state.0.exp_avg"] == "optimizer state"
    assert "random number" in left_out(contents)["rng_state"]
    metadata = contents.metadata
    assert (metadata["epoch"], metadata["global_step"], metadata["best"]) == (7, 1234, "nan")
    (group,) = metadata["param_groups"]  # type: ignore[misc]
    assert group["lr"] == 0.01
    assert group["weight_decay"] == 0.05
    assert group["betas"] == [0.9, 0.999]
    assert group["tensors"] == 2
    arguments = metadata["args"]
    assert isinstance(arguments, dict)
    assert arguments["lr"] == 0.01
    assert arguments["layers"] == [3, 4]


def test_optimizer_state_under_any_key_is_known_by_its_form(tmp_path: Path) -> None:
    optimizer = {"state": {0: {"exp_avg": torch.ones(3, 4)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    contents = read({"state_dict": state(), "something": optimizer}, tmp_path)
    assert list(contents.tensors) == ["fc.weight", "fc.bias"]
    assert left_out(contents) == {"something.state.0.exp_avg": "optimizer state"}


def test_a_long_optimizer_state_is_summarised(tmp_path: Path) -> None:
    optimizer = {"state": {n: {"exp_avg": torch.ones(1)} for n in range(150)}, "param_groups": []}
    contents = read({"model": state(), "optimizer": optimizer}, tmp_path)
    assert len(contents.left_out) == 101
    assert contents.left_out[-1].name == "(50 more tensors)"


@pytest.mark.parametrize("key", ["ema", "model_ema", "state_dict_ema", "params_ema", "ema_state_dict", "teacher"])
def test_an_averaged_copy_beside_the_model_is_left_out(key: str, tmp_path: Path) -> None:
    contents = read({"model": state(), key: state(fill=2.0)}, tmp_path)
    assert list(contents.tensors) == ["fc.weight", "fc.bias"]
    assert contents.tensors["fc.weight"].read().max() == 1.0
    assert "averaged copy" in left_out(contents)[f"{key}.fc.weight"]


def test_an_averaged_copy_alone_is_the_model(tmp_path: Path) -> None:
    contents = read({"model": None, "ema": state(fill=2.0), "updates": 10}, tmp_path)
    assert list(contents.tensors) == ["fc.weight", "fc.bias"]


def test_several_models_are_kept_with_their_names(tmp_path: Path) -> None:
    contents = read({"netG": state(), "netD": {"state_dict": state()}, "optG": {"lr": torch.ones(2)}}, tmp_path)
    assert list(contents.tensors) == ["netG.fc.weight", "netG.fc.bias", "netD.fc.weight", "netD.fc.bias"]
    assert left_out(contents) == {"optG.lr": "optimizer state"}


def test_a_nested_tree_of_parameters_is_named_by_its_path(tmp_path: Path) -> None:
    tree = {
        "params": {"Dense_0": {"kernel": torch.ones(2, 3), "bias": torch.ones(3)}, "out": {"kernel": torch.ones(1)}}
    }
    assert list(read(tree, tmp_path).tensors) == ["Dense_0.kernel", "Dense_0.bias", "out.kernel"]


def test_keys_that_look_alike_stay_apart(tmp_path: Path) -> None:
    contents = read({0: torch.ones(1), "0": torch.ones(2), ("a", "b"): torch.ones(3), None: torch.ones(4)}, tmp_path)
    assert len(contents.tensors) == 4
    assert sorted(tensor.shape for tensor in contents.tensors.values()) == [(1,), (2,), (3,), (4,)]


def test_a_single_tensor_and_a_list_of_tensors(tmp_path: Path) -> None:
    assert list(read(torch.ones(2, 2), tmp_path).tensors) == ["tensor"]
    assert list(read([torch.ones(2), torch.ones(3)], tmp_path).tensors) == ["0", "1"]


def test_cyclic_objects_are_walked_once(tmp_path: Path) -> None:
    tree: dict[str, object] = {"model": state()}
    tree["self"] = tree
    tree["list"] = [tree, [tree]]
    assert list(read(tree, tmp_path).tensors) == ["fc.weight", "fc.bias"]


def test_very_deep_objects_are_said_to_be_left_out(tmp_path: Path) -> None:
    deep: object = {"x": torch.ones(1)}
    for _ in range(100):
        deep = [deep]
    contents = read({"model": state(), "deep": deep}, tmp_path)
    assert list(contents.tensors) == ["fc.weight", "fc.bias"]
    assert any("deeper than" in problem for problem in contents.problems)


@pytest.mark.parametrize("value", [{"epoch": 1}, [], 3, "text", None, argparse.Namespace(a=1)])
def test_a_checkpoint_without_tensors_is_no_model(value: object, tmp_path: Path) -> None:
    with pytest.raises(NotAModelError, match="without a single tensor"):
        read(value, tmp_path)


def test_long_names_are_shortened_and_stay_apart(tmp_path: Path) -> None:
    contents = read({"a" * 5000 + "b": torch.ones(1), "a" * 5000 + "c": torch.ones(1)}, tmp_path)
    assert len(contents.tensors) == 2
    assert all(len(name) < 300 for name in contents.tensors)


# ---- whole pickled modules ----


@pytest.fixture
def foreign() -> ModuleType:
    """A module of classes that exists only while a file is saved."""
    module = ModuleType("somebody_elses_network")
    code = """
import torch
from torch import nn

class Conv2dSame(nn.Conv2d):
    pass

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Sequential(Conv2dSame(8, 8, 3, groups=8), nn.Tanh())
        )
        self.up = nn.ConvTranspose2d(8, 4, 2, groups=2)
        self.rnn = nn.LSTM(4, 5, num_layers=2)
        self.attention = nn.MultiheadAttention(4, 2)
        self.embedding = nn.Embedding(10, 4)
        self.head = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 2))
        self.tied = self.head[2]
        self.register_buffer("scale", torch.ones(2))
        self.register_buffer("transient", torch.ones(3), persistent=False)
        self.anchors = torch.ones(5)
        self.function = torch.nn.functional.relu
"""
    exec(code, module.__dict__)
    for value in list(module.__dict__.values()):
        if isinstance(value, type):
            value.__module__ = module.__name__
    sys.modules[module.__name__] = module
    yield module
    sys.modules.pop(module.__name__, None)


def equal(contents: Contents, expected: Mapping[str, torch.Tensor]) -> None:
    assert list(contents.tensors) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(contents.tensors[name].read(), tensor.numpy(), err_msg=name)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.filterwarnings("ignore::torch.serialization.SourceChangeWarning")
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_a_whole_module_gives_its_state_dict_without_its_classes(
    foreign: ModuleType, tmp_path: Path, legacy: bool
) -> None:
    network = foreign.Net()
    path = tmp_path / "m.pt"
    torch.save(network, path, _use_new_zipfile_serialization=not legacy)
    del sys.modules[foreign.__name__]
    contents = read_file(RegularFile(path))
    equal(contents, network.state_dict())
    assert foreign.__name__ not in sys.modules
    assert contents.metadata == {"class": "somebody_elses_network.Net"}
    assert set(left_out(contents)) == {"transient", "anchors"}
    assert not contents.problems


def test_a_whole_module_tells_its_layers(foreign: ModuleType, tmp_path: Path) -> None:
    torch.save(foreign.Net(), tmp_path / "m.pt")
    hints = read_file(RegularFile(tmp_path / "m.pt")).hints
    assert hints["features.0.weight"] == LayerHint("Conv2d", "weight", 1, "relu")
    assert hints["features.3.0.weight"] == LayerHint("Conv2d", "weight", 8, "tanh")
    assert hints["up.weight"] == LayerHint("ConvTranspose2d", "weight", 2)
    assert hints["rnn.weight_hh_l1"] == LayerHint("LSTM", "weight_hh_l1", 1, "tanh")
    assert hints["attention.in_proj_weight"] == LayerHint("MultiheadAttention", "in_proj_weight")
    assert hints["attention.out_proj.weight"].module == "Linear"
    assert hints["embedding.weight"].module == "Embedding"
    assert hints["head.0.weight"].activation == "gelu"
    assert hints["head.2.weight"].activation is None
    assert hints["scale"].buffer is True
    assert hints["features.1.weight"].module == "BatchNorm2d"


def test_a_pickled_module_inside_a_checkpoint_and_data_parallel(foreign: ModuleType, tmp_path: Path) -> None:
    network = foreign.Net()
    contents = read({"model": nn.DataParallel(network), "epoch": 3}, tmp_path)
    equal(contents, network.state_dict())
    assert contents.metadata == {"epoch": 3}


def test_a_module_that_contains_itself_ends(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    network._modules["loop"] = network
    contents = read(network, tmp_path)
    assert list(contents.tensors) == ["0.weight", "0.bias"]
    assert any("contains itself" in problem for problem in contents.problems)


def test_modules_shared_exponentially_end(tmp_path: Path) -> None:
    network: nn.Module = nn.Linear(2, 2)
    for _ in range(40):
        network = nn.ModuleList([network, network])
    contents = read(network, tmp_path)
    assert contents.problems
    assert len(contents.tensors) <= 100_000
