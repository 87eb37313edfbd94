"""Several matrices packed into one tensor: attention projections, gated projections, the gates of recurrent layers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from critaudit.model import Kind
from critaudit.structure.arrays import Array, Layout
from critaudit.structure.catalogue import Catalogue, Weight
from critaudit.structure.names import Place, place

_QKV = re.compile(
    r"(?:\w{1,24}_)?(?:to_)?w?_?qkv(?:_proj|_linear|_weight)?|W_pack|c_attn|in_proj_weight", re.IGNORECASE
)
_INTERLEAVED = re.compile(r"query_key_value|key_value|qkv_mix", re.IGNORECASE)
_KV = re.compile(r"(?:to_|w|w_|c_|x_|in_proj_)?kv(?:_proj|_linear)?", re.IGNORECASE)
_QK = re.compile(r"(?:to_|w|w_)?qk(?:_proj)?", re.IGNORECASE)
_GATE_UP = re.compile(r"gate_up_proj|gate_and_up(?:_proj)?|gate_up|w12", re.IGNORECASE)
_OUTPUT = ("proj", "out_proj", "o_proj", "c_proj", "dense", "to_out.0", "to_out", "wo", "Wo", "proj_out", "out")
_SEPARATE = re.compile(
    r"((?:to_|add_)?(?:w_?)?)(q|k|v|query|key|value)((?:_proj|_lin|_linear|_layer|_attn)?(?:_weight)?)", re.IGNORECASE
)
_TRIPLES = (("q", "k", "v"), ("query", "key", "value"), ("Q", "K", "V"))
_RECURRENT = re.compile(r"(?:module_)?weight_(ih|hh|hr)(?:_l\d{1,6})?(?:_reverse)?(?:_raw)?")
# PyTorch's gate order and ONNX's, in PyTorch's letters (ONNX calls the LSTM's cell gate c and the GRU's new gate h).
_GATES = {"LSTM": "ifgo", "GRU": "rzn"}
_ONNX_GATES = {"LSTM": "iofg", "GRU": "zrn"}
_LONGEST = 64

INTERLEAVED = "q, k and v are interleaved by head in this tensor, so it is kept whole"
UNDECIDED = "how q, k and v share this tensor cannot be told from names and shapes, so it is kept whole"


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One matrix out of a packed tensor: `label` names it, `nonlinearity` is its gate's own."""

    label: str
    array: Array
    layout: Layout
    nonlinearity: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """What a packed tensor falls into; no pieces and a note where it must be kept whole."""

    kind: Kind
    pieces: tuple[Piece, ...]
    note: str | None = None


def recurrent_role(role: str) -> str | None:
    """ "ih", "hh" or "hr" for a recurrent layer's matrix in PyTorch's naming, else None."""
    found = _RECURRENT.fullmatch(role) if len(role) <= _LONGEST else None
    return found[1] if found is not None else None


