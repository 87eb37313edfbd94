"""Zip archives written field by field, so that every field can lie."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """One member. What stands after `method` overrides an honest archive; `central_*` lie in the directory only."""

    name: str
    data: bytes
    method: int = 0
    stored: bytes | None = None
    crc: int | None = None
    size: int | None = None
    compressed: int | None = None
    flags: int = 0
    extra: bytes = b""
    local_name: str | None = None
    local_size: int | None = None
    local_method: int | None = None
    central_offset: int | None = None
    central_extra: bytes = b""
    in_directory: bool = True


def archive(
    members: Sequence[Member],
    *,
    prefix: bytes = b"",
    suffix: bytes = b"",
    comment: bytes = b"",
    count: int | None = None,
    directory_offset: int | None = None,
    directory_size: int | None = None,
    base: int = 0,
) -> bytes:
    """The bytes of an archive. `prefix` stands before it (offsets count it, unless `base` says otherwise)."""
    body, directory, written = bytearray(prefix), bytearray(), 0
    for member in members:
        local, central = _headers(member, len(body) - base)
        body += local
        if member.in_directory:
            directory += central
            written += 1
    start = len(body) - base if directory_offset is None else directory_offset
    length = len(directory) if directory_size is None else directory_size
    entries = min(written if count is None else count, 0xFFFF)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, entries, entries, length, start, len(comment)) + comment
    return bytes(body) + bytes(directory) + end + suffix


def _headers(member: Member, offset: int) -> tuple[bytes, bytes]:
    stored = member.stored if member.stored is not None else _compress(member.data, member.method)
    crc = zlib.crc32(member.data) if member.crc is None else member.crc
    size = len(member.data) if member.size is None else member.size
    compressed = len(stored) if member.compressed is None else member.compressed
    name = member.name.encode("utf-8", "surrogatepass")
    local_name = name if member.local_name is None else member.local_name.encode()
    local_size = size if member.local_size is None else member.local_size
    local_method = member.method if member.local_method is None else member.local_method
    flags = member.flags | (0x800 if not member.name.isascii() else 0)
    local = b"PK\x03\x04" + struct.pack(
        "<HHHHHIIIHH", 20, flags, local_method, 0, 0x21, crc, compressed, local_size, len(local_name), len(member.extra)
    )
    where = offset if member.central_offset is None else member.central_offset
    central = b"PK\x01\x02" + struct.pack(
        "<HHHHHHIIIHHHHHII",
        *(20, 20, flags, member.method, 0, 0x21, crc, compressed, size, len(name)),
        *(len(member.central_extra), 0, 0, 0, 0, where),
    )
    return local + local_name + member.extra + stored, central + name + member.central_extra


def _compress(data: bytes, method: int) -> bytes:
    if method == 0:
        return data
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return squeeze.compress(data) + squeeze.flush()
