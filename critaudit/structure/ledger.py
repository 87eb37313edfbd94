"""Accounting: which tensors are the same memory, what each adds to the parameters, and names unique when shown."""

from __future__ import annotations

import bisect
from collections.abc import Hashable, Sequence

from critaudit.tensors import DTYPES, TensorRef
from critaudit.text import printable


def memory_of(ref: TensorRef) -> Hashable:
    """A key that is equal for views of exactly the same elements, in whatever shape or order of axes.

    The axes are sorted by stride, those of one element dropped, and neighbours that continue each other joined.
    """
    return (ref.storage.key, ref.dtype, ref.offset, _steps(ref))


def _steps(ref: TensorRef) -> tuple[tuple[int, int], ...]:
    axes = sorted(((step, n) for step, n in zip(ref.effective_stride, ref.shape, strict=True) if n != 1), reverse=True)
    joined: list[tuple[int, int]] = []
    for step, n in axes:
        if joined and joined[-1][0] == step * n:
            joined[-1] = (step, joined[-1][1] * n)
        else:
            joined.append((step, n))
    return tuple(joined)


def run_of(ref: TensorRef) -> tuple[int, int] | None:
    """The bytes [start, stop) of its storage that the tensor fills; None where it has gaps or no elements."""
    steps = _steps(ref)
    if ref.numel == 0 or len(steps) > 1 or (steps and steps[0][0] != 1):
        return None
    itemsize = DTYPES[ref.dtype][0]
    return ref.offset * itemsize, (ref.offset + ref.numel) * itemsize


class Counted:
    """The memory whose parameters were counted already."""

    def __init__(self) -> None:
        self._owners: dict[Hashable, str] = {}
        self._runs: dict[Hashable, list[tuple[int, int]]] = {}

    def owner(self, ref: TensorRef) -> str | None:
        """The tensor that was counted with exactly these elements, if any."""
        return self._owners.get(memory_of(ref))

    def inside(self, ref: TensorRef) -> bool:
        """Whether all of the tensor's elements were counted, as parts of other tensors."""
        return ref.numel > 0 and self._uncounted(ref) == 0

    def add(self, name: str, ref: TensorRef) -> int:
        """Count the tensor; how many of its elements are new."""
        new = 0 if self.owner(ref) is not None else self._uncounted(ref)
        self._owners.setdefault(memory_of(ref), name)
        run = run_of(ref)
        if run is not None:
            _insert(self._runs.setdefault(ref.storage.key, []), run)
        return new

    def _uncounted(self, ref: TensorRef) -> int:
        run, runs = run_of(ref), self._runs.get(ref.storage.key, [])
        if run is None:
            return ref.numel
        start, stop = run
        index = max(bisect.bisect_right(runs, (start, start)) - 1, 0)
        covered = 0
        while index < len(runs) and runs[index][0] < stop:
            covered += max(min(stop, runs[index][1]) - max(start, runs[index][0]), 0)
            index += 1
        return (stop - start - covered) // DTYPES[ref.dtype][0]


def _insert(runs: list[tuple[int, int]], run: tuple[int, int]) -> None:
    """Add a run to sorted, disjoint runs, joined with those that it touches."""
    start, stop = run
    first = bisect.bisect_left(runs, (start, start))
    if first > 0 and runs[first - 1][1] >= start:
        first -= 1
    last = first
    while last < len(runs) and runs[last][0] <= stop:
        start, stop = min(start, runs[last][0]), max(stop, runs[last][1])
        last += 1
    runs[first:last] = [(start, stop)]


class Names:
    """Hands out printable names, each once: a name that was shown already gets a number."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._repeats: dict[str, int] = {}

    def show(self, name: str) -> str:
        """`name` made printable and unique among all names handed out so far."""
        shown = base = printable(name)
        number = self._repeats.get(base, 1)
        while shown in self._used:
            number += 1
            shown = f"{base} ({number})"
        self._repeats[base] = number
        self._used.add(shown)
        return shown

    def show_all(self, names: Sequence[str]) -> list[str]:
        """What is shown for each name. Those that need no change keep theirs, whatever else comes to look like them."""
        shown: list[str | None] = [None] * len(names)
        for index, name in enumerate(names):
            if name not in self._used and printable(name) == name:
                self._used.add(name)
                shown[index] = name
        return [self.show(name) if plain is None else plain for name, plain in zip(names, shown, strict=True)]
