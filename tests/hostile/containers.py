"""Good small model files of every format, assembled by hand; each takes what a case wants to smuggle into it."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from collections.abc import Iterable, Mapping, Sequence

from tests.hostile import pickles, rawzip
from tests.hostile.pickles import BIAS, STORAGES, WEIGHT, Pair, name_of, number, pickled, text
from tests.hostile.rawzip import Member

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def zip_members(data_pickle: bytes, storages: Mapping[str, bytes] = STORAGES, *, root: str = "archive") -> list[Member]:
    """The members of a torch zip checkpoint."""
    return [
        Member(f"{root}/data.pkl", data_pickle),
        Member(f"{root}/byteorder", b"little"),
        *(Member(f"{root}/data/{key}", data) for key, data in storages.items()),
        Member(f"{root}/version", b"3\n"),
    ]


def zip_checkpoint(
    extra: Iterable[Pair] = (), *, prefix: bytes = b"", whole: bytes | None = None, protocol: int = 2
) -> bytes:
    """A `torch.save` zip. `prefix` are opcodes before the state dict; `whole` replaces the state dict."""
    expression = prefix + (pickles.state(extra) if whole is None else whole)
    return rawzip.archive(zip_members(pickled(expression, protocol=protocol)))


def legacy_checkpoint(
    extra: Iterable[Pair] = (),
    *,
    magic: bytes | None = None,
    protocol: bytes | None = None,
    system: bytes | None = None,
    whole: bytes | None = None,
    keys: bytes | None = None,
    storages: Mapping[str, bytes] = STORAGES,
    counts: Mapping[str, int] | None = None,
) -> bytes:
    """A legacy `torch.save` file: five pickles, then the storages, each behind its number of elements."""
    sound = pickles.named({"protocol_version": number(1001), "little_endian": b"\x88", "type_sizes": b"}"})
    parts = [
        magic or number(LEGACY_MAGIC),
        protocol or number(1001),
        system or sound,
        whole or pickles.state(extra, legacy=True),
        keys or pickles.list_of(*(text(key) for key in storages)),
    ]
    body = b"".join(pickled(part) for part in parts)
    for key, data in storages.items():
        body += struct.pack("<q", (counts or {}).get(key, len(data) // 4)) + data
    return body


def tar_checkpoint(
    extra: Iterable[Pair] = (),
    *,
    storage_entry: bytes | None = None,
    views: bytes | None = None,
    tensor_entry: bytes | None = None,
    members: Sequence[tuple[tarfile.TarInfo, bytes]] = (),
) -> bytes:
    """The oldest format: a tar with `storages`, `tensors` and `pickle`, one 8 × 6 tensor. `members` come first."""
    header = tensor_entry or pickles.tuple_of(number(2), number(1), name_of("torch", "FloatTensor"))
    sizes = struct.pack("<iiqqqqq", 2, 0, 8, 6, 6, 1, 0)
    stored = storage_entry or pickles.tuple_of(number(1), text("cpu"), name_of("torch", "FloatStorage"))
    parts = {
        "storages": pickled(number(1)) + pickled(stored) + struct.pack("<q", 48) + WEIGHT + pickled(views or b"]"),
        "tensors": pickled(number(1)) + pickled(header) + sizes,
        "pickle": pickled(pickles.dict_of([(text("layer.weight"), number(2) + b"Q"), *extra])),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in [*members, *((tarfile.TarInfo(name), data) for name, data in parts.items())]:
            if info.isreg():
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def script_archive(
    *,
    body: str = "return torch.mul(x, 2.0)",
    methods: str = "",
    extra: Iterable[Pair] = (),
    constants: bytes = b")",
    more: Iterable[Member] = (),
    state_expression: bytes | None = None,
) -> bytes:
    """A TorchScript archive of a module M with one weight. `body` is its forward; `methods` are further ones."""
    code = (
        'class M(Module):\n  __parameters__ = ["weight", ]\n  __buffers__ = []\n  weight : Tensor\n  training : bool\n'
        f"  def forward(self: __torch__.M,\n    x: Tensor) -> Tensor:\n    {body}\n{methods}"
    )
    attributes = pickles.dict_of([(text("weight"), pickles.tensor("0")), (text("training"), b"\x89"), *extra])
    module = name_of("__torch__", "M") + b")\x81" + (state_expression or attributes) + b"b"
    return rawzip.archive(
        [
            Member("m/data.pkl", pickled(module)),
            Member("m/code/__torch__.py", code.encode()),
            Member("m/constants.pkl", pickled(constants)),
            Member("m/data/0", WEIGHT),
            Member("m/version", b"3\n"),
            Member("m/byteorder", b"little"),
            *more,
        ]
    )


def _tensor_meta(shape: Sequence[int], stride: Sequence[int], *, offset: int = 0, dtype: int = 7) -> dict[str, object]:
    return {
        "dtype": dtype,
        "sizes": [{"as_int": n} for n in shape],
        "requires_grad": False,
        "device": {"type": "cpu", "index": None},
        "strides": [{"as_int": n} for n in stride],
        "storage_offset": {"as_int": offset},
        "layout": 7,
    }


def exported_program(
    *,
    config: Mapping[str, object] | None = None,
    members: Iterable[Member] = (),
    constants: Mapping[str, object] | None = None,
    model: str | None = None,
    samples: bytes | None = None,
) -> bytes:
    """A `torch.export` archive (.pt2) with one weight. `config` adds or replaces entries of the weights' table."""
    made = exported_members(config=config, constants=constants, model=model, samples=samples)
    return rawzip.archive([*made, *members])


