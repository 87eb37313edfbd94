"""The safetensors reader against the official library, and against files that lie."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.errors import CorruptFileError, LimitExceededError, SourceError
from critaudit.sources import load
from critaudit.sources.safetensors import looks_like_safetensors, read_safetensors
from critaudit.tensors import RegularFile


def write(path: Path, header: object, data: bytes = b"") -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path


def tensor(start: int, stop: int, shape: list[int] | None = None, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": [(stop - start) // 4] if shape is None else shape, "data_offsets": [start, stop]}


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", "c8"])
def test_given_a_file_of_the_official_library_when_read_then_every_element_is_the_same(
    tmp_path: Path, dtype: str
) -> None:
    values = (np.arange(12).reshape(3, 4) % 2).astype(dtype)
    saved = {"a": values, "scalar": np.array(values[0, 1]), "empty": np.zeros((0, 5), dtype)}
    safetensors.numpy.save_file(saved, tmp_path / "m.safetensors", metadata={"format": "np"})
    contents = read_safetensors(RegularFile(tmp_path / "m.safetensors"))
    assert set(contents.tensors) == set(saved)
    for name, array in saved.items():
        read = contents.tensors[name].read()
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)
    assert contents.metadata == {"format": "np"}
    assert not contents.problems


@pytest.mark.parametrize(
    ("name", "torch_name"), [("BF16", "bfloat16"), ("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2")]
)
def test_given_narrow_floats_when_read_then_they_are_what_torch_makes_of_them(
    tmp_path: Path, name: str, torch_name: str
) -> None:
    import safetensors.torch
    import torch

    values = torch.linspace(-3, 3, 24).reshape(4, 6).to(getattr(torch, torch_name))
    safetensors.torch.save_file({"w": values}, tmp_path / "m.safetensors")
    reference = read_safetensors(RegularFile(tmp_path / "m.safetensors")).tensors["w"]
    assert reference.dtype == torch_name
    np.testing.assert_array_equal(reference.read(), values.float().numpy())


@pytest.mark.parametrize(
    ("dtype", "shape", "size"), [("F4", [4, 2], 4), ("F6_E2M3", [4], 3), ("F8_E8M0", [4], 4), ("X9", [4], 4)]
)
def test_given_an_element_type_that_we_cannot_decode_then_it_is_left_out_and_the_rest_read(
    tmp_path: Path, dtype: str, shape: list[int], size: int
) -> None:
    header = {"odd": tensor(0, size, shape, dtype), "w": tensor(size, size + 8)}
    contents = read_safetensors(RegularFile(write(tmp_path / "m", header, bytes(size + 8))))
    assert list(contents.tensors) == ["w"]
    assert contents.left_out[0].lost
    assert dtype in contents.left_out[0].reason


def test_given_a_truncated_file_then_whole_tensors_stay_and_the_others_are_lost(tmp_path: Path) -> None:
    header = {"a": tensor(0, 16), "b": tensor(16, 48), "c": tensor(48, 64)}
    contents = read_safetensors(RegularFile(write(tmp_path / "m", header, b"\0" * 40)))
    assert list(contents.tensors) == ["a"]
    assert [item.name for item in contents.left_out if item.lost] == ["b", "c"]
    assert "40 of 64 bytes" in contents.problems[0]
    assert "2 of 3" in contents.problems[0]


def test_given_a_file_cut_before_its_first_whole_tensor_then_the_one_line_says_so(tmp_path: Path) -> None:
    header = {"a": tensor(0, 16), "b": tensor(16, 48)}
    with pytest.raises(SourceError, match=r"none of its 2 tensors .*\(truncated download\?\)"):
        load(write(tmp_path / "m", header, bytes(8)))


LIES = {
    "not json": b"{not json",
    "not an object": b'["a"]',
    "nan": b'{"a": NaN}',
    "thousand digits": b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}',
    "bad utf-8": b'{"\xff\xfe": {}}',
    "duplicate tensor": b"{%s,%s}" % ((b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}',) * 2),
    "duplicate field": b'{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}',
    "overlap": {"a": tensor(0, 8), "b": tensor(4, 12)},
    "same place": {"a": tensor(0, 8), "b": tensor(0, 8)},
    "hole": {"a": tensor(0, 4), "b": tensor(8, 12)},
    "hole at the start": {"a": tensor(4, 12)},
    "unclaimed tail": {"a": tensor(0, 4)},
    "wrong size": {"a": tensor(0, 12, [4])},
    "negative offset": {"a": tensor(-4, 8)},
    "reversed offsets": {"a": tensor(12, 0, [3])},
    "negative shape": {"a": tensor(0, 12, [-3])},
    "product of negatives": {"a": tensor(0, 12, [-3, -1])},
    "huge shape": {"a": tensor(0, 12, [2**61, 2**61, 2**61])},
    "overflowing shape": {"a": tensor(0, 12, [2**63, 2])},
    "float shape": {"a": tensor(0, 12, [3.0])},  # type: ignore[list-item]
    "bool shape": {"a": tensor(0, 4, [True])},
    "100 dimensions": {"a": tensor(0, 12, [3] + [1] * 99)},
    "three offsets": {"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 4, 12]}},
    "no dtype": {"a": {"shape": [3], "data_offsets": [0, 12]}},
    "no shape": {"a": {"dtype": "F32", "data_offsets": [0, 12]}},
    "tensor is a list": {"a": [1, 2]},
    "metadata is a list": {"__metadata__": [], "a": tensor(0, 12)},
    "odd F4": {"a": tensor(0, 12, [25], "F4")},
}


@pytest.mark.parametrize("lie", LIES)
def test_given_a_header_that_contradicts_itself_then_one_line_says_so(tmp_path: Path, lie: str) -> None:
    with pytest.raises(CorruptFileError) as error:
        read_safetensors(RegularFile(write(tmp_path / "m", LIES[lie], bytes(12))))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_given_a_header_longer_than_the_file_then_it_is_truncated(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes((500).to_bytes(8, "little") + b"{}")
    with pytest.raises(CorruptFileError, match="truncated"):
        read_safetensors(RegularFile(tmp_path / "m"))


@pytest.mark.parametrize("content", [b"", b"1234567", bytes(8), (2).to_bytes(8, "little") + b"[]"])
def test_given_no_safetensors_at_all_then_one_line_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(CorruptFileError):
        read_safetensors(RegularFile(tmp_path / "m"))
    assert not looks_like_safetensors(content)


def test_given_bombs_then_they_are_refused_before_they_are_parsed(tmp_path: Path) -> None:
    for header in (b'{"a":' + b"[" * 100_000, b'{"a":[' + b"0," * 500_001 + b"0]}"):
        with pytest.raises(LimitExceededError):
            read_safetensors(RegularFile(write(tmp_path / "m", header)))
    (tmp_path / "m").write_bytes((2**40).to_bytes(8, "little") + b"{")
    with pytest.raises(LimitExceededError, match="claims"):
        read_safetensors(RegularFile(tmp_path / "m"))


def test_given_a_name_with_escapes_then_no_message_carries_it_raw(tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError) as error:
        read_safetensors(RegularFile(write(tmp_path / "m", {"\x1b[31m\u202e": tensor(0, 12, [4])}, bytes(12))))
    assert "\x1b" not in str(error.value)
    assert "\u202e" not in str(error.value)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(position=st.integers(0, 200), byte=st.integers(0, 255), cut=st.integers(0, 40))
def test_given_any_damage_then_the_reader_returns_or_raises_its_own_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, byte: int, cut: int
) -> None:
    good = {"a": tensor(0, 16), "b": tensor(16, 24, [2, 1]), "__metadata__": {"k": "v"}}
    path = write(tmp_path_factory.mktemp("fuzz") / "m", good, bytes(24))
    damaged = bytearray(path.read_bytes())
    damaged[position % len(damaged)] = byte
    path.write_bytes(damaged[: len(damaged) - cut])
    try:
        contents = read_safetensors(RegularFile(path))
    except SourceError as error:
        contents = None
        message = str(error)
    if contents is None:
        assert message
        assert "\n" not in message
    else:
        assert all(reference.read().size == reference.numel for reference in contents.tensors.values())


def test_given_the_lies_then_the_official_library_refuses_them_too_but_for_those_where_we_are_stricter(
    tmp_path: Path,
) -> None:
    accepted = {lie for lie, header in LIES.items() if library_accepts(write(tmp_path / "m", header, bytes(12)))}
    assert accepted <= {"100 dimensions"}


def library_accepts(path: Path) -> bool:
    try:
        safetensors.numpy.load_file(path)
    except Exception:  # the library raises several kinds
        return False
    return True
