"""Names that attack whoever reads the report: markup, terminal sequences, bidi overrides, names of a megabyte."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.hostile import containers, pickles, protobuf
from tests.hostile.case import ANY, AUDITED, Case, Site
from tests.hostile.pickles import WEIGHT, dict_of, name_of, named, number, text, with_state

# What is smuggled in, and what must not come out as it is.
NAMES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "script": ("<script>alert(1)</script>", ("<script>alert(1)",)),
    "script-end": ("</script><script>alert(2)//", ("</script><script>alert(2)",)),
    "comment": ("<!--<script>--><img src=x onerror=alert(3)>", ("<img src=x", "<!--<script>")),
    "attribute": ('" onmouseover="alert(4)" x="', ('" onmouseover="alert(4)"',)),
    "template": ("{{987654*12345}}{% raw %}${987654*12345}", ("12192588630",)),
    "ansi": ("a\x1b[31mred\x1b[0m\x1b]8;;http://evil\x07link\x1b]8;;\x07", ("\x1b[31mred", "\x1b]8;;http://evil")),
    "title": ("\x1b]0;pwned\x07\x1b[2J\x1b[H\x9b31m", ("\x1b]0;", "\x1b[2J", "\x9b")),
    "bidi": ("a\u202egnp.exe\u2066b\u2069\u200b", ("\u202e", "\u2066", "\u200b")),
    "nul": ("a\0b\x07\x08c\x7f", ("\0", "\x07", "\x08", "\x7f")),
    "lines": ("a\nb\r\nFORGED LINE\u2028c\x85d", ("\nFORGED", "\u2028", "\x85")),
    "rich": ("[/bold][link=http://evil]x[/link][red]", ("\x1b]8;id",)),
    "separator": ("../../../../tmp/evil\\..\\x", ()),
    "megabyte": ("n" * 2**20, ("n" * 2000,)),
    "surrogate": ("a\udcff\ud800b", ("\udcff",)),
    "private": ("\ue000\ufdd0\U000f0000\ufeff", ("\ue000", "\ufeff")),
    "format": ("%s%n{0.__class__}%(x)s", ()),
}


def cases() -> Iterator[Case]:
    """All cases of this module."""
    for label, (name, raw) in NAMES.items():
        yield _case(f"tensor-{label}", f"a tensor's name: {label}", lambda s, n=name: _tensor(s, n), raw)
    for label in ("script", "script-end", "attribute", "ansi", "bidi", "lines", "rich", "megabyte"):
        name, raw = NAMES[label]
        yield _case(
            f"safetensors-{label}",
            f"safetensors names and metadata: {label}",
            lambda s, n=name: _safetensors(s, n),
            raw,
        )
        yield _case(
            f"bad-tensor-{label}",
            f"the name of a tensor that is refused: {label}",
            lambda s, n=name: _refused(s, n),
            raw,
        )
    for label in ("script", "ansi", "rich", "bidi"):
        name, raw = NAMES[label]
        yield _case(f"npz-{label}", f"names of arrays: {label}", lambda s, n=name: _npz(s, n), raw)
        yield _case(f"exported-{label}", f"names in a .pt2: {label}", lambda s, n=name: _exported(s, n), raw)
        yield _case(f"onnx-{label}", f"ONNX names: {label}", lambda s, n=name: _onnx(s, n), raw)
        yield _case(
            f"class-{label}",
            f"class and module names of a pickled module: {label}",
            lambda s, n=name: _classes(s, n),
            raw,
        )
        yield _case(
            f"configuration-{label}",
            f"a Hugging Face configuration: {label}",
            lambda s, n=name: _configuration(s, n),
            raw,
        )
        yield _case(f"error-{label}", f"a name in an error message: {label}", lambda s, n=name: _error(s, n), raw)
    for label in ("script", "ansi", "bidi", "lines", "rich", "template"):
        name, raw = NAMES[label]
        yield _case(f"file-{label}", f"the file's own name: {label}", lambda s, n=name: _file(s, n), raw)
        yield _case(f"folder-{label}", f"the folder's own name: {label}", lambda s, n=name: _folder(s, n), raw)


def _case(name: str, attack: str, build: Callable[[Site], Path], raw: tuple[str, ...]) -> Case:
    expected = ANY if name.startswith(("bad-", "error-", "class-")) or "surrogate" in name else AUDITED
    return Case(f"name-{name}", "names", attack, build, expected, raw=raw)


def _tensor(site: Site, name: str) -> Path:
    entries = [(text(f"{name}.weight"), pickles.tensor()), (text(f"{name}.bias"), pickles.tensor("1", (8,)))]
    entries.append((text("optimizer"), named({name: text(name)})))
    return site.file("model.pt", containers.zip_checkpoint(whole=dict_of(entries)))


def _refused(site: Site, name: str) -> Path:
    bad = pickles.tensor("0", (80, 60), elements=48)
    return site.file("model.pt", containers.zip_checkpoint([(text(f"{name}.weight"), bad)]))


def _safetensors(site: Site, name: str) -> Path:
    table = {
        "__metadata__": {name: name, "format": name},
        f"{name}.weight": {"dtype": "F32", "shape": [8, 6], "data_offsets": [0, 192]},
    }
    return site.file("model.safetensors", containers.safetensors_file(table, WEIGHT))


def _npz(site: Site, name: str) -> Path:
    return site.file("model.npz", containers.npz({f"{name.replace('/', '_')}.weight.npy": containers.npy()}))


def _exported(site: Site, name: str) -> Path:
    entry = containers.exported_weight("weight_0", (8, 6), (6, 1))
    return site.file("model.pt2", containers.exported_program(config={f"{name}.weight": entry}))


def _onnx(site: Site, name: str) -> Path:
    node = protobuf.chunk(1, name) + protobuf.chunk(2, name) + protobuf.chunk(3, name) + protobuf.chunk(4, name)
    graph = protobuf.graph([protobuf.tensor(name)], nodes=[node])
    return site.file("model.onnx", protobuf.model(graph, more=protobuf.chunk(2, name)))


def _classes(site: Site, name: str) -> Path:
    plain = name.replace("\n", " ").replace("\r", " ")
    layer = name_of("torch.nn.modules.linear", "Linear") + b")\x81"
    weights = named({"weight": pickles.tensor(), "bias": pickles.tensor("1", (8,))})
    child = with_state(
        layer, named({"_parameters": weights, "_buffers": b"}", "_modules": b"}", "in_features": number(6)})
    )
    top = pickles.stack_name_of(plain, plain) + b")\x81"
    state = named({"_parameters": b"}", "_buffers": b"}", "_modules": named({name: child}), name: text(name)})
    return site.file("model.pt", containers.zip_checkpoint(whole=with_state(top, state), protocol=4))


def _configuration(site: Site, name: str) -> Path:
    site.file(
        "config.json",
        json.dumps({"architectures": [name], "model_type": name, "hidden_act": name, "_name_or_path": name}),
    )
    site.file("model.safetensors", containers.safetensors_file())
    return site.folder


def _error(site: Site, name: str) -> Path:
    plain = name.replace("\n", " ")
    storage = pickles.storage(text(name), 48, kind=f"{plain}Storage", location=name)
    opcodes = pickles.call(name_of("torch._utils", "_rebuild_tensor_v2"), storage, text(name), text(name))
    data = containers.zip_checkpoint(whole=named({name: opcodes}))
    return site.file("model.pt", data)


def _file(site: Site, name: str) -> Path:
    return site.file(name.replace("/", "_") + ".pt", containers.zip_checkpoint())


def _folder(site: Site, name: str) -> Path:
    return site.file(f"{name.replace('/', '_')}/model.safetensors", containers.safetensors_file()).parent
