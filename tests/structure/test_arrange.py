"""The ledger accounts for every tensor once, whatever it is called and whatever it is."""

from __future__ import annotations

import math
import string
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from critaudit.contents import LayerHint, LeftOut
from critaudit.structure import arrange
from critaudit.tensors import DTYPES, MemoryStorage, TensorRef
from critaudit.text import printable
from tests.structure.models import array_reference, look, parameters, reference

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)


def described(shapes: dict[str, tuple[int, ...]], dtype: str = "float32") -> dict[str, TensorRef]:
    """Tensors of zeros, by name and shape."""
    return {
        name: TensorRef(MemoryStorage(np.zeros(math.prod(shape) * DTYPES[dtype][0], np.uint8), name), dtype, shape)
        for name, shape in shapes.items()
    }


class TiedModel(nn.Module):
    """An embedding whose weight is the output head's as well, once more transposed, and a vector of its memory."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.body = nn.Linear(4, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("transposed", self.embed.weight.detach().t())


@pytest.mark.parametrize("hinted", [True, False])
def test_given_tied_weights_then_they_count_once(hinted: bool) -> None:
    module = TiedModel()
    matrices, ledger = look(module, hinted=hinted)
    assert list(matrices) == ["embed.weight", "body.weight"]
    assert ledger["head.weight"].reason == "the same memory as embed.weight"
    assert ledger["head.weight"].parameters == 0
    assert sum(entry.parameters for entry in ledger.values()) == parameters(module)


def test_given_a_transposed_or_reshaped_view_then_it_is_the_same_memory() -> None:
    weight = torch.arange(12.0).reshape(3, 4)
    views = {"a.weight": weight, "b.weight": weight.t(), "c.weight": weight.reshape(4, 3), "d.weight": weight[:, None]}
    _, ledger = arrange({name: reference(view) for name, view in views.items()}, {}, ())
    assert [entry.status for entry in ledger] == ["analysed", "skipped", "skipped", "skipped"]
    assert {entry.reason for entry in ledger[1:]} == {"the same memory as a.weight"}
    assert sum(entry.parameters for entry in ledger) == 12


def test_given_views_of_parts_then_each_element_counts_once() -> None:
    flat = torch.arange(24.0)
    views = {
        "flat_param": flat,
        "a.weight": flat[:12].reshape(3, 4),
        "b.weight": flat[12:20].reshape(2, 4),
        "whole.weight": flat[:20].reshape(5, 4),
    }
    _, ledger = arrange({name: reference(view) for name, view in views.items()}, {}, ())
    lines = {entry.name: entry for entry in ledger}
    assert lines["whole.weight"].reason == "a part of memory that is analysed under other names"
    assert [lines[name].parameters for name in views] == [4, 12, 8, 0]


def test_given_different_parts_of_one_storage_then_they_are_not_tied() -> None:
    flat = torch.arange(24.0)
    views = {"a.weight": flat[:12].reshape(3, 4), "b.weight": flat[12:].reshape(3, 4)}
    matrices, ledger = arrange({name: reference(view) for name, view in views.items()}, {}, ())
    assert len(matrices) == 2
    assert sum(entry.parameters for entry in ledger) == 24


def test_given_a_buffer_on_shared_memory_then_the_parameter_still_counts() -> None:
    mean = torch.ones(2, 3)
    tensors = {"running_mean": reference(mean), "fc.weight": reference(mean)}
    _, ledger = arrange(tensors, {}, ())
    assert [entry.parameters for entry in ledger] == [0, 6]


@pytest.mark.parametrize(
    ("name", "shape", "reason", "counts"),
    [
        ("bn1.running_mean", (4,), "buffer: not trained", False),
        ("bn1.num_batches_tracked", (), "buffer: not trained", False),
        ("embeddings.position_ids", (1, 8), "buffer: not trained", False),
        ("h.0.attn.bias", (1, 1, 8, 8), "buffer: not trained", False),
        ("attn.rotary_emb.inv_freq", (4,), "buffer: not trained", False),
        ("attn.relative_position_index", (9, 9), "buffer: not trained", False),
        ("attn_mask", (3, 9, 9), "buffer: not trained", False),
        ("fc.bias", (4,), "bias: not a weight matrix", True),
        ("norm1.weight", (4,), "normalisation scale", True),
        ("ln_f.gamma", (4,), "normalisation scale", True),
        ("LayerNorm.beta", (4,), "normalisation shift", True),
        ("mixer.A_log", (8, 4), "decay rates of a state space: no matrix acts with them", True),
        ("blocks.0.ls1.gamma", (4, 1, 1), "layer scale: multiplies each channel", True),
        ("cls_token", (1, 1, 8), "learned token: an input, not a weight matrix", True),
        ("pos_embed", (1, 5, 8), "position embedding: no matrix acts with it", True),
        ("embeddings.position_embeddings.weight", (5, 8), "position embedding: no matrix acts with it", True),
        ("attn.relative_position_bias_table", (9, 2), "position embedding: no matrix acts with it", True),
        ("fc.weight", (0, 4), "no elements", False),
        ("logit_temperature", (), "a single number: not a weight matrix", True),
        ("some_vector", (4,), "a vector: not a weight matrix", True),
    ],
)
def test_what_is_no_matrix_is_skipped_with_its_reason(
    name: str, shape: tuple[int, ...], reason: str, counts: bool
) -> None:
    matrices, (entry,) = arrange(described({name: shape}), {}, ())
    assert not matrices
    assert (entry.status, entry.reason) == ("skipped", reason)
    assert entry.parameters == (math.prod(shape) if counts else 0)


@pytest.mark.parametrize(
    "name",
    [
        "patch_embed.proj.weight",
        "pos_embed.proj.weight",
        "conv_pos.weight",
        "mask_head.weight",
        "norm.linear.weight",
        "rel_pos.mlp.fc1.weight",
        "positional.1.weight",
        "scale_net.weight",
    ],
)
def test_names_that_only_sound_like_something_else_are_analysed(name: str) -> None:
    matrices, _ = arrange(described({name: (4, 3, 3, 3) if "conv" in name or "proj" in name else (4, 3)}), {}, ())
    assert [matrix.name for matrix in matrices] == [name]


@pytest.mark.parametrize(
    ("dtype", "reason", "counts"),
    [
        ("int64", "whole numbers: no weights", 0),
        ("bool", "true/false values: no weights", 0),
        ("complex64", "complex numbers: the laws are those of real matrices", 12),
    ],
)
def test_given_other_kinds_of_numbers_then_the_reason_names_them(dtype: str, reason: str, counts: int) -> None:
    matrices, (entry,) = arrange(described({"fc.weight": (3, 4)}, dtype), {}, ())
    assert not matrices
    assert (entry.reason, entry.parameters, entry.dtype) == (reason, counts, dtype)


def test_given_batch_norm_of_any_name_then_running_statistics_give_it_away() -> None:
    shapes = {f"stages.3.1.{role}": (4,) for role in ("weight", "bias", "running_mean", "running_var")}
    _, ledger = arrange(described(shapes), {}, ())
    assert [entry.reason for entry in ledger[:2]] == ["normalisation scale", "normalisation shift"]
    assert [entry.parameters for entry in ledger] == [4, 4, 0, 0]


def test_given_layer_norm_over_several_axes_then_it_is_no_matrix() -> None:
    for hinted in (True, False):
        matrices, ledger = look(nn.Sequential(nn.Conv2d(3, 4, 3), nn.LayerNorm((4, 5, 5))), hinted=hinted)
        assert list(matrices) == ["0.weight"]
        assert ledger["1.weight"].reason == "normalisation scale"


def test_given_gptq_weights_then_they_are_skipped_but_counted() -> None:
    tensors = described({"q.qweight": (4, 8), "q.qzeros": (1, 1), "q.g_idx": (32,)}, "int32")
    tensors |= described({"q.scales": (1, 8)}, "float16")
    matrices, ledger = arrange(tensors, {}, ())
    assert not matrices
    assert ledger[0].reason == "packed 4-bit weights are not decoded"
    assert [entry.parameters for entry in ledger] == [4 * 8 * 8, 0, 0, 0]
    assert {entry.reason for entry in ledger[1:]} <= {"helper of packed weights", "buffer: not trained"}


def test_given_bitsandbytes_weights_then_they_are_skipped_but_counted() -> None:
    tensors = described({"q.weight": (16, 1), "q.weight.quant_state.bitsandbytes__nf4": (9,)}, "uint8")
    tensors |= described({"q.weight.absmax": (1,), "q.weight.quant_map": (16,)})
    matrices, ledger = arrange(tensors, {}, ())
    assert not matrices
    assert [entry.parameters for entry in ledger] == [32, 0, 0, 0]
    assert ledger[0].reason == "packed 4-bit weights are not decoded"


def test_given_a_hint_that_says_buffer_then_it_is_believed() -> None:
    _, (entry,) = arrange(
        described({"codes.weight": (4, 4)}), {"codes.weight": LayerHint("Quantiser", buffer=True)}, ()
    )
    assert (entry.status, entry.parameters) == ("skipped", 0)


def test_given_things_left_out_before_then_they_end_in_the_ledger() -> None:
    left = (
        LeftOut("optimizer.state", (), "", "optimizer state"),
        LeftOut("fc.weight", (3, 4), "float32", "its storage is missing", lost=True),
        LeftOut("bn.running_mean", (3,), "float32", "its storage is missing", lost=True),
        LeftOut("fc.weight", (3, 4), "float32", "a second copy"),
    )
    _, ledger = arrange({}, {}, left)
    assert [entry.status for entry in ledger] == ["skipped", "lost", "lost", "skipped"]
    assert [entry.parameters for entry in ledger] == [0, 12, 0, 0]
    assert len({entry.name for entry in ledger}) == 4


def test_given_names_that_look_alike_when_shown_then_they_stay_apart_and_plain_ones_keep_theirs() -> None:
    names = ["a\x1b[31m.weight", "a\\x1b[31m.weight", "a\\x1b[31m.weight (2)", "b.weight"]
    matrices, ledger = arrange(described(dict.fromkeys(names, (2, 3))), {}, ())
    assert [entry.name for entry in ledger] == ["a\\x1b[31m.weight (3)", *names[1:]]
    assert [matrix.name for matrix in matrices] == [entry.name for entry in ledger]
    assert [matrix.tensor for matrix in matrices] == [entry.name for entry in ledger]


def test_given_a_part_that_is_called_like_a_tensor_then_both_keep_a_name_of_their_own() -> None:
    matrices, _ = arrange(described({"attn.qkv.weight": (6, 2), "attn.qkv.weight[q]": (2, 2)}), {}, ())
    assert len({matrix.name for matrix in matrices}) == 4


VOCABULARY = """
weight bias qkv attn conv1 deconv weight_g weight_v weight_orig weight_u c_attn weight_ih_l0 weight_hh_l0 running_mean
in_proj_weight embed experts gate_up_proj down_proj lora_A parametrizations original0 original1 original 0 _u _v dw norm
kernel weight_mask pos qweight scales weight_scale absmax SCB <script> ../etc
"""
WORDS = st.sampled_from(VOCABULARY.split())
HOSTILE = st.sampled_from(["", "x" * 10_000, "\x1b[31m", "\u202e", "weight\n"])
NAMES = (
    st.lists(WORDS | HOSTILE, min_size=1, max_size=4).map(".".join) | st.text(string.printable, max_size=12) | st.text()
)
SHAPES = st.lists(st.integers(0, 6), max_size=7).map(tuple)
TENSORS = st.dictionaries(NAMES, st.tuples(SHAPES, st.sampled_from(sorted(DTYPES))), max_size=12)
MODULES = st.sampled_from(
    ["Linear", "Conv1D", "Conv2d", "ConvTranspose3d", "LSTM", "GRU", "RNN", "Embedding", "BatchNorm2d", "Bilinear", "?"]
)
HINTS = st.builds(LayerHint, MODULES, st.sampled_from(["weight", "W", "R", "weight_ih_l0"]), st.integers(-1, 8))


@SETTINGS
@given(tensors=TENSORS, hints=st.dictionaries(st.integers(0, 11), HINTS))
def test_every_tensor_ends_in_the_ledger_and_the_matrices_hold_its_elements_once(
    tensors: dict[str, tuple[tuple[int, ...], str]], hints: dict[int, LayerHint]
) -> None:
    refs = {name: described({name: shape}, dtype)[name] for name, (shape, dtype) in tensors.items()}
    hinted = {name: hints[index] for index, name in enumerate(refs) if index in hints}
    matrices, ledger = arrange(refs, hinted, ())
    assert [entry.shape for entry in ledger] == [ref.shape for ref in refs.values()]
    assert len({entry.name for entry in ledger}) == len(ledger)
    assert len({matrix.name for matrix in matrices}) == len(matrices)
    for text in [entry.name for entry in ledger] + [matrix.name for matrix in matrices]:
        assert text == printable(text) or len(text) <= 250
        assert text.isprintable() or printable(text) == text
    sizes = {entry.name: 0 for entry in ledger}
    for matrix in matrices:
        sizes[matrix.tensor] += matrix.size
        with np.errstate(all="ignore"):
            blocks = matrix.read()
        assert blocks.shape == (matrix.groups, matrix.rows, matrix.columns)
        assert np.issubdtype(blocks.dtype, np.floating)
    for entry in ledger:
        assert sizes[entry.name] in (0, math.prod(entry.shape))
        assert entry.status in ("analysed", "skipped")
        assert entry.status == "analysed" or (entry.reason and not sizes[entry.name])
        assert sizes[entry.name] == 0 or entry.status == "analysed"


@SETTINGS
@given(scale=st.sampled_from([-2.0, 0.5, 4.0]), seed=st.integers(0, 5))
def test_scaling_the_tensors_scales_the_matrices(scale: float, seed: int) -> None:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    shapes = {
        "conv.weight": (4, 3, 3, 3),
        "up.weight": (4, 2, 2, 2),
        "attn.qkv.weight": (12, 4),
        "lstm.weight_ih_l0": (12, 4),
        "lstm.weight_hh_l0": (12, 3),
        "embed.weight": (5, 4),
        "c.weight_v": (4, 6),
    }
    plain = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    magnitude = rng.standard_normal((4, 1))

    def blocks(factor: float) -> list[np.ndarray]:
        tensors = {name: array_reference(values * factor) for name, values in plain.items()}
        tensors["c.weight_g"] = array_reference(magnitude * factor)
        return [matrix.read() for matrix in arrange(tensors, {}, ())[0]]

    for one, other in zip(blocks(1.0), blocks(scale), strict=True):
        # Weight norm takes the direction's size away, but not its sign.
        ratio = other / one
        np.testing.assert_allclose(np.abs(ratio), abs(scale), rtol=1e-10)


def test_ten_thousand_hostile_names_take_no_more_than_seconds() -> None:
    empty = MemoryStorage(np.zeros(64, np.uint8), "one")
    tensors = {f"pos_{'pos_' * 20}{index}.weight": TensorRef(empty, "float32", (4, 1, 2, 2)) for index in range(10_000)}
    tensors |= {"_" * 9_000 + f"pos_{index}!": TensorRef(empty, "float32", (4, 4)) for index in range(200)}
    started = time.process_time()
    _, ledger = arrange(tensors, {}, ())
    assert len(ledger) == 10_200
    assert time.process_time() - started < 10
