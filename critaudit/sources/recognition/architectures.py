"""The packaged index of known networks: names and shapes of their tensors, their layers, their inputs. Needs no torch.

The index is one `.npz` file, written by `critaudit.sources.recognition.build_index`. Networks that share every name,
shape and layer share one `Structure`; tensors are numbered by distinct (name, shape) pairs, so that a whole checkpoint
is compared with all networks by a few array operations.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from critaudit.contents import LayerHint, Preprocessing

FILE = "architectures.npz"
# What a tensor is to its network. CLASSES: its first axis grows with the number of classes. HEAD: not there in the
# network without classifier. OPTIONAL: a buffer that the constructor makes from nothing but the configuration.
CLASSES, HEAD, OPTIONAL, BUFFER = 1, 2, 4, 8


@dataclass(frozen=True, slots=True)
class Known:
    """One network by name. `classes` is the library's default (0: features only), `head_classes` the index entry's.

    `function` is a digest of the operations of its forward pass (None where it could not be traced): networks with the
    same tensors and another digest compute something else from the same weights.
    """

    library: str
    name: str
    structure: int
    classes: int
    head_classes: int
    input: Preprocessing | None
    function: str | None

    @property
    def full_name(self) -> str:
        """library:name, as on the command line."""
        return f"{self.library}:{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """All known networks. Structure k consists of entries `starts[k]:starts[k + 1]` of `tensors`, `flags` and `layers`.

    `tensors` numbers (name, shape) pairs, given by `pair_name` and `pair_shape`; `layers` numbers `hints`.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    pair_name: NDArray[np.int32]
    pair_shape: NDArray[np.int32]
    tensors: NDArray[np.int32]
    flags: NDArray[np.uint8]
    layers: NDArray[np.int32]
    starts: NDArray[np.int64]
    hints: tuple[tuple[str, str, int, str | None], ...]
    networks: tuple[Known, ...]
    versions: dict[str, str]

    def entries(self, structure: int) -> slice:
        """Where the structure's tensors stand."""
        return slice(int(self.starts[structure]), int(self.starts[structure + 1]))

    def tensor_names(self, structure: int) -> list[str]:
        """The structure's tensor names, in its order."""
        return [self.names[number] for number in self.pair_name[self.tensors[self.entries(structure)]]]

    def tensor_shapes(self, structure: int) -> list[tuple[int, ...]]:
        """The structure's tensor shapes, in its order."""
        return [self.shapes[number] for number in self.pair_shape[self.tensors[self.entries(structure)]]]

    def layer_hints(self, structure: int) -> list[LayerHint]:
        """What the network says about the layer behind each tensor, in the structure's order."""
        where = self.entries(structure)
        found = []
        for number, flag in zip(self.layers[where], self.flags[where], strict=True):
            module, role, groups, activation = self.hints[number]
            found.append(LayerHint(module, role, groups, activation, buffer=bool(flag & BUFFER)))
        return found

    def of_structure(self, structure: int) -> tuple[Known, ...]:
        """The networks that have exactly this structure."""
        return tuple(known for known in self.networks if known.structure == structure)


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """A network as the builder saw it: one row per tensor in the order of its state dict, without batch counters."""

    library: str
    name: str
    classes: int
    head_classes: int
    input: Preprocessing | None
    function: str | None
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    flags: tuple[int, ...]
    hints: tuple[LayerHint, ...]


@cache
def packaged_index() -> Index:
    """The index that ships with critaudit, read once per process (about 30 ms)."""
    with (
        resources.files("critaudit.sources.recognition").joinpath(FILE).open("rb") as file,
        np.load(file, allow_pickle=False) as data,
    ):
        return _unpacked({name: data[name] for name in data.files})


