"""The ONNX reader against the onnx library: every place where weights can be, every type, and files that lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from critaudit.contents import Contents
from critaudit.errors import CorruptFileError, LimitExceededError, NotAModelError, SourceError
from critaudit.sources.onnx import proto as onnx_proto
from critaudit.sources.onnx import protobuf
from critaudit.sources.onnx.model import looks_like_onnx, read_onnx
from critaudit.tensors import RegularFile

RANDOM = np.random.default_rng(0)


def weight(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def graph(
    nodes: list, constants: dict[str, object], *, inputs: tuple[str, ...] = ("x",), output: str = "y"
) -> onnx.GraphProto:
    tensors = [
        constant if isinstance(constant, TensorProto) else numpy_helper.from_array(np.asarray(constant), name)
        for name, constant in constants.items()
    ]
    return helper.make_graph(nodes, "g", [value(name) for name in inputs], [value(output)], tensors)


def read(tmp_path: Path, made: onnx.GraphProto | onnx.ModelProto) -> Contents:
    model = made if isinstance(made, onnx.ModelProto) else helper.make_model(made)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    return read_onnx(RegularFile(tmp_path / "m.onnx"))


FLOATS = ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"]


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("type_name", FLOATS)
def test_given_floats_raw_or_typed_then_they_are_what_the_library_reads(
    tmp_path: Path, type_name: str, raw: bool
) -> None:
    values = np.linspace(-2, 2, 24, dtype=np.float32).reshape(4, 6)
    type_number = getattr(TensorProto, type_name)
    array = values.astype(helper.tensor_dtype_to_np_dtype(type_number))
    if raw:
        tensor = helper.make_tensor("w", type_number, array.shape, array.tobytes(), raw=True)
    else:
        tensor = helper.make_tensor("w", type_number, array.shape, array.reshape(-1).tolist())
    found = read(tmp_path, graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": tensor})).tensors["w"]
    expected = numpy_helper.to_array(tensor).astype(np.float64)
    np.testing.assert_array_equal(found.read().astype(np.float64), expected)


@pytest.mark.parametrize("code", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_given_integers_typed_or_raw_then_scales_turn_them_into_the_same_numbers(tmp_path: Path, code: str) -> None:
    """Integer storage is exercised through DequantizeLinear, the only way in which integers are weights."""
    info = np.iinfo(code)
    array = np.array([[info.min, info.max, 1], [0, 2, 3]], code)
    number = helper.np_dtype_to_tensor_dtype(np.dtype(code))
    node = helper.make_node("DequantizeLinear", ["w", "s"], ["d"])
    for raw in (True, False):
        data = array.tobytes() if raw else array.reshape(-1).tolist()
        tensor = helper.make_tensor("w", number, array.shape, data, raw=raw)
        nodes = [node, helper.make_node("MatMul", ["x", "d"], ["y"])]
        found = read(tmp_path, graph(nodes, {"w": tensor, "s": np.float32(0.5)})).tensors["w"]
        np.testing.assert_allclose(found.read(), array.astype(np.float32) * np.float32(0.5))


def test_given_values_one_by_one_and_in_pieces_then_they_are_gathered(tmp_path: Path) -> None:
    """Old writers leave repeated fields unpacked; a reader must take both, and mixtures."""
    floats = b"".join(b"\x25" + np.float32(x).tobytes() for x in (1, 2)) + b"\x22\x08" + np.float32([3, 4]).tobytes()
    halves = b"\x28\x80\x78" + b"\x2a\x03\x80\x78\x00"  # 0x3c00 twice (1.0), then 0
    tensor = b"\x08\x02\x08\x02\x10\x01\x42\x01a" + floats
    half = b"\x08\x03\x10\x0a\x42\x01b" + halves
    node = helper.make_node("MatMul", ["x", "a"], ["y"]).SerializeToString()
    body = b"\x0a" + bytes([len(node)]) + node
    body += b"\x2a" + bytes([len(tensor)]) + tensor + b"\x2a" + bytes([len(half)]) + half
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08\x3a" + bytes([len(body)]) + body)
    contents = read_onnx(RegularFile(tmp_path / "m.onnx"))
    np.testing.assert_array_equal(contents.tensors["a"].read(), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(contents.tensors["b"].read(), np.array([1, 1, 0], np.float16))


LAYERS = [
    ("Conv", {"group": 2}, 1, (8, 2, 3, 3), "Conv2d", "weight"),
    ("Conv", {}, 1, (8, 2, 3), "Conv1d", "weight"),
    ("Conv", {}, 1, (8, 2, 3, 3, 3), "Conv3d", "weight"),
    ("ConvTranspose", {"group": 2}, 1, (8, 2, 3, 3), "ConvTranspose2d", "weight"),
    ("Gemm", {"transB": 1}, 1, (8, 2), "Linear", "weight"),
    ("Gemm", {}, 1, (2, 8), "Conv1D", "weight"),
    ("Gemm", {}, 0, (8, 2), "Linear", "weight"),
    ("MatMul", {}, 1, (2, 8), "Conv1D", "weight"),
    ("MatMul", {}, 0, (8, 2), "Linear", "weight"),
    ("LSTM", {"hidden_size": 3}, 1, (1, 12, 5), "LSTM", "W"),
    ("GRU", {"hidden_size": 3}, 2, (1, 9, 3), "GRU", "R"),
    ("RNN", {"hidden_size": 3}, 3, (1, 6), "RNN", "B"),
    ("BatchNormalization", {}, 3, (8,), "BatchNorm", "running_mean"),
    ("LayerNormalization", {}, 1, (8,), "LayerNorm", "weight"),
    ("Add", {}, 1, (1, 8, 1, 1), "Add", "bias"),
]


@pytest.mark.parametrize(("op", "attributes", "slot", "shape", "module", "role"), LAYERS)
def test_given_a_consuming_node_then_it_names_the_layer(
    tmp_path: Path, op: str, attributes: dict[str, int], slot: int, shape: tuple[int, ...], module: str, role: str
) -> None:
    inputs = ["x", "x", "x", "x", "x"][: max(slot + 1, 2)]
    inputs[slot] = "w"
    contents = read(tmp_path, graph([helper.make_node(op, inputs, ["y"], **attributes)], {"w": weight(*shape)}))
    hint = contents.hints["w"]
    assert (hint.module, hint.role, hint.groups) == (module, role, attributes.get("group", 1))
    assert hint.buffer == (role == "running_mean")


def test_given_a_table_then_gather_makes_it_an_embedding(tmp_path: Path) -> None:
    contents = read(tmp_path, graph([helper.make_node("Gather", ["w", "x"], ["y"])], {"w": weight(20, 4)}))
    assert contents.hints["w"].module == "Embedding"


def test_given_transposes_and_casts_on_the_way_then_the_orientation_is_followed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["w"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["c"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    assert read(tmp_path, graph(nodes, {"w": weight(8, 2)})).hints["w"].module == "Linear"


@pytest.mark.parametrize(
    ("after", "activation"),
    [
        ([("Relu", ["h"])], "relu"),
        ([("BatchNormalization", ["h", "k", "k", "k", "k"]), ("Tanh", ["1"])], "tanh"),
        ([("Sigmoid", ["h"]), ("Mul", ["h", "1"])], "silu"),
        ([("Div", ["h", "k"]), ("Erf", ["1"]), ("Add", ["2", "k"]), ("Mul", ["h", "3"])], "gelu"),
        ([("Add", ["h", "k"]), ("Relu", ["1"])], "relu"),
        ([("Add", ["h", "x"]), ("Relu", ["1"])], None),
        ([("Gemm", ["h", "k"])], "identity"),
        ([("Relu", ["h"]), ("Tanh", ["h"])], None),
    ],
)
def test_given_what_follows_a_layer_then_its_nonlinearity_is_found(
    tmp_path: Path, after: list[tuple[str, list[str]]], activation: str | None
) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["h"])]
    nodes += [helper.make_node(op, inputs, [str(number)]) for number, (op, inputs) in enumerate(after, 1)]
    contents = read(tmp_path, graph(nodes, {"w": weight(4, 4, 3), "k": weight(4)}, output=str(len(after))))
    assert contents.hints["w"].activation == activation


def branch(name: str, constant: np.ndarray) -> onnx.GraphProto:
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(constant, "v")),
        helper.make_node("Gemm", ["x", "w"], [name], transB=1),
    ]
    return helper.make_graph(nodes, name, [], [value(name)])


def test_given_weights_in_both_branches_under_one_name_then_both_are_read_under_their_own(tmp_path: Path) -> None:
    then, other = weight(3, 2), weight(4, 2)
    node = helper.make_node(
        "If", ["x"], ["y"], name="which", then_branch=branch("t", then), else_branch=branch("e", other)
    )
    contents = read(tmp_path, graph([node], {}))
    assert set(contents.tensors) == {"which.then_branch.w", "which.else_branch.w"}
    np.testing.assert_array_equal(contents.tensors["which.then_branch.w"].read(), then)
    np.testing.assert_array_equal(contents.tensors["which.else_branch.w"].read(), other)
    assert all(hint.module == "Linear" for hint in contents.hints.values())


def test_given_an_outer_weight_used_in_nested_bodies_then_its_use_is_found(tmp_path: Path) -> None:
    inner = helper.make_graph([helper.make_node("Gemm", ["x", "w"], ["b"], transB=1)], "body", [], [value("b")])
    node = helper.make_node("If", ["x"], ["b"], then_branch=inner, else_branch=inner)
    outer = helper.make_graph([node], "loop", [], [value("b")])
    contents = read(tmp_path, graph([helper.make_node("Loop", ["x"], ["y"], body=outer)], {"w": weight(3, 2)}))
    assert contents.hints["w"].module == "Linear"


def test_given_a_function_then_its_constants_are_read_and_its_parameters_followed(tmp_path: Path) -> None:
    body = [
        helper.make_node("Gemm", ["a", "b"], ["c"], transB=1),
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(weight(3, 3), "v")),
        helper.make_node("MatMul", ["c", "k"], ["d"]),
    ]
    opset = [helper.make_opsetid("", 18)]
    function = helper.make_function("local", "Dense", ["a", "b"], ["d"], body, opset)
    model = helper.make_model(
        graph([helper.make_node("Dense", ["x", "w"], ["y"], domain="local")], {"w": weight(3, 2)}), functions=[function]
    )
    contents = read(tmp_path, model)
    assert contents.hints["w"].module == "Linear"
    assert contents.hints["k"].module == "Conv1D"


def test_given_the_graphs_own_constants_then_they_are_left_out_with_a_reason(tmp_path: Path) -> None:
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(weight(2), "sp"), numpy_helper.from_array(np.array([0, 3]), "i"), [2, 3]
    )
    made = graph(
        [
            helper.make_node("Reshape", ["x", "shape"], ["r"]),
            helper.make_node("Pow", ["r", "two"], ["p"]),
            helper.make_node("Resize", ["p", "", "scales"], ["y"]),
        ],
        {"shape": np.array([1, -1]), "two": np.float32(2), "scales": weight(4), "words": np.array(["a"], object)},
    )
    made.sparse_initializer.append(sparse)
    made.initializer.append(helper.make_tensor("four", TensorProto.INT4, (4,), [1, 2, 3, 4]))
    contents = read(tmp_path, made)
    assert not contents.tensors
    assert {item.name: item.lost for item in contents.left_out} == {
        "shape": False,
        "two": False,
        "scales": False,
        "words": False,
        "sp": True,
        "four": True,
    }


def quantised_graph(kind: str) -> tuple[onnx.GraphProto, np.ndarray]:
    codes = RANDOM.integers(-128, 127, (4, 6)).astype(np.int8)
    scales, zeros = np.array([0.5, 0.25, 1, 2], np.float32), np.array([1, -2, 3, 0], np.int8)
    one, none = np.float32(0.1), np.int8(2)
    if kind == "per axis":
        expected = (codes - zeros[:, None].astype(np.float32)) * scales[:, None]
        nodes = [
            helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=0),
            helper.make_node("Gemm", ["x", "d"], ["y"], transB=1),
        ]
        return graph(nodes, {"w": codes, "s": scales, "z": zeros}), expected
    if kind == "QLinearConv":
        codes = codes.reshape(4, 2, 3)
        nodes = [helper.make_node("QLinearConv", ["x", "s1", "z1", "w", "s", "z", "s1", "z1"], ["y"])]
        expected = (codes - zeros[:, None, None].astype(np.float32)) * scales[:, None, None]
        return graph(nodes, {"w": codes, "s": scales, "z": zeros, "s1": one, "z1": none}), expected
    if kind == "MatMulInteger":
        nodes = [helper.make_node("MatMulInteger", ["x", "w_quantized", "z", "w_zero_point"], ["y"])]
        expected = (codes - np.float32(2)) * one
        return graph(nodes, {"w_quantized": codes, "z": none, "w_zero_point": none, "w_scale": one}), expected
    expected = (codes - np.float32(2)) * one
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    return graph(nodes, {"w": codes, "s": one, "z": none}), expected


@pytest.mark.parametrize("kind", ["per tensor", "per axis", "QLinearConv", "MatMulInteger"])
def test_given_integer_weights_then_they_read_as_the_numbers_they_stand_for(tmp_path: Path, kind: str) -> None:
    made, expected = quantised_graph(kind)
    contents = read(tmp_path, made)
    name = "w_quantized" if kind == "MatMulInteger" else "w"
    np.testing.assert_allclose(contents.tensors[name].read(), expected, rtol=1e-6)
    assert contents.hints[name].module in ("Linear", "Conv1D", "Conv1d")
    kept = {"w_scale"} if kind == "MatMulInteger" else set()
    assert set(contents.tensors) - {name} <= kept, "scales and zero points are no weights"


def test_given_integer_weights_without_a_constant_scale_then_they_are_lost(tmp_path: Path) -> None:
    codes = np.ones((3, 4), np.int8)
    contents = read(tmp_path, graph([helper.make_node("MatMulInteger", ["x", "w"], ["y"])], {"w": codes}))
    assert contents.left_out[0].lost
    blocked = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], block_size=2),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    assert "block-wise" in read(tmp_path, graph(blocked, {"w": codes, "s": weight(3, 2)})).problems[0]


def external(tmp_path: Path, **changes: object) -> Contents:
    """A model with one tensor in weights.bin, 24 bytes at offset 8, after `changes` to where it says they are."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3])
    place: dict[str, object] = {"location": "weights.bin", "offset": 8, "length": 24} | changes
    tensor.data_location = TensorProto.EXTERNAL
    for key, entry in place.items():
        tensor.external_data.add(key=key, value=str(entry))
    if not (tmp_path / "weights.bin").exists():
        (tmp_path / "weights.bin").write_bytes(bytes(8) + np.arange(6, dtype=np.float32).tobytes())
    return read(tmp_path, graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": tensor}))


def test_given_external_data_then_it_is_read_from_beside_the_model(tmp_path: Path) -> None:
    np.testing.assert_array_equal(external(tmp_path).tensors["w"].read(), np.arange(6).reshape(2, 3))
    model = onnx.load(tmp_path / "m.onnx")
    np.testing.assert_array_equal(numpy_helper.to_array(model.graph.initializer[0]), np.arange(6).reshape(2, 3))
    assert external_data_helper.uses_external_data(
        onnx.load(tmp_path / "m.onnx", load_external_data=False).graph.initializer[0]
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"location": "/etc/passwd"},
        {"location": "../weights.bin"},
        {"location": "a/../../weights.bin"},
        {"location": "..\\weights.bin"},
        {"location": "C:\\weights.bin"},
        {"location": ""},
        {"location": "no\0thing"},
        {"location": "missing.bin"},
        {"location": "."},
        {"location": "loop"},
        {"location": "out"},
        {"location": "pipe"},
        {"offset": 16},
        {"offset": -8},
        {"offset": "8e1"},
        {"offset": "9" * 30},
        {"length": 20},
        {"length": 2**60},
    ],
)
def test_given_external_data_elsewhere_or_too_short_then_it_is_lost(tmp_path: Path, changes: dict[str, object]) -> None:
    import os

    inside = tmp_path / "model"
    inside.mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(64))
    (inside / "loop").symlink_to("loop")
    (inside / "out").symlink_to(tmp_path / "weights.bin")
    os.mkfifo(inside / "pipe")
    contents = external(inside, **changes)
    assert not contents.tensors
    assert contents.left_out[0].lost
    assert "\n" not in contents.problems[0]


