"""Pickles without payloads that attack their reader: bombs, cycles, lies about lengths, broken opcodes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.hostile import containers, pickles
from tests.hostile.case import ANY, AUDITED, NOT_WHOLE, REFUSED, Case, Outcome, Site
from tests.hostile.pickles import call, dict_of, list_of, name_of, named, number, text, tuple_of, with_state

GOOD = [(text("layer.weight"), pickles.tensor("0")), (text("layer.bias"), pickles.tensor("1", (8,)))]


def cases() -> Iterator[Case]:
    """All cases of this module."""
    yield from _lengths()
    yield from _depth()
    yield from _size()
    yield from _cycles()
    yield from _broken()
    yield from _keys()


def _case(
    name: str,
    attack: str,
    opcodes: bytes | Callable[[], bytes],
    expected: frozenset[Outcome] = REFUSED,
    *,
    beside: bool = False,
    raw: bool = False,
) -> Case:
    """`opcodes` is the whole object, or (`beside`) the value of an entry behind good weights, or (`raw`) data.pkl."""

    def build(site: Site) -> Path:
        told = opcodes if isinstance(opcodes, bytes) else opcodes()
        if raw:
            data = containers.rawzip.archive(containers.zip_members(told))
        elif beside:
            data = containers.zip_checkpoint([(text("extra"), told)], protocol=4)
        else:
            data = containers.zip_checkpoint(whole=told, protocol=4)
        return site.file("model.pt", data)

    return Case(f"pickle-{name}", "pickle bombs", attack, build, expected)


def _lengths() -> Iterator[Case]:
    eight, four = struct.Struct("<Q"), struct.Struct("<I")
    yield _case("binbytes8", "BINBYTES8 of 2^60 bytes", b"\x8e" + eight.pack(2**60) + b"x")
    yield _case("binunicode8", "BINUNICODE8 of 2^63 bytes", b"\x8d" + eight.pack(2**63) + b"x")
    yield _case("bytearray8", "BYTEARRAY8 of 2^40 bytes", b"\x96" + eight.pack(2**40) + b"x")
    yield _case("binbytes", "BINBYTES of 4 GB", b"B" + four.pack(2**32 - 1) + b"x")
    yield _case("binunicode", "BINUNICODE of 4 GB", b"X" + four.pack(2**32 - 1) + b"x")
    yield _case("binstring-negative", "BINSTRING of -1 bytes", b"T" + struct.pack("<i", -1) + b"x")
    yield _case("long4-negative", "LONG4 of -1 bytes", b"\x8b" + struct.pack("<i", -1))
    yield _case("long4-huge", "LONG4 of 2 GB", b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x")
    yield _case("long-binput", "LONG_BINPUT at index 2^31", b"Nr" + four.pack(2**31) + b"0" + pickles.state(), ANY)
    yield _case("put-text", "PUT at index 10^300", b"Np1" + b"0" * 300 + b"\n0" + pickles.state(), ANY)
    yield _case("frame-huge", "a FRAME of 2^60 bytes", b"\x95" + eight.pack(2**60) + pickles.state(), ANY)
    yield _case("frame-short", "a FRAME that ends inside an opcode", b"\x95" + eight.pack(3) + pickles.state(), ANY)
    yield _case("next-buffer", "an out-of-band buffer", b"\x97")
    yield _case("long-digits", "an INT of a million digits", b"I" + b"7" * 10**6 + b"\n", ANY, beside=True)
    yield _case("long-text", "a LONG of a million digits", b"L" + b"7" * 10**6 + b"L\n", ANY, beside=True)
    yield _case("line-endless", "a GLOBAL whose line never ends", lambda: b"c" + b"a" * 2**24)


def _depth() -> Iterator[Case]:
    deep = 10**6
    yield _case("nested-lists", "ten million nested lists", lambda: b"]" * 10**7 + b"a" * (10**7 - 1))
    yield _case(
        "nested-lists-beside",
        "a million nested lists beside weights",
        lambda: b"]" * deep + b"a" * (deep - 1),
        ANY,
        beside=True,
    )
    yield _case("nested-tuples", "a million nested tuples", lambda: b")" + b"\x85" * deep, ANY, beside=True)
    yield _case(
        "nested-tuple-key",
        "a million nested tuples as a key (hash recursion)",
        lambda: b"}" + b")" + b"\x85" * deep + b"Ns",
        ANY,
        beside=True,
    )
    yield _case(
        "nested-dicts",
        "a hundred thousand nested dicts around the weights",
        lambda: (b"}" + text("m")) * 10**5 + pickles.state() + b"s" * 10**5,
        ANY,
    )
    yield _case("nested-marks", "ten million marks", lambda: b"(" * 10**7 + b"N")
    yield _case(
        "nested-builds",
        "a hundred thousand nested BUILDs",
        lambda: (name_of("a", "B") + b")\x81") * 10**5 + b"}" + b"b" * 10**5,
        ANY,
        beside=True,
    )
    yield _case(
        "nested-reduces",
        "a hundred thousand calls of calls",
        lambda: name_of("a", "B") + b")R" * 10**5,
        ANY,
        beside=True,
    )
    yield _case(
        "nested-frozen-sets",
        "fifty thousand nested frozen sets",
        lambda: b"(" * 50000 + b"\x91" * 50000,
        ANY,
        beside=True,
    )


def _size() -> Iterator[Case]:
    yield _case("many-dicts", "fifty million dicts in a 50 MB pickle", lambda: b"}" * (5 * 10**7))
    yield _case("many-sets", "twenty million sets", lambda: b"\x8f" * (2 * 10**7))
    yield _case("many-nones", "fifty million NONEs", lambda: b"N" * (5 * 10**7))
    yield _case(
        "many-pops", "ten million opcodes that leave nothing", lambda: b"N0" * (5 * 10**6) + pickles.state(), ANY
    )
    yield _case("many-memos", "ten million memo entries", lambda: b"N" + b"\x94" * 10**7 + b"0" + pickles.state(), ANY)
    yield _case(
        "many-objects",
        "five million foreign objects",
        lambda: name_of("a", "B") + b"q\0" + b"(" + b"h\0)\x81" * (5 * 10**6) + b"t",
    )
    yield _case("duplicates", "DUP of a growing stack", lambda: b")" + b"2" * (3 * 10**7))
    yield _case("laughs", "a billion laughs: tuples that double sixty times", _laughs, ANY, beside=True)
    yield _case(
        "laughs-key",
        "a billion laughs as a dictionary key (hashing never ends)",
        lambda: b"}" + _laughs() + b"Ns",
        ANY,
        beside=True,
    )
    yield _case(
        "laughs-dicts",
        "a billion laughs: dicts that double sixty times, with weights at the bottom",
        _laughing_dicts,
        ANY,
    )
    yield _case("laughs-bytes", "strings joined by a chain of operator.add", _laughing_text, ANY, beside=True)
    yield _case("hash-flood", "fifty thousand integers with the same hash", _flood, ANY, beside=True)
    yield _case(
        "bytes-repeated", "bytes(2^40) by REDUCE", call(name_of("builtins", "bytes"), number(2**40)), ANY, beside=True
    )
    yield _case(
        "range-list",
        "list(range(2^40)) by REDUCE",
        call(name_of("builtins", "list"), call(name_of("builtins", "range"), number(2**40))),
        ANY,
        beside=True,
    )
    yield _case(
        "zeros", "numpy.zeros(2^40) by REDUCE", call(name_of("numpy", "zeros"), number(2**40)), ANY, beside=True
    )
    yield _case("many-tensors", "fifty thousand names of one tensor", _many_tensors, ANY)


def _laughs() -> bytes:
    return text("ha") + b"\x94" + b"2\x86" * 60


def _laughing_dicts() -> bytes:
    opcodes = bytearray(pickles.state())
    for level in range(60):
        opcodes += (
            b"q"
            + bytes([level])
            + b"0}("
            + text("a")
            + b"h"
            + bytes([level])
            + text("b")
            + b"h"
            + bytes([level])
            + b"u"
        )
    return bytes(opcodes)


def _laughing_text() -> bytes:
    opcodes = text("x" * 64)
    for level in range(40):
        place = b"q" + bytes([level]) + b"0"
        got = b"h" + bytes([level])
        opcodes += place + call(name_of("operator", "add"), got, got)
    return opcodes


def _flood() -> bytes:
    modulus = 2**61 - 1
    return b"}(" + b"".join(number(modulus * k) + b"N" for k in range(50000)) + b"u"


def _many_tensors() -> bytes:
    one = pickles.tensor("0")
    return dict_of(
        (text(f"l{index}.weight"), one if index == 0 else b"h\xfe") if index else (text("l0"), one + b"q\xfe")
        for index in range(50000)
    )


def _cycles() -> Iterator[Case]:
    yield _case(
        "cyclic-dict",
        "a state dict that holds itself",
        b"}q\0(" + GOOD[0][0] + GOOD[0][1] + text("self") + b"h\0u",
        ANY,
    )
    yield _case("cyclic-list", "a list that holds itself", b"]q\0h\0a", ANY, beside=True)
    yield _case("cyclic-only", "a dict that holds only itself", b"}q\0" + text("self") + b"h\0s")
    yield _case(
        "cyclic-two", "two dicts that hold each other", b"}q\0" + text("a") + b"}q\x01" + text("b") + b"h\0ss", REFUSED
    )
    module = name_of("torch.nn", "Module") + b")\x81q\0"
    yield _case(
        "cyclic-module",
        "a pickled module that is its own child",
        with_state(
            module, named({"_modules": named({"child": b"h\0"}), "_parameters": dict_of(GOOD), "_buffers": b"}"})
        ),
        ANY,
    )
    yield _case("cyclic-state", "an object that is its own state", module + b"h\0b", ANY, beside=True)
    yield _case("cyclic-key", "an object as a key of its own state", module + b"}h\0Nsb", ANY, beside=True)
    yield _case(
        "module-wrong-types",
        "a pickled module whose _modules is a number",
        with_state(module, named({"_modules": number(3), "_parameters": text("x"), "_buffers": b"N"})),
        REFUSED,
    )
    yield _case("module-missing-state", "a pickled module without state", module, REFUSED)


def _broken() -> Iterator[Case]:
    good = pickles.pickled(pickles.state())
    for name, attack, data in (
        ("no-stop", "no STOP", good[:-1]),
        ("empty", "a lone STOP", b"."),
        ("no-value", "STOP with an empty stack", b"\x80\x02."),
        ("unknown-opcode", "an opcode that does not exist", b"\x80\x02\xff."),
        ("protocol", "protocol 255", b"\x80\xff" + good[2:]),
        ("no-mark", "TUPLE without a mark", b"\x80\x02Nt."),
        ("pop-empty", "POP of an empty stack", b"\x80\x020."),
        ("mark-left", "STOP above an open mark", b"\x80\x02(."),
        ("get-unknown", "BINGET of nothing", b"\x80\x02h\x07."),
        ("get-rubbish", "GET of no number", b"\x80\x02gxyz\n."),
        ("float-rubbish", "FLOAT of no number", b"\x80\x02Fxyz\n."),
        ("string-unquoted", "STRING without quotes", b"\x80\x02Sxyz\n."),
        ("string-escape", "STRING with a broken escape", b"\x80\x02S'\\x'\n."),
        ("utf8", "BINUNICODE that is not UTF-8", b"\x80\x02X\x02\0\0\0\xff\xfe."),
        ("append-number", "APPEND to a number", b"\x80\x02K\x01Na."),
        ("setitem-none", "SETITEM into None", b"\x80\x02NNNs."),
        ("setitems-odd", "SETITEMS of an odd count", b"\x80\x02}(NNNu."),
        ("build-number", "BUILD of a number", b"\x80\x02K\x01}b."),
        ("reduce-number", "REDUCE of a number", b"\x80\x02K\x01)R."),
        ("reduce-no-tuple", "REDUCE with a dict as arguments", b"\x80\x02" + name_of("a", "b") + b"}R."),
        ("newobj-number", "NEWOBJ of a number", b"\x80\x02K\x01)\x81."),
        ("stack-global-numbers", "STACK_GLOBAL of numbers", b"\x80\x04K\x01K\x02\x93."),
        ("persistent-number", "BINPERSID of a number", b"\x80\x02K\x01Q."),
        ("persistent-text", "PERSID in text", b"\x80\x02Pstorage\n."),
        ("extension-unknown", "EXT2 of an unknown code", b"\x80\x02\x83\x01\x02."),
    ):
        yield _case(name, attack, data, raw=True)


def _keys() -> Iterator[Case]:
    def entry(key: bytes) -> bytes:
        return dict_of([*GOOD, (key, number(1))])

    yield _case("key-list", "a list as a key", entry(b"]"), ANY)
    yield _case("key-dict", "a dict as a key", entry(b"}"), ANY)
    yield _case("key-object", "a foreign object as a key", entry(name_of("a", "B") + b")\x81"), ANY)
    yield _case("key-tensor", "a tensor as a key", entry(pickles.tensor("1", (8,))), ANY)
    yield _case("key-nan", "NaN as a key, twice", dict_of([*GOOD, *[(b"Fnan\n", b"N")] * 2]), AUDITED)
    yield _case(
        "key-numbers",
        "numbers as the names of tensors",
        dict_of([(number(3), pickles.tensor()), (b"\x88", pickles.tensor("1", (8,)))]),
        ANY,
    )
    yield _case(
        "key-duplicate",
        "the same name twice",
        dict_of([*GOOD, (text("layer.weight"), pickles.tensor("0", (6, 8)))]),
        ANY,
    )
    yield _case("key-tuple", "a tuple of tensors as a key", entry(tuple_of(pickles.tensor(), b"]")), ANY)
    yield _case("set-of-lists", "ADDITEMS of lists", b"\x8f(]]\x90", ANY, beside=True)
    yield _case("only-numbers", "a dict of numbers: no weights", named({"epoch": number(3)}))
    yield _case("only-text", "a string", text("hello"))
    yield _case("only-list", "a list of numbers", list_of(number(1), number(2)))
    yield _case(
        "lists-of-tensors",
        "tensors in a list of tuples",
        list_of(tuple_of(text("layer.weight"), pickles.tensor())),
        ANY,
    )
    yield _case("unwrap-confusion", "state_dict inside state_dict a hundred times", _wrapped, NOT_WHOLE | AUDITED)


def _wrapped() -> bytes:
    return (b"}" + text("state_dict")) * 100 + pickles.state() + b"s" * 100
