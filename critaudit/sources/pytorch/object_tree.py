"""Where the tensors of an object tree lie: an iterative walk that visits every container once, cycles or not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from critaudit.contents import LayerHint
from critaudit.sources.pickles.inert import Inert
from critaudit.sources.pytorch.names import NameBudget, component
from critaudit.sources.pytorch.pickled_modules import is_module, read_module
from critaudit.sources.pytorch.stored_tensors import TensorLike

MAX_DEPTH = 64
_TOO_DEEP = f"objects nested deeper than {MAX_DEPTH} levels were not read"

# Keys that only say "here is the model".
WRAPPERS = frozenset({"state_dict", "model", "model_state_dict", "model_state", "net", "network", "module", "weights"})
WRAPPERS |= {"params", "state", "student", "teacher", "generator_state_dict", "ema", "ema_model", "ema_state_dict"}
WRAPPERS |= {"model_ema", "params_ema", "state_dict_ema", "model_ema_state_dict"}


@dataclass(slots=True, eq=False)
class Group:
    """Tensors that lie side by side in one container, or belong to one pickled module.

    `path` are the keys that lead there. `reason` is set where the container's own form says that it is no model.
    """

    path: tuple[str, ...]
    tensors: dict[str, TensorLike] = field(default_factory=dict)
    hints: dict[str, LayerHint] = field(default_factory=dict)
    attributes: dict[str, TensorLike] = field(default_factory=dict)
    module: bool = False
    reason: str | None = None

    @property
    def wrapped(self) -> bool:
        """Whether the group lies under a key that only says "here is the model"."""
        return bool(self.path) and self.path[-1] in WRAPPERS

    @property
    def prefix(self) -> str:
        """The path as the beginning of a name."""
        return "".join(f"{part}." for part in self.path)


_ROLES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^opt(im\w*|s|_\w+|[A-Z]\w*)?$|[Oo]ptimi[sz]er|^[Aa]dam|^[Ss][Gg][Dd]$"), "optimizer state"),
    (re.compile(r"[Ss]ched"), "state of the learning-rate schedule"),
    (re.compile(r"(^|_)rng(_|$)|random_state|generator_state$"), "state of a random number generator"),
    (re.compile(r"[Ss]caler|^amp$"), "state of the loss scaling"),
    (re.compile(r"^(callbacks?|loops?|logs?|metrics?|history|losses|results?|best_\w*score\w*)$"), "training records"),
)


def role_of(key: str) -> str | None:
    """Why what lies under `key` is no model, where the key says so."""
    for pattern, role in _ROLES:
        if pattern.search(key):
            return role
    return None


def find_groups(root: object, names: NameBudget, problems: list[str]) -> list[Group]:
    """All groups of tensors in the tree, in the order in which the file names their first tensors."""
    if isinstance(root, TensorLike):
        return [Group((), {"tensor": root})]
    groups: list[Group] = []
    seen: set[int] = set()
    frames: list[tuple[Group, Iterator[tuple[str, object]]]] = []

    def enter(path: tuple[str, ...], node: object, reason: str | None) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, Inert) and is_module(node):
            groups.append(_module_group(path, node, reason, names, problems))
        elif len(path) <= MAX_DEPTH:
            frames.append((Group(path, reason=reason or _reason_of(node)), _children(node)))
        elif not problems or problems[-1] != _TOO_DEEP:
            problems.append(_TOO_DEEP)

    enter((), root, None)
    while frames:
        group, children = frames[-1]
        key, value = next(children, (None, None))
        if key is None:
            frames.pop()
        elif isinstance(value, TensorLike):
            if not group.tensors:
                names.spend(400 + 8 * len(group.path))
                groups.append(group)
            group.tensors[names.add(key if key not in group.tensors else f"{key}#{len(group.tensors)}")] = value
        elif isinstance(value, (dict, list, tuple, Inert)):
            enter((*group.path, key), value, group.reason or role_of(key))
    return groups


def _module_group(
    path: tuple[str, ...], module: Inert, reason: str | None, names: NameBudget, problems: list[str]
) -> Group:
    found = read_module(module, names)
    problems.extend(found.problems)
    return Group(path, found.tensors, found.hints, found.attributes, module=True, reason=reason)


def _reason_of(node: object) -> str | None:
    """An optimizer's state dict is known by its form, whatever key it lies under."""
    if type(node) is dict and "param_groups" in node and "state" in node:
        return "optimizer state"
    return None


def _children(node: object) -> Iterator[tuple[str, object]]:
    if type(node) is dict:
        yield from ((component(key), value) for key, value in node.items())
    elif type(node) is list or type(node) is tuple:
        yield from ((str(number), value) for number, value in enumerate(node))
    elif isinstance(node, Inert):
        for part in (node.attributes, node.items or {}):
            yield from ((component(key), value) for key, value in part.items())
        for number, value in enumerate((*node.args, *(node.elements or ()))):
            yield str(number), value
        if not isinstance(node.state, dict) and node.state is not None:
            yield "state", node.state
