"""The opcodes of pickle protocols 0 to 5 that make containers, refer back, or want to build things.

Where a handler pushes something larger than a number it charges the machine's memory budget; `memory` is decremented
directly in the frequent ones, and the machine looks at it every few thousand opcodes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from critaudit.sources.pickles.inert import Inert, Named, Restorable, plain_key
from critaudit.sources.pickles.literals import HANDLERS, Handler, opcode

if TYPE_CHECKING:
    from critaudit.sources.pickles.machine import PickleMachine

_U2, _U4, _U8 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")
_read_u4 = _U4.unpack_from
_MAX_PROTOCOL = 5
_BATCH = 4096


class StopPickle(Exception):  # noqa: N818 - it ends a pickle as StopIteration ends a loop
    """The STOP opcode was reached."""


# ---- protocol and end ----


@opcode(b"\x80")
def _proto(m: PickleMachine) -> None:
    if m.byte() > _MAX_PROTOCOL:
        raise m.corrupt("claims a protocol that does not exist")


@opcode(b"\x95")
def _frame(m: PickleMachine) -> None:
    if m.unpack(_U8) > m.source.size - m.position:
        raise m.corrupt("has a frame that is longer than the file (truncated download?)")


@opcode(b".")
def _stop(_: PickleMachine) -> None:
    raise StopPickle


# ---- containers ----


@opcode(b"(")
def _mark(m: PickleMachine) -> None:
    m.budget.memory -= 64
    m.marks.append(m.stack)
    m.stack = []


@opcode(b")")
def _empty_tuple(m: PickleMachine) -> None:
    m.stack.append(())


@opcode(b"t")
def _tuple(m: PickleMachine) -> None:
    items = tuple(m.pop_mark())
    m.budget.memory -= 48 + 8 * len(items)
    m.stack.append(items)


@opcode(b"\x85")
def _tuple1(m: PickleMachine) -> None:
    m.budget.memory -= 48
    m.stack[-1] = (m.stack[-1],)


@opcode(b"\x86")
def _tuple2(m: PickleMachine) -> None:
    m.budget.memory -= 56
    last = m.stack.pop()
    m.stack[-1] = (m.stack[-1], last)


@opcode(b"\x87")
def _tuple3(m: PickleMachine) -> None:
    m.budget.memory -= 64
    last, middle = m.stack.pop(), m.stack.pop()
    m.stack[-1] = (m.stack[-1], middle, last)


@opcode(b"]", b"\x8f")
def _empty_list(m: PickleMachine) -> None:
    """Sets are kept as lists: hashing what a file says is what we do not do."""
    m.budget.memory -= 64
    m.stack.append([])


@opcode(b"l", b"\x91")
def _list(m: PickleMachine) -> None:
    items = m.pop_mark()
    m.budget.memory -= 64
    m.stack.append(items)


@opcode(b"}")
def _empty_dict(m: PickleMachine) -> None:
    m.budget.memory -= 64
    m.stack.append({})


@opcode(b"d")
def _dict(m: PickleMachine) -> None:
    items = m.pop_mark()
    m.stack.append({})
    _set_items(m, items)


@opcode(b"a")
def _append(m: PickleMachine) -> None:
    item = m.stack.pop()
    _extend(m, [item])


@opcode(b"e", b"\x90")
def _appends(m: PickleMachine) -> None:
    items = m.pop_mark()
    _extend(m, items)


def _extend(m: PickleMachine, items: list[object]) -> None:
    target = m.stack[-1]
    m.budget.memory -= 8 * len(items)
    if type(target) is list:
        target.extend(items)
    elif isinstance(target, Inert):
        if target.elements is None:
            target.elements = []
        target.elements.extend(items)
    else:
        raise m.corrupt("appends to something that is no list")


@opcode(b"s")
def _setitem(m: PickleMachine) -> None:
    value, key = m.stack.pop(), m.stack.pop()
    _set_items(m, [key, value])


@opcode(b"u")
def _setitems(m: PickleMachine) -> None:
    items = m.pop_mark()
    _set_items(m, items)


def _set_items(m: PickleMachine, items: list[object]) -> None:
    target = m.stack[-1]
    if isinstance(target, Inert):
        if target.items is None:
            target.items = {}
        target = target.items
    if type(target) is not dict or len(items) % 2:
        raise m.corrupt("sets items of something that is no dictionary")
    m.budget.memory -= 50 * len(items)
    for start in range(0, len(items), 2 * _BATCH):
        batch = items[start : start + 2 * _BATCH]
        for key, value in zip(batch[::2], batch[1::2], strict=True):
            target[plain_key(key)] = value
        # Keys made to collide cost quadratic time; the clock sees to it.
        m.budget.check(len(batch) if len(items) > _BATCH else 1)


# ---- stack and memo ----


@opcode(b"0")
def _pop(m: PickleMachine) -> None:
    if m.stack:
        m.stack.pop()
    else:
        m.pop_mark()


@opcode(b"1")
def _pop_mark(m: PickleMachine) -> None:
    m.pop_mark()


@opcode(b"2")
def _dup(m: PickleMachine) -> None:
    m.stack.append(m.stack[-1])


def _recall(m: PickleMachine, index: int) -> None:
    try:
        m.stack.append(m.memo[index])
    except KeyError:
        raise m.corrupt("refers to an object that it did not make") from None


@opcode(b"h")
def _binget(m: PickleMachine) -> None:
    index = m.window[m.at]
    m.at += 1
    _recall(m, index)


@opcode(b"j")
def _long_binget(m: PickleMachine) -> None:
    (index,) = _read_u4(m.window, m.at)
    m.at += 4
    _recall(m, index)


@opcode(b"g")
def _get(m: PickleMachine) -> None:
    _recall(m, int(m.line()))


@opcode(b"q")
def _binput(m: PickleMachine) -> None:
    m.memo[m.window[m.at]] = m.stack[-1]
    m.at += 1


@opcode(b"r")
def _long_binput(m: PickleMachine) -> None:
    (index,) = _read_u4(m.window, m.at)
    m.at += 4
    m.memo[index] = m.stack[-1]


@opcode(b"p")
def _put(m: PickleMachine) -> None:
    m.memo[int(m.line())] = m.stack[-1]


@opcode(b"\x94")
def _memoize(m: PickleMachine) -> None:
    m.memo[len(m.memo)] = m.stack[-1]


# ---- names, calls, instances: nothing is imported or called ----


@opcode(b"c")
def _global(m: PickleMachine) -> None:
    module, name = m.line(), m.line()
    m.stack.append(m.named(module.decode("utf-8"), name.decode("utf-8")))


@opcode(b"\x93")
def _stack_global(m: PickleMachine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise m.corrupt("names a class by something that is no text")
    m.stack.append(m.named(module, name))


@opcode(b"\x82")
def _ext1(m: PickleMachine) -> None:
    m.stack.append(m.named("copyreg.extension", str(m.byte())))


@opcode(b"\x83")
def _ext2(m: PickleMachine) -> None:
    m.stack.append(m.named("copyreg.extension", str(m.unpack(_U2))))


@opcode(b"\x84")
def _ext4(m: PickleMachine) -> None:
    m.stack.append(m.named("copyreg.extension", str(m.unpack(_U4))))


@opcode(b"R", b"\x81")
def _reduce(m: PickleMachine) -> None:
    arguments = m.stack.pop()
    m.stack[-1] = m.call(m.stack[-1], arguments)


@opcode(b"\x92")
def _newobj_ex(m: PickleMachine) -> None:
    keywords, arguments = m.stack.pop(), m.stack.pop()
    made = m.call(m.stack[-1], arguments)
    if isinstance(made, Inert) and type(keywords) is dict and keywords:
        made.state = keywords
    m.stack[-1] = made


@opcode(b"i")
def _inst(m: PickleMachine) -> None:
    module, name = m.line(), m.line()
    function = m.named(module.decode("utf-8"), name.decode("utf-8"))
    arguments = tuple(m.pop_mark())
    m.stack.append(m.call(function, arguments))


@opcode(b"o")
def _obj(m: PickleMachine) -> None:
    items = m.pop_mark()
    m.stack.append(m.call(items[0], tuple(items[1:])))


@opcode(b"b")
def _build(m: PickleMachine) -> None:
    state = m.stack.pop()
    target = m.stack[-1]
    if isinstance(target, Restorable):
        target.restore(state)
    elif isinstance(target, Inert):
        if type(state) is dict and type(target.state) is dict:
            m.budget.charge(100 * (len(target.state) + len(state)))
            target.state = {**target.state, **state}
        else:
            target.state = state
    elif isinstance(target, Named):
        raise m.corrupt("restores the state of a class")
    # The state of an OrderedDict (`_metadata`) and of tensors (hooks) says nothing about weights.


@opcode(b"P")
def _persid(m: PickleMachine) -> None:
    m.stack.append(m.persistent(m.line().decode("utf-8")))


@opcode(b"Q")
def _binpersid(m: PickleMachine) -> None:
    m.stack[-1] = m.persistent(m.stack[-1])


OPCODES: tuple[Handler, ...] = tuple(HANDLERS)
