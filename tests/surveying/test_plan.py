"""What folders, patterns, lists and names mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from critaudit.errors import UsageError
from critaudit.surveying.plan import expand


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def names(found: tuple[str, ...], folder: Path) -> list[str]:
    return [Path(source).relative_to(folder).as_posix() for source in found]


def test_a_folder_means_the_models_below_it_in_order(tmp_path: Path):
    touch(tmp_path, "b/y.pt", "a.safetensors", "notes.txt", ".hidden/z.pt", "b/c/x.onnx", "optimizer.pt")
    assert names(expand([tmp_path]), tmp_path) == ["a.safetensors", "b/c/x.onnx", "b/y.pt"]


def test_a_model_folder_counts_once(tmp_path: Path):
    touch(tmp_path, "bert/config.json", "bert/model.safetensors", "bert/pytorch_model.bin", "z.pt")
    touch(tmp_path, "llm/model-00001-of-00002.safetensors", "llm/model-00002-of-00002.safetensors")
    assert names(expand([tmp_path]), tmp_path) == ["bert", "llm", "z.pt"]


def test_a_folder_of_checkpoints_with_a_configuration_is_not_one_model(tmp_path: Path):
    touch(tmp_path, "config.json", "epoch1.pt", "epoch2.pt")
    assert names(expand([tmp_path]), tmp_path) == ["epoch1.pt", "epoch2.pt"]


def test_patterns_find_files_at_any_depth_each_once(tmp_path: Path):
    touch(tmp_path, "x/1.pt", "x/y/2.pt", "x/y/readme.md")
    assert names(expand([f"{tmp_path}/**/*.pt", f"{tmp_path}/x/1.pt"]), tmp_path) == ["x/1.pt", "x/y/2.pt"]
    assert names(expand([f"{tmp_path}/**"]), tmp_path) == ["x/1.pt", "x/y/2.pt"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path):
    touch(tmp_path, "a[1].pt")
    assert names(expand([f"{tmp_path}/a[1].pt"]), tmp_path) == ["a[1].pt"]


def test_a_list_names_sources_relative_to_itself(tmp_path: Path):
    touch(tmp_path, "m/1.pt", "m/2.pt")
    (tmp_path / "list.txt").write_text("# mine\n\nm/2.pt\nm\ntimm:resnet18\nm/*.pt\n")
    found = expand([f"@{tmp_path}/list.txt"])
    assert found == (str(tmp_path / "m/2.pt"), str(tmp_path / "m/1.pt"), "timm:resnet18")


def test_names_of_networks_may_be_patterns():
    assert expand(["torchvision:resnet1*", "torchvision:alexnet"], random_weights=True) == (
        "torchvision:resnet18",
        "torchvision:resnet101",
        "torchvision:resnet152",
        "torchvision:alexnet",
    ) or set(expand(["torchvision:resnet1*"], random_weights=True)) == {
        "torchvision:resnet18",
        "torchvision:resnet101",
        "torchvision:resnet152",
    }


@pytest.mark.parametrize("source", ["torchvision:nonesuch*", "{}/nothing/*.pt", "{}/empty", "@{}/none.txt"])
def test_what_means_nothing_is_refused_in_one_line(tmp_path: Path, source: str):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError) as caught:
        expand([source.format(tmp_path)], random_weights=True)
    assert "\n" not in str(caught.value)


def test_no_sources_and_lists_of_lists_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="no sources"):
        expand([])
    (tmp_path / "a.txt").write_text("@b.txt\n")
    with pytest.raises(UsageError, match="another list"):
        expand([f"@{tmp_path}/a.txt"])
