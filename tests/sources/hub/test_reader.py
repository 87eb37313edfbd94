"""Hub names without a network: caches are used, everything else ends in one quick, quiet line."""

from __future__ import annotations

import logging
import socket
import time
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import timm
import torch
from huggingface_hub import constants

from critaudit.errors import UnavailableError, UsageError
from critaudit.sources.hub import network as hub_network
from critaudit.sources.hub import reader as hub
from critaudit.sources.hub.repository import choose_files

TINY = "test_resnet"  # timm's own 0.5 M parameter model for tests


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Every connection is refused and noted; caches are empty folders."""
    tried: list[str] = []

    def refuse(request: object, *_: object, **__: object) -> None:
        tried.append(getattr(request, "full_url", str(request)))
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: (_ for _ in ()).throw(OSError("no network in tests")))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return tried


@pytest.mark.parametrize(
    ("read", "name"),
    [(hub.read_timm, "resnet18"), (hub.read_torchvision, "resnet18"), (hub.read_huggingface, "org/name")],
)
def test_given_no_network_and_no_cache_then_one_line_comes_quickly_and_quietly(
    read: object, name: str, no_network: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    start = time.perf_counter()
    with pytest.raises(UnavailableError, match="cannot be reached") as error:
        read(name)  # type: ignore[operator]
    assert time.perf_counter() - start < 15
    assert "\n" not in str(error.value)
    assert len(no_network) == 1
    assert capfd.readouterr() == ("", "")


def test_given_random_weights_then_they_are_seeded_and_no_global_state_moves() -> None:
    state, level, timeout = torch.random.get_rng_state(), logging.root.manager.disable, socket.getdefaulttimeout()
    first, again, other = (hub.read_timm(TINY, random_weights=True, seed=seed) for seed in (0, 0, 1))
    name = next(name for name, tensor in first.tensors.items() if len(tensor.shape) == 4)
    assert (first.tensors[name].read() == again.tensors[name].read()).all()
    assert (first.tensors[name].read() != other.tensors[name].read()).any()
    assert torch.equal(state, torch.random.get_rng_state())
    assert (logging.root.manager.disable, socket.getdefaulttimeout()) == (level, timeout)
    assert first.architecture == TINY
    assert first.runnable is not None
    assert first.runnable.input is not None
    assert first.metadata["weights"] == "random (seed 0)"


def test_given_a_torchvision_model_then_its_input_is_that_of_its_weights() -> None:
    contents = hub.read_torchvision("squeezenet1_1", random_weights=True)
    assert contents.runnable is not None
    assert contents.runnable.input is not None
    assert contents.runnable.input.shape == (3, 224, 224)
    assert contents.runnable.input.interpolation == "bilinear"
    assert contents.runnable.input.crop == 224 / 256


@pytest.mark.parametrize(
    "name", ["resnet81", "", "hf_hub:org/evil", "local-dir:/tmp", "../x", "resnet18/../x", "r\x1b[31m"]
)
def test_given_an_unknown_name_then_close_ones_are_suggested_and_nothing_is_fetched(
    name: str, no_network: list[str]
) -> None:
    for read in (hub.read_timm, hub.read_torchvision):
        with pytest.raises(UsageError) as error:
            read(name)
        assert "\x1b" not in str(error.value)
        assert name != "resnet81" or "did you mean resnet18" in str(error.value)
    assert not no_network


@pytest.mark.parametrize("prefix", ["timm", "torchvision", "hf"])
def test_given_a_prefix_alone_then_the_missing_name_is_asked_for(prefix: str) -> None:
    read = {"timm": hub.read_timm, "torchvision": hub.read_torchvision, "hf": hub.read_huggingface}[prefix]
    with pytest.raises(UsageError, match=f"^no name after {prefix}:; "):
        read("")


def test_given_unknown_weights_of_a_known_model_then_the_known_ones_are_suggested() -> None:
    with pytest.raises(UsageError, match="a1_in1k"):
        hub.read_timm("resnet18.a7_in1k")


def fill_timm_cache(cache: Path) -> str:
    """The cache that a download of the tiny model's weights leaves behind; a value to recognise it by."""
    module = timm.create_model(TINY)
    config = timm.get_pretrained_cfg(TINY)
    folder = cache / f"models--{config.hf_hub_id.replace('/', '--')}"
    snapshot = folder / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    tensors = {name: np.full(tuple(tensor.shape), 0.25, np.float32) for name, tensor in module.state_dict().items()}
    safetensors.numpy.save_file(tensors, snapshot / "model.safetensors")
    return str(config.hf_hub_id)


