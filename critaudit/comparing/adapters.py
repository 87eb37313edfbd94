"""Low-rank adapters (LoRA) merged with the model that they were trained on: W + s·B·A."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

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


def scale_of(view: ModelView, rank: int) -> tuple[float, str]:
    """The factor s of W + s·B·A and where it comes from: lora_alpha/r of the adapter's configuration, else 1."""
    alpha = view.metadata.get("lora_alpha")
    if isinstance(alpha, (int, float)) and not isinstance(alpha, bool):
        slim = view.metadata.get("use_rslora") is True
        return float(alpha) / (math.sqrt(rank) if slim else rank), "lora_alpha and r of the adapter's configuration"
    return 1.0, "no lora_alpha was found: the scale is taken as 1"


def merged(base: ModelView, tuned: ModelView) -> tuple[tuple[WeightMatrix, ...], str] | None:
    """The base's matrices with the adapters of `tuned` added, and a note on the scale; None where there are none.

    Adapters that stand inside a whole model are added to that model's own matrices.
    """
    pairs = adapters(tuned)
    if not pairs:
        return None
    factors = {matrix.tensor for pair in pairs for matrix in (pair.down, pair.up)}
    own = [matrix for matrix in tuned.matrices if matrix.tensor not in factors]
    hosts = own or list(base.matrices)
    by_layer = {_plain(matrix.tensor): place for place, matrix in enumerate(hosts)}
    scale, note = scale_of(tuned, pairs[0].rank)
    left = []
    for pair in pairs:
        place = by_layer.get(_plain(pair.layer))
        if place is None or not _fits(hosts[place], pair):
            left.append(pair.layer)
            continue
        hosts[place] = _added(hosts[place], pair, scale_of(tuned, pair.rank)[0])
    missing = f"; {len(left)} of {len(pairs)} adapters fit no layer, first {left[0]}" if left else ""
    return tuple(hosts), f"{len(pairs) - len(left)} adapters merged with s = {scale:g} ({note}){missing}"


def _plain(name: str) -> str:
    return _BEFORE.sub("", name).removesuffix(".weight").replace(".base_layer", "")


def _fits(host: WeightMatrix, pair: Adapter) -> bool:
    return host.groups == 1 and host.rows == pair.up.rows and host.columns == pair.down.columns


def _added(host: WeightMatrix, pair: Adapter, scale: float) -> WeightMatrix:
    def read() -> NDArray[np.generic]:
        step = scale * (pair.up.read()[0].astype(np.float64) @ pair.down.read()[0].astype(np.float64))
        return np.asarray(host.read().astype(np.float64) + step, dtype=np.float32)

    return replace(host, _read=read, dtype="float32")


def without_adapters(view: ModelView, matrices: Sequence[WeightMatrix]) -> ModelView:
    """The view with other matrices: what was merged runs no longer as it was stored."""
    return replace(view, matrices=tuple(matrices), runnable=None)
