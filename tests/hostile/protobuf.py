"""ONNX models written field by field (protobuf wire format), so that every length can lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.hostile.pickles import WEIGHT


def varint(value: int) -> bytes:
    """A base-128 integer; negative ones take ten bytes, as protobuf has it."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def integer(field: int, value: int) -> bytes:
    """A varint field."""
    return varint(field << 3) + varint(value)


def chunk(field: int, data: bytes | str, *, length: int | None = None) -> bytes:
    """A length-delimited field; `length` lies about it."""
    body = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(body) if length is None else length) + body


def tensor(
    name: str = "layer.weight",
    dims: Iterable[int] = (8, 6),
    *,
    data_type: int = 1,
    raw: bytes | None = WEIGHT,
    external: Mapping[str, str] | None = None,
) -> bytes:
    """A TensorProto with raw data, or with external data described by `external`."""
    body = b"".join(integer(1, n) for n in dims) + integer(2, data_type) + chunk(8, name)
    if external is not None:
        entries = (chunk(1, key) + chunk(2, value) for key, value in external.items())
        return body + b"".join(chunk(13, entry) for entry in entries) + integer(14, 1)
    return body if raw is None else body + chunk(9, raw)


def graph(initializers: Iterable[bytes], *, nodes: Iterable[bytes] = ()) -> bytes:
    """A GraphProto with y = MatMul(x, layer.weight) and further nodes."""
    matmul = chunk(1, "x") + chunk(1, "layer.weight") + chunk(2, "y") + chunk(3, "n") + chunk(4, "MatMul")
    return (
        b"".join(chunk(1, node) for node in [matmul, *nodes])
        + chunk(2, "g")
        + b"".join(chunk(5, tensor) for tensor in initializers)
        + chunk(11, _value("x", 8))
        + chunk(12, _value("y", 6))
    )


def _value(name: str, size: int) -> bytes:
    dimensions = b"".join(chunk(1, integer(1, n)) for n in (1, size))
    return chunk(1, name) + chunk(2, chunk(1, integer(1, 1) + chunk(2, dimensions)))


def model(graph_body: bytes | None = None, *, more: bytes = b"") -> bytes:
    """A ModelProto around a graph."""
    body = graph([tensor()]) if graph_body is None else graph_body
    return integer(1, 9) + chunk(2, "hostile") + chunk(7, body) + chunk(8, chunk(1, "") + integer(2, 17)) + more
