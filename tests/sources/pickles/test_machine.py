"""The inert pickle machine agrees with Python's unpickler on plain data, and builds nothing else."""

from __future__ import annotations

import collections
import pickle
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.errors import CorruptFileError, LimitExceededError, SourceError
from critaudit.sources.archives.byte_range import Bytes
from critaudit.sources.pickles import inert
from critaudit.sources.pickles.inert import Budget, Inert, Named, OpaqueKey, StoredBytes
from critaudit.sources.pickles.machine import PickleMachine
from critaudit.sources.pytorch.checkpoint import builders

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
    ),
    max_leaves=15,
)


def machine(data: bytes, budget: Budget | None = None) -> PickleMachine:
    budget = budget or Budget("model.pkl")
    source = Bytes(data, Path("model.pkl"), object())
    return PickleMachine(
        source, builders=builders(budget, []), persistent=lambda pid: ("persistent", pid), budget=budget
    )


def load(data: bytes) -> object:
    return machine(data).load()


@pytest.mark.parametrize("protocol", range(6))
@settings(max_examples=40, deadline=None, derandomize=True)
@given(value=PLAIN)
def test_plain_data_of_every_protocol_are_what_was_pickled(protocol: int, value: object) -> None:
    assert load(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(6))
def test_containers_of_the_standard_library_become_plain_ones(protocol: int) -> None:
    value = {
        "ordered": collections.OrderedDict(a=1, b=2),
        "default": collections.defaultdict(list, x=[1]),
        "set": {1},
        "frozen": frozenset({2}),
        "bytes": bytearray(b"\x00\xff"),
        "complex": 1 + 2j,
        "path": Path("/a/b"),
        "deque": collections.deque([3, 4]),
    }
    found = load(pickle.dumps(value, protocol))
    assert isinstance(found, dict)
    path = found.pop("path")
    assert path == "//a/b" or path == "/a/b"
    assert found == {
        "ordered": {"a": 1, "b": 2},
        "default": {"x": [1]},
        "set": [1],
        "frozen": [2],
        "bytes": b"\x00\xff",
        "complex": 1 + 2j,
        "deque": [3, 4],
    }


@pytest.mark.parametrize("protocol", range(6))
def test_an_instance_of_a_foreign_class_becomes_a_stand_in(protocol: int) -> None:
    import argparse

    found = load(pickle.dumps(argparse.Namespace(lr=0.1, name="run"), protocol))
    assert isinstance(found, Inert)
    assert found.name == "argparse.Namespace"
    assert found.attributes == {"lr": 0.1, "name": "run"}


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'exit 7'\ntR.",
        b"(S'exit 7'\nios\nsystem\n.",
        b"(cos\nsystem\nS'exit 7'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x06exit 7\x85R.",
        b"\x80\x02cos\nsystem\nX\x06\x00\x00\x00exit 7\x85\x81.",
    ],
)
def test_nothing_is_called(data: bytes) -> None:
    found = load(data)
    assert isinstance(found, Inert)
    assert found.name == "os.system"
    assert found.args == ("exit 7",)


def test_names_are_not_imported() -> None:
    import sys

    found = load(b"cthis_module_does_not_exist.at_all\nThing\n.")
    assert isinstance(found, Named)
    assert found.name == "this_module_does_not_exist.at_all.Thing"
    assert "this_module_does_not_exist" not in sys.modules


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"\x80\x09N.",
        b"\x80\x02",
        b"\xff",
        b"a.",
        b"N]a.",
        b"\x80\x02}K\x01s.",
        b"h\x05.",
        b"j\xff\xff\xff\xff.",
        b"(t",
        b"X\xff\xff\xff\xffabc.",
        b"\x8e" + b"\xff" * 8 + b".",
        b"\x8d" + b"\xff" * 8 + b".",
        b"\x96" + struct.pack("<Q", 2**40) + b".",
        b"\x95" + struct.pack("<Q", 2**40) + b"N.",
        b"\x8b" + struct.pack("<i", -5) + b".",
        b"\x8b" + struct.pack("<i", 2**30) + b".",
        b"I12x\n.",
        b"I" + b"9" * 5000 + b"\n.",
        b"S'no end\n.",
        b"Vno newline",
        b"X\x02\x00\x00\x00\xff\xfe.",
        b"K\x01K\x02\x93.",
        b"\x97.",
        b"cos\nsystem\nNb.",
    ],
)
def test_malformed_pickles_end_in_one_clear_error(data: bytes) -> None:
    if data == b".":
        assert load(data) is None
        return
    with pytest.raises(SourceError) as error:
        load(data)
    assert "\n" not in str(error.value)


