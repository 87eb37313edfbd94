"""Paths that are no regular model file: pipes, devices, links, empty and enormous files, and files of other kinds."""

from __future__ import annotations

import gzip
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.hostile import containers
from tests.hostile.case import ANY, REFUSED, Case, Outcome, Site


def cases() -> Iterator[Case]:
    """All cases of this module."""
    yield from _special()
    yield from _sparse()
    yield from _other_files()
    yield from _unreadable()


def _case(name: str, attack: str, build: Callable[[Site], Path], expected: frozenset[Outcome] = REFUSED) -> Case:
    return Case(f"path-{name}", "paths", attack, build, expected)


def _linked(target: str) -> Callable[[Site], Path]:
    def build(site: Site) -> Path:
        path = site.folder / "model.pt"
        path.symlink_to(target)
        return path

    return build


def _special() -> Iterator[Case]:
    def fifo(site: Site) -> Path:
        path = site.folder / "model.pt"
        os.mkfifo(path)
        return path

    def listening(site: Site) -> Path:
        path = site.folder / "model.pt"
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(str(path))
        return path

    yield _case("fifo", "a FIFO that nobody writes to", fifo)
    yield _case("socket", "a socket", listening)
    yield _case("zero", "a link to /dev/zero", _linked("/dev/zero"))
    yield _case("random", "a link to /dev/urandom", _linked("/dev/urandom"))
    yield _case("null", "a link to /dev/null", _linked("/dev/null"))
    yield _case("standard-input", "a link to standard input", _linked("/dev/stdin"))
    yield _case("process", "a link to a file of /proc that claims no size", _linked("/proc/self/environ"))
    yield _case("broken-link", "a link to nothing", _linked("/nowhere/at/all"))
    yield _case("link-loop", "a link to itself", _linked("model.pt"))
    yield _case("missing", "no such file", lambda site: site.folder / "model.pt")
    yield _case("long-name", "a name that no file system has", lambda site: site.folder / ("n" * 5000))
    yield _case("below-file", "a path below a file", lambda site: site.file("model.pt", "x") / "inner.pt")


def _sparse() -> Iterator[Case]:
    def sparse(start: bytes, end: bytes = b"", name: str = "model.pt") -> Callable[[Site], Path]:
        def build(site: Site) -> Path:
            path = site.file(name, start)
            with path.open("r+b") as file:
                file.truncate(2**40)
                if end:
                    file.seek(0, os.SEEK_END)
                    file.write(end)
            return path

        return build

    yield _case("empty", "an empty file", lambda site: site.file("model.pt", b""))
    yield _case("one-byte", "one byte", lambda site: site.file("model.pt", b"\x80"))
    yield _case("terabyte-zeros", "1 TB of zeros", sparse(b""))
    yield _case("terabyte-zip", "the start of a zip and 1 TB of zeros", sparse(b"PK\x03\x04"))
    yield _case("terabyte-pickle", "the start of a pickle and 1 TB of zeros", sparse(b"\x80\x02}"))
    yield _case("terabyte-legacy", "a legacy checkpoint and 1 TB of zeros", sparse(containers.legacy_checkpoint()), ANY)
    yield _case("terabyte-line", "a text pickle whose first line is 1 TB", sparse(b"c"))
    yield _case(
        "terabyte-header",
        "a safetensors header of 1 TB",
        sparse(struct.pack("<Q", 2**40 - 8) + b"{", name="model.safetensors"),
    )
    yield _case(
        "terabyte-onnx",
        "an ONNX graph of 1 TB",
        sparse(b"\x08\x09\x3a" + b"\xf0\xff\xff\xff\xff\x1f", name="model.onnx"),
    )
    yield _case("terabyte-tar", "a tar of 1 TB of zeros", sparse(containers.tar_checkpoint()[:512]))
    yield _case(
        "terabyte-end", "1 TB of zeros, then an end of directory", sparse(b"PK\x03\x04", b"PK\x05\x06" + b"\0" * 18)
    )


def _other_files() -> Iterator[Case]:
    lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "4d7a" * 16 + "\nsize 440473133\n"
    for name, file, data in (
        ("png", "model.png", b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0" * 60),
        ("html", "model.pt", b"<!doctype html><html><title>404 Not Found</title></html>"),
        ("text", "model.pt", b"Dear reader,\nthis is no model.\n" * 20),
        ("gzip", "model.pt", gzip.compress(containers.legacy_checkpoint(), mtime=0)),
        ("executable", "model.pt", b"\x7fELF\x02\x01\x01" + b"\0" * 200),
        ("json", "model.json", json.dumps({"weights": [1, 2]}).encode()),
        ("pdf", "model.pt", b"%PDF-1.7\n%\xe2\xe3\n" * 20),
        ("hdf5", "model.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 300),
        ("gguf", "model.gguf", b"GGUF\x03\0\0\0" + b"\0" * 300),
        ("python", "model.pt", b"import os\nos.system('true')\n"),
        ("git-lfs", "model.safetensors", lfs.encode()),
        ("git-lfs-bin", "pytorch_model.bin", lfs.encode()),
        ("utf16", "model.pt", "a text".encode("utf-16") * 40),
        ("random", "model.pt", bytes(range(256)) * 16),
        ("office-zip", "model.docx", containers.rawzip.archive([containers.Member("word/document.xml", b"<xml/>")])),
        ("jar", "model.jar", containers.rawzip.archive([containers.Member("META-INF/MANIFEST.MF", b"x")])),
        ("wheel", "model.zip", containers.rawzip.archive([containers.Member("pkg/__init__.py", b"import os")])),
        ("tar-of-texts", "model.tar", _texts()),
    ):
        yield _case(f"kind-{name}", f"a file of another kind: {name}", lambda site, f=file, d=data: site.file(f, d))


def _texts() -> bytes:
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("readme.txt")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"hello"))
    return buffer.getvalue()


def _unreadable() -> Iterator[Case]:
    def secret(site: Site) -> Path:
        path = site.file("model.pt", containers.zip_checkpoint())
        path.chmod(0)
        return path

    def locked(site: Site) -> Path:
        path = site.file("inner/model.pt", containers.zip_checkpoint())
        path.parent.chmod(0)
        return path

    yield Case("path-unreadable", "paths", "a file that we may not read", secret, REFUSED, mode="nobody")
    yield Case(
        "path-locked-folder", "paths", "a file in a folder that we may not enter", locked, REFUSED, mode="nobody"
    )
