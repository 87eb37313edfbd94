"""NumPy's files against NumPy itself, and against files that lie or carry pickles."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.errors import CorruptFileError, LimitExceededError, NotAModelError, SourceError
from critaudit.sources.npz import read_npy, read_npz
from critaudit.tensors import RegularFile

TYPES = ["<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "i1", "<u8", "<u4", "<u2", "u1", "?", "<c8", "<c16"]


class Canary:
    """A pickle payload that would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.mark,)  # type: ignore[return-value]


def values(dtype: str) -> np.ndarray:
    return (np.arange(24).reshape(4, 6) % 5).astype(dtype)


def header(text: str, version: int = 1) -> bytes:
    raw = text.encode("latin-1")
    return b"\x93NUMPY" + bytes([version, 0]) + len(raw).to_bytes(2 if version == 1 else 4, "little") + raw


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [*TYPES, *(">" + code[1:] for code in TYPES if code[0] == "<")])
def test_given_an_npy_of_any_type_order_and_byte_order_then_the_elements_are_numpys(
    tmp_path: Path, dtype: str, order: str
) -> None:
    array = np.asarray(values(dtype), order=order)
    np.save(tmp_path / "w.npy", array)
    reference = read_npy(RegularFile(tmp_path / "w.npy")).tensors["w"]
    np.testing.assert_array_equal(reference.read(), array)
    assert reference.read().flags.c_contiguous


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_given_each_version_of_the_format_then_it_is_read(tmp_path: Path, version: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, values("<f4"), version=version)
    (tmp_path / "w.npy").write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(read_npy(RegularFile(tmp_path / "w.npy")).tensors["w"].read(), values("<f4"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_given_an_npz_then_every_array_is_read(tmp_path: Path, save: object) -> None:
    arrays = {
        "layer/weight": values("<f4"),
        "bias": values("<f2")[0],
        "scalar": np.float64(3.5),
        "none": np.zeros((0, 3)),
    }
    save(tmp_path / "m.npz", **arrays)  # type: ignore[operator]
    contents = read_npz(RegularFile(tmp_path / "m.npz"))
    assert list(contents.tensors) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(contents.tensors[name].read(), array)
    assert not contents.problems


def test_given_object_arrays_then_their_pickles_stay_shut_and_the_rest_is_read(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    np.savez(tmp_path / "m.npz", w=values("<f4"), bad=np.array([Canary(mark)], dtype=object), text=np.array(["a", "b"]))
    contents = read_npz(RegularFile(tmp_path / "m.npz"))
    assert list(contents.tensors) == ["w"]
    assert {item.name: item.lost for item in contents.left_out} == {"bad": True, "text": False}
    assert len(contents.problems) == 1
    assert not mark.exists()
    np.load(tmp_path / "m.npz", allow_pickle=True)["bad"]
    assert mark.exists(), "the canary must be live, or this test proves nothing"


def test_given_records_and_wide_floats_then_they_are_lost_with_a_reason(tmp_path: Path) -> None:
    record = np.zeros(3, dtype=[("a", "<f4"), ("b", "<i4")])
    np.savez(tmp_path / "m.npz", r=record, wide=np.zeros(3, np.longdouble), w=values("<f4"))
    contents = read_npz(RegularFile(tmp_path / "m.npz"))
    assert list(contents.tensors) == ["w"]
    assert [item.lost for item in contents.left_out] == [True, True]


def test_given_a_truncated_npy_then_it_is_lost_with_a_reason(tmp_path: Path) -> None:
    for dtype in ("<f4", ">f4"):
        np.save(tmp_path / "w.npy", values(dtype))
        whole = (tmp_path / "w.npy").read_bytes()
        (tmp_path / "w.npy").write_bytes(whole[:-7])
        contents = read_npy(RegularFile(tmp_path / "w.npy"))
        assert not contents.tensors
        assert "truncated" in contents.problems[0]


def test_given_a_damaged_member_then_the_others_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", a=values("<f4"), b=values("<f4") + 1)
    data = bytearray((tmp_path / "m.npz").read_bytes())
    position = data.find((values("<f4") + 1).tobytes())
    data[position] ^= 0xFF
    (tmp_path / "m.npz").write_bytes(data)
    contents = read_npz(RegularFile(tmp_path / "m.npz"))
    assert list(contents.tensors) == ["a"]
    assert contents.left_out[0].lost


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, -2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2.0,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True,), }",
        "{'descr': '<f4', 'fortran_order': 1, 'shape': (2,), }",
        "{'descr': '<f4', 'shape': (2,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 65 + "), }",
        "['descr']",
        "__import__('os').system('true')",
        "{'descr': '\\d', 'fortran_order'",
        "(" * 9000,
        "-" * 9000 + "1",
        "[" * 90 + "]" * 90,
        "9" * 9000,
        "{'a\0': 1}",
    ],
)
def test_given_a_header_that_is_no_header_then_one_line_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "w.npy").write_bytes(header(text) + bytes(64))
    with pytest.raises(CorruptFileError) as error:
        read_npy(RegularFile(tmp_path / "w.npy"))
    assert "\n" not in str(error.value)


def test_given_a_huge_header_or_shape_then_nothing_is_allocated(tmp_path: Path) -> None:
    (tmp_path / "w.npy").write_bytes(header(" " * 20_000, version=2))
    with pytest.raises(LimitExceededError):
        read_npy(RegularFile(tmp_path / "w.npy"))
    for code in ("<f4", ">f4"):
        bomb = f"{{'descr': '{code}', 'fortran_order': False, 'shape': (1099511627776, 1048576), }}"
        (tmp_path / "w.npy").write_bytes(header(bomb) + bytes(64))
        assert read_npy(RegularFile(tmp_path / "w.npy")).left_out[0].lost


def test_given_an_archive_without_arrays_then_it_is_no_model(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", text=np.array(["a"]))
    with pytest.raises(NotAModelError):
        read_npz(RegularFile(tmp_path / "m.npz"))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(position=st.integers(0, 140), byte=st.integers(0, 255), cut=st.integers(0, 60))
def test_given_any_damage_then_the_reader_returns_or_raises_its_own_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, byte: int, cut: int
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "w.npy"
    np.save(path, values("<f4"))
    damaged = bytearray(path.read_bytes())
    damaged[position] = byte
    path.write_bytes(damaged[: len(damaged) - cut])
    message = None
    try:
        contents = read_npy(RegularFile(path))
        assert all(reference.read().size == reference.numel for reference in contents.tensors.values())
    except SourceError as error:
        message = str(error)
    assert message is None or (message and "\n" not in message)
