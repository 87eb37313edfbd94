"""Sound tensors whose names promise a structure that is not there: making layers of names and shapes must not crash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.hostile import containers
from tests.hostile.case import ANY, AUDITED, REFUSED, Case, Outcome, Site
from tests.hostile.pickles import WEIGHT

_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "BOOL": 1, "F8_E4M3": 1, "U8": 1, "F64": 8}
Shapes = Mapping[str, tuple[int, ...]]


def cases() -> Iterator[Case]:
    """All cases of this module."""
    for name, attack, shapes in _promises():
        yield _case(name, attack, shapes)
    for name, attack, shapes in _odd_names():
        yield _case(name, attack, shapes)
    for dtype in ("I64", "BOOL", "F8_E4M3", "F16", "BF16", "U8", "F64"):
        expected = REFUSED | AUDITED if dtype in ("I64", "BOOL", "U8") else AUDITED
        yield _case(f"dtype-{dtype}", f"all weights are {dtype}", {"layer.weight": (8, 6)}, expected, dtype=dtype)


def _case(name: str, attack: str, shapes: Shapes, expected: frozenset[Outcome] = ANY, *, dtype: str = "F32") -> Case:
    def build(site: Site) -> Path:
        table, start = {}, 0
        for tensor, shape in shapes.items():
            count = _BYTES[dtype]
            for size in shape:
                count *= size
            table[tensor] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, start + count]}
            start += count
        data = (WEIGHT * (start // len(WEIGHT) + 1))[:start]
        return site.file("model.safetensors", containers.safetensors_file(table, data))

    return Case(f"structure-{name}", "structure", attack, build, expected)


def _promises() -> Iterator[tuple[str, str, Shapes]]:
    yield "weight-norm", "a weight-norm pair that does not fit", {"a.weight_g": (3, 1), "a.weight_v": (8, 6)}
    yield "weight-norm-half", "half a weight-norm pair", {"a.weight_g": (8, 1), "b.weight": (8, 6)}
    yield (
        "parametrization",
        "a parametrised weight whose originals do not fit",
        {"a.parametrizations.weight.original0": (3, 1, 1), "a.parametrizations.weight.original1": (8, 6)},
    )
    yield (
        "spectral-norm",
        "a spectral norm whose vectors do not fit",
        {"a.weight_orig": (8, 6), "a.weight_u": (3,), "a.weight_v": (2,)},
    )
    yield (
        "in-proj",
        "a packed projection whose rows are not three blocks",
        {"a.in_proj_weight": (8, 6), "a.in_proj_bias": (5,)},
    )
    yield "qkv", "a QKV matrix whose rows are not three blocks", {"a.attn.qkv.weight": (8, 6), "a.attn.qkv.bias": (7,)}
    yield (
        "lstm",
        "LSTM gates that are not four",
        {"a.weight_ih_l0": (7, 6), "a.weight_hh_l0": (7, 3), "a.bias_ih_l0": (2,)},
    )
    yield "gru", "GRU gates of two sizes", {"a.weight_ih_l0": (6, 5), "a.weight_hh_l0": (9, 2)}
    yield (
        "lstm-layers",
        "an LSTM of layer 10^30",
        {f"a.weight_ih_l{10**30}": (8, 6), f"a.weight_hh_l{10**30}_reverse": (8, 2)},
    )
    yield "lora", "adapters that do not fit", {"a.lora_A.weight": (4, 6), "a.lora_B.weight": (8, 5), "a.weight": (8, 6)}
    yield (
        "norm-matrix",
        "a batch norm whose mean is a matrix",
        {"bn.running_mean": (8, 6), "bn.running_var": (8,), "bn.weight": (8, 6), "bn.bias": (3,)},
    )
    yield "convolution-empty", "a convolution with a kernel of nothing", {"c.weight": (8, 6, 0, 3), "d.weight": (8, 6)}
    yield "dimensions", "a weight of sixty-four dimensions", {"a.weight": (2, *(1,) * 62, 3), "b.weight": (8, 6)}
    yield "dimensions-more", "a weight of seventy dimensions", {"a.weight": (1,) * 70, "b.weight": (8, 6)}
    yield "scalar", "a weight without dimensions", {"a.weight": (), "b.weight": (8, 6)}
    yield "one", "a matrix of one number", {"a.weight": (1, 1)}
    yield "row", "a matrix of one row, and one of one column", {"a.weight": (1, 500), "b.weight": (500, 1)}
    yield "only-vectors", "only vectors", {"a.bias": (8,), "b.bias": (6,)}
    yield "empty-matrix", "only a matrix of no rows", {"a.weight": (0, 6)}
    yield "chain", "a chain of fifty layers", {f"l{i}.weight": (6, 6) for i in range(50)}
    yield (
        "chain-bias",
        "a chain whose biases do not fit",
        {"a.weight": (8, 6), "a.bias": (7,), "b.weight": (4, 8), "b.bias": (4,)},
    )
    yield "chain-bias-matrix", "a bias that is a matrix", {"a.weight": (8, 6), "a.bias": (8, 1), "b.weight": (4, 8)}
    resnet = {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.weight": (64,),
        "layer1.0.conv1.weight": (1, 1, 1, 1),
        "fc.weight": (0, 512),
    }
    yield "almost-known", "the names of a known network with other shapes", resnet
    yield "many-layers", "fifteen hundred small matrices", {f"blocks.{i}.mlp.fc{i}.weight": (2, 3) for i in range(1500)}


def _odd_names() -> Iterator[tuple[str, str, Shapes]]:
    yield "name-empty", "a tensor without a name", {"": (8, 6)}
    yield "name-dots", "names of dots", {".": (8, 6), "..": (8, 6), "...weight": (8, 6), ".weight": (8, 6)}
    yield (
        "name-prefix",
        "names that are each other's prefix",
        {"a": (8, 6), "a.weight": (8, 6), "a.weight.weight": (8, 6)},
    )
    yield (
        "name-superscript",
        "digits that are no decimal digits",
        {"l.1²3.weight": (8, 6), "②.①.weight": (8, 6), "٣.weight": (8, 6)},
    )
    yield (
        "name-digits",
        "a number of ten thousand digits in a name",
        {f"l{'7' * 10000}.weight": (8, 6), "l2.weight": (6, 8)},
    )
    yield "name-dots-many", "a name of a hundred thousand dots", {"a." * 10**5 + "weight": (8, 6)}
    yield "name-prefixes", "prefixes ten thousand times", {"module." * 10**4 + "weight": (8, 6)}
    yield (
        "name-regular",
        "a name for the nightmares of regular expressions",
        {"a" * 50000 + "!": (8, 6), "0." * 30000 + "x": (8, 6)},
    )
    yield (
        "name-underscore",
        "names of Python's own attributes",
        {"__class__": (8, 6), "__dict__.weight": (8, 6), "forward.weight": (8, 6), "training": (8, 6)},
    )
    yield "name-spaces", "names of spaces", {" ": (8, 6), "  .weight": (8, 6), "\u00a0": (8, 6)}
    yield "name-similar", "names that look alike once made printable", {"a\x1b.weight": (8, 6), "a\\x1b.weight": (8, 6)}
    yield (
        "name-long-similar",
        "long names that differ in the middle",
        {"a" * 4000 + c + "b" * 4000 + ".weight": (8, 6) for c in "xyz"},
    )