def exported_members(
    *,
    config: Mapping[str, object] | None = None,
    constants: Mapping[str, object] | None = None,
    model: str | None = None,
    samples: bytes | None = None,
) -> list[Member]:
    """The members of a `torch.export` archive."""
    weight = exported_weight("weight_0", (8, 6), (6, 1))
    table = {"config": {"layer.weight": weight, **(config or {})}}
    return [
        Member("model/archive_format", b"pt2"),
        Member("model/archive_version", b"0"),
        Member("model/byteorder", b"little"),
        Member("model/.data/version", b"6\n"),
        Member("model/models/model.json", (model or json.dumps(_exported_graph())).encode()),
        Member("model/data/weights/weight_0", WEIGHT),
        Member("model/data/weights/model_weights_config.json", json.dumps(table).encode()),
        Member("model/data/constants/model_constants_config.json", json.dumps({"config": constants or {}}).encode()),
        Member("model/data/sample_inputs/model.pt", samples or sample_inputs()),
    ]


def sample_inputs(prefix: bytes = b"") -> bytes:
    """The example inputs of an exported program: ((x,), {})."""
    return zip_checkpoint(prefix=prefix, whole=pickles.tuple_of(pickles.tuple_of(pickles.tensor("0")), b"}"))


def exported_weight(
    path: str, shape: Sequence[int], stride: Sequence[int], *, use_pickle: bool = False, offset: int = 0
) -> dict[str, object]:
    """One entry of a `.pt2` weights table."""
    return {
        "path_name": path,
        "is_param": True,
        "use_pickle": use_pickle,
        "tensor_meta": _tensor_meta(shape, stride, offset=offset),
    }


def _exported_graph() -> dict[str, object]:
    values = {"p": _tensor_meta((8, 6), (6, 1)), "x": _tensor_meta((8, 6), (6, 1)), "y": _tensor_meta((8, 6), (6, 1))}
    arguments = [
        {"name": name, "arg": {"as_tensor": {"name": value}}, "kind": 1}
        for name, value in (("self", "x"), ("other", "p"))
    ]
    node = {
        "target": "torch.ops.aten.mul.Tensor",
        "inputs": arguments,
        "outputs": [{"as_tensor": {"name": "y"}}],
        "metadata": {},
        "is_hop_single_tensor_return": None,
        "name": "y",
    }
    graph = {
        "inputs": [{"as_tensor": {"name": "p"}}, {"as_tensor": {"name": "x"}}],
        "outputs": [{"as_tensor": {"name": "y"}}],
        "nodes": [node],
        "tensor_values": values,
        **{f"sym_{kind}_values": {} for kind in ("int", "bool", "float")},
        "is_single_tensor_return": False,
        "custom_obj_values": {},
    }
    signature = {
        "input_specs": [
            {"parameter": {"arg": {"name": "p"}, "parameter_name": "layer.weight"}},
            {"user_input": {"arg": {"as_tensor": {"name": "x"}}}},
        ],
        "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "y"}}}}],
    }
    return {
        "graph_module": {
            "graph": graph,
            "signature": signature,
            "module_call_graph": [{"fqn": "", "signature": None}],
            "metadata": {},
            "treespec_namedtuple_fields": {},
        },
        "opset_version": {"aten": 10},
        "range_constraints": {},
        "schema_version": {"major": 8, "minor": 20},
        "verifiers": ["TRAINING"],
        "torch_version": "2.15.0",
        "guards_code": [],
    }


def safetensors_file(
    table: Mapping[str, object] | None = None, data: bytes = WEIGHT + BIAS, *, header: bytes | None = None
) -> bytes:
    """A safetensors file; `table` replaces the header's entries, `header` its bytes."""
    sound = {
        "layer.weight": {"dtype": "F32", "shape": [8, 6], "data_offsets": [0, 192]},
        "layer.bias": {"dtype": "F32", "shape": [8], "data_offsets": [192, 224]},
    }
    told = json.dumps(sound if table is None else table).encode() if header is None else header
    return struct.pack("<Q", len(told)) + told + data


def npy(data: bytes = WEIGHT, *, header: str | None = None, version: int = 1, length: int | None = None) -> bytes:
    """A .npy array; `header` replaces the dict literal, `length` the header length that is claimed."""
    sound = "{'descr': '<f4', 'fortran_order': False, 'shape': (8, 6), }"
    told = (sound if header is None else header).encode("utf-8") + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(told) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + told + data


def npz(members: Mapping[str, bytes]) -> bytes:
    """A .npz archive of ready-made members."""
    return rawzip.archive([Member(name, data) for name, data in members.items()])


def object_array(payload: bytes) -> bytes:
    """A .npy array of dtype object, whose pickle is `payload`."""
    return npy(payload, header="{'descr': '|O', 'fortran_order': False, 'shape': (1,), }")
