"""Protocol Buffers' wire format, read lazily from a file: fields are found, long ones are skipped by their length.

Only what ONNX needs: no groups, no schema. Memory is one window, whatever the file's size. Everything a hostile file
could multiply is counted: fields, bytes of text, nesting (by the caller).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from critaudit.errors import CorruptFileError, LimitExceededError
from critaudit.tensors import RegularFile

# 30,000 nodes of a dozen fields each, more than exporters write; walking it takes about 5 s.
MAX_FIELDS = 400_000
MAX_TEXT_BYTES = 64_000_000
MAX_ONE_TEXT = 65_536
_WINDOW = 1 << 16
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    """One field: for varints `value` is the unsigned number, else the payload is bytes [start, stop) of the file."""

    number: int
    wire: int
    value: int
    start: int
    stop: int


class WireReader:
    """Reads messages of one file. `truncated` becomes true where a field runs past the end of the file itself.

    `claimed` is then the size that the outermost such field gives the file at least, None where its length is cut too.
    """

    def __init__(self, file: RegularFile) -> None:
        self.file = file
        self.truncated = False
        self.claimed: int | None = None
        self._window = b""
        self._base = 0
        self._fields_left = MAX_FIELDS
        self._text_left = MAX_TEXT_BYTES

    def fields(self, start: int, stop: int) -> Iterator[Field]:
        """The fields of the message in bytes [start, stop), in file order; nested messages are not entered.

        A field cut off by the end of the file is yielded with what is there, as the last one. Raises CorruptFileError
        where the bytes are no message, LimitExceededError where there are too many fields in the file.
        """
        position = start
        while position < stop:
            self._fields_left -= 1
            if self._fields_left < 0:
                raise LimitExceededError(f"{self.file.path.name}: the graph has more than {MAX_FIELDS} fields")
            tag, position = self._varint(position, stop)
            number, wire = tag >> 3, tag & 7
            if number == 0:
                raise self._broken(position)
            if wire == VARINT:
                value, position = self._varint(position, stop)
                yield Field(number, wire, value, position, position)
                continue
            if wire == BYTES:
                length, position = self._varint(position, stop)
            elif wire in (FIXED32, FIXED64):
                length = 4 if wire == FIXED32 else 8
            else:
                raise self._broken(position)
            end = position + length
            if end > stop:
                if stop < self.file.size:
                    raise self._broken(position)
                if not self.truncated:
                    self.truncated, self.claimed = True, end
                end = stop
            yield Field(number, wire, 0, position, end)
            position = end

    def text(self, field: Field) -> str:
        """A string field; bytes that are not UTF-8 become escapes."""
        return self.raw(field).decode("utf-8", "backslashreplace")

    def raw(self, field: Field) -> bytes:
        """A short bytes field."""
        length = field.stop - field.start
        self._text_left -= length
        if length > MAX_ONE_TEXT or self._text_left < 0:
            raise LimitExceededError(
                f"{self.file.path.name}: a name of {length} bytes, or too many names, in the graph"
            )
        return self._bytes(field.start, length)

    def numbers(self, field: Field) -> list[int]:
        """A repeated integer field, packed or a single value, as signed 64-bit numbers; short ones only."""
        if field.wire == VARINT:
            return [signed(field.value)]
        return [int(n) for n in decode_varints(np.frombuffer(self.raw(field), np.uint8)).view(np.int64)]

    def _varint(self, position: int, stop: int) -> tuple[int, int]:
        offset = position - self._base
        if offset < 0 or offset + 10 > len(self._window):
            self._load(position)
            offset = 0
        window = self._window
        end = min(len(window), offset + min(10, stop - position))
        value = shift = 0
        for index in range(offset, end):
            byte = window[index]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, position + index - offset + 1
            shift += 7
        if stop - position < 10 and stop == self.file.size:
            self.truncated = True
            return 0, stop
        raise self._broken(position)

    def _bytes(self, start: int, count: int) -> bytes:
        offset = start - self._base
        if offset < 0 or offset + count > len(self._window):
            if count > _WINDOW // 2:
                return bytes(self.file.read(start, count))
            self._load(start)
            offset = 0
        return self._window[offset : offset + count]

    def _load(self, position: int) -> None:
        self._base = position
        self._window = bytes(self.file.read(position, max(0, min(_WINDOW, self.file.size - position))))

    def _broken(self, position: int) -> CorruptFileError:
        return CorruptFileError(f"{self.file.path.name}: byte {position} is not where a field of a message can be")


def signed(value: int) -> int:
    """A varint's unsigned 64 bits as the signed number that they stand for."""
    return value - 2**64 if value >= 2**63 else value


def decode_varints(raw: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """All the varints that `raw` consists of. Raises CorruptFileError where it does not end with a whole one."""
    ends = np.flatnonzero(raw < 0x80)
    if raw.size and (ends.size == 0 or ends[-1] != raw.size - 1):
        raise CorruptFileError("a list of packed numbers ends in the middle of one")
    starts = np.concatenate([[0], ends[:-1] + 1]) if ends.size else ends
    lengths = ends - starts + 1
    longest = int(lengths.max(initial=0))
    if longest > 10:
        raise CorruptFileError("a packed number is longer than ten bytes")
    values = np.zeros(ends.size, np.uint64)
    for step in range(longest):
        inside = lengths > step
        part = (raw[starts[inside] + step] & 0x7F).astype(np.uint64)
        values[inside] |= part << np.uint64(7 * step)
    return values
