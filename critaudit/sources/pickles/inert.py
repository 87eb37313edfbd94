"""What the pickle machine makes of things that a pickle wants to build: descriptions, never the things themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from critaudit.errors import LimitExceededError
from critaudit.sources.archives.byte_range import PartStorage


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """A class or function that the pickle refers to by its full name. It is never imported."""

    name: str


@dataclass(slots=True, eq=False)
class Inert:
    """An object that the pickle would have built by calling `name(*args)`.

    `state` is what BUILD would have restored (attributes by name, mostly); `items` and `elements` are what SETITEM and
    APPEND would have put into it. `call` says that the pickle called a function instead of making an instance.
    """

    name: str
    args: tuple[object, ...] = ()
    state: object = None
    items: dict[object, object] | None = None
    elements: list[object] | None = None

    @property
    def class_name(self) -> str:
        """The name without its module."""
        return self.name.rpartition(".")[2]

    @property
    def attributes(self) -> Mapping[object, object]:
        """The attributes that BUILD would have set; empty where the state is something else."""
        state = self.state
        if type(state) is tuple and len(state) == 2 and type(state[0]) is dict:
            return state[0]
        return state if type(state) is dict else {}


@dataclass(frozen=True, slots=True, eq=False)
class OpaqueKey:
    """A dictionary key that is not plain, equal only to itself: hashing nested shared tuples can take forever."""

    value: object


@dataclass(frozen=True, slots=True, eq=False)
class StoredBytes:
    """A long byte string that stays in the file."""

    storage: PartStorage


class Restorable:
    """An object that wants to see the state which BUILD gives it."""

    __slots__ = ()

    def restore(self, state: object) -> None:
        """Take the state; called at most a few times, with whatever the file says."""
        raise NotImplementedError


# A builder gets the arguments and a function that charges memory; NotImplemented means "make an inert stand-in".
Builder: TypeAlias = Callable[[tuple[object, ...], Callable[[int], None]], object]
# The builder for functions of PyTorch that make tensors and are not in the table.
UNKNOWN_TENSOR = "torch._utils._rebuild_…"

MAX_OPERATIONS = 16_000_000
MAX_MEMORY = 512 * 2**20
MAX_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class Budget:
    """What unpickling one file may cost in all; the amounts are beyond what honest files need."""

    label: str
    operations: int = MAX_OPERATIONS
    memory: int = MAX_MEMORY
    # Processor time: a slow disk or a busy machine is not the file's fault.
    deadline: float = field(default_factory=lambda: time.thread_time() + MAX_SECONDS)

    def charge(self, count: int) -> None:
        """Account for `count` bytes of memory. Raises LimitExceededError where there are none left."""
        self.memory -= count
        if self.memory < 0:
            raise LimitExceededError(f"{self.label}: its pickle builds more than {MAX_MEMORY >> 20} MB of objects")

    def check(self, operations: int) -> None:
        """Account for `operations` opcodes and for the time. Raises LimitExceededError beyond the limits."""
        self.operations -= operations
        if self.operations < 0:
            raise LimitExceededError(f"{self.label}: its pickle has more than {MAX_OPERATIONS} operations")
        if time.thread_time() > self.deadline:
            raise LimitExceededError(
                f"{self.label}: reading its pickle takes more than {MAX_SECONDS:.0f} s of computing"
            )
        self.charge(0)


def plain_key(key: object) -> object:
    """`key` itself where hashing it is cheap, else a stand-in that is equal only to itself."""
    kind = type(key)
    if kind is str or (kind is int and -(2**63) <= key < 2**64):  # type: ignore[operator]
        return key
    if key is None or kind is bool or kind is bytes or kind is float:
        return key
    return OpaqueKey(key)
