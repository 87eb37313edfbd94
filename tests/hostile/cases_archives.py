"""Zip archives that contradict themselves: duplicates, overlaps, polyglots, bombs, lying directories."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tests.hostile import containers, pickles
from tests.hostile.case import ANY, AUDITED, NOT_WHOLE, PARTIAL, REFUSED, Case, Outcome, Site
from tests.hostile.payloads import simple
from tests.hostile.pickles import STORAGES, named, pickled, text
from tests.hostile.rawzip import Member, archive

GOOD = pickled(pickles.state())


def cases() -> Iterator[Case]:
    """All cases of this module."""
    yield from _several_pickles()
    yield from _polyglots()
    yield from _members()
    yield from _directories()
    yield from _bombs()
    yield from _torch_parts()


def _case(
    name: str,
    attack: str,
    make: Callable[[Site], bytes],
    expected: frozenset[Outcome] = REFUSED,
    proof: str | None = None,
) -> Case:
    def build(site: Site) -> Path:
        return site.file("model.pt", make(site))

    return Case(f"zip-{name}", "archives", attack, build, expected, proof)


def _evil(site: Site) -> bytes:
    return pickled(pickles.state([(text("evil"), simple(site))]))


def _several_pickles() -> Iterator[Case]:
    good = containers.zip_members(GOOD)

    def beside(site: Site, *members: Member) -> bytes:
        return archive([*good, *members])

    yield _case(
        "two-roots",
        "two folders with a data.pkl each",
        lambda s: archive([*good, *containers.zip_members(_evil(s), root="other")]),
        proof="member pickles",
    )
    yield _case(
        "duplicate-pickle-last",
        "data.pkl twice; the second one is evil",
        lambda s: beside(s, Member("archive/data.pkl", _evil(s))),
        proof="member pickles",
    )
    yield _case(
        "duplicate-pickle-first",
        "data.pkl twice; the first one is evil",
        lambda s: archive([Member("archive/data.pkl", _evil(s)), *good]),
        proof="member pickles",
    )
    yield _case(
        "case-variant",
        "data.pkl and DATA.pkl",
        lambda s: beside(s, Member("archive/DATA.pkl", _evil(s))),
        ANY,
        "member pickles",
    )
    yield _case(
        "nested-pickle",
        "a data.pkl further down",
        lambda s: beside(s, Member("archive/deep/er/data.pkl", _evil(s))),
        ANY,
        "member pickles",
    )
    yield _case(
        "traversal-member",
        "a member named ../…/canary",
        lambda s: beside(s, Member(f"../../../../../../../../../..{s.canary}", b"x")),
        ANY,
        "zip extraction",
    )
    yield _case(
        "absolute-member",
        "a member with an absolute name",
        lambda s: beside(s, Member(str(s.canary), b"x")),
        ANY,
        "zip extraction",
    )
    yield _case(
        "hidden-behind-directory",
        "a local member that the directory does not list",
        lambda s: archive([Member("archive/data.pkl", _evil(s), in_directory=False), *good]),
        ANY,
        None,
    )


def _polyglots() -> Iterator[Case]:
    yield _case(
        "pickle-then-zip",
        "a pickle with a zip behind it: two readers see two files",
        lambda s: pickled(simple(s)) + containers.zip_checkpoint(),
        ANY,
        "pickle.load",
    )
    yield _case(
        "legacy-then-zip",
        "a legacy checkpoint with a zip behind it",
        lambda s: containers.legacy_checkpoint([(text("e"), simple(s))]) + containers.zip_checkpoint(),
        ANY,
        "torch.load",
    )
    yield _case(
        "zip-behind-picture",
        "a zip behind a GIF",
        lambda s: b"GIF89a\x01\0\x01\0\0\0\0;" + containers.zip_checkpoint([(text("e"), simple(s))]),
        ANY,
        "member pickles",
    )
    yield _case(
        "shifted-offsets",
        "a zip behind a script, with offsets from the zip's own start",
        lambda s: b"#!/bin/sh\nexit\n" + containers.zip_checkpoint([(text("e"), simple(s))]),
        ANY,
        "member pickles",
    )
    yield _case(
        "two-ends",
        "two archives in a row: two ends of directory",
        lambda s: containers.zip_checkpoint() + containers.zip_checkpoint([(text("e"), simple(s))]),
        ANY,
        "member pickles",
    )
    yield _case(
        "archive-in-comment",
        "a second archive inside the comment of the first",
        lambda s: archive(containers.zip_members(GOOD), comment=containers.zip_checkpoint([(text("e"), simple(s))])),
        ANY,
        "member pickles",
    )
    yield _case(
        "comment-like-end",
        "a comment that looks like an end of directory of nothing",
        lambda s: archive(containers.zip_members(GOOD), comment=b"PK\x05\x06" + b"\0" * 18),
        ANY,
    )
    yield _case(
        "trailing-rubbish",
        "a megabyte behind the archive",
        lambda s: containers.zip_checkpoint() + b"\xa5" * 2**20,
        ANY,
    )
    yield _case(
        "safetensors-then-zip",
        "a safetensors file with a zip in its data",
        lambda s: containers.safetensors_file(
            {"w": {"dtype": "U8", "shape": [len(_hidden(s))], "data_offsets": [0, len(_hidden(s))]}}, _hidden(s)
        ),
        ANY,
        "member pickles",
    )


def _hidden(site: Site) -> bytes:
    return containers.zip_checkpoint([(text("e"), simple(site))])


def _members() -> Iterator[Case]:
    good = containers.zip_members(GOOD)
    tensor = next(m for m in good if m.name == "archive/data/0")

    def changed(member: str, **fields: object) -> Callable[[Site], bytes]:
        return lambda site: archive(
            [replace(m, **fields) if m.name == f"archive/{member}" else m for m in good]  # type: ignore[arg-type]
        )

    yield _case("duplicate-tensor", "a storage twice", lambda s: archive([*good, tensor]))
    yield _case("pickle-bad-crc", "a wrong checksum of data.pkl", changed("data.pkl", crc=1))
    yield _case("tensor-bad-crc", "a wrong checksum of one tensor", changed("data/0", crc=1), PARTIAL)
    yield _case("tensor-flipped", "one flipped byte in a tensor", _flipped, PARTIAL)
    yield _case("encrypted-pickle", "data.pkl says it is encrypted", changed("data.pkl", flags=1))
    yield _case("encrypted-tensor", "one tensor says it is encrypted", changed("data/0", flags=1), NOT_WHOLE)
    yield _case("strong-encryption", "strong encryption and a masked header", changed("data.pkl", flags=0x2041))
    yield _case("local-name", "the local header names another file", changed("data.pkl", local_name="archive/evil.pkl"))
    yield _case("local-size", "the local header has another size", changed("data/0", local_size=7), NOT_WHOLE)
    yield _case("local-method", "the local header has another method", changed("data/0", local_method=8), NOT_WHOLE)
    yield _case("overlapping", "two members on the same bytes", changed("data/1", central_offset=0))
    yield _case(
        "overlap-partly",
        "a tensor that reaches into the next member",
        changed("data/0", stored=tensor.data, size=400, compressed=400),
    )
    yield _case("offset-outside", "a member outside the file", changed("data/0", central_offset=2**31), NOT_WHOLE)
    yield _case(
        "offset-in-directory", "a member whose header is no header", changed("data/0", central_offset=3), NOT_WHOLE
    )
    for method, label in ((99, "aes"), (14, "lzma"), (12, "bzip2"), (65535, "unknown")):
        yield _case(f"method-{label}", f"compression method {method}", changed("data.pkl", method=method, stored=GOOD))
    yield _case(
        "deflate-rubbish", "a deflated pickle that is no deflate", changed("data.pkl", method=8, stored=b"\xff" * 50)
    )
    yield _case("size-larger", "a storage that claims more bytes than it has", changed("data/0", size=2**31), NOT_WHOLE)
    yield _case("size-zero", "a storage that claims no bytes", changed("data/0", size=0, compressed=0), NOT_WHOLE)
    yield _case("name-nul", "a NUL in a member's name", changed("data/1", name="archive/data/1\0.txt"), NOT_WHOLE)
    yield _case("name-not-utf8", "surrogates in a member's name", changed("version", name="archive/\udcff"), ANY)
    yield _case(
        "name-long", "a member's name of 65,000 bytes", lambda s: archive([*good, Member("n" * 65000, b"")]), ANY
    )


def _flipped(site: Site) -> bytes:
    data = bytearray(containers.zip_checkpoint())
    data[data.index(pickles.WEIGHT) + 5] ^= 0x10
    return bytes(data)


def _directories() -> Iterator[Case]:
    good = containers.zip_members(GOOD)
    yield _case("end-only", "an end of directory and nothing else", lambda s: archive([]))
    yield _case("empty-member-list", "a directory that lists nothing", lambda s: archive(good, count=0))
    yield _case("count-too-large", "a directory that lists more than there is", lambda s: archive(good, count=60000))
    yield _case("count-too-small", "a directory that hides a member", lambda s: archive(good, count=3), NOT_WHOLE)
    yield _case("directory-outside", "a directory outside the file", lambda s: archive(good, directory_offset=2**31))
    yield _case("directory-large", "a directory larger than the file", lambda s: archive(good, directory_size=2**31))
    yield _case("directory-at-start", "a directory at the file's start", lambda s: archive(good, directory_offset=0))
    yield _case("million-members", "a million members", _million)
    for name, attack, offset, count in (
        ("zip64-offset", "a zip64 directory at 2^63", 2**63, 5),
        ("zip64-count", "2^64 - 1 members by zip64", None, 2**64 - 1),
        ("zip64-locator", "a zip64 locator that points outside", None, None),
    ):
        yield _case(name, attack, _zip64(offset, count))
    huge = struct.pack("<HHQQ", 1, 16, 2**63, 2**63)
    yield _case(
        "zip64-size",
        "a member of 2^63 bytes by zip64",
        lambda s: archive(
            [
                replace(m, size=2**32 - 1, compressed=2**32 - 1, central_extra=huge) if m.name.endswith("/0") else m
                for m in good
            ]
        ),
        NOT_WHOLE,
    )
    short = struct.pack("<HH", 1, 60)
    yield _case(
        "zip64-extra-short",
        "a zip64 field that is cut",
        lambda s: archive(
            [replace(m, size=2**32 - 1, central_extra=short) if m.name.endswith("data.pkl") else m for m in good]
        ),
    )


def _million(site: Site) -> bytes:
    members = 1_000_000
    name = b"archive/data/0000000"
    record = b"PK\x01\x02" + struct.pack(
        "<HHHHHHIIIHHHHHII", 20, 20, 0, 0, 0x21, 0, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0
    )
    rows = bytearray((record + name) * members)
    step = len(record + name)
    for digit in range(7):
        period = 10**digit
        column = b"".join(bytes([0x30 + d]) * period for d in range(10))
        repeats = -(-members // len(column))
        rows[step - 1 - digit :: step] = (column * repeats)[:members]
    end = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, members, members, len(rows), 0)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, len(rows), 1)
    return (
        bytes(rows) + end + locator + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, *[0xFFFF] * 2, *[2**32 - 1] * 2, 0)
    )


def _zip64(offset: int | None, count: int | None) -> Callable[[Site], bytes]:
    def make(site: Site) -> bytes:
        data = archive(containers.zip_members(GOOD))
        body, old = data[:-22], data[-22:]
        entries, _, length, start = struct.unpack("<HHII", old[8:20])
        told = (entries if count is None else count, length, start if offset is None else offset)
        end = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, told[0], *told)
        where = 2**60 if offset is None and count is None else len(body)
        locator = b"PK\x06\x07" + struct.pack("<IQI", 0, where, 1)
        return body + end + locator + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, *[0xFFFF] * 2, *[2**32 - 1] * 2, 0)

    return make


def deflate_bomb(pieces: int, piece: int = 2**24) -> bytes:
    """A raw deflate stream of `pieces` × `piece` zero bytes, made without compressing them all."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = squeeze.compress(b"\0" * piece) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return block * pieces + squeeze.flush()


