"""The opcodes of pickle protocols 0 to 5 that push numbers, texts and byte strings; and the table of all handlers."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from critaudit.sources.pickles.machine import PickleMachine

Handler: TypeAlias = "Callable[[PickleMachine], None]"

_U2, _U4, _U8, _I4 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q"), struct.Struct("<i")
_F8 = struct.Struct(">d")
_MAX_INTEGER = 1024  # bytes; nothing honest in a checkpoint is longer


def _unknown(m: PickleMachine) -> None:
    raise m.corrupt("has an unknown opcode")


HANDLERS: list[Handler] = [_unknown] * 256


def opcode(*codes: bytes) -> Callable[[Handler], Handler]:
    """Register a handler for these opcodes."""

    def register(handler: Handler) -> Handler:
        for code in codes:
            HANDLERS[code[0]] = handler
        return handler

    return register


@opcode(b"N")
def _none(m: PickleMachine) -> None:
    m.stack.append(None)


@opcode(b"\x88")
def _true(m: PickleMachine) -> None:
    m.stack.append(True)


@opcode(b"\x89")
def _false(m: PickleMachine) -> None:
    m.stack.append(False)


@opcode(b"I")
def _int(m: PickleMachine) -> None:
    text = m.line()
    m.stack.append({b"00": False, b"01": True}[text] if text in (b"00", b"01") else int(text))


@opcode(b"L")
def _long(m: PickleMachine) -> None:
    m.stack.append(int(m.line().removesuffix(b"L")))


@opcode(b"K")
def _binint1(m: PickleMachine) -> None:
    m.stack.append(m.window[m.at])
    m.at += 1


@opcode(b"M")
def _binint2(m: PickleMachine) -> None:
    m.budget.memory -= 32
    m.stack.append(m.unpack(_U2))


@opcode(b"J")
def _binint(m: PickleMachine) -> None:
    m.budget.memory -= 32
    m.stack.append(m.unpack(_I4))


@opcode(b"\x8a")
def _long1(m: PickleMachine) -> None:
    m.budget.memory -= 40
    m.stack.append(int.from_bytes(m.take(m.byte()), "little", signed=True))


@opcode(b"\x8b")
def _long4(m: PickleMachine) -> None:
    count = m.unpack(_I4)
    if not 0 <= count <= _MAX_INTEGER:
        raise m.corrupt(f"has an integer of {count} bytes")
    m.budget.memory -= 40 + count
    m.stack.append(int.from_bytes(m.take(count), "little", signed=True))


@opcode(b"F")
def _float(m: PickleMachine) -> None:
    m.stack.append(float(m.line()))


@opcode(b"G")
def _binfloat(m: PickleMachine) -> None:
    m.budget.memory -= 24
    (value,) = _F8.unpack_from(m.window, m.at)
    m.at += 8
    m.stack.append(value)


# ---- texts and byte strings ----


@opcode(b"X")
def _binunicode(m: PickleMachine) -> None:
    (count,) = _U4.unpack_from(m.window, m.at)
    m.at += 4
    m.budget.memory -= 60 + count
    m.stack.append(m.take(count).decode("utf-8", "surrogatepass"))


@opcode(b"\x8c")
def _short_binunicode(m: PickleMachine) -> None:
    m.budget.memory -= 160
    m.stack.append(m.take(m.byte()).decode("utf-8", "surrogatepass"))


@opcode(b"\x8d")
def _binunicode8(m: PickleMachine) -> None:
    m.budget.memory -= 60
    m.stack.append(m.take(m.unpack(_U8)).decode("utf-8", "surrogatepass"))


@opcode(b"V")
def _unicode(m: PickleMachine) -> None:
    m.stack.append(m.line().decode("raw-unicode-escape"))


def _python2(data: bytes) -> str | bytes:
    """Python 2 did not tell text from bytes: what is text in UTF-8 counts as text."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


@opcode(b"S")
def _string(m: PickleMachine) -> None:
    quoted = m.line().strip()
    if len(quoted) < 2 or quoted[:1] != quoted[-1:] or quoted[:1] not in (b"'", b'"'):
        raise m.corrupt("has a text without its quotation marks")
    m.stack.append(_python2(_unescaped(quoted[1:-1])))


def _unescaped(text: bytes) -> bytes:
    """Python's escapes in a byte string's literal, resolved."""
    if b"\\" not in text:
        return text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of escapes that are none; here that is the file's business
        return text.decode("unicode_escape").encode("latin-1")


@opcode(b"T")
def _binstring(m: PickleMachine) -> None:
    m.budget.memory -= 60
    m.stack.append(_python2(m.take(m.unpack(_I4))))


@opcode(b"U")
def _short_binstring(m: PickleMachine) -> None:
    m.budget.memory -= 160
    m.stack.append(_python2(m.take(m.byte())))


@opcode(b"C")
def _short_binbytes(m: PickleMachine) -> None:
    m.budget.memory -= 160
    m.stack.append(m.take(m.byte()))


@opcode(b"B")
def _binbytes(m: PickleMachine) -> None:
    m.budget.memory -= 160
    m.stack.append(m.byte_string(m.unpack(_U4)))


@opcode(b"\x8e", b"\x96")
def _binbytes8(m: PickleMachine) -> None:
    m.budget.memory -= 160
    m.stack.append(m.byte_string(m.unpack(_U8)))


@opcode(b"\x97", b"\x98")
def _buffer(m: PickleMachine) -> None:
    raise m.corrupt("keeps its data in buffers outside the file; save it without buffer_callback")
