"""Code in pickles: every way to run it, in every container and every place of a container."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.hostile import containers, pickles, rawzip
from tests.hostile.case import ANY, AUDITED, NOT_WHOLE, REFUSED, Case, Outcome, Site
from tests.hostile.payloads import Payload, payloads, simple
from tests.hostile.pickles import named, number, pickled, text, tuple_of


def cases() -> Iterator[Case]:
    """All cases of this module."""
    for name, payload in payloads().items():
        yield _in_zip(name, payload)
    yield from _first()
    yield from _torch_containers()


def _in_zip(name: str, payload: Payload) -> Case:
    def build(site: Site) -> Path:
        opcodes = payload.opcodes(site)
        return site.file("model.pt", containers.zip_checkpoint([(text("evil"), opcodes)], protocol=payload.protocol))

    return Case(f"payload-{name}", "payloads", payload.attack, build, payload.expected, payload.proof)


def payload_case(
    name: str,
    attack: str,
    make: Callable[[Site], bytes],
    expected: frozenset[Outcome],
    proof: str,
    *,
    file: str = "model.pt",
    category: str = "containers",
) -> Case:
    return Case(name, category, attack, lambda site: site.file(file, make(site)), expected, proof)


def _first() -> Iterator[Case]:
    """Payloads that run before the benign object, leave nothing behind, or take its place."""

    def evil(site: Site) -> list[tuple[bytes, bytes]]:
        return [(text("evil"), simple(site))]

    yield payload_case(
        "zip-prefix",
        "injected before the state dict and popped",
        lambda s: containers.zip_checkpoint(prefix=simple(s) + b"0"),
        AUDITED,
        "torch.load",
    )
    yield payload_case(
        "zip-whole",
        "the whole pickle is one REDUCE: nothing else is in the file",
        lambda s: containers.zip_checkpoint(whole=simple(s)),
        REFUSED,
        "torch.load",
    )
    yield payload_case(
        "zip-state-of-unknown-call",
        "the state dict is BUILD state of a foreign call",
        lambda s: containers.zip_checkpoint(
            whole=pickles.with_state(pickles.call(pickles.name_of("types", "SimpleNamespace")), pickles.state(evil(s)))
        ),
        AUDITED,
        "torch.load",
    )
    yield payload_case(
        "zip-optimizer-state",
        "inside optimizer state of a checkpoint",
        lambda s: containers.zip_checkpoint(
            whole=named({"model": pickles.state(), "optimizer": named({"state": named({"0": simple(s)})})})
        ),
        AUDITED,
        "torch.load",
    )
    yield payload_case(
        "zip-lightning",
        "inside callbacks and hyper-parameters of a Lightning checkpoint",
        lambda s: containers.zip_checkpoint(
            whole=named(
                {
                    "epoch": number(1),
                    "pytorch-lightning_version": text("2.0"),
                    "state_dict": pickles.state(),
                    "callbacks": named({"ModelCheckpoint": simple(s)}),
                    "hyper_parameters": named({"lr": simple(s)}),
                }
            )
        ),
        AUDITED,
        "torch.load",
        file="model.ckpt",
    )
    yield payload_case(
        "zip-metadata-attribute",
        "inside the _metadata attribute that state dicts carry",
        lambda s: containers.zip_checkpoint(
            whole=pickles.with_state(
                pickles.call(pickles.name_of("collections", "OrderedDict"))
                + b"("
                + text("layer.weight")
                + pickles.tensor()
                + b"u",
                named({"_metadata": simple(s)}),
            )
        ),
        AUDITED,
        "torch.load",
    )
    yield payload_case(
        "zip-nested-deep",
        "forty containers deep",
        lambda s: containers.zip_checkpoint([(text("a"), b"]" * 40 + simple(s) + b"a" * 40)]),
        AUDITED,
        "torch.load",
    )
    yield payload_case(
        "zip-pickle-protocol-0",
        "a torch zip whose pickle is protocol 0 text",
        lambda s: _protocol_zero(s),
        ANY,
        "torch.load",
    )


def _protocol_zero(site: Site) -> bytes:
    payload = b"(dp0\nVevil\np1\ncbuiltins\nexec\np2\n(V" + site.python.encode() + b"\np3\ntp4\nRp5\ns."
    return rawzip.archive(containers.zip_members(payload))


def _torch_containers() -> Iterator[Case]:
    def legacy(name: str, attack: str, expected: frozenset[Outcome], make: Callable[[Site], bytes]) -> Case:
        return payload_case(f"legacy-{name}", f"legacy file: {attack}", make, expected, "torch.load")

    def popped(site: Site, rest: bytes) -> bytes:
        return simple(site) + b"0" + rest

    yield legacy("object", "in the object", AUDITED, lambda s: containers.legacy_checkpoint([(text("e"), simple(s))]))
    yield legacy(
        "magic",
        "before the magic number, in the first pickle",
        ANY,
        lambda s: containers.legacy_checkpoint(magic=popped(s, number(containers.LEGACY_MAGIC))),
    )
    yield legacy(
        "magic-replaced",
        "instead of the magic number",
        REFUSED,
        lambda s: containers.legacy_checkpoint(magic=simple(s)),
    )
    yield legacy(
        "protocol",
        "in the protocol version, the second pickle",
        ANY,
        lambda s: containers.legacy_checkpoint(protocol=popped(s, number(1001))),
    )
    yield legacy(
        "system",
        "in the system information, the third pickle",
        ANY,
        lambda s: containers.legacy_checkpoint(system=simple(s)),
    )
    yield legacy(
        "keys",
        "in the list of storage keys, the fifth pickle",
        ANY,
        lambda s: containers.legacy_checkpoint(keys=popped(s, pickles.list_of(text("0"), text("1")))),
    )
    yield legacy(
        "keys-replaced",
        "instead of the list of storage keys",
        NOT_WHOLE,
        lambda s: containers.legacy_checkpoint(keys=simple(s)),
    )
    yield legacy(
        "module-source",
        "as the class whose source torch compares (a module persistent id)",
        ANY,
        lambda s: containers.legacy_checkpoint(
            [(text("e"), tuple_of(text("module"), simple(s), text("f.py"), text("source")) + b"Q")]
        ),
    )

    def tar(name: str, attack: str, make: Callable[[Site], bytes], expected: frozenset[Outcome], proof: str) -> Case:
        return payload_case(f"tar-{name}", f"legacy tar: {attack}", make, expected, proof, file="model.tar")

    yield tar(
        "pickle", "in its pickle", lambda s: containers.tar_checkpoint([(text("e"), simple(s))]), ANY, "torch.load"
    )
    storage = tuple_of(number(1), text("cpu"), pickles.name_of("torch", "FloatStorage"))
    yield tar(
        "storages",
        "in its storages",
        lambda s: containers.tar_checkpoint(storage_entry=popped(s, storage)),
        ANY,
        "torch.load",
    )
    yield tar("views", "in its views", lambda s: containers.tar_checkpoint(views=popped(s, b"]")), ANY, "torch.load")
    tensor = tuple_of(number(2), number(1), pickles.name_of("torch", "FloatTensor"))
    yield tar(
        "tensors",
        "in its tensors",
        lambda s: containers.tar_checkpoint(tensor_entry=popped(s, tensor)),
        ANY,
        "torch.load",
    )

    def escape(site: Site) -> bytes:
        return containers.tar_checkpoint(members=[(tarfile.TarInfo(str(site.canary)), b"x")])

    yield tar("absolute-member", "a member with an absolute path", escape, ANY, "tar extraction")

    def link(site: Site) -> bytes:
        first = tarfile.TarInfo("link")
        first.type, first.linkname = tarfile.SYMTYPE, str(site.canary.parent)
        return containers.tar_checkpoint(members=[(first, b""), (tarfile.TarInfo(f"link/{site.canary.name}"), b"x")])

    yield tar("link-member", "a symbolic link out of the folder and a member behind it", link, ANY, "tar extraction")
    yield payload_case(
        "plain-pickle",
        "a plain pickle of arrays",
        lambda s: pickled(named({"w": number(1), "evil": simple(s)})),
        ANY,
        "pickle.load",
        file="model.pkl",
    )
    yield payload_case(
        "plain-second-pickle",
        "a second pickle behind the first",
        lambda s: pickled(named({"epoch": number(1)})) + pickled(simple(s)),
        REFUSED,
        "pickle.load",
        file="model.pkl",
    )
    yield from _folders()


def _folders() -> Iterator[Case]:
    def checkpoint(site: Site) -> Path:
        site.file("config.json", json.dumps({"architectures": ["BertModel"], "model_type": "bert"}))
        site.file("pytorch_model.bin", containers.zip_checkpoint([(text("evil"), simple(site))]))
        return site.folder

    def shard(site: Site) -> Path:
        site.file("pytorch_model-00001-of-00001.bin", containers.zip_checkpoint([(text("evil"), simple(site))]))
        weights = dict.fromkeys(("layer.weight", "layer.bias"), "pytorch_model-00001-of-00001.bin")
        site.file("pytorch_model.bin.index.json", json.dumps({"metadata": {}, "weight_map": weights}))
        return site.folder

    def legacy(site: Site) -> Path:
        site.file("pytorch_model.bin", containers.legacy_checkpoint([(text("evil"), simple(site))]))
        return site.folder

    def arguments(site: Site) -> Path:
        site.file("training_args.bin", containers.zip_checkpoint(whole=simple(site)))
        site.file("optimizer.pt", containers.zip_checkpoint(whole=simple(site)))
        site.file("model.safetensors", containers.safetensors_file())
        return site.folder

    for name, attack, build in (
        ("checkpoint", "in pytorch_model.bin", checkpoint),
        ("shard", "in a shard", shard),
        ("legacy", "in a legacy pytorch_model.bin", legacy),
        ("training-arguments", "in training_args.bin and optimizer.pt beside good weights", arguments),
    ):
        yield Case(
            f"folder-{name}", "containers", f"Hugging Face folder: {attack}", build, AUDITED, "folder checkpoints"
        )