def recurrent(weight: Weight, known: Catalogue) -> Packing | None:
    """The gates of an LSTM, GRU or RNN matrix, None where the weight belongs to no recurrent layer."""
    hint, where = weight.hint, place(weight.name)
    role = where.role if hint is None else _last(hint.role)
    which = recurrent_role(role) or recurrent_role(where.role)
    module = _recurrent_module(hint.module) if hint is not None else None
    if module is not None and hint is not None and hint.role in ("W", "R") and len(weight.array.shape) == 3:
        return _onnx_gates(weight.array, module)
    if which is None or len(weight.array.shape) != 2:
        return None
    if which == "hr":
        return Packing("recurrent", (), None)
    rows, columns = weight.array.shape
    count = _gate_count(weight, known, where, which) if module is None else {"LSTM": 4, "GRU": 3}.get(module, 1)
    gates = {4: "ifgo", 3: "rzn"}.get(count or 0)
    if gates is None or rows % len(gates):
        return Packing("recurrent", (), None if count == 1 else "the gates cannot be told apart from the shapes")
    return Packing("recurrent", _cut(weight.array, list(gates), rows // len(gates), columns))


def _last(role: str) -> str:
    return role.split(".")[-2] if role.startswith("parametrizations.") and role.count(".") >= 2 else role


def _recurrent_module(module: str) -> str | None:
    return next((name for name in ("LSTM", "GRU", "RNN") if module.startswith(name)), None)


def _gate_count(weight: Weight, known: Catalogue, where: Place, which: str) -> int | None:
    """Rows over hidden units; these are the columns of weight_hh, or of weight_hr where the output is projected."""
    base = where.parent + where.role
    hh = known.weights.get(base.replace(f"weight_{which}", "weight_hh"))
    hr = known.weights.get(base.replace(f"weight_{which}", "weight_hr"))
    source = hr if hr is not None else hh
    if source is None or len(source.array.shape) != 2 or source.array.shape[1] == 0:
        return None
    count, rest = divmod(weight.array.shape[0], source.array.shape[1])
    return count if rest == 0 else None


def _cut(array: Array, labels: list[str], rows: int, columns: int) -> tuple[Piece, ...]:
    return tuple(
        Piece(
            f"[{label}]",
            array.narrow(0, index * rows, (index + 1) * rows),
            Layout((rows, columns)),
            "tanh" if label in "gn" else "sigmoid",
        )
        for index, label in enumerate(labels)
    )


def _onnx_gates(array: Array, module: str) -> Packing:
    directions, rows, columns = array.shape
    gates = _ONNX_GATES.get(module, "")
    if gates and rows % len(gates):
        return Packing("recurrent", (), "the gates cannot be told apart from the shapes")
    pieces: list[Piece] = []
    for index in range(directions):
        part = array.narrow(0, index, index + 1)
        prefix = "" if directions == 1 else "forward " if index == 0 else "reverse "
        size = rows // max(len(gates), 1)
        for number, gate in enumerate(gates or [""]):
            label = f"[{(prefix + gate).strip()}]" if prefix or gate else ""
            cut = part.narrow(1, number * size, (number + 1) * size)
            nonlinearity = None if not gate else "tanh" if gate in "gn" else "sigmoid"
            pieces.append(Piece(label, cut, Layout((size, columns)), nonlinearity))
    return Packing("recurrent", tuple(pieces))


def attention(weight: Weight, known: Catalogue, inputs_first: bool) -> Packing | None:
    """Queries, keys and values of one projection, None where the name is not that of an attention projection."""
    where = place(weight.name)
    name = where.role if where.role in ("in_proj_weight", "qkv_weight", "qkv") else where.owner
    shape = weight.array.shape
    if len(name) > _LONGEST:
        return None
    if _INTERLEAVED.fullmatch(name):
        return Packing("attention", (), INTERLEAVED)
    if _QKV.fullmatch(name):
        labels = ["q", "k", "v"]
    elif _KV.fullmatch(name):
        labels = ["k", "v"]
    elif _QK.fullmatch(name):
        labels = ["q", "k"]
    else:
        return Packing("attention", ()) if _is_separate(where, known) else None
    # With a bias per head, or a module that makes one, these families order the rows by head first (LeViT, MaxViT).
    if len(shape) != 2 or _per_head(where, known):
        return Packing("attention", (), UNDECIDED)
    axis = 1 if inputs_first else 0
    if name.lower() == "c_attn" and f"{where.outer}q_attn.weight" in known.weights:
        labels = ["k", "v"]
    sizes = _sizes(shape[axis], shape[1 - axis], len(labels), _heads_width(where, known, inputs_first))
    if sizes is None and name == "in_proj_weight" and shape[0] % 3 == 0:
        sizes = [shape[0] // 3] * 3
    if sizes is None or 0 in sizes:
        return Packing("attention", (), UNDECIDED)
    note = "grouped queries: sizes from the output projection" if len(set(sizes)) > 1 else None
    return Packing("attention", _stack(weight.array, labels, sizes, axis), note)


def _is_separate(where: Place, known: Catalogue) -> bool:
    """Whether this is one of a layer's q, k and v projections: at least two of them stand side by side."""
    raw = where.role.lower().endswith("proj_weight")
    found = _SEPARATE.fullmatch(where.role if raw else where.owner)
    if found is None:
        return False
    before, after = (where.parent, "") if raw else (where.outer, f".{where.role}")
    others = next((triple for triple in _TRIPLES if found[2] in triple), ())
    siblings = (f"{before}{found[1]}{other}{found[3]}{after}" for other in others if other != found[2])
    return any(sibling in known.tensors for sibling in siblings)


def _per_head(where: Place, known: Catalogue) -> bool:
    tables = ("attention_biases", "rel_pos.relative_position_bias_table", "rel_pos.mlp.fc1.weight")
    return any(where.outer + table in known.tensors for table in tables)


def _heads_width(where: Place, known: Catalogue, inputs_first: bool) -> int | None:
    """Columns of the attention's output projection: heads × head size, the number of query rows."""
    around = where.parent if where.role in ("in_proj_weight", "qkv_weight", "qkv") else where.outer
    for name in _OUTPUT:
        found = known.weights.get(f"{around}{name}.weight")
        if found is not None and len(found.array.shape) == 2:
            return found.array.shape[0 if inputs_first else 1]
    return None


def _sizes(rows: int, columns: int, parts: int, width: int | None) -> list[int] | None:
    """Rows of each part: equal where that fits the output projection, grouped queries where only that fits."""
    if parts == 2:
        return [rows // 2] * 2 if rows % 2 == 0 else None
    if rows == 3 * (columns if width is None else width):
        return [rows // 3] * 3
    if width is not None and 0 < width < rows and (rows - width) % 2 == 0 and width % ((rows - width) // 2) == 0:
        return [width, (rows - width) // 2, (rows - width) // 2]
    return None


def gated(weight: Weight, inputs_first: bool) -> Packing | None:
    """Gate and up projection of a gated feed-forward layer in one tensor, None where the name says nothing of it."""
    where = place(weight.name)
    name = where.owner if where.role == "weight" else where.role
    shape = weight.array.shape
    axis = 1 if inputs_first else 0
    if len(name) > _LONGEST or not _GATE_UP.fullmatch(name) or len(shape) != 2 or shape[axis] % 2 or shape[axis] == 0:
        return None
    return Packing("linear", _stack(weight.array, ["gate", "up"], [shape[axis] // 2] * 2, axis))


def _stack(array: Array, labels: list[str], sizes: list[int], axis: int) -> tuple[Piece, ...]:
    pieces, start = [], 0
    for label, size in zip(labels, sizes, strict=True):
        part = array.narrow(axis, start, start + size)
        pieces.append(Piece(f"[{label}]", part, Layout(part.shape, inputs_first=axis == 1)))
        start += size
    return tuple(pieces)
