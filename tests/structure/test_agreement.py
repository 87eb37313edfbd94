"""Names and shapes alone give what the modules themselves say, over architectures of many kinds (shapes only)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import pytest

from critaudit.sources.live.hints import hints_of
from critaudit.structure import arrange
from critaudit.tensors import DTYPES, TensorRef


@dataclass(frozen=True)
class Unread:
    """A storage that is never read."""

    key: int
    nbytes: int

    def read(self, start: int, stop: int) -> bytearray:
        raise AssertionError("arranging must not read weights")


@pytest.mark.parametrize(
    "name",
    [
        "resnext50_32x4d",
        "mobilenetv3_large_100",
        "regnety_032",
        "convnext_tiny",
        "densenet121",
        "vit_small_patch16_224",
        "swinv2_tiny_window8_256",
        "sequencer2d_s",
        "xception41",
    ],
)
def test_heuristics_agree_with_the_modules_hints_and_parameters_are_exact(name: str) -> None:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import timm

        with torch.device("meta"):
            model = timm.create_model(name)
    tensors = {}
    for key, tensor in model.state_dict(keep_vars=True).items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        storage = Unread(id(tensor), tensor.numel() * DTYPES[dtype][0])
        tensors[key] = TensorRef(storage, dtype, tuple(tensor.shape))
    hinted, exact = arrange(tensors, hints_of(model), ())
    guessed, ledger = arrange(tensors, {}, ())
    described = [
        [(m.name, m.kind, m.groups, m.rows, m.columns, m.kernel) for m in matrices] for matrices in (hinted, guessed)
    ]
    assert described[0] == described[1]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert sum(entry.parameters for entry in exact) == sum(entry.parameters for entry in ledger) == parameters
    assert sum(entry.parameters for entry in ledger if entry.status == "analysed") > 0.97 * parameters
