"""Checkpoints of every age against torch.load as the oracle, and what remains of damaged ones."""

from __future__ import annotations

import collections
import io
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.contents import Contents
from critaudit.errors import CorruptFileError, NotAModelError, SourceError
from critaudit.sources.detect import read_file
from critaudit.tensors import RegularFile

Save = Callable[[object, Path], None]


def save_zip(value: object, path: Path) -> None:
    torch.save(value, path)


def save_legacy(value: object, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def save_zip_protocol_5(value: object, path: Path) -> None:
    torch.save(value, path, pickle_protocol=5)


def save_legacy_protocol_1(value: object, path: Path) -> None:
    torch.save(value, path, pickle_protocol=1, _use_new_zipfile_serialization=False)


def save_pickle(value: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(value))


SAVERS = [save_zip, save_legacy, save_zip_protocol_5, save_legacy_protocol_1, save_pickle]


def read(path: Path) -> Contents:
    return read_file(RegularFile(path))


def numbers(tensor: torch.Tensor) -> np.ndarray:
    """The values as our reader gives them: float32 where NumPy has no such type."""
    tensor = tensor.detach()
    if tensor.is_quantized:
        return tensor.dequantize().numpy()
    if tensor.dtype == torch.bfloat16 or "float8" in str(tensor.dtype):
        return tensor.float().numpy()
    if tensor.dtype == torch.complex32:
        return tensor.to(torch.complex64).numpy()
    return tensor.contiguous().numpy()


def agrees(contents: Contents, expected: dict[str, torch.Tensor]) -> None:
    assert list(contents.tensors) == list(expected)
    for name, tensor in expected.items():
        found = contents.tensors[name]
        assert found.shape == tuple(tensor.shape), name
        values = found.read()
        np.testing.assert_array_equal(values, numbers(tensor), err_msg=name)
        assert values.dtype == numbers(tensor).dtype


DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz),
]


@pytest.mark.parametrize("save", SAVERS)
def test_every_element_type(tmp_path: Path, save: Save) -> None:
    raw = torch.arange(256, dtype=torch.uint8)
    expected = {}
    for dtype in DTYPES:
        values = raw if dtype == torch.uint8 else (torch.arange(24) % 2 if dtype == torch.bool else torch.arange(24))
        expected[str(dtype)] = raw.view(dtype) if "float8" in str(dtype) else values.to(dtype)
    save(expected, tmp_path / "m.pt")
    contents = read(tmp_path / "m.pt")
    assert not contents.problems
    agrees(contents, expected)


@pytest.mark.parametrize("save", SAVERS)
def test_views_strides_and_empty_tensors(tmp_path: Path, save: Save) -> None:
    base = torch.arange(60.0).reshape(3, 4, 5)
    expected = {
        "base": base,
        "transposed": base.permute(2, 0, 1),
        "slice": base[1:, ::2, 1:4],
        "row": base[2, 3],
        "expanded": torch.tensor([1.5, 2.5]).expand(7, 2),
        "scalar": torch.tensor(3.25),
        "empty": torch.zeros(0, 5),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    save(expected, tmp_path / "m.pt")
    agrees(read(tmp_path / "m.pt"), expected)


@pytest.mark.parametrize("save", [save_zip, save_legacy])
def test_tied_tensors_have_equal_keys(tmp_path: Path, save: Save) -> None:
    weight = torch.randn(4, 4)
    save({"a": weight, "b": weight, "c": weight.clone(), "d": weight.t()}, tmp_path / "m.pt")
    tensors = read(tmp_path / "m.pt").tensors
    assert tensors["a"].key == tensors["b"].key
    assert tensors["a"].key != tensors["c"].key
    assert tensors["a"].key != tensors["d"].key


@pytest.mark.parametrize("save", [save_zip, save_legacy])
@pytest.mark.filterwarnings("ignore")
def test_quantised_tensors(tmp_path: Path, save: Save) -> None:
    values = torch.randn(4, 6)
    scales, zeros = torch.tensor([0.1, 0.2, 0.05, 0.3], dtype=torch.float64), torch.tensor([1, 0, 3, -2])
    expected = {
        "tensor": torch.quantize_per_tensor(values, 0.05, 3, torch.qint8),
        "unsigned": torch.quantize_per_tensor(values, 0.05, 128, torch.quint8),
        "channels": torch.quantize_per_channel(values, scales, zeros, 0, torch.qint8),
        "columns": torch.quantize_per_channel(values.t().contiguous(), scales, zeros, 1, torch.qint8),
    }
    save(expected, tmp_path / "m.pt")
    contents = read(tmp_path / "m.pt")
    for name, tensor in expected.items():
        np.testing.assert_allclose(contents.tensors[name].read(), tensor.dequantize().numpy(), rtol=1e-6, err_msg=name)


def test_parameters_and_parameters_with_attributes(tmp_path: Path) -> None:
    plain, marked = nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(2, 2))
    marked.tag = "kept"  # type: ignore[attr-defined]
    torch.save({"plain": plain, "marked": marked}, tmp_path / "m.pt")
    agrees(read(tmp_path / "m.pt"), {"plain": plain, "marked": marked})


