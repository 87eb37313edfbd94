"""The weights of a source by name, put together from the tensors that hold them, with the company they keep."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from critaudit.contents import LayerHint
from critaudit.structure.arrays import Array, Stored
from critaudit.structure.combined import Pruned, scaled, spectral_norm, weight_norm
from critaudit.structure.names import place, says_transposed
from critaudit.tensors import FLOATS, TensorRef

_PARAMETRISED = re.compile(r"^(.*?)parametrizations\.([^.]+)\.(original\d?)$", re.DOTALL)


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A trainable array under the name that its layer knows it by, and the tensors that it is made of.

    `members` are the tensors whose elements are its parameters; the first one has its shape.
    """

    name: str
    array: Array
    members: tuple[str, ...]
    hint: LayerHint | None
    note: str | None = None

    @property
    def tensor(self) -> str:
        """The tensor that has the weight's shape."""
        return self.members[0]


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """All weights by name; and why other tensors are only helpers of a weight (singular vectors, masks, scales)."""

    tensors: Mapping[str, TensorRef]
    weights: dict[str, Weight] = field(default_factory=dict)
    helpers: dict[str, str] = field(default_factory=dict)

    def bias_length(self, name: str) -> int | None:
        """Length of the bias beside the weight `name`, None where there is none."""
        where = place(name)
        for role in ("bias", where.role.replace("weight", "bias"), f"{where.role}_bias"):
            bias = self.tensors.get(where.parent + role)
            if role != where.role and bias is not None and len(bias.shape) == 1:
                return bias.shape[0]
        return None

    def weight_beside(self, path: str, role: str = "weight") -> Weight | None:
        """The weight of the layer at `path` (with no separator at its end)."""
        return self.weights.get(f"{path}.{role}") or self.weights.get(f"{path}/{role}")


def catalogue(tensors: Mapping[str, TensorRef], hints: Mapping[str, LayerHint]) -> Catalogue:
    """Put pairs and triples together; every other tensor stands for itself."""
    made = Catalogue(tensors)
    for name in tensors:
        weight = _combined(made, name, hints)
        if weight is not None:
            made.weights[weight.name] = weight
    claimed = made.helpers.keys() | {member for weight in made.weights.values() for member in weight.members}
    ordered: dict[str, Weight] = {}
    by_tensor = {weight.tensor: weight for weight in made.weights.values()}
    for name, ref in tensors.items():
        if name in by_tensor:
            ordered[by_tensor[name].name] = by_tensor[name]
        elif name not in claimed and name not in ordered:
            ordered[name] = Weight(name, Stored(ref), (name,), hints.get(name))
    made.weights.clear()
    made.weights.update(ordered)
    return made


def _combined(made: Catalogue, name: str, hints: Mapping[str, LayerHint]) -> Weight | None:
    """The weight whose main tensor is `name`, where it takes more than that tensor; its helpers are noted."""
    if (found := _PARAMETRISED.match(name)) is not None:
        return _parametrised(made, name, found[1], found[2], found[3], hints)
    if name.endswith("_v") and (magnitude := made.tensors.get(f"{name[:-2]}_g")) is not None:
        return _weight_normed(made, name[:-2], name, f"{name[:-2]}_g", magnitude, hints)
    if name.endswith("_orig"):
        return _reparametrised(made, name, hints)
    if name.endswith("weight"):
        return _scaled(made, name, hints)
    return None


def _hint(hints: Mapping[str, LayerHint], *names: str) -> LayerHint | None:
    return next((hints[name] for name in names if name in hints), None)


def _numbers(made: Catalogue, name: str) -> Stored | None:
    ref = made.tensors.get(name)
    return Stored(ref) if ref is not None and (ref.dtype in FLOATS or ref.quantisation is not None) else None


def _free(made: Catalogue, name: str) -> str:
    """`name`, unless the source has a tensor of that very name as well."""
    return name if name not in made.tensors else f"{name} (effective)"


