"""The one way from a source's tensors to its weight matrices and its coverage ledger."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from critaudit.contents import LayerHint, LeftOut
from critaudit.model import LedgerEntry, WeightMatrix
from critaudit.structure import names
from critaudit.structure.catalogue import Catalogue, Weight, catalogue
from critaudit.structure.layers import Surroundings, matrices_in
from critaudit.structure.ledger import Counted, Names
from critaudit.tensors import FLOATS, TensorRef
from critaudit.text import printable

Status: TypeAlias = Literal["analysed", "skipped", "lost"]
_RAW_ATTENTION = frozenset({"in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"})


@dataclass(frozen=True, slots=True)
class _Skip:
    """Why a tensor is no weight matrix, and whether it is trained all the same. `elements`: how many, if packed."""

    reason: str
    trained: bool
    elements: int | None = None


def arrange(
    tensors: Mapping[str, TensorRef], hints: Mapping[str, LayerHint], left_out: Sequence[LeftOut]
) -> tuple[tuple[WeightMatrix, ...], tuple[LedgerEntry, ...]]:
    """The weight matrices in `tensors`, and what became of every tensor and of everything that was left out before.

    Nothing is read. `hints` say what layer a tensor belongs to; where there is none, names and shapes decide, and the
    matrix's `note` names each guess. The matrices of a tensor hold each of its elements once. Parameters are counted
    once however many names they have; biases, normalisation, positions and tokens are parameters but no matrices;
    buffers are neither. Names in the results are printable and unique.
    """
    known = catalogue(tensors, hints)
    skips = {name: skip for name, weight in known.weights.items() if (skip := _skip(weight, known)) is not None}
    weights = [weight for name, weight in known.weights.items() if name not in skips]
    around = Surroundings.of(known, weights, _norms_after(known, skips))
    books = _Books(tensors, known.helpers)
    # Of several names for the same memory, one that a layer gives its weight goes before one that says nothing.
    telling_first = sorted(weights, key=lambda weight: weight.hint is None and not _says_weight(weight))
    entered = {weight.name for weight in telling_first if books.enter(weight)}
    matrices = [matrix for weight in weights if weight.name in entered for matrix in matrices_in(weight, around)]
    for name, skip in skips.items():
        books.skip(known.weights[name], skip)
    return books.close(matrices, left_out)


def _says_weight(weight: Weight) -> bool:
    return names.is_weight(names.place(weight.name).role)


class _Books:
    """The ledger in the making: status, reason and parameters by tensor."""

    def __init__(self, tensors: Mapping[str, TensorRef], helpers: Mapping[str, str]) -> None:
        self._tensors = tensors
        self._counted = Counted()
        self._lines: dict[str, tuple[bool, str | None, int]] = {name: (False, why, 0) for name, why in helpers.items()}

    def enter(self, weight: Weight) -> bool:
        """Book a weight as analysed; False where its memory was booked before, and it is skipped."""
        refs = {member: self._tensors[member] for member in weight.members}
        owners = {member: self._counted.owner(ref) for member, ref in refs.items()}
        if all(owner is not None for owner in owners.values()):
            for member, owner in owners.items():
                self._lines[member] = (False, f"the same memory as {owner}", 0)
            return False
        if len(refs) == 1 and self._counted.inside(refs[weight.tensor]):
            self._lines[weight.tensor] = (False, "a part of memory that is analysed under other names", 0)
            return False
        for member, ref in refs.items():
            reason = weight.note if len(refs) == 1 else f"through {printable(weight.name)}, {weight.note}"
            self._lines[member] = (True, reason, self._counted.add(member, ref))
        return True

    def skip(self, weight: Weight, skip: _Skip) -> None:
        """Book tensors that are no matrix."""
        for member in weight.members:
            ref = self._tensors[member]
            owner = self._counted.owner(ref) if skip.trained else None
            new = self._counted.add(member, ref) if skip.trained else 0
            if owner is not None:
                self._lines[member] = (False, f"the same memory as {owner}", 0)
            else:
                self._lines[member] = (False, skip.reason, new if skip.elements is None else skip.elements)

    def close(
        self, matrices: Sequence[WeightMatrix], left_out: Sequence[LeftOut]
    ) -> tuple[tuple[WeightMatrix, ...], tuple[LedgerEntry, ...]]:
        """Everything under printable, unique names."""
        names_shown = Names()
        shown = dict(zip(self._tensors, names_shown.show_all(list(self._tensors)), strict=True))
        entries = []
        for name, ref in self._tensors.items():
            analysed, reason, parameters = self._lines[name]
            text = printable(reason) if reason is not None else None
            status: Status = "analysed" if analysed else "skipped"
            entries.append(LedgerEntry(shown[name], ref.shape, ref.dtype, status, text, parameters))
        entries.extend(_left_out(item, names_shown.show(item.name)) for item in left_out)
        # A matrix that is a whole tensor goes by the very name that the ledger shows for it.
        own = [
            shown[matrix.tensor] + matrix.name[len(matrix.tensor) :]
            if matrix.name.startswith(matrix.tensor)
            else matrix.name
            for matrix in matrices
        ]
        taken = Names().show_all(own)
        final = [
            replace(matrix, name=name, tensor=shown[matrix.tensor])
            for matrix, name in zip(matrices, taken, strict=True)
        ]
        return tuple(final), tuple(entries)


def _left_out(item: LeftOut, name: str) -> LedgerEntry:
    """A lost tensor still counts as parameters of the model, so that the coverage does not look better than it is."""
    place = names.place(item.name)
    counts = item.lost and item.dtype in FLOATS and not names.is_buffer(place.role, item.shape)
    parameters = math.prod(item.shape) if counts else 0
    status: Status = "lost" if item.lost else "skipped"
    return LedgerEntry(name, item.shape, printable(item.dtype), status, printable(item.reason), parameters)


def _norms_after(known: Catalogue, skips: Mapping[str, _Skip]) -> dict[str, int]:
    """Length of the normalisation that comes right after a weight in the source's order."""
    found: dict[str, int] = {}
    last: str | None = None
    for name, weight in known.weights.items():
        skip = skips.get(name)
        if skip is None:
            last = name
        elif skip.reason == names.NORM_SCALE and last is not None:
            found[last] = math.prod(weight.array.shape)
            last = None
    return found


