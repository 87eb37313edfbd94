"""Pickles assembled opcode by opcode: each function returns the bytes of one expression, which leaves one value.

Nothing is pickled from live objects, so a payload is exactly the opcodes that are written here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

STOP = b"."
Pair = tuple[bytes, bytes]

WEIGHT_SHAPE = (8, 6)
WEIGHT = np.random.default_rng(1).standard_normal(WEIGHT_SHAPE).astype("<f4").tobytes()
BIAS = np.linspace(-1, 1, 8).astype("<f4").tobytes()
STORAGES = {"0": WEIGHT, "1": BIAS}


def text(value: str) -> bytes:
    """A string (BINUNICODE)."""
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def raw_bytes(value: bytes) -> bytes:
    """A bytes object (BINBYTES)."""
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    """An integer: BININT where it fits in 32 signed bits, else LONG1."""
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def true_or_false(value: bool) -> bytes:
    """NEWTRUE or NEWFALSE."""
    return b"\x88" if value else b"\x89"


def tuple_of(*items: bytes) -> bytes:
    """A tuple of expressions."""
    return b"(" + b"".join(items) + b"t"


def list_of(*items: bytes) -> bytes:
    """A list of expressions."""
    return b"](" + b"".join(items) + b"e"


def dict_of(pairs: Iterable[Pair]) -> bytes:
    """A dict of expressions."""
    return b"}(" + b"".join(key + value for key, value in pairs) + b"u"


def named(pairs: dict[str, bytes]) -> bytes:
    """A dict with string keys."""
    return dict_of((text(key), value) for key, value in pairs.items())


def numbers(values: Iterable[int]) -> bytes:
    """A tuple of integers."""
    return tuple_of(*(number(value) for value in values))


def name_of(module: str, name: str) -> bytes:
    """A global by GLOBAL (protocol 0 to 3)."""
    return f"c{module}\n{name}\n".encode()


def stack_name_of(module: str, name: str) -> bytes:
    """A global by STACK_GLOBAL (protocol 4): dots in `name` walk attributes."""
    return text(module) + text(name) + b"\x93"


def call(function: bytes, *arguments: bytes) -> bytes:
    """REDUCE: function(*arguments)."""
    return function + tuple_of(*arguments) + b"R"


def new_object(cls: bytes, *arguments: bytes) -> bytes:
    """NEWOBJ: cls.__new__(cls, *arguments)."""
    return cls + tuple_of(*arguments) + b"\x81"


def new_object_ex(cls: bytes, arguments: bytes, keywords: bytes) -> bytes:
    """NEWOBJ_EX: cls.__new__(cls, *arguments, **keywords)."""
    return cls + arguments + keywords + b"\x92"


def with_state(obj: bytes, state: bytes) -> bytes:
    """BUILD: obj.__setstate__(state), or its __dict__ updated."""
    return obj + state + b"b"


def pickled(expression: bytes, *, protocol: int = 2) -> bytes:
    """A whole pickle of one expression."""
    return b"\x80" + bytes([protocol]) + expression + STOP


def storage(
    key: bytes, elements: int, *, kind: str = "FloatStorage", legacy: bool = False, location: str = "cpu"
) -> bytes:
    """A storage by its persistent id, as torch.save writes it (the legacy format adds the view, None)."""
    fields = [text("storage"), name_of("torch", kind), key, text(location), number(elements)]
    return tuple_of(*fields, *([b"N"] if legacy else [])) + b"Q"


def tensor(
    key: str = "0",
    shape: Iterable[int] = WEIGHT_SHAPE,
    *,
    elements: int | None = None,
    stride: Iterable[int] | None = None,
    offset: int = 0,
    kind: str = "FloatStorage",
    legacy: bool = False,
) -> bytes:
    """A tensor as `torch._utils._rebuild_tensor_v2` over a storage of `elements` (as many as the shape asks for)."""
    sizes = tuple(shape)
    if stride is None:
        steps, step = [], 1
        for size in reversed(sizes):
            steps.append(step)
            step *= max(size, 1)
        stride = reversed(steps)
    if elements is None:
        elements = int(np.prod(sizes, dtype=object)) if sizes else 1
    hooks = call(name_of("collections", "OrderedDict"))
    held = storage(text(key), elements, kind=kind, legacy=legacy)
    rebuild = name_of("torch._utils", "_rebuild_tensor_v2")
    return call(rebuild, held, number(offset), numbers(sizes), numbers(stride), b"\x89", hooks)


def state(extra: Iterable[Pair] = (), *, legacy: bool = False) -> bytes:
    """A good state dict of one linear layer (tensors on storages "0" and "1"), and `extra` entries after it."""
    pairs = [
        (text("layer.weight"), tensor("0", WEIGHT_SHAPE, legacy=legacy)),
        (text("layer.bias"), tensor("1", (8,), legacy=legacy)),
    ]
    return dict_of([*pairs, *extra])