def test_given_a_hub_cache_then_links_into_its_blobs_are_followed(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--o--n" / "snapshots" / "abc", tmp_path / "models--o--n" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "f00").write_bytes(bytes(8) + np.arange(6, dtype=np.float32).tobytes())
    (snapshot / "weights.bin").symlink_to("../../blobs/f00")
    assert external(snapshot).tensors["w"].read()[1, 2] == 5


def test_given_a_truncated_model_then_whole_tensors_stay_and_the_rest_is_lost(tmp_path: Path) -> None:
    made = graph([helper.make_node("MatMul", ["x", "a"], ["y"])], {"a": weight(4, 4), "b": weight(20, 20)})
    read(tmp_path, made)
    whole = (tmp_path / "m.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(whole[:-300])
    contents = read_onnx(RegularFile(tmp_path / "m.onnx"))
    assert list(contents.tensors) == ["a"]
    lost = {item.name: item.reason for item in contents.left_out if item.lost}
    assert set(lost) == {"rest of the model", "b"}
    assert f"ends after {len(whole) - 300} of at least " in lost["rest of the model"]
    assert "what followed is unknown" in contents.problems[0]


def test_given_a_model_cut_behind_its_tensors_then_it_is_partial_and_no_tensor_is_said_to_be_lost(
    tmp_path: Path,
) -> None:
    read(tmp_path, graph([helper.make_node("MatMul", ["x", "a"], ["y"])], {"a": weight(4, 4)}))
    whole = (tmp_path / "m.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(whole[:-8])
    contents = read_onnx(RegularFile(tmp_path / "m.onnx"))
    assert list(contents.tensors) == ["a"]
    assert [(item.name, item.lost) for item in contents.left_out] == [("rest of the model", True)]


def test_given_a_model_cut_anywhere_then_it_never_looks_whole(tmp_path: Path) -> None:
    constants = {"mean": weight(8), "w": weight(8, 8), "shape": np.array([1, -1])}
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("BatchNormalization", ["r", "k", "k", "mean", "k"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    read(tmp_path, graph(nodes, constants))
    whole = (tmp_path / "m.onnx").read_bytes()
    graph_ends = whole.rindex(b"\x42")  # the operator set follows the graph
    weight_ends = whole.index(constants["w"].tobytes()) + constants["w"].nbytes  # type: ignore[attr-defined]
    for size in range(3, graph_ends):
        (tmp_path / "m.onnx").write_bytes(whole[:size])
        if size < weight_ends:
            with pytest.raises((CorruptFileError, NotAModelError)) as error:
                read_onnx(RegularFile(tmp_path / "m.onnx"))
            assert size < 40 or "before the first whole weight (truncated download?)" in str(error.value)
        else:
            contents = read_onnx(RegularFile(tmp_path / "m.onnx"))
            assert "what followed is unknown" in contents.problems[0]


def test_given_wrong_sizes_and_types_then_the_tensor_is_lost(tmp_path: Path) -> None:
    good = helper.make_tensor("w", TensorProto.FLOAT, (2, 2), weight(2, 2).tobytes(), raw=True)
    for change in (
        {"dims": [2, 3]},
        {"dims": [-2, -2]},
        {"dims": [2**62, 2**62]},
        {"dims": [1] * 70},
        {"data_type": 99},
    ):
        bad = TensorProto()
        bad.CopyFrom(good)
        if "dims" in change:
            del bad.dims[:]
            bad.dims.extend(change["dims"])  # type: ignore[arg-type]
        else:
            bad.data_type = change["data_type"]  # type: ignore[assignment]
        contents = read(tmp_path, graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": bad}))
        assert contents.left_out[0].lost


def test_given_graphs_inside_graphs_without_end_then_they_are_refused(tmp_path: Path) -> None:
    body = b""
    for _ in range(200):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # attribute.g, node.attribute, graph.node
            body = tag + length(body) + body
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08\x3a" + length(body) + body)
    with pytest.raises(LimitExceededError, match="nested"):
        read_onnx(RegularFile(tmp_path / "m.onnx"))


def length(body: bytes) -> bytes:
    out, rest = bytearray(), len(body)
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


def test_given_too_many_fields_or_too_long_names_then_they_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protobuf, "MAX_FIELDS", 1000)
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08" * 2000)
    with pytest.raises(LimitExceededError, match="fields"):
        read_onnx(RegularFile(tmp_path / "m.onnx"))
    name = b"a" * 70_000
    node = b"\x1a" + length(name) + name
    body = b"\x0a" + length(node) + node
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08\x3a" + length(body) + body)
    with pytest.raises(LimitExceededError, match="name"):
        read_onnx(RegularFile(tmp_path / "m.onnx"))


@pytest.mark.parametrize("content", [b"\x00", b"\x0b\x0c", b"\xff" * 20, b"\x08" + b"\x80" * 11 + b"\x01", b"\x3d\x01"])
def test_given_no_protobuf_then_one_line_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises((CorruptFileError, NotAModelError)) as error:
        read_onnx(RegularFile(tmp_path / "m.onnx"))
    assert "\n" not in str(error.value)
    assert not looks_like_onnx(content)


def test_given_models_without_graph_or_constants_then_they_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(NotAModelError, match="no graph"):
        read(tmp_path, onnx.ModelProto(ir_version=8))
    with pytest.raises(NotAModelError, match="no constants"):
        read(tmp_path, graph([helper.make_node("Relu", ["x"], ["y"])], {}))


def test_given_the_beginning_of_a_model_then_it_is_recognised_and_other_files_are_not(tmp_path: Path) -> None:
    read(tmp_path, graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight(64, 64)}))
    content = (tmp_path / "m.onnx").read_bytes()
    assert looks_like_onnx(content[:4096])
    assert looks_like_onnx(content[:40])
    for other in (
        b"",
        b"PK\x03\x04",
        b"\x80\x02}q\x00",
        b"\x93NUMPY\x01\x00",
        b"GGUF\x03\x00",
        b"{}",
        b"\x08\x08",
        b"hello",
    ):
        assert not looks_like_onnx(other)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(position=st.integers(0, 400), byte=st.integers(0, 255), cut=st.integers(0, 60))
def test_given_any_damage_then_the_reader_returns_or_raises_its_own_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, byte: int, cut: int
) -> None:
    damaged = bytearray(FUZZED)
    damaged[position % len(damaged)] = byte
    path = tmp_path_factory.mktemp("fuzz") / "m.onnx"
    path.write_bytes(damaged[: len(damaged) - cut])
    message = None
    try:
        contents = read_onnx(RegularFile(path))
        assert all(reference.read().size == reference.numel for reference in contents.tensors.values())
    except SourceError as error:
        message = str(error)
    assert message is None or (message and "\n" not in message)


FUZZED = helper.make_model(
    graph(
        [
            helper.make_node(
                "If", ["x"], ["h"], then_branch=branch("t", weight(2, 2)), else_branch=branch("e", weight(2, 2))
            ),
            helper.make_node("DequantizeLinear", ["q", "s"], ["d"]),
            helper.make_node("Conv", ["h", "d"], ["y"]),
        ],
        {"q": np.ones((2, 2, 1), np.int8), "s": np.float32(1)},
    )
).SerializeToString()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(numbers=st.lists(st.integers(0, 2**64 - 1), max_size=60))
def test_given_any_numbers_then_packed_varints_decode_to_them(numbers: list[int]) -> None:
    packed = b"".join(varint(number) for number in numbers)
    assert protobuf.decode_varints(np.frombuffer(packed, np.uint8)).tolist() == numbers


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def test_given_the_proto_definition_then_our_field_numbers_are_the_librarys() -> None:
    model = onnx.ModelProto.DESCRIPTOR.fields_by_name
    wires = {number: wire for number, wire in onnx_proto._WIRE_OF_MODEL_FIELD.items() if number != 26}
    assert wires.keys() <= {field.number for field in model.values()}
    numbers = {
        "graph": (onnx.ModelProto, 7),
        "initializer": (onnx.GraphProto, 5),
        "sparse_initializer": (onnx.GraphProto, 15),
        "op_type": (onnx.NodeProto, 4),
        "raw_data": (onnx.TensorProto, 9),
        "external_data": (onnx.TensorProto, 13),
        "graphs": (onnx.AttributeProto, 11),
        "sparse_tensor": (onnx.AttributeProto, 22),
    }
    for name, (message, number) in numbers.items():
        assert message.DESCRIPTOR.fields_by_name[name].number == number
