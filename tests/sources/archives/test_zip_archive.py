"""Zip archives: everything that has two readings is refused, everything honest is read as zipfile reads it."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from critaudit.errors import CorruptFileError, LimitExceededError, SourceError
from critaudit.sources.archives.zip_archive import ZipArchive
from critaudit.tensors import RegularFile

DATA = bytes(range(256)) * 8


def archive_bytes(*, compression: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("one.bin", DATA)
        archive.writestr("folder/two.bin", b"two")
        archive.comment = comment
    return buffer.getvalue()


def opened(tmp_path: Path, data: bytes) -> ZipArchive:
    path = tmp_path / "model.pt"
    path.write_bytes(data)
    return ZipArchive(RegularFile(path))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_as_zipfile_reads_them(tmp_path: Path, compression: int) -> None:
    archive = opened(tmp_path, archive_bytes(compression=compression, comment=b"a comment"))
    assert archive.names == ("one.bin", "folder/two.bin")
    assert archive.read("one.bin", limit=10_000) == DATA
    storage = archive.storage("one.bin")
    assert storage.nbytes == len(DATA)
    assert storage.read(256, 300) == DATA[256:300]
    assert storage.read(0, len(DATA)) == DATA
    assert archive.is_stored("one.bin") is (compression == zipfile.ZIP_STORED)
    part = archive.part("one.bin", limit=10_000)
    assert part.read(5, 10) == DATA[5:15]


def test_a_torch_file_without_checksums_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(6.0)}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    archive = ZipArchive(RegularFile(path))
    name = next(name for name in archive.names if name.endswith("data/0"))
    assert np.frombuffer(archive.storage(name).read(0, 24), "<f4").tolist() == [0, 1, 2, 3, 4, 5]


def test_numpys_zip64_members_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", a=np.arange(10))
    archive = ZipArchive(RegularFile(tmp_path / "arrays.npz"))
    with zipfile.ZipFile(tmp_path / "arrays.npz") as reference:
        assert archive.read("a.npy", limit=10_000) == reference.read("a.npy")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_flipped_bit_in_a_member_fails_its_checksum_every_time(tmp_path: Path, compression: int) -> None:
    good = archive_bytes(compression=compression)
    at = good.index(b"one.bin") + 7 + 30
    storage = opened(tmp_path, good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]).storage("one.bin")
    for _ in range(2):
        with pytest.raises(CorruptFileError):
            storage.read(1000, 1004)


def test_a_member_longer_than_expected_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(LimitExceededError, match="at most 100"):
        opened(tmp_path, archive_bytes()).read("one.bin", limit=100)


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError, match=r"no member gone\.bin"):
        opened(tmp_path, archive_bytes()).storage("gone.bin")


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("one.bin", b"first")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("one.bin", b"second")
    with pytest.raises(CorruptFileError, match="two members"):
        opened(tmp_path, buffer.getvalue())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"#!/bin/sh\n" + data, "not where its end record says"),
        (lambda data: data + b"\0" * 100, "after the end"),
        (lambda data: data[: len(data) // 2], "no end record"),
        (lambda data: data[:-30] + data[-22:], "not where its end record says"),
        (lambda data: data + data, "not where its end record says"),
    ],
)
def test_bytes_before_behind_or_missing_are_refused(tmp_path: Path, change, message: str) -> None:
    with pytest.raises(CorruptFileError, match=message):
        opened(tmp_path, change(archive_bytes()))


def test_an_end_record_inside_the_comment_is_refused(tmp_path: Path) -> None:
    inner = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, 0, 0, 0)
    with pytest.raises(CorruptFileError, match="several end records"):
        opened(tmp_path, archive_bytes(comment=inner))


def central(data: bytes, name: bytes) -> int:
    """Where the directory entry of `name` begins."""
    return data.rindex(name) - 46


@pytest.mark.parametrize(
    ("offset", "layout", "value", "error"),
    [
        (10, "<H", 8, SourceError),  # deflated, where the local header says stored
        (10, "<H", 14, SourceError),  # LZMA
        (8, "<H", 1, SourceError),  # encrypted
        (16, "<L", 1, CorruptFileError),  # another checksum
        (24, "<L", 5, CorruptFileError),  # another size
        (42, "<L", 1, CorruptFileError),  # another place
        (42, "<L", 2**31, CorruptFileError),  # outside of the file
        (46, "<B", 88, CorruptFileError),  # another name
    ],
)
def test_a_directory_that_contradicts_the_member_is_refused(
    tmp_path: Path, offset: int, layout: str, value: int, error: type[SourceError]
) -> None:
    data = bytearray(archive_bytes())
    at = central(data, b"folder/two.bin")
    name = "Xolder/two.bin" if offset == 46 else "folder/two.bin"
    struct.pack_into(layout, data, at + offset, value)
    with pytest.raises(error):
        opened(tmp_path, bytes(data)).storage(name)


def test_overlapping_members_are_refused(tmp_path: Path) -> None:
    data = bytearray(archive_bytes())
    struct.pack_into("<L", data, central(data, b"folder/two.bin") + 42, 100)
    with pytest.raises(CorruptFileError, match="overlap"):
        opened(tmp_path, bytes(data))


def test_a_zip_bomb_is_refused_before_it_inflates(tmp_path: Path) -> None:
    data = bytearray(archive_bytes(compression=zipfile.ZIP_DEFLATED))
    struct.pack_into("<L", data, central(data, b"one.bin") + 24, 2**31)
    with pytest.raises(LimitExceededError, match="zip bomb"):
        opened(tmp_path, bytes(data))


def test_a_member_that_inflates_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    data = bytearray(archive_bytes(compression=zipfile.ZIP_DEFLATED))
    for at in (central(data, b"one.bin") + 24, 22):
        struct.pack_into("<L", data, at, 100)
    with pytest.raises(CorruptFileError, match="more bytes than"):
        opened(tmp_path, bytes(data)).read("one.bin", limit=1000)


def test_a_directory_of_millions_is_refused(tmp_path: Path) -> None:
    data = bytearray(archive_bytes())
    struct.pack_into("<HH", data, len(data) - 14, 60000, 60000)
    with pytest.raises(CorruptFileError, match="fewer entries"):
        opened(tmp_path, bytes(data))


def test_every_truncation_ends_in_one_clear_error(tmp_path: Path) -> None:
    good = archive_bytes()
    for length in range(0, len(good), 97):
        with pytest.raises(SourceError):
            opened(tmp_path, good[:length])
