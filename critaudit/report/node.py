"""A decoded JSON document read with suspicion: every access says which type it expects and where it was."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from critaudit.errors import CritauditError
from critaudit.measurement import Value
from critaudit.text import printable

# Beyond these no honest report goes; they keep later arithmetic (floats, products of shapes) from overflowing.
_LARGEST_INTEGER = 2**63
_LONGEST_TEXT = 4000


@dataclass(frozen=True, slots=True)
class Node:
    """One value inside a JSON document, with the path that leads to it ("layers[3].shape")."""

    value: object
    path: str
    origin: str

    def fail(self, expected: str) -> NoReturn:
        """Raise the one-line error: what was found here, what was expected, what to try."""
        raise CritauditError(
            f"{self.origin}: {self.path or 'the document'} is {_described(self.value)}, expected {expected}; "
            "is this a report that critaudit wrote?"
        )

    def get(self, key: str) -> Node:
        """The member `key` of an object; a missing one is a node that holds None."""
        if not isinstance(self.value, dict):
            self.fail("an object")
        return Node(self.value.get(key), f"{self.path}.{key}" if self.path else key, self.origin)

    def items(self) -> Iterator[tuple[str, Node]]:
        """The members of an object; none for null."""
        if self.value is None:
            return
        if not isinstance(self.value, dict):
            self.fail("an object")
        for key in self.value:
            yield printable(key, limit=_LONGEST_TEXT), self.get(key)

    def elements(self) -> Iterator[Node]:
        """The elements of a list; none for null."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            self.fail("a list")
        for index, element in enumerate(self.value):
            yield Node(element, f"{self.path}[{index}]", self.origin)

    def text(self, default: str | None = None) -> str:
        """A string, made printable; `default` where there is none, and an error where there is no default."""
        if self.value is None and default is not None:
            return default
        if not isinstance(self.value, str):
            self.fail("a string")
        return printable(self.value, limit=_LONGEST_TEXT)

    def optional_text(self) -> str | None:
        """A string or None."""
        return None if self.value is None else self.text()

    def choice(self, *allowed: str) -> str:
        """One of the `allowed` strings."""
        if not isinstance(self.value, str) or self.value not in allowed:
            self.fail("one of " + ", ".join(allowed))
        return self.value

    def integer(self, default: int | None = None) -> int:
        """A non-negative integer; `default` where there is none."""
        if self.value is None and default is not None:
            return default
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not 0 <= self.value < _LARGEST_INTEGER:
            self.fail("a non-negative integer")
        return self.value

    def optional_integer(self) -> int | None:
        """A non-negative integer or None."""
        return None if self.value is None else self.integer()

    def number(self, default: float | None = None) -> float:
        """A finite number; `default` where there is none."""
        if self.value is None and default is not None:
            return default
        return float(self._finite())

    def _finite(self) -> float:
        """A finite number as it was written: whole numbers, such as those of classes, stay whole."""
        if not _is_number(self.value):
            self.fail("a finite number")
        assert isinstance(self.value, (int, float))
        return self.value

    def interval(self) -> tuple[float, float] | None:
        """Two finite numbers, or None."""
        if self.value is None:
            return None
        if not isinstance(self.value, list) or len(self.value) != 2:
            self.fail("null or a list of two numbers")
        low, high = (element.number() for element in self.elements())
        return low, high

    def shape(self) -> tuple[int, ...]:
        """A list of non-negative integers."""
        return tuple(element.integer() for element in self.elements())

    def measured_value(self) -> Value:
        """What a measurement may hold: a number, a truth value, a string, or a list of numbers or of strings."""
        if isinstance(self.value, str):
            return self.text()
        if isinstance(self.value, bool):
            return self.value
        if _is_number(self.value):
            assert isinstance(self.value, (int, float))
            return self.value
        if isinstance(self.value, list):
            if self.value and all(isinstance(item, str) for item in self.value):
                return tuple(element.text() for element in self.elements())
            return tuple(element._finite() for element in self.elements())
        return self.fail("a finite number, a truth value, a string, or a list of numbers or strings")


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < _LARGEST_INTEGER if isinstance(value, int) else math.isfinite(value)


def _described(value: object) -> str:
    if value is None:
        return "missing"
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _LARGEST_INTEGER:
        return f"a number of {value.bit_length()} bits"
    return printable(repr(value[:100] if isinstance(value, str) else value), limit=60)
