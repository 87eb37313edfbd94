"""What a weight is — dense, convolution, embedding, attention, recurrent — and the matrices that it holds."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from critaudit.model import Kind, WeightMatrix
from critaudit.structure import packed
from critaudit.structure.arrays import Array, Layout, Reordered
from critaudit.structure.catalogue import Catalogue, Weight
from critaudit.structure.chain import Chain, Link, natural_order
from critaudit.structure.names import (
    Place,
    is_embedding_layer,
    is_expert_stack,
    is_weight,
    lora_factor,
    place,
)

_EMBEDDING = "rows are the entries of the table, columns their dimensions: rows are looked up, not summed over"
_STORED_TRANSPOSED = "stored as inputs × outputs"
_KERNEL_FIRST = "stored with the kernel first, as TensorFlow and JAX do"
_GPT2 = re.compile(r"c_attn|c_fc|c_proj|q_attn")
_DENSE_MODULES = ("Linear", "LazyLinear", "NonDynamicallyQuantizableLinear")


@dataclass(frozen=True, slots=True)
class Form:
    """How one weight is taken; `order` is that of the axes in the layout where the tensor has them in another."""

    kind: Kind
    layout: Layout
    note: str | None = None
    order: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What classifying one weight needs to know of all others."""

    known: Catalogue
    chain: Chain
    inputs_first: bool | None

    @classmethod
    def of(cls, known: Catalogue, weights: Sequence[Weight], norms: Mapping[str, int]) -> Surroundings:
        """Look at all `weights` once; `norms` gives the length of the normalisation right after a weight."""
        by_name = {weight.name: weight for weight in weights if len(weight.array.shape) >= 2}
        links = [
            Link(name, by_name[name].array.shape, known.bias_length(name), norms.get(name))
            for name in natural_order(list(by_name))
        ]
        return cls(known, Chain(links), _conv1d_style(known, by_name))


def _conv1d_style(known: Catalogue, weights: Mapping[str, Weight]) -> bool | None:
    """Whether layers with GPT-2's names are inputs × outputs (Hugging Face's Conv1D) or not (nanoGPT's Linear).

    The bias tells, else the packed projection's or the feed-forward layer's long side; None where there is no evidence.
    """
    for weight in weights.values():
        where, shape = place(weight.name), weight.array.shape
        if len(shape) != 2 or shape[0] == shape[1] or not _GPT2.fullmatch(where.owner):
            continue
        bias = known.bias_length(weight.name)
        if bias in shape:
            return bias == shape[1]
        if where.owner in ("c_attn", "c_fc"):
            return shape[1] > shape[0]
    return None


def matrices_in(weight: Weight, around: Surroundings) -> list[WeightMatrix]:
    """The weight's matrices, with names not yet made printable; together they hold each of its elements once."""
    form = _form(weight, around)
    packing = packed.recurrent(weight, around.known)
    if packing is not None:
        # The layer is known, so nothing that was guessed from the tensor's shape is worth a note.
        form = replace(form, kind=packing.kind, note=packing.note)
    elif (packing := _shared(weight, form, around.known)) is not None:
        form = replace(form, kind=packing.kind, note=_join(form.note, packing.note))
    if packing is None or not packing.pieces:
        return [_matrix(weight, weight.array, form, "", None)]
    return [
        _matrix(weight, piece.array, Form(form.kind, piece.layout, form.note), piece.label, piece.nonlinearity)
        for piece in packing.pieces
    ]


def _shared(weight: Weight, form: Form, known: Catalogue) -> packed.Packing | None:
    """Attention or gated projections that share the weight; a convolution is one only where its name says all three."""
    if form.kind == "linear":
        inputs_first = form.layout.inputs_first
        return packed.attention(weight, known, inputs_first) or packed.gated(weight, inputs_first)
    if form.kind == "conv":
        packing = packed.attention(weight, known, inputs_first=False)
        return packing if packing is not None and packing.note is not None else None
    return None


def _matrix(weight: Weight, array: Array, form: Form, label: str, nonlinearity: str | None) -> WeightMatrix:
    layout = form.layout
    activation = weight.hint.activation if weight.hint is not None else None
    return WeightMatrix(
        name=weight.name + label,
        kind=form.kind,
        shape=array.shape,
        dtype=array.dtype,
        groups=layout.groups,
        rows=layout.rows,
        columns=layout.columns,
        kernel=layout.kernel,
        activation=nonlinearity or activation,
        tensor=weight.tensor,
        note=_join(form.note, weight.note),
        _read=partial(_read, array if form.order is None else Reordered(array, form.order), layout),
    )


def _read(array: Array, layout: Layout) -> NDArray[np.generic]:
    return layout.blocks(array.read())


def _join(*notes: str | None) -> str | None:
    return "; ".join(note for note in notes if note) or None


