"""Inputs from files: timm's evaluation transform to the bit, arrays as they are, the rest refused in one line."""

from __future__ import annotations

import gzip
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from timm.data import create_transform

from critaudit.contents import Preprocessing
from critaudit.dynamics.inputs import load_inputs
from critaudit.errors import UsageError

_MEAN, _STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def _picture(path: Path, size: tuple[int, int] = (90, 70), mode: str = "RGB") -> Path:
    rng = np.random.default_rng(2)
    channels = {"RGB": (3,), "L": (), "RGBA": (4,)}[mode]
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8), mode=None).save(path)
    return path


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [(32, 32), (40, 24)])
@pytest.mark.parametrize(("crop", "interpolation"), [(0.875, "bicubic"), (0.95, "bilinear"), (1.0, "bicubic")])
def test_images_are_prepared_as_by_timm(
    tmp_path: Path, crop_mode: str, size: tuple[int, int], crop: float, interpolation: str
) -> None:
    # GIVEN a picture and a model's preprocessing
    picture = _picture(tmp_path / "x.png")
    wants = Preprocessing((3, *size), _MEAN, _STD, interpolation, crop, crop_mode)
    # WHEN it is loaded
    got = load_inputs(picture, wants)
    # THEN it is what timm's own evaluation transform gives
    transform = create_transform(
        (3, *size), mean=_MEAN, std=_STD, interpolation=interpolation, crop_pct=crop, crop_mode=crop_mode
    )
    expected = transform(Image.open(picture).convert("RGB")).numpy()
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected[None], atol=1e-6)


@pytest.mark.parametrize("size", [(300, 20), (10, 10), (1, 500)])
def test_small_and_thin_pictures_are_padded_as_by_timm(tmp_path: Path, size: tuple[int, int]) -> None:
    picture = _picture(tmp_path / "x.png", size)
    wants = Preprocessing((3, 48, 64), _MEAN, _STD, "bicubic", 0.9)
    expected = create_transform((3, 48, 64), mean=_MEAN, std=_STD, interpolation="bicubic", crop_pct=0.9)
    np.testing.assert_allclose(load_inputs(picture, wants)[0], expected(Image.open(picture)).numpy(), atol=1e-6)


def test_a_folder_gives_its_images_in_the_order_of_names(tmp_path: Path) -> None:
    for name, mode in (("b.png", "L"), ("a.jpg", "RGB"), ("c.PNG", "RGBA")):
        _picture(tmp_path / name, mode=mode)
    (tmp_path / "notes.txt").write_text("no image")
    wants = Preprocessing((3, 16, 16))
    got = load_inputs(tmp_path, wants)
    assert got.shape == (3, 3, 16, 16)
    assert np.array_equal(got[0], load_inputs(tmp_path / "a.jpg", wants)[0])
    assert np.array_equal(got[1, 0], got[1, 2]), "grey becomes three equal channels"
    assert load_inputs(tmp_path, wants, limit=2).shape[0] == 2
    assert load_inputs(tmp_path, Preprocessing((1, 16, 16))).shape == (3, 1, 16, 16)


