"""Code in what is more than a pickle: TorchScript, torch.export archives, arrays of objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tests.hostile import containers, pickles, rawzip
from tests.hostile.case import ANY, AUDITED, NOT_WHOLE, PARTIAL, REFUSED, Case, Outcome, Site
from tests.hostile.cases_payloads import payload_case
from tests.hostile.payloads import script_on_load, simple
from tests.hostile.pickles import pickled, text, tuple_of
from tests.hostile.rawzip import Member


def cases() -> Iterator[Case]:
    """All cases of this module."""
    yield from _script_archives()
    yield from _exported()
    yield from _exported_lies()
    yield from _script_lies()
    yield from _arrays()


def _script_archives() -> Iterator[Case]:
    def case(name: str, attack: str, make: Callable[[Site], bytes], expected: frozenset[Outcome], proof: str) -> Case:
        return payload_case(
            f"script-{name}", f"TorchScript: {attack}", make, expected, proof, category="export archives"
        )

    yield case(
        "load",
        "code that runs at load (__setstate__)",
        lambda s: containers.script_archive(**script_on_load(s)),
        ANY,
        "torch.jit.load",
    )
    yield case(
        "torch-load",
        "the same through torch.load",
        lambda s: containers.script_archive(**script_on_load(s)),
        ANY,
        "torch.load",
    )
    yield case(
        "forward",
        "code that runs in forward",
        lambda s: containers.script_archive(
            body=f'canary = torch.from_file("{s.canary}", True, 8)\n    return torch.add(x, torch.sum(canary))'
        ),
        AUDITED,
        "torch.jit forward",
    )
    yield case(
        "data",
        "Python opcodes in data.pkl",
        lambda s: containers.script_archive(extra=[(text("evil"), simple(s))]),
        AUDITED,
        "member pickles",
    )
    yield case(
        "constants",
        "Python opcodes in constants.pkl",
        lambda s: containers.script_archive(constants=tuple_of(simple(s))),
        AUDITED,
        "member pickles",
    )
    yield case(
        "debug",
        "Python opcodes in the debug pickle beside the code",
        lambda s: containers.script_archive(more=[Member("m/code/__torch__.py.debug_pkl", pickled(simple(s)))]),
        AUDITED,
        "member pickles",
    )


def _exported() -> Iterator[Case]:
    def case(name: str, attack: str, make: Callable[[Site], bytes], expected: frozenset[Outcome]) -> Case:
        category, proof = "export archives", "torch.export.load"
        return payload_case(
            f"exported-{name}", f".pt2: {attack}", make, expected, proof, file="model.pt2", category=category
        )

    def weight(site: Site) -> bytes:
        entry = containers.exported_weight("weight_1", (8, 6), (6, 1), use_pickle=True)
        inner = containers.zip_checkpoint(prefix=simple(site) + b"0", whole=pickles.tensor())
        member = Member("model/data/weights/weight_1", inner)
        return containers.exported_program(config={"other.weight": entry}, members=[member])

    def opaque(site: Site) -> bytes:
        entry = containers.exported_weight("opaque_obj_0", (), (), use_pickle=True)
        member = Member("model/data/constants/opaque_obj_0", pickled(simple(site)))
        return containers.exported_program(constants={"thing": entry}, members=[member])

    def constant(site: Site) -> bytes:
        entry = containers.exported_weight("tensor_0", (8, 6), (6, 1), use_pickle=True)
        inner = containers.zip_checkpoint(prefix=simple(site) + b"0", whole=pickles.tensor())
        member = Member("model/data/constants/tensor_0", inner)
        return containers.exported_program(constants={"thing": entry}, members=[member])

    def old(site: Site) -> bytes:
        inner = containers.zip_checkpoint([(text("evil"), simple(site))])
        return rawzip.archive(
            [
                Member("version", b"6.1"),
                Member("serialized_exported_program.json", b"{}"),
                Member("serialized_state_dict.pt", inner),
            ]
        )

    yield case("weight", "in a pickled weight", weight, ANY)
    yield case("opaque", "in an opaque constant", opaque, ANY)
    yield case("constant", "in a pickled constant", constant, ANY)
    yield payload_case(
        "exported-old",
        ".pt2 of older releases: in its state dict",
        old,
        AUDITED,
        "member pickles",
        file="model.pt2",
        category="export archives",
    )
    yield payload_case(
        "exported-sample-inputs",
        ".pt2: in its sample inputs",
        lambda s: containers.exported_program(samples=containers.sample_inputs(simple(s) + b"0")),
        AUDITED,
        "member pickles",
        file="model.pt2",
        category="export archives",
    )


def _exported_lies() -> Iterator[Case]:
    """Tables of weights that lie, beside one good weight."""

    def case(name: str, attack: str, entry: object, expected: frozenset[Outcome] = NOT_WHOLE) -> Case:
        def build(site: Site) -> Path:
            return site.file("model.pt2", containers.exported_program(config={"bad.weight": entry}))

        return Case(f"exported-{name}", "export archives", f".pt2: {attack}", build, expected)

    weight = containers.exported_weight
    yield case("traversal", "a weight at ../models/model.json", weight("../../models/model.json", (8, 6), (6, 1)))
    yield case("absolute", "a weight at /etc/passwd", weight("/etc/passwd", (8, 6), (6, 1)))
    yield case("missing", "a weight that is not there", weight("weight_9", (8, 6), (6, 1)))
    yield case("stride-zero", "2^40 elements by stride 0", weight("weight_0", (2**20, 2**20), (0, 0)))
    yield case("stride-negative", "negative strides", weight("weight_0", (8, 6), (-6, 1)))
    yield case("offset", "an offset behind the storage", weight("weight_0", (8, 6), (6, 1), offset=2**62))
    yield case("larger", "a shape larger than its storage", weight("weight_0", (80, 60), (60, 1)))
    yield case("number", "a number for an entry", 7)
    yield case(
        "no-table", "no description of the tensor", {"path_name": "weight_0", "is_param": True, "use_pickle": False}
    )
    symbolic = weight("weight_0", (8, 6), (6, 1))
    meta = {
        "dtype": 99,
        "sizes": [{"as_expr": {"expr_str": "__import__('os')"}}],
        "strides": [],
        "storage_offset": None,
    }
    yield case("symbolic", "a size that is an expression", {**symbolic, "tensor_meta": meta})
    yield case("pickle-flag", "a raw weight that says it is a pickle", {**symbolic, "use_pickle": True})
    for name, attack, table in (
        ("depth", "a table of a million brackets", b"[" * 10**6),
        ("list", "a list for a table", b"[]"),
        ("rubbish", "a table that is no JSON", b"{oops"),
    ):

        def build(site: Site, table: bytes = table) -> Path:
            member = Member("model/data/weights/model_weights_config.json", table)
            kept = [m for m in containers.exported_members() if not m.name.endswith("model_weights_config.json")]
            return site.file("model.pt2", rawzip.archive([*kept, member]))

        yield Case(f"exported-table-{name}", "export archives", f".pt2: {attack}", build, REFUSED)


def _script_lies() -> Iterator[Case]:
    def case(name: str, attack: str, make: Callable[[], bytes], expected: frozenset[Outcome]) -> Case:
        def build(site: Site) -> Path:
            return site.file("model.pt", make())

        return Case(f"script-{name}", "export archives", f"TorchScript: {attack}", build, expected)

    bad = pickles.tensor("0", (80, 60), elements=48)
    yield case(
        "tensor", "a tensor that lies", lambda: containers.script_archive(extra=[(text("bad"), bad)]), AUDITED | PARTIAL
    )
    cyclic = b"}q\0(" + text("weight") + pickles.tensor("0") + text("self") + b"h\0u"
    yield case("cyclic", "a module that holds itself", lambda: containers.script_archive(state_expression=cyclic), ANY)
    yield case(
        "constants-bomb",
        "a constants.pkl of a billion laughs",
        lambda: containers.script_archive(constants=text("ha") + b"\x94" + b"2\x86" * 60),
        ANY,
    )
    yield case(
        "constants-rubbish",
        "a constants.pkl that is no pickle",
        lambda: containers.script_archive(constants=b"\xff"),
        ANY,
    )
    yield case(
        "state-number",
        "a module whose state is a number",
        lambda: containers.script_archive(state_expression=b"K\x07"),
        REFUSED,
    )


def _arrays() -> Iterator[Case]:
    def objects(site: Site) -> bytes:
        return containers.object_array(pickled(simple(site)))

    yield payload_case("npy-objects", "a .npy of objects", objects, REFUSED, "np.load", file="model.npy")
    yield payload_case(
        "npz-objects",
        "an .npz with only an object array",
        lambda s: containers.npz({"w.npy": objects(s)}),
        REFUSED,
        "np.load",
        file="model.npz",
    )
    yield payload_case(
        "npz-objects-beside",
        "an .npz with an object array beside a good one",
        lambda s: containers.npz({"layer.weight.npy": containers.npy(), "evil.npy": objects(s)}),
        ANY,
        "np.load",
        file="model.npz",
    )
    yield payload_case(
        "npz-pickle-member",
        "an .npz with a bare pickle as a member",
        lambda s: containers.npz({"layer.weight.npy": containers.npy(), "evil.pkl": pickled(simple(s))}),
        ANY,
        "member pickles",
        file="model.npz",
    )
    yield payload_case(
        "npz-structured-objects",
        "a structured dtype with an object field",
        lambda s: containers.npz(
            {
                "w.npy": containers.npy(
                    pickled(simple(s)),
                    header="{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (1,), }",
                )
            }
        ),
        REFUSED,
        "np.load",
        file="model.npz",
    )
