"""Packed tensors fall into the matrices that the modules themselves cut them into."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from critaudit.contents import LayerHint
from critaudit.structure import arrange
from critaudit.tensors import MemoryStorage, Quantisation, TensorRef
from tests.structure.models import array_reference, look, parameters


class Counting:
    """A storage that keeps book of the bytes that were asked for."""

    def __init__(self, values: np.ndarray) -> None:
        self._data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.nbytes = self._data.nbytes
        self.key = id(self)
        self.asked = 0

    def read(self, start: int, stop: int) -> bytearray:
        self.asked += stop - start
        return bytearray(self._data[start:stop].tobytes())


@pytest.mark.parametrize("hinted", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, "ifgo"), (nn.GRU, "rzn")])
def test_given_a_recurrent_layer_then_its_gates_are_those_of_torch(
    kind: type[nn.Module], gates: str, bidirectional: bool, hinted: bool
) -> None:
    module = kind(3, 5, num_layers=2, bidirectional=bidirectional)
    matrices, ledger = look(module, hinted=hinted)
    weights = {name: value for name, value in module.named_parameters() if name.startswith("weight")}
    assert len(matrices) == len(weights) * len(gates)
    for name, weight in weights.items():
        for gate, part in zip(gates, weight.detach().chunk(len(gates)), strict=True):
            matrix = matrices[f"{name}[{gate}]"]
            np.testing.assert_array_equal(matrix.read()[0], part)
            assert (matrix.kind, matrix.activation) == ("recurrent", "tanh" if gate in "gn" else "sigmoid")
            assert matrix.tensor == name
    assert sum(entry.parameters for entry in ledger.values()) == parameters(module)


@pytest.mark.parametrize("hinted", [True, False])
def test_given_projected_lstm_cells_and_plain_recurrence_then_each_is_recognised(hinted: bool) -> None:
    module = nn.ModuleDict(
        {"a": nn.LSTM(4, 6, proj_size=2), "b": nn.RNN(3, 5), "c": nn.LSTMCell(3, 4), "d": nn.GRUCell(3, 4)}
    )
    matrices, _ = look(module, hinted=hinted)
    assert {name for name in matrices if name.startswith("a.")} == {
        *(f"a.weight_{side}_l0[{gate}]" for side in ("ih", "hh") for gate in "ifgo"),
        "a.weight_hr_l0",
    }
    assert {name for name in matrices if name.startswith("b.")} == {"b.weight_ih_l0", "b.weight_hh_l0"}
    assert sum(name.startswith("c.") for name in matrices) == 8
    assert sum(name.startswith("d.") for name in matrices) == 6
    assert {matrix.kind for matrix in matrices.values()} == {"recurrent"}


@pytest.mark.parametrize(("module", "onnx", "torch_gates"), [("LSTM", "iofc", "iofg"), ("GRU", "zrh", "zrn")])
@pytest.mark.parametrize("directions", [1, 2])
def test_given_onnx_recurrent_weights_then_gates_go_by_torchs_letters(
    module: str, onnx: str, torch_gates: str, directions: int
) -> None:
    hidden, values = 4, {}
    for letter in onnx:
        for direction in range(directions):
            values[letter, direction] = np.random.default_rng(len(values)).standard_normal((hidden, 3)).astype("f4")
    packed = np.stack([np.concatenate([values[letter, d] for letter in onnx]) for d in range(directions)])
    matrices, ledger = arrange({"w": array_reference(packed)}, {"w": LayerHint(module, "W")}, ())
    found = {matrix.name: matrix.read()[0] for matrix in matrices}
    for (letter, direction), expected in values.items():
        gate = torch_gates[onnx.index(letter)]
        label = gate if directions == 1 else f"{('forward', 'reverse')[direction]} {gate}"
        np.testing.assert_array_equal(found[f"w[{label}]"], expected)
    assert ledger[0].parameters == packed.size == sum(matrix.size for matrix in matrices)
    assert {(matrix.kind, matrix.note) for matrix in matrices} == {("recurrent", None)}


@pytest.mark.parametrize("hinted", [True, False])
def test_given_multihead_attention_then_q_k_v_are_its_thirds(hinted: bool) -> None:
    module = nn.MultiheadAttention(8, 2, add_bias_kv=True)
    matrices, ledger = look(module, hinted=hinted)
    for letter, part in zip("qkv", module.in_proj_weight.detach().chunk(3), strict=True):
        matrix = matrices[f"in_proj_weight[{letter}]"]
        np.testing.assert_array_equal(matrix.read()[0], part)
        assert (matrix.kind, matrix.tensor, matrix.shape) == ("attention", "in_proj_weight", (8, 8))
    assert matrices["out_proj.weight"].kind == "linear"
    assert sum(entry.parameters for entry in ledger.values()) == parameters(module)


@pytest.mark.parametrize("hinted", [True, False])
def test_given_a_transformer_encoder_then_every_parameter_is_accounted_for(hinted: bool) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    module = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(8), enable_nested_tensor=False)
    matrices, ledger = look(module, hinted=hinted)
    assert len(matrices) == 2 * 6
    assert sum(entry.parameters for entry in ledger.values()) == parameters(module)
    reasons = {entry.reason for entry in ledger.values() if entry.status == "skipped"}
    assert reasons == {"bias: not a weight matrix", "normalisation scale", "normalisation shift"}


def arranged(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    tensors = {name: array_reference(np.ones(shape, np.float32)) for name, shape in shapes.items()}
    matrices, _ = arrange(tensors, {}, ())
    assert sum(matrix.size for matrix in matrices) == sum(ref.numel for ref in tensors.values())
    return {matrix.name: (matrix.rows, matrix.columns) for matrix in matrices}


@pytest.mark.parametrize("name", ["attn.qkv", "attn.to_qkv", "self_attn.qkv_proj", "mixer.Wqkv", "self_attn.W_pack"])
def test_given_equal_thirds_then_they_are_split(name: str) -> None:
    assert arranged({f"{name}.weight": (24, 8)}) == {f"{name}.weight[{letter}]": (8, 8) for letter in "qkv"}


def test_given_grouped_queries_then_the_output_projection_tells_the_sizes() -> None:
    found = arranged({"self_attn.qkv_proj.weight": (16, 8), "self_attn.o_proj.weight": (8, 8)})
    assert [found[f"self_attn.qkv_proj.weight[{letter}]"] for letter in "qkv"] == [(8, 8), (4, 8), (4, 8)]


def test_given_fewer_heads_than_width_then_the_output_projection_confirms_the_thirds() -> None:
    found = arranged({"attn.qkv.weight": (12, 8), "attn.proj.weight": (8, 4)})
    assert [found[f"attn.qkv.weight[{letter}]"] for letter in "qkv"] == [(4, 8)] * 3


@pytest.mark.parametrize(
    "shapes",
    [
        {"attention.query_key_value.weight": (24, 8)},
        {"attn.qkv.weight": (24, 8), "attn.attention_biases": (2, 9)},
        {"attn.qkv.weight": (24, 8), "attn.rel_pos.relative_position_bias_table": (9, 2)},
        {"attn.qkv.weight": (24, 8, 1, 1)},
        {"attn.qkv.weight": (17, 8)},
        {"attn.kv.weight": (17, 8)},
    ],
)
def test_given_an_order_that_shapes_do_not_tell_then_the_tensor_stays_whole_and_says_so(
    shapes: dict[str, tuple[int, ...]],
) -> None:
    tensors = {name: array_reference(np.ones(shape, np.float32)) for name, shape in shapes.items()}
    (matrix,), _ = arrange(tensors, {}, ())
    assert matrix.note is not None
    assert "kept whole" in matrix.note
    assert matrix.kind == "attention"


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("attn.kv.weight", "k v"),
        ("attn.to_kv.weight", "k v"),
        ("attn.qk.weight", "q k"),
        ("mlp.gate_up_proj.weight", "gate up"),
        ("mlp.w12.weight", "gate up"),
    ],
)
def test_given_two_projections_in_one_then_they_are_halves(name: str, labels: str) -> None:
    assert arranged({name: (6, 5)}) == {f"{name}[{label}]": (3, 5) for label in labels.split()}


def test_given_separate_projections_then_they_are_attention_but_a_lone_value_head_is_not() -> None:
    shapes = {
        "attn.q_proj": (4, 4),
        "attn.k_proj": (4, 4),
        "bert.query": (4, 4),
        "bert.key": (4, 4),
        "head.value": (1, 4),
    }
    tensors = {f"{name}.weight": array_reference(np.ones(shape, np.float32)) for name, shape in shapes.items()}
    kinds = [matrix.kind for matrix in arrange(tensors, {}, ())[0]]
    assert kinds == ["attention"] * 4 + ["linear"]


def test_splitting_reads_each_part_once() -> None:
    storage = Counting(np.arange(24 * 8, dtype=np.float32))
    matrices, _ = arrange({"attn.qkv.weight": TensorRef(storage, "float32", (24, 8))}, {}, ())
    assert storage.asked == 0
    parts = [matrix.read() for matrix in matrices]
    assert storage.asked == storage.nbytes
    np.testing.assert_array_equal(np.concatenate(parts, axis=1)[0], np.arange(24 * 8).reshape(24, 8))


def test_a_part_of_columns_reads_no_more_than_a_few_rows_beyond_its_own_at_a_time() -> None:
    values = np.random.default_rng(0).standard_normal((64, 192)).astype(np.float32)
    tensors = {
        "h.attn.c_attn.weight": array_reference(values),
        "h.attn.c_attn.bias": array_reference(np.ones(192, "f4")),
    }
    matrices, _ = arrange(tensors, {}, ())
    joined = np.concatenate([matrix.read()[0] for matrix in matrices])
    np.testing.assert_array_equal(joined, values.T)


@pytest.mark.parametrize("axis", [0, 1, None])
def test_given_quantised_weights_then_the_parts_keep_their_own_scales(axis: int | None) -> None:
    rng = np.random.default_rng(0)
    stored = rng.integers(-128, 127, (12, 4)).astype(np.int8)
    count = 1 if axis is None else stored.shape[axis]
    scale, zero = tuple(rng.uniform(0.5, 1, count)), tuple(rng.integers(0, 5, count).astype(float))
    storage = MemoryStorage(np.frombuffer(stored.tobytes(), np.uint8), "q")
    ref = TensorRef(storage, "int8", (12, 4), quantisation=Quantisation(scale, zero, axis))
    matrices, ledger = arrange({"attn.qkv.weight": ref}, {}, ())
    joined = np.concatenate([matrix.read()[0] for matrix in matrices])
    np.testing.assert_array_equal(joined, ref.read())
    assert joined.dtype == np.float32
    assert ledger[0].parameters == 48


def test_given_a_weight_normed_lstm_then_its_gates_are_those_of_the_effective_weight() -> None:
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 4)
    expected = lstm.weight_ih_l0.detach().clone()
    v, g = expected * 3, expected.norm(dim=1, keepdim=True)
    tensors = {
        "weight_ih_l0_g": array_reference(g.numpy()),
        "weight_ih_l0_v": array_reference(v.numpy()),
        "weight_hh_l0": array_reference(lstm.weight_hh_l0.detach().numpy()),
    }
    matrices = {matrix.name: matrix for matrix in arrange(tensors, {}, ())[0]}
    for gate, part in zip("ifgo", expected.chunk(4), strict=True):
        np.testing.assert_allclose(matrices[f"weight_ih_l0[{gate}]"].read()[0], part, rtol=1e-5)
