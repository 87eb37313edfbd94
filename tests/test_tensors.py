"""Lazy tensors: the right numbers for every dtype and layout, one clear error for every lie."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.errors import CorruptFileError, LimitExceededError, SourceError
from critaudit.tensors import FileStorage, MemoryStorage, Quantisation, RegularFile, TensorRef


def in_memory(array: np.ndarray, **options: object) -> TensorRef:
    raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    options = {"dtype": array.dtype.name, "shape": array.shape, **options}
    return TensorRef(MemoryStorage(raw, id(raw)), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"])
def test_types_that_numpy_lacks_are_decoded_as_torch_decodes_them(dtype: str) -> None:
    width = 2 if dtype == "bfloat16" else 1
    codes = np.arange(256**width).astype(f"u{width}")
    expected = torch.from_numpy(codes.copy()).view(getattr(torch, dtype)).float().numpy()
    got = in_memory(codes, dtype=dtype).read()
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == np.float32


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int8", "uint8", "bool", "complex64"])
def test_plain_types_are_read_as_stored(dtype: str) -> None:
    array = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)
    got = in_memory(array).read()
    np.testing.assert_array_equal(got, array)
    assert got.dtype == array.dtype


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 7))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_strided_views_equal_torch_as_strided(rows: int, columns: int, step: int, offset: int) -> None:
    base = np.arange(200, dtype=np.float32)
    got = in_memory(base, shape=(rows, columns), stride=(step * 7, step), offset=offset).read()
    expected = torch.as_strided(torch.from_numpy(base), (rows, columns), (step * 7, step), offset).numpy()
    np.testing.assert_array_equal(got, expected)
    assert got.flags.c_contiguous


def test_quantised_values_are_scaled_per_channel() -> None:
    stored = np.array([[1, 2], [3, 4]], np.int8)
    got = in_memory(stored, quantisation=Quantisation((0.5, 2.0), (1.0, 0.0), axis=0)).read()
    np.testing.assert_array_equal(got, [[0.0, 0.5], [6.0, 8.0]])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"shape": (3, 5)}, CorruptFileError),
        ({"shape": (-1,)}, CorruptFileError),
        ({"shape": (2**62 + 1,)}, CorruptFileError),
        ({"offset": 5}, CorruptFileError),
        ({"offset": -1}, CorruptFileError),
        ({"stride": (1,)}, CorruptFileError),
        ({"stride": (-1, 1)}, CorruptFileError),
        ({"stride": (100, 1)}, CorruptFileError),
        ({"dtype": "float31"}, CorruptFileError),
        ({"shape": (2**40,), "stride": (0,)}, LimitExceededError),
        ({"shape": (2**20, 2**20), "stride": (0, 0)}, LimitExceededError),
    ],
)
def test_lying_descriptions_are_refused_at_once(options: dict[str, object], error: type[SourceError]) -> None:
    with pytest.raises(error):
        in_memory(np.zeros((3, 4), np.float32), **options)


def test_small_expanded_tensors_are_read() -> None:
    got = in_memory(np.array([1.0, 2.0], np.float32), shape=(3, 2), stride=(0, 1)).read()
    np.testing.assert_array_equal(got, [[1, 2]] * 3)


def test_a_file_that_shrinks_is_an_error_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(8192))
    file = RegularFile(path)
    tensor = TensorRef(FileStorage(file, 0, 8192), "float32", (2048,))
    os.truncate(path, 100)
    with pytest.raises(CorruptFileError, match="shorter"):
        tensor.read()


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.close()
    (tmp_path / "loop").symlink_to("loop")
    for path in (
        tmp_path / "fifo",
        tmp_path,
        Path("/dev/zero"),
        tmp_path / "socket",
        tmp_path / "loop",
        tmp_path / "no",
    ):
        with pytest.raises(SourceError) as caught:
            RegularFile(path)
        assert "\n" not in str(caught.value)


def test_ties_are_the_same_elements_of_the_same_storage() -> None:
    raw = np.arange(12, dtype=np.float32).view(np.uint8)
    storage = MemoryStorage(raw, "s")
    first = TensorRef(storage, "float32", (3, 4))
    assert first.key == TensorRef(storage, "float32", (3, 4), stride=(4, 1)).key
    assert first.key != TensorRef(storage, "float32", (3, 3)).key