def test_given_cached_timm_weights_then_they_are_used_without_network(tmp_path: Path, no_network: list[str]) -> None:
    fill_timm_cache(tmp_path / "hub")
    contents = hub.read_timm(TINY)
    assert all((tensor.read() == 0.25).all() for tensor in contents.tensors.values() if tensor.dtype == "float32")
    assert not no_network
    assert constants.HF_HUB_OFFLINE is False


def test_given_a_cached_repository_then_it_is_read_without_network(tmp_path: Path, no_network: list[str]) -> None:
    name = fill_timm_cache(tmp_path / "hub")
    contents = hub.read_huggingface(name)
    assert all((tensor.read() == 0.25).all() for tensor in contents.tensors.values())
    assert not no_network


def test_given_cached_torchvision_weights_then_they_are_used_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list[str]
) -> None:
    from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

    state = {name: torch.full_like(tensor, 0.5) for name, tensor in squeezenet1_1().state_dict().items()}
    place = tmp_path / "torch" / "checkpoints"
    place.mkdir(parents=True)
    torch.save(state, place / SqueezeNet1_1_Weights.DEFAULT.url.rsplit("/", 1)[-1])
    contents = hub.read_torchvision("squeezenet1_1")
    assert all((tensor.read() == 0.5).all() for tensor in contents.tensors.values())
    assert not no_network


def test_given_a_torchvision_that_does_not_fit_torch_then_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(hub.importlib, "import_module", fail)
    for read in (hub.read_torchvision, hub.read_timm):
        with pytest.raises(UnavailableError, match="does not fit"):
            read("resnet18")


@pytest.mark.parametrize(
    "name", ["", "/", "a/b/c", "../x", "a/..", "a b/c", "a/b@", "a/b@../../x", "-a/b", "a\0/b", "a--b/c"]
)
def test_given_a_malformed_repository_name_then_it_is_refused_before_anything_is_asked(
    name: str, no_network: list[str]
) -> None:
    with pytest.raises(UsageError):
        hub.read_huggingface(name)
    assert not no_network


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (["model.safetensors", "pytorch_model.bin", "x.py"], ["model.safetensors"]),
        (["pytorch_model.bin", "tf_model.h5", "training_args.bin"], ["pytorch_model.bin"]),
        (
            ["model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors", "consolidated.safetensors"],
            ["model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"],
        ),
        (["model.safetensors", "model.fp16.safetensors"], ["model.safetensors"]),
        (
            [
                "model_index.json",
                "unet/d.safetensors",
                "unet/d.fp16.safetensors",
                "unet/config.json",
                "big.safetensors",
            ],
            ["model_index.json", "unet/config.json", "unet/d.safetensors"],
        ),
        (["README.md", "modeling.py", "weights.py.bin"], []),
    ],
)
def test_given_a_repositorys_files_then_one_set_of_weights_is_chosen_and_never_code(
    listed: list[str], expected: list[str]
) -> None:
    chosen = choose_files([*listed, "config.json", "run.py", "sub/evil.py"])
    assert [name for name in chosen if name != "config.json"] == expected
    assert not any(name.endswith(".py") for name in chosen)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (urllib.error.HTTPError("u", 404, "m", None, None), True),  # type: ignore[arg-type]
        (urllib.error.HTTPError("u", 503, "m", None, None), False),  # type: ignore[arg-type]
        (urllib.error.URLError(TimeoutError()), False),
        (TimeoutError(), False),
        (ValueError("bad"), False),
    ],
)
def test_given_an_answer_then_reachable_says_whether_a_library_should_try(
    outcome: Exception, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*_: object, **__: object) -> None:
        raise outcome

    monkeypatch.setattr("urllib.request.urlopen", answer)
    assert hub_network.reachable("https://example.org") is expected
    assert hub_network.reachable("file:///etc/passwd") is False
