"""Code in what is more than a pickle: TorchScript, torch.export archives, arrays of objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.hostile import containers, pickles
from tests.hostile.case import ANY, AUDITED, REFUSED, Case, Outcome, Site
from tests.hostile.cases_payloads import payload_case
from tests.hostile.payloads import script_on_load, simple
from tests.hostile.pickles import pickled, text, tuple_of
from tests.hostile.rawzip import Member


def cases() -> Iterator[Case]:
    """All cases of this module."""
    yield from _script_archives()
    yield from _exported()
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
        return containers.rawzip.archive(
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