def test_a_memo_index_allocates_nothing() -> None:
    assert load(b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.") is None


def test_a_nested_shared_tuple_as_a_key_is_not_hashed() -> None:
    found = load(b"})" + b"2\x86" * 200 + b"Ns.")  # hashing this key would take 2^200 steps
    assert isinstance(found, dict)
    assert isinstance(next(iter(found)), OpaqueKey)


def test_deep_nesting_and_cycles_are_read() -> None:
    depth = 50_000
    found = load(b"]" * depth + b"a" * (depth - 1) + b".")
    for _ in range(depth - 1):
        assert isinstance(found, list)
        (found,) = found
    cyclic = load(b"]q\x00h\x00a.")
    assert isinstance(cyclic, list)
    assert cyclic[0] is cyclic


def test_too_many_operations_end_it() -> None:
    with pytest.raises(LimitExceededError, match="operations"):
        machine(b"N0" * 50_000 + b"N.", Budget("m", operations=50_000)).load()


def test_too_many_objects_end_it() -> None:
    with pytest.raises(LimitExceededError, match="objects"):
        machine(b"]" * 50_000 + b".", Budget("m", memory=2**20)).load()


def test_copying_one_list_again_and_again_is_charged() -> None:
    copies = b"cbuiltins\nlist\nq\x010](" + b"N" * 1000 + b"eq\x000" + b"h\x01h\x00\x85R" * 1000 + b"N."
    with pytest.raises(LimitExceededError, match="objects"):
        machine(copies, Budget("m", memory=2**22)).load()


def test_time_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inert.time, "thread_time", iter([0.0, *[100.0] * 1000]).__next__)
    with pytest.raises(LimitExceededError, match="computing"):
        load(b"N0" * 10_000 + b"N.")


def test_long_byte_strings_stay_in_the_file() -> None:
    payload = bytes(range(256)) * 2000
    found = load(pickle.dumps([payload, 7, payload[:100]], 4))
    assert isinstance(found, list)
    assert isinstance(found[0], StoredBytes)
    assert found[0].storage.read(0, len(payload)) == payload
    assert found[1:] == [7, payload[:100]]


def test_pickles_one_after_the_other() -> None:
    first, second = pickle.dumps({"a": [1] * 300}, 2), pickle.dumps("b" * 70_000, 2)
    reader = machine(first + second + b"rest")
    assert reader.load() == {"a": [1] * 300}
    assert reader.position == len(first)
    assert reader.load() == "b" * 70_000
    assert reader.position == len(first + second)


def test_window_boundaries_do_not_matter() -> None:
    value = [("x" * (n % 300), n, float(n)) for n in range(20_000)]
    assert load(pickle.dumps(value, 2)) == value
    assert load(pickle.dumps(value, 0)) == value


def test_persistent_ids_of_both_forms() -> None:
    assert load(b"Pname\n.") == ("persistent", "name")
    assert load(b"K\x05Q.") == ("persistent", 5)


def test_python_2_texts() -> None:
    assert load(b"U\x03abc.") == "abc"
    assert load(b"S'a\\x41\\n'\n.") == "aA\n"
    assert load(b"U\x02\xff\xfe.") == b"\xff\xfe"
    with pytest.raises(CorruptFileError):
        load(b"T" + struct.pack("<i", -1) + b".")
