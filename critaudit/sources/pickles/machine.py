"""An inert pickle machine: every protocol, nothing imported, nothing called, nothing allocated on a header's word.

Python's own unpickler is unsuitable even with a `find_class` that refuses everything: `LONG_BINPUT` with a large index
or `BINBYTES8` with a large length make it allocate gigabytes. Here the memo is a dictionary, every length is compared
with the bytes that remain, and operations, memory and time are charged to a `Budget`. What the pickle wants to build
becomes an `Inert` stand-in, except for the few names in `builders`, which are functions of this package.
"""

from __future__ import annotations

import gc
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

from critaudit.errors import CorruptFileError
from critaudit.sources.archives.byte_range import ByteRange, Part, PartStorage
from critaudit.sources.pickles.inert import UNKNOWN_TENSOR, Budget, Builder, Inert, Named, StoredBytes
from critaudit.sources.pickles.opcodes import OPCODES, StopPickle

_WINDOW = 2**18
_SLACK = 16  # more than any opcode with its fixed-size argument
_BLOCK = 4096
_MAX_LINE = 64 * 2**20
_LAZY = 2**14  # byte strings from this length on stay in the file

# Python 2's names of the modules that matter here.
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "exceptions": "builtins"}


class PickleMachine:
    """Reads pickles one after the other from `source`, starting at `position`.

    `persistent` resolves persistent ids. After `load`, `position` is the first byte behind the pickle.
    """

    def __init__(
        self,
        source: ByteRange,
        position: int = 0,
        *,
        builders: Mapping[str, Builder],
        persistent: Callable[[object], object],
        budget: Budget,
    ) -> None:
        self.source = source
        self.label = source.path.name
        self.builders = builders
        self.persistent = persistent
        self.budget = budget
        self.stack: list[object] = []
        self.marks: list[list[object]] = []
        self.memo: dict[int, object] = {}
        self.names: dict[tuple[str, str], Named] = {}
        self.seek(position)

    @property
    def position(self) -> int:
        """Where the next byte is read."""
        return self._base + self.at

    def seek(self, position: int) -> None:
        """Continue reading at `position`."""
        count = min(_WINDOW, self.source.size - position)
        self.window = bytes(self.source.read(position, count)) if count > 0 else b""
        self._base, self.at = position, 0
        # Up to here an opcode and its fixed-size argument surely lie in the window.
        self._safe = len(self.window) - _SLACK if position + count < self.source.size else len(self.window)

    def load(self) -> object:
        """The next pickle's object.

        Raises CorruptFileError where it is malformed, LimitExceededError where it is too large.
        """
        self.stack, self.marks, self.memo = [], [], {}
        try:
            with _collector_paused():
                self._run()
        except StopPickle:
            result = self.stack[-1] if self.stack else None
        except (IndexError, struct.error):
            raise CorruptFileError(self._malformed()) from None
        except (UnicodeError, ValueError):
            raise CorruptFileError(f"{self.label}: its pickle holds text or a number that cannot be read") from None
        self.stack, self.marks, self.memo = [], [], {}
        return result

    def _run(self) -> NoReturn:
        """Opcode after opcode; the budget is looked at every few thousand. StopPickle ends it."""
        charged, done, table = 0, 0, OPCODES
        try:
            while True:
                for done in range(_BLOCK):  # noqa: B007 - counted where the pickle ends
                    if self.at >= self._safe:
                        self.seek(self.position)
                    opcode = self.window[self.at]
                    self.at += 1
                    table[opcode](self)
                self.budget.check(_BLOCK)
                self.budget.charge(100 * (len(self.memo) - charged))
                charged = len(self.memo)
        except StopPickle:
            self.budget.check(done + 1)
            raise

    def _malformed(self) -> str:
        if self.position >= self.source.size:
            return f"{self.label}: its pickle ends in the middle (truncated download? fetch it again)"
        return f"{self.label}: its pickle is malformed at byte {self.position}"

    def corrupt(self, what: str) -> CorruptFileError:
        """An error that says `what` is wrong with the pickle and where."""
        return CorruptFileError(f"{self.label}: its pickle {what} at byte {self.position}")

    # ---- bytes ----

    def byte(self) -> int:
        """The next byte."""
        value = self.window[self.at]
        self.at += 1
        return value

    def unpack(self, layout: struct.Struct) -> int:
        """The next integer of the layout."""
        (value,) = layout.unpack_from(self.window, self.at)
        self.at += layout.size
        return int(value)

    def take(self, count: int) -> bytes:
        """The next `count` bytes, which the source must have."""
        end = self.at + count
        if count >= 0 and end <= len(self.window):
            data = self.window[self.at : end]
            self.at = end
        else:
            position = self._claim(count)
            data = bytes(self.source.read(position, count))
            self.seek(position + count)
        if count > _BLOCK:
            self.budget.charge(4 * count)  # a text may take four bytes per character
        return data

    def _claim(self, count: int) -> int:
        position = self.position
        if count < 0 or count > self.source.size - position:
            raise CorruptFileError(
                f"{self.label}: its pickle announces {count} bytes at byte {position}, but "
                f"{self.source.size - position} are left (truncated download?)"
            )
        return position

    def byte_string(self, count: int) -> bytes | StoredBytes:
        """A byte string of `count` bytes; a long one stays in the file."""
        if count < _LAZY:
            return self.take(count)
        position = self._claim(count)
        if self.at + count < len(self.window):
            self.at += count
        else:
            self.seek(position + count)
        return StoredBytes(PartStorage(Part(self.source, position, count)))

    def line(self) -> bytes:
        """The bytes up to the next newline, which is skipped."""
        end = self.window.find(b"\n", self.at)
        if end >= 0:
            data = self.window[self.at : end]
            self.at = end + 1
            return data
        position, length = self.position, _WINDOW
        while length <= _MAX_LINE:
            data = bytes(self.source.read(position, min(length, self.source.size - position)))
            end = data.find(b"\n")
            if end >= 0:
                self.budget.charge(4 * end)
                self.seek(position + end + 1)
                return data[:end]
            if len(data) < length:
                break
            length *= 4
        raise self.corrupt("has a line without an end")

    # ---- objects ----

    def pop_mark(self) -> list[object]:
        """What was pushed since the last MARK."""
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def named(self, module: str, name: str) -> Named:
        """The stand-in for a class or function; one object per name."""
        known = self.names.get((module, name))
        if known is None:
            self.budget.charge(300)
            known = self.names[module, name] = Named(f"{_RENAMED.get(module, module)}.{name}")
        return known

    def call(self, function: object, arguments: object) -> object:
        """What `function(*arguments)` stands for: built by our own table, or an inert description of the call."""
        self.budget.memory -= 120
        args = arguments if type(arguments) is tuple else (arguments,)
        if not isinstance(function, Named):
            return Inert("call of an object", args)
        builder = self.builders.get(function.name)
        if builder is None and function.name.startswith(("torch._utils._rebuild_", "torch._tensor._rebuild_")):
            builder = self.builders.get(UNKNOWN_TENSOR)
        if builder is not None:
            built = builder(args, self.budget.charge)
            if built is not NotImplemented:
                return built
        if function.name in _MAKERS and args and isinstance(args[0], Named):
            return self.call(args[0], ())
        return Inert(function.name, args)


_MAKERS = frozenset({"copyreg._reconstructor", "copyreg.__newobj__", "copyreg.__newobj_ex__"})


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Objects by the million make Python look for garbage again and again, and there is none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
