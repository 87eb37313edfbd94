"""Model folders: which file is read, what is lost, and that nothing outside is opened and no code runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from critaudit.errors import CorruptFileError, LimitExceededError, NotAModelError, SourceError
from critaudit.sources.folders.config import activation_in, read_config
from critaudit.sources.folders.folder import read_folder
from critaudit.sources.folders.shards import numbered_shards


def save(path: Path, **tensors: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(tensors, path)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def sharded(folder: Path) -> dict[str, str]:
    """Two shards with an index; returns the weight map."""
    save(folder / "model-00001-of-00002.safetensors", a=ones(2, 2), b=ones(3))
    save(folder / "model-00002-of-00002.safetensors", c=2 * ones(2, 2))
    places = {"a": "model-00001-of-00002.safetensors", "b": "model-00001-of-00002.safetensors"}
    places["c"] = "model-00002-of-00002.safetensors"
    write_index(folder, places)
    return places


def write_index(folder: Path, places: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def test_given_both_formats_then_safetensors_are_read_and_the_others_said_to_be_left_out(tmp_path: Path) -> None:
    save(tmp_path / "model.safetensors", w=ones(2, 3))
    torch.save({"w": torch.zeros(2, 3)}, tmp_path / "pytorch_model.bin")
    torch.save({}, tmp_path / "training_args.bin")
    (tmp_path / "config.json").write_text('{"hidden_act": "gelu_new", "model_type": "gpt2", "n": 3}')
    contents = read_folder(tmp_path)
    assert contents.tensors["w"].read().sum() == 6
    reasons = {item.name: item.reason for item in contents.left_out}
    assert "safetensors" in reasons["pytorch_model.bin"]
    assert "training" in reasons["training_args.bin"]
    assert contents.metadata["activation"] == "gelu_tanh"
    assert contents.metadata["n"] == 3
    assert not contents.problems


def test_given_only_a_pickle_then_it_is_read_inertly(tmp_path: Path) -> None:
    torch.save({"w": torch.full((2, 3), 2.0)}, tmp_path / "pytorch_model.bin")
    assert read_folder(tmp_path).tensors["w"].read().sum() == 12


def test_given_shards_with_an_index_then_they_are_one_model(tmp_path: Path) -> None:
    sharded(tmp_path)
    contents = read_folder(tmp_path)
    assert {name: float(tensor.read().sum()) for name, tensor in contents.tensors.items()} == {"a": 4, "b": 3, "c": 8}
    assert not contents.left_out
    assert not contents.problems


def test_given_pickled_shards_then_they_are_one_model_too(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": torch.ones(3)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    places = {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    assert list(read_folder(tmp_path).tensors) == ["a", "b"]


def test_given_a_missing_shard_then_its_tensors_are_lost_and_the_others_read(tmp_path: Path) -> None:
    sharded(tmp_path)
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    contents = read_folder(tmp_path)
    assert list(contents.tensors) == ["c"]
    assert sorted(item.name for item in contents.left_out if item.lost) == ["a", "b"]
    assert "2 tensors are lost" in contents.problems[0]


def test_given_an_index_that_promises_more_than_the_shard_holds_then_that_is_lost(tmp_path: Path) -> None:
    places = sharded(tmp_path)
    write_index(tmp_path, places | {"d": places["c"]})
    contents = read_folder(tmp_path)
    assert [item.name for item in contents.left_out if item.lost] == ["d"]
    assert "1 tensors" in contents.problems[0]


def test_given_a_tensor_in_two_shards_then_the_one_of_the_index_counts(tmp_path: Path) -> None:
    places = sharded(tmp_path)
    save(tmp_path / "model-00001-of-00002.safetensors", a=ones(2, 2), b=ones(3), c=7 * ones(2, 2))
    contents = read_folder(tmp_path)
    assert contents.tensors["c"].read().sum() == 8
    assert [(item.name, item.lost) for item in contents.left_out] == [("c", False)]
    assert places["c"].endswith("00002-of-00002.safetensors")


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/passwd", "link.safetensors", "pipe", "sub/../../x", ""]
)
def test_given_shards_outside_the_folder_then_they_are_not_opened(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "model"
    save(tmp_path / "secret.safetensors", secret=ones(2))
    places = {}
    inside.mkdir()
    places.update(sharded(inside))
    (inside / "link.safetensors").symlink_to("../secret.safetensors")
    os.mkfifo(inside / "pipe")
    write_index(inside, places | {"secret": name})
    contents = read_folder(inside)
    assert set(contents.tensors) == {"a", "b", "c"}
    assert [item.name for item in contents.left_out if item.lost] == ["secret"]
    assert contents.problems


def test_given_no_shard_that_can_be_read_then_one_line_says_so(tmp_path: Path) -> None:
    for file in sharded(tmp_path).values():
        (tmp_path / file).unlink(missing_ok=True)
    with pytest.raises(SourceError, match="none of its 2 shards"):
        read_folder(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{", '{"weight_map": []}', '{"weight_map": {"a": 3}}', '{"weight_map"', "\xff"])
def test_given_a_broken_index_then_one_line_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CorruptFileError) as error:
        read_folder(tmp_path)
    assert "\n" not in str(error.value)


def test_given_bombs_in_json_then_they_are_refused(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text("[" * 100_000)
    with pytest.raises(LimitExceededError):
        read_folder(tmp_path)
    write_index(tmp_path, {f"t{number}": f"s{number}.safetensors" for number in range(501)})
    with pytest.raises(LimitExceededError, match="501 shards"):
        read_folder(tmp_path)


def test_given_numbered_shards_without_index_then_missing_parts_are_named(tmp_path: Path) -> None:
    save(tmp_path / "model-00001-of-00003.safetensors", a=ones(2))
    save(tmp_path / "model-00003-of-00003.safetensors", c=ones(2))
    contents = read_folder(tmp_path)
    assert list(contents.tensors) == ["a", "c"]
    assert [item.name for item in contents.left_out] == ["model-00002-of-00003.safetensors"]
    assert contents.left_out[0].lost


def test_given_other_names_then_they_are_no_numbered_shards() -> None:
    assert numbered_shards(["a-00001-of-00002.bin", "b-00002-of-00002.bin"]) is None
    assert numbered_shards(["a-00001-of-99999.bin"]) is None
    assert numbered_shards([]) is None


def test_given_a_pipeline_then_components_are_prefixed_and_missing_ones_named(tmp_path: Path) -> None:
    index = {"_class_name": "P", "unet": ["diffusers", "UNet"], "vae": ["diffusers", "VAE"], "safety": [None, None]}
    index |= {"scheduler": ["diffusers", "PNDMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"]}
    index["tokenizer"] = ["transformers", "CLIPTokenizer"]
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    save(tmp_path / "unet" / "diffusion_pytorch_model.safetensors", w=ones(2))
    save(tmp_path / "unrelated" / "model.safetensors", w=ones(2))
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text("{}")
    contents = read_folder(tmp_path)
    assert list(contents.tensors) == ["unet.w"]
    assert sorted(item.name for item in contents.left_out if item.lost) == ["text_encoder", "vae"]
    assert len(contents.problems) == 2


def test_given_one_file_of_any_name_or_one_in_a_subfolder_then_it_is_read(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "net.pt")
    assert list(read_folder(tmp_path).tensors) == ["w"]
    save(tmp_path / "outer" / "inner" / "model.safetensors", w=ones(2))
    assert list(read_folder(tmp_path / "outer").tensors) == ["inner.w"]


def test_given_several_models_then_they_are_listed(tmp_path: Path) -> None:
    for name in ("small.pt", "large.pt"):
        torch.save({"w": torch.ones(2)}, tmp_path / name)
    with pytest.raises(SourceError, match=r"large\.pt, small\.pt"):
        read_folder(tmp_path)
    for name in ("one", "two"):
        save(tmp_path / "runs" / name / "model.safetensors", w=ones(2))
    with pytest.raises(SourceError, match="one, two"):
        read_folder(tmp_path / "runs")


def test_given_one_model_in_several_formats_then_safetensors_are_read(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(2)}, tmp_path / "net.pt")
    save(tmp_path / "net.safetensors", w=ones(2))
    assert read_folder(tmp_path).tensors["w"].read().sum() == 2


def test_given_no_model_then_one_line_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(NotAModelError, match="empty"):
        read_folder(tmp_path)
    (tmp_path / "readme\x1b[31m.md").write_text("hello")
    with pytest.raises(NotAModelError) as error:
        read_folder(tmp_path)
    assert "\x1b" not in str(error.value)


def test_given_code_in_the_folder_then_it_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "ran"
    code = f"import pathlib; pathlib.Path({str(mark)!r}).touch()"
    for name in ("modeling_evil.py", "__init__.py", "numpy.py", "torch.py", "safetensors.py", "json.py"):
        (tmp_path / name).write_text(code)
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "modeling_evil.Evil"}, "model_type": "evil"}')
    save(tmp_path / "model.safetensors", w=ones(2))
    monkeypatch.chdir(tmp_path)
    assert list(read_folder(tmp_path).tensors) == ["w"]
    assert not mark.exists()
    exec((tmp_path / "modeling_evil.py").read_text())
    assert mark.exists(), "the canary must be live, or this test proves nothing"


def test_given_a_broken_configuration_then_the_weights_are_still_read(tmp_path: Path) -> None:
    save(tmp_path / "model.safetensors", w=ones(2))
    for text in ("[" * 100_000, "{", "[]", '{"a": ' + "9" * 5000 + "}"):
        (tmp_path / "config.json").write_text(text)
        contents = read_folder(tmp_path)
        assert list(contents.tensors) == ["w"]
        assert [item.name for item in contents.left_out] == ["config.json"]
    (tmp_path / "config.json").write_text('{"nan": NaN, "big": 1e999, "\\u001b[31m": "\\u202e", "deep": {"x": 1}}')
    metadata, note = read_config(tmp_path)
    assert note is None
    assert "\x1b" not in repr(metadata)
    assert "\u202e" not in str(metadata)
    assert "nan" not in metadata
    assert "big" not in metadata


@pytest.mark.parametrize(
    ("config", "activation"),
    [
        ({"hidden_act": "relu"}, "relu"),
        ({"hidden_activation": "gelu_pytorch_tanh"}, "gelu_tanh"),
        ({"activation_function": "swish"}, "silu"),
        ({"text_config": {"hidden_act": "quick_gelu"}}, "quick_gelu"),
        ({"hidden_act": 3}, None),
        ({"hidden_act": "<script>"}, None),
        ({}, None),
    ],
)
def test_given_a_configuration_then_its_nonlinearity_is_in_pytorchs_words(
    config: dict[str, object], activation: str | None
) -> None:
    assert activation_in(config) == activation
