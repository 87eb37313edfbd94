"""Names for tensors out of whatever a file uses as keys: short enough to keep, still told apart."""

from __future__ import annotations

import hashlib

from critaudit.errors import LimitExceededError

_MAX_COMPONENT = 1024
_MAX_TOTAL = 128 * 2**20
_PER_NAME = 200


def component(key: object) -> str:
    """A dictionary key as a part of a name. Control characters stay; whoever shows a name makes it printable."""
    if type(key) is bytes:
        key = key.decode("utf-8", "backslashreplace")
    elif type(key) is int:
        key = str(key) if key.bit_length() <= 64 else "a large number"
    if type(key) is not str:
        return f"({type(key).__name__} key)"
    if len(key) <= _MAX_COMPONENT:
        return key
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{key[:100]}…{digest}…{key[-100:]}"


class NameBudget:
    """Keeps the names, and the number, of all tensors of one file within memory."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._left = _MAX_TOTAL

    def add(self, name: str) -> str:
        """`name`, after accounting for it and what goes with it."""
        self.spend(len(name) + _PER_NAME)
        return name

    def spend(self, count: int) -> None:
        """Account for `count` bytes. Raises LimitExceededError where the names together are absurdly long."""
        self._left -= count
        if self._left < 0:
            raise LimitExceededError(
                f"{self._label}: its tensors are too many or their names too long (over {_MAX_TOTAL >> 20} MB)"
            )
