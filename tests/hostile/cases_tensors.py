"""Tensors that describe themselves falsely: bombs by stride, lies about shape and storage, numbers that are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from tests.hostile import containers, pickles, rawzip
from tests.hostile.case import ANY, AUDITED, NOT_WHOLE, PARTIAL, Case, Outcome, Site
from tests.hostile.pickles import call, dict_of, name_of, number, numbers, pickled, tensor, text, tuple_of


def cases() -> Iterator[Case]:
    """All cases of this module."""
    for name, attack, opcodes, expected in _lies():
        yield _beside(name, attack, opcodes, expected)
    yield from _storages()
    yield _hankel()
    yield from _numbers()
    yield from _legacy()


def _beside(name: str, attack: str, opcodes: bytes, expected: frozenset[Outcome] = PARTIAL) -> Case:
    """A bad tensor beside a good one: the good one must be audited and the bad one named."""

    def build(site: Site) -> Path:
        return site.file("model.pt", containers.zip_checkpoint([(text("bad.weight"), opcodes)]))

    return Case(f"tensor-{name}", "tensors", attack, build, expected)


def _lies() -> Iterator[tuple[str, str, bytes, frozenset[Outcome]]]:
    yield "stride-zero", "2^40 elements by stride 0", tensor("0", (2**20, 2**20), stride=(0, 0), elements=48), PARTIAL
    yield "stride-negative", "negative strides", tensor("0", (8, 6), stride=(-6, 1), elements=48), PARTIAL
    yield "stride-huge", "strides of 2^62", tensor("0", (8, 6), stride=(2**62, 2**62), elements=48), PARTIAL
    yield "stride-short", "fewer strides than dimensions", tensor("0", (8, 6), stride=(1,), elements=48), PARTIAL
    yield "offset-negative", "a negative offset", tensor("0", offset=-1, elements=48), PARTIAL
    yield "offset-outside", "an offset behind the storage", tensor("0", offset=48, elements=48), PARTIAL
    yield "offset-huge", "an offset of 2^70", tensor("0", offset=2**70, elements=48), PARTIAL
    yield "shape-negative", "a negative dimension", tensor("0", (-8, 6), elements=48), PARTIAL
    yield "shape-overflow", "a shape whose product is 0 modulo 2^64", tensor("0", (2**32, 2**32), elements=48), PARTIAL
    yield "shape-huge", "a dimension of 2^5000", tensor("0", (2**2000,), stride=(1,), elements=48), PARTIAL
    yield "shape-long", "a hundred thousand dimensions", tensor("0", (1,) * 10**5, elements=48), PARTIAL
    yield (
        "shape-zero-huge",
        "a dimension of 0 beside one of 2^62",
        tensor("0", (0, 2**62), stride=(1, 1), elements=48),
        ANY,
    )
    yield "shape-larger", "a shape larger than its storage", tensor("0", (9, 6), elements=48), PARTIAL
    yield (
        "storage-claims-more",
        "a storage that claims more than its member holds",
        tensor("0", (9, 6), elements=54),
        PARTIAL,
    )
    yield "storage-negative", "a storage of -48 elements", tensor("0", elements=-48), AUDITED | PARTIAL
    yield "storage-huge", "a storage of 2^62 elements", tensor("0", elements=2**62), NOT_WHOLE | AUDITED
    yield "storage-unknown", "a storage that is not in the file", tensor("77"), PARTIAL
    yield "dtype-unknown", "a storage type that does not exist", tensor("0", kind="EvilStorage"), PARTIAL
    yield "dtype-wider", "a storage of floats read as doubles", tensor("0", kind="DoubleStorage"), PARTIAL
    yield "dtype-quantised", "a quantised storage without quantisation", tensor("0", kind="QInt8Storage"), ANY
    held = pickles.storage(text("0"), 48)
    rebuild = name_of("torch._utils", "_rebuild_tensor_v2")
    yield "arguments-few", "_rebuild_tensor_v2 with one argument", call(rebuild, held), PARTIAL
    yield "arguments-none", "_rebuild_tensor_v2 without arguments", call(rebuild), PARTIAL
    yield "arguments-many", "_rebuild_tensor_v2 with thirty arguments", call(rebuild, held, *[number(0)] * 29), PARTIAL
    for label, sizes in (
        ("text", text("86")),
        ("none", b"N"),
        ("booleans", tuple_of(b"\x88", b"\x88")),
        ("floats", tuple_of(b"G\x40\x20\0\0\0\0\0\0", b"G\x40\x18\0\0\0\0\0\0")),
        ("nested", tuple_of(numbers((8, 6)), numbers((1, 1)))),
        ("dict", b"}"),
    ):
        yield (
            f"shape-{label}",
            f"a shape that is {label}",
            call(rebuild, held, number(0), sizes, numbers((6, 1)), b"\x89", b"}"),
            PARTIAL,
        )
    yield (
        "storage-no-storage",
        "a number in place of the storage",
        call(rebuild, number(5), number(0), numbers((8, 6)), numbers((6, 1)), b"\x89", b"}"),
        PARTIAL,
    )
    yield (
        "parameter-of-text",
        "a parameter made of text",
        call(name_of("torch._utils", "_rebuild_parameter"), text("x"), b"\x88", b"}"),
        ANY,
    )
    quantised = name_of("torch._utils", "_rebuild_qtensor")
    scheme = tuple_of(name_of("torch", "per_tensor_affine"), text("scale"), text("zero"))
    yield (
        "quantised-text",
        "a quantised tensor with text for a scale",
        call(quantised, held, number(0), numbers((8, 6)), numbers((6, 1)), scheme, b"\x89", b"}"),
        PARTIAL,
    )
    yield (
        "quantised-scheme",
        "a quantised tensor of an unknown scheme",
        call(quantised, held, number(0), numbers((8, 6)), numbers((6, 1)), tuple_of(text("evil")), b"\x89", b"}"),
        PARTIAL,
    )
    sparse = name_of("torch._utils", "_rebuild_sparse_tensor")
    yield (
        "sparse",
        "a sparse tensor of 2^60 elements",
        call(
            sparse,
            name_of("torch", "sparse_coo"),
            tuple_of(tensor("1", (2, 4)), tensor("1", (4,), elements=8), numbers((2**30, 2**30)), b"\x89"),
        ),
        ANY,
    )
    yield (
        "meta",
        "a tensor without storage (meta) of 2^50 elements",
        call(
            name_of("torch._utils", "_rebuild_meta_tensor_no_storage"),
            name_of("torch", "float32"),
            numbers((2**25, 2**25)),
            numbers((2**25, 1)),
            b"\x89",
        ),
        ANY,
    )
    subclass = name_of("torch._utils", "_rebuild_wrapper_subclass")
    yield (
        "wrapper",
        "a wrapper subclass of 2^60 elements",
        call(
            subclass,
            name_of("a", "B"),
            name_of("torch", "float32"),
            numbers((2**30, 2**30)),
            numbers((1, 1)),
            number(0),
            b"N",
            text("cpu"),
            b"\x89",
        ),
        ANY,
    )
    array = call(
        name_of("numpy._core.multiarray", "_reconstruct"),
        name_of("numpy", "ndarray"),
        numbers((0,)),
        pickles.raw_bytes(b"b"),
    )
    dtype = call(name_of("numpy", "dtype"), text("f4"), b"\x89", b"\x88")
    yield (
        "numpy-short",
        "a NumPy array with fewer bytes than its shape",
        pickles.with_state(
            array, tuple_of(number(1), numbers((2**20, 2**20)), dtype, b"\x89", pickles.raw_bytes(b"1234"))
        ),
        ANY,
    )
    yield (
        "numpy-objects",
        "a NumPy array of objects",
        pickles.with_state(
            array,
            tuple_of(
                number(1),
                numbers((2,)),
                call(name_of("numpy", "dtype"), text("O8"), b"\x89", b"\x88"),
                b"\x89",
                pickles.list_of(b"N", b"N"),
            ),
        ),
        ANY,
    )
    yield (
        "numpy-negative",
        "a NumPy array of a negative shape",
        pickles.with_state(array, tuple_of(number(1), numbers((-1, 6)), dtype, b"\x89", pickles.raw_bytes(b"1234"))),
        ANY,
    )


def _storages() -> Iterator[Case]:
    def whole(
        name: str, attack: str, entries: Callable[[], list[tuple[bytes, bytes]]], expected: frozenset[Outcome]
    ) -> Case:
        def build(site: Site) -> Path:
            return site.file("model.pt", containers.zip_checkpoint(whole=dict_of(entries())))

        return Case(f"tensor-{name}", "tensors", attack, build, expected)

    def shared(index: int) -> tuple[bytes, bytes]:
        return text(f"l{index}.weight"), tensor("0", (4096, 4096), stride=(0, 0), elements=48)

    yield whole(
        "shared-absurdly",
        "two thousand 4096 × 4096 views of one number",
        lambda: [shared(i) for i in range(2000)],
        NOT_WHOLE,
    )

    def windows() -> list[tuple[bytes, bytes]]:
        return [(text(f"l{i}.weight"), tensor("0", (6, 6), stride=(1, 1), offset=i, elements=48)) for i in range(20)]

    yield whole("windows", "twenty overlapping windows of one storage", windows, ANY)

    def kinds() -> list[tuple[bytes, bytes]]:
        return [
            (text(f"{kind}.weight"), tensor("0", (8, 6), kind=f"{kind}Storage")) for kind in ("Float", "Int", "Half")
        ]

    yield whole("kinds", "one storage as floats, integers and halves", kinds, ANY)

    def sizes() -> list[tuple[bytes, bytes]]:
        return [(text("a.weight"), tensor("0", elements=48)), (text("b.weight"), tensor("0", (4, 4), elements=16))]

    yield whole("sizes", "one storage of two sizes", sizes, ANY)

    def empties() -> list[tuple[bytes, bytes]]:
        return [(text(f"l{i}.weight"), tensor("0", (0, 6), elements=48)) for i in range(5)]

    yield whole("empty-only", "only tensors without elements", empties, ANY)


def _hankel() -> Case:
    """Overlapping windows make a full matrix of a short storage, whose spectrum takes long."""

    def build(site: Site) -> Path:
        windows = tensor("0", (4096, 4096), stride=(1, 1), elements=8191)
        storages = {"0": np.sin(np.arange(8191.0)).astype("<f4").tobytes(), "1": pickles.BIAS}
        whole = pickled(pickles.named({"bad.weight": windows, "good.weight": tensor("1", (4, 2), elements=8)}))
        return site.file("model.pt", rawzip.archive(containers.zip_members(whole, storages)))

    return Case("tensor-hankel", "tensors", "4096 × 4096 overlapping windows of 8,191 numbers", build, PARTIAL)


def _numbers() -> Iterator[Case]:
    rng = np.random.default_rng(3)
    plain = rng.standard_normal((8, 6)).astype("<f4")
    changes: Mapping[str, np.ndarray] = {
        "nan-one": np.where(np.arange(48).reshape(8, 6) == 7, np.nan, plain),
        "nan-all": np.full((8, 6), np.nan),
        "infinite": np.where(np.arange(48).reshape(8, 6) == 7, np.inf, plain),
        "huge": plain * 1e38,
        "denormal": plain * 1e-44,
        "zero": np.zeros((8, 6)),
        "constant": np.full((8, 6), 3.0),
        "one-outlier": np.where(np.arange(48).reshape(8, 6) == 7, 3e38, 1e-38),
    }
    for name, values in changes.items():
        with np.errstate(over="ignore", under="ignore"):
            data = values.astype("<f4").tobytes()

        def build(site: Site, data: bytes = data) -> Path:
            return site.file(
                "model.pt",
                rawzip.archive(containers.zip_members(pickled(pickles.state()), {"0": data, "1": pickles.BIAS})),
            )

        yield Case(f"numbers-{name}", "tensors", f"weights that are {name}", build, AUDITED)


def _legacy() -> Iterator[Case]:
    def case(name: str, attack: str, make: Callable[[], bytes], expected: frozenset[Outcome]) -> Case:
        return Case(f"legacy-{name}", "legacy lies", attack, lambda site: site.file("model.pt", make()), expected)

    for name, count in (("negative", -1), ("huge", 2**62), ("more", 49), ("less", 47), ("zero", 0)):
        yield case(
            f"count-{name}",
            f"a storage that says it has {count} elements",
            lambda count=count: containers.legacy_checkpoint(counts={"0": count}),
            ANY if name in ("less", "zero") else NOT_WHOLE,
        )
    yield case(
        "keys-unknown",
        "a storage key that no tensor has",
        lambda: containers.legacy_checkpoint(keys=pickles.list_of(text("0"), text("nobody"))),
        NOT_WHOLE,
    )
    yield case(
        "keys-twice",
        "the same storage key twice",
        lambda: containers.legacy_checkpoint(keys=pickles.list_of(text("0"), text("0"))),
        NOT_WHOLE,
    )
    yield case("keys-missing", "no storage keys", lambda: containers.legacy_checkpoint(keys=b"]"), NOT_WHOLE)
    yield case(
        "keys-number", "a number for the storage keys", lambda: containers.legacy_checkpoint(keys=number(5)), NOT_WHOLE
    )
    yield case(
        "keys-unhashable", "lists as storage keys", lambda: containers.legacy_checkpoint(keys=b"](]]e"), NOT_WHOLE
    )
    view = tuple_of(text("v"), number(2**62), number(48))
    fields = (text("storage"), name_of("torch", "FloatStorage"), text("0"), text("cpu"), number(48), view)
    outside = call(
        name_of("torch._utils", "_rebuild_tensor_v2"),
        tuple_of(*fields) + b"Q",
        number(0),
        numbers((8, 6)),
        numbers((6, 1)),
        b"\x89",
        b"}",
    )
    yield case(
        "view-outside",
        "a view of a storage that starts at 2^62",
        lambda: containers.legacy_checkpoint([(text("bad.weight"), outside)]),
        NOT_WHOLE,
    )
    yield case(
        "trailing", "a megabyte of rubbish behind", lambda: containers.legacy_checkpoint() + b"\xa5" * 2**20, ANY
    )
    yield case(
        "protocol-version",
        "an unknown protocol version",
        lambda: containers.legacy_checkpoint(protocol=number(9999)),
        ANY,
    )
    system = pickles.named({"protocol_version": number(1001), "little_endian": b"\x89"})
    yield case(
        "big-endian", "a machine of the other byte order", lambda: containers.legacy_checkpoint(system=system), ANY
    )
