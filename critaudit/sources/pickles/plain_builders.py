"""Our own constructors for what honest pickles build from Python's standard library and NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from critaudit.errors import CorruptFileError, SourceError
from critaudit.sources.pickles.inert import Builder, Named, Restorable, StoredBytes, plain_key
from critaudit.sources.pytorch.stored_tensors import Refused, TensorLike, in_memory, known_shape, swapped
from critaudit.tensors import Storage, TensorRef

_Charge = Callable[[int], None]
# NumPy's kind and size → element type.
_ARRAY_TYPES = {
    "f8": "float64",
    "f4": "float32",
    "f2": "float16",
    "i8": "int64",
    "i4": "int32",
    "i2": "int16",
    "i1": "int8",
    "u8": "uint64",
    "u4": "uint32",
    "u2": "uint16",
    "u1": "uint8",
    "b1": "bool",
    "c8": "complex64",
    "c16": "complex128",
}


def _mapping(args: tuple[object, ...], charge: _Charge) -> object:
    """dict(), OrderedDict([[key, value], …]), Counter({…})."""
    if not args:
        return {}
    if len(args) != 1 or type(args[0]) not in (dict, list, tuple):
        return NotImplemented
    content = args[0]
    charge(100 * len(content))  # type: ignore[arg-type]
    if type(content) is dict:
        return dict(content)
    made: dict[object, object] = {}
    for pair in content:  # type: ignore[attr-defined]
        if type(pair) not in (list, tuple) or len(pair) != 2:
            return NotImplemented
        made[plain_key(pair[0])] = pair[1]
    return made


def _defaultdict(args: tuple[object, ...], charge: _Charge) -> object:
    return _mapping(args[1:], charge)


def _sequence(args: tuple[object, ...], charge: _Charge) -> object:
    """list, set, frozenset, deque: all kept as lists."""
    if not args:
        return []
    if type(args[0]) not in (list, tuple):
        return NotImplemented
    charge(64 + 8 * len(args[0]))  # type: ignore[arg-type]
    return list(args[0])  # type: ignore[call-overload]


def _tuple(args: tuple[object, ...], charge: _Charge) -> object:
    if len(args) == 1 and type(args[0]) is tuple:
        return args[0]
    made = _sequence(args, charge)
    return tuple(made) if type(made) is list else made


def _bytes(args: tuple[object, ...], charge: _Charge) -> object:
    """bytes(), bytearray(b"…"), bytearray("…", "latin-1")."""
    if not args:
        return b""
    if len(args) == 1 and isinstance(args[0], (bytes, StoredBytes)):
        return args[0]
    return _encode(args, charge)


def _encode(args: tuple[object, ...], charge: _Charge) -> object:
    """_codecs.encode(text, "latin1"): how protocol 2 writes byte strings."""
    if len(args) != 2 or type(args[0]) is not str or args[1] not in ("latin1", "latin-1"):
        return NotImplemented
    charge(len(args[0]))
    try:
        return args[0].encode("latin-1")
    except UnicodeEncodeError:
        raise CorruptFileError("a byte string in the pickle holds characters that are no bytes") from None


def _path(args: tuple[object, ...], charge: _Charge) -> object:
    if not all(type(part) is str for part in args):
        return NotImplemented
    parts = [part for part in args if isinstance(part, str)]
    charge(sum(4 * len(part) + 64 for part in parts))
    return "/".join(parts)


def _complex(args: tuple[object, ...], _: _Charge) -> object:
    if len(args) == 2 and isinstance(args[0], float) and isinstance(args[1], float):
        return complex(args[0], args[1])
    return NotImplemented


@dataclass(slots=True, eq=False)
class _ArrayType(Restorable):
    """numpy.dtype("f4", …); BUILD tells the byte order."""

    text: str
    big_endian: bool = False

    def restore(self, state: object) -> None:
        if type(state) is tuple and len(state) > 1:
            self.big_endian = state[1] == ">"

    @property
    def name(self) -> str | None:
        """PyTorch's name, None where it has none."""
        return _ARRAY_TYPES.get(self.text.lstrip("<>=|"))


