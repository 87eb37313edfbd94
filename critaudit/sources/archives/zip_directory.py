"""The central directory of a zip archive, read so strictly that only one reading of the file is left.

One disk, zip64 where needed, every member inside the file and apart from the others, no name twice, exactly one end
record, nothing in front of the archive and nothing behind it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from critaudit.errors import CorruptFileError, LimitExceededError
from critaudit.sources.archives.byte_range import ByteRange

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
ENCRYPTED = 0x2041  # encrypted, strongly encrypted, masked local header
_DESCRIPTOR, _UTF8 = 0x8, 0x800

MAX_MEMBERS = 300_000
MAX_DIRECTORY = 64 * 2**20


class Member(NamedTuple):
    """One entry of the central directory. `end` is where the next member (or the directory) starts."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    start: int
    end: int


def read_directory(file: ByteRange) -> dict[str, Member]:
    """The archive's members by name, in the directory's order.

    Raises CorruptFileError where the directory contradicts itself or the file, LimitExceededError where it is absurdly
    large.
    """
    return _members(file, *_find_directory(file))


def _find_directory(file: ByteRange) -> tuple[int, bytes, int]:
    """Start, bytes and number of entries of the central directory."""
    label = file.path.name
    tail_start = max(0, file.size - _END.size - 0xFFFF)
    tail = bytes(file.read(tail_start, file.size - tail_start))
    if not file.size:
        raise CorruptFileError(f"{label}: the file is empty")
    last = tail.rfind(b"PK\x05\x06")
    if last < 0 or last + _END.size > len(tail):
        raise CorruptFileError(f"{label}: the zip archive has no end record (truncated download? fetch it again)")
    ends = [at for at in _positions(tail, b"PK\x05\x06") if _reaches_end(tail, at)]
    if len(ends) > 1 or (ends and ends[0] != last):
        raise CorruptFileError(f"{label}: the zip archive has several end records; such a file is not trustworthy")
    if not ends:
        raise CorruptFileError(f"{label}: there are bytes after the end of the zip archive; re-save or fetch it again")
    end = tail_start + last
    _, disk, first_disk, here, count, size, start, _ = _END.unpack_from(tail, last)
    directory_end = end
    if end >= _LOCATOR.size and bytes(file.read(end - _LOCATOR.size, 4)) == b"PK\x06\x07":
        directory_end, wide = _zip64_end(file, end - _LOCATOR.size)
        narrow = (disk, first_disk, here, count, size, start)
        tops = (0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
        if any(short not in (full, top) for short, full, top in zip(narrow, wide, tops, strict=True)):
            raise CorruptFileError(f"{label}: the zip archive's two end records contradict each other")
        disk, first_disk, here, count, size, start = wide
    if disk or first_disk or here != count:
        raise CorruptFileError(f"{label}: the zip archive is split over several disks; join the parts first")
    if count > MAX_MEMBERS or size > MAX_DIRECTORY:
        raise LimitExceededError(f"{label}: the zip archive claims {count} members in a directory of {size} bytes")
    if start + size != directory_end:
        raise CorruptFileError(
            f"{label}: the zip archive's directory is not where its end record says (data prepended?)"
        )
    return start, bytes(file.read(start, size)), count


def _positions(data: bytes, signature: bytes) -> Iterator[int]:
    at = data.find(signature)
    while at >= 0:
        yield at
        at = data.find(signature, at + 1)


def _reaches_end(tail: bytes, at: int) -> bool:
    if at + _END.size > len(tail):
        return False
    comment: int = _END.unpack_from(tail, at)[-1]
    return at + _END.size + comment == len(tail)


def _zip64_end(file: ByteRange, locator_start: int) -> tuple[int, tuple[int, int, int, int, int, int]]:
    """Position of the zip64 end record and its (disk, first disk, entries here, entries, size, start)."""
    label = file.path.name
    _, disk, start, disks = _LOCATOR.unpack(file.read(locator_start, _LOCATOR.size))
    if disk or disks > 1 or start + _END64.size > locator_start:
        raise CorruptFileError(f"{label}: the zip64 locator points outside the archive")
    signature, length, _, _, disk, first_disk, here, count, size, directory = _END64.unpack(
        file.read(start, _END64.size)
    )
    if signature != b"PK\x06\x06" or start + 12 + length != locator_start:
        raise CorruptFileError(f"{label}: the zip64 end record is malformed")
    return start, (disk, first_disk, here, count, size, directory)


def _members(file: ByteRange, directory_start: int, directory: bytes, count: int) -> dict[str, Member]:
    """The directory's entries by name, after checking that they lie apart from each other inside the file."""
    label = file.path.name
    entries, at = [], 0
    for _ in range(count):
        if at + _CENTRAL.size > len(directory) or directory[at : at + 4] != b"PK\x01\x02":
            raise CorruptFileError(f"{label}: the zip archive's directory has fewer entries than its end record says")
        entry, at = _directory_entry(label, directory, at)
        entries.append(entry)
    if at != len(directory):
        raise CorruptFileError(f"{label}: the zip archive's directory has more entries than its end record says")
    ends, following = {}, directory_start
    for _name, raw_name, _flags, _method, _crc, packed, _size, start in sorted(entries, key=lambda entry: -entry[-1]):
        if start + _LOCAL.size + len(raw_name) + packed > following:
            raise CorruptFileError(
                f"{label}: members of the zip archive overlap or lie outside the file (truncated download?)"
            )
        ends[start] = following
        following = start
    if following != 0:
        raise CorruptFileError(f"{label}: {following} bytes lie in front of the zip archive; cut them off or re-save")
    members: dict[str, Member] = {}
    for entry in entries:
        if entry[0] in members:
            raise CorruptFileError(
                f"{label}: the zip archive has two members called {entry[0]}; which one counts is unclear"
            )
        members[entry[0]] = Member(*entry, ends[entry[-1]])
    return members


def _directory_entry(
    label: str, directory: bytes, at: int
) -> tuple[tuple[str, bytes, int, int, int, int, int, int], int]:
    """(name, raw name, flags, method, crc, packed, size, start) of the entry at `at`, and where the next one begins."""
    (_, _, _, flags, method, _, _, crc, packed, size, name_length, extra_length, comment_length, disk, _, _, start) = (
        _CENTRAL.unpack_from(directory, at)
    )
    name_start = at + _CENTRAL.size
    extra_start = name_start + name_length
    following = extra_start + extra_length + comment_length
    if following > len(directory) or disk not in (0, 0xFFFF):
        raise CorruptFileError(f"{label}: an entry of the zip archive's directory is malformed")
    raw_name = directory[name_start:extra_start]
    if 0xFFFFFFFF in (packed, size, start):
        extra = directory[extra_start : extra_start + extra_length]
        size, packed, start = _zip64_values(label, extra, (size, packed, start))
    try:
        name = raw_name.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        raise CorruptFileError(f"{label}: a member of the zip archive has a name that is no text") from None
    if not name or "\0" in name:
        raise CorruptFileError(f"{label}: a member of the zip archive has an impossible name")
    return (name, raw_name, flags, method, crc, packed, size, start), following


def _zip64_values(label: str, extra: bytes, narrow: tuple[int, ...]) -> tuple[int, ...]:
    """`narrow` with each 0xFFFFFFFF replaced by the next value of the zip64 extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            field_bytes = extra[at + 4 : at + 4 + length]
            wide = iter(struct.unpack_from(f"<{len(field_bytes) // 8}Q", field_bytes))
            values = tuple(next(wide, -1) if value == 0xFFFFFFFF else value for value in narrow)
            if -1 not in values:
                return values
            break
        at += 4 + length
    raise CorruptFileError(f"{label}: a member of the zip archive lacks its zip64 sizes")


def locate_data(file: ByteRange, member: Member) -> int:
    """Where the member's data begin. Raises CorruptFileError where the local header tells another story."""
    header = file.read(member.start, _LOCAL.size + len(member.raw_name))
    signature, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack_from(header)
    data_start: int = member.start + _LOCAL.size + name_length + extra_length
    agrees = (
        signature == b"PK\x03\x04"
        and header[_LOCAL.size :] == member.raw_name
        and name_length == len(member.raw_name)
        and method == member.method
        and not (flags ^ member.flags) & (ENCRYPTED | _DESCRIPTOR)
        and data_start + member.packed <= member.end
    )
    if agrees and 0xFFFFFFFF in (packed, size):
        extra = bytes(file.read(member.start + _LOCAL.size + name_length, extra_length))
        size, packed = _zip64_values(file.path.name, extra, (size, packed))
    stated = (crc, packed, size)
    # Where a data descriptor follows the member, the header may leave the three numbers at zero.
    unstated = bool(flags & _DESCRIPTOR) and not any(stated)
    if not agrees or not (unstated or stated == (member.crc, member.packed, member.size)):
        raise CorruptFileError(
            f"{file.path.name}: {member.name} is described differently in the zip archive's directory"
        )
    return data_start
