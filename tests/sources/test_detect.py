"""The content decides what a file is; what is no model is named in one clear line."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from critaudit.errors import CorruptFileError, NotAModelError, SourceError
from critaudit.sources.detect import read_file
from critaudit.tensors import RegularFile


def zip_of(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return buffer.getvalue()


FOREIGN = {
    "hdf5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "HDF5"),
    "gguf": (b"GGUF\x03\0\0\0" + b"\0" * 100, "GGUF"),
    "gzip": (gzip.compress(b"x" * 100), "gzip"),
    "bzip2": (bz2.compress(b"x" * 100), "bzip2"),
    "xz": (lzma.compress(b"x" * 100), "xz"),
    "elf": (b"\x7fELF" + b"\0" * 100, "program"),
    "pdf": (b"%PDF-1.7 ...", "PDF"),
    "png": (b"\x89PNG\r\n\x1a\n", "image"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "Git LFS"),
    "html": (b"\n<!DOCTYPE html><html><head><title>Sign in</title>", "web page"),
    "xml": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML"),
    "json": (b'{"model_type": "bert"}', "JSON"),
    "text": ("Zugriff verweigert – bitte anmelden".encode(), "text file"),
    "brackets": (b"(c) 2020 somebody", "text file"),
    "tflite": (b"\x1c\0\0\0TFL3" + b"\0" * 100, "TensorFlow Lite"),
    "keras": (zip_of("config.json", "model.weights.h5"), "Keras"),
    "office": (zip_of("[Content_Types].xml", "word/document.xml"), "office"),
    "wheel": (zip_of("pkg/__init__.py", "pkg-1.dist-info/WHEEL"), "software package"),
    "inside": (zip_of("readme.txt", "weights/model.pt"), "model.pt inside"),
    "empty zip": (zip_of(), "empty zip"),
    "sklearn": (b"csklearn.linear_model\nRidge\n)\x81}b.", "no neural network"),
    "rubbish": (bytes(range(128, 256)) * 10, "unknown format"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_model_is_named(kind: str, tmp_path: Path) -> None:
    data, words = FOREIGN[kind]
    (tmp_path / "model.pt").write_bytes(b"\x80\x02" + data if kind == "sklearn" else data)
    with pytest.raises(NotAModelError) as error:
        read_file(RegularFile(tmp_path / "model.pt"))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", [b"", b"\0" * 10_000])
def test_empty_files(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(data)
    with pytest.raises(CorruptFileError, match="empty"):
        read_file(RegularFile(tmp_path / "model.pt"))


@pytest.mark.parametrize(
    "data", [(7000).to_bytes(8, "little")[:4], b"\x08\x08\x12\x07", b"PK\x03\x04", b"\x80\x02}", b"\x93NUMPY\x01"]
)
def test_a_file_of_a_few_bytes_is_too_short(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(data)
    with pytest.raises(CorruptFileError, match=rf"too short for a model, {len(data)} bytes \(truncated download"):
        read_file(RegularFile(tmp_path / "model.pt"))


def test_a_text_of_a_few_bytes_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"no\r\n")
    with pytest.raises(NotAModelError, match="text file"):
        read_file(RegularFile(tmp_path / "model.pt"))


def test_the_ending_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    torch.save({"w": torch.ones(2, 2)}, path)
    assert read_file(RegularFile(path)).format == "PyTorch zip checkpoint"
    torch.save({"w": torch.ones(2, 2)}, path, _use_new_zipfile_serialization=False)
    assert read_file(RegularFile(path)).format == "PyTorch legacy checkpoint"
    path.write_bytes(pickle.dumps({"w": np.ones(3)}, 0))
    assert read_file(RegularFile(path)).format == "pickle"
    with path.open("wb") as file:
        np.savez(file, w=np.ones(3))
    assert list(read_file(RegularFile(path)).tensors) == ["w"]
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    assert len(read_file(RegularFile(path)).tensors) == 1
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0\0\0")
    assert list(read_file(RegularFile(path)).tensors) == ["w"]


def test_mutated_checkpoints_end_in_a_result_or_one_clear_error(tmp_path: Path) -> None:
    """A short fuzz: any other exception would fail the test."""
    rng = np.random.default_rng(1)
    path = tmp_path / "m.pt"
    originals = []
    for modern in (True, False):
        torch.save(
            {"state_dict": {"w": torch.randn(4, 4), "b": torch.randn(4)}, "lr": 0.1},
            path,
            _use_new_zipfile_serialization=modern,
        )
        originals.append(path.read_bytes())
    originals.append(pickle.dumps({"w": np.ones((3, 3)), "x": [1, "a", None]}))
    readable = 0
    for number in range(600):
        data = bytearray(originals[number % 3])
        for at in rng.integers(0, len(data), size=int(rng.integers(1, 6))):
            data[at] = rng.integers(0, 256)
        if number % 5 == 0:
            del data[int(rng.integers(0, len(data))) :]
        path.write_bytes(data)
        try:
            contents = read_file(RegularFile(path))
            for tensor in contents.tensors.values():
                tensor.read()
            readable += 1
        except SourceError as error:
            assert "\n" not in str(error)  # noqa: PT017
    assert readable > 20