def test_kinds_of_tensors_that_are_not_read_are_left_out_with_the_reason(tmp_path: Path) -> None:
    torch.save(
        {
            "good": torch.ones(3),
            "sparse": torch.eye(3).to_sparse(),
            "meta": torch.empty(2, 3, device="meta"),
            "conjugated": torch.randn(3, dtype=torch.complex64).conj(),
        },
        tmp_path / "m.pt",
    )
    contents = read(tmp_path / "m.pt")
    assert list(contents.tensors) == ["good"]
    reasons = {item.name: (item.reason, item.shape, item.lost) for item in contents.left_out}
    assert "sparse" in reasons["sparse"][0]
    assert reasons["sparse"][1:] == ((3, 3), False)
    assert "meta device" in reasons["meta"][0]
    assert reasons["meta"][1:] == ((2, 3), False)
    assert reasons["conjugated"][2] is True


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_plain_pickle_of_numpy_arrays(tmp_path: Path, protocol: int) -> None:
    arrays = {
        "small": np.arange(6, dtype=np.float32).reshape(2, 3),
        "large": np.random.default_rng(0).normal(size=(100, 80)),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big_endian": np.arange(5, dtype=">f4"),
        "flags": np.array([True, False]),
    }
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"weights": arrays, "step": np.int64(3)}, protocol))
    contents = read(tmp_path / "m.pkl")
    assert contents.format == "pickle"
    assert contents.metadata == {"step": 3}
    assert list(contents.tensors) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(contents.tensors[name].read(), array)


