"""The weight, the bias and their layout among the arguments of PyTorch's functions."""

from __future__ import annotations

import math
from typing import Any

from critaudit.init.operations import PRODUCTS, WEIGHT

# Where the bias stands among a weight operation's arguments, where it is not the third.
_BIAS = {"bilinear": 3, "addmm": 0}


def weight_argument(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], *, first: bool) -> Any:
    """The tensor that a weight operation multiplies with; of a plain product the first or the second factor."""
    if name in PRODUCTS:
        return args[0] if first else args[1] if len(args) > 1 else None
    place = WEIGHT[name]
    return args[place] if len(args) > place else kwargs.get("weight", kwargs.get("mat2"))


def bias_argument(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The tensor that a weight operation adds, None without."""
    if name in PRODUCTS or name.startswith("embedding"):
        return None
    place = _BIAS.get(name, 2)
    return args[place] if len(args) > place else kwargs.get("bias", kwargs.get("input") if name == "addmm" else None)


def layout(name: str, weight: Any, taken: Any, made: Any, *, first: bool) -> tuple[int, int]:
    """Inputs per output of a weight operation, and the number of groups of channels that do not mix.

    `taken` is the signal, `made` the output, `first` says that the weight is the first factor of a product. A
    transposed convolution of a stride above one has fewer inputs per output than this, by its stride per axis.
    """
    shape = tuple(weight.shape)
    if name.startswith("conv"):
        batched = taken.ndim == weight.ndim
        transposed = name.startswith("conv_transpose")
        groups = max((made if transposed else taken).shape[1 if batched else 0] // max(shape[1], 1), 1)
        return (shape[0] // groups * math.prod(shape[2:]) if transposed else math.prod(shape[1:])), groups
    if name in PRODUCTS or name == "addmm":
        return (shape[-1] if first or len(shape) < 2 else shape[-2]), 1
    return math.prod(shape[1:]), 1