def _weight_normed(
    made: Catalogue, logical: str, v: str, g: str, magnitude: TensorRef, hints: Mapping[str, LayerHint]
) -> Weight | None:
    direction, size = _numbers(made, v), _numbers(made, g)
    if direction is None or size is None or len(direction.shape) < 2 or not 0 < magnitude.numel <= direction.ref.numel:
        return None
    array = weight_norm(direction, size)
    if array is None:
        return None
    return Weight(_free(made, logical), array, (v, g), _hint(hints, v, g, logical), "weight norm: g·v/‖v‖")


def _parametrised(
    made: Catalogue, name: str, path: str, role: str, which: str, hints: Mapping[str, LayerHint]
) -> Weight | None:
    prefix = f"{path}parametrizations.{role}."
    logical = path + role
    if which == "original1":
        magnitude = made.tensors.get(f"{prefix}original0")
        return (
            None if magnitude is None else _weight_normed(made, logical, name, f"{prefix}original0", magnitude, hints)
        )
    if which == "original":
        weight = _spectral(made, logical, name, f"{prefix}0._u", f"{prefix}0._v", hints)
        own = _numbers(made, name)
        if weight is None and own is not None and len(own.shape) > 1:
            note = "the tensor under an unknown parametrisation, as stored"
            if f"{prefix}0.base" in made.tensors:
                made.helpers[f"{prefix}0.base"] = "buffer: base of the orthogonal parametrisation"
            weight = Weight(_free(made, logical), own, (name,), _hint(hints, name, logical), note)
        return weight
    return None


def _reparametrised(made: Catalogue, name: str, hints: Mapping[str, LayerHint]) -> Weight | None:
    logical = name.removesuffix("_orig")
    weight, mask = _numbers(made, name), made.tensors.get(f"{logical}_mask")
    if weight is not None and mask is not None and mask.shape == weight.shape and len(weight.shape) > 1:
        made.helpers[f"{logical}_mask"] = "buffer: pruning mask"
        array = Pruned(weight, Stored(mask))
        return Weight(_free(made, logical), array, (name,), _hint(hints, name, logical), "pruned: weight·mask")
    return _spectral(made, logical, name, f"{logical}_u", f"{logical}_v", hints)


def _spectral(
    made: Catalogue, logical: str, name: str, u_name: str, v_name: str, hints: Mapping[str, LayerHint]
) -> Weight | None:
    weight, u, v = _numbers(made, name), _numbers(made, u_name), _numbers(made, v_name)
    if weight is None or u is None or len(weight.shape) < 2 or 0 in weight.shape:
        return None
    hint = _hint(hints, name, logical)
    outputs_second = "Transpose" in hint.module if hint is not None else says_transposed(place(logical))
    array = spectral_norm(weight, u, v, outputs_second=outputs_second)
    if array is None:
        return None
    for helper in (u_name, v_name):
        if helper in made.tensors:
            made.helpers[helper] = "buffer: singular vector of the spectral norm"
    return Weight(_free(made, logical), array, (name,), hint, "spectral norm: weight/σ")


def _scaled(made: Catalogue, name: str, hints: Mapping[str, LayerHint]) -> Weight | None:
    """8-bit weights with their scales beside them (bitsandbytes LLM.int8, compressed-tensors, DeepSeek's fp8 tiles)."""
    ref = made.tensors[name]
    if ref.quantisation is not None or not (ref.dtype == "int8" or ref.dtype.startswith("float8")):
        return None
    base = name.removesuffix("weight")
    for helper, divisor in ((f"{base}SCB", 127.0), (f"{name}_scale_inv", 1.0), (f"{name}_scale", 1.0)):
        scale = _numbers(made, helper)
        array = None if scale is None else scaled(Stored(ref), scale, divisor)
        if array is not None:
            made.helpers[helper] = "scales of an 8-bit weight"
            return Weight(name, array, (name,), hints.get(name), "8-bit weight times its scales")
    return None