def test_object_arrays_are_left_out(tmp_path: Path) -> None:
    arrays = {"weights": np.ones(3), "objects": np.array([{}, print], dtype=object), "texts": np.array(["a"])}
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(arrays))
    contents = read(tmp_path / "m.pkl")
    assert list(contents.tensors) == ["weights"]
    assert [item.name for item in contents.left_out] == ["objects", "texts"]


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """The zip archive with changed members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_a_big_endian_checkpoint(tmp_path: Path) -> None:
    expected = {"f": torch.randn(5), "h": torch.randn(4).half(), "c": torch.randn(3, dtype=torch.complex64)[1:]}
    expected["i"] = torch.arange(3)
    path = tmp_path / "m.pt"
    torch.save(expected, path)

    def swap(members: dict[str, bytes]) -> None:
        for number, width in enumerate((4, 2, 4, 8)):
            name = next(name for name in members if name.endswith(f"data/{number}"))
            members[name] = np.frombuffer(members[name], f"<u{width}").byteswap().tobytes()
        members[next(name for name in members if name.endswith("byteorder"))] = b"big"

    rewritten(path, swap)
    agrees(read(path), torch.load(path, weights_only=True))
    agrees(read(path), expected)


def test_a_missing_storage_costs_only_its_tensors(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"a": torch.ones(3), "b": torch.ones(4), "c": torch.ones(5)}, path)
    rewritten(path, lambda members: members.pop(next(name for name in members if name.endswith("data/1"))))
    contents = read(path)
    assert list(contents.tensors) == ["a", "c"]
    assert [(item.name, item.shape, item.lost) for item in contents.left_out] == [("b", (4,), True)]
    assert len(contents.problems) == 1
    assert contents.problems[0].startswith("b: ")


def test_a_short_storage_costs_only_its_tensors(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"a": torch.ones(3), "b": torch.ones(4)}, path)
    rewritten(path, lambda members: members.update({next(n for n in members if n.endswith("data/1")): b"\0" * 15}))
    contents = read(path)
    assert list(contents.tensors) == ["a"]
    assert "16 bytes" in contents.problems[0]


def test_a_missing_pickle_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"a": torch.ones(3)}, path)
    rewritten(path, lambda members: members.pop(next(name for name in members if name.endswith("data.pkl"))))
    with pytest.raises(NotAModelError):
        read(path)


def test_two_checkpoints_in_one_archive_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"a": torch.ones(3)}, path)
    rewritten(path, lambda members: members.update({"other/data.pkl": pickle.dumps({}, 2)}))
    with pytest.raises(CorruptFileError, match="2 checkpoints"):
        read(path)


def test_a_truncated_legacy_file_keeps_the_tensors_whose_storages_are_whole(tmp_path: Path) -> None:
    expected = {f"w{n}": torch.randn(100) for n in range(5)}
    path = tmp_path / "m.pt"
    save_legacy(expected, path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 408 - 4])  # the last storage and the end of the one before are gone
    contents = read(path)
    assert contents.problems
    whole = set(contents.tensors)
    assert len(whole) == 3
    for name in whole:
        np.testing.assert_array_equal(contents.tensors[name].read(), expected[name].numpy())
    assert {item.name for item in contents.left_out if item.lost} == set(expected) - whole
    for length in range(0, len(data), 61):
        path.write_bytes(data[:length])
        try:
            assert read(path).problems
        except SourceError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_trailing_bytes_are_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    save_legacy({"a": torch.ones(2)}, path)
    path.write_bytes(path.read_bytes() + b"more")
    contents = read(path)
    assert contents.problems == ("4 bytes behind the checkpoint were not read",)
    assert list(contents.tensors) == ["a"]


def test_an_unknown_kind_of_tensor_is_lost_not_silent(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"a": torch.ones(3), "b": torch.ones(3)}, path)

    def change(members: dict[str, bytes]) -> None:
        name = next(name for name in members if name.endswith("data.pkl"))
        members[name] = members[name].replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_v9")

    rewritten(path, change)
    contents = read(path)
    assert not contents.tensors
    assert [item.name for item in contents.left_out if item.lost] == ["a", "b"]


def test_many_expanded_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({f"w{n}": torch.tensor([float(n)]).expand(2**22) for n in range(40)}, path)
    contents = read(path)
    assert 0 < len(contents.tensors) < 40
    assert any("far more elements" in problem for problem in contents.problems)


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            information = tarfile.TarInfo(name)
            information.size = len(data)
            archive.addfile(information, io.BytesIO(data))
    return buffer.getvalue()


class _Reference:
    def __init__(self, number: int) -> None:
        self.number = number


class _OldPickler(pickle.Pickler):
    def persistent_id(self, value: object) -> str | None:
        return str(value.number) if isinstance(value, _Reference) else None


def old_tar() -> bytes:
    """What PyTorch wrote before 0.1.10: storages, tensors and objects apart."""
    values = np.arange(12, dtype=np.float32)
    storages = io.BytesIO()
    pickle.dump(2, storages, 2)
    for key, array in ((100, values), (101, np.arange(4, dtype=np.float64))):
        kind = b"ctorch\nFloatStorage\n" if array.dtype == np.float32 else b"ctorch\nDoubleStorage\n"
        storages.write(b"\x80\x02(K" + bytes([key]) + b"U\x03cpu" + kind + b"t.")
        storages.write(struct.pack("<q", array.size) + array.tobytes())
    pickle.dump([(102, 100, 6, 6)], storages, 2)
    tensors = io.BytesIO()
    pickle.dump(3, tensors, 2)
    for key, storage, shape, stride, offset in (
        (1, 100, (3, 4), (4, 1), 0),
        (2, 101, (2,), (2,), 1),
        (3, 102, (2, 3), (3, 1), 0),
    ):
        tensors.write(b"\x80\x02(K" + bytes([key]) + b"K" + bytes([storage]) + b"ctorch\nFloatTensor\nt.")
        tensors.write(
            struct.pack("<ii", len(shape), 0) + struct.pack(f"<{2 * len(shape) + 1}q", *shape, *stride, offset)
        )
    objects = io.BytesIO()
    state = collections.OrderedDict(weight=_Reference(1), bias=_Reference(2), view=_Reference(3))
    _OldPickler(objects, 2).dump(state)
    return tar_of({"storages": storages.getvalue(), "tensors": tensors.getvalue(), "pickle": objects.getvalue()})


def test_the_tar_format_before_0_1_10(tmp_path: Path) -> None:
    path = tmp_path / "m.tar"
    path.write_bytes(old_tar())
    contents = read(path)
    assert contents.format == "PyTorch tar checkpoint"
    agrees(contents, torch.load(path, weights_only=False))
    np.testing.assert_array_equal(contents.tensors["weight"].read(), np.arange(12.0).reshape(3, 4))
    np.testing.assert_array_equal(contents.tensors["bias"].read(), [1.0, 3.0])
    np.testing.assert_array_equal(contents.tensors["view"].read(), np.arange(6.0, 12.0).reshape(2, 3))


def test_another_tar_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.tar").write_bytes(tar_of({"weights/model.pt": b"123"}))
    with pytest.raises(NotAModelError, match="tar archive"):
        read(tmp_path / "m.tar")


def test_opening_reads_no_storage_and_imports_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({f"w{n}": torch.zeros(1000, 1000) for n in range(5)}, path)
    script = """
import sys
from critaudit.tensors import RegularFile
from critaudit.sources.detect import read_file
class Counting(RegularFile):
    read_bytes = 0
    def read(self, start, count):
        Counting.read_bytes += count
        return super().read(start, count)
contents = read_file(Counting(sys.argv[1]))
assert len(contents.tensors) == 5
assert Counting.read_bytes < 500_000, Counting.read_bytes
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, cwd=Path(__file__).parents[3])
