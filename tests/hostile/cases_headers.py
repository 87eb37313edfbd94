"""Formats with a header of their own: safetensors, NumPy arrays, ONNX. Lengths, offsets, depth and numbers that lie."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.hostile import containers, protobuf
from tests.hostile.case import ANY, NOT_WHOLE, PARTIAL, REFUSED, Case, Outcome, Site
from tests.hostile.cases_archives import deflate_bomb
from tests.hostile.pickles import WEIGHT
from tests.hostile.rawzip import Member, archive


def cases() -> Iterator[Case]:
    """All cases of this module."""
    yield from _safetensors_headers()
    yield from _safetensors_tables()
    yield from _numpy()
    yield from _onnx()
    yield from _onnx_external()


def _case(
    category: str, file: str, name: str, attack: str, make: Callable[[], bytes], expected: frozenset[Outcome] = REFUSED
) -> Case:
    return Case(f"{category}-{name}", category, attack, lambda site: site.file(file, make()), expected)


def _safetensors(name: str, attack: str, make: Callable[[], bytes], expected: frozenset[Outcome] = REFUSED) -> Case:
    return _case("safetensors", "model.safetensors", name, attack, make, expected)


def _safetensors_headers() -> Iterator[Case]:
    good = containers.safetensors_file()
    for name, length in (
        ("2^63", 2**63),
        ("2^64", 2**64 - 1),
        ("4gb", 2**32),
        ("beyond", len(good)),
        ("short", 5),
        ("zero", 0),
    ):
        yield _safetensors(
            f"length-{name}", f"a header of {length} bytes", lambda length=length: struct.pack("<Q", length) + good[8:]
        )
    for name, attack, header in (
        ("depth", "JSON two million brackets deep", lambda: b"[" * 2 * 10**6),
        ("depth-objects", "JSON objects a million deep", lambda: b'{"a":' * 10**6 + b"1" + b"}" * 10**6),
        ("spaces", "a header of 80 MB of spaces", lambda: b"{}" + b" " * (80 * 2**20)),
        ("many", "a header of a million empty tensors", _many),
        (
            "digits",
            "a shape of a million digits",
            lambda: _entry(b'{"dtype":"F32","shape":[' + b"7" * 10**6 + b'],"data_offsets":[0,4]}'),
        ),
        ("exponent", "a shape of 1e400", lambda: _entry(b'{"dtype":"F32","shape":[1e400],"data_offsets":[0,4]}')),
        ("nan", "NaN for an offset", lambda: _entry(b'{"dtype":"F32","shape":[1],"data_offsets":[NaN,4]}')),
        ("list", "a list for a header", lambda: b"[1,2]"),
        ("not-json", "a header that is no JSON", lambda: b"{not json}"),
        ("utf8", "a header that is not UTF-8", lambda: _entry(b'"\xff\xfe"')),
        ("utf16", "a header in UTF-16", lambda: '{"w":1}'.encode("utf-16")),
        ("duplicate-names", "the same tensor twice with other offsets", _duplicates),
        (
            "duplicate-fields",
            "the same field twice",
            lambda: _entry(b'{"dtype":"F32","shape":[8,6],"shape":[2],"data_offsets":[0,192]}'),
        ),
        ("empty", "an empty header", lambda: b"{}"),
    ):
        yield _safetensors(name, attack, lambda header=header: containers.safetensors_file(header=header()))
    yield _safetensors("truncated-length", "five bytes", lambda: good[:5])
    yield _safetensors("trailing", "a megabyte behind the data", lambda: good + b"\0" * 2**20, ANY)


def _entry(value: bytes) -> bytes:
    return b'{"layer.weight":' + value + b"}"


def _many() -> bytes:
    entries = (b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % index for index in range(10**6))
    return b"{" + b",".join(entries) + b"}"


def _duplicates() -> bytes:
    one = b'"layer.weight":{"dtype":"F32","shape":[8,6],"data_offsets":[%d,%d]}'
    return b"{" + one % (0, 192) + b"," + one % (32, 224) + b"}"


def _safetensors_tables() -> Iterator[Case]:
    good: Mapping[str, object] = {"dtype": "F32", "shape": [8], "data_offsets": [192, 224]}
    for name, attack, fields in (
        ("overlap", "two tensors on the same bytes", {"data_offsets": [160, 192]}),
        ("reversed", "an end before the start", {"data_offsets": [224, 192]}),
        ("negative", "a negative offset", {"data_offsets": [-32, 0]}),
        ("outside", "data behind the file's end", {"data_offsets": [2**40, 2**40 + 32]}),
        ("huge", "offsets of 2^80", {"data_offsets": [2**80, 2**80 + 32]}),
        ("floats", "offsets that are floats", {"data_offsets": [192.0, 224.0]}),
        ("booleans", "offsets that are booleans", {"data_offsets": [False, True]}),
        ("one", "one offset", {"data_offsets": [192]}),
        ("mismatch", "a shape that needs other bytes than there are", {"shape": [9]}),
        ("overflow", "a shape whose product overflows", {"shape": [2**32, 2**32, 2**32]}),
        ("shape-negative", "a negative shape", {"shape": [-8]}),
        ("shape-text", "a shape of text", {"shape": "8"}),
        ("dtype", "an unknown type", {"dtype": "EVIL"}),
        ("dtype-list", "a list for a type", {"dtype": ["F32"]}),
        ("entry-missing", "an entry without offsets", {"data_offsets": None}),
    ):
        table = {
            "layer.weight": {"dtype": "F32", "shape": [8, 6], "data_offsets": [0, 192]},
            "layer.bias": {**good, **fields},
        }
        yield _safetensors(f"table-{name}", attack, lambda table=table: containers.safetensors_file(table), NOT_WHOLE)
    yield _safetensors(
        "metadata-types",
        "metadata that is no text",
        lambda: containers.safetensors_file(
            {
                "__metadata__": {"a": [1, {"b": None}]},
                "layer.weight": {"dtype": "F32", "shape": [8, 6], "data_offsets": [0, 192]},
            },
            WEIGHT,
        ),
        ANY,
    )
    yield _safetensors(
        "entry-number", "a number for an entry", lambda: containers.safetensors_file({"layer.weight": 7})
    )
    yield _safetensors(
        "metadata-only", "metadata and no tensors", lambda: containers.safetensors_file({"__metadata__": {}}, b"")
    )


def _numpy() -> Iterator[Case]:
    def npy(name: str, attack: str, make: Callable[[], bytes], expected: frozenset[Outcome] = REFUSED) -> Case:
        def wrapped() -> bytes:
            return containers.npz({"layer.weight.npy": make()})

        return _case("npz", "model.npz", name, attack, wrapped, expected)

    def header(literal: str, data: bytes = WEIGHT, version: int = 1) -> Callable[[], bytes]:
        return lambda: containers.npy(data, header=literal, version=version)

    yield npy("length", "a header of 1 GB", lambda: containers.npy(version=2, length=2**30))
    yield npy("length-4gb", "a header of 4 GB", lambda: containers.npy(version=3, length=2**32 - 1))
    shape = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }"
    for name, attack, literal in (
        (
            "code",
            "a header that calls a function",
            "{'descr': __import__('os').getcwd(), 'fortran_order': False, 'shape': (8, 6)}",
        ),
        ("depth", "a header of nested brackets", "(" * 30000),
        ("operators", "a header of a long chain of minus signs", shape % ("-" * 30000 + "1,")),
        ("digits", "a shape of ten thousand digits", shape % ("(" + "7" * 10000 + ",)")),
        ("negative", "a negative shape", shape % "(-8, 6)"),
        ("booleans", "a shape of booleans", shape % "(True, True)"),
        ("huge", "a shape of 2^80", shape % "(1208925819614629174706176,)"),
        ("overflow", "a shape that overflows to nothing", shape % "(4294967296, 4294967296)"),
        ("text-shape", "a shape of text", shape % "'86'"),
        ("dimensions", "a hundred dimensions", shape % ("(" + "1," * 100 + ")")),
        ("larger", "a shape larger than the data", shape % "(80, 60)"),
        ("order", "an order that is no boolean", "{'descr': '<f4', 'fortran_order': 'yes', 'shape': (8, 6), }"),
        ("fields", "a field too many", "{'descr': '<f4', 'fortran_order': False, 'shape': (8, 6), 'x': 1}"),
        ("void", "a type of 2 GB per element", "{'descr': '|V2000000000', 'fortran_order': False, 'shape': (0,), }"),
        ("strings", "an array of strings", "{'descr': '<U12', 'fortran_order': False, 'shape': (4,), }"),
        ("dates", "an array of dates", "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (24,), }"),
        (
            "descr-list",
            "a type of ten thousand fields",
            "{'descr': [%s], 'fortran_order': False, 'shape': (1,), }" % ("('a','<f4')," * 3000),
        ),
        (
            "descr-nested",
            "a type of nested subarrays",
            "{'descr': ('<f4', (2147483647,)), 'fortran_order': False, 'shape': (1,), }",
        ),
        ("nul", "a NUL in the header", "{'descr': '<f4\0', 'fortran_order': False, 'shape': (8, 6), }"),
        ("set", "a set for a header", "{1, 2}"),
        ("nothing", "an empty header", ""),
    ):
        yield npy(name, attack, header(literal))
    yield npy("version", "version 9", lambda: b"\x93NUMPY\x09\0" + containers.npy()[8:])
    yield npy("magic", "no magic", lambda: b"\x94NUMPY" + containers.npy()[6:])
    yield npy("empty", "an empty member", lambda: b"")
    yield _case(
        "npz",
        "model.npz",
        "duplicate",
        "the same array twice",
        lambda: archive([Member("w.npy", containers.npy()), Member("w.npy", containers.npy())]),
    )
    huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (1024, 1044480), }"
    start = containers.npy(b"", header=huge)
    stored = b"\x00" + struct.pack("<HH", len(start), len(start) ^ 0xFFFF) + start + deflate_bomb(255)
    yield _case(
        "npz",
        "model.npz",
        "bomb",
        "a 4 GB array of zeros in 4 MB",
        lambda: archive([Member("w.npy", start, 8, stored=stored, size=255 * 2**24 + len(start))]),
    )
    yield _case(
        "npz", "model.npz", "bad-crc", "one array with a wrong checksum beside a good one", _one_bad_array, PARTIAL
    )


def _one_bad_array() -> bytes:
    return archive([Member("a.weight.npy", containers.npy()), Member("b.weight.npy", containers.npy(), crc=5)])


def _onnx(*, file: str = "model.onnx") -> Iterator[Case]:
    def case(name: str, attack: str, make: Callable[[], bytes], expected: frozenset[Outcome] = REFUSED) -> Case:
        return _case("onnx", file, name, attack, make, expected)

    p = protobuf
    good = p.tensor("good.weight")

    def beside(**fields: object) -> Callable[[], bytes]:
        return lambda: p.model(p.graph([good, p.tensor(**fields)]))  # type: ignore[arg-type]

    yield case(
        "length",
        "a graph of 2^62 bytes",
        lambda: p.integer(1, 9) + p.chunk(7, p.graph([good]), length=2**62),
        NOT_WHOLE,
    )
    yield case(
        "length-beyond", "a graph a little longer than the file", lambda: p.integer(1, 9) + p.chunk(7, b"abc", length=9)
    )
    yield case("varint", "a number that never ends", lambda: p.integer(1, 9) + b"\x3a" + b"\xff" * 40)
    yield case("field-zero", "field number 0", lambda: p.integer(1, 9) + b"\x02\x00" + p.model())
    yield case("wire-type", "wire type 7", lambda: p.model() + b"\x0f\x00", ANY)
    yield case("groups", "a hundred thousand nested groups", lambda: p.model() + b"\x0b" * 10**5, ANY)
    yield case("depth", "subgraphs ten thousand deep", _deep_onnx, ANY)
    yield case(
        "many-tensors",
        "three hundred thousand empty tensors",
        lambda: p.model(p.graph([good, p.chunk(5, b"")[2:] * 0]) + b"\x2a\x00" * 300000),
        ANY,
    )
    yield case("repeated-graph", "a thousand graphs", lambda: p.model() + p.chunk(7, p.graph([good])) * 1000, ANY)
    yield case("empty-graph", "a graph without tensors", lambda: p.model(p.graph([])))
    yield case("rubbish", "a name and rubbish", lambda: p.integer(1, 9) + b"\x12\x04evil" + b"\xfe" * 200)
    for name, attack, fields in (
        ("dims-negative", "a negative dimension", {"dims": (-8, 6)}),
        ("dims-huge", "dimensions that overflow", {"dims": (2**32, 2**32)}),
        ("dims-many", "a hundred thousand dimensions", {"dims": (1,) * 10**5}),
        ("dims-more", "more elements than data", {"dims": (80, 60)}),
        ("dims-less", "fewer elements than data", {"dims": (2, 2)}),
        ("type-unknown", "an unknown type", {"data_type": 99}),
        ("type-wider", "floats read as doubles", {"data_type": 11}),
        ("no-data", "no data at all", {"raw": None}),
    ):
        yield case(name, attack, beside(name="bad.weight", **fields), NOT_WHOLE)
    yield case("type-text", "text for weights", beside(name="bad.weight", data_type=8), ANY)
    yield case("duplicate-name", "two tensors of one name", beside(name="good.weight", dims=(6, 8)), ANY)
    yield case("name-not-utf8", "a name that is not UTF-8", beside(name="\udcff\udcfe"), ANY)
    constant = p.chunk(1, "value") + p.chunk(5, p.tensor("", (2**31, 2**31)))
    node = p.chunk(2, "c") + p.chunk(4, "Constant") + p.chunk(5, constant)
    yield case("constant", "a Constant node that lies", lambda: p.model(p.graph([good], nodes=[node])), NOT_WHOLE)
    packed = p.integer(1, 8) + p.integer(1, 6) + p.integer(2, 1) + p.chunk(8, "bad.weight") + p.chunk(4, b"\0" * 190)
    yield case("packed", "packed floats that are cut", lambda: p.model(p.graph([good, packed])), NOT_WHOLE)


def _deep_onnx() -> bytes:
    body = protobuf.graph([protobuf.tensor()])
    for _ in range(2000):
        attribute = protobuf.chunk(1, "then_branch") + protobuf.chunk(6, body)
        body = protobuf.chunk(1, protobuf.chunk(4, "If") + protobuf.chunk(5, attribute))
    return protobuf.model(body)


def _onnx_external() -> Iterator[Case]:
    def case(
        name: str, attack: str, external: Mapping[str, str], *, prepare: Callable[[Site], None] | None = None
    ) -> Case:
        def build(site: Site) -> Path:
            if prepare is not None:
                prepare(site)
            site.file("weights.bin", WEIGHT)
            bad = protobuf.tensor("bad.weight", external=external)
            return site.file("model.onnx", protobuf.model(protobuf.graph([protobuf.tensor("good.weight"), bad])))

        return Case(f"onnx-external-{name}", "onnx", f"ONNX external data: {attack}", build, NOT_WHOLE)

    def link(target: str) -> Callable[[Site], None]:
        return lambda site: (site.folder / "link.bin").symlink_to(target)

    def fifo(site: Site) -> None:
        import os

        os.mkfifo(site.folder / "pipe.bin")

    yield case("traversal", "../../../etc/passwd", {"location": "../" * 12 + "etc/passwd", "length": "192"})
    yield case("absolute", "/etc/passwd", {"location": "/etc/passwd", "length": "192"})
    yield case(
        "symlink", "a link to /etc/passwd", {"location": "link.bin", "length": "192"}, prepare=link("/etc/passwd")
    )
    yield case("device", "a link to /dev/zero", {"location": "link.bin", "length": "192"}, prepare=link("/dev/zero"))
    yield case("fifo", "a FIFO", {"location": "pipe.bin"}, prepare=fifo)
    yield case("folder", "the folder itself", {"location": "."})
    yield case("missing", "a file that is not there", {"location": "nobody.bin"})
    yield case("nothing", "an empty place", {"location": ""})
    yield case("nul", "a NUL in the place", {"location": "weights.bin\0.txt"})
    yield case("offset", "an offset behind the end", {"location": "weights.bin", "offset": "1000000000000"})
    yield case("offset-negative", "a negative offset", {"location": "weights.bin", "offset": "-192"})
    yield case("offset-text", "an offset that is no number", {"location": "weights.bin", "offset": "0x10"})
    yield case("offset-digits", "an offset of ten thousand digits", {"location": "weights.bin", "offset": "9" * 10000})
    yield case("length", "more bytes than there are", {"location": "weights.bin", "length": str(2**62)})
    yield case("length-short", "fewer bytes than the shape needs", {"location": "weights.bin", "length": "7"})
    yield case("windows", "a Windows path", {"location": "..\\..\\etc\\passwd"})


def table_of(files: Mapping[str, str]) -> str:
    """A shard index over `files` (tensor name → file name)."""
    return json.dumps({"metadata": {"total_size": 224}, "weight_map": files})
