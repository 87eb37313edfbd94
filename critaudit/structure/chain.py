"""Which layer feeds which, as far as the order and the channel counts tell: groups and transposition without hints.

A state dict lists layers in the order of their definition, which mostly is the order of use; files that sort their
names are put into natural order first. What follows from it is a best guess, and every guess says so in its note.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from critaudit.structure.names import place, says_depthwise, says_shortcut, says_stem, says_transposed

_NUMBER = re.compile(r"(\d{1,9})")
# How many layers back a layer's input may come from (branches, squeeze-and-excitation between).
_WINDOW = 6
# Beyond this many layers back nothing is looked for: the work stays linear in the number of layers.
_FAR = 64
_NAMED = "by its name"


@dataclass(frozen=True, slots=True)
class Link:
    """A weight in the chain: its name and stored shape, the bias beside it and the normalisation after it, if any."""

    name: str
    shape: tuple[int, ...]
    bias: int | None
    norm_after: int | None


@dataclass(frozen=True, slots=True)
class Convolution:
    """How a convolution without hints is taken, and on what grounds where that is a guess."""

    inputs_first: bool
    groups: int
    note: str | None


def natural_order(names: Sequence[str]) -> list[str]:
    """The names as they are, or by their numbers where they came sorted as text (`layers.10` before `layers.2`)."""
    if list(names) != sorted(names):
        return list(names)
    return sorted(names, key=lambda name: [(part.isdigit(), part.zfill(9)) for part in _NUMBER.split(name[:2000])])


class Chain:
    """The convolutions of a model in their probable order, each with its probable groups and orientation."""

    def __init__(self, links: Sequence[Link]) -> None:
        self._links = links
        self._before = _Before()
        self.convolutions: Mapping[str, Convolution] = self._decide()

    def _decide(self) -> dict[str, Convolution]:
        decided: dict[str, Convolution] = {}
        for index, link in enumerate(self._links):
            first, second = link.shape[0], link.shape[1]
            if len(link.shape) < 3:
                self._before.add(first, second)
                continue
            transposed, ground = self._transposed(index, decided)
            if transposed:
                groups = _transposed_groups(link)
                guess = f"transposed convolution assumed: {ground}" + (", with groups" if groups > 1 else "")
                decided[link.name] = Convolution(True, groups, guess)
                self._before.add(second * groups, first)
                continue
            groups, note = self._before.groups(link)
            decided[link.name] = Convolution(False, groups, note)
            self._before.add(first, second, squeezes=self._squeezes(index))
        return decided

    def _squeezes(self, index: int) -> bool:
        """Whether this and the next layer are a squeeze-and-excitation pair, which feeds no layer but itself."""
        shape = self._links[index].shape
        after = self._links[index + 1].shape if index + 1 < len(self._links) else ()
        pointwise = all(n == 1 for n in (*shape[2:], *after[2:]))
        return pointwise and len(after) == len(shape) and after[1] == shape[0] < shape[1] <= after[0]

    def _transposed(self, index: int, decided: Mapping[str, Convolution]) -> tuple[bool, str]:
        """The bias decides (it has one entry per output); then the name; then whether the channels chain that way."""
        link = self._links[index]
        first, second = link.shape[0], link.shape[1]
        if link.bias is not None and link.bias != first:
            groups, rest = divmod(link.bias, max(second, 1))
            return rest == 0 and groups > 0 and first % groups == 0, "its bias fits the second axis"
        if says_transposed(place(link.name)):
            veto = first != second and (link.bias == first or link.norm_after == first)
            return not veto, "by its name"
        if first == second or link.bias == first or all(n == 1 for n in link.shape[2:]):
            return False, ""
        before = self._links[index - 1] if index else None
        after = self._links[index + 1] if index + 1 < len(self._links) else None
        norm_says = link.norm_after == second
        if before is not None and before.name in decided and len(before.shape) == len(link.shape):
            chained = first == before.shape[1] and second != before.shape[0]
            return chained and decided[before.name].inputs_first, "its channels continue those of the layer before"
        chained = after is not None and second == after.shape[0] and first != after.shape[1]
        return chained and norm_says, "the layers after it take its second axis as channels"


def _transposed_groups(link: Link) -> int:
    if link.bias is None or link.shape[1] == 0:
        return 1
    groups = link.bias // link.shape[1]
    return groups if groups > 0 and groups * link.shape[1] == link.bias and link.shape[0] % groups == 0 else 1


class _Before:
    """What the layers up to some point of the chain put out and took in."""

    def __init__(self) -> None:
        self._outputs: list[int] = []
        self._inputs: list[int] = []
        self._recent: list[int] = []
        # Whether the first convolution looks at one channel (grey images, audio); None before it was met.
        self._grey: bool | None = None

    def add(self, outputs: int, inputs: int, *, squeezes: bool = False) -> None:
        """Append a layer."""
        self._outputs.append(outputs)
        self._inputs.append(inputs)
        if not squeezes:
            self._recent = [*self._recent[1 - _WINDOW :], outputs]

    @property
    def _last(self) -> int:
        return self._outputs[-1] if self._outputs else 0

    def groups(self, link: Link) -> tuple[int, str | None]:
        """Groups of an ordinary convolution, from what the layers before it put out."""
        channels, per_group = link.shape[0], link.shape[1]
        if self._grey is None:
            self._grey = per_group == 1 and not self._depthwise(link, grey=True)
        if channels < 2 or per_group < 1:
            return 1, None
        if per_group == 1:
            ground = self._depthwise(link, grey=self._grey)
            # A depthwise layer may widen: twice the channels that the very last layer put out, seen nowhere before.
            widens = ground == _NAMED and channels == 2 * self._last and channels not in self._recent
            groups = self._last if widens else channels
            return (groups, f"depthwise assumed: {ground}") if ground else (1, None)
        source = self._source(per_group)
        if source is None or source <= per_group or source % per_group or channels % (source // per_group):
            return 1, None
        if all(n == 1 for n in link.shape[2:]) and (per_group in self._outputs[-_FAR:] or channels != source):
            return 1, None
        # Where channels are split (CSP, Res2Net, C2f), the layer after the split does not keep their number.
        if channels % source or per_group in self._recent or says_shortcut(place(link.name)):
            return 1, None
        return source // per_group, f"{source // per_group} groups assumed from the channels of the layer before"

    def _depthwise(self, link: Link, *, grey: bool) -> str:
        """On what ground a convolution of one input channel per output is depthwise; empty where it is ordinary."""
        channels = link.shape[0]
        if says_depthwise(place(link.name)):
            return _NAMED
        source = self._source(1)
        if source is None or source == 1:
            return ""
        if self._last == channels:
            return "it keeps the channels of the layer before"
        if says_stem(link.name):
            return ""
        if not grey:
            return "the layers before it put out many channels"
        kept = channels in self._recent or source % channels == 0
        return "its channels are those of the layers before" if kept else ""

    def _source(self, per_group: int) -> int | None:
        """Outputs of the nearest layer before that does not itself look like a sibling with the same input."""
        for index in range(len(self._outputs) - 1, max(len(self._outputs) - _FAR, 0) - 1, -1):
            if self._inputs[index] != per_group:
                return self._outputs[index]
        return None