def test_float_arrays_are_taken_as_they_are(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((5, 3, 8, 8))
    np.save(tmp_path / "x.npy", values)
    wants = Preprocessing((3, 8, 8), _MEAN, _STD)
    np.testing.assert_array_equal(load_inputs(tmp_path / "x.npy", wants), values.astype(np.float32))
    np.testing.assert_array_equal(load_inputs(tmp_path / "x.npy"), values.astype(np.float32))
    assert load_inputs(tmp_path / "x.npy", wants, limit=2).shape == (2, 3, 8, 8)


@pytest.mark.parametrize(
    ("found", "wanted", "shape"),
    [
        ((5, 4, 6), (24,), (5, 24)),
        ((5, 4, 6), (1, 4, 6), (5, 1, 4, 6)),
        ((5, 7, 9), (1, 4, 6), (5, 1, 7, 9)),
        ((3, 8, 8), (3, 8, 8), (1, 3, 8, 8)),
        ((24,), (24,), (1, 24)),
        ((5, 3, 9, 9), (3, 8, 8), (5, 3, 9, 9)),
        ((5, 9, 9, 3), (3, 8, 8), (5, 3, 9, 9)),
    ],
)
def test_samples_are_brought_into_the_networks_shape(
    tmp_path: Path, found: tuple[int, ...], wanted: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    np.save(tmp_path / "x.npy", np.ones(found, dtype=np.float32))
    assert load_inputs(tmp_path / "x.npy", Preprocessing(wanted)).shape == shape


def test_bytes_become_shares_and_are_normalised(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    got = load_inputs(tmp_path / "x.npy", Preprocessing((3, 8, 8), _MEAN, _STD))
    along = (1, 3, 1, 1)
    np.testing.assert_allclose(got, (pixels / 255 - np.reshape(_MEAN, along)) / np.reshape(_STD, along), atol=1e-5)


def test_token_ids_stay_whole_where_the_network_takes_them(tmp_path: Path) -> None:
    ids = np.arange(12, dtype=np.int32).reshape(3, 4)
    np.save(tmp_path / "x.npy", ids)
    found = load_inputs(tmp_path / "x.npy", tokens=True, limit=2)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, ids[:2])
    assert load_inputs(tmp_path / "x.npy").dtype == np.float32
    for other in (ids.astype(np.float32), ids.astype(np.uint8)):
        np.save(tmp_path / "y.npy", other)
        assert load_inputs(tmp_path / "y.npy", tokens=True).dtype == np.float32


@pytest.mark.parametrize("names", [["anything"], ["x", "y"], ["labels", "inputs"], ["a", "images", "b"]])
def test_npz_files_with_one_array_or_a_known_name(tmp_path: Path, names: list[str]) -> None:
    chosen = next((name for name in ("x", "inputs", "images") if name in names), names[0])
    np.savez(tmp_path / "x.npz", **{name: np.full((2, 3), float(name == chosen)) for name in names})
    np.testing.assert_array_equal(load_inputs(tmp_path / "x.npz"), np.ones((2, 3), dtype=np.float32))


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_give_images(tmp_path: Path, packed: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    data = struct.pack(">4B3I", 0, 0, 8, 3, 6, 5, 4) + pixels.tobytes()
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(gzip.compress(data) if packed else data)
    np.testing.assert_allclose(load_inputs(path, Preprocessing((20,))), pixels.reshape(6, 20) / 255, atol=1e-6)
    assert load_inputs(path, Preprocessing((1, 5, 4)), limit=2).shape == (2, 1, 5, 4)


def _bad(folder: Path) -> dict[str, tuple[Path, str]]:
    """Bad inputs of every kind, with words of the error."""
    header = struct.pack(">4B3I", 0, 0, 8, 3, 6, 500, 400)
    made: dict[str, tuple[bytes, str]] = {
        "weights.pt": (b"PK\x03\x04whatever", "save them with numpy.save as .npy"),
        "text.csv": (b"1,2,3", "no inputs are recognised"),
        "empty.npy": (b"", "no inputs are recognised"),
        "short.npy": (b"\x93NUMPY\x01\x00", "cannot be read"),
        "broken.png": (b"\x89PNG\r\n\x1a\nnot really", "cannot be decoded"),
        "broken.npz": (b"PK\x03\x04broken", "cannot be read"),
        "short-idx": (header, "are promised"),
        "labels-idx": (struct.pack(">4BI", 0, 0, 8, 1, 2) + b"ab", "one number per sample"),
        "huge-idx": (struct.pack(">4B3I", 0, 0, 8, 3, 9, 2**31, 2**31), "too large"),
        "packed.gz": (gzip.compress(b"hello, world"), "no IDX file"),
        "cut.gz": (gzip.compress(os.urandom(2000))[:500], "IDX file"),
    }
    found = {}
    for name, (data, words) in made.items():
        (folder / name).write_bytes(data)
        found[name] = (folder / name, words)
    np.save(folder / "objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    np.save(folder / "nan.npy", np.array([[np.nan]]))
    np.save(folder / "words.npy", np.array(["a"]))
    np.save(folder / "nothing.npy", np.zeros((0, 3)))
    np.save(folder / "wide.npy", np.zeros((4, 17)))
    np.savez(folder / "two.npz", a=np.ones(1), b=np.ones(1))
    with zipfile.ZipFile(folder / "other.npz", "w") as archive:
        archive.writestr("readme.txt", "no array")
    lying = bytearray((folder / "wide.npy").read_bytes())
    (folder / "lying.npy").write_bytes(lying.replace(b"(4, 17), ", b"(999999999999, 17), ".ljust(9))[:128])
    (folder / "images").mkdir()
    found |= {
        "objects": (folder / "objects.npy", "cannot be read"),
        "nan": (folder / "nan.npy", "NaN or infinite"),
        "words": (folder / "words.npy", "numbers are expected"),
        "nothing": (folder / "nothing.npy", "samples are expected"),
        "wide": (folder / "wide.npy", "samples of 17 were found, the network takes 3×8×8"),
        "two": (folder / "two.npz", "none is called x or inputs or images"),
        "other": (folder / "other.npz", "is no NumPy array"),
        "lying": (folder / "lying.npy", "cannot be read"),
        "folder": (folder / "images", "holds no images"),
        "absent": (folder / "absent.npy", "no such file"),
    }
    return found


def test_bad_inputs_are_refused_in_one_line(tmp_path: Path) -> None:
    for name, (path, words) in _bad(tmp_path).items():
        with pytest.raises(UsageError) as raised:
            load_inputs(path, Preprocessing((3, 8, 8)))
        assert words in str(raised.value), name
        assert "\n" not in str(raised.value), name


def test_pipes_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npy")
    with pytest.raises(UsageError, match="not a regular file"):
        load_inputs(tmp_path / "x.npy")


@pytest.mark.parametrize("wants", [None, Preprocessing((784,)), Preprocessing((7, 8, 8))])
def test_images_need_a_network_of_images(tmp_path: Path, wants: Preprocessing | None) -> None:
    with pytest.raises(UsageError, match=r"this is an image, but the network takes .*give an \.npy array"):
        load_inputs(_picture(tmp_path / "x.png"), wants)
