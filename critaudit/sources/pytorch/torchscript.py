"""TorchScript archives: the tree of modules with their tensors, and the constants. The code inside is never executed.

The archive's Python-like source is searched, as text, for what the objects do not say themselves: which attributes are
parameters and buffers, and the groups of convolutions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from critaudit.contents import Contents, LeftOut
from critaudit.errors import CorruptFileError, NotAModelError, SourceError
from critaudit.sources.archives.zip_archive import ZipArchive
from critaudit.sources.pickles.inert import Budget, Inert
from critaudit.sources.pytorch.checkpoint import builders
from critaudit.sources.pytorch.names import component
from critaudit.sources.pytorch.stored_tensors import Refused, TensorLike
from critaudit.sources.pytorch.unwrap import unwrap
from critaudit.sources.pytorch.zip_container import load_member_pickle, pickle_folder
from critaudit.tensors import FLOATS

_MAX_SOURCE = 16 * 2**20
_MAX_SOURCES = 20_000
_MAX_VALUES = 100_000
_MAX_LISTED = 100
_MAX_DEPTH = 8
_MANGLE = re.compile(r"___torch_mangle_\d+\.")
_CLASS = re.compile(r"^class (\w+)\(Module\):$", re.MULTILINE)
_LIST = re.compile(r"^  __(parameters|buffers)__ = \[([^\]\n]*)\]", re.MULTILINE)
_FINAL_GROUPS = re.compile(r"^  groups : Final\[int\] = (\d{1,9})$", re.MULTILINE)
# The last argument of convNd, the last but one of conv_transposeNd, the one behind two lists of _convolution. Bounds
# keep the search linear in hostile text.
_CALLS = re.compile(
    r"torch\.conv[123]d\([^()\n]{0,2000}?(?:, (\d{1,9}))?\)"
    r"|torch\.conv_transpose[123]d\([^()\n]{0,2000}?(?:, (\d{1,9}), \[[^\]\n]{0,100}\])?\)"
    r"|torch\._convolution\([^()\n]{0,2000}?, (?:True|False), \[[^\]\n]{0,100}\], (\d{1,9}),"
)


@dataclass(frozen=True, slots=True)
class _Source:
    """What the source text says about a class of modules."""

    parameters: frozenset[str]
    buffers: frozenset[str]
    groups: int | None


def read_torchscript(archive: ZipArchive) -> Contents:
    """The tensors of a TorchScript archive under the names of its state dict, constants as `CONSTANTS.c0`, ….

    Raises CorruptFileError where the object tree is damaged; a damaged storage costs only its tensors.
    """
    budget = Budget(archive.file.path.name)
    folder = pickle_folder(archive)
    if folder is None:
        raise NotAModelError(f"{budget.label}: this zip archive has no data.pkl; expected a TorchScript archive")
    problems: list[str] = []
    table = builders(budget, problems)
    root = load_member_pickle(archive, folder, "data.pkl", "data/", budget, table)
    tree: dict[str, object] = {"model": _Modules(_sources(archive, folder), budget).convert(root)}
    constants: object = ()
    if f"{folder}constants.pkl" in archive:
        try:
            constants = load_member_pickle(archive, folder, "constants.pkl", "constants/", budget, table)
        except CorruptFileError as error:
            problems.append(f"the constants cannot be read: {error}")
    weights, others = _constants(constants)
    if weights:
        tree["CONSTANTS"] = weights
    found = unwrap(tree, "TorchScript archive", budget.label, archive.file.size, problems)
    name = root.name if isinstance(root, Inert) else "unknown"
    return replace(found, left_out=(*found.left_out, *others), metadata={"class": _plain_name(name)})


def _constants(values: object) -> tuple[dict[str, object], list[LeftOut]]:
    """The constants that may be weights (matrices of floats), and the others."""
    weights: dict[str, object] = {}
    others: list[LeftOut] = []
    for number, value in enumerate(values[:_MAX_VALUES] if type(values) in (tuple, list) else ()):  # type: ignore[index]
        if isinstance(value, TensorLike):
            found = value.resolve()
            lost = isinstance(found, Refused) and found.lost
            if lost or (found.dtype in FLOATS and len(found.shape) > 1):
                weights[f"c{number}"] = value
            elif len(others) < _MAX_LISTED:
                others.append(LeftOut(f"CONSTANTS.c{number}", found.shape, found.dtype, "a constant of the code"))
    return weights, others


def _plain_name(name: str) -> str:
    """`__torch__.torch.nn.modules.conv.___torch_mangle_0.Conv2d` as `torch.nn.modules.conv.Conv2d`."""
    return _MANGLE.sub("", name.removeprefix("__torch__."))


def _sources(archive: ZipArchive, folder: str) -> dict[str, _Source]:
    """What the source text says, by the full (mangled) name of the class."""
    found: dict[str, _Source] = {}
    left = _MAX_SOURCE
    for name in archive.names[:_MAX_SOURCES]:
        if not (name.startswith(f"{folder}code/") and name.endswith(".py")):
            continue
        left -= archive.size(name)
        if left < 0:
            break
        try:
            text = archive.read(name, limit=_MAX_SOURCE).decode("utf-8", "replace")
        except SourceError:
            continue  # the source only adds details
        module = name.removeprefix(f"{folder}code/").removesuffix(".py").replace("/", ".")
        starts = [*_CLASS.finditer(text)]
        for at, match in enumerate(starts):
            end = starts[at + 1].start() if at + 1 < len(starts) else len(text)
            found[f"{module}.{match[1]}"] = _described(text[match.end() : end])
    return found


def _described(body: str) -> _Source:
    """One class's source text."""
    lists = {kind: frozenset(re.findall(r'"(\w+)"', names)) for kind, names in _LIST.findall(body)}
    final, calls = _FINAL_GROUPS.search(body), list(_CALLS.finditer(body))
    groups = None
    if final is not None:
        groups = int(final[1])
    elif len(calls) == 1:
        groups = int(next((number for number in calls[0].groups() if number), "1"))
    return _Source(lists.get("parameters", frozenset()), lists.get("buffers", frozenset()), groups)