def _skip(weight: Weight, known: Catalogue) -> _Skip | None:
    """Why the weight is no matrix, or None where it is one."""
    ref, where = known.tensors[weight.tensor], names.place(weight.name)
    module = weight.hint.module if weight.hint is not None else ""
    combined = len(weight.members) > 1 or weight.array.dtype != ref.dtype or weight.note is not None
    if (weight.hint is not None and weight.hint.buffer) or (not combined and names.is_buffer(where.role, ref.shape)):
        return _Skip("buffer: not trained", False)
    bits = _packed_bits(weight, known, where)
    if bits is not None:
        return bits
    if ref.numel == 0:
        return _Skip("no elements", False)
    if ref.dtype.startswith("complex"):
        return _Skip("complex numbers: the laws are those of real matrices", True)
    if ref.dtype not in FLOATS and ref.quantisation is None and not combined:
        return _Skip("true/false values: no weights" if ref.dtype == "bool" else "whole numbers: no weights", False)
    if module in ("Add", "Mul"):
        return _Skip("acts element by element: not a weight matrix", True)
    layered = module.startswith(("Linear", "Conv", "LSTM", "GRU", "RNN", "MultiheadAttention", "Bilinear"))
    vector = len(ref.shape) < 2
    if not layered or vector:
        reason = _norm(weight, known, where, module) or names.added_parameter(where, ref.shape)
        if reason is not None:
            return _Skip(reason, True)
    if where.role not in _RAW_ATTENTION and (names.is_bias(where.role) or _hinted_bias(weight)):
        return _Skip(names.BIAS, True)
    if vector or ref.numel == 1:
        return _Skip(_vector_reason(ref, module), True)
    return None


def _hinted_bias(weight: Weight) -> bool:
    """Whether the source says so: an ONNX graph knows its biases by their use, whatever their names."""
    return weight.hint is not None and not weight.hint.role.startswith("param") and names.is_bias(weight.hint.role)


def _vector_reason(ref: TensorRef, module: str) -> str:
    if "PReLU" in module:
        return "slopes of the nonlinearity"
    return "a single number: not a weight matrix" if ref.numel == 1 else names.VECTOR


def _norm(weight: Weight, known: Catalogue, where: names.Place, module: str) -> str | None:
    """Normalisation by its class, by running statistics beside it, by its name, or by a bias of its own shape."""
    scale = where.role in ("weight", "gamma", "scale", "g")
    shift = where.role in ("bias", "beta")
    if not scale and not shift:
        return names.NORM_SCALE if names.is_norm_module(module) else None
    vector = len(weight.array.shape) == 1
    bias = known.tensors.get(f"{where.parent}bias")
    alone = known.tensors.get(f"{where.parent}weight")
    same = bias is not None and bias.shape == weight.array.shape
    evident = names.is_norm_module(module) or f"{where.parent}running_mean" in known.tensors
    if not evident and vector:
        named = names.is_norm_layer(where.owner)
        partner = named if alone is None else len(alone.shape) == 1
        evident = (scale and (named or same)) or (shift and partner)
    if not evident and not vector:
        evident = same and not shift
    if not evident:
        return None
    return names.NORM_SCALE if scale else names.NORM_SHIFT


def _packed_bits(weight: Weight, known: Catalogue, where: names.Place) -> _Skip | None:
    """GPTQ and AWQ (`qweight` and its helpers), bitsandbytes (`weight` as bytes beside `absmax`), MXFP4 blocks."""
    tensors, base = known.tensors, where.parent
    ref = tensors[weight.tensor]
    if where.role == "qweight" and f"{base}scales" in tensors:
        zeros, scales = tensors.get(f"{base}qzeros"), tensors[f"{base}scales"]
        bits = 4
        if zeros is not None and len(zeros.shape) == len(scales.shape) == 2 and scales.shape[1] > 0:
            bits = 32 * zeros.shape[1] // scales.shape[1]
        bits = bits if bits in (2, 3, 4, 8) else 4
        return _Skip(names.PACKED.replace("4", str(bits)), True, ref.nbytes * 8 // bits)
    if ref.dtype == "uint8" and where.role == "weight" and f"{base}weight.absmax" in tensors:
        return _Skip(names.PACKED, True, 2 * ref.numel)
    if where.role in ("weight_packed",) or where.role.endswith("_blocks"):
        partner = f"{base}{where.role.replace('_packed', '_scale').replace('_blocks', '_scales')}"
        if partner in tensors and ref.dtype not in FLOATS:
            return _Skip(names.PACKED, True, ref.nbytes * 2)
    helper = names.is_packed_bits(where.role) or ".weight." in weight.name
    owners = ("qweight", "weight.absmax", "weight_packed")
    if helper and any(f"{base}{owner}" in tensors for owner in owners):
        return _Skip("helper of packed weights", False)
    return _Skip("helper of packed weights", False) if _in_quant_state(weight.name, tensors) else None


def _in_quant_state(name: str, tensors: Mapping[str, TensorRef]) -> bool:
    head, found, _ = name.rpartition(".weight.")
    return bool(found) and f"{head}.weight" in tensors and f"{head}.weight.absmax" in tensors
