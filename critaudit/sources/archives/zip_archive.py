"""Zip archives read strictly: whatever could be understood in two ways is refused, and nothing inflates without bounds.

Only what model files use is supported: one disk, stored or deflated members, zip64. Members are found through the
central directory, and each one's local header must tell the same story when it is first used. Gaps between members
(alignment) are never read. Bytes before the first member or after the end record are refused: a file that is an
archive for one program and a pickle for another has no honest reading.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from critaudit.errors import CorruptFileError, LimitExceededError, SourceError
from critaudit.sources.archives.byte_range import ByteRange, Bytes, Part
from critaudit.sources.archives.zip_directory import ENCRYPTED, Member, locate_data, read_directory
from critaudit.tensors import Storage

_STORED, _DEFLATED = 0, 8

CHUNK = 2**20
_PACKED_CHUNK = 2**16
# A deflated member may claim this much whatever its compressed size is (a freshly initialised model is mostly zeros) …
FREE_INFLATION = 128 * 2**20
# … and beyond that at most this many times its compressed size. Trained weights shrink by 1.1, pruned ones by 30.
MAX_INFLATION_RATIO = 50


class ZipArchive:
    """A zip archive: `names` in the directory's order, whole small members, lazy storages.

    Raises CorruptFileError where the directory contradicts itself or the file (duplicate or overlapping members, bytes
    outside the file, several end records, data before or after the archive), LimitExceededError where it is absurdly
    large.
    """

    def __init__(self, file: ByteRange) -> None:
        self.file = file
        self._label = file.path.name
        self._members = read_directory(file)
        self.names: tuple[str, ...] = tuple(self._members)
        # torch.serialization.set_crc32_options(False) writes 0 for every member; that is "no checksum", not damage.
        self._has_checksums = any(member.crc for member in self._members.values())
        self._data_starts: dict[str, int] = {}
        self._verdicts: dict[str, str | None] = {}
        inflated = sum(member.size for member in self._members.values() if member.method == _DEFLATED)
        if inflated > max(2 * FREE_INFLATION, MAX_INFLATION_RATIO * file.size):
            raise LimitExceededError(
                f"{self._label}: the zip archive claims to inflate from {file.size} to {inflated} bytes (a zip bomb?)"
            )
        # Views that alternate between deflated storages inflate them again and again. Honest files waste little.
        self._waste_left = 64 * min(inflated, 2**26) + 16 * inflated
        self._last_inflated: tuple[str, bytearray] | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def size(self, name: str) -> int:
        """Bytes of the member, inflated. Raises CorruptFileError where there is no such member."""
        return self._member(name).size

    def is_stored(self, name: str) -> bool:
        """Whether the member lies in the file uncompressed."""
        return self._member(name).method == _STORED

    def read(self, name: str, *, limit: int) -> bytes:
        """The whole member, checksum verified. Raises LimitExceededError where it is longer than `limit` bytes."""
        member = self._member(name)
        if member.size > limit:
            raise LimitExceededError(
                f"{self._label}: {name} has {member.size} bytes, where at most {limit} can be expected"
            )
        return bytes(self._slice(name, 0, member.size))

    def storage(self, name: str) -> Storage:
        """The member's bytes as a lazy storage; its checksum is verified once, at the first read.

        Raises CorruptFileError where the local header contradicts the directory, LimitExceededError for a bomb.
        """
        member = self._member(name)
        start = self._data_start(member)
        return ZipStorage(self, name, member.size, (self.file.key, start, member.size))

    def part(self, name: str, *, limit: int) -> ByteRange:
        """The member as a file of its own (an archive in the archive), in place where it is stored."""
        member = self._member(name)
        if member.method == _STORED:
            return Part(self.file, self._data_start(member), member.size)
        return Bytes(self.read(name, limit=limit), self.file.path, (self.file.key, member.start))

    def _member(self, name: str) -> Member:
        member = self._members.get(name)
        if member is None:
            raise CorruptFileError(f"{self._label}: the archive has no member {name} (incomplete file?)")
        return member

    def _data_start(self, member: Member) -> int:
        """Where the member's bytes begin, after checking its local header against the directory."""
        known = self._data_starts.get(member.name)
        if known is None:
            _check_supported(self._label, member)
            known = self._data_starts[member.name] = locate_data(self.file, member)
        return known

    def _slice(self, name: str, start: int, stop: int) -> bytearray:
        """Bytes [start, stop) of the inflated member."""
        member = self._member(name)
        if not 0 <= start <= stop <= member.size:
            raise CorruptFileError(
                f"{self._label}: bytes {start} to {stop} of {name} are wanted, but it has {member.size}"
            )
        data_start = self._data_start(member)
        if member.method == _DEFLATED:
            return self._inflate(member, data_start, start, stop)
        whole = stop - start == member.size
        if not whole:
            self._verify(member, self._chunks(data_start, member.size))
        data = self.file.read(data_start + start, stop - start)
        if whole:
            self._verify(member, iter((data,)))
        return data

    def _chunks(self, start: int, count: int, chunk: int = CHUNK) -> Iterator[bytearray]:
        for position in range(start, start + count, chunk):
            yield self.file.read(position, min(chunk, start + count - position))

    def _verify(self, member: Member, chunks: Iterator[bytearray]) -> None:
        """Check the member's checksum, once; a failure is remembered and raised again."""
        if member.name not in self._verdicts:
            crc = 0
            if self._has_checksums:
                for chunk in chunks:
                    crc = zlib.crc32(chunk, crc)
            self._verdicts[member.name] = (
                None
                if crc == member.crc
                else f"{self._label}: the checksum of {member.name} does not match; its bytes are damaged"
            )
        verdict = self._verdicts[member.name]
        if verdict is not None:
            raise CorruptFileError(verdict)

    def _inflate(self, member: Member, data_start: int, start: int, stop: int) -> bytearray:
        """Bytes [start, stop) of a deflated member. Views of the member that was inflated last share its bytes."""
        if self._last_inflated is not None and self._last_inflated[0] == member.name:
            return self._last_inflated[1][start:stop]
        self._last_inflated = None
        self._waste_left -= member.size - (stop - start)
        if self._waste_left < 0:
            raise LimitExceededError(
                f"{self._label}: {member.name} would have to be inflated too many times; re-save the file uncompressed"
            )
        data = bytearray(member.size)
        done = 0
        for piece in _inflated(
            self._chunks(data_start, member.packed, _PACKED_CHUNK), f"{self._label}: {member.name}", member.size
        ):
            data[done : done + len(piece)] = piece
            done += len(piece)
        if done != member.size:
            raise CorruptFileError(
                f"{self._label}: {member.name} inflates to {done} bytes, but the directory says {member.size}"
            )
        self._verify(member, iter((data,)))
        if stop - start == member.size:
            return data  # whole members are read once; keeping a copy would only cost memory
        self._last_inflated = (member.name, data)
        return data[start:stop]