def _dtype(args: tuple[object, ...], _: _Charge) -> object:
    if args and type(args[0]) is str:
        return _ArrayType(args[0], args[0].startswith(">"))
    return NotImplemented


@dataclass(slots=True, eq=False)
class Array(TensorLike, Restorable):
    """A NumPy array: (shape, element type, Fortran order, bytes), known after BUILD."""

    content: tuple[object, ...] | None = None
    _resolved: TensorRef | Refused | None = field(default=None, repr=False)

    def restore(self, state: object) -> None:
        """Take (version, shape, dtype, Fortran order, bytes); very old pickles have no version."""
        if type(state) is tuple and len(state) >= 4:
            self.content, self._resolved = state[-4:], None

    def resolve(self) -> TensorRef | Refused:
        """See TensorLike."""
        if self._resolved is None:
            try:
                self._resolved = self._reference()
            except SourceError as error:
                self._resolved = Refused((), "array", str(error), lost=True)
        return self._resolved

    def _reference(self) -> TensorRef | Refused:
        if self.content is None:
            raise CorruptFileError("the array has no content")
        shape, kind, fortran, data = self.content
        if not isinstance(kind, _ArrayType):
            raise CorruptFileError("the array's element type is unclear")
        if kind.name is None:
            return Refused(known_shape(shape), kind.text[:40], "an array of Python objects or texts holds no weights")
        if type(shape) is not tuple:
            raise CorruptFileError("the array's shape is no tuple")
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")  # Python 2 wrote bytes as text; see pickle_literals
        storage: Storage
        if isinstance(data, bytes):
            storage = in_memory(data)
        elif isinstance(data, StoredBytes):
            storage = data.storage
        else:
            raise CorruptFileError("the array's bytes are missing")
        stride = _fortran_stride(shape) if fortran and len(shape) > 1 else None
        return TensorRef(swapped(storage, kind.name) if kind.big_endian else storage, kind.name, shape, 0, stride)


def _fortran_stride(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    if known_shape(shape) != shape:
        return None  # TensorRef says what is wrong with it
    return tuple(math.prod(max(n, 1) for n in shape[:axis]) for axis in range(len(shape)))


def _reconstruct(args: tuple[object, ...], _: _Charge) -> object:
    return Array() if args and isinstance(args[0], Named) else NotImplemented


def _frombuffer(args: tuple[object, ...], _: _Charge) -> object:
    """_frombuffer(buffer, dtype, shape, order): how protocol 5 writes contiguous arrays."""
    if len(args) != 4:
        return NotImplemented
    data, kind, shape, order = args
    return Array((shape, kind, order == "F", data))


def _scalar(args: tuple[object, ...], _: _Charge) -> object:
    """A NumPy number becomes Python's."""
    if len(args) != 2 or not isinstance(args[0], _ArrayType) or args[0].name is None:
        return NotImplemented
    data = args[1].encode("utf-8", "surrogatepass") if isinstance(args[1], str) else args[1]
    kind = np.dtype(args[0].text.lstrip("<>=|")).newbyteorder(">" if args[0].big_endian else "<")
    if not isinstance(data, bytes) or len(data) != kind.itemsize:
        return NotImplemented
    return np.frombuffer(data, kind)[0].item()


PLAIN_BUILDERS: dict[str, Builder] = {
    "collections.OrderedDict": _mapping,
    "collections.Counter": _mapping,
    "collections.defaultdict": _defaultdict,
    "collections.deque": _sequence,
    "builtins.dict": _mapping,
    "builtins.list": _sequence,
    "builtins.set": _sequence,
    "builtins.frozenset": _sequence,
    "builtins.tuple": _tuple,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.complex": _complex,
    "_codecs.encode": _encode,
    **{f"pathlib.{kind}": _path for kind in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")},
    **{f"pathlib._local.{kind}": _path for kind in ("Path", "PosixPath", "WindowsPath", "PurePosixPath")},
    "numpy.dtype": _dtype,
    **{
        f"numpy.{core}.{name}": builder
        for core in ("core", "_core")
        for name, builder in (
            ("multiarray._reconstruct", _reconstruct),
            ("multiarray.scalar", _scalar),
            ("numeric._frombuffer", _frombuffer),
        )
    },
}