class _Modules:
    """Turns TorchScript's objects (attributes of every kind side by side) into stand-ins of nn.Modules."""

    def __init__(self, sources: dict[str, _Source], budget: Budget) -> None:
        self._sources = sources
        self._budget = budget
        self._made: dict[int, Inert] = {}
        self._waiting: list[tuple[Inert, Inert]] = []

    def convert(self, root: object) -> object:
        """The tree of `root` as stand-ins that `pickled_modules` reads; shared modules stay shared."""
        if not isinstance(root, Inert):
            return root
        made = self._stand_in(root)
        while self._waiting:
            self._fill(*self._waiting.pop())
        return made

    def _stand_in(self, module: Inert) -> Inert:
        known = self._made.get(id(module))
        if known is None:
            self._budget.charge(1000)
            known = self._made[id(module)] = Inert(_plain_name(module.name))
            self._waiting.append((module, known))
        return known

    def _fill(self, module: Inert, made: Inert) -> None:
        source = self._sources.get(module.name)
        parameters: dict[object, object] = {}
        buffers: dict[object, object] = {}
        modules: dict[object, object] = {}
        attributes: dict[object, object] = {"_parameters": parameters, "_buffers": buffers, "_modules": modules}
        for key, value in module.attributes.items():
            name = component(key)
            if isinstance(value, TensorLike):
                known = source is not None and name not in source.parameters
                home = parameters if not known else buffers if source and name in source.buffers else attributes
                home[name] = value
            elif isinstance(value, Inert) and value.attributes:
                modules[name] = self._stand_in(value)
            else:
                parameters.update(self._packed(name, value))
        if source is not None and source.groups is not None:
            attributes["groups"] = source.groups
        made.state = attributes

    def _packed(self, name: str, value: object) -> dict[object, object]:
        """Tensors in lists and in the packed parameters of quantised layers."""
        found: dict[object, object] = {}
        waiting, seen = [(name, value)], set()
        while waiting:
            path, item = waiting.pop()
            if isinstance(item, TensorLike):
                found[path] = item
            elif isinstance(item, (list, tuple, Inert)) and id(item) not in seen and path.count(".") < _MAX_DEPTH:
                seen.add(id(item))
                if isinstance(item, Inert):
                    waiting.append((path, item.state))
                else:
                    self._budget.charge(200 * len(item))
                    waiting.extend((f"{path}.{number}", part) for number, part in reversed(list(enumerate(item))))
        return found
