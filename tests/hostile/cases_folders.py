"""Folders: shard indices that point elsewhere, custom code, and working directories that plant modules and settings."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.hostile import containers
from tests.hostile.case import ANY, AUDITED, NOT_WHOLE, PARTIAL, REFUSED, Case, Outcome, Site
from tests.hostile.cases_headers import table_of
from tests.hostile.pickles import BIAS, WEIGHT

FIRST = containers.safetensors_file(
    {"layer.weight": {"dtype": "F32", "shape": [8, 6], "data_offsets": [0, 192]}}, WEIGHT
)
SECOND = containers.safetensors_file({"layer.bias": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}}, BIAS)
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def cases() -> Iterator[Case]:
    """All cases of this module."""
    yield from _indices()
    yield from _folders()
    yield from _custom_code()
    yield from _working_directories()


def _case(
    name: str, attack: str, fill: Callable[[Site], None], expected: frozenset[Outcome], proof: str | None = None
) -> Case:
    def build(site: Site) -> Path:
        fill(site)
        return site.folder

    return Case(f"folder-{name}", "folders", attack, build, expected, proof)


def _sharded(site: Site, second: str, index: str | None = None) -> None:
    site.file(SHARDS[0], FIRST)
    site.file("model.safetensors.index.json", index or table_of({"layer.weight": SHARDS[0], "layer.bias": second}))


def _indices() -> Iterator[Case]:
    def pointing(name: str, attack: str, second: str, prepare: Callable[[Site], object] = lambda site: None) -> Case:
        def fill(site: Site) -> None:
            _sharded(site, second)
            prepare(site)

        return _case(f"index-{name}", f"shard index: {attack}", fill, NOT_WHOLE)

    yield pointing("missing", "a shard is missing", SHARDS[1])
    yield pointing(
        "traversal",
        "../outside",
        "../outside.safetensors",
        lambda s: (s.folder.parent / "outside.safetensors").write_bytes(SECOND),
    )
    yield pointing("absolute", "/etc/passwd", "/etc/passwd")
    yield pointing(
        "symlink", "a link out of the folder", SHARDS[1], lambda s: (s.folder / SHARDS[1]).symlink_to("/etc/passwd")
    )
    yield pointing("fifo", "a FIFO", SHARDS[1], lambda s: os.mkfifo(s.folder / SHARDS[1]))
    yield pointing("device", "a link to /dev/zero", SHARDS[1], lambda s: (s.folder / SHARDS[1]).symlink_to("/dev/zero"))
    yield pointing("itself", "the index itself", "model.safetensors.index.json")
    yield pointing("folder", "the folder", ".")
    yield pointing("nul", "a NUL", "a\0b")
    yield pointing("number", "a tensor that the shard does not have", SHARDS[0])

    def index(name: str, attack: str, text: str, expected: frozenset[Outcome] = REFUSED | PARTIAL) -> Case:
        return _case(f"index-{name}", f"shard index: {attack}", lambda site: _sharded(site, "", text), expected)

    yield index("list", "a list", "[1, 2]", ANY)
    yield index("not-json", "no JSON", "{oops", ANY)
    yield index("map-list", "a list for a map", json.dumps({"weight_map": ["a"]}), ANY)
    yield index("map-numbers", "numbers for file names", json.dumps({"weight_map": {"layer.weight": 7}}), ANY)
    yield index("depth", "a million brackets", "[" * 10**6, ANY)
    yield index("empty", "an empty map", json.dumps({"weight_map": {}}), ANY)
    many = {f"t{i}": f"model-{i}.safetensors" for i in range(50000)}
    yield index("many", "fifty thousand shards that are not there", table_of(many), ANY)


def _folders() -> Iterator[Case]:
    yield _case("empty", "an empty folder", lambda site: None, REFUSED)
    yield _case(
        "no-model", "a folder of texts", lambda site: [site.file(f"{n}.txt", "x") for n in range(3)] and None, REFUSED
    )

    def many(site: Site) -> None:
        for index in range(3000):
            (site.folder / f"file-{index}.bin").touch()

    yield _case("many-files", "three thousand empty checkpoints", many, REFUSED)

    def loop(site: Site) -> None:
        (site.folder / "again").symlink_to(site.folder, target_is_directory=True)
        site.file("model.safetensors", containers.safetensors_file())

    yield _case("loop", "a link to itself in a good folder", loop, AUDITED)

    def pipes(site: Site) -> None:
        os.mkfifo(site.folder / "config.json")
        site.file("model.safetensors", containers.safetensors_file())

    yield _case("config-fifo", "a FIFO for a configuration", pipes, ANY)

    def fifo(site: Site) -> None:
        os.mkfifo(site.folder / "model.safetensors")

    yield _case("model-fifo", "a FIFO for a model", fifo, REFUSED)
    for name, attack, text in (
        ("depth", "a million brackets", "[" * 10**6),
        ("list", "a list", "[]"),
        ("types", "wrong types everywhere", json.dumps({"architectures": 7, "model_type": [], "hidden_act": {"a": 1}})),
        ("utf8", "bytes that are no text", "\udcff"),
        ("huge-number", "a number of ten thousand digits", '{"hidden_size": ' + "9" * 10000 + "}"),
    ):

        def fill(site: Site, text: str = text) -> None:
            site.file("config.json", text.encode("utf-8", "surrogateescape"))
            site.file("model.safetensors", containers.safetensors_file())

        yield _case(f"config-{name}", f"a configuration of {attack}", fill, ANY)

    def big(site: Site) -> None:
        site.file("model.safetensors", containers.safetensors_file())
        with (site.folder / "config.json").open("wb") as file:
            file.truncate(2**40)

    def hollow(site: Site) -> None:
        site.file("model.safetensors", containers.safetensors_file())
        with (site.folder / "beside.bin").open("wb") as file:
            file.truncate(2**40)

    yield _case("beside-terabyte", "1 TB of nothing beside a good model", hollow, ANY)
    yield _case("config-terabyte", "a configuration of 1 TB", big, ANY)


def _custom_code() -> Iterator[Case]:
    config = {
        "architectures": ["EvilModel"],
        "model_type": "evil",
        "auto_map": {"AutoModel": "modeling_evil.EvilModel"},
    }

    def planted(*files: str) -> Callable[[Site], None]:
        def fill(site: Site) -> None:
            for name in files:
                site.file(name, site.python)
            site.file("config.json", json.dumps(config))
            site.file("model.safetensors", containers.safetensors_file())

        return fill

    for name, attack, files in (
        ("auto-map", "auto_map names a modeling file", ("modeling_evil.py",)),
        ("configuration", "a configuration file with code", ("configuration_evil.py",)),
        ("setup", "setup.py", ("setup.py",)),
        ("init", "__init__.py", ("__init__.py",)),
        ("conftest", "conftest.py", ("conftest.py",)),
        ("hubconf", "hubconf.py", ("hubconf.py",)),
        ("handler", "an inference handler", ("handler.py", "pipeline.py", "tokenization_evil.py")),
    ):
        yield _case(f"code-{name}", f"Hugging Face custom code: {attack}", planted(*files), AUDITED, "custom code")

    def yaml(site: Site) -> None:
        site.file("config.yaml", f"a: !!python/object/apply:builtins.exec [{json.dumps(site.python)}]")
        site.file("model.safetensors", containers.safetensors_file())

    yield _case("code-yaml", "YAML with a Python object", yaml, AUDITED, "yaml")


SHADOWS = (
    *("numpy", "torch", "scipy", "pandas", "jinja2", "plotly", "click", "rich", "timm", "safetensors", "onnx"),
    *("pickle", "json", "zipfile", "struct", "typing", "dataclasses", "pathlib", "hashlib", "html", "string", "random"),
    *(
        "sitecustomize",
        "usercustomize",
        "conftest",
        "setup",
        "config",
        "utils",
        "ast",
        "decimal",
        "logging",
        "powerlaw",
    ),
)
# `python -m` itself imports these from the working directory before any program can prevent it; the installed command
# does not, and is what these are tried with.
STARTUP = (
    "types",
    "enum",
    "functools",
    "contextlib",
    "collections",
    "warnings",
    "keyword",
    "operator",
    "reprlib",
    "re",
)


def _working_directories() -> Iterator[Case]:
    def directory(name: str, attack: str, fill: Callable[[Site], object], proof: str) -> Case:
        def build(site: Site) -> Path:
            fill(site)
            return site.file("model.pt", containers.zip_checkpoint())

        return Case(f"directory-{name}", "working directory", attack, build, AUDITED, proof, mode="inside")

    def shadows(site: Site) -> None:
        for name in SHADOWS:
            site.file(f"{name}.py", site.python)

    def startup(site: Site) -> None:
        for name in (*SHADOWS, *STARTUP):
            site.file(f"{name}.py", site.python)

    def one(name: str) -> Callable[[Site], object]:
        return lambda site: site.file(f"{name}.py", site.python)

    def packages(site: Site) -> None:
        for name in ("numpy", "torch", "jinja2", "click", "rich"):
            site.file(f"{name}/__init__.py", site.python)

    def template(site: Site) -> None:
        poison = "{{ cycler.__init__.__globals__.os.system(" + json.dumps(site.command) + ") }}"
        for name in ("report.html", "report.html.j2", "report.html.jinja", "base.html", "index.html"):
            site.file(f"templates/{name}", poison)

    def backend(site: Site) -> None:
        site.file("matplotlibrc", "backend: module://critaudit_evil_backend\n")
        site.file("critaudit_evil_backend.py", site.python)

    yield directory("shadows", f"{len(SHADOWS)} modules named like libraries", shadows, "import")
    yield directory("startup", "modules that Python imports before its program", startup, "import")
    yield directory("packages", "packages named like libraries", packages, "import packages")
    yield directory("numpy", "numpy.py", one("numpy"), "import")
    yield directory("pth", "a .pth file with code", lambda s: s.file("evil.pth", f"import os; {s.python}\n"), "site")
    yield directory("templates", "report templates in the working directory", template, "template")
    yield directory("matplotlib", "a matplotlibrc that names a backend beside it", backend, "backend")
