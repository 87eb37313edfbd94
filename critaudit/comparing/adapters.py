"""Low-rank adapters (LoRA) merged with the model that they were trained on: W + s·B·A."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from critaudit.errors import SourceError
from critaudit.model import ModelView, WeightMatrix
from critaudit.structure.names import lora_factor

# What adapters' names have around the base layer's: PEFT's first words, and the factor's own part with its name.
_BEFORE = re.compile(r"^(base_model\.model\.)?(model\.)?")
_FACTOR = re.compile(r"[._]lora[._]?(?:A|B|down|up|embedding_A|embedding_B)(?:\.[\w-]+?)?(?:\.weight)?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Adapter:
    """The two factors of one layer's change: `down` (r × inputs) and `up` (outputs × r)."""

    layer: str
    down: WeightMatrix
    up: WeightMatrix

    @property
    def rank(self) -> int:
        """r, the number of rows of A."""
        return self.down.rows


def adapters(view: ModelView) -> tuple[Adapter, ...]:
    """The pairs of low-rank factors in a model, by the name of the layer that they change."""
    found: dict[str, dict[str, WeightMatrix]] = {}
    for matrix in view.matrices:
        factor = lora_factor(matrix.tensor)
        if factor is not None:
            found.setdefault(_FACTOR.sub("", matrix.tensor), {})[factor] = matrix
    return tuple(
        Adapter(layer, pair["A"], pair["B"])
        for layer, pair in found.items()
        if len(pair) == 2 and pair["A"].rows == pair["B"].columns
    )


def scale_of(view: ModelView, rank: int, layer: str) -> tuple[float, str]:
    """The factor s of W + s·B·A and where it comes from: lora_alpha/r of the adapter's configuration, else 1.

    A layer's own lora_alpha (alpha_pattern) counts before the general one.
    """
    own = (f"alpha_pattern.{layer.split('.', skip)[-1]}" for skip in range(layer.count(".") + 1))
    alpha = next((view.metadata[key] for key in own if key in view.metadata), view.metadata.get("lora_alpha"))
    if isinstance(alpha, (int, float)) and not isinstance(alpha, bool):
        slim = view.metadata.get("use_rslora") is True
        return float(alpha) / (math.sqrt(rank) if slim else rank), "lora_alpha and r of the adapter's configuration"
    return 1.0, "no lora_alpha was found: the scale is taken as 1"


@dataclass(frozen=True, slots=True)
class Merge:
    """A model with adapters added, in words how, and the layers of adapters that fit none of its matrices."""

    view: ModelView
    note: str
    left: tuple[str, ...]


def merged(base: ModelView, tuned: ModelView) -> Merge | None:
    """The base with the adapters of `tuned` added, under the name of `tuned`; None where there are none.

    What was merged runs no longer as it was stored, so that the view cannot be run. Adapters that stand inside a whole
    model are added to that model's own matrices; adapters alone are left as they are where the base is none but
    adapters, too. A tensor that holds several matrices (queries, keys and values) takes an adapter's rows in their
    order. Raises SourceError where adapters alone fit nothing in the base.
    """
    pairs = adapters(tuned)
    if not pairs:
        return None
    factors = {matrix.tensor for pair in pairs for matrix in (pair.down, pair.up)}
    own = [matrix for matrix in tuned.matrices if matrix.tensor not in factors]
    if not own and adapters(base):
        return None
    hosts = [replace(host, name=host.name.replace(".base_layer", "")) for host in own] or list(base.matrices)
    by_layer: dict[str, list[int]] = {}
    for place, matrix in enumerate(hosts):
        by_layer.setdefault(_plain(matrix.tensor), []).append(place)
    left = []
    for pair in pairs:
        places = _places(_plain(pair.layer), by_layer)
        factor = scale_of(tuned, pair.rank, pair.layer)[0]
        if not places or not _add(hosts, places, pair, factor):
            left.append(pair.layer)
    if not own and len(left) == len(pairs):
        raise SourceError(
            f"{tuned.source.name}: none of its {len(pairs)} adapters fits a layer of {base.source.name}, first "
            f"{left[0]}; name the model that they were trained on first"
        )
    scale, origin = scale_of(tuned, pairs[0].rank, pairs[0].layer)
    note = f"{len(pairs) - len(left)} of {len(pairs)} adapters merged with s = {scale:g} ({origin})"
    if tuned.metadata.get("use_dora") is True:
        note += "; the magnitudes of DoRA are left out"
    view = replace(tuned if own else base, source=tuned.source, matrices=tuple(hosts), runnable=None)
    return Merge(view, note, tuple(left))


def _plain(name: str) -> str:
    return _BEFORE.sub("", name).removesuffix(".weight").removesuffix("_weight").replace(".base_layer", "")


def _places(layer: str, by_layer: dict[str, list[int]]) -> list[int]:
    """Where the layer's matrices are: by its name, else by the one name that only says more or less in front."""
    if layer in by_layer:
        return by_layer[layer]
    alike = [name for name in by_layer if f".{layer}".endswith(f".{name}") or f".{name}".endswith(f".{layer}")]
    return by_layer[alike[0]] if len(alike) == 1 else []


def _add(hosts: list[WeightMatrix], places: list[int], pair: Adapter, scale: float) -> bool:
    """Add s·B·A to the matrices at `places`; whether it fits them."""
    first = hosts[places[0]]
    if first.kind == "embedding" and (first.rows, first.columns) == (pair.down.columns, pair.up.rows):
        hosts[places[0]] = _added(first, pair, scale, slice(None), turned=True)
        return True
    parts = [hosts[place] for place in places]
    fits = all(part.groups == 1 and part.columns == pair.down.columns for part in parts)
    if not fits or sum(part.rows for part in parts) != pair.up.rows:
        return False
    start = 0
    for place, part in zip(places, parts, strict=True):
        hosts[place] = _added(part, pair, scale, slice(start, start + part.rows))
        start += part.rows
    return True


def _added(host: WeightMatrix, pair: Adapter, scale: float, rows: slice, *, turned: bool = False) -> WeightMatrix:
    def read() -> NDArray[np.generic]:
        step = scale * (pair.up.read()[0][rows].astype(np.float64) @ pair.down.read()[0].astype(np.float64))
        return np.asarray(host.read().astype(np.float64) + (step.T if turned else step), dtype=np.float32)

    return replace(host, _read=read, dtype="float32")
