"""The packaged index says of each network what a freshly built one says of itself."""

from __future__ import annotations

from importlib import metadata, resources
from pathlib import Path

import pytest

from critaudit.sources.live.hints import hints_of
from critaudit.sources.recognition.architectures import CLASSES, FILE, HEAD, make_index, packaged_index, write_index
from critaudit.sources.recognition.build_index import available, describe

_SAMPLE = [
    ("timm", "test_vit"),
    ("timm", "test_byobnet"),
    ("timm", "resnet18"),
    ("timm", "convnext_atto"),
    ("timm", "vit_small_patch14_dinov2"),
    ("timm", "levit_128s"),
    ("torchvision", "resnet18"),
    ("torchvision", "regnet_x_400mf"),
    ("torchvision", "ssdlite320_mobilenet_v3_large"),
    ("torchvision", "r3d_18"),
]


@pytest.mark.parametrize(("library", "name"), _SAMPLE)
def test_a_sample_agrees_with_freshly_built_networks(library: str, name: str) -> None:
    # GIVEN a network built now
    fresh = describe(library, name)
    # WHEN it is looked up
    index = packaged_index()
    (known,) = (one for one in index.networks if (one.library, one.name) == (library, name))
    # THEN names, shapes, layers, classes, input and operations are those of the index
    assert tuple(index.tensor_names(known.structure)) == fresh.names
    assert tuple(index.tensor_shapes(known.structure)) == fresh.shapes
    assert tuple(index.layer_hints(known.structure)) == fresh.hints
    assert (known.classes, known.head_classes, known.input) == (fresh.classes, fresh.head_classes, fresh.input)
    if all(metadata.version(package).partition("+")[0] == version for package, version in index.versions.items()):
        assert known.function == fresh.function


def test_the_index_is_small_and_holds_every_network_of_the_installed_libraries() -> None:
    packaged = resources.files("critaudit.sources.recognition").joinpath(FILE)
    assert len(packaged.read_bytes()) < 2_000_000
    index = packaged_index()
    known = {(one.library, one.name) for one in index.networks}
    assert len(known) == len(index.networks) > 1300
    import timm

    if timm.__version__ == index.versions["timm"]:
        assert {one for one in available() if one[0] == "timm"} == {one for one in known if one[0] == "timm"}


def test_every_entry_is_consistent() -> None:
    index = packaged_index()
    assert len(index.starts) == max(one.structure for one in index.networks) + 2
    assert int(index.starts[-1]) == len(index.tensors) == len(index.flags) == len(index.layers)
    classes, head = (index.flags & CLASSES) > 0, (index.flags & HEAD) > 0
    assert head[classes].all(), "a tensor that depends on the classes is missing without classifier"
    assert len(set(index.names)) == len(index.names)


def test_writing_gives_the_same_bytes_and_reading_the_same_index(tmp_path: Path) -> None:
    # GIVEN descriptions of two networks
    descriptions = [describe("timm", "test_vit"), describe("timm", "test_resnet")]
    # WHEN the index is written twice
    for name in ("a.npz", "b.npz"):
        write_index(make_index(descriptions, {"timm": "1"}), str(tmp_path / name))
    # THEN the bytes are the same
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_hints_name_buffers_and_layers() -> None:
    fresh = describe("timm", "test_resnet")
    hints = dict(zip(fresh.names, fresh.hints, strict=True))
    assert hints["bn1.running_mean"].buffer
    assert not hints["bn1.weight"].buffer
    assert hints["fc.weight"].module == "Linear"
    from critaudit.sources.recognition.instantiate import build_network

    assert hints == {
        name: hint for name, hint in hints_of(build_network("timm", "test_resnet")).items() if name in hints
    }