@dataclass(frozen=True, slots=True, eq=False)
class ZipStorage:
    """A member of an archive as a storage (see `critaudit.tensors.Storage`)."""

    archive: ZipArchive = field(repr=False)
    name: str
    nbytes: int
    key: Hashable

    def read(self, start: int, stop: int) -> bytearray:
        """See Storage. Raises CorruptFileError where the checksum does not match."""
        return self.archive._slice(self.name, start, stop)


def _check_supported(label: str, member: Member) -> None:
    """Refuse encrypted members, unknown compression and inflation that no weights can ask for."""
    if member.flags & ENCRYPTED:
        raise SourceError(f"{label}: {member.name} is encrypted; unpack the archive with its password and re-save it")
    if member.method == _STORED:
        if member.packed != member.size:
            raise CorruptFileError(f"{label}: {member.name} is stored, but its two sizes differ")
    elif member.method == _DEFLATED:
        if member.size > max(FREE_INFLATION, MAX_INFLATION_RATIO * member.packed):
            raise LimitExceededError(
                f"{label}: {member.name} claims to inflate from {member.packed} to {member.size} bytes (a zip bomb?)"
            )
    else:
        raise SourceError(
            f"{label}: {member.name} is compressed with zip method {member.method}; "
            "expected stored or deflated, re-save it"
        )


def _inflated(chunks: Iterator[bytearray], label: str, size: int) -> Iterator[bytes]:
    """Inflate raw deflate data piece by piece, never past `size` bytes in all."""
    inflater, left = zlib.decompressobj(-zlib.MAX_WBITS), size
    try:
        for chunk in chunks:
            pending: bytes | bytearray = chunk
            while pending and not inflater.eof:
                piece = inflater.decompress(pending, CHUNK)
                pending = inflater.unconsumed_tail
                left -= len(piece)
                if left < 0:
                    raise CorruptFileError(f"{label} inflates to more bytes than the directory says")
                yield piece
    except zlib.error as error:
        raise CorruptFileError(f"{label} cannot be inflated: {error}") from None
    if not inflater.eof:
        raise CorruptFileError(f"{label} ends in the middle of its compressed data")