def make_index(descriptions: Sequence[Description], versions: dict[str, str]) -> Index:
    """Number everything in `descriptions`, in their order."""
    names: dict[str, int] = {}
    shapes: dict[tuple[int, ...], int] = {}
    pairs: dict[tuple[int, int], int] = {}
    hints: dict[tuple[str, str, int, str | None], int] = {}
    structures: dict[tuple[tuple[int, ...], ...], int] = {}
    networks = []
    for one in descriptions:
        rows = zip(one.names, one.shapes, strict=True)
        keys = [(names.setdefault(name, len(names)), shapes.setdefault(shape, len(shapes))) for name, shape in rows]
        tensors = tuple(pairs.setdefault(key, len(pairs)) for key in keys)
        told = [(hint.module, hint.role, hint.groups, hint.activation) for hint in one.hints]
        layers = tuple(hints.setdefault(hint, len(hints)) for hint in told)
        structure = structures.setdefault((tensors, one.flags, layers), len(structures))
        networks.append(Known(one.library, one.name, structure, one.classes, one.head_classes, one.input, one.function))
    lengths = [len(tensors) for tensors, _, _ in structures]
    return Index(
        names=tuple(names),
        shapes=tuple(shapes),
        pair_name=np.array([name for name, _ in pairs], dtype=np.int32),
        pair_shape=np.array([shape for _, shape in pairs], dtype=np.int32),
        tensors=np.array([number for row, _, _ in structures for number in row], dtype=np.int32),
        flags=np.array([flag for _, row, _ in structures for flag in row], dtype=np.uint8),
        layers=np.array([number for _, _, row in structures for number in row], dtype=np.int32),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        hints=tuple(hints),
        networks=tuple(networks),
        versions=versions,
    )


def packed(index: Index) -> dict[str, NDArray[Any]]:
    """The index as arrays for one `.npz` file. Numbers are stored as differences, which compress ten times better."""
    inputs: dict[tuple[Any, ...], int] = {}
    networks = []
    for known in index.networks:
        number = None
        if (given := known.input) is not None:
            key = (given.shape, given.mean, given.std, given.interpolation, given.crop, given.crop_mode)
            number = inputs.setdefault(key, len(inputs))
        networks.append(
            [known.library, known.name, known.structure, known.classes, known.head_classes, number, known.function]
        )
    tables = {"hints": index.hints, "inputs": list(inputs), "networks": networks, "versions": index.versions}
    return {
        "tables": _text(json.dumps(tables, separators=(",", ":"), ensure_ascii=True)),
        "names": _text("\n".join(index.names)),
        "shapes": _text("\n".join(",".join(map(str, shape)) for shape in index.shapes)),
        "pair_name": np.diff(index.pair_name, prepend=np.int32(0)),
        "pair_shape": index.pair_shape,
        "tensors": np.diff(index.tensors, prepend=np.int32(0)),
        "flags": index.flags,
        "layers": index.layers.astype(np.uint16),
        "starts": index.starts,
    }


def write_index(index: Index, path: str) -> None:
    """Write `index` to `path`: the same bytes for the same index (fixed dates and order in the archive)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in packed(index).items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _unpacked(data: dict[str, NDArray[Any]]) -> Index:
    tables = json.loads(data["tables"].tobytes())
    shapes = data["shapes"].tobytes().decode("ascii").split("\n")
    inputs = [_preprocessing(*row) for row in tables["inputs"]]
    return Index(
        names=tuple(data["names"].tobytes().decode("utf-8").split("\n")),
        shapes=tuple(tuple(map(int, shape.split(","))) if shape else () for shape in shapes),
        pair_name=np.cumsum(data["pair_name"], dtype=np.int32),
        pair_shape=data["pair_shape"],
        tensors=np.cumsum(data["tensors"], dtype=np.int32),
        flags=data["flags"],
        layers=data["layers"].astype(np.int32),
        starts=data["starts"],
        hints=tuple((module, role, groups, activation) for module, role, groups, activation in tables["hints"]),
        networks=tuple(
            Known(library, name, structure, classes, head, None if given is None else inputs[given], function)
            for library, name, structure, classes, head, given, function in tables["networks"]
        ),
        versions=tables["versions"],
    )


def _preprocessing(
    shape: list[int],
    mean: list[float] | None,
    std: list[float] | None,
    interpolation: str,
    crop: float,
    crop_mode: str,
) -> Preprocessing:
    return Preprocessing(
        tuple(shape),
        None if mean is None else tuple(mean),
        None if std is None else tuple(std),
        interpolation,
        crop,
        crop_mode,
    )


def _text(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
