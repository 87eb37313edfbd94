"""Every format cut off at 25 places, spread over its length and at its joints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from tests.hostile import containers, pickles, protobuf
from tests.hostile.case import ANY, NOT_WHOLE, REFUSED, Case, Outcome, Site
from tests.hostile.pickles import named, pickled

PLACES = 25
# A directory at the end means that nothing is left of a cut archive.
_EXPECTED: Mapping[str, frozenset[Outcome]] = {
    "zip": REFUSED,
    "script": REFUSED,
    "exported": REFUSED,
    "npz": REFUSED,
    "legacy": NOT_WHOLE,
    "safetensors": NOT_WHOLE,
    "plain": REFUSED,
    # A cut in the padding of a tar, or between two fields of a protobuf, leaves a whole file.
    "tar": ANY,
    "onnx": ANY,
}


@cache
def good_files() -> Mapping[str, tuple[str, bytes]]:
    """By format: a file name, and a small good file of that format."""
    module = pickles.with_state(
        pickles.name_of("torch.nn.modules.linear", "Linear") + b")\x81",
        named({"_parameters": pickles.state(), "_buffers": b"}", "_modules": b"}"}),
    )
    array = pickles.call(
        pickles.name_of("numpy._core.multiarray", "_reconstruct"),
        pickles.name_of("numpy", "ndarray"),
        pickles.numbers((0,)),
        pickles.raw_bytes(b"b"),
    )
    dtype = pickles.call(pickles.name_of("numpy", "dtype"), pickles.text("f4"), b"\x89", b"\x88")
    filled = pickles.tuple_of(
        pickles.number(1), pickles.numbers((8, 6)), dtype, b"\x89", pickles.raw_bytes(pickles.WEIGHT)
    )
    return {
        "zip": ("model.pt", containers.zip_checkpoint()),
        "module": ("module.pt", containers.zip_checkpoint(whole=module)),
        "legacy": ("model.pth", containers.legacy_checkpoint()),
        "tar": ("model.tar", containers.tar_checkpoint()),
        "script": ("script.pt", containers.script_archive()),
        "exported": ("model.pt2", containers.exported_program()),
        "npz": ("model.npz", containers.npz({"layer.weight.npy": containers.npy()})),
        "safetensors": ("model.safetensors", containers.safetensors_file()),
        "onnx": ("model.onnx", protobuf.model()),
        "plain": ("model.pkl", pickled(named({"layer.weight": pickles.with_state(array, filled)}), protocol=3)),
    }


def cases() -> Iterator[Case]:
    """All cases of this module."""
    for kind, expected in _EXPECTED.items():
        file, data = good_files()[kind]
        places = sorted({1 + (len(data) - 2) * step // (PLACES - 1) for step in range(PLACES)})
        for place in places:

            def build(site: Site, file: str = file, data: bytes = data[:place]) -> object:
                return site.file(file, data)

            share = f"{place} of {len(data)} bytes"
            yield Case(f"truncated-{kind}-{place}", "truncated", f"{kind}: {share}", build, expected)  # type: ignore[arg-type]
