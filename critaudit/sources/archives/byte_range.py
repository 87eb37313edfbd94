"""What a reader needs of a file, and the same for a part of one: archives lie inside archives."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from critaudit.errors import CorruptFileError


class ByteRange(Protocol):
    """Bytes that can be read at any position; `RegularFile` is one. `path` names it in messages."""

    @property
    def path(self) -> Path: ...
    @property
    def size(self) -> int: ...
    @property
    def key(self) -> Hashable: ...
    def read(self, start: int, count: int) -> bytearray:
        """Bytes [start, start + count). Raises CorruptFileError where there are fewer."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Bytes [start, start + size) of `whole`; usable as a ByteRange and as a tensor's storage."""

    whole: ByteRange = field(repr=False)
    start: int
    size: int

    def __post_init__(self) -> None:
        if self.start < 0 or self.size < 0 or self.start + self.size > self.whole.size:
            raise CorruptFileError(
                f"{self.path.name}: bytes {self.start} to {self.start + self.size} are wanted, but there are "
                f"{self.whole.size} (truncated download?)"
            )

    @property
    def path(self) -> Path:
        """The file's path."""
        return self.whole.path

    @property
    def key(self) -> Hashable:
        """The place in the file, in the words of FileStorage."""
        return (self.whole.key, self.start, self.size)

    def read(self, start: int, count: int) -> bytearray:
        """See ByteRange."""
        if start < 0 or count < 0 or start + count > self.size:
            raise CorruptFileError(
                f"{self.path.name}: bytes {start} to {start + count} are wanted, but this part has {self.size}"
            )
        return self.whole.read(self.start + start, count)


@dataclass(frozen=True, slots=True, eq=False)
class PartStorage:
    """A part of a file as a storage (see `critaudit.tensors.Storage`)."""

    part: Part

    @property
    def key(self) -> Hashable:
        """The place in the file."""
        return self.part.key

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return self.part.size

    def read(self, start: int, stop: int) -> bytearray:
        """See Storage."""
        return self.part.read(start, stop - start)


@dataclass(frozen=True, slots=True, eq=False)
class Bytes:
    """Bytes in memory as a ByteRange: a deflated member, a pickle inside a pickle."""

    data: bytes = field(repr=False)
    path: Path
    key: Hashable

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.data)

    def read(self, start: int, count: int) -> bytearray:
        """See ByteRange."""
        if start < 0 or count < 0 or start + count > len(self.data):
            raise CorruptFileError(
                f"{self.path.name}: bytes {start} to {start + count} are wanted, but this part has {len(self.data)}"
            )
        return bytearray(memoryview(self.data)[start : start + count])
