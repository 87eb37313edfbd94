"""Layers are taken as what they do: each block matrix, applied to the unfolded input, is the module's own operator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from critaudit.contents import LayerHint
from critaudit.model import WeightMatrix
from critaudit.structure import arrange
from tests.structure.models import array_reference, look, parameters

SETTINGS = settings(max_examples=20, deadline=None, derandomize=True)


def by_blocks(matrix: WeightMatrix, columns: torch.Tensor) -> torch.Tensor:
    """Apply the blocks to unfolded inputs (groups · columns per group, positions)."""
    blocks = torch.from_numpy(np.ascontiguousarray(matrix.read()))
    apart = columns.reshape(matrix.groups, matrix.columns, -1)
    return torch.bmm(blocks, apart).reshape(matrix.groups * matrix.rows, -1)


def unfolded(values: torch.Tensor, kernel: tuple[int, ...]) -> torch.Tensor:
    """(channels, *space) → (channels · kernel elements, positions), for stride 1 and no padding."""
    windows = values
    for axis, size in enumerate(kernel):
        windows = windows.unfold(axis + 1, size, 1)
    space = len(kernel)
    order = [0, *range(space + 1, 2 * space + 1), *range(1, space + 1)]
    return windows.permute(order).reshape(values.shape[0] * int(np.prod(kernel)), -1)


def convolution(dimensions: int, channels: int, outputs: int, groups: int) -> nn.Module:
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
    return kind(channels, outputs, tuple(range(2, 2 + dimensions)), groups=groups, bias=False)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize(("channels", "outputs", "groups"), [(3, 4, 1), (4, 6, 2), (6, 6, 6), (4, 8, 4)])
def test_given_a_hinted_convolution_then_its_blocks_on_unfolded_input_are_the_convolution(
    dimensions: int, channels: int, outputs: int, groups: int
) -> None:
    torch.manual_seed(0)
    module = convolution(dimensions, channels, outputs, groups)
    (matrix,) = look(module, hinted=True)[0].values()
    values = torch.randn(channels, *[5 + axis for axis in range(dimensions)])
    expected = module(values[None])[0]
    torch.testing.assert_close(by_blocks(matrix, unfolded(values, matrix.kernel)), expected.reshape(outputs, -1))
    assert matrix.kind == ("depthwise_conv" if groups == channels > 1 else "conv")
    assert matrix.fan_in == channels // groups * int(np.prod(matrix.kernel))
    assert matrix.fan_out == outputs // groups * int(np.prod(matrix.kernel))
    assert matrix.size == module.weight.numel()


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize(("channels", "outputs", "groups"), [(3, 4, 1), (4, 6, 2), (6, 6, 6)])
def test_given_a_transposed_convolution_then_its_blocks_are_the_linear_operator(
    dimensions: int, channels: int, outputs: int, groups: int
) -> None:
    torch.manual_seed(0)
    kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dimensions - 1]
    kernel = tuple(range(2, 2 + dimensions))
    module = kind(channels, outputs, kernel, groups=groups, bias=False)
    (matrix,) = look(module, hinted=True)[0].values()
    assert (matrix.kind, matrix.groups, matrix.kernel) == ("transposed_conv", groups, kernel)
    assert (matrix.rows, matrix.columns) == (outputs // groups, channels // groups * int(np.prod(kernel)))
    # A transposed convolution is an ordinary one of the padded input with the kernel turned around.
    values = torch.randn(channels, *[3] * dimensions)
    padding = [size - 1 for size in reversed(kernel) for _ in range(2)]
    columns = unfolded(functional.pad(values, padding), kernel)
    turned = columns.reshape(channels, *kernel, -1).flip(list(range(1, dimensions + 1))).reshape(columns.shape)
    torch.testing.assert_close(by_blocks(matrix, turned), module(values[None])[0].reshape(outputs, -1))


@pytest.mark.parametrize("hinted", [True, False])
def test_given_a_linear_layer_then_the_matrix_is_the_weight_itself(hinted: bool) -> None:
    module = nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 1))
    matrices, ledger = look(module, hinted=hinted)
    assert [(m.name, m.kind, m.rows, m.columns) for m in matrices.values()] == [
        ("0.weight", "linear", 3, 5),
        ("1.weight", "linear", 1, 3),
    ]
    np.testing.assert_array_equal(matrices["0.weight"].read()[0], module[0].weight.detach())
    assert ledger["0.bias"].reason == "bias: not a weight matrix"
    assert sum(entry.parameters for entry in ledger.values()) == parameters(module)


@SETTINGS
@given(outputs=st.integers(1, 6), inputs=st.integers(2, 6), dimensions=st.integers(1, 3))
def test_a_one_by_one_convolution_has_the_blocks_of_the_linear_layer(
    outputs: int, inputs: int, dimensions: int
) -> None:
    weight = np.random.default_rng(outputs).standard_normal((outputs, inputs)).astype(np.float32)
    dense = array_reference(weight)
    conv = array_reference(weight.reshape(outputs, inputs, *[1] * dimensions))
    for hints in ({}, {"a.weight": LayerHint("Linear"), "b.weight": LayerHint(f"Conv{dimensions}d")}):
        (one, other), _ = arrange({"a.weight": dense, "b.weight": conv}, hints, ())
        np.testing.assert_array_equal(one.read(), other.read())
        assert (one.fan_in, one.fan_out) == (other.fan_in, other.fan_out)


def test_given_no_hints_then_a_grey_first_layer_is_ordinary_and_depthwise_layers_are_seen() -> None:
    mnist = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.Conv2d(32, 32, 3), nn.Conv2d(32, 32, 3, groups=32), nn.Conv2d(32, 8, 1)
    )
    kinds = [(matrix.kind, matrix.groups) for matrix in look(mnist)[0].values()]
    assert kinds == [("conv", 1), ("conv", 1), ("depthwise_conv", 32), ("conv", 1)]


def test_given_no_hints_then_grouped_convolutions_are_guessed_and_the_guess_is_noted() -> None:
    block = nn.Sequential(nn.Conv2d(3, 64, 7), nn.Conv2d(64, 128, 1), nn.Conv2d(128, 128, 3, groups=32))
    matrix = look(block)[0]["2.weight"]
    assert (matrix.groups, matrix.rows, matrix.columns) == (32, 4, 36)
    assert matrix.note is not None
    assert "32 groups assumed" in matrix.note


def test_given_no_hints_then_a_squeeze_net_expansion_is_not_taken_for_grouped() -> None:
    class Fire(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 96, 7)
            self.squeeze = nn.Conv2d(96, 16, 1)
            self.expand1x1 = nn.Conv2d(16, 64, 1)
            self.expand3x3 = nn.Conv2d(16, 64, 3)

    assert {matrix.groups for matrix in look(Fire())[0].values()} == {1}


def test_given_names_sorted_as_text_then_the_numbers_give_the_order() -> None:
    layers = {f"layers.{index}.weight": (16, 16, 3, 3) for index in range(12)}
    layers["layers.0.weight"] = (16, 3, 3, 3)
    layers["layers.11.weight"] = (16, 1, 3, 3)
    tensors = {name: array_reference(np.ones(layers[name], np.float32)) for name in sorted(layers)}
    matrices, _ = arrange(tensors, {}, ())
    assert {m.name: m.kind for m in matrices}["layers.11.weight"] == "depthwise_conv"
    assert sum(m.kind == "conv" for m in matrices) == 11


@pytest.mark.parametrize("groups", [1, 2])
def test_given_no_hints_then_the_bias_tells_a_transposed_convolution(groups: int) -> None:
    matrix = look(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 6, 3, groups=groups)))[0]["1.weight"]
    assert (matrix.kind, matrix.groups, matrix.rows, matrix.fan_in) == (
        "transposed_conv",
        groups,
        6 // groups,
        72 // groups,
    )


def test_given_no_hints_and_no_biases_then_the_channels_tell_a_generator() -> None:
    layers: list[nn.Module] = []
    for channels, outputs in ((100, 64), (64, 32), (32, 16)):
        layers += [nn.ConvTranspose2d(channels, outputs, 4, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    generator = nn.Sequential(*layers, nn.ConvTranspose2d(16, 3, 4, bias=False))
    assert {matrix.kind for matrix in look(generator)[0].values()} == {"transposed_conv"}
    mirrored = nn.Sequential(
        nn.Conv2d(3, 16, 4, bias=False), nn.BatchNorm2d(16), nn.Conv2d(16, 32, 4, bias=False), nn.BatchNorm2d(32)
    )
    assert {matrix.kind for matrix in look(mirrored)[0].values()} == {"conv"}


@pytest.mark.parametrize("name", ["deconv1", "upconv", "up", "conv_transpose", "convt2"])
def test_given_no_hints_then_a_square_kernel_is_transposed_by_its_name(name: str) -> None:
    tensors = {f"net.{name}.weight": array_reference(np.ones((4, 4, 2, 2), np.float32))}
    (matrix,), _ = arrange(tensors, {}, ())
    assert matrix.kind == "transposed_conv"


def test_given_upsampling_blocks_then_their_ordinary_convolutions_stay_ordinary() -> None:
    tensors = {f"up.0.block.{i}.conv1.weight": array_reference(np.ones((4, 4, 3, 3), np.float32)) for i in range(2)}
    assert {matrix.kind for matrix in arrange(tensors, {}, ())[0]} == {"conv"}


@pytest.mark.parametrize("hinted", [True, False])
def test_given_an_embedding_then_it_is_kept_as_stored_with_a_note(hinted: bool) -> None:
    module = nn.ModuleDict({"tok_embeddings": nn.Embedding(11, 4), "head": nn.Linear(4, 11)})
    matrices, _ = look(module, hinted=hinted)
    matrix = matrices["tok_embeddings.weight"]
    assert (matrix.kind, matrix.rows, matrix.columns) == ("embedding", 11, 4)
    assert matrix.note is not None
    assert "looked up" in matrix.note
    assert matrices["head.weight"].kind == "linear"


@pytest.mark.parametrize("hinted", [True, False])
def test_given_gpt2_then_its_layers_are_transposed_and_its_mask_is_a_buffer(hinted: bool) -> None:
    width, rng = 4, np.random.default_rng(0)
    shapes = {
        "h.0.attn.bias": (1, 1, 8, 8),
        "h.0.attn.c_attn.weight": (width, 3 * width),
        "h.0.attn.c_attn.bias": (3 * width,),
        "h.0.attn.c_proj.weight": (width, width),
        "h.0.attn.c_proj.bias": (width,),
        "h.0.mlp.c_fc.weight": (width, 16),
        "h.0.mlp.c_fc.bias": (16,),
        "wpe.weight": (8, width),
    }
    values = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    tensors = {name: array_reference(value) for name, value in values.items()}
    hints = {name: LayerHint("Conv1D") for name in shapes if ".c_" in name and name.endswith("weight")}
    found, ledger = arrange(tensors, hints if hinted else {}, ())
    matrices = {matrix.name: matrix.read()[0] for matrix in found}
    packed = values["h.0.attn.c_attn.weight"].T
    for index, letter in enumerate("qkv"):
        expected = packed[index * width : (index + 1) * width]
        np.testing.assert_array_equal(matrices[f"h.0.attn.c_attn.weight[{letter}]"], expected)
    np.testing.assert_array_equal(matrices["h.0.mlp.c_fc.weight"], values["h.0.mlp.c_fc.weight"].T)
    np.testing.assert_array_equal(matrices["h.0.attn.c_proj.weight"], values["h.0.attn.c_proj.weight"].T)
    lines = {entry.name: entry for entry in ledger}
    assert lines["h.0.attn.bias"].parameters == 0
    assert lines["wpe.weight"].reason == "position embedding: no matrix acts with it"
    assert lines["wpe.weight"].parameters == 32


def test_given_nano_gpt_then_the_same_names_are_ordinary_linear_layers() -> None:
    tensors = {
        "h.0.attn.c_attn.weight": array_reference(np.ones((12, 4), np.float32)),
        "h.0.attn.c_proj.weight": array_reference(np.ones((4, 4), np.float32)),
        "h.0.mlp.c_proj.weight": array_reference(np.ones((4, 16), np.float32)),
    }
    matrices = {matrix.name: matrix for matrix in arrange(tensors, {}, ())[0]}
    assert matrices["h.0.attn.c_attn.weight[k]"].rows == 4
    assert matrices["h.0.mlp.c_proj.weight"].columns == 16


@pytest.mark.parametrize("inputs_first", [False, True])
def test_given_stacked_experts_then_each_is_a_block(inputs_first: bool) -> None:
    rng = np.random.default_rng(0)
    up, down = rng.standard_normal((3, 8, 6)).astype("f4"), rng.standard_normal((3, 6, 4)).astype("f4")
    order = (0, 2, 1) if inputs_first else (0, 1, 2)
    tensors = {
        "mlp.experts.gate_up_proj": array_reference(up.transpose(order)),
        "mlp.experts.down_proj": array_reference(down.transpose(order)),
    }
    matrices = {matrix.name: matrix for matrix in arrange(tensors, {}, ())[0]}
    np.testing.assert_array_equal(matrices["mlp.experts.gate_up_proj"].read(), up)
    np.testing.assert_array_equal(matrices["mlp.experts.down_proj"].read(), down)
    assert {(matrix.kind, matrix.groups) for matrix in matrices.values()} == {("linear", 3)}


def test_given_a_bilinear_layer_then_each_output_has_its_form() -> None:
    torch.manual_seed(0)
    module = nn.Bilinear(3, 4, 5, bias=False)
    (matrix,) = look(module, hinted=True)[0].values()
    x, y = torch.randn(3), torch.randn(4)
    torch.testing.assert_close(torch.einsum("i,oij,j->o", x, torch.from_numpy(matrix.read()), y), module(x, y))


def test_given_low_rank_adapters_then_each_factor_is_a_matrix_that_says_so() -> None:
    tensors = {
        "q_proj.lora_A.default.weight": array_reference(np.ones((2, 8), np.float32)),
        "q_proj.lora_B.default.weight": array_reference(np.ones((6, 2), np.float32)),
    }
    notes = [matrix.note for matrix in arrange(tensors, {}, ())[0]]
    assert [note is not None and f"factor {letter}" in note for note, letter in zip(notes, "AB", strict=True)] == [
        True
    ] * 2


def test_given_groups_that_do_not_divide_the_channels_then_the_hint_is_doubted() -> None:
    tensors = {"weight": array_reference(np.ones((4, 2, 3, 3), np.float32))}
    (matrix,), _ = arrange(tensors, {"weight": LayerHint("Conv2d", groups=3)}, ())
    assert matrix.groups == 1
    assert matrix.note is not None
    assert "do not divide" in matrix.note


def test_given_jax_names_then_kernels_are_turned_into_torchs_order() -> None:
    rng = np.random.default_rng(0)
    dense, conv = rng.standard_normal((5, 3)).astype("f4"), rng.standard_normal((2, 3, 4, 6)).astype("f4")
    query, out = rng.standard_normal((6, 2, 3)).astype("f4"), rng.standard_normal((2, 3, 6)).astype("f4")
    values = {"Dense_0/kernel": dense, "Conv_0/kernel": conv, "attn/query/kernel": query, "attn/out/kernel": out}
    values["qkv/kernel"] = conv
    found = {m.name: m for m in arrange({name: array_reference(value) for name, value in values.items()}, {}, ())[0]}
    np.testing.assert_array_equal(found["Dense_0/kernel"].read()[0], dense.T)
    np.testing.assert_array_equal(found["Conv_0/kernel"].read()[0], conv.transpose(3, 2, 0, 1).reshape(6, -1))
    np.testing.assert_array_equal(found["qkv/kernel"].read(), found["Conv_0/kernel"].read())
    assert found["Conv_0/kernel"].shape == (2, 3, 4, 6)
    assert (found["Conv_0/kernel"].kernel, found["Conv_0/kernel"].fan_in) == ((2, 3), 24)
    np.testing.assert_array_equal(found["attn/query/kernel"].read()[0], query.reshape(6, 6).T)
    np.testing.assert_array_equal(found["attn/out/kernel"].read()[0], out.reshape(6, 6).T)