def _form(weight: Weight, around: Surroundings) -> Form:
    shape, module = weight.array.shape, _module(weight)
    if "Bilinear" in module and len(shape) == 3:
        note = "one bilinear form per output: blocks are first input × second input"
        return Form("other", Layout((shape[0] * shape[1], shape[2]), groups=shape[0]), note)
    if len(shape) == 2:
        return _dense(weight, around, module)
    hinted = _hinted_convolution(weight, module)
    if hinted is not None:
        return hinted
    where = place(weight.name)
    if len(shape) == 3 and is_expert_stack(weight.name, where):
        return _experts(weight, around, where)
    if where.role == "kernel" and len(shape) <= 5:
        return _jax_kernel(shape, where)
    if len(shape) > 5 or not is_weight(where.role):
        rest = math.prod(shape[1:])
        return Form("other", Layout((shape[0], rest)), "no known layer: the first axis is taken as the outputs")
    guess = around.chain.convolutions[weight.name]
    return _convolution(shape, guess.groups, guess.inputs_first, guess.note)


def _jax_kernel(shape: tuple[int, ...], where: Place) -> Form:
    """Flax's convolutions (*kernel, inputs, outputs), attention (inputs, heads, size), its way out the other way."""
    if len(shape) == 3 and where.owner in ("query", "key", "value"):
        return Form("attention", Layout((shape[0], shape[1] * shape[2]), inputs_first=True), _STORED_TRANSPOSED)
    if len(shape) == 3 and where.owner == "out":
        return Form("linear", Layout((shape[0] * shape[1], shape[2]), inputs_first=True), _STORED_TRANSPOSED)
    axes = len(shape)
    order = (axes - 1, axes - 2, *range(axes - 2))
    return Form("conv", Layout(tuple(shape[axis] for axis in order)), _KERNEL_FIRST, order)


def _module(weight: Weight) -> str:
    return weight.hint.module.removeprefix("Parametrized").removeprefix("Lazy") if weight.hint is not None else ""


def _hinted_convolution(weight: Weight, module: str) -> Form | None:
    if "Conv" not in module or weight.hint is None:
        return None
    shape, groups = weight.array.shape, weight.hint.groups
    if groups < 1 or shape[0] % groups:
        return _convolution(
            shape, 1, "Transpose" in module, f"{groups} groups do not divide its channels: taken as one"
        )
    return _convolution(shape, groups, "Transpose" in module, None)


def _convolution(shape: tuple[int, ...], groups: int, inputs_first: bool, note: str | None) -> Form:
    layout = Layout(shape, groups, inputs_first)
    if inputs_first:
        return Form("transposed_conv", layout, note)
    return Form("depthwise_conv" if groups > 1 and shape[1] == 1 else "conv", layout, note)


def _dense(weight: Weight, around: Surroundings, module: str) -> Form:
    shape = weight.array.shape
    where = place(weight.name)
    factor = lora_factor(weight.name)
    if factor is not None:
        role = "compresses" if factor == "A" else "expands"
        return Form("linear", Layout(shape), f"low-rank adapter: factor {factor} {role}; what acts is the product B·A")
    if module == "Conv1D":
        return Form("linear", Layout(shape, inputs_first=True), _STORED_TRANSPOSED)
    if module in _DENSE_MODULES:
        return Form("linear", Layout(shape))
    bias = around.known.bias_length(weight.name)
    known_module = packed.recurrent_role(where.role) is not None or "Attention" in module
    if (
        where.role == "embedding"
        or module.startswith("Embedding")
        or (bias is None and not known_module and is_embedding_layer(where))
    ):
        return Form("embedding", Layout(shape), _EMBEDDING)
    if _transposed_dense(shape, bias, where, around):
        return Form("linear", Layout(shape, inputs_first=True), _STORED_TRANSPOSED)
    if known_module or is_weight(where.role):
        return Form("linear", Layout(shape))
    return Form("other", Layout(shape), "no known layer: the first axis is taken as the outputs")


def _transposed_dense(shape: tuple[int, ...], bias: int | None, where: Place, around: Surroundings) -> bool:
    """Inputs × outputs: where the bias fits the second axis only, and in models that store these layers so."""
    if bias is not None and bias in shape and shape[0] != shape[1]:
        return bias == shape[1]
    if _GPT2.fullmatch(where.owner) and around.inputs_first is not None:
        return around.inputs_first
    # Raw parameters `proj` and `text_projection` (CLIP) and JAX's kernels multiply from the right.
    return where.role in ("kernel", "proj", "text_projection", "vision_projection")


def _experts(weight: Weight, around: Surroundings, where: Place) -> Form:
    """A stack of matrices (experts, outputs, inputs); the other order where only that fits the layer's second stack."""
    count, first, second = weight.array.shape
    inputs_first = False
    for role, other in (("gate_up_proj", "down_proj"), ("down_proj", "gate_up_proj")):
        partner = around.known.weights.get(where.parent + other)
        if where.role != role or partner is None or len(partner.array.shape) != 3:
            continue
        up, down = (weight, partner) if role == "gate_up_proj" else (partner, weight)
        _, rows, columns = up.array.shape
        _, out, middle = down.array.shape
        inputs_first = (rows, columns) != (2 * middle, out) and (columns, rows) == (2 * out, middle)
    layout = Layout((count * first, second), groups=count, inputs_first=inputs_first)
    return Form("linear", layout, f"{count} experts" + (", stored as inputs × outputs" if inputs_first else ""))