def _bombs() -> Iterator[Case]:
    good = containers.zip_members(GOOD)

    def bomb(member: str, **fields: object) -> Callable[[Site], bytes]:
        def make(site: Site) -> bytes:
            told = {"method": 8, "stored": deflate_bomb(255), "size": 255 * 2**24, **fields}
            return archive([replace(m, **told) if m.name == f"archive/{member}" else m for m in good])  # type: ignore[arg-type]

        return make

    yield _case("bomb-pickle", "a data.pkl that inflates to 4 GB", bomb("data.pkl"))
    yield _case("bomb-pickle-lying", "the same, but it claims 400 bytes", bomb("data.pkl", size=400))
    yield _case("bomb-tensor", "a storage that inflates to 4 GB", bomb("data/0"), NOT_WHOLE)
    yield _case(
        "bomb-tensor-lying", "a storage of 192 bytes that inflates to 4 GB", bomb("data/0", size=192), NOT_WHOLE
    )

    def claimed(site: Site) -> bytes:
        elements = 255 * 2**22
        big = pickled(
            named({"layer.weight": pickles.tensor("0", (elements // 1024, 1024)), "b": pickles.tensor("1", (8,))})
        )
        members = [m for m in containers.zip_members(big) if m.name != "archive/data/0"]
        return archive([*members, Member("archive/data/0", b"", 8, stored=deflate_bomb(255), size=4 * elements)])

    yield _case("bomb-honest-tensor", "a 4 GB tensor of zeros, honestly declared, in a 4 MB file", claimed, NOT_WHOLE)
    yield _case("zip-in-zip", "an archive in an archive in an archive", _nested)


def _nested(site: Site) -> bytes:
    data = containers.zip_checkpoint()
    for _ in range(50):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as outer:
            outer.writestr("archive/data.pkl", data)
        data = buffer.getvalue()
    return data


def _torch_parts() -> Iterator[Case]:
    def parts(*, drop: str = "", **changes: bytes) -> Callable[[Site], bytes]:
        def make(site: Site) -> bytes:
            kept = [m for m in containers.zip_members(GOOD) if m.name != f"archive/{drop}"]
            return archive([replace(m, data=changes.get(m.name.rpartition("/")[2], m.data)) for m in kept])

        return make

    yield _case("no-pickle", "no data.pkl", parts(drop="data.pkl"))
    yield _case("empty-pickle", "an empty data.pkl", parts(**{"data.pkl": b""}))
    yield _case("missing-tensor", "a storage is missing", parts(drop="data/0"), PARTIAL)
    yield _case("short-tensor", "a storage is shorter than its tensor", parts(**{"0": pickles.WEIGHT[:100]}), PARTIAL)
    yield _case(
        "both-tensors-missing", "every storage is missing", lambda s: archive([Member("archive/data.pkl", GOOD)])
    )
    yield _case("byteorder-rubbish", "an unknown byte order", parts(byteorder=b"middle"), ANY)
    yield _case("byteorder-large", "a byte order of a megabyte", parts(byteorder=b"x" * 2**20), ANY)
    yield _case("version-rubbish", "a version that is no number", parts(version=b"\xff" * 99), ANY)

    def traversal(key: str) -> Callable[[Site], bytes]:
        return lambda site: archive(
            containers.zip_members(
                pickled(named({"layer.weight": pickles.tensor(key), "layer.bias": pickles.tensor("1", (8,))})), STORAGES
            )
        )

    yield _case("key-traversal", "a storage key of ../data.pkl", traversal("../data.pkl"), NOT_WHOLE)
    yield _case("key-absolute", "a storage key of /etc/passwd", traversal("/etc/passwd"), NOT_WHOLE)
    yield _case("good-deflated", "a good archive, deflated (not hostile: it must be read)", _deflated, AUDITED)


def _deflated(site: Site) -> bytes:
    return archive([replace(m, method=8) for m in containers.zip_members(GOOD)])
